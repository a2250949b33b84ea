import pytest
import torch

from gffusion.metrics.sharing import shared, sharing


def test_same_arguments_are_computed_once_inside_a_block() -> None:
    calls = []

    @shared
    def double(image: torch.Tensor, name: str) -> torch.Tensor:
        calls.append(name)
        return image * 2

    image, equal = torch.ones(2), torch.ones(2)
    with pytest.raises(KeyError), sharing():
        first = double(image, "a")
        with sharing():
            assert double(image, "a") is first
        assert double(image, "a") is first
        double(image, name="b")
        double(equal, "c")
        assert calls == ["a", "b", "c"]
        raise KeyError  # an error ends the block, too
    assert double(image, "a") is not first


def test_a_new_tensor_with_the_id_of_an_old_one_is_computed() -> None:
    @shared
    def total(image: torch.Tensor) -> float:
        return image.sum().item()

    with sharing():
        assert [total(torch.full((3,), float(value))) for value in range(50)] == [3.0 * value for value in range(50)]
