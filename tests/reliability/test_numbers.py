"""Numbers by precision, form, threads and batches, as docs/benchmarks/reliability.md says, and the same bytes for the same command."""

import json
from collections.abc import Callable
from pathlib import Path

import numbers_table
import numpy as np
import pytest

from gffusion.data import read_image
from gffusion.synthetic.rendering import render_scene

ROOT = Path(__file__).parents[2]
# Largest differences from the plain network in float32, in gray levels.
LIMITS = {
    ("cpu", "float32"): 0.01,
    ("cuda", "float32"): 0.3,  # whose convolutions have 10 bits by default (TF32)
    **dict.fromkeys([("cpu", "float16"), ("cuda", "float16")], 1.0),
    **dict.fromkeys([("cpu", "bfloat16"), ("cuda", "bfloat16")], 8.0),
}


@pytest.mark.parametrize("model", ["gffusion-funet", "gffusion-live"])
def test_limits(model: str) -> None:
    pairs = [(scene.visible, scene.infrared) for scene in (render_scene(seed, 80, 96) for seed in range(2))]
    found = numbers_table.measure(model, pairs, list(numbers_table.list_ways(["cpu"])))
    assert len(found) == 7
    for name, row in found.items():
        device, dtype, _ = name.split(", ")
        assert row["levels"] <= LIMITS[device, dtype], name
    assert found["cpu, float32, plain"]["levels"] < 1e-3  # threads and batches
    assert found["cpu, bfloat16, fused"]["levels"] > 0


@pytest.mark.slow
@pytest.mark.processes
def test_same_command_same_bytes() -> None:
    assert numbers_table.is_repeatable("gffusion-funet", "cpu")


@pytest.mark.slow
def test_other_vector_instructions(scenes: Path, tmp_path: Path, run_script: Callable) -> None:
    """As on an older processor: few values are rounded differently, by one gray level."""
    older = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    images = {}
    for name, environment in {"this": {}, "older": older}.items():
        words = ["fuse", scenes / "visible", scenes / "infrared", "-o", tmp_path / name]
        assert run_script("from gffusion.cli import main; main()", *words, environment=environment).returncode == 0
        images[name] = np.stack([read_image(path).astype(int) for path in sorted((tmp_path / name).iterdir())])
    differences = np.abs(images["this"] - images["older"])
    assert differences.max() <= 1 and np.mean(differences > 0) < 1e-3


def test_record() -> None:
    """Of the whole measurement, which is on the page."""
    record = json.loads((ROOT / "docs" / "benchmarks" / "numbers.json").read_text(encoding="utf-8"))
    for rows in record["models"].values():
        for name, row in rows.items():
            device, dtype, _ = name.split(", ")
            assert row["levels"] <= LIMITS[device, dtype], name
    assert all(all(found.values()) for found in record["repeatable"].values())
