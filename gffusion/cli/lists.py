"""Lists on the command line: values separated by commas, spaces or both."""

from collections.abc import Iterable, Sequence
from typing import Any


def split_list(text: str | None) -> list[str] | None:
    """Return the values of a list option, `None` if the option was not given.

    Values are separated by commas; only if there are none, by spaces, so that values such as names of classes may have some.

    Example:
        >>> split_list("EN SCD"), split_list("EN, SCD,"), split_list("traffic light, person")
        (['EN', 'SCD'], ['EN', 'SCD'], ['traffic light', 'person'])
    """
    if text is None:
        return None
    return [value.strip() for value in text.split("," if "," in text else None) if value.strip()]


def join_list_words(words: Sequence[str], parameters: Iterable[Any]) -> list[str]:
    """Return a command line in the form that typer takes, where an option has one value: `--metrics EN SCD` as `--metrics EN,SCD`.

    A list ends at the next option. An option takes a list if its metavar ends in `,...`; one that may be given several
    times is repeated before each of the words. A command with positional arguments is left as it is, because they could
    not be told from values of a list.

    Args:
        words: The command line.
        parameters: Parameters of the command, as click and typer describe them.
    """
    parameters = list(parameters)
    if any(parameter.param_type_name == "argument" for parameter in parameters):
        return list(words)
    repeated = {name for parameter in parameters if parameter.multiple for name in parameter.opts}
    lists = {name for parameter in parameters if str(parameter.metavar).endswith(",...") for name in parameter.opts}
    joined: list[str] = []
    option, has_value = "", False
    for word in words:
        if word.startswith("-"):
            option, equals, _ = word.partition("=")
            has_value = bool(equals)
            joined.append(word)
        elif has_value and option in lists:
            joined[-1] += f",{word}"
        elif has_value and option in repeated:
            joined += [option, word]
        else:
            joined.append(word)
            has_value = True
    return joined
