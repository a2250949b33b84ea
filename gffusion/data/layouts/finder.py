"""Find the pairs of a dataset in any supported layout."""

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from gffusion.data.boxes import NamedBoxes
from gffusion.data.pairs import describe_entry

from .base import OWN_NAMES, FoundPairs, count_names
from .folders import find_folders, find_listed
from .known import find_fmb, find_llvip, find_m3fd, find_mfnet, find_msrs, find_roadscene, find_tno

logger = logging.getLogger(__name__)

Layout: TypeAlias = Callable[[Path, str | None, bool], FoundPairs]
"""Takes the folder of a dataset and the name of a split, such as "train", None for all pairs, and whether to find boxes."""

LAYOUTS: dict[str, Layout] = {
    "folders": find_folders,
    "m3fd": find_m3fd,
    "mfnet": find_mfnet,
    "msrs": find_msrs,
    "roadscene": find_roadscene,
    "tno": find_tno,
    "llvip": find_llvip,
    "fmb": find_fmb,
}
"""The supported layouts by name; the docstring of each function describes its folders."""


def find_pairs(
    root: str | os.PathLike[str], layout: str = "folders", split: str | None = None, with_boxes: bool = True
) -> FoundPairs:
    """Find the pairs of a dataset, and report files without a partner through `logging`.

    Args:
        root: Folder of the dataset; or a CSV file of pairs, see [`list_pairs`], which has neither layout nor split.
        layout: A name in `LAYOUTS`.
        split: Name of a split, if the layout has splits.
        with_boxes: Whether to find boxes. Without, damaged box files do not matter.

    Raises:
        FileNotFoundError, NotADirectoryError: If a folder is missing or a file, or a list is missing.
        ValueError: If the layout is unknown, a CSV file is damaged, or [`match_pairs`] or [`read_coco`] refuses the files. The names
            of classes are checked where they are used, see [`FoundPairs.check_class_names`].

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for kind in ("visible", "infrared"):
        ...         Path(root, kind).mkdir()
        ...         Path(root, kind, "street.png").touch()
        ...     [pair.name for pair in find_pairs(root).pairs]
        ['street']
    """
    if layout not in LAYOUTS:
        raise ValueError(f"the layout {layout!r} is unknown; choose one of {', '.join(LAYOUTS)}")
    root = Path(root)
    if root.suffix.lower() == ".csv" and not root.is_dir():
        if split is not None:
            raise ValueError(
                f"{root} lists pairs and has no split {split!r}: leave the split out, or write a list for it"
            )
        found = find_listed(root, with_boxes)
    elif root.is_file():
        raise NotADirectoryError(
            f"{root} is a file, but must be the folder of a dataset of layout {layout!r}. {OWN_NAMES}"
        )
    elif not root.is_dir():
        raise FileNotFoundError(f"the folder {root} does not exist; it should contain a dataset of layout {layout!r}")
    else:
        found = LAYOUTS[layout](root, split, with_boxes)
    unmatched: dict[str, Iterable[Path | NamedBoxes]] = {
        "visible without infrared": found.match.visible_only,
        "infrared without visible": found.match.infrared_only,
        "labels without a pair": found.match.labels_only,
        "boxes without a pair": found.match.boxes_only,
    }
    if parts := [count_names([*map(describe_entry, left)], kind) for kind, left in unmatched.items() if left]:
        logger.warning("%s: left out %s", root, "; ".join(parts))
    for note in found.match.notes:
        logger.warning("%s: %s", root, note)
    return found
