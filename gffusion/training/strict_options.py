"""Dataclasses of options whose values are checked, by huggingface_hub's `strict`."""

import dataclasses
import functools
import inspect
import math
import os
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin

from huggingface_hub.dataclasses import strict, validated_field
from huggingface_hub.errors import StrictDataclassClassValidationError, StrictDataclassFieldValidationError

from gffusion.models.gffusion.argument_checks import to_plain

from .unknown_options import refuse_unknown

Kind = TypeVar("Kind")


def strict_options(kind: type[Kind]) -> type[Kind]:
    """Make a dataclass check its types, limits and `validate_*` methods, on creation and when a field is assigned.

    Paths are stored as text, and numbers of NumPy as those of Python. Instances raise ValueError for wrong values, with a message that names the option, the value and what is allowed, and
    TypeError for unknown options, with what to use instead.

    Examples:
        >>> from gffusion.training import FusionTrainingArguments
        >>> FusionTrainingArguments("run", seed=-1)
        Traceback (most recent call last):
        ValueError: `seed` must lie between 0 and 4294967295, got -1.
    """
    strict(kind)
    types = {field.name: field.type for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    make, set_strictly, validate_strictly = kind.__init__, kind.__setattr__, kind.validate  # type: ignore[attr-defined,misc]

    @functools.wraps(make)
    def create(self: Kind, *values: Any, **options: Any) -> None:
        refuse_unknown(kind.__name__, options, types)
        make(self, *values, **options)

    def set_value(self: Kind, name: str, value: Any) -> None:
        value = to_plain([*map(_to_text, value)] if isinstance(value, list) else _to_text(value))
        try:
            set_strictly(self, name, value)
        except StrictDataclassFieldValidationError as error:
            cause = error.__cause__
            allowed = f"must be {_describe(types[name])}" if isinstance(cause, TypeError) else str(cause)
            raise ValueError(f"`{name}` {allowed}, got {value!r:.200}.") from None

    def validate(self: Kind) -> None:
        try:
            validate_strictly(self)
        except StrictDataclassClassValidationError as error:
            raise ValueError(str(error.__cause__)) from None

    kind.__init__ = create  # type: ignore[assignment,method-assign,misc]
    kind.__setattr__, kind.validate = set_value, validate  # type: ignore[assignment,attr-defined,method-assign]
    return kind


def at_least(minimum: float, **options: Any) -> Any:
    """Return a field of [`strict_options`] whose values must be at least `minimum`, with options of `dataclasses.field`."""
    return limited(lambda value: value >= minimum, f"must be at least {minimum}", **options)


def between(minimum: int, maximum: int, **options: Any) -> Any:
    """Return a field of [`strict_options`] whose values must lie between two limits, with options of `dataclasses.field`."""
    return limited(lambda value: minimum <= value <= maximum, f"must lie between {minimum} and {maximum}", **options)


def fraction(**options: Any) -> Any:
    """Return a field of [`strict_options`] whose values must lie in (0, 1], with options of `dataclasses.field`."""
    return limited(lambda value: 0 < value <= 1, "must lie in (0, 1]", **options)


def limited(is_allowed: Callable[[Any], bool], limits: str, **options: Any) -> Any:
    """Return a field of [`strict_options`] whose values a function allows, with what it allows for messages."""

    def validate(value: Any) -> None:
        if not is_allowed(value):  # also rejects NaN
            raise ValueError(limits)
        if value == math.inf:
            raise ValueError("must be finite")

    return validated_field(validate, **options)


def _to_text(value: Any) -> Any:
    """Return a path as text, and other values as they are."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _describe(annotation: Any) -> str:
    if annotation is bool:
        return "true or false"
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(map(str, get_args(annotation)))}"
    if dict in (get_origin(kind) for kind in get_args(annotation)):  # or None
        return 'a mapping, on the command line JSON such as {"merging": "mean"}'
    return inspect.formatannotation(annotation).replace("typing.", "")
