"""Fixtures of the tests of inference."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def no_grad() -> Iterator[None]:
    """Compute no gradients, as in inference."""
    with torch.no_grad():
        yield
