"""FusionStream: images, times and options that it refuses."""

from typing import Any

import numpy as np
import pytest
from video_files import frame_pair, infrared_frame, visible_frame

from gffusion.cameras import Rig
from gffusion.cameras.palettes import load_palettes
from gffusion.data import ReadOptions
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.video.stream import FusionStream
from gffusion.zoo import load_image_processor


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "got NoneType"),
        ([[0]], "got list"),
        (np.zeros((0, 4), np.uint8), r"ndarray of uint8 and shape \(0, 4\)"),
        (np.zeros(4, np.uint8), r"ndarray of uint8 and shape \(4,\)"),
        (np.zeros((3, 48, 64), np.uint8), r"ndarray of uint8 and shape \(3, 48, 64\)"),
        (np.zeros((48, 64, 4), np.uint8), r"ndarray of uint8 and shape \(48, 64, 4\)"),
        (np.zeros((48, 64), bool), "floating-point values, got ndarray of bool"),
        (np.zeros((48, 64), np.complex64), "got ndarray of complex64"),
        (np.zeros((48, 64), object), "got ndarray of object"),
        (np.zeros((48, 64), "U3"), "got ndarray of <U3"),
        (np.zeros((48, 64), [("a", "u1")]), "got ndarray of "),
    ],
)
@pytest.mark.parametrize("name", ["visible", "infrared"])
def test_what_is_no_image_is_refused(funet: GFFusionModel, image: Any, message: str, name: str) -> None:
    images = dict(zip(("visible", "infrared"), frame_pair(0), strict=True)) | {name: image}
    stream = FusionStream(funet, load_image_processor("gffusion-funet"))
    with stream, pytest.raises(ValueError, match=f"`{name}` must be an array .*{message}"):
        stream.push(**images)
    assert stream.statistics.pushed == 0


@pytest.mark.parametrize(("name", "advice"), [("visible", "its values"), ("infrared", "values with NaN")])
def test_masked_arrays_are_refused_with_what_push_takes(funet: GFFusionModel, name: str, advice: str) -> None:
    images = dict(zip(("visible", "infrared"), frame_pair(0), strict=True))
    with FusionStream(funet, load_image_processor("gffusion-funet")) as stream:
        with pytest.raises(ValueError, match=f"`{name}` is a masked array, .*: give .*{advice}"):
            stream.push(**images | {name: np.ma.array(images[name], mask=np.arange(images[name].size) == 3)})  # type: ignore[arg-type]
        stream.push(**images | {name: np.ma.array(images[name])})  # type: ignore[arg-type]
        assert stream.latest(timeout=120) is not None


@pytest.mark.parametrize("time", [float("nan"), float("inf"), np.float32("nan"), "1.5", True])
def test_wrong_times(funet: GFFusionModel, time: Any) -> None:
    with FusionStream(funet, load_image_processor("gffusion-funet")) as stream:
        with pytest.raises(ValueError, match="`time` must be a finite number of seconds, got "):
            stream.push(*frame_pair(0), time=time)
        stream.push(*frame_pair(0), time=2)
        if time != float("inf"):
            with pytest.raises(ValueError, match="`timeout` must be a number of seconds or None, got "):
                stream.latest(timeout=time)
        first = stream.latest(timeout=float("inf"))
        assert first is not None and stream.latest(timeout=np.float32(-1), after=first) is first
    assert stream.statistics.pushed == 1


def test_black_borders_are_measured_by_default(funet: GFFusionModel) -> None:
    visible, infrared = visible_frame(0, 96, 128), infrared_frame(0, 96, 128)
    infrared[:, :32] = 0
    processor, results = load_image_processor("gffusion-funet"), []
    for read_options in (None, ReadOptions(keep_borders=True), ReadOptions()):
        with FusionStream(funet, processor, read_options) as stream:
            stream.push(visible, infrared)
            result = stream.latest(timeout=120)
            assert result is not None
            results.append(result)
    assert np.array_equal(results[0].fused, results[1].fused)
    assert not np.array_equal(results[0].fused, results[2].fused)
    assert [any("border" in note for note in result.notes) for result in results] == [False, False, True]


def test_another_palette_that_stays_is_taken(funet: GFFusionModel) -> None:
    """After five frames in a row, and a visible one of another time for each, because equal frames are frozen."""
    ramp = np.add.outer(np.arange(96), np.arange(128)) * 255 // 222
    failed = []
    with FusionStream(funet, load_image_processor("gffusion-funet")) as stream:
        result = None
        for number in range(9):
            colors = load_palettes()["jet" if number in (0, 2) else "inferno"].astype(np.uint8)
            stream.push(visible_frame(number, 96, 128), colors[(ramp + number) % 256], time=number)
            try:
                result = stream.latest(timeout=120, after=result)
            except ValueError as error:
                assert "changes: it is taken after 5 frames" in str(error)
                failed.append(number)
    assert failed == [1, 3, 4, 5, 6]


def test_options_of_another_kind(funet: GFFusionModel) -> None:
    with pytest.raises(TypeError, match=r"`read_options` must be ReadOptions, .*Rig\.load.*, got Rig"):
        FusionStream(funet, load_image_processor("gffusion-funet"), Rig(np.eye(3)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "stream_options", "message"),
    [
        ({"infrared_range": "folder"}, {}, "folder"),
        ({}, {"read_options": ReadOptions(align="auto")}, "gffusion align"),
        ({}, {"segment": True}, "segmenter"),
        ({}, {"semantic_every": 4}, "injects CLIP"),
        ({}, {"semantic_every": 0}, "whole number of at least 1, got 0"),
    ],
)
def test_refused(funet: GFFusionModel, options: dict[str, Any], stream_options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FusionStream(funet, load_image_processor("gffusion-funet", **options), **stream_options)
