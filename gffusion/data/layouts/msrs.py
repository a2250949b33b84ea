"""The layout of MSRS."""

from pathlib import Path

from .base import FoundPairs, find_split, match_folders
from .mfnet import MFNET_CLASSES


def find_msrs(root: Path, split: str | None = None) -> FoundPairs:
    """Find the pairs of MSRS: `vi/`, `ir/` and `Segmentation_labels/` in `train/` and `test/`.

    Tang et al., "PIAFusion: A progressive infrared and visible image fusion network based on illumination aware"
    (Information Fusion 2022), https://github.com/Linfeng-Tang/MSRS. `Visible/`, `Infrared/` and `Label/` are also
    accepted. The labels are those of MFNet.
    """
    part, labels = find_split(root, split, "msrs"), ("Segmentation_labels", "Label", "labels")
    return FoundPairs(match_folders(part, "msrs", ("vi", "Visible"), ("ir", "Infrared"), labels), MFNET_CLASSES)
