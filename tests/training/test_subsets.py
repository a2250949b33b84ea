"""Subsets of a FusionDataset train like a FusionDataset of these pairs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Subset

from gffusion import FusionTrainer
from gffusion.data import FusionDataset
from gffusion.data.transforms import RandomCrop
from gffusion.training.subsets import unwrap_subset
from gffusion.zoo import load_image_processor


def test_selection_of_a_selection(pairs: Path) -> None:
    """Only its own epoch changes its items, and ranges of all images stay."""
    whole = FusionDataset(pairs, RandomCrop(32), infrared_range="folder", cache_in_memory=True)
    chosen = unwrap_subset(Subset(Subset(whole, [3, 2, 0]), [2, 0]))
    assert isinstance(chosen, FusionDataset)
    assert chosen.names == ("rendered_0000", "rendered_0003")
    assert [pair.name for pair in chosen.pairs] == list(chosen.names)
    assert list(chosen.read_label_values()) and len(chosen.read_sizes()) == 2
    assert torch.equal(chosen[0]["infrared_values"], whole[0]["infrared_values"])
    chosen.set_epoch(1)
    assert not torch.equal(chosen[0]["infrared_values"], whole[0]["infrared_values"])
    with pytest.raises(IndexError):
        whole.select([4])


def test_joined_parts_are_refused(make_trainer: Callable[..., FusionTrainer], pairs: Path) -> None:
    """Their class names, labels and sizes would not be checked, and a run would be resumed with others."""
    trainer, data = make_trainer(), FusionDataset(pairs)
    joined: Any = Subset(ConcatDataset([[], ConcatDataset([Subset(data, [0])])]), [0])
    for which in ([joined], [data, joined]):
        with pytest.raises(ValueError, match=r"join the folders in one, such as FusionDataset\(\["):
            FusionTrainer(trainer.model, trainer.args, *which)
    foreign: Any = ConcatDataset([[{}], Subset([{}], [0])])
    assert unwrap_subset(foreign) is foreign


def test_training_on_a_subset(make_trainer: Callable[..., FusionTrainer], pairs: Path) -> None:
    """Other crops in each epoch, and the infrared options are saved with the weights."""
    data = FusionDataset(pairs, RandomCrop(32), infrared_range="percentile")
    trainer = make_trainer(training=data, num_train_epochs=1, model={"use_segmenter": False})
    subset = FusionTrainer(trainer.model, trainer.args, Subset(data, [0, 2]))
    subset.train()
    assert load_image_processor(subset.output_dir / "best").infrared_range == "percentile"
    resumed = FusionTrainer(trainer.model, trainer.args, Subset(data, [0, 3]))
    with pytest.raises(ValueError, match="names of the pairs was"):
        resumed.train(resume_from_checkpoint=True)


@pytest.mark.parametrize("index", [4, 99, -5])
def test_index_beyond_the_end(pairs: Path, index: int) -> None:
    data = FusionDataset(pairs)
    for whole in (data, list(range(4)), Subset(data, [0, 1, 2, 3])):
        with pytest.raises(ValueError, match=rf"index {index}, but its dataset has 4 items: .* from 0 to 3"):
            unwrap_subset(Subset(whole, [0, index]))  # type: ignore[arg-type]
    assert len(unwrap_subset(Subset(data, np.array([-4, 3])))) == 2
