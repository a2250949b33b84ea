"""What some frames of two videos say about all of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import InfraredFrame
from gffusion.cameras.borders import find_borders
from gffusion.cameras.missing import find_missing, join_masks
from gffusion.cameras.same_images import check_different_images
from gffusion.cameras.swapped_images import are_swapped, describe_swap, find_swap

from .folders import StoredFrame, decode_infrared_frame
from .matching import VideoPair
from .time_stamps import TimedFrame

_MAX_FRAMES = 5  # that are examined for swapped videos


def probe_infrared(item: TimedFrame) -> InfraredFrame:
    """Return an infrared image; that of a file has pixels without a measurement in its mask."""
    frame = decode_infrared_frame(item.frame)
    if not isinstance(item.frame, StoredFrame):
        return frame
    return replace(frame, missing=join_masks(frame.missing, find_missing(frame.values, frame.no_data)))


def check_frames(
    frames: Sequence[tuple[NDArray[Any], NDArray[Any]]], names: tuple[str, str], infrared_luma: bool
) -> None:
    """Raise ValueError if both videos are the same, or were swapped; with `infrared_luma`, infrared images can have any colors."""
    for visible, infrared in frames:
        check_different_images(visible, infrared, names)
    if not infrared_luma and are_swapped(find_swap(*pair) for pair in frames[:_MAX_FRAMES]):
        raise ValueError(describe_swap(*names))


def find_common_border(frames: Sequence[InfraredFrame]) -> NDArray[np.bool_] | None:
    """Return the border that all frames have, so that it does not depend on the content of single frames."""
    common: NDArray[np.bool_] | None = None
    for frame in frames:
        if frame.values.shape[:2] != frames[0].values.shape[:2] or frame.is_raw:
            return None
        if np.ptp(frame.values) == 0:  # a fade to black
            continue
        border = find_borders(frame.values, frame.missing)
        if border is None:
            return None
        common = border if common is None else common & border
    return common if common is not None and common.any() else None


def describe_files(pair: VideoPair, interlaced: Sequence[bool]) -> list[str]:
    """Return notes about the kinds of two videos, of which some are interlaced."""
    notes = [
        f"{file.path} is interlaced, and its moving edges are combs: deinterlace it first (ffmpeg -vf yadif)"
        for file, is_interlaced in zip((pair.visible, pair.infrared), interlaced, strict=True)
        if is_interlaced
    ]
    notes += [note for file in (pair.visible, pair.infrared) for note in file.notes]
    if pair.visible.bits > 8:
        notes.append(f"the visible video has {pair.visible.bits} bits, which are reduced to 8")
    if pair.visible.hdr:
        notes.append(f"the visible video is HDR ({pair.visible.hdr}): its values are taken without tone mapping")
    if pair.infrared.bits > 8 and not pair.infrared.is_gray:
        notes.append(f"the infrared video has {pair.infrared.bits} bits but no gray format: they are reduced to 8")
    rates = [f"{float(file.rate):.4g}" for file in (pair.visible, pair.infrared)]
    if rates[0] != rates[1]:
        notes.append(f"frames matched by time stamps: the videos have {' and '.join(rates)} frames per second")
    return notes
