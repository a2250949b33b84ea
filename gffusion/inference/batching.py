"""Gather neighboring pairs of one size into batches."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def batch_by_size(
    items: Iterable[Item], batch_size: int, size_of: Callable[[Item], tuple[int, ...]]
) -> Iterator[list[Item]]:
    """Yield lists of up to `batch_size` consecutive items of one size, without reordering.

    A full batch is yielded before the next item is requested, because the next frame of a camera can take long.

    Raises:
        ValueError: If `batch_size` is less than 1.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
    batch: list[Item] = []
    for item in items:
        if batch and size_of(item) != size_of(batch[0]):
            yield batch
            batch = []
        batch.append(item)
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch
