"""Fusion metrics of users: `register_metric`."""

import hashlib
import inspect
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from numbers import Integral
from types import CodeType
from typing import Any

import torch
from torch import Tensor

from .catalog import METRICS, MetricInfo
from .images import gray_levels
from .names import ALL

MetricFunction = Callable[[Tensor, Tensor, Tensor], Tensor]

_NAME = re.compile(r"[^\W_][\w.+-]*")
_USED = re.compile(rf"{ALL}|confusion|image|method|notes|mass|loss(_.*)?")  # in tables, records and trainings


@dataclass(frozen=True)
class RegisteredFunction:
    """Function of a user, with the inputs, checks and results of the functions of this package."""

    name: str
    function: MetricFunction
    minimum_size: int

    def __call__(self, fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
        """Return (B,) `torch.float64`.

        Raises:
            TypeError: If the function returns something else than a real number for each image.
            ValueError: If the images do not suit the metric.
        """
        levels = gray_levels(self.minimum_size, fused=fused, visible=visible, infrared=infrared)
        with torch.no_grad():
            # Copies, because other metrics share the images, and the function may change them in place.
            values = self.function(*(image.unsqueeze(1).clone() for image in levels))
        count, is_tensor = len(levels[0]), isinstance(values, Tensor)
        if not is_tensor or values.shape != (count,) or values.dtype == torch.bool or values.is_complex():
            got = f"{values.dtype} of shape {tuple(values.shape)}" if is_tensor else type(values).__name__
            raise TypeError(
                f"{self.name}: the function must return a tensor of real numbers of shape ({count},), one for each image, got {got}."
            )
        return values.to(levels[0])


def register_metric(
    name: str,
    function: MetricFunction,
    higher_is_better: bool,
    *,
    minimum_size: int = 1,
    version: str | int | None = None,
) -> None:
    """Add a fusion metric of your own to `METRICS`, for this process.

    Its name can then be used in Python wherever names of fusion metrics are: in [`compute_metrics`][gffusion.metrics.compute_metrics],
    [`get_metric`][gffusion.metrics.get_metric], [`evaluate`][gffusion.evaluation.evaluate] and `eval_metrics` of trainings. It
    belongs to every protocol, without options, but not to `"all"`, so that `"all"` has the same metrics in every program.

    The same function can be registered again, also after a change, as notebooks do: one of the same module and name.

    Args:
        name: Name of the metric: letters, digits and the signs `_`, `.`, `+` and `-`, beginning with a letter or digit.
        function: Function of the fused, the visible and the infrared images, three tensors (B, 1, H, W) `torch.float64` of
            integer gray levels from 0 to 255, that returns a tensor (B,) with a value for each image. `evaluate` calls it from
            several threads.
        higher_is_better: Whether a higher value is better.
        minimum_size: Minimum height and width of the images, in pixels.
        version: Version of the values, such as 1. With it, `evaluate` keeps the values in the records of its output, as long as
            the version, name and code of the function are the same: change it with anything else that changes the values.
            Without it, every evaluation measures the metric anew, and also if the function is not defined with `def` at the
            top of a file or cell, such as a lambda, a `functools.partial` or an object: others can have the same name and code.

    Raises:
        TypeError: If an argument has a wrong type, or the function does not take three arguments.
        ValueError: If the name is not allowed or belongs to another metric, or `minimum_size` is less than 1.

    Warns:
        UserWarning: If a version is given of a function whose values are not kept.

    Examples:
        >>> def mean_error(fused, visible, infrared):
        ...     return (fused - torch.maximum(visible, infrared)).abs().mean((1, 2, 3))
        >>> register_metric("ME", mean_error, higher_is_better=False)
        >>> from gffusion.metrics import compute_metrics
        >>> compute_metrics(torch.full((2, 2), 9), torch.full((2, 2), 7), torch.full((2, 2), 4), metrics=["ME"])
        {'ME': tensor([2.], dtype=torch.float64)}
    """
    _check_name(name, function)
    _check_function(name, function)
    if not isinstance(higher_is_better, bool):
        raise TypeError(f"`higher_is_better` must be True or False, got {higher_is_better!r}.")
    if isinstance(minimum_size, bool) or not isinstance(minimum_size, Integral) or minimum_size < 1:
        raise ValueError(f"`minimum_size` must be an int of at least 1, got {minimum_size!r}.")
    minimum_size = int(minimum_size)
    METRICS[name] = MetricInfo(
        name,
        name,
        RegisteredFunction(name, function, minimum_size),
        (-inf, inf),
        "",
        higher_is_better=higher_is_better,
        minimum_size=minimum_size,
        is_registered=True,
        version=None if version is None else _digest(name, function, version),
    )


def _check_name(name: Any, function: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"`name` must be the name of a metric, got {name!r}.")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"`name` must consist of letters, digits and the signs _ . + -, and begin with a letter or digit, got {name!r}."
        )
    known = next((info.functional for other, info in METRICS.items() if other.casefold() == name.casefold()), None)
    is_same = isinstance(known, RegisteredFunction) and (
        known.name == name and _identify(known.function) == _identify(function)
    )
    if _USED.fullmatch(name) or (known and not is_same):
        raise ValueError(f"`name` {name!r} has another meaning already: choose another name.")


def _check_function(name: str, function: Any) -> None:
    if not callable(function):
        raise TypeError(
            f"`function` of {name} must be a function of fused, visible and infrared images, got {function!r}."
        )
    try:
        parameters = inspect.signature(function)
    except ValueError:  # of some functions written in C
        return
    try:
        parameters.bind(None, None, None)
    except TypeError as error:
        raise TypeError(
            f"`function` of {name} must take three arguments, the fused, visible and infrared images, but its parameters are "
            f"{parameters}."
        ) from error


def _identify(function: Any) -> tuple[str, str]:
    """Return the module and the name of a function, or of the class of another callable."""
    function = function.func if isinstance(function, partial) else function
    return getattr(function, "__module__", ""), getattr(function, "__qualname__", type(function).__qualname__)


def _digest(name: str, function: Any, version: str | int) -> str | None:
    """Return a digest of a version, a function and its code, or warn and return `None` if other functions can have the same."""
    inner = inspect.unwrap(function) if _is_found(function) else None
    source = _read_source(inner) if inspect.isfunction(inner) else ""
    if not inspect.isfunction(inner) or (inner is not function and not source):  # only the source has the decorators
        warnings.warn(
            f"`version` of {name} has no effect, and every evaluation measures the metric anew: only a function that is defined "
            f"with `def` at the top of a file or of a cell of a notebook can be told from others, got {function!r:.80}.",
            stacklevel=3,
        )
        return None
    # The compiled code is what runs, also after the file was edited.
    code = source, *map(_describe, (inner.__code__, inner.__defaults__, inner.__kwdefaults__))
    return hashlib.blake2b(repr((str(version), _identify(function), code)).encode(), digest_size=16).hexdigest()


def _is_found(function: Any) -> bool:
    """Return whether a function is the one that its module has under its name."""
    module, name = _identify(function)
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is function


def _read_source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except OSError:  # typed at a prompt
        return ""


def _describe(value: Any) -> Any:
    """Return what tells code, its constants and defaults from others, the same in every process; of other objects, only the name."""
    if isinstance(value, CodeType):
        return value.co_code, value.co_names, _describe(value.co_consts)
    if isinstance(value, tuple):
        return [_describe(part) for part in value]
    if isinstance(value, frozenset | dict):  # the order of a set differs between processes
        return sorted(repr(_describe(part)) for part in (value.items() if isinstance(value, dict) else value))
    return value if isinstance(value, str | bytes | int | float | None) else _identify(value)
