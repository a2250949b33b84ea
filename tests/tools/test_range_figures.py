"""The figure of flicker: a running range reduces it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "range_figures.py"


def test_a_running_range_reduces_flicker(monkeypatch: pytest.MonkeyPatch) -> None:
    specification = importlib.util.spec_from_file_location("range_figures_script", SCRIPT)
    assert specification is not None and specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    for name, value in {"HEIGHT": 96, "WIDTH": 128, "FRAMES": 8, "ENTERS": 3, "LEAVES": 6}.items():
        monkeypatch.setattr(script, name, value)
    visible, frames, street = script.render_sequence()
    largest = {}
    for name, options in script.CHOICES.items():
        fused = script.fuse_sequence(visible, frames, options)
        largest[name] = np.abs(np.diff(script.measure_levels(fused, street))).max()
    assert largest["percentile"] > 3 * largest["percentile, smooth_range=20"]
    assert largest["percentile"] > 3 * largest["folder"]
