"""Image files in, tensors out: reading and writing, pair matching, data sets and paired transforms.

Importing this module does not import torch: the names that need it load on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .io import IMAGE_SUFFIXES, ImageReadError, read_image, read_labels, write_image
from .pairs import ImagePair, PairMatch, match_pairs

if TYPE_CHECKING:
    from .dataset import FusionDataset

__all__ = [
    "IMAGE_SUFFIXES",
    "FusionDataset",
    "ImagePair",
    "ImageReadError",
    "PairMatch",
    "match_pairs",
    "read_image",
    "read_labels",
    "write_image",
]

_NEEDS_TORCH = {"FusionDataset": ".dataset"}


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_NEEDS_TORCH[name], __name__), name)
