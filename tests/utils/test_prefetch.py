"""Read-ahead in threads."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gffusion.utils.prefetch import map_in_order


@pytest.mark.parametrize("depth", [0, 3, 100])
def test_order_and_depth(depth: int) -> None:
    submitted, ahead = [], []
    with ThreadPoolExecutor(4) as executor:
        items = (submitted.append(item) or item for item in range(20))
        results = map_in_order(executor, lambda item: time.sleep(0.001 * (item % 3)) or item**2, items, depth)
        for index, result in enumerate(results):
            assert result == index**2
            ahead.append(len(submitted) - index - 1)
    assert ahead == [min(depth, 19 - index) for index in range(20)]


def test_errors_are_raised_in_order() -> None:
    with ThreadPoolExecutor(4) as executor:
        results = map_in_order(executor, lambda item: 1 // item, [1, 0, 1], depth=3)
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)
