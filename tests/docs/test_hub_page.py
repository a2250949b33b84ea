"""The page about the Hub: its Python code runs, and its commands exist."""

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from hub_server import HubServer

from gffusion.cli import app
from gffusion.training.recipe import Recipe

PAGE = Path(__file__).parents[2] / "docs" / "hub.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands() -> list[str]:
    """The complete commands of gffusion in blocks and in sentences."""
    lines = "".join(blocks("bash")).replace("\\\n", "").splitlines() + re.findall(r"`([^`\n]+)`", TEXT)
    found = [line.partition("#")[0].strip() for line in lines if line.startswith("gffusion ")]
    return [line for line in dict.fromkeys(found) if len(line.split()) > 2 and "..." not in line]


def test_the_commands_of_the_page_were_found() -> None:
    assert {command.split()[1] for command in commands()} >= {"push", "pull", "models", "fuse", "train"}


@pytest.mark.parametrize("command", commands())
def test_commands_are_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PAGE.parents[1])
    _, name, *words = shlex.split(command)
    if name == "train":
        assert Recipe.parse(words).training.push_to_hub
        return
    typer.main.get_command(app).commands[name].make_context(name, words)  # raises if an option is unknown or missing


@pytest.mark.parametrize("option", ["--full", "--with-code", "--private", "--revision", "--force"])
def test_options_of_push_are_explained(option: str) -> None:
    assert re.search(rf"^\| `{option}[` ]", TEXT, re.MULTILINE)
    push = typer.main.get_command(app).commands["push"]
    assert option in [name for parameter in push.params for name in parameter.opts]


def test_python_runs(
    hub: HubServer, run_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    hub.add_account("token", "you", "your-org")
    script = "\n".join(blocks("python"))
    done = run_script(script, environment=hub.environment(tmp_path / "home", HF_TOKEN="token"), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "model.safetensors" in hub.files("your-org/street")
    assert hub.repositories["your-org/street-private"].private
    assert "model.safetensors" in hub.files("your-org/street-private", "experiment")
    assert (tmp_path / "street" / "README.md").read_bytes() == hub.files("your-org/street")["README.md"]
