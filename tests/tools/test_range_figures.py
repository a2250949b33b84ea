"""The figure of flicker: a running range reduces it."""

import numpy as np
import pytest
import range_figures as script


def test_a_running_range_reduces_flicker(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HEIGHT": 96, "WIDTH": 128, "FRAMES": 4, "ENTERS": 2, "LEAVES": 4}.items():
        monkeypatch.setattr(script, name, value)
    visible, frames, street = script.render_sequence()
    largest = {}
    for name, options in script.CHOICES.items():
        fused = script.fuse_sequence(visible, frames, options)
        largest[name] = np.abs(np.diff(script.measure_levels(fused, street))).max()
    assert largest["percentile"] > 3 * largest["percentile, smooth_range=20"]
    assert largest["percentile"] > 3 * largest["folder"]
