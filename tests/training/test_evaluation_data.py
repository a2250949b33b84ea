"""Whole images are evaluated, whatever transforms the evaluation dataset has, or the card has no results."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, Subset, random_split

from gffusion import FusionTrainer
from gffusion.data import FusionDataset, read_image
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip, Resize, Sample
from gffusion.training.data_warnings import warn_about_repeated_pairs, warn_about_wrapper
from gffusion.training.subsets import unwrap_subset

Make = Callable[..., FusionTrainer]
LEFT_OUT = "The evaluation leaves out the random transforms of its data (RandomCrop("
RANDOM = "The items of the evaluation dataset are random"


class Wrapper(Dataset[dict[str, Any]]):
    """As users write it."""

    def __init__(self, base: Any) -> None:
        self.base = base

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.base[index]


class Cropping(Wrapper):
    def __getitem__(self, index: int) -> dict[str, Any]:
        left = int(torch.randint(12, ()))
        return {name: v[..., left : left + 50] for name, v in self.base[index].items() if isinstance(v, torch.Tensor)}


def halve(sample: Sample, rng: np.random.Generator) -> Sample:
    """Not random."""
    return {name: array[:40] for name, array in sample.items() if name in ("visible", "infrared", "labels")}


def test_halves_of_a_random_split(
    make_trainer: Make, pairs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The losses, metrics, figures and the card are those of whole images; the training half keeps its crops."""
    data = FusionDataset(pairs, Compose([RandomCrop(32), RandomFlip()]))
    parts = random_split(data, [2, 2], torch.Generator().manual_seed(0))
    given = make_trainer()
    trainer = FusionTrainer(given.model, given.args, *parts)
    assert caplog.text.count(LEFT_OUT) == 1 and RANDOM not in caplog.text
    scores = trainer.evaluate()
    plain = FusionTrainer(given.model, given.args, data, Subset(FusionDataset(pairs), parts[1].indices)).evaluate()
    assert scores == plain
    trainer.args.num_eval_images = 2
    trainer.train()
    assert trainer.train_dataset[0]["visible_values"].shape == (3, 32, 32)
    assert "gffusion evaluate --visible" in (tmp_path / "run" / "best" / "README.md").read_text()
    width = read_image(next((tmp_path / "run" / "images").iterdir())).shape[1]
    assert width >= 5 * 240 * 64 / 48  # tiles of a height of 240


@pytest.mark.parametrize(
    ("transform", "size"),
    [(Compose([Compose([RandomCrop(32)]), Resize((40, 52)), RandomFlip()]), (40, 52)), (halve, (40, 64))],
)
def test_other_transforms_stay(make_trainer: Make, pairs: Path, transform: Any, size: tuple[int, int]) -> None:
    """But the command of a card would not evaluate these images."""
    trainer = make_trainer(evaluation=FusionDataset(pairs, transform), num_train_epochs=1)
    assert trainer.eval_dataset[0]["visible_values"].shape[1:] == size  # type: ignore[index]
    trainer.train()
    card = (trainer.output_dir / "best" / "README.md").read_text()
    assert "`eval_SSIM`" in card and "gffusion evaluate" not in card


def jitter(sample: Sample, rng: np.random.Generator) -> Sample:
    """Random, without `variants`, so that nobody knows."""
    return sample | {"visible": np.clip(sample["visible"] + rng.uniform(0, 0.1), 0, 1).astype(np.float32)}


@pytest.mark.parametrize(
    ("make", "is_random"),
    [
        (lambda data: data, False),
        (Wrapper, False),
        (lambda data: [data[0], data[1]], False),
        (Cropping, True),
        (lambda data: Subset(Cropping(data), [0, 1]), True),
        (lambda data: FusionDataset(data.pairs[0].visible.parents[1], jitter), True),
        (lambda data: Wrapper(FusionDataset(data.pairs[0].visible.parents[1], RandomCrop(32))), True),
    ],
)
def test_random_items_that_stay(
    make_trainer: Make, pairs: Path, caplog: pytest.LogCaptureFixture, make: Callable[[Any], Any], is_random: bool
) -> None:
    trainer = make_trainer(evaluation=make(FusionDataset(pairs)), num_train_epochs=1)
    assert (RANDOM in caplog.text) == is_random and LEFT_OUT not in caplog.text
    trainer.train()
    assert ("gffusion evaluate" in (trainer.output_dir / "best" / "README.md").read_text()) != is_random


def test_wrappers(pairs: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A warning names what a wrapper does not pass on, if that matters."""

    def warnings(dataset: Any, which: str = "training") -> str:
        caplog.clear()
        warn_about_wrapper(which, dataset)
        return caplog.text

    data = FusionDataset(pairs, RandomCrop(32), infrared_range=(0, 200), agc="clahe", class_names=["a", "b", "c"])
    for wrapper in (Wrapper(data), Subset(Wrapper(data), [0]), Wrapper(Subset(data, [0]))):
        text = warnings(wrapper)
        assert all(name in text for name in ("`set_epoch`", "`infrared_options`", "`class_names`"))
        assert len(caplog.records) == 1 and type(wrapper).__name__ in text
    assert "`set_epoch`" not in warnings(Wrapper(data), "evaluation")
    plain = FusionDataset(pairs, Resize(32))
    plain_text = warnings(Wrapper(plain))
    assert "`class_names`" in plain_text and "`set_epoch`" not in plain_text and "`infrared" not in plain_text
    forwarding = Wrapper(data)
    forwarding.set_epoch, forwarding.infrared_options = data.set_epoch, data.infrared_options  # type: ignore[attr-defined]
    forwarding.class_names = data.class_names  # type: ignore[attr-defined]
    for fine in (data, forwarding, [data[0]], unwrap_subset(Subset(data, [0]))):
        assert not warnings(fine)


def test_pairs_that_are_given_twice(pairs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    link = tmp_path / "link"
    link.symlink_to(pairs)
    warn_about_repeated_pairs("training", FusionDataset([pairs, link]))
    assert "4 of 4 training images are given several times" in caplog.text
    caplog.clear()
    warn_about_repeated_pairs("training", FusionDataset(pairs))
    warn_about_repeated_pairs("training", [{}])
    assert not caplog.text
