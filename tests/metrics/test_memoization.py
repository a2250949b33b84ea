import pytest
import torch

from gffusion.metrics.memoization import memoized, memoizing


def test_same_arguments_are_computed_once_inside_a_block() -> None:
    calls = []

    @memoized
    def double(image: torch.Tensor, name: str) -> torch.Tensor:
        calls.append(name)
        return image * 2

    image, equal = torch.ones(2), torch.ones(2)
    with pytest.raises(KeyError), memoizing():
        first = double(image, "a")
        with memoizing():
            assert double(image, "a") is first
        assert double(image, "a") is first
        double(image, name="b")
        double(equal, "c")
        assert calls == ["a", "b", "c"]
        raise KeyError  # an error ends the block, too
    assert double(image, "a") is not first


def test_a_new_tensor_with_the_id_of_an_old_one_is_computed() -> None:
    @memoized
    def total(image: torch.Tensor) -> float:
        return image.sum().item()

    with memoizing():
        assert [total(torch.full((3,), float(value))) for value in range(50)] == [3.0 * value for value in range(50)]
