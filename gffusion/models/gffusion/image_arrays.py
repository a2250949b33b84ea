"""Tell pairs of images from lists of pairs, and convert images of any library to arrays (H, W) or (H, W, 3)."""

from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers.utils import logging

from .array_checks import is_opacity, unmask

logger = logging.get_logger(__name__)

Image = PIL.Image.Image | NDArray[Any] | Tensor
IMAGE_TYPES = (PIL.Image.Image, np.ndarray, Tensor)


def refuse_lists_of_one_modality(images: Any) -> None:
    """Raise ValueError for `(visible_images, infrared_images)`, of which the items would be read as pairs if there are two.

    Two tuples of two images each can be two pairs, and are taken as such.
    """
    if not isinstance(images, (tuple, list)) or len(images) != 2:
        return
    are_lists = isinstance(images, tuple) and all(isinstance(item, list) for item in images)
    counts = {len(item) if type(item) in (tuple, list) else 2 for item in images}
    if are_lists or (len(counts) == 1 and counts != {2}):
        kind = type(images[0]).__name__
        raise ValueError(
            f"Expected a pair (visible, infrared) or a list of such pairs, got two {kind}s of {len(images[0])}: pass "
            "`list(zip(visible_images, infrared_images))`; pairs that are lists must be in a list."
        )


def as_pairs(images: Any) -> list[tuple[Image, Image]]:
    """Return one pair of images, or a sequence of pairs, as a list of pairs; raise ValueError for anything else."""
    refuse_lists_of_one_modality(images)
    if isinstance(images, (tuple, list)) and images:
        if all(isinstance(item, IMAGE_TYPES) for item in images) and len(images) == 2:
            return [(images[0], images[1])]
        if all(isinstance(item, (tuple, list)) and len(item) == 2 for item in images):
            return [(visible, infrared) for visible, infrared in images]
    kind = f"{type(images).__name__} of {len(images)}" if isinstance(images, (tuple, list)) else type(images).__name__
    raise ValueError(
        f"Expected a pair (visible, infrared) of images or a list of such pairs, got a {kind}. Images are PIL images, "
        "arrays or tensors; gffusion.data.read_image reads files."
    )


def to_array(image: Image, name: str, keeps_alpha: bool = False) -> NDArray[Any]:
    """Return an image as an upright array (H, W) or (H, W, 3) of its own type: uint8, uint16 or floating point.

    If it `keeps_alpha`, opacity is a further channel: (H, W, 2) or (H, W, 4).

    Raises:
        ValueError: If the image is empty or has masked values, or its layout or type is not supported. The message has the
            name.
    """
    if isinstance(image, PIL.Image.Image):
        array = _convert_pil(PIL.ImageOps.exif_transpose(image), keeps_alpha)
    elif isinstance(image, Tensor):
        array = _channels_last(_convert_tensor(image, name), name, prefer_first=True)
    elif isinstance(image, np.ndarray):
        array = _channels_last(unmask(image, name), name, prefer_first=False)
    else:
        raise ValueError(
            f"The {name} image must be a PIL image, a NumPy array or a torch tensor, got {type(image).__name__}. "
            "gffusion.data.read_image reads files."
        )
    if array.ndim == 3 and not keeps_alpha:
        array = array[..., :3]
    array = _narrow_integers(array.astype(array.dtype.newbyteorder("="), copy=False), name)
    if array.dtype not in (np.uint8, np.uint16) and not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"The {name} image must be uint8, uint16 or floating point, got {array.dtype}.")
    if 0 in array.shape:
        raise ValueError(f"The {name} image is empty: shape {array.shape}.")
    return array


def warn_of_transparency(infrared: Image, missing: NDArray[np.bool_] | None) -> None:
    """Warn if some pixels of an infrared image are transparent, but not all, and no mask of missing pixels is given."""
    has_opacity = _has_opacity(infrared) if isinstance(infrared, PIL.Image.Image) else 4 in infrared.shape
    if missing is not None or not has_opacity:
        return
    array = to_array(infrared, "infrared", keeps_alpha=True)
    if array.ndim == 2 or array.shape[-1] == 3 or not is_opacity(array[..., -1]):
        return
    is_transparent = array[..., -1] == 0
    if is_transparent.any() and not is_transparent.all():
        logger.warning_once(
            "The transparent pixels of an infrared image are taken as measured: give them in `missing`. `predict` and the "
            "pipeline fill them."
        )


def take_output(outputs: Any, name: str) -> Tensor:
    """Return `fused_values` or `logits` of what the model returned; raise ValueError for anything else, or if there are none."""
    if not hasattr(outputs, name):
        raise ValueError(
            f"`outputs` must be a GFFusionOutput, as the model returns it with `return_dict=True`, got a {type(outputs).__name__}."
        )
    values = getattr(outputs, name)
    if values is None:
        raise ValueError(
            f"The output has no {name}{': call the model with `segment=True`' if name == 'logits' else ''}."
        )
    return values


def _convert_tensor(tensor: Tensor, name: str) -> NDArray[Any]:
    tensor = tensor.detach()
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    try:
        return tensor.to_dense().numpy(force=True)  # from any device, and of lazily negated values
    except (TypeError, RuntimeError):  # NotImplementedError is a RuntimeError
        raise ValueError(
            f"The {name} image is a tensor of {tensor.dtype} on the device {str(tensor.device)!r}, which cannot be converted to an "
            "array: give one with values, of uint8, uint16 or float32."
        ) from None


def _narrow_integers(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Convert wider or signed integers, such as arithmetic makes of 16-bit images, to uint16; other types are unchanged.

    Infrared values that are negative or need more than 16 bits become floating point, and so do all signed ones of 8 or 16 bits,
    as those of files: other frames of the camera can be negative.
    """
    if array.dtype.kind not in "iu" or array.dtype in (np.uint8, np.uint16) or array.size == 0:
        return array
    if name == "infrared" and array.dtype in (np.int8, np.int16):
        return array.astype(np.float32)
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > np.iinfo(np.uint16).max:
        if name == "infrared":  # temperatures or counts, which need a range
            return array.astype(np.float64)
        raise ValueError(f"The {name} image has {array.dtype} values from {low} to {high}; allowed are 0 to 65535.")
    if high <= np.iinfo(np.uint8).max:  # as 16 bits, it would be black
        raise ValueError(
            f"The {name} image has {array.dtype} values from {low} to {high}: convert it to uint8 if 255 is white, or to uint16 "
            "if 65535 is."
        )
    return array.astype(np.uint16)


def _convert_pil(image: PIL.Image.Image, keeps_alpha: bool) -> NDArray[Any]:
    if image.mode.startswith(("I", "F")):  # "I;16" and its variants, 32-bit integers, and floating-point values
        values = np.asarray(image)
        is_narrow = image.mode == "I" and values.size and values.min() >= 0 and values.max() <= np.iinfo(np.uint16).max
        return values.astype(np.uint16) if is_narrow else values  # Pillow reads images of 16 bits as 32, too
    if image.mode == "La":  # which Pillow only converts back
        image = image.convert("LA")
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    return np.asarray(image.convert(mode + "A" if keeps_alpha and _has_opacity(image) else mode))


def _has_opacity(image: PIL.Image.Image) -> bool:
    """Return whether an image has transparency of its mode; that of a former mode, such as of a palette, is left in `info`."""
    value = image.info.get("transparency")
    if image.mode in ("1", "L"):
        return isinstance(value, int)
    if image.mode == "RGB":
        return isinstance(value, tuple) and len(value) == 3
    return image.has_transparency_data


def _channels_last(array: NDArray[Any], name: str, prefer_first: bool) -> NDArray[Any]:
    """Move channels last: (H, W), (H, W, C) or (C, H, W) -> (H, W), (H, W, 3) or (H, W, 4)."""
    if array.ndim == 2:
        return array
    if array.ndim == 3:
        order = (0, -1) if prefer_first else (-1, 0)
        axis = next((axis for axis in order if array.shape[axis] in (1, 3, 4)), None)
        if axis is not None:
            array = np.moveaxis(array, axis, -1)
            return array[..., 0] if array.shape[-1] == 1 else array
    raise ValueError(
        f"The {name} image must have shape (H, W), (H, W, C) or (C, H, W) with 1, 3 or 4 channels, got {array.shape}."
    )
