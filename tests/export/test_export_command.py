"""`gffusion export` of checkpoints that are not exported as they are, and the licenses that it states."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gffusion import GFFusionImageProcessor, GFFusionModel
from gffusion.cli import main
from gffusion.data import write_image
from gffusion.export.parity import Parity

COUNTS = {"infrared_range": [9500, 7000], "agc": "clahe"}


def test_half_precision_checkpoints_are_exported(
    tiny_model: Callable[..., GFFusionModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny_model(paradigm="cascading", use_segmenter=False).half().save_pretrained(tmp_path / "half")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["export", "half", "-o", "m.pt2", "--json"])
    assert not stop.value.code and (tmp_path / "m.pt2").is_file()
    report = json.loads(capsys.readouterr().out)
    assert (report["model"], report["dtype"], report["output"]) == ("half", "fp32", "m.pt2")
    assert report["bytes"] == (tmp_path / "m.pt2").stat().st_size and 0 <= report["parity"]["largest"] < 1


@pytest.mark.parametrize(
    ("front_matter", "license"),
    [
        ("license: [mit, apache-2.0]", "mit, apache-2.0"),
        ("license: 5", "5"),
        ("license: [mit", "not stated"),
        ("- mit", "not stated"),
        ("language: en", "not stated"),
    ],
)
def test_license_of_a_card(
    tiny_model: Callable[..., GFFusionModel],
    front_matter: str,
    license: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: Any, license: str, **options: Any) -> None:
        raise ValueError(f"the license is {license}!")

    monkeypatch.setattr("gffusion.export.exporting.export_model", stop)  # takes seconds
    tiny_model(paradigm="cascading", use_segmenter=False).save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text(f"---\n{front_matter}\n---\n# Model\n")
    with pytest.raises(SystemExit):
        main(["export", str(tmp_path), "-o", str(tmp_path / "m.pt2")])
    message = capsys.readouterr().err
    assert f"the license is {license}!" in message
    is_damaged = front_matter in ("license: [mit", "- mit")
    assert ("README.md cannot be read, so no license is stated" in message) == is_damaged


@pytest.mark.parametrize(
    ("options", "words", "advice"),
    [
        ({}, "m.onnx", ""),
        (COUNTS, "m.onnx", "gffusion fuse applies them, and programs of your own must, too"),
        (COUNTS, "m.onnx --uint8", "your program must apply them"),
        (COUNTS, "m.pt2", "your program must apply them"),
    ],
)
def test_saved_options_are_noted(
    tiny_model: Callable[..., GFFusionModel],
    options: dict[str, Any],
    words: str,
    advice: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def export_model(model: Any, processor: Any, output: Path, **_: Any) -> Parity:
        output.write_bytes(b"")
        return Parity(0.0, 0.0, None, 4, "rendered")

    monkeypatch.setattr("gffusion.export.exporting.export_model", export_model)  # takes seconds
    tiny_model(paradigm="cascading", use_segmenter=False).save_pretrained(tmp_path)
    GFFusionImageProcessor(**options).save_pretrained(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["export", ".", "-o", *words.split()])
    message = " ".join(capsys.readouterr().err.split())
    note = f'not part of its graph: infrared_range [9500, 7000], agc "clahe"; {advice}'
    assert note in message if options else "its graph" not in message, message


def test_pairs_are_read_as_by_fuse(
    tiny_model: Callable[..., GFFusionModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The options that messages advise exist, and those of infrared values are saved in the file."""
    given: dict[str, Any] = {}

    def export_model(model: Any, processor: Any, output: Path, *, pairs: Any, **_: Any) -> Parity:
        given.update(pairs=pairs, options=processor.infrared_options)
        output.write_bytes(b"")
        return Parity(0.0, 0.0, None, 1, "given")

    def run(*words: str) -> str:
        with pytest.raises(SystemExit):
            main(["export", ".", "-o", "m.pt2", "--overwrite", *words])
        return capsys.readouterr().err

    monkeypatch.setattr("gffusion.export.exporting.export_model", export_model)  # takes seconds
    monkeypatch.chdir(tmp_path)
    tiny_model(paradigm="cascading", use_segmenter=False).save_pretrained(".")
    rng = np.random.default_rng(0)
    for kind, image in (
        ("visible", rng.integers(0, 256, (48, 64, 3), np.uint8)),
        ("raw", rng.integers(7000, 9000, (36, 48), np.uint16)),
    ):
        Path(kind).mkdir()
        write_image(Path(kind, "a.png"), image)
    folders = ["--visible", "visible", "--infrared", "raw"]
    assert "--align resize" in run(*folders)
    assert "such as --align, need --visible" in run("--align", "resize") and not given
    run(*folders, "--align", "resize", "--infrared-range", "9000,7000")
    assert given["pairs"][0].infrared.shape == (48, 64) and given["options"].infrared_range == [9000, 7000]
    Path("pairs.csv").write_text("visible,infrared\nvisible/a.png,raw/a.png")
    for name in ("v", "r"):
        shutil.copytree({"v": "visible", "r": "raw"}[name], f"nested/{name}/day")
    for words in (["pairs.csv"], ["v*/*.png", "--infrared", "r*/*"], ["nested/v", "--infrared", "nested/r"]):
        given.clear()
        run("--visible", *words, "--align", "resize", "--infrared-range", "9000,7000")
        assert [pair.infrared.shape for pair in given["pairs"]] == [(48, 64)]
    Path("framed").mkdir()
    framed = rng.integers(90, 160, (48, 64), np.uint8)
    framed[:, :16] = 0
    write_image(Path("framed", "a.png"), framed)
    write_image(Path("visible", "a.png"), rng.integers(0, 4096, (48, 64, 3), np.uint16))
    folders = ["--visible", "visible", "--infrared", "framed", "--visible-range", "0,4095"]
    for options in ([], ["--keep-borders"]):
        run(*folders, *options)
        (pair,) = given["pairs"]
        assert (pair.missing is None) == bool(options) and pair.visible.max() > 60000


def test_options_decide_what_is_exported(
    tiny_model: Callable[..., GFFusionModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []

    def stop(*_: Any, **options: Any) -> None:
        given.append(options)
        raise ValueError("stopped")

    monkeypatch.setattr("gffusion.export.exporting.export_model", stop)  # takes seconds
    tiny_model(paradigm="cascading").save_pretrained(tmp_path)
    for words in ([], ["--segment"], ["--uint8"], ["--dtype", "fp16"]):
        with pytest.raises(SystemExit):
            main(["export", str(tmp_path), "-o", str(tmp_path / "m.onnx"), *words])
    found = [(options["segment"], options["uint8"], options["dtype"]) for options in given]
    assert found == [(False, False, "fp32"), (True, False, "fp32"), (False, True, "fp32"), (False, False, "fp16")]
