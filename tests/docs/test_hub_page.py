"""The page about the Hub: its Python code runs, and it explains all options of `gffusion push`."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import typer
from doc_blocks import read_blocks
from hub_server import HubServer

from gffusion.cli import app

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "hub.md"


def test_options_of_push_are_explained() -> None:
    push = typer.main.get_command(app).commands["push"]
    options = {name for parameter in push.params for name in parameter.opts if name.startswith("--")}
    assert set(re.findall(r"^\| `(--[\w-]+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)) == options


def test_python_runs(
    hub: HubServer, fork_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    hub.add_account("token", "you", "your-org")
    script = "\n".join(block.text for block in read_blocks(PAGE) if block.language == "python")
    done = fork_script(script, environment=hub.environment(tmp_path / "home", HF_TOKEN="token"), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "model.safetensors" in hub.files("your-org/street")
    assert hub.repositories["your-org/street-private"].private
    assert "model.safetensors" in hub.files("your-org/street-private", "experiment")
    assert (tmp_path / "street" / "README.md").read_bytes() == hub.files("your-org/street")["README.md"]
