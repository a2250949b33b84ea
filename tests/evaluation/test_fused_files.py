"""Images that were fused elsewhere: wrong ranges, alpha, other sizes, and names."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from evaluation_runs import METRICS, NAMES, run
from numpy.typing import NDArray
from PIL import Image
from read_back import read_pixels
from scipy import ndimage

from gffusion.evaluation import EvaluationTable, evaluate
from gffusion.evaluation.fused_files import read_fused

Spoil = Callable[[NDArray[np.uint8]], NDArray[Any]]


def rewrite(pairs: Path, spoil: Spoil, suffix: str = "tif") -> EvaluationTable:
    """Replace the images a and b of the method flat, and evaluate the method."""
    for name in NAMES[:2]:
        image = spoil(read_pixels(pairs / "flat" / f"{name}.png"))
        (pairs / "flat" / f"{name}.png").unlink()
        file = pairs / "flat" / f"{name}.{suffix}"
        tifffile.imwrite(file, image) if suffix == "tif" else Image.fromarray(image).save(file)
    return run(pairs, metrics=["EN"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda image: (image > 128).astype(np.uint8),
            r"flat: .*a\.tif holds only the integers 0 and 1, but its sources",
        ),
        (lambda image: (image > 128).astype(np.uint16), "holds only the integers 0 and 1"),
        (lambda image: image.astype(np.uint16), r"has 16 bits but holds only values up to \d+, .*save .* as 8 bits"),
        (lambda image: image.astype(np.int32), "has 16 bits but holds only values up to"),
        (lambda image: image.astype(np.float32), r"a\.tif: Got a floating-point image with values from .*convert"),
        (lambda image: image[:, :60], r"a\.tif measures 60 x 48 pixels, but the sources 64 x 48"),
    ],
)
def test_wrong_range_or_size_is_left_out(pairs: Path, spoil: Spoil, message: str) -> None:
    table = rewrite(pairs, spoil)
    assert table.images == NAMES[2:] and list(table.skipped) == [*NAMES[:2]]
    assert re.search(message, table.skipped["a"]), table.skipped["a"]
    assert table.summarize()["skipped"] == table.skipped


@pytest.mark.parametrize(
    ("spoil", "suffix", "note"),
    [
        (np.zeros_like, "png", "the fused image is black, but its sources are not"),
        (lambda image: (image / 255 / 255).astype(np.float32), "tif", "is black, but its sources are not"),
        (lambda image: image.astype(np.uint16) * 16, "tif", "image has 16 bits but uses 12: multiply its values by 16"),
        (lambda image: image.astype(np.uint16) * 64, "tif", "image has 16 bits but uses 14: multiply its values by 4"),
        (
            lambda image: np.maximum(3 * image.astype(int) - 400, 0).astype(np.uint8),
            "png",
            "pixels have the gray level 0, unlike",
        ),
        (
            lambda image: np.minimum(5 * image.astype(int), 255).astype(np.uint8),
            "png",
            "pixels have the gray level 255, unlike",
        ),
        (lambda image: 255 - image, "png", "run against those of both sources, as if it was inverted"),
        (lambda image: np.dstack([image, image, image, image]), "png", "its transparency (alpha channel) is left out"),
    ],
)
def test_odd_images_count_with_a_note(pairs: Path, tmp_path: Path, spoil: Spoil, suffix: str, note: str) -> None:
    table = rewrite(pairs, spoil, suffix)
    assert table.images == NAMES
    [(found, images)] = table.notes["flat"].items()
    assert note in found and images == NAMES[:2] and list(table.notes) == ["flat"]
    assert f"Check flat, 2 images (a, b): {found}." in table.to_markdown()
    for _ in range(2):  # the second run reads the records
        run(pairs, metrics=["EN"], output=tmp_path / "out", sheet=[])
        assert json.loads((tmp_path / "out" / "summary.json").read_text())["notes"] == {"flat": {found: ["a", "b"]}}


@pytest.mark.parametrize("kind", ["visible", "infrared"])
def test_copies_of_a_source_have_a_note(pairs: Path, kind: str) -> None:
    for name in NAMES[1:3]:
        image = Image.open(pairs / kind / f"{name}.png").convert("L")
        image.save(pairs / "flat" / f"{name}.png")
    assert run(pairs, metrics=["EN"]).notes == {"flat": {f"the fused image is the {kind} one": NAMES[1:3]}}


@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("x.jpg", {"quality": 95}, "JPEG"),
        ("x.webp", {"quality": 95}, "WEBP"),
        ("x.webp", {"quality": 95, "exif": Image.Exif()}, "WEBP"),
        ("x.webp", {"lossless": True}, None),
        ("x.webp", {"lossless": True, "icc_profile": b"profile"}, None),
        ("x.bmp", {}, None),
    ],
)
def test_images_saved_with_loss_have_a_note(
    tmp_path: Path, name: str, options: dict[str, Any], kind: str | None
) -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(0).integers(0, 255, (48, 64, 3)), (2, 2, 0)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / name, **options)
    found, notes = read_fused(tmp_path / name, list(image.transpose(2, 0, 1)[:2]))
    assert np.array_equal(found, image) == (not notes) == (kind is None)
    assert kind is None or f"saved with loss ({kind}), which changes the metrics" in notes[0]


def test_sources_without_a_difference_or_texture_can_be_kept(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (48, 64), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "x.png")
    for sources in ([image, image], [image, np.full_like(image, 9)]):
        assert read_fused(tmp_path / "x.png", sources)[1] == ()


def test_images_of_other_pairs_have_a_note(tmp_path: Path) -> None:
    """Those of the next pair, and those that are mirrored, but not blurred or noisy ones."""
    rng = np.random.default_rng(0)
    textures = ndimage.gaussian_filter(rng.normal(size=(3, 2, 240, 320)), (0, 0, 3, 3))
    pairs = (255 * (textures - textures.min()) / np.ptp(textures)).astype(np.uint8)

    def read(image: NDArray[Any], sources: NDArray[np.uint8]) -> tuple[str, ...]:
        Image.fromarray(np.asarray(image).clip(0, 255).astype(np.uint8)).save(tmp_path / "x.png")
        return read_fused(tmp_path / "x.png", sources)[1]

    for sources, others in zip(pairs, np.roll(pairs, 1, axis=0), strict=True):
        fused, other = np.mean(sources, axis=0), np.mean(others, axis=0)
        for wrong in (other, fused[:, ::-1]):
            assert read(wrong, sources) == ("its details are those of neither source, as if it was of another pair",)
        for right in (fused, ndimage.gaussian_filter(fused, 5), fused + rng.normal(0, 30, fused.shape), fused / 20):
            assert read(right, sources) == ()


def test_images_left_out_keep_their_notes(pairs: Path, tmp_path: Path) -> None:
    """A black image has a PSNR of minus infinity under this protocol."""
    Image.new("L", (64, 48)).save(pairs / "flat" / "b.png")
    (pairs / "sharp" / "c.bmp").unlink()
    for _ in range(2):
        table = run(pairs, metrics=["PSNR"], protocol="cddfuse", output=tmp_path / "out", sheet=[])
        assert table.images == ("a", "d") and table.skipped["b"].startswith("flat: PSNR is -inf")
        assert table.skipped["b"].endswith(next(iter(table.notes["flat"])))
        assert table.failed == {"sharp": ("c",), "flat": ("b",)}
        [(note, images)] = table.notes["flat"].items()
        assert note.startswith("the fused image is black, but its sources are not") and images == ("b",)
        for text in (table.to_markdown(), str(table)):
            assert "1 image (b) left out because of flat, for all methods." in text
            assert f"Check flat, 1 image (b): {note}." in text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda image: np.dstack([image, image, image, np.full_like(image, 255)]),
        lambda image: image.astype(np.uint16) * 257,
        lambda image: Image.fromarray(image).quantize(),
        lambda image: Image.fromarray(np.rot90(image)),
    ],
)
def test_other_ways_to_store_the_same_image(pairs: Path, spoil: Callable[..., Any], tmp_path: Path) -> None:
    """Palettes become their colors, and the EXIF orientation is applied."""
    image = np.asarray(Image.open(pairs / "flat" / "a.png"))
    stored, exif = spoil(image), Image.Exif()
    exif[0x0112] = 6 if stored.size == image.shape else 1
    (stored if isinstance(stored, Image.Image) else Image.fromarray(stored)).save(tmp_path / "x.png", exif=exif)
    found, notes = read_fused(tmp_path / "x.png", [image, image])
    levels = found // 257 if found.dtype == np.uint16 else found
    assert notes == () and np.array_equal(levels if levels.ndim == 2 else levels[..., 0], image)


def test_dark_images_of_dark_sources(tmp_path: Path) -> None:
    source = np.random.default_rng(0).integers(0, 8, (32, 40), dtype=np.uint8)
    for fused in (source // 8, np.minimum(source, 1), source.astype(np.uint16)):
        Image.fromarray(fused).save(tmp_path / "x.png")
        assert read_fused(tmp_path / "x.png", [source, source])[1] == ()


@pytest.mark.parametrize("name", ["{}_fused", "{}-fused", "{}_fusion", "{}_RESULT", "fused_{}", "{}_vis_ir_fused"])
def test_words_in_names_of_fused_images(pairs: Path, name: str) -> None:
    expected = run(pairs).to_csv()
    for file in [*(pairs / "flat").iterdir()]:
        file.rename(file.with_stem(name.format(file.stem)))
    assert run(pairs).to_csv() == expected
    (pairs / "flat" / f"{name.format('b')}.png").rename(pairs / "flat" / "other.png")
    (pairs / "flat" / "notes.txt").touch()
    advice = f"1 unused image in {pairs / 'flat'}: other.png"
    assert run(pairs).skipped == {"b": f"flat: no fused image of this name; {advice}"}


@pytest.mark.parametrize("kind", ["fused image", "predicted label map"])
def test_unused_images_are_listed_once_for_all_missing_ones(
    pairs: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Of thousands that are missing, each would list thousands of files."""
    for folder in ("labels", "predicted"):
        shutil.copytree(pairs / "flat", pairs / folder)
    folder = pairs / ("flat" if kind == "fused image" else "predicted")
    for name in NAMES[1:]:
        (folder / f"{name}.png").rename(folder / f"{2 * name}.png")
    listed: list[Path] = []

    def count(function: Callable) -> Callable:
        return lambda path=".": listed.append(Path(path)) or function(path)

    monkeypatch.setattr(os, "listdir", count(os.listdir))
    monkeypatch.setattr(os, "scandir", count(os.scandir))  # which lists files in `Path.iterdir` from Python 3.13 on
    maps = {
        "labels": pairs / "labels",
        "predicted_labels": {"flat": pairs / "predicted"},
        "class_names": [*map(str, range(256))],
    }
    table = run(pairs, workers=1, metrics=["EN"], **maps)
    reason = f"flat: no {kind} of this name; 3 unused images in {folder}: bb.png, cc.png, dd.png"
    assert table.skipped | table.unsegmented == dict.fromkeys(NAMES[1:], reason)
    assert listed.count(folder) == (
        2 if kind == "fused image" else 3
    )  # for the pairs, the unused images, and other label maps


def test_no_name_of_a_visible_image(pairs: Path) -> None:
    for file in [*(pairs / "flat").iterdir()]:
        file.rename(file.with_stem(f"{file.stem}{file.stem}"))
    with pytest.raises(ValueError, match=r"for example a\.png and aa\.png.*vis and ir: rename them$"):
        run(pairs)


def test_fused_images_beside_their_sources(pairs: Path) -> None:
    """As methods write them: those with a word for fused images are meant, not the copies of the sources."""
    expected = run(pairs).to_csv()
    for file in [*(pairs / "flat").iterdir()]:
        file.rename(file.with_stem(f"{file.stem}_fused"))
        shutil.copy(pairs / "infrared" / file.name, pairs / "flat" / f"{file.stem}_ir.png")
    assert run(pairs).to_csv() == expected
    match = r"b_vis\.png and b_fused\.png in .*flat could both be the same fused image"
    for file in [*(pairs / "visible").iterdir()]:
        file.rename(file.with_stem(f"{file.stem}_vis"))
        shutil.copy(file.with_stem(f"{file.stem}_vis"), pairs / "flat")
    with pytest.raises(ValueError, match=match.replace("b_", "a_")):
        run(pairs)


def test_black_borders_and_white_skies_of_sources(tmp_path: Path) -> None:
    """A pixel that is black or white in a source, too, is not clipped."""
    source = np.random.default_rng(0).integers(60, 200, (48, 64), dtype=np.uint8)
    for level in (0, 255):
        framed = source.copy()
        framed[:40] = level
        Image.fromarray(framed).save(tmp_path / "x.png")
        assert read_fused(tmp_path / "x.png", [framed, source])[1] == ("the fused image is the visible one",)
        [note] = read_fused(tmp_path / "x.png", [source, source + 1])[1]
        assert f"have the gray level {level}, unlike" in note


def test_a_hot_pixel_of_a_dark_scene(tmp_path: Path) -> None:
    source, file = np.zeros((48, 64), np.uint8), tmp_path / "fused.png"
    source[3, 4] = 255
    Image.fromarray(np.eye(48, 64, dtype=np.uint8)).save(file)
    assert read_fused(file, [source, source])[1] == ()


def test_two_files_that_could_be_one_fused_image(pairs: Path) -> None:
    Image.new("L", (64, 48)).save(pairs / "flat" / "b_fused.png")
    with pytest.raises(ValueError, match=r"b\.png and b_fused\.png in .*flat could both be the same fused image"):
        run(pairs)
    for kind in ("visible", "infrared", "sharp"):
        [file] = (pairs / kind).glob("b.*")
        Image.open(file).transpose(Image.Transpose.ROTATE_180).save(file.with_stem("b_fused"))
    assert run(pairs).images == ("a", "b", "b_fused", "c", "d")  # the name of a scene
    (pairs / "infrared" / "b_fused.png").unlink()
    assert run(pairs).images == ("a", "b", "c", "d")  # which needs no partner
    selected = evaluate(
        pairs / "visible" / "[bc].png", pairs / "infrared", fused={"flat": pairs / "flat"}, baselines=()
    )
    assert selected.images == ("b", "c")  # nor to be selected


def test_pairs_in_one_folder(pairs: Path) -> None:
    expected = run(pairs).to_csv()
    for folder in ("sharp", "flat"):  # beside visible/ and infrared/
        (pairs / folder).rename(pairs.parent / folder)
    fused = {name: pairs.parent / name for name in ("sharp", "flat")}
    assert evaluate(pairs, pairs, fused=fused, baselines=(), metrics=METRICS).to_csv() == expected
