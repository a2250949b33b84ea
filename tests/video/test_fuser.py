"""Frames that differ from those before: in palette, contrast or size."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from video_files import infrared_frame, visible_frame, write_frames

from gffusion.cameras.palettes import load_palettes
from gffusion.data import ReadOptions
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.video.fuser import FrameFuser
from gffusion.video.reading import to_infrared
from gffusion.zoo import load_image_processor

SIZE = (96, 128)
RAMP = np.add.outer(np.arange(SIZE[0]), np.arange(SIZE[1])) * 255 // (sum(SIZE) - 2)


def color(palette: str, index: int, high: int = 255) -> NDArray[np.uint8]:
    """Return levels from 0 to `high` in a palette."""
    return load_palettes()[palette].astype(np.uint8)[(RAMP + index) % 256 * high // 255]


def test_dark_frames_do_not_choose_the_palette(tmp_path: Path, fuse: Callable) -> None:
    """Noise is gray, and the dark part of inferno is that of iron; one frame of another palette is left out."""
    noise = [np.random.default_rng(index).integers(0, 3, (*SIZE, 3), np.uint8) for index in range(2)]
    frames = [*noise, color("inferno", 0, 20), color("jet", 0), *(color("inferno", index) for index in range(5))]
    report = fuse(*write_frames(tmp_path, frames, "bgr0"))[1]
    assert (report.frames, report.failures) == (8, 1)
    assert report.errors[0].startswith("0.120 s: the palette of")


def test_a_long_first_part_in_another_palette_is_left_out(tmp_path: Path, fuse: Callable) -> None:
    """Such as a splash screen: the palette is that of most frames."""
    frames = [color("jet" if index < 12 else "inferno", index) for index in range(40)]
    report = fuse(*write_frames(tmp_path, frames, "bgr0"))[1]
    assert (report.frames, report.failures) == (28, 12)
    assert re.search(r"^0\.000 s: the palette of .* is not that of most frames \(\S*inferno\S*\)", report.errors[0])


@pytest.mark.parametrize("image", [RAMP > 99, np.ma.masked_equal(RAMP.astype(np.uint8), 3)])
@pytest.mark.filterwarnings("error")
def test_unusable_arrays_are_refused(funet: GFFusionModel, image: NDArray[Any]) -> None:
    fuser = FrameFuser(funet, load_image_processor("gffusion-funet"))
    with pytest.raises(ValueError, match="The infrared image"):
        fuser.fuse([fuser.prepare(visible_frame(0, *SIZE), image)])


@pytest.mark.parametrize("infrared_range", ["auto", "folder"])
def test_frames_of_another_size_than_the_border_are_left_out(
    tmp_path: Path, fuse: Callable, monkeypatch: pytest.MonkeyPatch, infrared_range: str
) -> None:
    """Streams can change their size; the frame is none of those in which borders are searched for."""
    frames = [np.random.default_rng(index).integers(90, 160, SIZE).astype(np.uint8) for index in range(40)]
    for frame in frames:
        frame[:, :32] = 0

    def read(frame: Any) -> NDArray[Any]:
        image = to_infrared(frame)
        return image[::2, ::2] if np.array_equal(image, frames[5]) else image

    monkeypatch.setattr("gffusion.video.folders.to_infrared", read)
    files = write_frames(tmp_path, frames, "gray")
    report = fuse(*files, infrared_options={"infrared_range": infrared_range})[1]
    assert (report.frames, report.failures) == (39, 1)
    assert report.errors[0].startswith("0.200 s: the size of ")
    assert "is 64x48, but its border was found in frames of 128x96" in report.errors[0]


def test_visible_range(funet: GFFusionModel) -> None:
    options = ReadOptions(visible_range=(0, 4080), keep_borders=True)
    fuser = FrameFuser(funet, load_image_processor("gffusion-funet"), options)
    frame = visible_frame(0).astype(np.uint16)
    images = fuser.prepare(frame * 16, infrared_frame(0)).images
    np.testing.assert_array_equal(images.visible, frame * 257)
    assert not any("too dark" in note for note in images.notes)


def test_sizes_that_change_are_noted(funet: GFFusionModel) -> None:
    """Frames that are refused for their size change nothing."""
    noted, large, small = [], (48, 64), (24, 32)
    for align in ("resize", "none"):
        fuser = FrameFuser(funet, load_image_processor("gffusion-funet"), ReadOptions(align=align, keep_borders=True))
        for visible, infrared in ((large, large), (large, small), (large, small), (small, small)):
            with suppress(ValueError):
                noted.append(fuser.prepare(visible_frame(0, *visible), infrared_frame(0, *infrared)).images.notes)
    first, second = (
        f"the size of the {name} frames changes from 64 x 48 to 32 x 24" for name in ("infrared", "visible")
    )
    assert noted == [(), (first,), (), (second,), (), (second, first)]


def test_visible_types_that_change_are_noted(funet: GFFusionModel) -> None:
    """Results have the type of the visible frame. The order of bytes is none."""
    fuser = FrameFuser(funet, load_image_processor("gffusion-funet"), ReadOptions(keep_borders=True))
    color = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    deep, gray = color.astype(np.uint16) * 257, color[..., 0]
    given = color, color, deep, deep.astype(">u2"), gray, gray[..., None], color
    notes = [
        note for visible in given for note in fuser.prepare(visible, gray.copy()[::-1]).images.notes if "type" in note
    ]
    changes = ("uint8 (color)", "uint16 (color)"), ("uint16 (color)", "uint8 (gray)"), ("uint8 (gray)", "uint8 (color)")
    assert notes == [f"the type of the visible frames changes from {before} to {after}" for before, after in changes]


@pytest.mark.parametrize("value", [0, np.nan])
def test_cropped_frames_keep_one_size(funet: GFFusionModel, value: float) -> None:
    """Also of a stream that searches every frame for borders."""
    fuser = FrameFuser(funet, load_image_processor("gffusion-funet"), ReadOptions(align="resize", crop=True))
    for width in (16, 24):
        infrared = np.random.default_rng(0).uniform(90, 160, (48, 64)).astype(np.float32 if value else np.uint8)
        infrared[:, :width] = value
        images = fuser.prepare(np.full((48, 64, 3), 120, np.uint8), infrared).images
        assert images.visible.shape[:2] == images.infrared.shape == (48, 64)
        assert images.missing is not None and any("filled" in note for note in images.notes)
