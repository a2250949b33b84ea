"""Check options of metrics against the type hints of their functions."""

import math
from collections.abc import Callable, Iterable
from numbers import Real
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints


def check_options(function: Callable[..., Any], /, **options: Any) -> None:
    """Raise ValueError for wrong values of options of a fusion metric; numbers are ranges of gray levels, thus positive.

    Examples:
        >>> from gffusion.metrics.functional import mutual_information
        >>> check_options(mutual_information, unit="bit")
        Traceback (most recent call last):
        ValueError: `unit` must be 'bits' or 'nats', got 'bit'.
    """
    hints = get_type_hints(function)
    for name, value in options.items():
        kinds = _list_kinds(hints[name])
        plain = value.item() if hasattr(value, "item") and not value.ndim else value  # of NumPy and torch
        if not any(_is_of_kind(plain, kind) for kind in kinds):
            raise ValueError(f"`{name}` must be {_describe(kinds)}, got {value!r}.")


def _list_kinds(hint: Any) -> list[Any]:
    """Return the types and texts in a type hint."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [kind for part in get_args(hint) for kind in _list_kinds(part)] or [hint]


def _is_of_kind(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, Real) and not isinstance(value, bool) and 0 < float(value) < math.inf
    if kind is bool:
        return isinstance(value, bool)
    return isinstance(value, kind) if isinstance(kind, type) else isinstance(value, str) and value == kind


def _describe(kinds: Iterable[Any]) -> str:
    words = {float: "a number greater than 0", bool: "True or False", NoneType: "None"}
    return " or ".join(words.get(kind) or repr(kind) for kind in kinds)
