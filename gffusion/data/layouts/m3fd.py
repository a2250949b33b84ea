"""The layout of M3FD."""

from pathlib import Path

from .base import FoundPairs, match_folders, select_split

# In the order of the default labels of GFFusionConfig.
M3FD_CLASSES = ("person", "car", "bus", "motorcycle", "lamp", "truck")


def find_m3fd(root: Path, split: str | None = None) -> FoundPairs:
    """Find the pairs of M3FD: `Vis/`, `Ir/`, VOC files in `Annotation/` (detection part) and label maps in `masks/`.

    Liu et al., "Target-aware Dual Adversarial Learning and a Multi-scenario Multi-Modality Benchmark to Fuse Infrared and
    Visible for Object Detection" (CVPR 2022), https://github.com/JinyuanLiu-CV/TarDAL. The dataset has no splits and no
    label maps. A split is a list of file names, `split.txt` or `meta/split.txt`, as in TarDAL. `gffusion masks` can write
    `masks/`. The YOLO files of TarDAL in `labels/` number the classes in another order and are ignored.
    """
    match = match_folders(root, "m3fd", ("Vis", "vi", "visible"), ("Ir", "infrared"), ("masks",), ("Annotation",))
    return FoundPairs(select_split(root, split, match), M3FD_CLASSES)
