"""The layout of the TNO Image Fusion Dataset."""

from pathlib import Path

from .base import FoundPairs, match_folders, select_split


def find_tno(root: Path, split: str | None = None) -> FoundPairs:
    """Find the pairs of the TNO Image Fusion Dataset as fusion papers repackage it: `vi/` and `ir/`.

    Toet, "The TNO Multiband Image Data Collection" (Data in Brief 2017), https://doi.org/10.6084/m9.figshare.1008029. The
    original archive, with one folder per scene and irregular names, is not supported. A split is a list of file names,
    `split.txt` or `meta/split.txt`.
    """
    visible, infrared = ("vi", "vis", "visible"), ("ir", "infrared")
    return FoundPairs(select_split(root, split, match_folders(root, "tno", visible, infrared)))
