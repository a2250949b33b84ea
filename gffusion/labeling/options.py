"""Options of the labeling methods, without heavy imports, so that the command line can check them first."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

Method: TypeAlias = Literal["pca", "threshold"]
Source: TypeAlias = Literal["visible", "infrared", "both"]
Fallback: TypeAlias = Literal["ellipse", "box", "ignore"]

METHODS: tuple[Method, ...] = get_args(Method)
SOURCES: tuple[Source, ...] = get_args(Source)
FALLBACKS: tuple[Fallback, ...] = get_args(Fallback)


def check_choice(name: str, value: Any, allowed: Sequence[str]) -> Any:
    """Return `value`, or raise ValueError if it is not allowed; `name` is the option as the user typed it.

    Examples:
        >>> check_choice("`source`", "both", SOURCES)
        'both'
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return value
