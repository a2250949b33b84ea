"""Inputs and options that the "image-fusion" pipeline of transformers refuses."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from camera_files import encode
from transformers import pipeline

from gffusion import GFFusionImageProcessor, GFFusionModel, ImageFusionPipeline

PAIR = np.full((40, 48, 3), 90, np.uint8), np.full((40, 48), 160, np.uint8)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("visible.png", r"Expected a visible and an infrared path.*got only 'visible\.png'"),
        (b"visible.png", "cannot read the given image: it is not a PNG"),
        (encode(PAIR[0], "PNG"), "Expected a pair .*, file contents or images, .* got bytes"),
        (io.BytesIO(encode(PAIR[0], "PNG")), "Expected a pair .* got BytesIO"),
        ((PAIR[0], b"visible.png"), "cannot read the infrared image: it is not a PNG"),
        (PIL.Image.new("L", (48, 40)), "Expected a pair .* got Image"),
        (None, "Expected a pair .* got NoneType"),
        ({"visible": "visible.png"}, r"Expected a pair .* got a dict of 'visible' \(str\)"),
        ({"visible": [PAIR[0]], "infrared": [PAIR[1]]}, r"got a dict of 'visible' \(list\), 'infrared' \(list\)"),
        ([{"visible": PAIR[0], "infrared": None}], r"got a dict of 'visible' \(ndarray\), 'infrared' \(NoneType\)"),
        (["visible.png"], "Expected a pair .* got str"),
        (["visible.png", "infrared.png", "more.png"], "Expected a pair .* got str"),
        ([("visible.png", None)], "Expected a pair .* got tuple"),
        (PAIR[1], "Expected a pair .* got ndarray"),
        (([PAIR[0]] * 2, [PAIR[1]] * 2), r"got two lists of 2: pass `list\(zip"),
        ((["1.png", "2.png"], ["3.png", "4.png"]), r"got two lists of 2: pass `list\(zip"),
        ([*zip(*[PAIR] * 3, strict=True)], r"got two tuples of 3: pass `list\(zip"),
        ([*zip(*[PAIR], strict=True)], r"got two tuples of 1: pass `list\(zip"),
        (zip(*[PAIR] * 3, strict=True), r"Expected a pair .* got a tuple of 3"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_pair(fuse: ImageFusionPipeline, inputs: Any, message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        fuse(inputs)


@pytest.mark.parametrize("batch_size", ["2", 2.5, 0])
def test_batch_size(fuse: ImageFusionPipeline, batch_size: Any) -> None:
    with pytest.raises(ValueError, match=rf"whole number of at least 1, got {batch_size!r}"):
        fuse([PAIR], batch_size=batch_size)


def test_num_workers(fuse: ImageFusionPipeline, checkpoint: Path) -> None:
    """Programs written for other pipelines pass it, also when they create the pipeline."""
    own = pipeline("image-fusion", model=str(checkpoint), device="cpu", num_workers=0)
    for number in (0, None):
        assert np.array_equal(own(PAIR, num_workers=number), fuse(PAIR))
    for call in (partial(fuse, PAIR), partial(pipeline, "image-fusion", model=str(checkpoint))):
        with pytest.raises(ValueError, match="`num_workers` must be 0 or None, got 2"):
            call(num_workers=2)


def test_unknown_argument(fuse: ImageFusionPipeline) -> None:
    with pytest.raises(ValueError, match=r"\['segmentation'\]. Allowed: agc, align, batch_size, crop, infrared_luma"):
        fuse(PAIR, segmentation=True)


def test_no_segmenter(tiny_model: Callable[..., GFFusionModel]) -> None:
    model = tiny_model(use_segmenter=False).eval()
    fuse = pipeline("image-fusion", model=model, image_processor=GFFusionImageProcessor())
    with pytest.raises(ValueError, match="no segmenter"):
        fuse(PAIR, segment=True)
