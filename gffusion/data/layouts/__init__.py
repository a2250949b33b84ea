"""Find the pairs of known datasets, arranged as users download them."""

from .base import FoundPairs
from .finder import LAYOUTS, find_pairs

__all__ = ["LAYOUTS", "FoundPairs", "find_pairs"]
