"""Gather neighboring pairs of one size into batches."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from numbers import Integral
from typing import Any, TypeVar

Item = TypeVar("Item")


def check_batch_size(batch_size: Any, argument: str = "batch_size") -> None:
    """Raise ValueError unless a batch size, or another number that an argument gives, is a whole number of at least 1."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, Integral) or batch_size < 1:
        raise ValueError(f"`{argument}` must be a whole number of at least 1, got {batch_size!r}.")


def batch_by_size(
    items: Iterable[Item], batch_size: int, size_of: Callable[[Item], tuple[int, ...]]
) -> Iterator[list[Item]]:
    """Yield lists of up to `batch_size` consecutive items of one size, without reordering.

    A full batch is yielded before the next item is requested, because the next frame of a camera can take long.
    Callers check `batch_size` by [`check_batch_size`].
    """
    for _, run in groupby(items, size_of):
        while batch := list(islice(run, batch_size)):
            yield batch
