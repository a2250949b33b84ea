"""Fuse ordered frames, as videos and live streams do: state that goes from frame to frame is kept here."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import InfraredFrame
from gffusion.cameras.missing import join_masks
from gffusion.cameras.rig import describe_size
from gffusion.cameras.running_range import RunningRange
from gffusion.data import PairImages, ReadOptions
from gffusion.data.infrared_range import note_flat_range
from gffusion.data.reading import clean, complete_pair
from gffusion.data.visible_range import VisibleFrame, map_visible
from gffusion.inference.interface import FusionModel
from gffusion.inference.predict import Prediction, predict
from gffusion.models.gffusion.image_arrays import to_array
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.infrared_options import InfraredOptions, Limits
from gffusion.zoo.checks import check_model_object, check_processor_object

from .semantics import SemanticRefresh, check_refresh

_PALETTE_NOTE = "infrared colors mapped back"
# Range of the levels of a channel without which palettes are not compared, in every fourth row and column.
_MIN_CONTRAST, _PERCENTILES, _STEP = 64, (1, 99), 4


class PaletteError(ValueError):
    """A frame has another palette than those before, or than most frames of its video."""


class PreparedFrame(NamedTuple):
    """A moment of both cameras.

    Attributes:
        images: The images, of one size.
        options: Options of the infrared image.
        palette: Notes on its palette or that of frames before.
        limits: [`RunningRange.state`][gffusion.cameras.running_range.RunningRange] with `smooth_range`.
        infrared_type: Type of the infrared image as it was given.
    """

    images: PairImages
    options: InfraredOptions
    palette: tuple[str, ...] | None
    limits: tuple[Limits, ...] = ()
    infrared_type: np.dtype[Any] | None = None


def read_palette(frame: InfraredFrame, infrared: NDArray[Any]) -> tuple[str, ...] | None:
    """Return the notes on the palette of an image; `None` if few colors are in use: dark ones look alike in many palettes.

    `frame` is the image after it was cleaned, and `infrared` before, (H, W) or (H, W, 3).
    """
    if infrared.dtype.kind not in "iu":  # floating-point values have no colors, others are refused later
        return None
    tested = infrared[::_STEP, ::_STEP].reshape(-1, *infrared.shape[2:])
    low, high = np.percentile(tested, _PERCENTILES, axis=0)
    if np.max(high - low) < _MIN_CONTRAST:
        return None
    return tuple(note for note in frame.notes if note.startswith(_PALETTE_NOTE))


def mask_border(frame: InfraredFrame, border: NDArray[np.bool_] | None, name: str) -> InfraredFrame:
    """Return an infrared image with the border of the video in its mask, or raise ValueError if their sizes differ."""
    if border is not None and border.shape != frame.values.shape[:2]:
        (height, width), (old_height, old_width) = frame.values.shape[:2], border.shape
        raise ValueError(
            f"the size of {name} is {width}x{height}, but its border was found in frames of {old_width}x{old_height}: split "
            "the video there, or take borders as measured with keep_borders=True (--keep-borders)"
        )
    return replace(frame, missing=join_masks(frame.missing, border))


class FrameFuser:
    """Fuse ordered frames with a model.

    Args:
        model: The model, in evaluation mode, on its device.
        image_processor: Its image processor; `smooth_range` smooths the range over the frames.
        read_options: How infrared images are cleaned and aligned; `align` is a [`Rig`], `"resize"` or `"none"`.
        segment: Whether to predict label maps.
        semantic_every: Number of frames that share the tokens of CLIP, see [`SemanticRefresh`].
        border: (H, W), True where the infrared images have a border, so that it is not searched for in every image.
        limits: [`PreparedFrame.limits`] of the frame before the first one.
        infrared_options: Options of the infrared images, instead of those of the processor.
        palette: [`PreparedFrame.palette`] of most frames.
        patience: Number of consecutive frames of another palette after which it is taken; 0 refuses all of them.

    Raises:
        TypeError: If `read_options` are something else.
        ValueError: If options exclude each other, or do not fit ordered frames.
    """

    def __init__(
        self,
        model: FusionModel,
        image_processor: GFFusionImageProcessor,
        read_options: ReadOptions | None = None,
        segment: bool = False,
        semantic_every: int = 1,
        border: NDArray[np.bool_] | None = None,
        limits: Sequence[Limits] = (),
        infrared_options: InfraredOptions | None = None,
        palette: tuple[str, ...] | None = None,
        patience: int = 0,
    ) -> None:
        check_model_object(model, can_be_exported=True)
        check_processor_object(image_processor)
        if not isinstance(read_options, ReadOptions | None):
            raise TypeError(
                f"`read_options` must be ReadOptions, such as ReadOptions(align=Rig.load(...)), got {type(read_options).__name__}"
            )
        read_options = read_options or ReadOptions()
        options = infrared_options or image_processor.infrared_options
        check_refresh(model, semantic_every)
        if segment and not model.config.use_segmenter:
            raise ValueError("`segment` (--segment) needs a model with a segmenter")
        if options.infrared_range == "folder":
            raise ValueError(
                'infrared_range="folder" is measured over all frames before the first one is fused: measure it first and pass '
                "[low, high]"
            )
        if read_options.align == "auto":
            raise ValueError(
                '`align` must be a Rig, "resize" or "none" for frames: find the rig first, for example with gffusion align'
            )
        self.segment, self.options = segment, options
        self._model, self._processor, self._border = model, image_processor, border
        self._read_options = read_options if border is None else replace(read_options, keep_borders=True)
        self._running = RunningRange(options.smooth_range, limits) if options.smooth_range else None
        self._semantics = SemanticRefresh(model, semantic_every) if semantic_every > 1 else None
        self._palette, self._patience, self._is_given = palette, patience, palette is not None
        self._other: tuple[str, ...] | None = None  # palette of the frames before, if it is refused
        self._others = 0  # number of these frames
        self._infrared_type: np.dtype[Any] | None = None  # of the last frame that was fused
        self._sizes: dict[str, tuple[int, ...]] = {}  # of the last images that were prepared
        self._visible_type: str | None = None  # of the last one that was prepared, with its channels

    @property
    def refreshed(self) -> int | None:
        """Number of frames for which CLIP's tokens were computed; `None` if they are for every frame."""
        return None if self._semantics is None else self._semantics.refreshed

    def reset_semantics(self) -> None:
        """Compute CLIP's tokens anew for the next frame."""
        if self._semantics is not None:
            self._semantics.reset()

    def prepare(
        self,
        visible: NDArray[Any],
        infrared: NDArray[Any] | InfraredFrame,
        names: tuple[str, str] = ("the visible image", "the infrared image"),
        largest: int | None = None,
    ) -> PreparedFrame:
        """Clean and align the images of the next frame, and choose its range.

        Args:
            visible: (H, W) or (H, W, 3).
            infrared: (h, w) or (h, w, 3); or the image of a file as it was decoded, before it is cleaned.
            names: Names of the images in messages.
            largest: Largest count that the infrared format can hold, if it is not that of the type.

        Raises:
            PaletteError: If the palette of the infrared image is another one.
            ValueError: If the images cannot be fused, or the type of the infrared images changes.
        """
        images, dtype = self._read(visible, infrared, names)
        options = images.adapt(self.options)
        if self._running is not None:
            options = options.with_limits(self._running.update(images.infrared, images.missing))
        elif largest is not None and options.infrared_range in ("auto", "type"):
            options = options.with_limits((0.0, float(largest)))
        images, options = note_flat_range(images, options)
        limits = () if self._running is None else self._running.state
        return PreparedFrame(images, options, self._palette, limits, dtype)

    def remember(self, visible: NDArray[Any], infrared: NDArray[Any] | InfraredFrame, names: tuple[str, str]) -> None:
        """Take the images as those of the last frame, to go on after it from its `limits`; arguments and errors as `prepare`."""
        if self._running is not None:
            images, _ = self._read(visible, infrared, names)
            self._running.remember(images.infrared, images.missing)

    def _read(
        self, visible: NDArray[Any], infrared: NDArray[Any] | InfraredFrame, names: tuple[str, str]
    ) -> tuple[PairImages, np.dtype[Any]]:
        """Return the images after they were cleaned and aligned, and the type of the infrared one."""
        visible = to_array(visible, "visible")
        dtype = (infrared.values if isinstance(infrared, InfraredFrame) else infrared).dtype.newbyteorder("=")
        if not isinstance(infrared, InfraredFrame):
            infrared = InfraredFrame(to_array(infrared, "infrared"))
        self._check_type(dtype, names[1])
        frame = clean(mask_border(infrared, self._border, names[1]), names[1], self._read_options)
        self._check_palette(read_palette(frame, infrared.values), names[1])
        mapped, range_notes = map_visible(VisibleFrame(visible), names[0], self._read_options.visible_range)
        border = np.zeros(frame.values.shape[:2], np.bool_) if self._border is None else self._border  # of all frames
        images = complete_pair(mapped, frame, self._read_options, names, border)
        changes = self._note_sizes(visible.shape[:2], infrared.values.shape[:2])
        changes += self._note_visible_type(visible)
        images = images._replace(notes=range_notes + images.notes + changes)
        return images, dtype

    def fuse(self, frames: Sequence[PreparedFrame]) -> list[Prediction]:
        """Fuse consecutive frames of one size.

        Raises:
            ValueError: If images do not fit together, or a result is not finite.
        """
        predictions = predict(
            self._model,
            self._processor,
            [frame.images for frame in frames],
            self.segment,
            [frame.options for frame in frames],
            encode=self._semantics,
        )
        self._infrared_type = frames[-1].infrared_type
        return predictions

    def _check_type(self, dtype: np.dtype[Any], name: str) -> None:
        """Refuse a change of the type: values of another type probably have another unit."""
        if self._infrared_type not in (None, dtype):
            raise ValueError(
                f"the type of {name} changes from {self._infrared_type} to {dtype}, and so may its unit: convert all frames to one "
                "type and unit, or begin anew"
            )

    def _note_sizes(self, *sizes: tuple[int, ...]) -> tuple[str, ...]:
        """Return a note for each image whose size changes: its camera may show another part of the scene now."""
        before, self._sizes = self._sizes, dict(zip(("visible", "infrared"), sizes, strict=True))
        return tuple(
            f"the size of the {name} frames changes from {describe_size(before[name])} to {describe_size(size)}"
            for name, size in self._sizes.items()
            if before and size != before[name]
        )

    def _note_visible_type(self, visible: NDArray[Any]) -> tuple[str, ...]:
        """Return a note if the type or the number of channels of the visible image changes: that of the result does, too."""
        channels = "color" if visible.ndim == 3 else "gray"
        before, self._visible_type = self._visible_type, f"{visible.dtype} ({channels})"
        if before in (None, self._visible_type):
            return ()
        return (f"the type of the visible frames changes from {before} to {self._visible_type}",)

    def _check_palette(self, palette: tuple[str, ...] | None, name: str) -> None:
        """Refuse a change of the palette: the same color would change its meaning within the video."""
        if palette is None:
            return
        self._others = 0 if palette != self._other else self._others
        if self._palette is not None and palette != self._palette:
            self._other, self._others = palette, self._others + 1
            if self._others != self._patience:
                problem = "changes: split it there"
                if self._patience:
                    problem = f"changes: it is taken after {self._patience} frames"
                elif self._is_given:
                    known = "; ".join(note.partition(";")[0].rpartition(" ")[2] for note in self._palette) or "gray"
                    problem = f"is not that of most frames ({known}): fuse this part alone"
                raise PaletteError(
                    f"the palette of {name} {problem}, or take its brightness with infrared_luma=True (--infrared-luma)"
                )
        self._palette = palette
