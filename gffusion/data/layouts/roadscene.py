"""The layout of RoadScene."""

from pathlib import Path

from .base import FoundPairs, match_folders, select_split


def find_roadscene(root: Path, split: str | None = None) -> FoundPairs:
    """Find the pairs of RoadScene: `crop_LR_visible/` and `cropinfrared/`.

    Xu et al., "U2Fusion: A unified unsupervised image fusion network" (TPAMI 2022), https://github.com/hanna-xu/RoadScene.
    `crop_HR_visible/` is ignored: its images are larger than the infrared ones. The folders `vi/` and `ir/` of repackaged
    copies are accepted, too. A split is a list of file names, `split.txt` or `meta/split.txt`.
    """
    visible, infrared = ("crop_LR_visible", "vi", "visible"), ("cropinfrared", "ir", "infrared")
    return FoundPairs(select_split(root, split, match_folders(root, "roadscene", visible, infrared)))
