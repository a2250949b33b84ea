"""Intermediate results of several metrics, computed once inside a `with memoizing():` block."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

_memo: ContextVar[dict[Any, Any] | None] = ContextVar("_memo", default=None)


@contextmanager
def memoizing() -> Iterator[None]:
    """Cache the results of functions decorated with `memoized` inside the block; inner blocks join the outer one."""
    outer = _memo.get()
    token = _memo.set({} if outer is None else outer)
    try:
        yield
    finally:
        _memo.reset(token)


def memoized(function: Callable[P, R]) -> Callable[P, R]:
    """Compute `function` once for the same arguments inside a `memoizing` block, and at every call outside.

    Tensors count as the same if they are the same object. Callers must not change a result in place.

    Examples:
        >>> double = memoized(lambda number: [2 * number])
        >>> with memoizing():
        ...     double(1) is double(1)
        True
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        memo = _memo.get()
        if memo is None:
            return function(*args, **kwargs)
        arguments = (*args, *sorted(kwargs.items()))
        key = (function, *(id(value) if isinstance(value, Tensor) else value for value in arguments))
        if key not in memo:
            # The memo also keeps the arguments, because the id of a deleted tensor can be reused.
            memo[key] = (function(*args, **kwargs), arguments)
        result: R = memo[key][0]
        return result

    return call
