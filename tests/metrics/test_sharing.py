import pytest
import torch

from gffusion.metrics.sharing import shared, sharing


@pytest.fixture
def calls() -> list[str]:
    return []


def test_same_arguments_are_computed_once_inside_a_block(calls: list[str]) -> None:
    @shared
    def double(image: torch.Tensor, name: str) -> torch.Tensor:
        calls.append(name)
        return image * 2

    image, equal = torch.ones(2), torch.ones(2)
    with sharing():
        first = double(image, "a")
        with sharing():
            assert double(image, "a") is first
        assert double(image, "a") is first
        double(image, name="b")
        double(equal, "c")
    assert calls == ["a", "b", "c"]
    assert double(image, "a") is not first


def test_a_new_tensor_in_the_place_of_an_old_one_is_not_taken_for_it() -> None:
    @shared
    def total(image: torch.Tensor) -> float:
        return image.sum().item()

    with sharing():
        assert [total(torch.full((3,), float(value))) for value in range(50)] == [3.0 * value for value in range(50)]


def test_an_error_ends_the_block(calls: list[str]) -> None:
    @shared
    def note(name: str) -> None:
        calls.append(name)

    with pytest.raises(KeyError), sharing():
        note("a")
        raise KeyError
    note("a")
    assert calls == ["a", "a"]
