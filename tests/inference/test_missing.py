"""Arrays with missing values or in false colors give what the true intensities give, in the pipeline and in `predict`."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from camera_files import render_pair
from numpy.typing import NDArray
from transformers import pipeline
from transformers.utils.logging import warning_once

from gffusion import create_model
from gffusion.cameras.missing import fill_missing
from gffusion.data import PairImages, read_pair, write_image
from gffusion.inference.predict import predict
from gffusion.zoo import load_image_processor, locate

VISIBLE, INFRARED = render_pair()
THERMAL = np.rint(255 * INFRARED).astype(np.uint8)
HOLE = np.s_[10:60, 20:70]
MISSING = np.zeros(INFRARED.shape, bool)
MISSING[HOLE] = True
DAMAGED = np.where(MISSING, np.nan, INFRARED).astype(np.float32)


@pytest.fixture(scope="module")
def fuse() -> Any:
    return pipeline(
        "image-fusion", model=str(locate("gffusion-funet")), device="cpu"
    )  # equal to the last bit only there


def run(infrared: Any, missing: Any = (None,), **options: Any) -> Any:
    model, processor = create_model("gffusion-funet"), load_image_processor("gffusion-funet", **options)
    return predict(model, processor, [(VISIBLE, infrared)] * len(missing), missing=list(missing))


def color(levels: NDArray[np.uint8], name: str = "jet") -> NDArray[np.float64]:
    matplotlib = pytest.importorskip("matplotlib")
    return np.asarray(matplotlib.colormaps[name](levels)[..., :3], np.float64)


@pytest.mark.parametrize("infrared_range", ["auto", "percentile"])
@pytest.mark.parametrize("kind", ["float32", "float64", "infinite", "PIL", "tensor", "bfloat16", "channels first"])
def test_missing_values_of_float_arrays(fuse: Any, kind: str, infrared_range: str) -> None:
    tensor = torch.from_numpy(DAMAGED)
    infrared = {
        "float64": DAMAGED.astype(np.float64),
        "infinite": np.where(MISSING, -np.inf, DAMAGED),
        "PIL": PIL.Image.fromarray(DAMAGED),
        "tensor": tensor,
        "bfloat16": tensor.bfloat16(),
        "channels first": tensor[None],
    }.get(kind, DAMAGED)
    fused = np.asarray(fuse(VISIBLE, infrared, infrared_range=infrared_range)).astype(int)
    zeros = np.where(MISSING, 0, DAMAGED)  # what hidden values are does not matter
    mask = torch.from_numpy(MISSING) if kind == "tensor" else MISSING
    expected = run(zeros, [mask], infrared_range=infrared_range)[0].fused
    assert np.abs(fused - expected).max() <= (3 if kind == "bfloat16" else 0)
    assert np.array_equal(fused[30:40, 40:50], VISIBLE[30:40, 40:50])


def test_missing_values_count_in_no_range_of_a_folder(fuse: Any) -> None:
    folder = fuse([(VISIBLE, DAMAGED * 20 + 280), (VISIBLE, DAMAGED * 20 + 280)], infrared_range="folder")
    expected = fuse(VISIBLE, DAMAGED * 20 + 280, infrared_range="percentile")
    assert np.abs(np.asarray(folder[0]).astype(int) - np.asarray(expected)).max() <= 1


def test_no_measured_value(fuse: Any) -> None:
    for infrared in (DAMAGED * np.nan, np.full((*DAMAGED.shape, 3), np.nan, np.float32)):
        with pytest.raises(ValueError, match="no measured pixel"):
            fuse(VISIBLE, infrared)


@pytest.mark.parametrize(
    ("kind", "has_hole"),
    [("uint8", False), ("uint16", False), ("int32", False), ("float32", False), ("float32", True)],
)
def test_false_colors_of_any_depth(fuse: Any, kind: str, has_hole: bool) -> None:
    levels = color(THERMAL)
    scale = {"uint8": 255, "float32": 1}.get(kind, 65535)
    infrared: Any = (levels * scale if kind == "float32" else np.rint(levels * scale)).astype(kind)
    truth: Any = THERMAL
    if has_hole:
        infrared[MISSING], truth = np.nan, DAMAGED
    predicted = run(infrared, [MISSING if has_hole else None])[0].fused
    for fused in (np.asarray(fuse(VISIBLE, infrared)), predicted):
        difference = fused.astype(int) - np.asarray(fuse(VISIBLE, truth))
        assert np.abs(difference).mean() < 0.2 and np.abs(difference).max() <= 3


@pytest.mark.parametrize("as_files", [False, True])
def test_notes_name_both_images(new_pipeline: Any, caplog: Any, tmp_path: Path, as_files: bool) -> None:
    """A note about the visible image is not read as one about the infrared image."""
    visible = (VISIBLE / 255).astype(np.float32)
    visible[: len(visible) // 4] = np.nan
    pair: Any = visible, THERMAL
    names = ["the visible image", "the infrared image"]
    if as_files:
        names = [str(tmp_path / "visible.tif"), str(tmp_path / "infrared.png")]
        for name, image in zip(names, pair, strict=True):
            write_image(name, image)
        pair = tuple(names)
    new_pipeline(pair)
    (message,) = caplog.messages
    assert message.startswith(f"{', '.join(names)}: visible border without a value (25 %) black")


def test_colors_of_no_palette(caplog: Any) -> None:
    patches = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    model, processor = create_model("gffusion-funet"), load_image_processor("gffusion-funet")
    for kind in (patches, torch.from_numpy(patches).movedim(-1, 0), PIL.Image.fromarray(patches)):
        with pytest.raises(ValueError, match=r"infrared image of pair 2 is a color image.* infrared_luma=True"):
            predict(model, processor, [(VISIBLE, THERMAL), (VISIBLE, kind)])
    luma = (patches / 255) @ [0.299, 0.587, 0.114]
    expected = predict(model, processor, [(VISIBLE, luma.astype(np.float32))])[0].fused
    for pairs, is_meant in (([(VISIBLE, patches)], True), ([PairImages(VISIBLE, patches)], False)):
        fused = predict(model, processor, pairs, infrared_luma=is_meant)[0].fused
        np.testing.assert_allclose(fused.astype(int), expected, atol=1)
    assert not caplog.messages


def give_transparent(kind: str) -> PIL.Image.Image:
    """Return the infrared image with a transparent hole, or in the palette black-hot, as a PIL image."""
    if kind == "black-hot":
        image = PIL.Image.frombytes("P", THERMAL.shape[::-1], THERMAL.tobytes())
        image.putpalette(np.arange(255, -1, -1, np.uint8).repeat(3).tobytes())
        return image
    values = np.where(MISSING, 0, np.maximum(THERMAL, 1))
    opacity = np.where(MISSING, 0, 255)
    if kind in ("LA", "RGBA"):
        return PIL.Image.fromarray(np.dstack([values] * (len(kind) - 1) + [opacity]).astype(np.uint8))
    image = PIL.Image.fromarray(values.astype(np.uint8)).convert(kind)
    image.info["transparency"] = (0, 0, 0) if kind == "RGB" else 0
    return image


@pytest.mark.parametrize("kind", ["LA", "RGBA", "L", "RGB", "P", "black-hot"])
def test_opacity_and_palettes_of_images_in_memory(new_pipeline: Any, tmp_path: Path, caplog: Any, kind: str) -> None:
    image = give_transparent(kind)
    image.save(tmp_path / "infrared.png")
    write_image(tmp_path / "visible.png", VISIBLE)
    pair = read_pair(tmp_path / "visible.png", tmp_path / "infrared.png")
    expected = run(pair.infrared, [pair.missing])[0].fused
    with caplog.at_level("WARNING"):
        np.testing.assert_array_equal(new_pipeline(PIL.Image.fromarray(VISIBLE), image), expected)
    assert len(pair.notes) == 1 and pair.notes[0] in caplog.messages[-1]
    for given in [image] if "A" not in kind else [image, np.asarray(image.convert("RGBA"))]:
        (prediction,) = run(given)
        np.testing.assert_array_equal(prediction.fused, expected)
        assert np.array_equal(prediction.missing, MISSING) or kind == "black-hot"


def test_opacity_of_visible_images_and_of_the_processor(new_pipeline: Any, caplog: Any) -> None:
    """The processor alone fills nothing. A fourth channel can be a measurement."""
    opacity = np.where(MISSING, 0, 255).astype(np.uint8)
    transparent = PIL.Image.fromarray(np.dstack([VISIBLE, opacity]))
    expected = new_pipeline(fill_missing(VISIBLE, MISSING), THERMAL)
    for given in (transparent, np.asarray(transparent)):
        np.testing.assert_array_equal(new_pipeline(given, THERMAL), expected)
    assert any("transparent visible pixels (" in message for message in caplog.messages)
    caplog.clear()
    warning_once.cache_clear()
    new_pipeline(np.dstack([VISIBLE, THERMAL - THERMAL.min()]), THERMAL)
    assert not caplog.messages
    load_image_processor("gffusion-funet")((VISIBLE, np.dstack([VISIBLE, THERMAL - THERMAL.min()])), infrared_luma=True)
    assert not caplog.messages
    load_image_processor("gffusion-funet")((VISIBLE, give_transparent("LA")))
    assert "transparent pixels of an infrared image are taken as measured" in caplog.messages[-1]


@pytest.mark.parametrize("left", [b"\0" * 9, (0, 0, 0), 0])
def test_transparency_that_is_left_from_another_mode(new_pipeline: Any, left: Any) -> None:
    """Pillow keeps the transparency of a palette in `info` when its indices are taken by `point`."""
    for mode in ("L", "RGB", "1"):
        if (mode == "RGB") == isinstance(left, tuple) and not isinstance(left, bytes):
            continue  # of this mode
        image = PIL.Image.fromarray(np.maximum(THERMAL, 1)).convert(mode)
        expected = run(image)[0].fused
        image.info["transparency"] = left
        np.testing.assert_array_equal(run(image)[0].fused, expected)
        np.testing.assert_array_equal(new_pipeline(PIL.Image.fromarray(VISIBLE), image), expected)


def test_gray_in_three_channels_is_unchanged() -> None:
    gray = np.repeat(THERMAL[..., None], 3, axis=-1)
    model, processor = create_model("gffusion-funet"), load_image_processor("gffusion-funet")
    for infrared in (gray, gray * np.uint16(257), (gray / 255).astype(np.float32)):
        found, expected = (
            predict(model, processor, [(VISIBLE, infrared)], infrared_luma=is_meant)[0].fused
            for is_meant in (False, True)
        )
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="NaN"):
        run(np.full((*THERMAL.shape, 3), np.nan, np.float32))


def test_masks_of_predictions() -> None:
    with_hole, without = run(INFRARED.astype(np.float32), [MISSING, None])
    assert with_hole.missing is MISSING and without.missing is None
    np.testing.assert_array_equal(without.fused, run(INFRARED.astype(np.float32))[0].fused)
    assert (with_hole.fused[30:40, 40:50] == VISIBLE[30:40, 40:50]).all()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ([], "one mask or None per pair, got 0 for 1 pairs"),
        ([MISSING[1:]], r"bool of shape \(96, 128\), got bool of shape \(95, 128\)"),
        ([MISSING.astype(np.uint8)], r"bool of shape \(96, 128\), got uint8 of"),
        ([MISSING.tolist()], r"bool of shape \(96, 128\), got a list"),
    ],
)
def test_wrong_masks(missing: Any, message: str) -> None:
    model, processor = create_model("gffusion-funet"), load_image_processor("gffusion-funet")
    with pytest.raises(ValueError, match=message):
        predict(model, processor, [(VISIBLE, THERMAL)], missing=missing)
