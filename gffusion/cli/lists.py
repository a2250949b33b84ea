"""Lists on the command line: values separated by commas, spaces or both."""

import re


def split_list(text: str | None) -> list[str] | None:
    """Return the values of a list option, `None` if the option was not given.

    Example:
        >>> split_list("EN, SCD VIF")
        ['EN', 'SCD', 'VIF']
    """
    return None if text is None else [word for word in re.split(r"[,\s]+", text) if word]
