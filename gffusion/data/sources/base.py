"""Interface of the sources of pairs."""

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gffusion.data.boxes import Boxes
from gffusion.data.infrared_range import recording_of
from gffusion.data.pairs import ImagePair
from gffusion.utils.notes import find_new_kinds

logger = logging.getLogger(__name__)

DecodedPair: TypeAlias = dict[str, NDArray[Any]]
"""`"visible"` and `"infrared"` as stored, (H, W) or (H, W, 3), and, if the source has them, `"labels"` (H, W), `"boxes"`
(N, 4), `"box_classes"` (N,), `"missing"` (H, W), True where nothing was measured, and `"is_raw"` if the values are counts."""


class PairSource(ABC):
    """Base class of sources of pairs, which can be read one by one, in any order and in any process.

    Attributes:
        names: Name of every pair, in order.
        pairs: Files of every pair, in order; empty if pairs are not read from folders.
        class_names: Names of the classes of boxes, and of label maps after the background, or None if unknown.
        has_labels: Whether items have label maps.
        has_boxes: Whether every pair has boxes.
    """

    names: tuple[str, ...]
    pairs: tuple[ImagePair, ...] = ()
    class_names: tuple[str, ...] | None
    has_labels: bool
    has_boxes: bool

    @property
    def settings(self) -> str:
        """What the content of decoded pairs depends on besides their files, to compare two runs."""
        return ""

    @property
    def recordings(self) -> Sequence[Hashable]:
        """The recording of every pair: each has a running range of its own."""
        return [recording_of(name) for name in self.names]

    @abstractmethod
    def describe(self, index: int) -> str:
        """Return where a pair comes from, for messages."""

    def identify(self, index: int) -> str:
        """Return a text that is the same for pairs with the same visible image: its path, or a digest of its content."""
        return str(self.pairs[index].visible.resolve()) if self.pairs else digest(self.read(index)["visible"].tobytes())

    @abstractmethod
    def read(self, index: int) -> DecodedPair:
        """Read a pair; raise OSError or ValueError if it cannot be read or its images differ in size."""

    def read_infrared(self, index: int) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Read only the infrared image of a pair and its missing pixels, maybe without alignment and search for borders."""
        decoded = self.read(index)
        return decoded["infrared"], decoded.get("missing")

    @abstractmethod
    def read_labels(self, index: int) -> NDArray[Any]:
        """Read only the label map of a pair."""

    @abstractmethod
    def read_size(self, index: int) -> tuple[int, int]:
        """Read height and width of a pair, from file headers where possible."""


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

    @property
    def recordings(self) -> Sequence[Hashable]:
        """The recording of every pair."""
        recordings = self._source.recordings
        return [recordings[index] for index in self._indices]

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


def log_new_kinds(notes: Sequence[str], where: str, logged: set[str]) -> None:
    """Log the first note of every kind, what was changed or assumed while reading, and add the kinds to `logged`."""
    for note in find_new_kinds(notes, logged):
        logger.warning("%s: %s (further pairs like it are not reported)", where, note)


def digest(content: bytes) -> str:
    """Return a text that differs for other content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def to_arrays(boxes: Boxes) -> DecodedPair:
    """Return boxes as entries of a decoded pair."""
    return {"boxes": boxes.coordinates, "box_classes": boxes.classes}
