"""Read and write image files, match pairs, read boxes and known datasets, and transform pairs.

Importing this module does not import torch: names that need it are loaded on first use.
"""

from typing import TYPE_CHECKING

from gffusion.utils.lazy_names import load_on_use

from .boxes import Boxes, NamedBoxes, read_boxes, read_coco
from .decoded_image import ImageReadError
from .io import IMAGE_SUFFIXES, read_image, read_labels, read_size, write_image
from .layouts import LAYOUTS, FoundPairs, find_pairs
from .pairs import ImagePair, PairMatch, match_pairs
from .raw_frames import RawFrame
from .reading import PairImages, ReadOptions, read_pair

if TYPE_CHECKING:
    from .dataset import FusionDataset
    from .sources import PairSource

__all__ = [
    "IMAGE_SUFFIXES",
    "LAYOUTS",
    "Boxes",
    "FoundPairs",
    "FusionDataset",
    "ImagePair",
    "ImageReadError",
    "NamedBoxes",
    "PairImages",
    "PairMatch",
    "PairSource",
    "RawFrame",
    "ReadOptions",
    "find_pairs",
    "match_pairs",
    "read_boxes",
    "read_coco",
    "read_image",
    "read_labels",
    "read_pair",
    "read_size",
    "write_image",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = load_on_use(__name__, {"FusionDataset": "dataset", "PairSource": "sources"})
