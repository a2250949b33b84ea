"""Rigs: JSON files, tags of FLIR, and refusals of what is no rig."""

import errno
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gffusion.cameras import Rig, apply_rig
from gffusion.cameras.orientation import Orientation
from gffusion.cameras.warping import find_blur
from gffusion.data import ReadOptions, read_pair, write_image

VALID: dict[str, Any] = {"format": "gffusion-rig", "version": 1, "matrix": [[2, 0, -0.5], [0.01, 2, 0], [0.1, 0, 1]]}


def write(folder: Path, content: Any) -> Path:
    path = folder / "rig.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"cannot write .*rig\.json: the folder .*none does not exist"):
        Rig(np.eye(3)).save(tmp_path / "none" / "rig.json")


def test_a_saved_rig_is_loaded(tmp_path: Path) -> None:
    rig = Rig(np.array(VALID["matrix"]), (480, 640), tuple(np.array([240, 320])), "estimated from 10 pairs")
    rig.save(tmp_path / "rig.json")
    loaded = Rig.load(tmp_path / "rig.json")
    assert np.array_equal(loaded.matrix, rig.matrix)
    assert (loaded.visible_size, loaded.infrared_size, loaded.origin) == ((480, 640), (240, 320), rig.origin)


@pytest.mark.parametrize("size", [(480.0, 640), (480,), 480, (0, 640), (480, 10**7), "ab", (None, 1), (True, True)])
def test_sizes_that_could_not_be_loaded_are_refused(size: Any) -> None:
    with pytest.raises(ValueError, match=r"`visible_size` must be a height and a width in pixels"):
        Rig(np.eye(3), size)


def test_a_rig_is_replaced_when_the_new_one_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig, path = Rig(np.array(VALID["matrix"])), write(tmp_path, "old")
    with monkeypatch.context() as patch, pytest.raises(OSError, match=r"No space.*rig\.json"):
        error = OSError(errno.ENOSPC, "No space left on device")
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(error))
        rig.save(path)
    assert path.read_text() == "old" and [*tmp_path.iterdir()] == [path]
    rig.save(path)
    assert np.array_equal(Rig.load(path).matrix, rig.matrix)
    with pytest.raises(OSError, match="it is a folder; choose another name"):
        rig.save(tmp_path)


def test_sizes_and_origin_are_optional(tmp_path: Path) -> None:
    rig = Rig.load(write(tmp_path, VALID))
    assert rig.visible_size is None
    assert rig.origin == ""
    assert rig.check_sizes((1, 5), (7, 2)) == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "format"),
        ({"version": 2}, "update gffusion"),
        ({"version": None}, "version"),
        ({"matrix": None}, "three lists"),
        ({"matrix": [[1, 0], [0, 1]]}, "three lists"),
        ({"matrix": [[1, 0, 0], [0, "1", 0], [0, 0, 1]]}, "three lists"),
        ({"matrix": [[True, 0, 0], [0, 1, 0], [0, 0, 1]]}, "three lists"),
        ({"matrix": [[10**400, 0, 0], [0, 1, 0], [0, 0, 1]]}, "too large"),
        ({"matrix": [[float("nan"), 0, 0], [0, 1, 0], [0, 0, 1]]}, "finite"),
        ({"matrix": [[float("inf"), 0, 0], [0, 1, 0], [0, 0, 1]]}, "finite"),
        ({"matrix": [[0, 0, 0], [0, 0, 0], [0, 0, 1]]}, "plausible"),
        ({"matrix": [[1000, 0, 0], [0, 1000, 0], [0, 0, 1]]}, "50-fold"),
        ({"matrix": [[1, 0, 0], [0, 1, 0], [-2, 0, 1]]}, "perspective"),
        ({"matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 0]]}, "last entry"),
        ({"visible_size": [480, 640]}, "height"),
        ({"visible_size": {"height": 480}}, "sizes must be like"),
        ({"infrared_size": {"height": 0, "width": 640}}, "height"),
        ({"infrared_size": {"height": 1.5, "width": 640}}, "height"),
    ],
)
def test_values_that_are_not_allowed_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Rig.load(write(tmp_path, VALID | change))
    assert "rig.json" in str(error.value)


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "3", "[" * 100_000, "9" * 5000, '"x"', "{}", " " * 200_000, "\ufeff{}"]
)
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ValueError, match="no rig of"):
        Rig.load(write(tmp_path, content))


def test_byte_order_mark(tmp_path: Path) -> None:
    """Of editors on Windows."""
    rig = Rig(np.eye(3), (480, 640))
    assert Rig.load(write(tmp_path, f"\ufeff{rig.to_json()}")).visible_size == rig.visible_size


def test_binary_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rig.json").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ValueError, match="not JSON"):
        Rig.load(tmp_path / "rig.json")
    with pytest.raises(FileNotFoundError):
        Rig.load(tmp_path / "none.json")


def test_tags_of_flir() -> None:
    """The infrared image covers width / Real2IR of the visible image, around its center plus the offsets."""
    real2ir, offset, (height, width) = 1.4, np.array([14, -14]), (480, 640)
    matrix = Rig.from_flir(real2ir, *offset, (height, width)).matrix
    corner = (np.array([width, height]) / 2 + offset - np.array([width, height]) / real2ir / 2) / (width, height)
    assert np.allclose(matrix @ (*corner, 1), (0, 0, 1))
    assert np.allclose(matrix @ (*(corner + 1 / real2ir), 1), (1, 1, 1))


@pytest.mark.parametrize("shrinking", [(1, 1), (4, 4), (1.5, 4)])
def test_the_recipe_for_other_programs(tmp_path: Path, shrinking: tuple[float, float]) -> None:
    """The lines of docs/guides/export-program.md give the counts of `read_pair`, to which `fuse --align rig.json --crop` applies the model."""
    cv2 = pytest.importorskip("cv2")
    rng, sizes = np.random.default_rng(0), ((240, 320), (int(100 * shrinking[1]), int(130 * shrinking[0])))
    # OpenCV rounds positions to 1/32 of a pixel: large contrasts must be smooth, and noise small.
    counts = rng.uniform(7000, 9000, (20, 26)) if shrinking == (1, 1) else rng.uniform(7900, 8100, sizes[1])
    counts = cv2.resize(counts, sizes[1][::-1], interpolation=cv2.INTER_CUBIC).astype(np.uint16)
    write_image(tmp_path / "infrared.png", counts)
    write_image(tmp_path / "visible.png", rng.integers(0, 256, (*sizes[0], 3), np.uint8))
    matrix = np.array([[0.52, 0.01, -12.3], [-0.008, 0.5, -7.1], [1e-5, -2e-5, 1]])
    rig = Rig.from_pixels(np.diag([*shrinking, 1]) @ matrix, *sizes)
    options = ReadOptions(align=rig, crop=True, keep_borders=True)
    images = read_pair(tmp_path / "visible.png", tmp_path / "infrared.png", options)
    assert images.window is not None and images.missing is None
    (height, width), (top, left, window_height, window_width) = sizes[0], images.window
    sigma_y, sigma_x = find_blur(rig.to_pixels(*sizes), sizes[0])
    infrared = counts
    if max(sigma_x, sigma_y) > 0:
        infrared = cv2.GaussianBlur(
            np.float32(infrared),
            (0, 0),
            sigmaX=max(sigma_x, 1e-3),
            sigmaY=max(sigma_y, 1e-3),
            borderType=cv2.BORDER_REPLICATE,
        )
    warped = cv2.warpPerspective(
        infrared,
        rig.to_pixels(*sizes),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )[top : top + window_height, left : left + window_width]
    assert np.abs(np.rint(warped).astype(int) - images.infrared).max() <= 12


HOMOGRAPHY = np.array([[0.4, 0.03, -12], [-0.02, 0.5, 7], [1e-4, -5e-5, 1]])


@pytest.mark.parametrize("factor", [1, -3.5])
def test_a_calibration_in_pixels(factor: float) -> None:
    """The inverse of `to_pixels`, and a point of the visible image gets the value at its point in the infrared image."""
    visible_size, infrared_size = (240, 320), (120, 140)
    rig = Rig.from_pixels(factor * HOMOGRAPHY, visible_size, infrared_size, "own calibration")
    pixels = rig.to_pixels(visible_size, infrared_size)
    assert np.allclose(pixels / pixels[2, 2], HOMOGRAPHY, rtol=1e-12)
    assert (rig.visible_size, rig.infrared_size, rig.origin) == (visible_size, infrared_size, "own calibration")
    rows, columns = np.indices(infrared_size)
    ramp = (200 * columns + rows).astype(np.float32)
    moved = apply_rig(np.zeros(visible_size, np.uint8), ramp, None, rig).infrared
    for x, y in ((60, 40), (250, 200), (160, 120)):
        column, row, depth = HOMOGRAPHY @ (x, y, 1)
        assert moved[y, x] == pytest.approx((200 * column + row) / depth, abs=0.1)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3)[:2], "3 x 3 finite"),
        (np.full((3, 3), np.inf), "3 x 3 finite"),
        (np.zeros((3, 3)), "last entry"),
        (np.diag([1.0, 0, 1]), "plausible"),
        (np.diag([-1.0, 1, 1]), "mirrors the image: .* mirrored=True"),
    ],
)
def test_calibrations_that_are_no_view_are_refused(matrix: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rig.from_pixels(matrix, (480, 640), (480, 640))
    with pytest.raises(ValueError, match="`infrared_size` must be a height and a width"):
        Rig.from_pixels(matrix, (480, 640), (480, 0))


# OpenCV returns None if it finds no homography.
@pytest.mark.parametrize("matrix", [None, "no", [[1, 0, 0], [0, 1], [0, 0, 1]], [[1j, 0, 0], [0, 1, 0], [0, 0, 1]]])
def test_matrices_that_are_no_numbers_are_refused(matrix: Any) -> None:
    for make in (Rig, lambda matrix: Rig.from_pixels(matrix, (480, 640), (480, 640))):
        with pytest.raises(ValueError, match=re.escape(f"3 x 3 finite numbers, got {matrix!r}")):
            make(matrix)


@pytest.mark.parametrize("real2ir", [0, -1, float("nan"), float("inf"), 1e9])
def test_impossible_tags_are_refused(real2ir: float) -> None:
    with pytest.raises(ValueError, match=r"Real2IR|matrix"):
        Rig.from_flir(real2ir, 0, 0, (480, 640))


def test_other_cameras_are_refused_and_other_resolutions_noted() -> None:
    rig = Rig(np.eye(3), (480, 640), (240, 320))
    assert rig.check_sizes((480, 640), (240, 320)) == ()
    (note,) = rig.check_sizes((960, 1280), (240, 320))
    assert "640 x 480" in note
    assert "1280 x 960" in note
    assert len(rig.check_sizes((960, 1280), (121, 160))) == 2
    with pytest.raises(ValueError, match=r"320 x 240 pixels, this one has 320 x 256: another camera"):
        rig.check_sizes((480, 640), (256, 320))
    with pytest.raises(ValueError, match="rotated"):
        rig.check_sizes((640, 480), (240, 320))


@pytest.mark.parametrize(
    ("size", "expected", "words"),
    [
        ("320 x 256", "640 x 512", "256, of the same aspect ratio"),
        ("1366 x 768", "1920 x 1080", "768, of the same aspect ratio"),
        ("160 x 121", "320 x 240", "121, of the same aspect ratio"),
        ("640 x 513", "640 x 512", "513, up to 1 pixel off"),
        ("641 x 481", "640 x 480", "481, up to 1 pixel off"),
        ("848 x 480", "1920 x 1080", "about 3 pixels off if it was cropped or padded"),
        ("480 x 272", "1920 x 1080", "about 2 pixels off if it was cropped or padded"),  # multiples of 16 for encoders
        ("320 x 258", "640 x 512", "about 2 pixels off if it was cropped or padded"),
        ("640 x 482", "4000 x 3000", "about 2 pixels off if it was cropped or padded"),
    ],
)
def test_sizes_of_scaled_images(size: str, expected: str, words: str) -> None:
    (note,) = Rig(np.eye(3), None, parse(expected)).check_sizes((480, 640), parse(size))
    assert note.endswith(words)


@pytest.mark.parametrize(
    ("size", "expected", "words"),
    [
        ("640 x 514", "640 x 512", "2 rows more, and would be up to 2 pixels off"),  # telemetry
        ("160 x 122", "160 x 120", "2 rows more"),
        ("512 x 642", "512 x 640", "2 rows more"),
        ("1920 x 1088", "1920 x 1080", "8 rows more"),  # blocks of video encoders
        ("1920 x 1080", "1920 x 1088", "8 rows fewer"),
        ("382 x 288", "384 x 288", "2 columns fewer"),
        ("1936 x 1096", "1920 x 1080", "16 rows more and 16 columns more"),
    ],
)
def test_sizes_with_added_rows_are_refused(size: str, expected: str, words: str) -> None:
    sizes = rf"for visible images of {expected} pixels, this one has {size}, .*{words}.*telemetry.*`gffusion align`"
    with pytest.raises(ValueError, match=sizes):
        Rig(np.eye(3), parse(expected)).check_sizes(parse(size), (480, 640))


def parse(size: str) -> tuple[int, int]:
    width, height = map(int, size.split(" x "))
    return height, width


def test_a_calibration_in_a_mirror() -> None:
    mirror = [[-1, 0, 639], [0, 1, 0], [0, 0, 1]]
    rig = Rig.from_pixels(mirror, (480, 640), (480, 640), mirrored=True)
    assert np.allclose(rig.matrix, Orientation(mirror=True).matrix)
    with pytest.raises(ValueError, match=r"does not mirror the image: .* mirrored=False"):
        Rig.from_pixels(np.eye(3), (480, 640), (480, 640), mirrored=True)
