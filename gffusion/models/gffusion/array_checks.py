"""Check masks and masked arrays. Does not import torch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def unmask(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return an array without the type of masked arrays, whose mask most functions ignore.

    Raises:
        ValueError: If a value is masked.
    """
    if np.ma.is_masked(array):
        raise ValueError(
            f"The {name} image is a masked array: pass its values, image.data. For an infrared image, `predict`, the image "
            "processor and `align_images` take its mask as `missing`, and the pipeline takes NaN in place of masked values."
        )
    return np.asarray(array)


def check_mask(mask: Any, size: tuple[int, ...], name: str = "A mask in `missing`") -> None:
    """Raise ValueError if a mask is no bool array of a height and width; `None` and `np.ma.nomask` are allowed.

    The message has the name.

    Examples:
        >>> check_mask(np.zeros((48, 64), bool), (48, 64))
    """
    if (
        mask is None
        or mask is np.ma.nomask
        or (isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == tuple(size))
    ):
        return
    got = f"{mask.dtype} of shape {tuple(mask.shape)}" if hasattr(mask, "shape") else f"a {type(mask).__name__}"
    advice = ": give an array such as `np.asarray(mask) > 0`" if np.shape(mask) == tuple(size) else ""
    raise ValueError(f"{name} must be bool of shape {tuple(size)}, got {got}{advice}.")
