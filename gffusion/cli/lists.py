"""Lists on the command line: values separated by commas, spaces or both."""

from collections.abc import Iterable, Sequence
from typing import Any


def split_list(text: str | None) -> list[str] | None:
    """Return the values of a list option, or `None` if the option was not given.

    Values are separated by commas or, in a text without commas, by spaces. With commas, values can contain spaces.

    Example:
        >>> split_list("EN SCD"), split_list("EN, SCD,"), split_list("traffic light, person")
        (['EN', 'SCD'], ['EN', 'SCD'], ['traffic light', 'person'])
    """
    if text is None:
        return None
    return [value.strip() for value in text.split("," if "," in text else None) if value.strip()]


def join_list_words(words: Sequence[str], parameters: Iterable[Any]) -> list[str]:
    """Join the words of list options for typer, whose options take one value: `--metrics EN SCD` becomes `--metrics EN,SCD`.

    An option takes a list if its metavar ends in `,...`; the list ends at the next option. Options that can be given
    several times are repeated before each word. Commands with positional arguments are returned unchanged, because
    positional arguments and values of a list look the same. The parameters are those of the command in typer.
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
