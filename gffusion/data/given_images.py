"""Images that are given in memory, as decoded files are."""

import PIL.Image
import PIL.ImageOps

from gffusion.models.gffusion.image_arrays import Image, to_array

from .decoded_image import DecodedImage
from .decoding import decode_palette, find_transparent_value


def decode_given(image: Image, name: str) -> DecodedImage:
    """Return a PIL image, an array or a tensor with its palette and its transparent pixels.

    Examples:
        >>> decode_given(PIL.Image.new("LA", (3, 1), (7, 255)), "infrared").image
        array([[7, 7, 7]], dtype=uint8)
    """
    pixels = to_array(image, name, keeps_alpha=True)
    if not isinstance(image, PIL.Image.Image):
        return DecodedImage(pixels)
    if image.mode == "P":
        return decode_palette(PIL.ImageOps.exif_transpose(image))
    # Of other modes, the opacity of `pixels` has it.
    return DecodedImage(pixels, transparent=find_transparent_value(pixels, image) if image.mode == "I;16" else None)
