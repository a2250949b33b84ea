"""Damaged, incomplete and oversized images: refused in one line, or read as the undamaged image; never read in part."""

import shutil
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hostile_images import (
    HostileImage,
    chunk,
    generate_images,
    make_jpegs,
    make_long_chain,
    make_pngs,
    make_scene,
    make_tiffs,
)
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gffusion.cli.read_options import MAX_PIXELS
from gffusion.data import ImageReadError, read_image, read_pair, read_size, write_image
from gffusion.data.bounds import DEFAULT_MAX_PIXELS
from gffusion.data.decoded_image import DecodeOptions
from gffusion.data.modalities import split_modalities
from gffusion.training.building import build_trainer
from gffusion.training.recipe import DataArguments, Recipe

IMAGES = list(generate_images())
WHOLE = {
    name: content
    for make in (make_jpegs, make_pngs, make_tiffs)
    for name, content in make(np.random.default_rng(0)).items()
}


def outcome(content: bytes, **options: Any) -> np.ndarray | str:
    """Return the pixels or the message of the error, which must be one line."""
    try:
        return read_image(BytesIO(content), **options)
    except ImageReadError as error:
        assert str(error).count("\n") == 0 and len(str(error)) < 400
        return str(error)


def test_there_are_enough_kinds() -> None:
    assert len(IMAGES) >= 400 and len({image.kind for image in IMAGES}) >= 150


@pytest.mark.parametrize("name", WHOLE)
def test_undamaged(name: str) -> None:
    """Complete files are read as Pillow or tifffile read them."""
    pixels = outcome(WHOLE[name])
    assert not isinstance(pixels, str), pixels
    if name.startswith("tif") and "jpeg" not in name:
        expected = tifffile.imread(BytesIO(WHOLE[name]))
        expected = expected.astype(np.float32) if expected.dtype == np.int8 else expected
    else:
        image = Image.open(BytesIO(WHOLE[name]))
        expected = np.asarray(
            image if image.mode in ("L", "RGB", "I;16") else image.convert("L" if image.mode == "1" else "RGB")
        )
    np.testing.assert_array_equal(pixels, expected)


def test_damaged_images_are_never_read_in_part() -> None:
    started, wrong = time.process_time(), []
    for image in IMAGES:
        found = outcome(image.content)
        if not isinstance(found, str) and not np.array_equal(found, read_image(BytesIO(image.original))):
            wrong.append(image.kind)
    assert not wrong
    assert (time.process_time() - started) / len(IMAGES) < 0.5


def test_filled_images_keep_what_is_there() -> None:
    """`truncated="fill"` reads cut files of most formats, in the right size."""
    filled = 0
    for image in IMAGES:
        found = outcome(image.content, truncated="fill")
        if image.kind.endswith(("-cut", "-closed", "-short stream")) and not isinstance(found, str):
            assert found.shape == read_image(BytesIO(image.original)).shape
            filled += 1
    assert filled > 200
    whole = make_pngs(np.random.default_rng(0))["png-RGB"]
    found = outcome(whole[: len(whole) // 2], truncated="fill")
    same = (found == read_image(BytesIO(whole))).all(axis=(1, 2))
    assert same[:10].all() and not same[-5:].any()


@pytest.mark.parametrize("is_circular", [False, True])
def test_endless_chains_of_pages(is_circular: bool) -> None:
    started = time.process_time()
    assert "frames" in outcome(make_long_chain(50_000, is_circular))
    assert time.process_time() - started < 5


@pytest.mark.parametrize("name", ["png-RGB", "jpg-baseline", "tif-RGB strips deflate", "tif-float tiles None"])
@given(data=st.data())
def test_any_damage(name: str, data: st.DataObject) -> None:
    """Any changed, removed or inserted bytes: an image or one line, and a size or one line."""
    content = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 40)))
        content[start:end] = data.draw(st.binary(max_size=8))
    for truncated in ("refuse", "fill"):
        outcome(bytes(content), truncated=truncated)
    try:
        read_size(BytesIO(bytes(content)))
    except OSError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"", r"a\.png: the file is empty \(0 bytes\)"),
        ("a.tif", b"", r"a\.tif: the file is empty \(0 bytes\)"),
        ("a.MP4", b"a video", r"a\.MP4: it is named as a video, and images are needed here"),
    ],
)
def test_files_without_an_image(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ImageReadError, match=message):
        read_image(file)
    with pytest.raises(ImageReadError, match=message):
        read_pair(file, file)


def test_options_of_the_command(gffusion: Callable, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    whole = make_pngs(rng)["png-RGB"]
    (tmp_path / "visible.png").write_bytes(whole[: int(0.6 * len(whole))])
    write_image(tmp_path / "infrared.png", make_scene(rng, 1))
    command = ("fuse", tmp_path / "visible.png", tmp_path / "infrared.png", "-o", tmp_path / "out.png")
    refused = gffusion(*command)
    assert refused.exit_code == 2 and refused.err.count("\n") == 1
    assert "visible.png: the file is truncated, its last part" in refused.err and "--truncated fill" in refused.err
    filled = gffusion(*command, "--truncated", "fill")
    assert filled.exit_code == 0 and "its missing part is filled" in filled.err
    assert gffusion(*command, "--truncated", "cut").exit_code == 2
    (tmp_path / "visible.png").write_bytes(whole)
    small = gffusion(*command, "--overwrite", "--max-pixels", 100)
    assert small.exit_code == 2 and "64 x 48 pixels are more than 100" in small.err


def test_default_of_the_commands() -> None:
    assert MAX_PIXELS == DataArguments().max_pixels == DEFAULT_MAX_PIXELS


@pytest.mark.slow
def test_folder_of_damaged_images(gffusion: Callable, sample: Callable, tmp_path: Path) -> None:
    """The command names every damaged file, fuses the others, and has no traceback."""
    chosen: list[HostileImage] = sample(IMAGES, 60)
    rng = np.random.default_rng(2)
    for folder in ("visible", "infrared"):
        (tmp_path / folder).mkdir()
    thermal = make_scene(rng, 1)
    for index, image in enumerate([*chosen, HostileImage("png-whole", make_pngs(rng)["png-RGB"], b"")]):
        (tmp_path / "visible" / f"{index}{image.suffix}").write_bytes(image.content)
        write_image(tmp_path / "infrared" / f"{index}.png", thermal)
    done = gffusion("fuse", tmp_path / "visible", tmp_path / "infrared", "-o", tmp_path / "out", "-m", "gffusion-funet")
    assert done.exit_code == 1 and "Traceback" not in done.err
    assert [path.stem for path in (tmp_path / "out").iterdir()] == [str(len(chosen))]
    assert f"{len(chosen)} failed" in done.err


@pytest.mark.slow
def test_other_commands(gffusion: Callable, scenes: Path, tmp_path: Path) -> None:
    """`evaluate` leaves truncated images out, or fills them; training fills them, too."""
    for kind in ("visible", "infrared"):
        shutil.copytree(scenes / kind, tmp_path / kind)
    cut = min((tmp_path / "visible").iterdir())
    cut.write_bytes(cut.read_bytes()[:-400])
    command = ("evaluate", "--visible", tmp_path / "visible", "--infrared", tmp_path / "infrared", "--metrics", "EN")
    refused = gffusion(*command, "-o", tmp_path / "refused")
    assert refused.exit_code == 1 and "--truncated fill" in refused.err
    assert gffusion(*command, "-o", tmp_path / "filled", "--truncated", "fill").exit_code == 0
    assert gffusion(*command, "-o", tmp_path / "small", "--max-pixels", 100).exit_code == 2
    words = ["--train-data", str(tmp_path), "--output-dir", str(tmp_path / "run")]
    words += ["--model-name-or-path", "gffusion-funet", "--crop-size", "32"]
    with pytest.raises(OSError, match="--truncated fill"):
        build_trainer(Recipe.parse(words))
    trainer = build_trainer(Recipe.parse([*words, "--truncated", "fill"]))
    assert len(trainer.train_dataset) == 3


@pytest.mark.parametrize("kind", ["fill", "escapes", "restarts", "scans", "segments", "comments", "text", "data"])
def test_millions_of_parts(kind: str) -> None:
    """Files of a few MB that consist of markers or parts are refused at once."""
    jpeg, png = WHOLE["jpg-baseline"], WHOLE["png-RGB"]
    start = jpeg.index(b"\xff\xda") + 14
    parts = {"escapes": b"\xff\0", "restarts": b"\xff\xd0", "scans": b"\xff\xda\0\2", "fill": b"\xff"}
    segments = {"segments": b"\xff\xe1\0\2", "comments": b"\xff\xfe\0\2"}
    if kind in parts:
        content = jpeg[:start] + parts[kind] * 400_000 + b"\0" + jpeg[start:]
    elif kind in segments:
        content = jpeg[:2] + segments[kind] * 400_000 + jpeg[2:]
    else:
        content = png[:33] + chunk({"text": b"tEXt", "data": b"IDAT"}[kind], b"") * 400_000 + png[33:]
    started = time.process_time()
    with pytest.raises(ImageReadError):
        split_modalities(content, "image", DecodeOptions())
    assert time.process_time() - started < 5
