"""Some pairs of another source."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import DecodedPair, PairSource


class SelectedPairs(PairSource):
    """Pairs of another source with some indices, in their order."""

    def __init__(self, source: PairSource, indices: Sequence[int]) -> None:
        self._source, self._indices = source, indices
        self.names = tuple(source.names[index] for index in indices)
        self.pairs = tuple(source.pairs[index] for index in indices) if source.pairs else ()
        self.class_names, self.has_labels, self.has_boxes = source.class_names, source.has_labels, source.has_boxes

    @property
    def settings(self) -> str:
        """What the content of decoded pairs depends on besides their files."""
        return self._source.settings

    def describe(self, index: int) -> str:
        """Return where a pair comes from."""
        return self._source.describe(self._indices[index])

    def identify(self, index: int) -> str:
        """Return the path or a digest of the visible image of a pair."""
        return self._source.identify(self._indices[index])

    def read(self, index: int) -> DecodedPair:
        """Read a pair."""
        return self._source.read(self._indices[index])

    def read_infrared(self, index: int) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Read only the infrared image of a pair and its missing pixels."""
        return self._source.read_infrared(self._indices[index])

    def read_labels(self, index: int) -> NDArray[Any]:
        """Read only the label map of a pair."""
        return self._source.read_labels(self._indices[index])

    def read_size(self, index: int) -> tuple[int, int]:
        """Read height and width of a pair."""
        return self._source.read_size(self._indices[index])
