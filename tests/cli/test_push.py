"""`gffusion push`: output, options and errors."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import HubServer

from gffusion.zoo import locate

COMMAND = "from gffusion.cli import main; main()"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copy a model without encoders."""
    return shutil.copytree(locate("gffusion-funet"), tmp_path / "model")


def test_publishes(hub: HubServer, folder: Path, fork_script: Callable, tmp_path: Path) -> None:
    environment = hub.environment(tmp_path / "home", HF_TOKEN="member")
    options = ("--with-code", "--private", "--revision", "v2", "--commit-message", "Second try")
    done = fork_script(COMMAND, "push", folder, "lab/net", *options, environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"published -> {hub.url}/lab/net/commit/") and done.stdout.count("\n") == 1
    files = hub.files("lab/net", "v2")
    assert {"README.md", "config.json", "model.safetensors", "preprocessor_config.json", "modeling_gffusion.py"} <= set(
        files
    )
    assert files["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert hub.repositories["lab/net"].private
    assert "Second try" in hub.repositories["lab/net"].messages.values()
    assert "model.safetensors" not in hub.files("lab/net", "main")


def test_takes_names_of_bundled_models(gffusion: Callable, folder: Path, cwd: Path) -> None:
    report = json.loads(gffusion("push", "gffusion-tiny", "lab/tiny", "--dry-run", "--json").out)
    bundled = Path(locate("gffusion-tiny"))
    assert report["repo_id"] == "lab/tiny"
    assert report["files"].keys() == {path.name for path in bundled.iterdir()}
    assert all(report["files"][name] == (bundled / name).stat().st_size for name in ("model.safetensors", "README.md"))
    folder.rename("gffusion-tiny")
    outcome = gffusion("push", "gffusion-tiny", "lab/tiny", "--dry-run")
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert "gffusion-tiny is a listed model and a folder here: write ./gffusion-tiny for the folder" in outcome.err
    report = json.loads(gffusion("push", "./gffusion-tiny", "lab/tiny", "--dry-run", "--json").out)
    size = Path(locate("gffusion-funet"), "model.safetensors").stat().st_size
    assert report["files"]["model.safetensors"] == size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "lab/net"], "nowhere is not a folder: .* or a bundled model .*gffusion-tiny"),
        (["", "lab/net"], "contains no model: config.json and model.safetensors missing.*`best` or `last`"),
        (["unfinished", "lab/net"], "step 3 of 9.*--force"),
        (["model", "lab/n e t"], "organization/name"),
        (["model", "lab/net"], "HF_HUB_OFFLINE"),
    ],
)
def test_errors(gffusion: Callable, folder: Path, arguments: list[str], message: str) -> None:
    unfinished = shutil.copytree(folder, folder.parent / "unfinished")
    (unfinished / "training_state.json").write_text(json.dumps({"finished": False, "step": 3, "total_steps": 9}))
    outcome = gffusion("push", folder.parent / arguments[0], arguments[1])
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1 and re.search(message, outcome.err)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("preprocessor_config.json", "[]", "preprocessor_config.json must hold a JSON object, got a list"),
        ("preprocessor_config.json", '{"size_divisor": 0.5}', "preprocessor_config.json.*`size_divisor`"),
        ("README.md", "---\ntags: 5\n---\n", "README.md was not published: its metadata.*not valid YAML for the Hub"),
        ("training_state.json", "{", "training_state.json is damaged.*--force"),
    ],
)
def test_damaged_files(gffusion: Callable, folder: Path, name: str, content: str, message: str) -> None:
    (folder / name).write_text(content)
    outcome = gffusion("push", folder, "lab/net", "--dry-run")
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1 and re.search(message, outcome.err)


def test_images_that_are_missing_are_named(gffusion: Callable, folder: Path) -> None:
    with (folder / "README.md").open("a") as card:
        card.write("\n![](night.png)\n![](https://example.org/day.png)\n")
    outcome = gffusion("push", folder, "lab/net", "--dry-run", "--revision", "v2")
    assert outcome.exit_code == 0 and outcome.out.startswith("would publish 4 files") and "branch v2" in outcome.out
    assert outcome.err.count("\n") == 1 and "shows images that are not in" in outcome.err and "day" not in outcome.err


def test_a_run_of_the_default_fine_tuning(gffusion: Callable, scenes: Path, tmp_path: Path) -> None:
    """It is published as saved, with its encoders, under the license of the weights that it started from."""
    options = ("--train_data", scenes, "--num_train_epochs", 1, "--head_start_epoch", 0, "--crop_size", 48)
    options += ("--per_device_train_batch_size", 2, "--output_dir", tmp_path / "run")
    trained = gffusion("train", "--config", "finetune", *options)
    assert trained.exit_code == 0, trained.err
    done = gffusion("push", tmp_path / "run" / "best", "lab/street", "--dry-run")
    assert done.exit_code == 0, done.err
    assert re.match(r"would publish \d+ files .* -> lab/street:\n  model.safetensors ", done.out)
    card = (tmp_path / "run" / "best" / "README.md").read_text()
    assert "\nlicense: apache-2.0\n" in card and "Training started from gffusion-tiny" in card
    again = gffusion("train", "--config", "finetune", *options, "--resume_from_checkpoint", "true")
    assert again.exit_code == 0, again.err
    assert "nothing to train" in again.out and "finished at step-00000001" in again.out


@pytest.mark.parametrize("message", ["-", "~nobody-like-this", "--commit-message=-", "--commit-message=~"])
def test_a_commit_message_is_no_path(
    gffusion: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    given: list[str] = []
    monkeypatch.setattr("gffusion.hub.push", lambda *_, commit_message, **__: given.append(commit_message))
    words = [message] if "=" in message else ["--commit-message", message]
    outcome = gffusion("push", folder, "lab/net", *words)
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert given == [message.rpartition("=")[2]]
