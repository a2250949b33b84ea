"""How much of the reliability tests runs: a sample, or all of it with GFFUSION_RELIABILITY=all."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import settings

IS_WHOLE = os.environ.get("GFFUSION_RELIABILITY") == "all"

settings.register_profile("sample", max_examples=40, deadline=None, derandomize=True)
settings.register_profile("all", max_examples=2000, deadline=None)
settings.load_profile("all" if IS_WHOLE else "sample")


@pytest.fixture(scope="session")
def sample() -> Callable[[Sequence[Any], int], list[Any]]:
    """Return all items, or every n-th one so that about `count` are left."""

    def choose(items: Sequence[Any], count: int) -> list[Any]:
        return list(items) if IS_WHOLE else list(items)[:: max(1, len(items) // count)]

    return choose
