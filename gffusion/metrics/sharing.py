"""Intermediate results that several metrics need, computed once inside a `with sharing():` block."""

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
def sharing() -> Iterator[None]:
    """Let functions marked with [`shared`] remember their results inside the block; inner blocks join the outer one."""
    if _memo.get() is not None:
        yield
        return
    token = _memo.set({})
    try:
        yield
    finally:
        _memo.reset(token)


def shared(function: Callable[P, R]) -> Callable[P, R]:
    """Compute `function` once for the same arguments inside a [`sharing`] block, and as usual outside of one.

    Tensors count as the same when they are the same object. Callers must not change a shared result in place.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        memo = _memo.get()
        if memo is None:
            return function(*args, **kwargs)
        arguments = (*args, *sorted(kwargs.items()))
        key = (function, *(id(value) if isinstance(value, Tensor) else value for value in arguments))
        if key not in memo:
            # The arguments stay in the memo too: an id names a tensor only while that tensor lives.
            memo[key] = (function(*args, **kwargs), arguments)
        result: R = memo[key][0]
        return result

    return call
