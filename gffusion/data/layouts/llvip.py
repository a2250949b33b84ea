"""The layout of LLVIP."""

import dataclasses
from pathlib import Path

from gffusion.data.pairs import match_pairs

from .base import FoundPairs, find_folder, find_split, require_folder


def find_llvip(root: Path, split: str | None = None) -> FoundPairs:
    """Find the pairs of LLVIP: `train/` and `test/` in both `visible/` and `infrared/`, and VOC files in `Annotations/`.

    Jia et al., "LLVIP: A Visible-infrared Paired Dataset for Low-light Vision" (ICCV workshops 2021),
    https://github.com/bupt-ai-cz/LLVIP. The only class is person. A split is required. Label maps are read from `masks/`,
    where `gffusion masks` can write them.
    """
    if split is None:
        raise ValueError('the layout \'llvip\' requires a split; pass split="train" or split="test"')
    visible, infrared = (
        find_split(require_folder(root, "llvip", name), split, "llvip") for name in ("visible", "infrared")
    )
    match = match_pairs(visible, infrared, find_folder(root, "masks"), find_folder(root, "Annotations"))
    # Labels and boxes of all splits share a folder, so files of other splits are not reported as unmatched.
    return FoundPairs(dataclasses.replace(match, labels_only=(), boxes_only=()), ("person",))
