"""The torch dataset on real pairs."""

from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from gffusion.data import FusionDataset
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip


@pytest.mark.parametrize(("folder", "count"), [("val/msrs", 40), ("val/m3svd", 12), ("train/roadscene", 170)])
def test_real_pairs(data_dir: Path, folder: str, count: int) -> None:
    dataset = FusionDataset(data_dir / folder, Compose([RandomCrop(128), RandomFlip()]))
    assert len(dataset) == count
    item = dataset[count - 1]
    assert (item["visible_values"].shape, item["infrared_values"].shape) == ((3, 128, 128), (1, 128, 128))
    assert item["visible_values"].std() > 0.01


@pytest.mark.slow
@pytest.mark.processes
def test_real_boxes_in_spawned_workers(data_dir: Path) -> None:
    dataset = FusionDataset(data_dir / "val/msrs")
    assert set(dataset.read_sizes()) == {(480, 640)}
    assert dataset.class_names == ("person", "bicycle", "car")
    loader = DataLoader(dataset, batch_size=None, sampler=[0, 39], num_workers=1, multiprocessing_context="spawn")
    for index, item in zip((0, 39), loader, strict=True):
        assert (item.keys(), item["name"]) == (dataset[index].keys(), dataset.names[index])
