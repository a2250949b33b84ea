"""Pairs from which a rig is estimated, and those that are left out."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from moved_scenes import make_matrix, write_rig

from gffusion.cameras import Rig
from gffusion.cameras.estimation import RigEstimate
from gffusion.data import ImagePair, ReadOptions, read_image, write_image
from gffusion.data.rigs import find_rig, read_rig_pairs


@pytest.fixture
def pairs(tmp_path: Path) -> list[ImagePair]:
    """Two sound pairs, and one of each kind that is left out."""
    write_rig(tmp_path, make_matrix(1.4, -2, (0.02, 0.03)), 2)
    visible, infrared = tmp_path / "visible", tmp_path / "infrared"
    for name in ("cut", "small", "dark", "closed"):
        shutil.copy(visible / "0.png", visible / f"{name}.png")
        shutil.copy(infrared / "0.png", infrared / f"{name}.png")
    (infrared / "cut.png").write_bytes((infrared / "0.png").read_bytes()[:500])
    write_image(visible / "small.png", np.ascontiguousarray(read_image(visible / "0.png")[:120]))
    write_image(visible / "dark.png", np.zeros((240, 320, 3), np.uint8))
    write_image(infrared / "closed.png", np.full((120, 160), 7, np.uint8))
    return [
        ImagePair(file.stem, file, infrared / file.name)
        for file in sorted(visible.iterdir(), key=lambda file: file.stem, reverse=True)
    ]


def test_pairs_are_left_out_with_reasons(pairs: list[ImagePair]) -> None:
    found = read_rig_pairs(pairs, ReadOptions())
    assert [pair.name for pair in found.pairs] == ["1", "0"] and len(found.arrays) == 2
    assert "cut.png: the file is truncated" in found.left_out.pop("cut")
    assert found.left_out == {
        "small": "320 x 120 and 160 x 120 pixels, others have 320 x 240 and 160 x 120",
        "dark": "the visible image has no contrast",
        "closed": "the infrared image has no contrast",
    }
    flat = [pair for pair in pairs if pair.name in ("dark", "closed")]
    assert len(read_rig_pairs(flat, ReadOptions()).arrays) == 2  # the estimate says what they lack


def test_automatic_alignment_names_them(pairs: list[ImagePair], monkeypatch: pytest.MonkeyPatch) -> None:
    """In words, also if the estimate is not sure."""
    usable = [pair for pair in pairs if pair.name != "cut"]
    estimate = RigEstimate(Rig(np.eye(3)), 0.5, 0.9, True, 2, "similarity")
    monkeypatch.setattr("gffusion.data.rigs.estimate_sure", lambda _: estimate)
    assert "; left out of the estimate: dark (the visible" in str(find_rig(usable, ReadOptions("auto"))[1])

    def refuse(_: object) -> None:
        raise ValueError("not sure")

    monkeypatch.setattr("gffusion.data.rigs.estimate_sure", refuse)
    with pytest.raises(ValueError, match=r"not sure; left out of the estimate: dark \(the"):
        find_rig(usable, ReadOptions("auto"))
