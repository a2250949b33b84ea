"""The scripts of benchmarks/: what they report of short runs, and that they lose nothing that was measured."""

import inspect
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gffusion import GFFusionModel
from gffusion.data import write_image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the names of a script of benchmarks/."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return runpy.run_path(str(BENCHMARKS / f"{request.param}.py"))


def run(script: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["script", *map(str, words)])
    script["main"]()


@pytest.mark.parametrize("script", ["forward"], indirect=True)
@pytest.mark.parametrize(("device", "repeats", "timed"), [("cpu", 2, 2), ("cuda", 5, 10), ("cuda", 11, 20)])
def test_forward_reports_the_passes_that_it_timed(
    script: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    device: str,
    repeats: int,
    timed: int,
) -> None:
    names, found = inspect.unwrap(script["main"]).__globals__, []
    monkeypatch.setitem(names, "prepare_passes", lambda options: ({"reference": lambda: None}, {"reference": 1}))
    monkeypatch.setitem(names, "measure", lambda run, device: found.append(1.0) or 1.0)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "GPU")
    run(script, monkeypatch, "--device", device, "--repeats", repeats, "--json", tmp_path / "forward.json")
    assert json.loads((tmp_path / "forward.json").read_text())["repeats"] == timed < len(found)
    assert f"medians of {timed}\n" in capsys.readouterr().out


@pytest.mark.parametrize("script", ["png"], indirect=True)
def test_png_compares_with_libpng(script: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By a flat image, which libpng makes smaller, and a smooth one, which it makes larger."""
    smooth = np.add.outer(np.arange(256), np.arange(300)).astype(np.uint16) * 90
    write_image(tmp_path / "flat.png", np.zeros((256, 300), np.uint8))
    write_image(tmp_path / "smooth.png", smooth)
    run(script, monkeypatch, tmp_path / "flat.png", tmp_path / "smooth.png", "--json", tmp_path / "png.json")
    result = json.loads((tmp_path / "png.json").read_text())
    assert result["images"] == 2 and result["times_as_fast"] > 0
    assert result["size"]["smallest"] < 1 < result["size"]["largest"]


@pytest.mark.parametrize("script", ["large"], indirect=True)
@pytest.mark.parametrize(
    ("sizes", "exponent"), [([3, 10], None), ([10], None), ([0.3, 3, 10], 1.0), ([0.3, 1], None), ([3, 3, 10], None)]
)
def test_large_writes_every_row(
    script: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sizes: list[float], exponent: float | None
) -> None:
    """Also those before a failure."""
    names, file = script["main"].__globals__, tmp_path / "large.json"
    pair = tmp_path / "pair.png"

    def write_pair(folder: Path, megapixels: float, part: bool) -> list[Path]:
        pair.touch()
        return [pair]

    rows = [{"cpu_seconds": 2 + size, "peak_gib": 1.0} for size in sorted(set(sizes))]
    results = iter(rows)
    monkeypatch.setitem(names, "write_pair", write_pair)
    monkeypatch.setitem(names, "fuse", lambda *arguments: next(results))
    words = ["--megapixels", *sizes, "--json", file, "--models"]
    run(script, monkeypatch, *words, "one")
    found = json.loads(file.read_text())["one"]
    assert found["exponent"] == (exponent and pytest.approx(exponent)) and list(found["sizes"].values()) == rows
    results = iter(rows)
    with pytest.raises(StopIteration):
        run(script, monkeypatch, *words, "one", "two")
    assert json.loads(file.read_text())["one"] == found


@pytest.mark.parametrize("script", ["semantic"], indirect=True)
def test_semantic_counts_timed_frames_only(
    script: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_model: Callable[..., GFFusionModel]
) -> None:
    file, model = tmp_path / "semantic.json", tmp_path / "model"
    tiny_model().save_pretrained(model)
    words = ["--model", model, "--frames", 8, "--size", 32, 48, "--every", 1, 4, "--json", file]
    run(script, monkeypatch, *words)
    assert [row["refreshed"] for row in json.loads(file.read_text())["every"].values()] == [8, 4]


@pytest.mark.parametrize(
    ("script", "words", "error"),
    [
        ("fuse", ["--pairs", 9], "--pairs 9: a rate needs at least 20"),
        ("forward", ["--repeats", 0], "--repeats: must be at least 1, got 0"),
        ("token_cache", ["--steps", 0], "--steps: must be at least 1, got 0"),
    ],
    indirect=["script"],
)
def test_numbers_that_measure_nothing(
    script: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[object],
    error: str,
) -> None:
    with pytest.raises(SystemExit):
        run(script, monkeypatch, *words)
    assert error in capsys.readouterr().err
