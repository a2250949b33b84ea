"""A torch data set of visible/infrared(/labels) pairs in folders."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from ..image_processing_gffusion import to_infrared_values, to_visible_values
from .io import read_image, read_labels
from .pairs import ImagePair, PairMatch, match_pairs
from .transforms import Sample, Transform

logger = logging.getLogger(__name__)


class FusionDataset(Dataset[dict[str, Any]]):
    """Aligned pairs of `root/visible` and `root/infrared`, with the class index maps of `root/labels` if that exists.

    Files belong together by stem (see `match_pairs`); those without a partner are reported once through `logging`.
    An item is a dict of

    - `"visible_values"`: (3, H, W) float32 in [0, 1]; a grey image is repeated,
    - `"infrared_values"`: (1, H, W) float32 in [0, 1]; a colour image is reduced to its BT.601 luma,
    - `"labels"`: (H, W) int64, only when the set has labels,
    - `"name"`: the stem of the visible file.

    8-bit images are divided by 255, 16-bit images by 65535; float images must lie in [0, 1].

    Args:
        root: The folder, or several whose pairs are joined in that order.
        transform: Called with the sample (see `transforms.Sample`) and a generator that depends on `seed`, the epoch
            and the index alone, so that an item is the same in any number of workers.
        seed: Seed of that generator, at least 0.
        cache_in_memory: Decodes every image now and keeps it in its own dtype. Forked workers share this memory.

    Raises:
        FileNotFoundError: If a folder is missing.
        NotADirectoryError: If a folder is a file.
        ValueError: If no root or a negative seed is given, a folder holds no pairs, or only some pairs have labels.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        transform: Transform | None = None,
        seed: int = 0,
        cache_in_memory: bool = False,
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        roots = [root] if isinstance(root, str | os.PathLike) else root
        self._pairs = tuple(pair for folder in roots for pair in _find_pairs(Path(folder)))
        self._has_labels = _all_have_labels(self._pairs)
        self._transform = transform
        self._seed = seed
        # Workers that outlive an epoch hold a copy of this object; only shared memory tells them of the next one.
        self._epoch = torch.zeros(1, dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]
        self._decoded = [_read(pair) for pair in self._pairs] if cache_in_memory else None

    @property
    def pairs(self) -> tuple[ImagePair, ...]:
        """The files of every item, in order."""
        return self._pairs

    def __len__(self) -> int:
        """Returns the number of pairs."""
        return len(self._pairs)

    def set_epoch(self, epoch: int) -> None:
        """Makes `transform` draw anew, in running workers too.

        Args:
            epoch: Number of the epoch, at least 0.

        Raises:
            ValueError: If `epoch` is negative.
        """
        if epoch < 0:
            raise ValueError(f"epoch must be at least 0, got {epoch}")
        self._epoch[0] = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Reads, transforms and converts one pair.

        Raises:
            ImageReadError: If a file cannot be read.
            ValueError: If the files of the pair differ in size, or float values lie outside [0, 1].
        """
        index = range(len(self))[index]
        pair = self._pairs[index]
        sample = _to_sample(pair, self._decoded[index] if self._decoded else _read(pair))
        if self._transform is not None:
            rng = np.random.default_rng((self._seed, int(self._epoch), index))
            sample = self._transform(sample, rng)
        item: dict[str, Any] = {
            "visible_values": _channels_first(sample["visible"]),
            "infrared_values": _channels_first(sample["infrared"]),
            "name": pair.name,
        }
        if self._has_labels:
            item["labels"] = torch.from_numpy(np.ascontiguousarray(sample["labels"]))
        return item


def _find_pairs(root: Path) -> tuple[ImagePair, ...]:
    labels = root / "labels"
    match = match_pairs(root / "visible", root / "infrared", labels if labels.exists() else None)
    _report_unmatched(root, match)
    return match.pairs


def _report_unmatched(root: Path, match: PairMatch) -> None:
    unmatched = {
        "visible without infrared": match.visible_only,
        "infrared without visible": match.infrared_only,
        "labels without a pair": match.labels_only,
    }
    parts = [
        f"{len(files)} {kind} ({', '.join(file.name for file in files[:3])}{', ...' if len(files) > 3 else ''})"
        for kind, files in unmatched.items()
        if files
    ]
    if parts:
        logger.warning("%s: left out %s", root, "; ".join(parts))


def _all_have_labels(pairs: tuple[ImagePair, ...]) -> bool:
    if not pairs:
        raise ValueError("no data set folder was given; name at least one root")
    unlabelled = [pair for pair in pairs if pair.labels is None]
    if unlabelled and len(unlabelled) < len(pairs):
        raise ValueError(
            f"{len(unlabelled)} of {len(pairs)} pairs have no label map (first: {unlabelled[0].visible}); "
            "label all pairs or none, or leave these out"
        )
    return not unlabelled


def _read(pair: ImagePair) -> dict[str, NDArray[Any]]:
    """Reads the files of a pair as they are stored, and refuses sizes that differ."""
    sample = {"visible": read_image(pair.visible), "infrared": read_image(pair.infrared)}
    files = {"visible": pair.visible, "infrared": pair.infrared}
    if pair.labels is not None:
        sample["labels"] = read_labels(pair.labels)
        files["labels"] = pair.labels
    height, width = sample["visible"].shape[:2]
    for name, array in sample.items():
        if array.shape[:2] != (height, width):
            raise ValueError(
                f"{files['visible']} is {width}x{height} but {files[name]} is {array.shape[1]}x{array.shape[0]} "
                "(width x height); the images of a pair must be aligned pixel by pixel"
            )
    return sample


def _to_sample(pair: ImagePair, decoded: dict[str, NDArray[Any]]) -> Sample:
    try:
        visible = np.moveaxis(to_visible_values(decoded["visible"]), 0, -1)
        infrared = np.moveaxis(to_infrared_values(decoded["infrared"]), 0, -1)
    except ValueError as error:
        raise ValueError(f"{pair.visible}, {pair.infrared}: {error}") from error
    sample = {"visible": visible, "infrared": infrared}
    if "labels" in decoded:
        sample["labels"] = decoded["labels"].astype(np.int64)
    return sample


def _channels_first(image: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
