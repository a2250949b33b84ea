"""Uploads are fused as `gffusion fuse` does, within limits. Needs no Gradio."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from camera_files import encode, flir_jpeg, render_pair, to_counts
from outcomes import Outcome
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from PIL import Image

from gffusion.data import read_image, write_image
from gffusion.demo.images import SHOWN_METRICS, ImageRequest, ImageResult, fuse_upload
from gffusion.demo.messages import IMAGE_HINTS, VIDEO_HINTS, describe_error
from gffusion.demo.samples import SAMPLES, write_sample
from gffusion.demo.settings import DemoSettings, choose_models
from gffusion.demo.slider import render_slider
from gffusion.metrics import compute_metrics, to_luma8


@pytest.fixture
def fuse(scenes: Path, tmp_path: Path) -> Callable[..., ImageResult]:
    """Fuse a rendered pair to tmp_path."""

    def run(
        visible: Path = scenes / "visible" / "rendered_0000.png",
        infrared: Path | None = scenes / "infrared" / "rendered_0000.png",
        model: str = "gffusion-funet",
        max_pixels: int = 16_000_000,
        **options: object,
    ) -> ImageResult:
        settings = DemoSettings(choose_models(), max_pixels=max_pixels)
        return fuse_upload(ImageRequest(visible, infrared, model, **options), tmp_path, settings)

    return run


def test_files_equal_those_of_the_command(
    fuse: Callable[..., ImageResult], gffusion: Callable[..., Outcome], tmp_path: Path, scenes: Path
) -> None:
    visible = tmp_path / "night.jpg"
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.open(scenes / "visible" / "rendered_0001.png").save(visible, quality=95, exif=exif)
    infrared = scenes / "infrared" / "rendered_0001.png"
    result = fuse(visible, infrared, model="gffusion-tiny", segment=True, infrared_range="percentile", invert=True)
    command = ("--segment", "--infrared-range", "percentile", "--invert", "--model", "gffusion-tiny")
    (tmp_path / "command").mkdir()
    assert gffusion("fuse", visible, infrared, "-o", tmp_path / "command" / "night_fused.jpg", *command).exit_code == 0
    assert [file.name for file in result.files] == [
        "night_fused.jpg",
        "night_fused_labels.png",
        "night_fused_overlay.png",
    ]
    for file in result.files:
        assert file.read_bytes() == (tmp_path / "command" / file.name).read_bytes()
    assert Image.open(result.files[0]).getexif()[0x010F] == "Maker"
    assert list(result.images) == ["visible", "infrared", "fused", "segmentation"]
    assert result.classes == {1: "person", 2: "bicycle", 3: "car"}


def test_metrics_are_those_of_the_file(fuse: Callable[..., ImageResult], scenes: Path) -> None:
    result = fuse(suffix=".png")
    images = [
        read_image(result.files[0]),
        *(read_image(scenes / kind / "rendered_0000.png") for kind in ("visible", "infrared")),
    ]
    expected = compute_metrics(*map(to_luma8, images), metrics=SHOWN_METRICS)
    assert result.metrics == {name: value.item() for name, value in expected.items()}
    np.testing.assert_array_equal(result.images["infrared"], images[2])


def test_raw_values_and_large_images(
    fuse: Callable[..., ImageResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = np.linspace(7000, 9000, 64 * 96).reshape(64, 96).astype(np.uint16)
    write_image(tmp_path / "raw.tif", counts)
    monkeypatch.setattr("gffusion.demo.images.MAX_MEASURED_PIXELS", 100)
    result = fuse(infrared=tmp_path / "raw.tif", infrared_range="percentile")
    assert result.images["infrared"].dtype == np.uint8 and np.ptp(result.images["infrared"]) == 255
    assert result.metrics == {} and "metrics left out: they are computed for up to 100 pixels" in result.notes


def test_visible_range(fuse: Callable[..., ImageResult], tmp_path: Path) -> None:
    levels = np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) % 256
    write_image(tmp_path / "few.png", levels * 16)
    result = fuse(tmp_path / "few.png", visible_range="0, 4080")
    np.testing.assert_array_equal(result.images["visible"], levels)


def test_radiometric_file_alone(fuse: Callable[..., ImageResult], tmp_path: Path) -> None:
    visible, infrared = render_pair()
    path = tmp_path / "FLIR0001.jpg"
    path.write_bytes(flir_jpeg(to_counts(infrared), encode(visible, "PNG"), (96, 128), (1.0, 0, 0)))
    result = fuse(path, None)
    assert result.files[0].name == "FLIR0001_fused.jpg" and result.images["visible"].shape == (96, 128, 3)
    assert any("counts of FLIR" in note for note in result.notes)


def test_card_of_the_space_fits_the_extra() -> None:
    root = Path(__file__).parents[2]
    card = yaml.safe_load((root / "spaces" / "gffusion" / "README.md").read_text(encoding="utf-8").split("---")[1])
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (gradio,) = map(Requirement, project["optional-dependencies"]["demo"])
    assert card["sdk"] == gradio.name and card["sdk_version"] in gradio.specifier
    assert card["python_version"] in SpecifierSet(project["requires-python"])
    assert (root / "spaces" / "gffusion" / card["app_file"]).is_file() and len(card["short_description"]) <= 60


@pytest.mark.slow
def test_sample_of_two_cameras_is_aligned(fuse: Callable[..., ImageResult], tmp_path: Path) -> None:
    (name,) = (name for name, (_, is_aligned) in SAMPLES.items() if not is_aligned)
    visible, infrared = write_sample(name, tmp_path)
    with pytest.raises(ValueError, match="--align"):
        fuse(visible, infrared)
    result = fuse(visible, infrared, align=True)
    assert result.notes[0].startswith("aligned by an estimated similarity")
    assert result.images["infrared"].shape == result.images["visible"].shape[:2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"infrared": None}, "holds one image, not a visible and an infrared one"),
        ({"infrared": Path("missing.png")}, "missing.png"),
        ({"model": "organization/street"}, "the model must be one of gffusion-tiny"),
        ({"segment": True}, "gffusion-funet has no segmenter"),
        ({"visible_range": "4095"}, "the visible range must be two finite numbers LOW,HIGH"),
        ({"max_pixels": 1000}, "its 96 x 64 pixels are more than 1,000"),
    ],
)
def test_refused(fuse: Callable[..., ImageResult], options: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        fuse(**options)


def test_messages_name_files_only() -> None:
    error = OSError("cannot read the image /srv/x/1/a.png:\n/srv/x/2/b.png is damaged")
    message = describe_error(error, ["/srv/x/1", "/srv/x/2"], IMAGE_HINTS)
    assert message == "cannot read the image a.png: b.png is damaged"
    assert describe_error(ValueError(), [], IMAGE_HINTS) == "ValueError"


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"visible": (64, 96), "infrared": (48, 96)}, 'Here: tick "Align the images". '),
        ({"visible": (64, 96), "infrared": (64, 96), "max_pixels": 1000}, "Here: make the image smaller. "),
        (
            {"visible": (64, 96), "infrared": (64, 96), "colors": True},
            "Here: swap the images if they are swapped, or save the infrared one in gray. ",
        ),
    ],
)
def test_messages_start_with_what_to_do_here(
    fuse: Callable[..., ImageResult], tmp_path: Path, options: dict[str, Any], hint: str
) -> None:
    rng, sizes = np.random.default_rng(0), {kind: options.pop(kind) for kind in ("visible", "infrared")}
    shapes = {"visible": (*sizes["visible"], 3), "infrared": sizes["infrared"] + (3,) * options.pop("colors", False)}
    for kind, shape in shapes.items():
        write_image(tmp_path / f"{kind}.png", rng.integers(0, 256, shape, np.uint8))
    with pytest.raises(ValueError, match="--") as caught:
        fuse(tmp_path / "visible.png", tmp_path / "infrared.png", **options)
    assert describe_error(caught.value, [tmp_path], IMAGE_HINTS).startswith(hint)


def test_videos_have_no_options_for_values() -> None:
    error = ValueError("nearly constant: set --infrared-range percentile")
    assert describe_error(error, [], VIDEO_HINTS) == str(error)


def test_slider_escapes_and_names_its_parts() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    html = render_slider({"visible": image, "fused": image}, {1: "<b>person"})
    assert "&lt;b&gt;person" in html and 'aria-label="Image on the left"' in html and "http" not in html


@pytest.mark.parametrize("name", ["nonsense", "no/such/folder", "gffusion-m3fd"])
def test_models_that_do_not_exist(name: str) -> None:
    """They are refused before the page is served, not when a visitor chooses them."""
    with pytest.raises(OSError, match=f"{name}"):
        choose_models(("gffusion-tiny", name))
