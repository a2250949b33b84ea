"""`gffusion fuse`: files, folders, formats and bit depths, and label maps."""

import itertools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from read_back import read_files, read_pixels

from gffusion import GFFusionImageProcessor, GFFusionModel
from gffusion.zoo import locate

NAMES = [f"rendered_{number:04d}.png" for number in range(3)]


def files_in(folder: Path) -> list[str]:
    return sorted(read_files(folder))


def level(image: NDArray[Any], other: NDArray[Any]) -> int:
    """Largest difference in gray levels."""
    assert image.shape == other.shape
    return int(np.abs(image.astype(int) - other.astype(int)).max())


@pytest.fixture(scope="session")
def fused(scenes: Path) -> NDArray[np.uint8]:
    """The first pair fused by the default model, without the command and without files.

    The command computes FuNet in another form, so a value may be rounded differently, which depends on the processor.
    """
    images = read_pixels(scenes / "visible" / NAMES[0]), read_pixels(scenes / "infrared" / NAMES[0])
    processor, model = GFFusionImageProcessor(), GFFusionModel.from_pretrained(locate("gffusion-tiny"))
    with torch.no_grad():
        outputs = model(**processor(images, return_tensors="pt"))
    return processor.post_process_fusion(outputs, images, output_type="np")[0]


class TestTwoFiles:
    def test_writes_what_the_model_makes(self, gffusion: Callable, pair: Path, fused: NDArray[Any]) -> None:
        outcome = gffusion("fuse", "visible.png", "infrared.png", "-o", "new/out.png")
        assert (outcome.exit_code, outcome.err) == (0, "")
        rate = r"[\d.]+ s \([\d.]+ (?:per second|s per pair)\)"
        assert re.fullmatch(rf"fused 1 pair in {rate} -> new/out.png\n", outcome.out)
        assert level(read_pixels(pair / "new/out.png"), fused) <= 1
        assert files_in(pair) == ["infrared.png", "new/out.png", "visible.png"]

    @pytest.mark.parametrize(
        ("name", "image_format", "tolerance"),
        [
            ("out.png", "PNG", 0.001),
            ("out.tif", "TIFF", 0.001),
            ("out.tiff", "TIFF", 0.001),
            ("out.webp", "WEBP", 0.001),
            ("out.bmp", "BMP", 0.001),
            ("out.jpg", "JPEG", 3),
            ("out.JPEG", "JPEG", 3),
        ],
    )
    def test_suffix_decides_the_format(
        self, gffusion: Callable, pair: Path, fused: NDArray[Any], name: str, image_format: str, tolerance: float
    ) -> None:
        assert gffusion("fuse", "visible.png", "infrared.png", "-o", name).exit_code == 0
        with Image.open(pair / name) as image:
            assert (image.format, image.mode) == (image_format, "RGB")
        assert np.abs(read_pixels(pair / name) - fused.astype(float)).mean() <= tolerance

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    def test_lower_precision_looks_alike(self, gffusion: Callable, pair: Path, fused: NDArray[Any], dtype: str) -> None:
        """In a folder, the fused image has the name of the visible one."""
        assert gffusion("fuse", "visible.png", "infrared.png", "-o", "out", "--dtype", dtype).exit_code == 0
        assert 0 < np.abs(read_pixels(pair / "out" / "visible.png") - fused.astype(float)).mean() < 2


class TestInputs:
    """The fused image does not depend on how the pair is stored."""

    def fuse(self, gffusion: Callable, visible: str, infrared: str, *options: str, output: str = "o.png") -> NDArray:
        outcome = gffusion("fuse", visible, infrared, "-o", output, *options)
        assert (outcome.exit_code, outcome.err) == (0, "")
        return tifffile.imread(output) if output.endswith(".tif") else read_pixels(Path(output))

    @pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg", "bmp"])
    def test_formats_are_read_and_put_upright(
        self, gffusion: Callable, pair: Path, fused: NDArray[Any], suffix: str
    ) -> None:
        exif, turns = Image.Exif(), int(suffix != "bmp")  # BMP files have no EXIF
        exif[0x0112] = 6  # shown after a quarter turn clockwise
        for kind in ("visible", "infrared"):
            turned = Image.fromarray(np.rot90(read_pixels(pair / f"{kind}.png"), turns))
            turned.save(f"{kind}.{suffix}", lossless=True, quality=100, subsampling=0, exif=exif)
        result = self.fuse(gffusion, f"visible.{suffix}", f"infrared.{suffix}")
        assert result.shape == fused.shape
        assert np.abs(result - fused.astype(float)).mean() < (3 if suffix == "jpg" else 0.01)

    def test_color_infrared_is_taken_as_its_luma(self, gffusion: Callable, pair: Path, fused: NDArray[Any]) -> None:
        Image.open("infrared.png").convert("RGB").save("color.png")
        assert level(self.fuse(gffusion, "visible.png", "color.png"), fused) <= 1

    def test_metadata_of_the_visible_image(self, gffusion: Callable, pair: Path) -> None:
        exif = Image.Exif()
        exif[271], exif[274] = "Camera", 3
        image = Image.open(pair / "visible.png").convert("RGB").rotate(180)
        image.save(pair / "visible.jpg", quality=95, exif=exif)
        for name, arguments in (("with", ()), ("without", ("--no-metadata",)), ("lost", ())):
            suffix = ".bmp" if name == "lost" else ".png"
            outcome = gffusion("fuse", "visible.jpg", "infrared.png", "-o", f"{name}{suffix}", *arguments)
            assert outcome.exit_code == 0
            assert ("note: .bmp files cannot hold EXIF of the visible image" in outcome.err) == (name == "lost")
        with Image.open(pair / "with.png") as fused, Image.open(pair / "without.png") as plain:
            assert dict(fused.getexif()) == {271: "Camera", 274: 1}
            assert not plain.getexif()
            assert np.array_equal(np.asarray(fused), np.asarray(plain))

    def test_gray_visible_stays_gray(self, gffusion: Callable, pair: Path) -> None:
        Image.open("visible.png").convert("L").save("gray.png")
        Image.open("gray.png").convert("RGB").save("color.png")
        gray = self.fuse(gffusion, "gray.png", "infrared.png", output="out_gray.png")
        color = self.fuse(gffusion, "color.png", "infrared.png", output="out_color.png")
        assert gray.shape == (64, 96)
        assert level(np.repeat(gray[..., None], 3, axis=-1), color) <= 1

    def test_16_bit_visible_gives_16_bits(self, gffusion: Callable, pair: Path, fused: NDArray[Any]) -> None:
        tifffile.imwrite("deep.tif", read_pixels(pair / "visible.png").astype(np.uint16) * 257, photometric="rgb")
        deep = self.fuse(gffusion, "deep.tif", "infrared.png", output="out.tif")
        assert deep.dtype == np.uint16
        np.testing.assert_allclose(deep / 257, fused, atol=0.51)
        assert len(np.unique(deep % 257)) > 100  # not 8 bits in 16
        Image.fromarray(deep[..., 1]).save("gray.png")
        assert self.fuse(gffusion, "gray.png", "infrared.png").dtype == np.uint16

    @pytest.mark.parametrize(
        ("scale", "offset", "dtype", "options"),
        [
            (257, 0, np.uint16, []),
            (10, 20000, np.uint16, ["--infrared-range", "20000,22550"]),
            (0.1, 270, np.float32, ["--infrared-range", "270,295.5"]),  # kelvin
            (1 / 255, 0, np.float32, ["--infrared-range", "type"]),
            (1, -255, np.float32, ["--infrared-range", "-255,0"]),
        ],
    )
    def test_deep_infrared_in_its_own_unit(
        self, gffusion: Callable, pair: Path, fused: NDArray[Any], scale: float, offset: float, dtype: Any, options: Any
    ) -> None:
        infrared = read_pixels(pair / "infrared.png").astype(float)
        tifffile.imwrite("deep.tif", (scale * infrared + offset).astype(dtype))
        assert level(self.fuse(gffusion, "visible.png", "deep.tif", *options), fused) <= 1

    def test_percentile_range_needs_no_unit(self, gffusion: Callable, pair: Path, fused: NDArray[Any]) -> None:
        infrared = read_pixels(pair / "infrared.png")
        tifffile.imwrite("deep.tif", (20000 + 10 * infrared.astype(int)).astype(np.uint16))
        options = ("--infrared-range", "percentile")
        stretched = self.fuse(gffusion, "visible.png", "infrared.png", *options)
        assert level(self.fuse(gffusion, "visible.png", "deep.tif", *options, output="deep.png"), stretched) <= 1
        assert level(stretched, fused) > 1

    def test_range_saved_with_the_model_is_followed(
        self, gffusion: Callable, pair: Path, fused: NDArray[Any], tmp_path: Path
    ) -> None:
        """The model was measured with this range."""
        folder = shutil.copytree(locate("gffusion-tiny"), tmp_path / "model")
        GFFusionImageProcessor(infrared_range=[20000, 22550]).save_pretrained(folder)
        infrared = read_pixels(pair / "infrared.png")
        tifffile.imwrite("deep.tif", (20000 + 10 * infrared.astype(int)).astype(np.uint16))
        deep = self.fuse(gffusion, "visible.png", "deep.tif", "--model", folder)
        assert level(deep, fused) <= 1
        options = ("--model", folder, "--infrared-range", "type")
        assert level(self.fuse(gffusion, "visible.png", "infrared.png", *options, output="8.png"), fused) <= 1


class TestFolders:
    def test_stems_match_and_the_rest_is_named(
        self, gffusion: Callable, scenes: Path, tmp_path: Path, fused: NDArray[Any]
    ) -> None:
        names = {"visible": ["a.png", "B.PNG", "lonely.png"], "infrared": ["a.tif", "b.png", "cold.png"]}
        for kind in names:
            (tmp_path / kind).mkdir()
            for name in names[kind]:
                Image.open(scenes / kind / NAMES[0]).save(tmp_path / kind / name)
            (tmp_path / kind / "notes.txt").write_text("no image")
        outcome = gffusion("fuse", tmp_path / "visible", tmp_path / "infrared", "-o", tmp_path / "out")
        assert outcome.exit_code == 0
        assert re.search(r"fused 2 pairs in [\d.]+ s \([\d.]+ (?:per second|s per pair)\)", outcome.out)
        assert "lonely.png" in outcome.err and "cold.png" in outcome.err and "notes.txt" not in outcome.err
        assert files_in(tmp_path / "out") == ["B.PNG", "a.png"]
        assert level(read_pixels(tmp_path / "out" / "B.PNG"), fused) <= 1
        planned = gffusion("fuse", tmp_path, "-o", tmp_path / "again", "--dry-run", "--strict")  # the folder of both
        assert planned.exit_code == 1 and "lonely.png" in planned.err and "cold.png" in planned.err

    def test_suffix_option(self, gffusion: Callable, scenes: Path, tmp_path: Path) -> None:
        outcome = gffusion("fuse", scenes / "visible", scenes / "infrared", "-o", tmp_path, "--suffix", ".bmp")
        assert outcome.exit_code == 0
        assert files_in(tmp_path) == [name.replace(".png", ".bmp") for name in NAMES]
        assert Image.open(tmp_path / "rendered_0000.bmp").format == "BMP"

    def test_goes_on_where_it_stopped(self, gffusion: Callable, scenes: Path, tmp_path: Path) -> None:
        command = ("fuse", scenes / "visible", scenes / "infrared", "-o", tmp_path)
        assert gffusion(*command).exit_code == 0
        whole = read_files(tmp_path)
        (tmp_path / NAMES[1]).unlink()
        (tmp_path / NAMES[2]).write_bytes(b"mine")
        outcome = gffusion(*command)
        assert "fused 1 pair " in outcome.out and "skipped 2" in outcome.out
        assert (tmp_path / NAMES[1]).read_bytes() == whole[NAMES[1]]
        assert (tmp_path / NAMES[2]).read_bytes() == b"mine"
        assert gffusion(*command, "--overwrite").exit_code == 0
        assert read_files(tmp_path) == whole

    def test_batch_size_changes_nothing(self, gffusion: Callable, scenes: Path, tmp_path: Path) -> None:
        """Pairs of two sizes, so that batches break."""
        for kind in ("visible", "infrared"):
            (tmp_path / kind).mkdir()
            for number, size in enumerate([(96, 64), (96, 64), (80, 60), (80, 60), (96, 64)]):
                image = Image.open(scenes / kind / NAMES[number % 3]).resize(size)
                image.save(tmp_path / kind / f"{number}.png")
        results = []
        for batch_size in (1, 2, 4):
            output = tmp_path / f"out_{batch_size}"
            options = ("--batch-size", batch_size, "-o", output)
            assert gffusion("fuse", tmp_path / "visible", tmp_path / "infrared", *options).exit_code == 0
            results.append([read_pixels(output / f"{number}.png") for number in range(5)])
        for result in results[1:]:
            assert all(level(*images) <= 1 for images in zip(result, results[0], strict=True))

    def test_bad_pairs_are_listed_and_good_ones_done(
        self, gffusion: Callable, scenes: Path, tmp_path: Path, fused: NDArray[Any]
    ) -> None:
        image = (scenes / "infrared" / NAMES[0]).read_bytes()
        for kind in ("visible", "infrared"):
            (tmp_path / kind).mkdir()
            for name in ("1good", "2text", "3cut", "4small", "5hot", "6blocked", "7good"):
                shutil.copy(scenes / kind / NAMES[0], tmp_path / kind / f"{name}.png")
        (tmp_path / "visible" / "2text.png").write_text("hello")
        (tmp_path / "infrared" / "3cut.png").write_bytes(image[: len(image) // 2])
        Image.new("L", (95, 64)).save(tmp_path / "infrared" / "4small.png")
        (tmp_path / "infrared" / "5hot.png").unlink()
        tifffile.imwrite(tmp_path / "infrared" / "5hot.tif", np.full((64, 96), 300, np.float32))
        (tmp_path / "out" / "6blocked.png").mkdir(parents=True)
        outcome = gffusion(
            "fuse", tmp_path / "visible", tmp_path / "infrared", "-o", tmp_path / "out", "--batch-size", 4
        )
        assert outcome.exit_code == 1
        assert "fused 2 pairs" in outcome.out
        assert files_in(tmp_path / "out") == ["1good.png", "7good.png"]
        assert level(read_pixels(tmp_path / "out" / "7good.png"), fused) <= 1
        first, *lines = outcome.err.splitlines()
        assert first == "5 failed:"
        causes = {
            "2text": "2text.png",
            "3cut": "3cut.png.*truncated",
            "4small": "95 x 64",
            "5hot": "floating-point values, but 6 of 7",
            "6blocked": "6blocked.png",
        }
        assert len(lines) == len(causes)
        for name, cause in causes.items():
            assert any(re.match(f"  {name}: .*{cause}", line) for line in lines)


class TestSegment:
    @pytest.fixture(scope="class", params=["cascading", "hybrid"])
    def model(self, request: Any, tiny_model: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("model")
        tiny_model(paradigm=request.param).save_pretrained(folder)
        return folder

    def test_label_maps_and_overlays(self, gffusion: Callable, scenes: Path, tmp_path: Path, model: Path) -> None:
        options = ("-m", model, "--segment", "--batch-size", 3)
        outcome = gffusion("fuse", scenes / "visible", scenes / "infrared", "-o", tmp_path, *options)
        assert (outcome.exit_code, outcome.err) == (0, "")
        assert files_in(tmp_path) == sorted(
            f"{folder}{name}" for folder in ("", "labels/", "overlays/") for name in NAMES
        )
        reference, processor = GFFusionModel.from_pretrained(model).eval(), GFFusionImageProcessor()
        classes = set()
        for name in NAMES:
            images = read_pixels(scenes / "visible" / name), read_pixels(scenes / "infrared" / name)
            with torch.no_grad():
                logits = reference(**processor(images, return_tensors="pt"), segment=True).logits[0]
            labels, overlay = read_pixels(tmp_path / "labels" / name), read_pixels(tmp_path / "overlays" / name)
            assert (labels.shape, labels.dtype) == ((64, 96), np.uint8)
            assert (labels == logits.argmax(0).numpy()).mean() > 0.999
            fused = read_pixels(tmp_path / name)
            np.testing.assert_array_equal(overlay[labels == 0], fused[labels == 0])
            for number in set(np.unique(labels)) - {0}:
                assert level(overlay[labels == number], fused[labels == number]) > 10
            classes |= set(np.unique(labels))
        assert len(classes) > 1

    def test_label_maps_are_added_to_a_fused_image(self, gffusion: Callable, pair: Path, model: Path) -> None:
        (pair / "out.jpg").write_bytes(b"mine")
        command = ("fuse", "visible.png", "infrared.png", "-o", "out.jpg", "-m", model, "--segment")
        outcome = gffusion(*command)
        assert outcome.exit_code == 0 and "note: kept the existing fused (model and options are not" in outcome.err
        assert (pair / "out.jpg").read_bytes() == b"mine"
        assert files_in(pair) == ["infrared.png", "out.jpg", "out_labels.png", "out_overlay.png", "visible.png"]
        assert re.match(r"nothing to do: out\.jpg exists .*; --overwrite replaces", gffusion(*command).out)
        assert gffusion(*command, "--overwrite").exit_code == 0
        assert (pair / "out.jpg").read_bytes() != b"mine"

    def test_existing_parts_are_not_mixed_silently(
        self, gffusion: Callable, scenes: Path, pair: Path, model: Path
    ) -> None:
        (pair / "out_labels.png").write_bytes(b"mine")
        command = ("fuse", "visible.png", "infrared.png", "-o", "out.png", "-m", model, "--segment")
        outcome = gffusion(*command)
        assert outcome.exit_code == 0 and (pair / "out_labels.png").read_bytes() == b"mine"
        assert "note: kept the existing labels (model and options are not compared)" in outcome.err
        command = ("fuse", scenes / "visible", scenes / "infrared", "-o", "out", "-m", model, "--segment")
        (pair / "out" / "labels").mkdir(parents=True)
        for name in NAMES[:2]:
            (pair / "out" / "labels" / name).write_bytes(b"mine")
        assert "note: kept the existing labels (model and options are not compared)" in gffusion(*command).err
        assert (pair / "out" / "labels" / NAMES[0]).read_bytes() == b"mine"
        assert gffusion(*command, "--overwrite").err == ""


def test_sub_folders(gffusion: Callable, scenes: Path, cwd: Path) -> None:
    """Results lie in the same sub-folders; the output can be one of the visible folder, and is not read again."""
    for kind, day in itertools.product(("visible", "infrared"), ("day1", "day2")):
        Path(kind, day).mkdir(parents=True)
        shutil.copy(scenes / kind / "rendered_0000.png", Path(kind, day, "0.png"))
    command = ("fuse", "visible", "infrared", "--model", "gffusion-funet", "-o")
    for count in (2, 0):
        report = json.loads(gffusion(*command, "visible/out", "--json").out)
        assert (report["fused"], report["skipped"], report["unmatched"]["visible"]) == (count, 2 - count, [])
    assert sorted(file.relative_to("visible/out").as_posix() for file in Path("visible/out").rglob("*.png")) == [
        "day1/0.png",
        "day2/0.png",
    ]
    for output in ("visible", "visible/day1"):
        outcome = gffusion(*command, output, "--suffix", ".tif", "--dry-run")
        assert outcome.exit_code == 2 and "is a folder of the images to fuse" in outcome.err
