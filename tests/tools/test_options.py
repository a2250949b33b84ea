"""Options of the scripts: `--help` only prints, and no script reads an option that it does not have."""

import ast
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("benchmarks", "examples", "projects/gffusion_tiny", "tools")
SCRIPTS = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.py"))]
TOOLS = [
    path
    for path in SCRIPTS
    if path.parent.name in ("benchmarks", "tools") and "__main__" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("script", TOOLS, ids=lambda script: script.stem)
def test_help(script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setattr(Path, "write_text", None)
    try:
        runpy.run_path(str(script), run_name="__main__")
    except ModuleNotFoundError as error:  # of an extra that is not installed
        pytest.skip(str(error))
    except SystemExit as exit:
        assert exit.code == 0
        assert capsys.readouterr().out.startswith("usage:")
    else:
        raise AssertionError("--help did not end the script")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: f"{script.parent.name}-{script.stem}")
def test_options_that_are_read_exist(script: Path) -> None:
    nodes = list(ast.walk(ast.parse(script.read_text(encoding="utf-8"))))
    parsed = {
        name.id
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if getattr(node.value.func, "attr", "") in ("parse_args", "parse_known_args")
        for name in (node.targets[0].elts[:1] if isinstance(node.targets[0], ast.Tuple) else node.targets)
    }
    options = [
        node
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in parsed
    ]
    known = {node.attr for node in options if isinstance(node.ctx, ast.Store)}
    shared = ROOT / "projects" / "gffusion_tiny" / "training.py"
    nodes += ast.walk(ast.parse(shared.read_text(encoding="utf-8"))) if script.parent == shared.parent else ()
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    known |= {text.removeprefix("--").replace("-", "_") for text in texts}  # the names of options are among them
    assert sorted({node.attr for node in options} - known) == []
