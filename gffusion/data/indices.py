"""Indices of the items of a dataset."""

import operator
from typing import Any

from gffusion.utils.notes import format_count


def find_index(index: Any, count: int) -> int:
    """Return the number of an item from the start; a negative index counts from the end.

    Raises:
        IndexError: If there is no such item.
        TypeError: If the index is no whole number, such as a slice.

    Examples:
        >>> find_index(-1, 4)
        3
    """
    try:
        number = operator.index(index)
    except TypeError:
        raise TypeError(
            f"The index must be a whole number, got {type(index).__name__}: `[dataset[i] for i in range(2)]` reads several "
            "items, and `dataset.select(range(2))` is a dataset of them."
        ) from None
    if not -count <= number < count:
        raise IndexError(
            f"There is no pair {number}: the dataset has {format_count(count, 'pair')}, the first of which is 0."
        )
    return number % count
