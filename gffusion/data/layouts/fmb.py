"""The layout of FMB."""

from pathlib import Path

from .base import FoundPairs, find_split, match_folders

FMB_CLASSES = (
    "road", "sidewalk", "building", "lamp", "sign", "vegetation", "sky",
    "person", "car", "truck", "bus", "motorcycle", "bicycle", "pole",
)  # fmt: skip


def find_fmb(root: Path, split: str | None = None) -> FoundPairs:
    """Find the pairs of FMB: `Visible/`, `Infrared/` and `Label/` in `train/` and `test/`.

    Liu et al., "Multi-interactive Feature Learning and a Full-time Multi-modality Benchmark for Image Fusion and
    Segmentation" (ICCV 2023), https://github.com/JinyuanLiu-CV/SegMiF. The color-coded labels in `color/` are ignored.
    Label 0 is the background, followed by `FMB_CLASSES`.
    """
    part = find_split(root, split, "fmb")
    match = match_folders(part, "fmb", ("Visible", "vi"), ("Infrared", "ir"), labels=("Label", "labels"))
    return FoundPairs(match, FMB_CLASSES)
