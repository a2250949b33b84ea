"""Sources that `FusionDataset` reads pairs from: folders, or rows of a `datasets.Dataset`."""

from .base import DecodedPair, PairSource, SelectedPairs
from .folders import FolderPairs
from .rows import DatasetRows

__all__ = ["DatasetRows", "DecodedPair", "FolderPairs", "PairSource", "SelectedPairs"]
