"""The images of pairs, in the forms that `predict` takes, as arrays."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers.utils import logging

from gffusion.cameras.cleaning import remove_colors
from gffusion.cameras.missing import fill_missing, join_masks
from gffusion.data.given_images import decode_given
from gffusion.data.infrared_frames import find_transparent, to_frame
from gffusion.data.reading import PairImages
from gffusion.data.visible_range import find_unused_range
from gffusion.models.gffusion.array_checks import check_mask, list_masks
from gffusion.models.gffusion.image_arrays import refuse_lists_of_one_modality, to_array
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.image_sizes import ALIGN_FIRST, check_same_size
from gffusion.models.gffusion.infrared_options import InfraredOptions, check_options
from gffusion.utils.notes import find_new_kinds

logger = logging.get_logger(__name__)

_noted: set[str] = set()  # kinds of notes


def list_pairs(pairs: Any) -> list[Any]:
    """Return the pairs as a list; raise ValueError if an item is not a pair."""
    is_one = isinstance(pairs, PairImages | np.ndarray | Tensor)
    items = [pairs] if is_one else list(pairs)
    refuse_lists_of_one_modality(pairs if isinstance(pairs, tuple) else items)  # the items of `zip(*pairs)`, too
    wrong = items if is_one else [item for item in items if not _is_pair(item)]
    if wrong:
        is_longer = not is_one and isinstance(wrong[0], tuple | list)
        size = f" of {len(wrong[0])}" if is_longer else ""
        advice = "give masks as `missing=[mask, ...]`" if is_longer else "put a single pair in brackets, `[pair]`"
        raise ValueError(
            "`pairs` must be a list of pairs, each (visible, infrared) or as `read_pair` returns it, got "
            f"{'a' if is_one else 'a list with a'} {type(wrong[0]).__name__}{size}: {advice}."
        )
    return items


def _is_pair(item: Any) -> bool:
    return isinstance(item, PairImages) or (isinstance(item, tuple | list) and len(item) == 2)


def adapt_options(
    infrared_options: Iterable[InfraredOptions] | None,
    image_processor: GFFusionImageProcessor,
    pairs: Sequence[tuple[Any, Any] | PairImages],
) -> list[InfraredOptions]:
    """Return the options of every pair, by default those of the processor, with the ranges of radiometric files."""
    given: Any = list(infrared_options) if isinstance(infrared_options, Iterator) else infrared_options
    if given is None:
        given = [image_processor.infrared_options] * len(pairs)
    check_options(given, len(pairs))
    return [
        pair.adapt(option) if isinstance(pair, PairImages) else option
        for option, pair in zip(given, pairs, strict=True)
    ]


def to_arrays(
    pairs: Sequence[tuple[Any, Any] | PairImages],
    missing: Iterable[NDArray[np.bool_] | None] | None,
    infrared_luma: bool,
) -> tuple[list[tuple[NDArray[Any], NDArray[Any]]], list[NDArray[np.bool_] | None]]:
    """Return the images of pairs, filled and without false colors, and the mask of missing pixels of every pair."""
    if missing is None:
        missing = [pair.missing if isinstance(pair, PairImages) else None for pair in pairs]
    images, masks = [], []
    for number, (pair, given) in enumerate(zip(pairs, list_masks(missing, len(pairs)), strict=True), start=1):
        visible, mask = to_array(pair[0], "visible"), _to_mask(given)
        infrared, transparent = _read_infrared(pair[1], visible.shape[:2], infrared_luma)
        check_mask(mask, visible.shape[:2])
        mask = join_masks(mask, transparent)
        if not infrared_luma and not isinstance(pair, PairImages):
            _warn_of_unused_range(visible)
            infrared = _map_colors(infrared, mask, f"the infrared image of pair {number}")
        images.append((visible, infrared if mask is None else fill_missing(infrared, mask)))
        masks.append(mask)
    return images, masks


def _to_mask(mask: Any) -> Any:
    """Return a mask as an array, and `None` for that of a masked array without masked values."""
    if mask is np.ma.nomask:
        return None
    return mask.numpy(force=True) if isinstance(mask, Tensor) else mask


def _read_infrared(
    image: Any, size: tuple[int, ...], infrared_luma: bool
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return an infrared image, and where it is transparent; of palette images, the values that [`read_pair`] returns."""
    decoded = decode_given(image, "infrared")
    if decoded.indices is None and find_transparent(decoded) is None:
        return decoded.image, None
    frame = to_frame(decoded, not infrared_luma)
    check_same_size({"the visible image": size, "the infrared image": frame.values.shape[:2]}, ALIGN_FIRST)
    for note in find_new_kinds(frame.notes, _noted):
        logger.warning(f"infrared: {note} (further pairs like it are not reported)")
    return frame.values, frame.missing


def _warn_of_unused_range(visible: NDArray[Any]) -> None:
    if unused := find_unused_range(visible):
        found, white = unused
        factor = 65536 / (white + 1) if visible.dtype == np.uint16 else 1 / white
        logger.warning_once(f"{found}: if it looks too dark, multiply its values by {factor:.3g}")


def _map_colors(infrared: NDArray[Any], missing: NDArray[np.bool_] | None, name: str) -> NDArray[Any]:
    """Return an infrared image without false colors, as [`read_pair`] does."""
    if infrared.ndim == 2:
        return infrared
    values, notes = remove_colors(infrared if missing is None else fill_missing(infrared, missing), name)
    for note in notes:
        logger.warning_once(f"infrared: {note}")
    return values
