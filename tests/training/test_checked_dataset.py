"""Items of datasets: what is converted, and what is refused by the name of the item."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gffusion import FusionTrainer, GFFusionConfig
from gffusion.data.transforms import Sample
from gffusion.training.checked_dataset import read_item

GOOD = {"visible_values": torch.zeros(3, 64, 64), "infrared_values": torch.zeros(1, 64, 64)}


@pytest.mark.parametrize(
    ("item", "got"),
    [
        ({"visible": torch.zeros(3, 64, 64)}, r"visible \(3, 64, 64\)"),
        (GOOD | {"infrared_values": torch.zeros(3, 64, 64)}, r"infrared_values \(3, 64, 64\)"),
        (tuple(GOOD.values()), "a tuple"),
        (torch.zeros(4, 64, 64), "a Tensor"),
        ({}, "a dict"),
    ],
)
def test_items_of_other_kinds(item: Any, got: str) -> None:
    with pytest.raises(ValueError, match=rf"^Item 1 must be a dict .* `infrared_values` \(1, H, W\), got .*{got}\.$"):
        read_item([GOOD, item], 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"visible_values": torch.full((3, 64, 64), torch.inf)}, "have finite values in .*, got inf to inf"),
        ({"infrared_values": np.full((1, 64, 64), 7000.0)}, "have finite values in .*, got 7000 to 7000"),
        ({"infrared_values": torch.ones(1, 64, 64, dtype=torch.uint8)}, "be floating point .*, got torch.uint8"),
        ({"labels": torch.ones(64, 64)}, "be integer class ids, got torch.float32"),
        ({"labels": [[0]]}, "be a tensor or a NumPy array, got a list"),
    ],
)
def test_values_of_other_kinds(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"'{next(iter(change))}' of item 1 must {message}"):
        read_item([GOOD, GOOD | change], 1)


def test_views_and_other_types_are_converted() -> None:
    flipped = np.arange(64.0)[::-1] / 64
    item = read_item([GOOD | {"infrared_values": np.resize(flipped, (1, 64, 64))[..., ::-1], "name": "a"}], 0)
    assert item["infrared_values"].dtype == torch.float32
    assert item["name"] == "a"
    labels = read_item([GOOD | {"labels": np.full((64, 64), 255, np.uint16)}], 0)["labels"]
    assert labels.dtype == torch.int64


def test_labels_of_another_shape(tiny_config: Callable[..., GFFusionConfig]) -> None:
    items = [GOOD | {"labels": np.zeros((1, 64, 64), np.uint8)}]
    with pytest.raises(ValueError, match=r"^item 0: 'labels' must have the shape of .* \(64, 64\), got \(1, 64, 64\)"):
        read_item(items, 0, tiny_config())
    assert read_item(items, 0, tiny_config(use_segmenter=False))["labels"].ndim == 3  # unused


def test_own_transforms_are_tried_with_labels(make_trainer: Callable[..., FusionTrainer]) -> None:
    def brighten(sample: Sample, rng: np.random.Generator) -> Sample:
        return {
            "infrared": 0.5 + sample["infrared"] / 2.0,
            "visible": sample["visible"].astype(np.float64),
            "labels": sample["labels"],
        }

    trainer = make_trainer(training=brighten)
    assert trainer.train_dataset[0]["visible_values"].dtype == torch.float32
    with pytest.raises(ValueError, match=r"print must be a function \(sample, rng\) -> sample, but returns a NoneType"):
        make_trainer(training=print)


@pytest.mark.parametrize("which", ["training", "evaluation"])
def test_nan_is_found_before_it_is_learned(make_trainer: Callable[..., FusionTrainer], which: str) -> None:
    damaged = [GOOD, GOOD | {"infrared_values": torch.full((1, 64, 64), torch.nan)}]
    with pytest.raises(ValueError, match="'infrared_values' of item 1 must have finite values"):
        make_trainer(**{"training": [GOOD, GOOD], which: damaged}, model={"use_segmenter": False}).train()
