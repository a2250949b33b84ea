"""Fused images of any origin are segmented as the model segments its own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gffusion import GFFusionImageProcessor, GFFusionModel
from gffusion.data import PairImages
from gffusion.inference.predict import predict
from gffusion.inference.segmenting import segment_fused
from gffusion.models.gffusion.infrared_options import InfraredOptions

TinyModel = Callable[..., GFFusionModel]
Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@pytest.fixture
def pairs() -> list[Pair]:
    """Return two smooth pairs, of which gray levels decide the classes of random models."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (2, 5, 7, 4), dtype=np.uint8)
    return [(image[..., :3], image[..., 3]) for image in blocks.repeat(8, axis=1).repeat(8, axis=2)]


def to_values(image: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(image / np.float32(255)).reshape(*image.shape[:2], -1).permute(2, 0, 1)[None]


@pytest.mark.parametrize("color_space", ["ycbcr", "rgb"])
@pytest.mark.parametrize("paradigm", ["cascading", "hybrid"])
def test_own_images(tiny_model: TinyModel, pairs: list[Pair], color_space: str, paradigm: str) -> None:
    """The rounding of fused images to 8 bits changes few pixels."""
    options = {"segmenter_scales": [1, 2], "segmenter_refinement": 1.0}
    model = tiny_model(color_space=color_space, paradigm=paradigm, **options).eval()
    processor = GFFusionImageProcessor()
    predictions = predict(model, processor, pairs, segment=True)
    segmented = segment_fused(model, processor, [prediction.fused for prediction in predictions], pairs)
    others = segment_fused(model, processor, [255 - prediction.fused for prediction in predictions], pairs)
    (padded,) = segment_fused(model, GFFusionImageProcessor(size_divisor=32), [predictions[0].fused], pairs[:1])
    assert padded.shape == (40, 56)
    for prediction, labels, other in zip(predictions, segmented, others, strict=True):
        assert labels.shape == (40, 56) and labels.dtype == np.uint8
        assert np.mean(labels == prediction.labels) > 0.99 > np.mean(other == prediction.labels)


def test_refinement_reads_the_edges_of_mapped_infrared_values(tiny_model: TinyModel, pairs: list[Pair]) -> None:
    model, processor = tiny_model(segmenter_refinement=1.0).eval(), GFFusionImageProcessor()
    fused, dark = [visible for visible, _ in pairs], [(visible, infrared // 4) for visible, infrared in pairs]
    mapped = [(visible, (infrared / 64).astype(np.float32)) for visible, infrared in dark]
    expected, unmapped = (segment_fused(model, processor, fused, images) for images in (mapped, dark))
    found = segment_fused(model, processor, fused, dark, [InfraredOptions([0, 64])] * 2)
    assert np.array_equal(found, expected) and not np.array_equal(found, unmapped)


@pytest.mark.parametrize("color_space", ["ycbcr", "rgb"])
@pytest.mark.parametrize("paradigm", ["cascading", "hybrid"])
def test_labels_are_those_of_the_image_that_is_shown(
    tiny_model: TinyModel, pairs: list[Pair], color_space: str, paradigm: str
) -> None:
    """Inside holes of the infrared image, the fused image shows the visible one."""
    model = tiny_model(color_space=color_space, paradigm=paradigm, segmenter_scales=[1, 2]).eval()
    processor, missing = GFFusionImageProcessor(size_divisor=32), np.zeros((40, 56), bool)
    missing[8:, 16:] = True
    (whole,) = predict(model, processor, pairs[:1], segment=True)
    with_hole, without = predict(model, processor, [pairs[0]] * 2, segment=True, missing=[missing, None])
    (expected,) = segment_fused(model, processor, [with_hole.fused], pairs[:1])
    assert np.mean(with_hole.labels == expected) > 0.97 > np.mean(whole.labels == expected)
    assert np.array_equal(without.labels, whole.labels)  # type: ignore[arg-type]


def test_missing_pixels_are_no_edges_and_count_in_no_range(tiny_model: TinyModel, pairs: list[Pair]) -> None:
    model, options = tiny_model(segmenter_refinement=1.0).eval(), InfraredOptions("percentile")
    visible, infrared, hole = pairs[0][0], pairs[0][1] // 2, np.zeros((40, 56), bool)
    hole[4:40, 4:48], infrared[0, 0] = True, 255  # one hot pixel, which fewer pixels make a higher percentile
    measured = InfraredOptions(np.percentile(infrared[~hole], (0.1, 99.9)).tolist())

    def segment(value: int, missing: NDArray[np.bool_] | None, option: InfraredOptions) -> NDArray[np.uint8]:
        images = PairImages(visible, np.where(hole, np.uint8(value), infrared), missing)
        return segment_fused(model, GFFusionImageProcessor(), [visible], [images], [option])[0]

    expected = segment(0, hole, measured)
    for value in (0, 255):
        assert np.array_equal(segment(value, hole, options), expected)
        assert not np.array_equal(segment(value, None, options), expected)


@pytest.mark.parametrize("color_space", ["ycbcr", "rgb"])
def test_gray_images_get_the_chroma_of_the_visible_image_and_others_keep_theirs(
    tiny_model: TinyModel, pairs: list[Pair], color_space: str
) -> None:
    luma_model, model = tiny_model().eval(), tiny_model(color_space=color_space).eval()
    gray, colored = pairs[1][1], pairs[1][0]
    for part in ("dinov2", "ssnet"):  # the same segmenter
        getattr(model, part).load_state_dict(getattr(luma_model, part).state_dict())
    with torch.no_grad():
        in_color = luma_model.predict_logits(to_values(gray), to_values(pairs[0][0])).argmax(dim=1)[0]
        tokens = model.encode_dinov2(to_values(colored), [])[1]
        as_it_is = model.ssnet(tokens, model.segmenter_grid, (40, 56)).argmax(dim=1)[0]
    forms: dict[str, tuple[Any, torch.Tensor]] = {
        "gray": (gray, in_color),
        "gray in three channels": (np.dstack([gray] * 3), in_color),
        "16 bits": (gray.astype(np.uint16) * 257, in_color),
        "floating point": (gray / 255, in_color),
        "color": (colored, as_it_is),
    }
    for form, (image, expected) in forms.items():
        (labels,) = segment_fused(model, GFFusionImageProcessor(), [image], pairs[:1])
        assert np.mean(labels == expected.numpy()) > 0.99, form
    assert len(expected.unique()) > 1 and (in_color != as_it_is).any()


@pytest.mark.parametrize(
    ("options", "fused", "message"),
    [
        ({"use_segmenter": False}, np.zeros((40, 56)), "has no segmenter"),
        ({"paradigm": "parallel"}, np.zeros((40, 56)), "parallel paradigm segments the visible and the infrared image"),
        (
            {},
            np.zeros((56, 40)),
            r"fused image measures 40 x 56 pixels, but the visible image 56 x 40 \(width x height",
        ),
        ({}, np.full((40, 56), -0.5), r"^The fused image must have values in \[0, 1\] .* \(image \+ 1\) / 2"),
    ],
)
def test_refused(
    tiny_model: TinyModel, pairs: list[Pair], options: dict[str, Any], fused: NDArray[Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        segment_fused(tiny_model(**options).eval(), GFFusionImageProcessor(), [fused], pairs[:1])


def test_one_image_for_each_pair(tiny_model: TinyModel, pairs: list[Pair]) -> None:
    with pytest.raises(ValueError, match="one fused image for each pair, got 1 for 2 pairs"):
        segment_fused(tiny_model().eval(), GFFusionImageProcessor(), [pairs[0][0]], pairs)
    with pytest.raises(ValueError, match="`fused` must be a list of images, one for each pair, got a NoneType"):
        segment_fused(tiny_model().eval(), GFFusionImageProcessor(), None, pairs)  # type: ignore[arg-type]
    model = tiny_model().eval()
    maps = [
        segment_fused(model, GFFusionImageProcessor(), images, pairs)
        for images in ([pair[0] for pair in pairs], (pair[0] for pair in pairs))
    ]
    np.testing.assert_array_equal(*maps)
    frames = [PairImages(*pair) for pair in pairs]
    with pytest.raises(ValueError, match="`infrared_options` must have one entry per pair, got 1 for 2 pairs"):
        segment_fused(tiny_model().eval(), GFFusionImageProcessor(), frames, frames, [InfraredOptions()])
