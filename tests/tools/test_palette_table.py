"""The table of false colors: its outcomes."""

import numpy as np
import pytest

from gffusion.cameras.palettes import load_palettes


def test_outcomes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    import palette_table as script

    monkeypatch.setattr(script, "SCENES", (3,))
    assert script.main(["--qualities", "png,75", "--palettes", "jet,hsv"]) == 0
    printed = capsys.readouterr().out
    assert (
        "| PNG | 2 | 0 | 0 | 0 |\n| JPEG, quality 75 | 1 | 1 | 0 | 0 |" in printed and "75: hsv: 1 refused" in printed
    )
    scene, jet = script.make_intensity(3), load_palettes()["jet"].astype(np.uint8)
    assert script.judge(scene, jet[::-1], 90) == "wrong"  # reversed
    assert script.judge(scene, jet[50:206].repeat(2, axis=0)[:256], None) == "scaled"
