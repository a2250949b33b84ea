"""GFFusionImageProcessor: convert pairs of images to model tensors, and outputs to images of the original size and depth."""

import json
import math
import os
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.image_processing_base import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor
from transformers.utils import TensorType, logging

from .argument_checks import check_flag
from .array_checks import list_masks
from .image_arrays import Image, as_pairs, take_output, to_array, warn_of_transparency
from .image_sizes import ALIGN_FIRST, MIN_SIZE, check_same_size, check_size_divisor
from .infrared_options import OPTION_NAMES, Agc, InfraredOptions, InfraredRange, check_options
from .infrared_values import to_infrared_values, to_visible_values
from .output_images import add_chroma, to_image

logger = logging.get_logger(__name__)

Pair = tuple[Image, Image] | list[Image]

PROCESSOR_OPTIONS = ("size_divisor", *OPTION_NAMES)

# Keys of a saved processor's JSON besides its options.
_SAVED_KEYS = {"auto_map", "feature_extractor_type", "image_processor_type", "processor_class"}


class GFFusionImageProcessor(BaseImageProcessor):
    r"""Convert pairs of a visible and an infrared image to the tensors of [`GFFusionModel`], and its outputs to images.

    An image is a PIL image, a NumPy array or a torch tensor, gray or color, uint8, uint16 or floating point. Values are
    scaled to [0, 1] by their type: uint8 by 255, uint16 by 65535; floating-point values must be in [0, 1].

    Args:
        size_divisor (`int`, *optional*, defaults to 1):
            Images are padded by mirroring, at the bottom and on the right, to a multiple of this and to at least 32
            pixels per side. The `post_process` methods remove the padding.
        infrared_range (`str` or `list[float]`, *optional*, defaults to `"auto"`):
            Range of infrared values that is mapped to [0, 1]: `"type"`, the range of their type; `"percentile"`, the 0.1st to
            99.9th percentile of each image; `"auto"`, the latter for radiometric files and the former for all others;
            `"folder"`, the percentiles of all images of a run together; or `[low, high]` in the unit of the image, such as
            counts or kelvin, inverted if the higher value comes first. Raw 14- or 16-bit thermal data and temperatures in
            arrays and plain files need `"percentile"`, `"folder"` or a range.
        invert (`bool`, *optional*, defaults to `False`):
            Whether to invert infrared images in which cold objects are bright.
        agc (`"linear"`, `"plateau"` or `"clahe"`, *optional*, defaults to `"linear"`):
            Automatic gain control within the range: none, plateau histogram equalization, or contrast-limited adaptive
            histogram equalization by scikit-image.
        plateau_limit (`float`, *optional*):
            Largest count of a histogram bin of `"plateau"`, as a multiple of the mean count; 1 by default.
        smooth_range (`float`, *optional*, defaults to 0):
            Number of frames over which the range of ordered frames follows their percentiles. 0 gives each image its own.

    `infrared_range="folder"` and `smooth_range` depend on several images, which `gffusion fuse`, the pipeline and
    [`FusionDataset`] measure. Direct calls of the processor need `infrared_range=[low, high]` instead.

    Raises:
        ValueError: If an option is out of range, or options exclude each other.

    Examples:
    ```python
    >>> import numpy as np
    >>> from gffusion import GFFusionImageProcessor

    >>> processor = GFFusionImageProcessor()
    >>> pair = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.uint8)
    >>> {name: tuple(value.shape) for name, value in processor(pair, return_tensors="pt").items()}
    {'visible_values': (1, 3, 48, 64), 'infrared_values': (1, 1, 48, 64)}

    ```
    """

    model_input_names = ["visible_values", "infrared_values"]

    def __init__(
        self,
        size_divisor: int = 1,
        infrared_range: InfraredRange = "auto",
        invert: bool = False,
        agc: Agc = "linear",
        plateau_limit: float | None = None,
        smooth_range: float = 0,
        **kwargs: Any,
    ) -> None:
        _refuse_unknown(kwargs.keys() - _SAVED_KEYS)
        super().__init__(**kwargs)
        self.size_divisor = check_size_divisor(size_divisor)
        self.infrared_options = InfraredOptions(infrared_range, invert, agc, plateau_limit, smooth_range)

    @classmethod
    def get_image_processor_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the saved options and the arguments that are none of the loader."""
        saved, others = super().get_image_processor_dict(pretrained_model_name_or_path, **kwargs)
        if "_from_pipeline" in kwargs:  # `pipeline` also passes the arguments of the model
            others = {name: value for name, value in others.items() if name in PROCESSOR_OPTIONS}
        return saved, others

    @classmethod
    def from_dict(cls, image_processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Create a processor from saved options; those in `kwargs` that are not `None` override them, and are checked.

        Raises:
            ValueError: If an option is misspelt or invalid, or the options are those of a processor of another type.
        """
        saved_type = image_processor_dict.get("image_processor_type")
        if saved_type not in (None, cls.__name__, GFFusionImageProcessor.__name__):
            raise ValueError(
                f"`image_processor_type` is {saved_type!r}, not {cls.__name__!r}: save the image processor of the model there."
            )
        given = {name: kwargs.pop(name) for name in PROCESSOR_OPTIONS if name in kwargs}
        if not kwargs.get("return_unused_kwargs"):
            _refuse_unknown([name for name in kwargs if get_close_matches(name, PROCESSOR_OPTIONS, cutoff=0.75)])
        options = {name: value for name, value in image_processor_dict.items() if name != "auto_map"}
        if (size_divisor := given.pop("size_divisor", None)) is not None:
            options["size_divisor"] = size_divisor
        if given:
            saved = InfraredOptions(**{name: value for name, value in options.items() if name in OPTION_NAMES})
            options.update(saved.override(**given).to_dict())
        return super().from_dict(options, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any) -> Any:
        """Save as [`~transformers.BaseImageProcessor.save_pretrained`] does.

        Raises:
            ValueError: If attributes were set with which the file could not be loaded.
        """
        self.size_divisor = check_size_divisor(self.size_divisor)
        self.from_dict(json.loads(self.to_json_string()))
        return super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    @property
    def infrared_options(self) -> InfraredOptions:
        """The options of the mapping of infrared values."""
        return InfraredOptions(**{name: getattr(self, name) for name in OPTION_NAMES})

    @infrared_options.setter
    def infrared_options(self, options: InfraredOptions) -> None:
        for name in OPTION_NAMES:  # attributes of their own are saved
            setattr(self, name, getattr(options, name))

    def preprocess(
        self,
        images: Pair | Sequence[Pair],
        *others: Any,
        size_divisor: int | None = None,
        infrared_options: Sequence[InfraredOptions] | None = None,
        missing: Sequence[NDArray[np.bool_] | None] | None = None,
        infrared_luma: bool = False,
        return_tensors: str | TensorType | None = None,
        **overrides: Any,
    ) -> BatchFeature:
        """Prepare one pair or a list of pairs.

        Args:
            images: A pair `(visible, infrared)` or a list of pairs, such as `list(zip(visible_images, infrared_images))`. A
                gray visible image is repeated to three channels; a color infrared image is reduced to its luma, with a warning: `predict` and the pipeline map false colors
                back to intensity.
            *others: Refused: images of a pair are one argument, and options have names.
            size_divisor: Overrides the option of the processor.
            infrared_options: Options of every pair, instead of those of the processor.
            missing: For every pair, `None` or a mask (H, W), True where the infrared image has no measurement; such pixels
                take no part in ranges.
            infrared_luma: Whether the luma of infrared images in color is meant, so that there is no warning.
            return_tensors: `"pt"` or `"np"` to stack the batch, whose images must then have one size. By default, lists
                are returned.
            overrides: `infrared_range`, `invert`, `agc` and `plateau_limit`, which override those of the processor. They
                cannot be combined with `infrared_options`.

        Returns:
            `BatchFeature` with `visible_values` (B, 3, H, W) and `infrared_values` (B, 1, H, W), float32 in [0, 1].

        Raises:
            ValueError: If sizes differ, an image has an unknown layout or type, or values out of range, the range must
                be measured first, options are unknown or exclude each other, or there is not one entry per pair.
        """
        if others:
            raise ValueError(
                f"Expected one argument, a pair or a list of pairs, got {1 + len(others)}: pass the images of a pair together, "
                "`processor((visible, infrared))`, and options by name."
            )
        size_divisor = check_size_divisor(self.size_divisor if size_divisor is None else size_divisor)
        check_flag("`infrared_luma`", infrared_luma)
        pairs = as_pairs(images)
        options_of_pairs = self._choose_options(infrared_options, overrides, len(pairs))
        visible_values, infrared_values = [], []
        masks = list_masks(missing, len(pairs))
        for (visible, infrared), options, mask in zip(pairs, options_of_pairs, masks, strict=True):
            visible_array, infrared_array = to_array(visible, "visible"), to_array(infrared, "infrared")
            check_same_size(
                {"the visible image": visible_array.shape[:2], "the infrared image": infrared_array.shape[:2]},
                ALIGN_FIRST,
            )
            if not infrared_luma and _has_colors(infrared_array):
                logger.warning_once(
                    "The infrared image has colors, of which the brightness is taken: in false colors, hot can be darker than "
                    "cold. Check that the images are not swapped. `predict` and the pipeline map false colors back to "
                    "intensity; pass infrared_luma=True if the brightness is meant."
                )
            warn_of_transparency(infrared, mask)
            visible_values.append(_pad(to_visible_values(visible_array), size_divisor))
            infrared_values.append(_pad(to_infrared_values(infrared_array, options, mask), size_divisor))
        sizes = sorted({values.shape[1:] for values in visible_values})
        if return_tensors is not None and len(sizes) > 1:
            raise ValueError(
                f"A batch needs pairs of one size, got (height, width) {sizes}. Process one size at a time, or use "
                'pipeline("image-fusion"), which does so.'
            )
        data = {"visible_values": visible_values, "infrared_values": infrared_values}
        return BatchFeature(data=data, tensor_type=return_tensors)

    if TYPE_CHECKING:  # the base class takes single images
        __call__ = preprocess

    def _choose_options(self, given: Any, overrides: dict[str, Any], count: int) -> Sequence[InfraredOptions]:
        """Return the options of every pair."""
        _refuse_unknown(overrides.keys() - set(OPTION_NAMES))
        if given is None:
            return [self.infrared_options.override(**overrides)] * count
        if names := [name for name, value in overrides.items() if value is not None]:
            raise ValueError(
                f"{', '.join(names)} cannot be combined with `infrared_options`, which has all options of every pair: leave "
                f"{'it' if len(names) == 1 else 'them'} out."
            )
        check_options(given, count)
        return given

    @overload
    def post_process_fusion(
        self, outputs: Any, images: Pair | Sequence[Pair], output_type: Literal["pil"] = "pil"
    ) -> list[PIL.Image.Image]: ...
    @overload
    def post_process_fusion(
        self, outputs: Any, images: Pair | Sequence[Pair], output_type: Literal["np"]
    ) -> list[NDArray[Any]]: ...
    @overload
    def post_process_fusion(
        self, outputs: Any, images: Pair | Sequence[Pair], output_type: Literal["pt"]
    ) -> list[Tensor]: ...

    def post_process_fusion(
        self, outputs: Any, images: Pair | Sequence[Pair], output_type: Literal["pil", "np", "pt"] = "pil"
    ) -> list[Any]:
        """Convert a model's output to images of the original size, with the visible image's color and bit depth.

        Args:
            outputs ([`GFFusionOutput`]): The model's output for the batch.
            images: The images of the batch, as given to the processor.
            output_type: `"pil"`; `"np"` for arrays (H, W) or (H, W, 3) of the visible image's type; `"pt"` for float32
                tensors (1 or 3, H, W) in [0, 1].

        Returns:
            One image per pair: gray if the visible image is gray, RGB otherwise. PIL images have 16 bits only if they are
            gray, because Pillow does not support 16-bit color; use `"np"` for 16-bit color.

        Raises:
            ValueError: If `outputs` is something else, the number of images is not that of the batch, an image is larger than the output, or a value is
                not finite. If no usual `size_divisor` gives the output's size, there is a warning.
        """
        if output_type not in ("pil", "np", "pt"):
            raise ValueError(f'`output_type` must be "pil", "np" or "pt", got {output_type!r}.')
        pairs = as_pairs(images)
        # Colored and rounded where it is, on a GPU or CPU.
        fused_values = take_output(outputs, "fused_values").detach().float()
        if len(pairs) != len(fused_values):
            raise ValueError(f"`outputs` holds {len(fused_values)} pairs, but `images` holds {len(pairs)}.")
        if not fused_values.sum().isfinite():  # values are in [0, 1]
            raise ValueError(
                "The fused image has values that are not finite: the weights are damaged, or `dtype` is too narrow for them."
            )
        fused_images = []
        for fused, (visible, _) in zip(fused_values, pairs, strict=True):
            array = to_array(visible, "visible")
            cropped = _crop(fused, array.shape[:2], self.size_divisor)
            # On a CPU, in blocks of rows that fit into its cache, in which the many passes are faster.
            rows = max(1, _BLOCK_PIXELS // array.shape[1]) if output_type == "np" and fused.is_cpu else len(array)
            blocks: list[Any] = [
                to_image(add_chroma(cropped[:, top : top + rows], array[top : top + rows]), array.dtype, output_type)
                for top in range(0, len(array), rows)
            ]
            fused_images.append(blocks[0] if len(blocks) == 1 else np.concatenate(blocks))
        return fused_images

    def post_process_semantic_segmentation(
        self,
        outputs: Any,
        target_sizes: Sequence[tuple[int, int]] | None = None,
        images: Pair | Sequence[Pair] | None = None,
    ) -> list[Tensor]:
        """Convert logits to label maps, without `segmenter_scales` and `segmenter_refinement`, which `predict` applies.

        Args:
            outputs ([`GFFusionOutput`]): Model output with `logits` (B, num_labels, H, W).
            target_sizes: Height and width of every label map; logits are interpolated. Defaults to their own size.
            images: The images of the batch, as given to the processor, to remove padding first.

        Returns:
            One int64 tensor (height, width) of class ids per pair.

        Raises:
            ValueError: If `outputs` is something else or has no logits, the number of `target_sizes` or `images` is not that of the batch, or an image is
                larger than the output. If no usual `size_divisor` gives the output's size, there is a warning.
        """
        logits = list(take_output(outputs, "logits"))  # (B, num_labels, H, W) -> B times (num_labels, H, W)
        if images is not None:
            pairs = as_pairs(images)
            if len(pairs) != len(logits):
                raise ValueError(f"`outputs` holds {len(logits)} pairs, but `images` holds {len(pairs)}.")
            shapes = [to_array(visible, "visible").shape for visible, _ in pairs]
            logits = [_crop(values, shape[:2], self.size_divisor) for values, shape in zip(logits, shapes, strict=True)]
        if target_sizes is not None:
            if len(target_sizes) != len(logits):
                raise ValueError(f"Got {len(target_sizes)} target sizes for a batch of {len(logits)}.")
            logits = [_resize(values, size) for values, size in zip(logits, target_sizes, strict=True)]
        return [values.argmax(dim=0) for values in logits]


_BLOCK_PIXELS = 2**16
# Of the brightest value, in levels of 8 bits at least, and of the pixels.
_COLOR_NOISE, _COLOR_LEVELS, _COLOR_SHARE = 1 / 16, 4, 0.05
_COMMON_DIVISORS = range(1, 33)  # which `preprocess` may have had instead of the processor's own


def _refuse_unknown(names: Collection[str]) -> None:
    if names:
        allowed = ", ".join(sorted(PROCESSOR_OPTIONS))
        raise ValueError(f"Unknown options {sorted(names)}. Allowed: {allowed}.")


def _has_colors(array: NDArray[Any]) -> bool:
    """Return whether a twentieth of an image has colors, that is more than the noise of JPEG in gray images."""
    if array.ndim == 2:
        return False
    red, green, blue = np.moveaxis(array, -1, 0)  # np.ptp over the last axis takes ten times as long
    highest, lowest = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    noise = max(_COLOR_NOISE * float(highest.max()), _COLOR_LEVELS if array.dtype == np.uint8 else 0)
    return bool(np.mean(highest - lowest > noise) > _COLOR_SHARE)


def _pad(values: NDArray[np.float32], size_divisor: int) -> NDArray[np.float32]:
    """Pad (C, H, W) by mirroring, at the bottom and on the right, to the minimum size and a multiple of the divisor."""
    missing = [-(-max(side, MIN_SIZE) // size_divisor) * size_divisor - side for side in values.shape[1:]]
    return np.pad(values, ((0, 0), (0, missing[0]), (0, missing[1])), mode="symmetric") if any(missing) else values


def _crop(values: Tensor, size: tuple[int, ...], size_divisor: int) -> Tensor:
    height, width = size
    if height > values.shape[-2] or width > values.shape[-1]:
        raise ValueError(f"Cannot crop {height} x {width} from a model output of {tuple(values.shape[-2:])}.")
    added = max(values.shape[-2] - max(height, MIN_SIZE), values.shape[-1] - max(width, MIN_SIZE))
    side = math.gcd(*values.shape[-2:])
    if added >= max(divisor for divisor in (size_divisor, *_COMMON_DIVISORS) if side % divisor == 0):
        logger.warning_once(
            f"Images of {height} x {width} are not padded to a model output of {tuple(values.shape[-2:])}: its top left part "
            "is taken. Check that `images` are those of the batch."
        )
    return values[..., :height, :width]


def _resize(values: Tensor, size: Sequence[int]) -> Tensor:
    """Interpolate (C, H, W) bilinearly, as post-processing in transformers does."""
    height, width = (int(side) for side in size)
    return nn.functional.interpolate(values[None], (height, width), mode="bilinear", align_corners=False)[0]


__all__ = ["GFFusionImageProcessor"]
