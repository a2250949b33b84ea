"""Read images that were fused elsewhere, and find those that were saved in a wrong range."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gffusion.data.bounds import DEFAULT_MAX_PIXELS
from gffusion.data.decoded_image import DecodedImage, DecodeOptions, Truncated, to_supported
from gffusion.data.io import read_decoded
from gffusion.metrics import to_luma8
from gffusion.utils.notes import name_in_errors

# Gray level that a source must reach before a dark fused image is odd.
_BRIGHT, _BULK = 16, 99.9  # in percent of its pixels
_LARGEST_OF_14_BITS = 1 << 14
# Share of pixels that are black or white, but not so in either source, above which a fused image is odd; that of models is below
# 0.1, and that of baselines below 0.48.
_CLIPPED = 0.5
# Correlation with both sources below which a fused image is odd; those of methods are above 0.4 with one of them.
_OPPOSED = -0.1
# Correlation of details with those of both sources below which a fused image is odd. Those of methods are above 0.55 with one of
# them, also above 0.13 with much blur or noise; those of other scenes are below 0.07.
_UNRELATED = 0.1
_DETAILS = 8  # pixels: standard deviation of the Gaussian that is subtracted
_FEW_DETAILS = 1  # gray levels: standard deviation below which rounding and noise count


def read_fused(
    file: Path, sources: Sequence[NDArray[Any]], max_pixels: int = DEFAULT_MAX_PIXELS, truncated: Truncated = "refuse"
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the fused image in a file, with notes on what is odd about it beside `sources`, 8-bit luma (H, W).

    Raises:
        OSError: As for [`read_image`].
        ValueError: If the image has another size than the sources, or levels of another range than that of its type.
    """
    decoded = read_decoded(file, DecodeOptions(max_pixels, truncated))
    image = to_supported(decoded.image)
    if image.shape[:2] != sources[0].shape:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (image.shape, sources[0].shape)]
        raise ValueError(
            f"{file} measures {sizes[0]} pixels, but the sources {sizes[1]} (width x height): a fused image must have the size "
            "of its sources"
        )
    brightest = max(int(np.percentile(source, _BULK)) for source in sources)
    _check_range(file, image, brightest)
    with name_in_errors(str(file)):
        luma = to_luma8(image).numpy()
    levels = _note_levels(image, luma, brightest) or _note_clipping(luma, sources)
    relations = _note_opposition(luma, sources) + _note_relation(luma, sources)
    return image, (*decoded.notes, *_note_loss(file, decoded.format), *_note_opacity(decoded), *levels, *relations)


def _check_range(file: Path, image: NDArray[Any], brightest: int) -> None:
    """Raise ValueError if an integer image holds 0 to 1, or 16-bit values that are 8-bit levels."""
    if image.dtype.kind != "u" or brightest < _BRIGHT:
        return
    largest = int(image.max())
    if largest == 1:
        raise ValueError(
            f"{file} holds only the integers 0 and 1, but its sources reach the gray level {brightest}: multiply values from 0 "
            "to 1 by 255 before they become integers"
        )
    if image.dtype == np.uint16 and 0 < largest <= 255:
        raise ValueError(
            f"{file} has 16 bits but holds only values up to {largest}, which would be black: save 8-bit levels as 8 bits"
        )


def _note_loss(file: Path, image_format: str) -> tuple[str, ...]:
    """Return a note on a file whose compression changed the image."""
    is_lossy = image_format == "JPEG" or (image_format == "WEBP" and b"VP8 " in file.read_bytes())
    return (f"saved with loss ({image_format}), which changes the metrics; save PNG",) if is_lossy else ()


def _note_opacity(decoded: DecodedImage) -> tuple[str, ...]:
    channel = decoded.extra_channel
    if channel is None:
        is_transparent = decoded.transparent is not None and bool(decoded.transparent.any())
    else:
        is_transparent = bool((channel != (np.iinfo(channel.dtype).max if channel.dtype.kind in "iu" else 1)).any())
    return ("its transparency (alpha channel) is left out",) if is_transparent else ()


def _note_levels(image: NDArray[Any], luma: NDArray[Any], brightest: int) -> tuple[str, ...]:
    """Return a note on an image that is dark beside its sources."""
    largest = int(luma.max())
    if brightest < max(_BRIGHT, 2 * largest):
        return ()
    if largest <= 1:
        return ("the fused image is black, but its sources are not, as if it was saved in a wrong range",)
    if image.dtype == np.uint16 and (values := int(image.max())) < _LARGEST_OF_14_BITS:
        bits = values.bit_length()
        return (
            f"the fused image has 16 bits but uses {bits}: multiply its values by {2 ** (16 - bits)} if they have {bits} bits",
        )
    return ()


def _note_clipping(luma: NDArray[Any], sources: Sequence[NDArray[Any]]) -> tuple[str, ...]:
    """Return a note on an image whose pixels are mostly black or mostly white, but neither in its sources."""
    darkest, brightest = np.minimum(*sources), np.maximum(*sources)
    for level, differs in ((0, (darkest > 0) & (brightest >= _BRIGHT)), (255, brightest <= 255 - _BRIGHT)):
        if np.mean((luma == level) & differs) > _CLIPPED:
            return (
                f"more than half of its pixels have the gray level {level}, unlike those of its sources, as if values in a "
                "wrong range were clipped",
            )
    return ()


def _note_opposition(luma: NDArray[Any], sources: Sequence[NDArray[Any]]) -> tuple[str, ...]:
    textured = [source for source in sources if np.ptp(source) > 0]
    if not textured or np.ptp(luma) == 0:
        return ()
    is_opposed = all(np.corrcoef(luma.ravel(), source.ravel())[0, 1] < _OPPOSED for source in textured)
    return ("its gray levels run against those of both sources, as if it was inverted",) if is_opposed else ()


def _note_relation(luma: NDArray[Any], sources: Sequence[NDArray[Any]]) -> tuple[str, ...]:
    """Return a note on an image that is a copy of one source, or whose details are those of neither."""
    visible, infrared = sources
    if not np.array_equal(visible, infrared) and np.ptp(visible) > 0 and np.ptp(infrared) > 0:
        for kind, source in (("visible", visible), ("infrared", infrared)):
            if np.array_equal(luma, source):
                return (f"the fused image is the {kind} one",)
    details, *others = (_cut_details(image) for image in (luma, *sources))
    if min(image.std() for image in (details, *others)) < _FEW_DETAILS:
        return ()
    correlations = (np.corrcoef(details.ravel(), other.ravel())[0, 1] for other in others)
    if max(map(abs, correlations)) < _UNRELATED:
        return ("its details are those of neither source, as if it was of another pair",)
    return ()


def _cut_details(image: NDArray[Any]) -> NDArray[np.float32]:
    values = image.astype(np.float32)
    return np.asarray(values - ndimage.gaussian_filter(values, _DETAILS))
