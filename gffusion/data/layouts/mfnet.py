"""The layout of MFNet."""

from pathlib import Path

from gffusion.data.pairs import match_pairs

from .base import FoundPairs, find_folder, require_folder, select_split

MFNET_CLASSES = ("car", "person", "bike", "curve", "car_stop", "guardrail", "color_cone", "bump")


def find_mfnet(root: Path, split: str | None = None) -> FoundPairs:
    """Find the pairs of MFNet: four-channel `images/` (red, green, blue, thermal) and `labels/`.

    Ha et al., "MFNet: Towards real-time semantic segmentation for autonomous vehicles with multi-spectral scenes" (IROS
    2017), https://github.com/haqishen/MFNet-pytorch. A split is a list of stems, `split.txt`: train, val, test, test_day
    or test_night. Files ending in `_flip` are created by `make_flip.py` of that repository; missing ones are reported and
    left out. Label 0 is unlabeled, followed by `MFNET_CLASSES`.
    """
    images = require_folder(root, "mfnet", "images")
    match = match_pairs(images, images, find_folder(root, "labels"))
    return FoundPairs(select_split(root, split, match), MFNET_CLASSES)
