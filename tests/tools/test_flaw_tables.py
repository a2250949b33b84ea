"""The scripts that measure flicker, colors, double outlines and label maps."""

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from gffusion.models.gffusion.image_ops import LUMA_WEIGHTS
from gffusion.synthetic.rendering import render_scene
from gffusion.synthetic.samples import write_scenes
from projects.gffusion_tiny import label_noise

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(request: pytest.FixtureRequest) -> ModuleType:
    """Return the script that a test names."""
    return import_module(request.param)


@pytest.mark.parametrize("tool", ["flicker_table"], indirect=True)
def test_flicker_of_a_pan_is_that_of_a_still_camera(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HEIGHT": 64, "WIDTH": 96, "FRAMES": 4}.items():
        monkeypatch.setattr(tool, name, value)
    methods = {name: tool.load(name) for name in ("average", "maximum")}
    still, pan = (tool.measure(*tool.render_pan(step), methods) for step in (0, 2))
    assert still["visible"][0] == pytest.approx(2 / np.pi**0.5 * tool.NOISE, rel=0.1)  # of two frames with noise
    for found in (still, pan):
        assert found["average"][0] < found["visible"][0] < found["larger of both"][0]
        assert found["average"][1] == found["maximum"][1] == 0
    assert pan["average"][0] == pytest.approx(still["average"][0], rel=0.1)


@pytest.mark.parametrize("tool", ["color_table"], indirect=True)
def test_ways_to_color_have_the_luma_and_keep_what_they_name(tool: ModuleType) -> None:
    rng = np.random.default_rng(0)
    colors = 0.6 * rng.random((40, 3))
    luma = (colors @ LUMA_WEIGHTS + 0.1).clip(0, 1)
    np.testing.assert_allclose(tool.from_oklab(tool.to_oklab(colors)), colors, atol=1e-9)
    measured = {}
    for name, way in tool.WAYS.items():
        result = way(colors, luma)
        np.testing.assert_allclose(result @ LUMA_WEIGHTS, luma, atol=3e-3)
        measured[name] = tool.measure(
            np.concatenate([colors, [[0.2, 0.2, 0.21]]]),
            np.append(luma, 0.3),
            way(np.concatenate([colors, [[0.2, 0.2, 0.21]]]), np.append(luma, 0.3)),
        )
    kept, grown, hue, most = measured.values()
    assert hue[0] < 1 and kept[1] < grown[1] < most[1] and most[3] == 1
    assert tool.draw().shape == (19 * 16, 12 * 40, 3)


@pytest.mark.parametrize("tool", ["outlines_figure"], indirect=True)
def test_outlines_are_near_hot_things(tool: ModuleType) -> None:
    infrared = np.full((96, 128), 40, np.uint8)
    infrared[30:60, 40:80] = 220
    moved = tool.shift_infrared(infrared, 5)
    assert moved[62, 60] == 220 and moved[31, 42] == 40
    near = tool.find_outlines(infrared)
    assert near[30, 60] and not near[45, 60] and not near[:16].any()


@pytest.mark.parametrize("tool", ["training_figures"], indirect=True)
def test_times_on_the_page_are_those_of_the_record(tool: ModuleType) -> None:
    record = json.loads((ROOT / "docs" / "models" / "tiny" / "forward.json").read_text(encoding="utf-8"))
    assert tool.format_times(record) in tool.PAGE.read_text(encoding="utf-8")


def test_label_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(label_noise, "RENDERED", 1)
    monkeypatch.setattr(label_noise, "render_scene", lambda seed: render_scene(seed, 96, 128))
    write_scenes(tmp_path, count=1, height=96, width=128)
    label_noise.main(["gffusion-tiny", "--data", str(tmp_path)])
    rows = [line for line in capsys.readouterr().out.splitlines() if "%" in line]
    assert len(rows) == 9
