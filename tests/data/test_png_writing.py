"""Writing PNG files, against libpng in OpenCV and Pillow's check of the stored sums."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from gffusion.data.png_writing import encode_png


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 400, 3), (400, 1), (3, 300_000, 3), (700, 500, 3), (1_000_003, 1)],
    ids=["pixel", "row", "column", "rows-longer-than-a-block", "several-blocks", "longer-than-libpng-allows"],
)
def test_any_size(shape: tuple[int, ...], dtype: type) -> None:
    """Half of the image is flat and half random, so that both long runs and literals are compressed."""
    image = np.full(shape, 200, dtype)
    half = image.reshape(-1)[image.size // 2 :]
    half[:] = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, half.size, endpoint=True)
    content = encode_png(image)
    Image.open(io.BytesIO(content)).verify()
    if max(shape) <= 1_000_000:
        stored = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        stored = stored[..., ::-1] if image.ndim == 3 else stored
    else:
        stored = np.asarray(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(stored, image)
    assert stored.dtype == dtype


def test_camera_images_are_compressed() -> None:
    """A smooth image with noise of one level takes at most a third of its pixels, and a flat one hardly anything."""
    rows, columns = np.mgrid[:480, :640]
    smooth = (100 + 50 * np.sin(rows / 60) + 40 * np.cos(columns / 90)).astype(np.uint8)
    noisy = smooth + np.random.default_rng(0).integers(0, 2, smooth.shape, np.uint8)
    assert len(encode_png(noisy)) < noisy.size / 3
    assert len(encode_png(np.zeros_like(smooth))) < smooth.size / 100
