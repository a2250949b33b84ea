"""Test the recognition of false colors against the maps of matplotlib and OpenCV."""

import json
from pathlib import Path

import numpy as np
import pytest
from camera_files import to_jpeg
from PIL import Image, ImageDraw
from scipy import ndimage

from gffusion.cameras.palettes import load_palettes, recognize_palette, recover_indices
from gffusion.synthetic.rendering import render_scene


@pytest.fixture(scope="module")
def intensity():
    """A rendered street scene with the histogram stretched half way to a flat one, as cameras do."""
    infrared = ndimage.uniform_filter(render_scene(3, 240, 320).infrared, 3)  # cameras reduce noise first
    shares = np.cumsum(np.bincount(infrared.ravel(), minlength=256)) / infrared.size
    levels = (shares[infrared] + infrared / 255) / 2
    return np.rint(255 * (levels - levels.min()) / np.ptp(levels)).astype(np.uint8)


def color(intensity, name):
    return load_palettes()[name].astype(np.uint8)[intensity]


def measure_error(image, intensity):
    found = recognize_palette(image)
    assert found is not None
    return found, np.abs(found.values.astype(int) - intensity).mean()


@pytest.mark.parametrize(
    "name", ["jet", "hot", "inferno", "viridis", "turbo", "rainbow", "Spectral_r", "gist_ncar", "bone"]
)
def test_recover_maps_of_matplotlib(intensity, name):
    matplotlib = pytest.importorskip("matplotlib")
    image = np.ascontiguousarray(matplotlib.colormaps[name](intensity, bytes=True)[..., :3])
    for sample, limit in ((image, 1), (to_jpeg(image, 95), 3), (to_jpeg(image, 75), 4)):
        found, error = measure_error(sample, intensity)
        assert (found.palette, error <= limit, found.has_overlay) == (name, True, False)


@pytest.mark.parametrize(
    "name", ["OrRd", "Reds", "RdPu", "YlOrRd", "Wistia", "Spectral_r", "RdBu_r", "rainbow of OpenCV"]
)
@pytest.mark.parametrize("quality", [None, 75])
def test_maps_with_red_are_not_taken_for_iron(intensity, name, quality):
    image = color(intensity, name)
    found = recognize_palette(image if quality is None else to_jpeg(image, quality))
    if name == "RdPu" and quality is not None:  # its colors are also those of iron palettes
        assert found is None or found.palette == name
        return
    assert found is not None and found.palette == name
    assert np.abs(found.values.astype(int) - intensity).mean() < 4


def test_recover_maps_of_opencv(intensity):
    cv2 = pytest.importorskip("cv2")
    for constant in sorted(name for name in dir(cv2) if name.startswith("COLORMAP_")):
        image = cv2.applyColorMap(intensity, getattr(cv2, constant))[..., ::-1]
        found = recognize_palette(to_jpeg(image, 90))
        if "TWILIGHT" in constant or "HSV" in constant:
            assert found is None or np.abs(found.values.astype(int) - intensity).mean() < 4
        else:
            assert found is not None, constant
            assert np.abs(found.values.astype(int) - intensity).mean() < 8, (constant, found.palette)


@pytest.mark.parametrize("name", ["iron", "lava", "arctic", "rainbow of cameras", "rainbow high contrast", "medical"])
def test_recover_palettes_of_cameras(intensity, name):
    found, error = measure_error(to_jpeg(color(intensity, name), 85), intensity)
    assert (found.palette, error < 4) == (name, True)


@pytest.mark.parametrize("name", ["red", "arctic (3)", "bwr"])
def test_recover_palettes_within_others(intensity, name):
    """Their colors are also those of a part of `hot`, `jet` and `seismic`, at other intensities."""
    assert measure_error(to_jpeg(color(intensity, name), 85), intensity)[1] < 6


@pytest.mark.parametrize("name", ["rainbow of cameras", "rainbow of cameras (2)", "rainbow high contrast (3)", "jet"])
def test_warm_halves_are_never_reversed(intensity, name):
    """From green over yellow to red, `gist_rainbow` gets colder."""
    warm = (128 + intensity // 2).astype(np.uint8)
    found = recognize_palette(to_jpeg(color(warm, name), 75))
    assert found is None or np.corrcoef(found.values.ravel(), warm.ravel())[0, 1] > 0.95


def test_recover_iron_of_any_maker(intensity):
    colors = [(0, 0, 0), (60, 0, 110), (170, 0, 130), (235, 60, 40), (255, 160, 10), (255, 230, 90), (255, 255, 255)]
    table = np.stack([np.interp(np.arange(256), np.linspace(0, 255, 7), part) for part in zip(*colors, strict=True)], 1)
    found = recognize_palette(to_jpeg(table.astype(np.uint8)[intensity], 85))
    assert found is not None
    assert np.corrcoef(found.values.ravel(), intensity.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("quality", [None, 80])
@pytest.mark.parametrize("name", ["jet", "inferno", "turbo"])
def test_recover_under_an_on_screen_display(intensity, name, quality):
    image = Image.fromarray(color(intensity, name))
    draw = ImageDraw.Draw(image)
    draw.text((8, 8), "83.0 C  e=0.95", fill=(255, 255, 255), font_size=20)
    draw.line((140, 120, 180, 120), fill=(255, 255, 255), width=2)
    draw.line((160, 100, 160, 140), fill=(255, 255, 255), width=2)
    image.paste(
        Image.fromarray(color(np.tile(np.arange(239, -1, -1, dtype=np.uint8)[:, None], (1, 12)), name)), (308, 0)
    )
    sample = np.asarray(image) if quality is None else to_jpeg(np.asarray(image), quality)
    found, error = measure_error(sample[30:, :300], intensity[30:, :300])
    assert error < 4
    found = recognize_palette(sample)
    assert found is not None and (found.palette, found.has_overlay) == (name, True)


@pytest.mark.parametrize(("width", "quality"), [(2, None), (60, None), (60, 80)])
def test_recover_beside_black_borders(intensity, width, quality):
    image = color(intensity, "jet")
    image[:, :width] = 0
    found = recognize_palette(image if quality is None else to_jpeg(image, quality))
    assert found is not None and (found.palette, found.has_overlay) == ("jet", False)


@pytest.mark.parametrize("tint", [(1, 1, 1), (1, 0.98, 0.95), (0.97, 1, 0.99)])
@pytest.mark.parametrize("quality", [None, 75])
def test_gray_images_are_gray(intensity, tint, quality):
    image = np.rint(intensity[..., None] * np.array(tint)).astype(np.uint8)
    found = recognize_palette(image if quality is None else to_jpeg(image, quality))
    assert found is not None and (found.palette, found.has_overlay) == ("gray", False)
    assert np.abs(found.values.astype(int) - intensity).mean() < 6


def test_gray_with_a_colored_display(intensity):
    image = np.repeat(intensity[..., None], 3, axis=2)
    image[100:104, 100:160] = (255, 0, 0)
    found = recognize_palette(to_jpeg(image, 90))
    assert found is not None and (found.palette, found.has_overlay) == ("gray", True)


def test_refuse_photographs_and_unknown_palettes(intensity):
    skimage = pytest.importorskip("skimage")
    photographs = [
        Path(skimage.__file__).parent / "data" / name for name in ("astronaut.png", "coffee.png", "chelsea.png")
    ]
    for path in photographs:
        if path.is_file():
            assert recognize_palette(np.asarray(Image.open(path).convert("RGB"))) is None, path
    rng = np.random.default_rng(0)
    assert recognize_palette(rng.permutation(color(np.arange(256), "turbo"))[intensity]) is None
    assert recognize_palette(rng.integers(0, 256, (256, 3), dtype=np.uint8)[intensity]) is None
    waves = 127 + 127 * np.sin(np.arange(256)[:, None] / 255 * np.array([5, 9, 14]) + np.array([0, 2, 4]))
    assert recognize_palette(waves.astype(np.uint8)[intensity]) is None
    visible = render_scene(5, 240, 320).visible
    assert recognize_palette(visible) is None
    for name in ("twilight", "twilight_shifted"):  # one circle of colors, whose start is not known
        assert recognize_palette(color(intensity, name)) is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 2)])
def test_tiny_images(shape):
    assert recognize_palette(np.full((*shape, 3), 90, np.uint8)).palette == "gray"
    recognize_palette(np.full((*shape, 3), (250, 30, 90), np.uint8))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", ["jet", "inferno", "rainbow high contrast"])
def test_indices_of_an_ordered_palette_are_the_values(intensity, name, reverse):
    palette = load_palettes()[name].astype(np.uint8)[:: -1 if reverse else 1]
    values, _ = recover_indices(intensity, palette)
    np.testing.assert_array_equal(values, intensity)
    values, _ = recover_indices(intensity // 4, palette[::4])  # 64 colors
    assert np.abs(values.astype(int) - intensity).max() <= 5


def test_indices_of_an_unordered_palette_are_no_values(intensity):
    palette = np.random.default_rng(0).permutation(load_palettes()["jet"].astype(np.uint8))
    assert recover_indices(intensity, palette) is None


def test_table_is_up_to_date():
    pytest.importorskip("matplotlib")
    pytest.importorskip("cv2")
    import palettes

    written = json.loads(palettes.FILE.read_text(encoding="utf-8"))
    assert written.keys() >= {*palettes.CAMERAS, "jet", "viridis"}
    assert palettes.read_cameras().items() <= written.items()
