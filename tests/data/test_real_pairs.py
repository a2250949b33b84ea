"""The torch dataset on real pairs."""

from pathlib import Path

import pytest

from gffusion.data import FusionDataset
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip


@pytest.mark.parametrize(
    ("folder", "count", "class_names"),
    [("val/msrs", 40, ("person", "bicycle", "car")), ("val/m3svd", 12, None), ("train/roadscene", 170, None)],
)
def test_real_pairs(data_dir: Path, folder: str, count: int, class_names: tuple[str, ...] | None) -> None:
    dataset = FusionDataset(data_dir / folder, Compose([RandomCrop(128), RandomFlip()]))
    sizes = dataset.read_sizes()
    assert (len(dataset), len(sizes), dataset.class_names) == (count, count, class_names)
    assert folder == "train/roadscene" or set(sizes) == {(480, 640)}
    item = dataset[count - 1]
    assert (item["visible_values"].shape, item["infrared_values"].shape) == ((3, 128, 128), (1, 128, 128))
    assert item["visible_values"].std() > 0.01
