"""Compare images of one scene with a slider, in a notebook or a page that needs no network."""

import base64
from collections.abc import Mapping
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from PIL import Image

from .comparison import to_bytes

if TYPE_CHECKING:
    from jinja2 import Environment

_MAX_SIDE = 1280


class ImageSlider:
    """Images of one scene, of which two are compared with a slider; the last value of a notebook's cell shows itself.

    Args:
        images: Images by name, at least two, of one size: (H, W) or (H, W, 3), uint8, uint16 or floating point in [0, 1]; or PIL
            images.
        left: Name of the image on the left at first; by default, the first one.
        right: Name of the image on the right at first; by default, the last one.

    Raises:
        ValueError: If there are fewer than two images, their sizes differ, values are out of range, or a name is unknown.

    Examples:
        >>> import numpy as np
        >>> slider = ImageSlider({"visible": np.zeros((32, 48)), "fused": np.ones((32, 48))})
        >>> "<figure" in slider.to_html(), slider.left, slider.right
        (True, 'visible', 'fused')
    """

    def __init__(
        self, images: Mapping[str, NDArray[Any] | Image.Image], left: str | None = None, right: str | None = None
    ) -> None:
        if len(images) < 2:
            raise ValueError(f"a slider compares two or more images, got {', '.join(images) or 'none'}")
        self.images = {name: Image.fromarray(array).convert("RGB") for name, array in to_bytes(images).items()}
        first, *_, last = images
        self.left, self.right = left or first, right or last
        for name in (self.left, self.right):
            if name not in images:
                raise ValueError(f"there is no image {name!r}; choose from {', '.join(images)}")

    def to_html(self) -> str:
        """Return an HTML element with the images in it. Images larger than 1280 pixels are shown smaller."""
        template = get_environment().get_template("slider.html")
        return str(template.module.slider(**self.describe()))  # type: ignore[attr-defined]

    def describe(self, largest_side: int = _MAX_SIDE) -> dict[str, Any]:
        """Return the arguments of the macro in `slider.html`; larger images are shown smaller."""
        width, height = shrink(next(iter(self.images.values())), largest_side).size
        addresses = {name: to_data_address(image, largest_side) for name, image in self.images.items()}
        return {"images": addresses, "left": self.left, "right": self.right, "width": width, "height": height}

    def _repr_html_(self) -> str:
        return self.to_html()


@cache
def get_environment() -> "Environment":
    """Return the templates of HTML pages, which escape all names."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # used by pages only

    return Environment(
        loader=PackageLoader("gffusion.visualization", "templates"), autoescape=True, undefined=StrictUndefined
    )


def shrink(image: Image.Image, largest_side: int = _MAX_SIDE) -> Image.Image:
    """Return an image whose larger side has at most `largest_side` pixels."""
    scale = largest_side / max(image.size)
    if scale >= 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BOX)


def to_data_address(image: Image.Image, largest_side: int) -> str:
    """Return an image as a data URL, as JPEG of high quality."""
    content = BytesIO()
    shrink(image, largest_side).save(content, "JPEG", quality=92, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
