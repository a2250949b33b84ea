"""Warping of images, compared with scikit-image and with known positions."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.transform import resize, warp

from gffusion.cameras import Rig, align_images, align_labels, apply_rig
from gffusion.cameras.warping import find_window, warp_image


def make_counts(height: int = 60, width: int = 80) -> NDArray[np.uint16]:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).random((height, width)), 2)
    return (9000 + 50_000 * noise).astype(np.uint16)


def warp_infrared(values: NDArray[Any], missing: Any, rig: Rig, size: tuple[int, int]) -> tuple[NDArray[Any], Any]:
    """Move an infrared image into the frame of a visible image."""
    return warp_image(values, missing, rig.to_pixels(size, values.shape[:2]), size)[:2]


def resize_infrared(values: NDArray[Any], missing: Any, size: tuple[int, int]) -> tuple[NDArray[Any], Any]:
    return warp_infrared(values, missing, Rig(np.eye(3)), size)


@pytest.mark.parametrize("size", [(120, 160), (60, 80), (97, 101), (25, 40), (7, 200), (1, 1)])
def test_resizing_is_that_of_scikit_image(size: tuple[int, int]) -> None:
    counts = make_counts()
    resized, missing = resize_infrared(counts, None, size)
    expected = resize(counts.astype(np.float64), size, order=1, mode="edge", anti_aliasing=True)
    assert missing is None
    assert resized.dtype == np.uint16
    assert np.abs(resized - expected).max() < 2  # rounding, and float32 filters


@pytest.mark.parametrize(
    "matrix",
    [
        [[1, 0, 0.1], [0, 1, -0.05], [0, 0, 1]],
        [[0.9, -0.08, 0.1], [0.06, 0.9, 0], [0, 0, 1]],
        [[0.95, 0, 0.01], [0, 0.9, 0.02], [0.05, -0.03, 1]],
    ],
)
def test_warping_is_that_of_scikit_image(matrix: list[list[float]]) -> None:
    counts, size = make_counts(), (120, 150)
    rig = Rig(np.array(matrix))
    warped, missing = warp_infrared(counts, None, rig, size)
    expected = warp(counts.astype(np.float64), rig.to_pixels(size, counts.shape), output_shape=size, cval=np.nan)
    both = np.isfinite(expected)
    if missing is not None:
        assert (warped[missing] == 0).all()
        assert not (missing & both).any()
    assert np.abs(warped - expected)[both].max() <= 0.51
    assert both.mean() > 0.7


@pytest.mark.filterwarnings("error")
def test_what_lies_behind_the_camera_is_missing() -> None:
    """From the horizon in column 20 on, although the division gives places inside the image there, too."""
    matrix = np.array([[-1, 0, 24], [-0.5, 0.1, 9], [-0.05, 0, 1]])
    column, row, depth = matrix @ (26, 10, 1)
    assert depth < 0 and 0 < column / depth < 40 and 0 < row / depth < 20
    missing = warp_image(np.ones((20, 40)), None, matrix, (20, 30))[1]
    assert missing[:, 20:].all() and not missing[:, :15].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_types_and_extreme_values_are_kept(dtype: Any) -> None:
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    values = np.full((6, 8), limits.max, dtype)
    values[:3] = limits.min if np.dtype(dtype).kind in "iu" else 0
    same, missing = resize_infrared(values, None, (6, 8))
    assert missing is None
    assert np.array_equal(same, values)
    larger = resize_infrared(values, None, (12, 16))[0]
    assert larger.dtype == dtype
    assert larger.max() == limits.max
    assert larger.min() == values.min()


@pytest.mark.parametrize("size", [(60, 80), (180, 240), (24, 32), (61, 83)])
@pytest.mark.parametrize("sentinel", [0, 65535])
def test_missing_values_do_not_bleed(size: tuple[int, int], sentinel: int) -> None:
    counts = make_counts()
    mask = np.zeros(counts.shape, bool)
    mask[20:32, 30:50] = mask[3, 3] = mask[:, :2] = True
    marked = np.where(mask, sentinel, counts).astype(np.uint16)
    warped, missing = resize_infrared(marked, mask, size)
    expected = resize_infrared(counts, None, size)[0]
    share = resize(mask.astype(np.float64), size, order=1, mode="edge")
    assert missing[share > 0.55].all()
    assert not missing[share < 0.45].any()
    assert np.abs(warped.astype(int) - expected)[~missing].max() < 0.1 * np.ptp(counts)
    assert counts.min() - 1 <= warped[~missing].min()
    assert warped[~missing].max() <= counts.max() + 1


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32, np.uint64])
def test_the_largest_value_does_not_wrap(dtype: Any) -> None:
    values = np.full((40, 50), np.iinfo(dtype).max, dtype)
    missing = np.random.default_rng(0).random((40, 50)) < 0.3
    warped, lost, _ = warp_image(values, missing, np.diag([0.37, 0.41, 1.0]), (90, 100))
    assert warped[~lost].min() > 0.99 * float(np.iinfo(dtype).max)


def test_nan_in_missing_pixels_does_not_bleed() -> None:
    values = np.full((10, 10), 3.5, np.float32)
    mask = np.zeros((10, 10), bool)
    mask[4:6, 4:6] = True
    values[mask] = np.nan
    warped, missing = resize_infrared(values, mask, (23, 17))
    assert np.allclose(warped[~missing], 3.5)
    assert np.isfinite(warped).all()


def test_colors_are_warped_channel_by_channel() -> None:
    image = np.stack([make_counts(), make_counts()[::-1], make_counts()[:, ::-1]], axis=-1)
    warped = warp_infrared(image, None, Rig(np.diag([1.2, 1.3, 1.0])), (50, 70))[0]
    assert warped.shape == (50, 70, 3)
    for channel in range(3):
        assert np.array_equal(
            warped[..., channel], warp_infrared(image[..., channel], None, Rig(np.diag([1.2, 1.3, 1])), (50, 70))[0]
        )


def test_the_infrared_image_lands_where_the_tags_say() -> None:
    infrared = np.full((24, 32), 7, np.uint16)
    aligned = apply_rig(np.zeros((96, 128, 3), np.uint8), infrared, None, Rig.from_flir(2.0, 16, -8, (96, 128)))
    expected = np.ones((96, 128), bool)
    expected[16:64, 48:112] = False  # the half size, around the center (48, 64) plus (-8, 16)
    assert np.array_equal(aligned.missing, expected) and np.array_equal(aligned.outside, expected)
    assert np.array_equal(aligned.infrared, np.where(expected, 0, 7))


def test_the_frame_of_the_infrared_image() -> None:
    visible = np.stack([np.tile(np.arange(128, dtype=np.uint8), (96, 1))] * 3, axis=-1)
    infrared, rig = make_counts(48, 64), Rig.from_flir(2.0, 16, -8, (96, 128))
    aligned = apply_rig(visible, infrared, None, rig, "infrared")
    assert aligned.infrared is infrared
    assert aligned.missing is None
    assert np.array_equal(aligned.visible[0, :, 0], np.arange(48, 112))


def test_a_visible_image_that_ends_within_a_pixel_has_no_black_border() -> None:
    visible, infrared = np.full((96, 128, 3), 200, np.uint8), np.zeros((48, 64), np.uint8)
    shifted = Rig(np.array([[1, 0, 1.2 / 128], [0, 1, 1.2 / 96], [0, 0, 1]]))
    aligned = apply_rig(visible, infrared, None, shifted, "infrared")
    assert (aligned.visible == 200).all()


def test_a_visible_image_that_does_not_cover_the_infrared_image() -> None:
    images = np.zeros((96, 128, 3), np.uint8), np.zeros((48, 64), np.uint8)
    rig = Rig(np.array([[1, 0, 0.25], [0, 1, 0], [0, 0, 1]]))
    with pytest.raises(ValueError, match=r"covers only 77% of the infrared image.*--crop"):
        apply_rig(*images, None, rig, "infrared")
    cropped = apply_rig(*images, None, rig, "infrared", crop=True)
    assert cropped.window == (0, 16, 48, 48)
    assert cropped.visible.shape[:2] == cropped.infrared.shape == (48, 48)


def test_images_without_a_common_part_are_refused() -> None:
    rig = Rig(np.array([[1, 0, 1.5], [0, 1, 0], [0, 0, 1]]))
    for reference in ("visible", "infrared"):
        with pytest.raises(ValueError, match="outside the visible image"):
            apply_rig(np.zeros((48, 64), np.uint8), np.zeros((48, 64), np.uint8), None, rig, reference)  # type: ignore[arg-type]


@pytest.mark.parametrize("reference", ["visible", "infrared"])
def test_crop_keeps_the_largest_common_rectangle(reference: Any) -> None:
    turn = np.deg2rad(4)
    matrix = np.array([[np.cos(turn), -np.sin(turn), 0.1], [np.sin(turn), np.cos(turn), -0.1], [0.05, 0, 1]])
    visible, infrared = np.zeros((60, 80, 3), np.uint8), np.ones((60, 80), np.uint8)
    cropped = apply_rig(visible, infrared, None, Rig(matrix), reference, crop=True)
    assert cropped.missing is None
    _, _, height, width = cropped.window
    # brute force: every rectangle of pixels whose centers are inside
    ones = np.ones((60, 80), np.uint8)
    moved = Rig(matrix if reference == "visible" else np.linalg.inv(matrix))
    lost = warp_infrared(ones, None, moved, (60, 80))[1]
    total = np.pad((~lost).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    best = max(
        (bottom - up) * (right - side)
        for up in range(60)
        for bottom in range(up + 1, 61)
        for side in range(0, 80)
        for right in (side + width - 1, side + width, side + width + 1)
        if right <= 80
        and total[bottom, right] - total[up, right] - total[bottom, side] + total[up, side]
        == (bottom - up) * (right - side)
    )
    assert height * width == best


def test_large_areas_are_searched_on_a_grid_of_rows() -> None:
    inside = np.zeros((3000, 40), bool)
    inside[100:2900, 5:30] = True
    tracemalloc.start()
    try:
        assert find_window(inside) == (100, 5, 2800, 25)
        assert tracemalloc.get_traced_memory()[1] < 30e6  # one number for each pair of its rows takes 63 MB
    finally:
        tracemalloc.stop()


def test_missing_pixels_inside_a_window_are_kept() -> None:
    mask = np.zeros((48, 64), bool)
    mask[10, 10] = True
    images = np.zeros((48, 64, 3), np.uint8), np.ones((48, 64), np.uint8)
    cropped = apply_rig(*images, mask, Rig(np.array([[1, 0, 0.25], [0, 1, 0], [0, 0, 1]])), crop=True)
    assert cropped.missing is None  # the window starts right of it
    kept = apply_rig(*images, mask, Rig(np.array([[1, 0, -0.25], [0, 1, 0], [0, 0, 1]])), crop=True)
    assert kept.missing.sum() == 1


@pytest.mark.parametrize("reference", ["visible", "infrared"])
@pytest.mark.parametrize("kind", ["bars", "frame", "bars and a dead line", "turned"])
def test_crop_leaves_out_borders(reference: Any, kind: str) -> None:
    """Compared with a brute-force search for the largest rectangle without the border; dead pixels do not shrink it."""
    border = np.zeros((60, 80), bool)
    border[:9] = border[53:] = True
    if kind == "frame":
        border[:, :11] = border[:, 73:] = True
    if kind == "turned":
        rows, columns = np.indices((60, 80))
        border = (rows < 2 + columns / 8) | (columns < 12 - rows / 8)
    missing = border.copy()
    missing[30, 40] = True
    if kind == "bars and a dead line":
        missing[:, 30:34] = True
    visible, infrared = np.zeros((60, 80), np.uint8), np.ones((60, 80), np.uint8)
    window = apply_rig(visible, infrared, missing, Rig(np.eye(3)), reference, crop=True).window
    top, left, height, width = window
    assert border[top : top + height, left : left + width].mean() < 2e-3  # where a pixel is partly in the convex hull
    best = 0
    for first in range(60):
        for last in range(first, 60):
            ends = np.flatnonzero(np.pad(border[first : last + 1].any(axis=0), 1, constant_values=True))
            best = max(best, (last + 1 - first) * int(np.diff(ends).max() - 1))  # the longest run of columns without it
    assert height * width >= 0.99 * best


@pytest.mark.parametrize(
    "part",
    [np.s_[0, 0], np.s_[:5, :5], np.s_[:, 30:34], np.s_[20:40, 20:40], np.s_[50:, 10:30], np.s_[20:22]],
    ids=["corner", "corner block", "dead line", "hole", "hot object at the side", "dead rows"],
)
def test_crop_keeps_what_is_missing_inside(part: Any) -> None:
    missing = np.zeros((60, 80), bool)
    missing[part] = True
    images = np.zeros((60, 80), np.uint8), np.ones((60, 80), np.uint8)
    assert apply_rig(*images, missing, Rig(np.eye(3)), crop=True).window == (0, 0, 60, 80)


def test_crop_leaves_out_a_given_border() -> None:
    """As in videos, whose window is that of all frames; a border of another size shows a mistake."""
    images = np.zeros((120, 160), np.uint8), np.ones((60, 80), np.uint8)
    border = np.zeros((60, 80), bool)
    border[:10] = True
    for missing in (None, border[::-1]):
        assert apply_rig(*images, missing, Rig(np.eye(3)), crop=True, border=border).window == (20, 0, 100, 160)
        unmoved = apply_rig(*images, missing, Rig(np.eye(3)), crop=True, border=np.zeros_like(border))
        assert unmoved.window == (0, 0, 120, 160)
    with pytest.raises(ValueError, match="`border` must be bool of shape"):
        apply_rig(*images, None, Rig(np.eye(3)), crop=True, border=border[1:])


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize(
    "matrix",
    [
        np.eye(3),
        [[1, 0, 0.1], [0, 1, -0.05], [0, 0, 1]],
        [[1.6, -0.08, -0.2], [0.06, 1.5, 0.1], [0, 0, 1]],
        [[0.95, 0, 0.01], [0, 0.9, 0.02], [0.05, -0.03, 1]],
        [[0, 1, 0], [-1, 0, 1], [0, 0, 1]],  # a turned camera
    ],
)
def test_label_maps_are_moved_by_nearest_neighbor(matrix: Any, dtype: Any) -> None:
    """Compared with the definition of the matrix: 0 and 1 are the outer edges of the images."""
    labels = np.random.default_rng(0).integers(0, 9, (60, 80)).astype(dtype)
    rig, size = Rig(np.array(matrix)), (300, 320)  # more rows than are warped at once
    moved = align_labels(labels, rig, size)
    assert moved.shape == size and moved.dtype == dtype
    y, x = (np.indices(size) + 0.5) / np.reshape(size, (2, 1, 1))
    u, v, depth = np.einsum("ij,jhw->ihw", rig.matrix, np.stack([x, y, np.ones(size)]))
    column, row = u / depth * 80, v / depth * 60  # whole numbers are the edges of pixels
    inside = (row > 0) & (row < 60) & (column > 0) & (column < 80)
    clear = (np.abs(row - np.rint(row)) > 1e-6) & (np.abs(column - np.rint(column)) > 1e-6)  # not on an edge
    expected = np.where(
        inside, labels[np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)], 255
    )
    np.testing.assert_array_equal(moved[clear], expected[clear])
    assert clear.mean() > 0.7


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((24, 32)), "float64"),
        (np.zeros((24, 32), np.int8), "int8"),
        (np.zeros((24, 32, 3), np.uint8), "shape"),
        (np.zeros((24, 34), np.uint8), "infrared images of 32 x 24 pixels, this one has 34 x 24"),
    ],
)
def test_other_label_maps_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        align_labels(labels, Rig(np.eye(3), (48, 64), (24, 32)), (48, 64))
    with pytest.raises(ValueError, match="`visible_size` must be a height and a width"):
        align_labels(np.zeros((24, 32), np.uint8), Rig(np.eye(3)), (48, 64, 3))  # type: ignore[arg-type]


class TestAlignImages:
    visible = np.zeros((48, 64, 3), np.uint8)

    def test_different_sizes_are_refused_with_the_options(self) -> None:
        with pytest.raises(
            ValueError, match=r"64 x 48 pixels, but b.png 32 x 24.*--align auto.*--align resize.*RIG.json"
        ):
            align_images(self.visible, np.zeros((24, 32), np.uint8), names=("a.png", "b.png"))

    def test_rotated_images_are_named(self) -> None:
        with pytest.raises(ValueError, match=r"rotated by 90 degrees.*EXIF"):
            align_images(self.visible, np.zeros((64, 48), np.uint8))
        with pytest.raises(ValueError, match="rotated by 90 degrees"):
            align_images(self.visible, np.zeros((32, 24), np.uint8), align="resize")

    def test_equal_sizes_are_left_alone(self) -> None:
        infrared = np.ones((48, 64), np.uint16)
        aligned, notes = align_images(self.visible, infrared)
        assert aligned.visible is self.visible
        assert aligned.infrared is infrared
        assert notes == ()

    def test_other_aspect_ratios_and_tags_are_noted(self) -> None:
        assert align_images(self.visible, np.ones((24, 32)), align="resize")[1] == ()
        assert align_images(self.visible, np.ones((121, 160)), align="resize")[1] == ()
        (note,) = align_images(self.visible, np.ones((24, 30)), align="resize")[1]
        assert "aspect ratios" in note
        tags = Rig.from_flir(1.4, 0, 0, (48, 64))
        (note,) = align_images(self.visible, np.ones((24, 32)), align="resize", tags=tags)[1]
        assert "tags" in note

    @pytest.mark.parametrize(("rows", "pixels"), [(512, 0), (513, 0), (514, 2), (516, 4)])
    def test_added_rows_are_noted(self, rows: int, pixels: int) -> None:
        notes = align_images(np.zeros((512, 640), np.uint8), np.ones((rows, 640), np.uint16), align="resize")[1]
        assert len(notes) == (pixels > 0)
        assert all(f"640 x 512 and 640 x {rows} pixels" in note and f"about {pixels} pixels" in note for note in notes)

    def test_auto_uses_tags(self) -> None:
        tags = Rig.from_flir(2.0, 0, 0, (48, 64))
        aligned, notes = align_images(self.visible, np.ones((24, 32), np.uint16), align="auto", tags=tags)
        assert aligned.missing.mean() == 0.75
        assert notes == ("aligned by the tags of the file; outside of the infrared image, the visible image stays",)
        covering = align_images(
            self.visible, np.ones((24, 32), np.uint16), align="auto", tags=Rig(np.eye(3), origin="x")
        )
        assert covering[1] == ("aligned by x",)

    def test_a_rig_of_another_camera_is_refused(self) -> None:
        rig = Rig(np.eye(3), (48, 64), (24, 32))
        assert align_images(self.visible, np.ones((24, 32)), align=rig)[0].missing is None
        with pytest.raises(ValueError, match="another camera"):
            align_images(self.visible, np.ones((24, 24)), align=rig)

    @pytest.mark.parametrize("align", ["Auto", "", "rig.json", None, np.eye(3)])
    def test_other_words_are_refused(self, align: Any) -> None:
        with pytest.raises(ValueError, match="`align` must be"):
            align_images(self.visible, np.ones((48, 64)), align=align)


RIG = Rig(np.eye(3))
MASK = np.eye(24, 32, dtype=np.bool_)
INFRARED = np.ones((24, 32), np.uint8)
ALIGNERS: dict[str, Callable[..., Any]] = {
    "apply_rig": lambda visible, infrared, missing, **options: apply_rig(visible, infrared, missing, RIG, **options),
    "align_images": lambda *images, **options: align_images(*images, align="resize", **options),
    "equal sizes": lambda visible, *others, **options: align_images(visible[:24, :32], *others, **options),
}


@pytest.mark.parametrize("align", ALIGNERS.values(), ids=ALIGNERS)
class TestArguments:
    visible = np.zeros((48, 64, 3), np.uint8)

    @pytest.mark.parametrize("missing", [MASK.astype(np.uint8), MASK * np.uint8(255), MASK[1:], MASK.tolist()])
    def test_other_masks_are_refused(self, align: Callable[..., Any], missing: Any) -> None:
        with pytest.raises(ValueError, match=r"`missing` must be bool of shape \(24, 32\), got "):
            align(self.visible, INFRARED, missing)

    def test_masked_arrays_are_refused(self, align: Callable[..., Any]) -> None:
        with pytest.raises(ValueError, match="infrared image is a masked array"):
            align(self.visible, np.ma.masked_array(INFRARED, MASK), None)
        with pytest.raises(ValueError, match="visible image is a masked array"):
            align(np.ma.masked_equal(self.visible, 0), INFRARED, None)

    @pytest.mark.parametrize("reference", ["Visible", "ir", None])
    def test_other_references_are_refused(self, align: Callable[..., Any], reference: Any) -> None:
        with pytest.raises(ValueError, match='`reference` must be "visible" or "infrared", got '):
            align(self.visible, INFRARED, None, reference=reference)
