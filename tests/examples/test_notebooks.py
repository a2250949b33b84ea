"""The notebooks run as scripts, and are those of their scripts."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from gffusion.synthetic.rendering import render_scene
from gffusion.synthetic.samples import write_scenes

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples" / "notebooks").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_script_runs(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if script.stem == "video":
        pytest.importorskip("av")
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.close("all")))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script))
    assert len(shown) == len(list((ROOT / "docs" / "notebooks").glob(f"{script.stem}-*.png")))
    if script.stem == "align_rig":
        assert "sure: True" in capsys.readouterr().out


def read_cells(name: str) -> list[str]:
    """Return the cells of a script, which begin with their kind."""
    script = ROOT / "examples" / "notebooks" / f"{name}.py"
    return script.read_text(encoding="utf-8").split("# %%")[1:]


@pytest.mark.parametrize(
    ("name", "cells", "folders"),
    [("compare_methods", 2, ["pairs", "my_method"]), ("finetune_thermal", 2, ["thermal/train", "thermal/val"])],
)
def test_own_data_is_left_alone(
    name: str, cells: int, folders: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also own label maps, which the second cell of the training would replace by those of the boxes."""
    monkeypatch.chdir(tmp_path)
    for folder in folders:
        write_scenes(Path(folder), seed=7, height=32, width=32)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    variables: dict[str, Any] = {}
    for cell in [cell for cell in read_cells(name) if cell.startswith("\n")][:cells]:
        exec(cell, variables)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_labels_are_made_of_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the renderer, which are exact, would leave nothing to do."""
    monkeypatch.chdir(tmp_path)
    variables: dict[str, Any] = {}
    for cell in [cell for cell in read_cells("finetune_thermal") if cell.startswith("\n")][:2]:
        exec(cell, variables)
        if "find_pairs" not in variables:
            assert not list(tmp_path.glob("thermal/*/labels"))
    assert len(list(tmp_path.glob("thermal/*/labels/*.png"))) == 15


def test_own_images_are_aligned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `pairs` in the cell of *Pairs*, and without *Compare* and figures, as the notebook says."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    imports, _, _, estimate, _, look, save = (cell for cell in read_cells("align_rig") if cell.startswith("\n"))
    scene = render_scene(0, 96, 128)
    variables: dict[str, Any] = {}
    exec(imports, variables)
    variables["pairs"] = [(scene.visible, scene.infrared)]
    for cell in (estimate, look.partition("plt.")[0], save):
        exec(cell, variables)
    assert "sure:" in capsys.readouterr().out and Path("rig.json").exists()


def test_notebooks_are_up_to_date() -> None:
    pytest.importorskip("jupytext")
    import notebooks

    assert notebooks.main(["--check"]) == 0


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_notebooks_have_no_outputs(script: Path) -> None:
    notebook = json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
