"""`gffusion fuse`: messages about bad input."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from read_back import read_files

from gffusion.zoo import locate


class TestBadInput:
    """One line, exit code 2, and no file written or changed."""

    @pytest.fixture
    def crowded(self, pair: Path) -> Path:
        """A folder with every kind of bad file."""
        image = (pair / "infrared.png").read_bytes()
        for kind in ("visible", "infrared", "other", "empty"):
            (pair / kind).mkdir()
            if kind != "empty":
                source = pair / "visible.png" if kind == "visible" else pair / "infrared.png"
                shutil.copy(source, pair / kind / f"{'scene' if kind != 'other' else 'stranger'}.png")
        shutil.copytree(pair / "infrared", pair / "raw" / "thermal")
        shutil.copy(pair / "visible.png", pair / "photo.jfif")
        (pair / "text.png").write_text("hello")
        (pair / "cut.png").write_bytes(image[: len(image) // 2])
        Image.new("L", (95, 64)).save(pair / "small.png")
        tifffile.imwrite(pair / "kelvin.tif", np.full((64, 96), 300, np.float32))
        (pair / "phone.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
        Image.new("L", (96, 64)).save(pair / "animation.png", "GIF")
        for kind in ("five", "opaque", "sent"):
            (pair / kind).mkdir()
        tifffile.imwrite(pair / "five" / "scene.tif", np.zeros((64, 96, 5), np.uint8), planarconfig="contig")
        Image.new("RGBA", (96, 64)).save(pair / "opaque" / "scene.png")
        Image.new("RGB", (96, 64)).save(pair / "sent" / "scene.jpg")
        bundled = Path(locate("gffusion-funet"))
        for name in ("no_config", "no_weights"):
            shutil.copytree(bundled, pair / name)
        (pair / "no_config" / "config.json").unlink()
        (pair / "no_weights" / "model.safetensors").unlink()
        return pair

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ("visible.png missing.png -o out.png", "missing.png does not exist"),
            ("missing infrared -o out", "missing does not exist"),
            ("visible.png text.png -o out.png", r"text.png: it is not a PNG, JPEG"),
            ("phone.jpg infrared.png -o out.png", r"phone.jpg: its format, HEIC, is not read: convert it to PNG or JPEG"),
            ("visible.png animation.png -o out.png", r"animation.png: its format, GIF, is not read: convert it"),
            ("five -o out", r"no file in five holds .*five/scene.tif: a TIFF with 5 channels is not supported"),
            ("opaque -o out", r"no file in opaque .*opaque/scene.png: its last channel looks like opacity"),
            ("opaque/scene.png -o out.png", r"holds one image.*; its last channel looks like opacity .* save it separately"),
            ("sent -o out", r"no file in sent .*sent/scene.jpg: if it is from a thermal camera, a messenger, .* has removed"),
            ("sent/scene.jpg -o out.png", r"holds one image.*; if it is from a thermal camera, a messenger, .* has removed"),
            ("visible.png cut.png -o out.png", "cut.png: .*truncated"),
            ("visible.png small.png -o out.png", "96 x 64 .*95 x 64"),
            ("visible.png infrared.png -o out.png --raw-frame 96,128", "--raw-frame must be HEIGHTxWIDTH"),
            ("visible.png kelvin.tif -o out.png", "300.*percentile"),
            ("visible infrared.png -o out", "visible is a folder but infrared.png is a file"),
            ("visible.png infrared -o out", "infrared is a folder but visible.png is a file"),
            ("visible empty -o out", "empty holds no images"),
            ("visible other -o out", "scene.png and stranger.png"),
            ("visible.png infrared.png -o out.gif", "out.gif.*\\.webp"),
            ("visible.png infrared.png -o text.png/out.png", "text.png"),
            ("visible infrared -o text.png", "text.png is a file"),
            ("visible infrared -o text.png/out", "text.png"),
            ("visible infrared -o out --suffix .gif", r"--suffix.*\.png"),
            ("visible.png infrared.png -o out.png --suffix .tif", r"--suffix \.tif is for an output folder.*out\.png is a file"),
            ("photo.jfif infrared.png -o out", r"cannot write out/photo\.jfif.*--suffix, one of \.png"),
            ("visible visible -o out", r"the same file, visible/scene\.png, which holds one image"),
            ("visible.png visible.png -o out.png", r"the same file, visible\.png, which holds one image"),
            ("visible.png visible/scene.png -o out.png", r"visible\.png and visible/scene\.png show the same image: give the visible and the infrared"),
            ("visible.png infrared.png -o visible.png", "visible.png would overwrite an input"),
            ("visible.png infrared.png -o visible/../infrared.png --overwrite", "would overwrite an input"),
            ("visible infrared -o infrared", "infrared is a folder of the images to fuse"),
            ("visible infrared -o visible --overwrite", "visible is a folder of the images to fuse"),
            ("visible/scene.png infrared/scene.png -o infrared/Scene.jpg", "same stem as infrared/scene.png"),
            ("visible/scene.png infrared/scene.png -o visible --suffix jpg", "same stem as visible/scene.png"),
            ("visible infrared -o masks", "a folder named masks beside .* read as their label maps .*--output another name, such as fused"),
            ("visible/scene.png infrared/scene.png -o labels/scene.png", "a folder named labels beside the images"),
            ("visible infrared -o . --segment --overwrite", "labels is the folder for the label maps of the dataset"),
            ("visible raw/thermal -o . --segment --overwrite", "labels is the folder for the label maps of the dataset"),
            ("visible.png infrared.png -o out.png -m gffusion-huge", "gffusion-huge.*gffusion-funet"),
            ("visible.png infrared.png -o out.png -m org/no-such-model", "org/no-such-model.*HF_HUB_OFFLINE"),
            ("visible.png infrared.png -o out.png -m no_config", "no_config.*config.json"),
            ("visible.png infrared.png -o out.png -m no_weights", "no_weights.*safetensors"),
            ("visible.png infrared.png -o out.png -m gffusion-funet --segment", "gffusion-funet has no segmenter"),
            ("visible.png infrared.png -o out.png --dtype float8", "--dtype.*bfloat16.*float8"),
            *(
                (f"visible.png infrared.png -o out.png --device {name}", rf"--device {name}: .*; use auto(, | or )cpu")
                for name in ("toaster", "meta", "gpu", "0", "cuda:99", "CUDA", "hpu")
            ),
            ("visible.png infrared.png -o out.png -m weights.pth", r"weights\.pth is named as .*folder with config\.json"),
            ("visible.png infrared.png -o out.png --infrared-range warm", "--infrared-range.*percentile.*warm"),
        ],
    )  # fmt: skip
    def test_says_so(self, gffusion: Callable, crowded: Path, arguments: str, message: str) -> None:
        before = read_files(crowded)
        outcome = gffusion("fuse", *arguments.split())
        assert (outcome.exit_code, outcome.out) == (2, "")
        assert outcome.err.count("\n") == 1
        assert re.match(rf"gffusion: error: .*{message}", outcome.err)
        assert read_files(crowded) == before

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read and write everything")
    def test_permissions(self, gffusion: Callable, pair: Path) -> None:
        (pair / "locked").mkdir(mode=0o500)
        assert gffusion("fuse", "visible.png", "infrared.png", "-o", "locked/out.png").exit_code == 2
        (pair / "infrared.png").chmod(0)
        outcome = gffusion("fuse", "visible.png", "infrared.png", "-o", "out.png")
        assert outcome.exit_code == 2 and "infrared.png" in outcome.err
