"""Two processes of `accelerate launch` share pairs out: each is written once, with one report, and again after an interruption."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import make_environment
from torch.distributed import TCPStore
from two_processes import launch_two

from gffusion.cli import main
from gffusion.cli.distributed import Outcome, Share
from gffusion.data import write_image
from gffusion.synthetic.samples import write_scenes

pytestmark = pytest.mark.processes


# Two processes without their launcher, of which one has imported what both need.
FORKED = """
import os
from gffusion.cli import main
from gffusion.zoo import create_model
child = os.fork()
os.environ["RANK"] = str(int(child == 0))
try:
    main()
finally:
    if child:
        assert os.waitpid(child, 0)[1] == 0
"""


@pytest.fixture
def launch(fork_script: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Any]:
    """Run `gffusion fuse` in two processes on CPUs."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        variables = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
        return fork_script(FORKED, "fuse", *arguments, environment=variables)

    return run


def count_reports(finished: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in finished.stdout.splitlines() if line.startswith(("fused", "nothing to do"))]


def test_pairs_are_written_once(launch: Callable[..., Any], tmp_path: Path) -> None:
    names = write_scenes(tmp_path, count=5, height=48, width=64)
    (tmp_path / "infrared" / names[3]).write_bytes(b"damaged")
    write_image(tmp_path / "infrared" / names[1], np.random.default_rng(0).integers(90, 93, (48, 64)).astype(np.uint8))
    (tmp_path / "visible" / "lonely.png").write_bytes((tmp_path / "visible" / names[0]).read_bytes())
    fused = tmp_path / "fused"
    options = (tmp_path / "visible", tmp_path / "infrared", "-o", fused, "--model", "gffusion-funet", "--device", "cpu")
    finished = launch_two("-m", "gffusion", "fuse", *options)
    assert finished.returncode == 1, finished.stderr  # one pair failed
    assert [line.split(" in ")[0] for line in count_reports(finished)] == ["fused 4 pairs"], finished.stderr
    assert finished.stderr.count("1 failed:") == 1
    assert finished.stderr.count("lonely.png") == 1, finished.stderr
    # It is the only pair that its process fuses: its range is compared with those of the other process.
    assert finished.stderr.count(f"(1 pair: {Path(names[1]).stem})") == 1 and "closed shutter" in finished.stderr
    written = {path.name: path.stat().st_mtime_ns for path in fused.iterdir()}
    assert sorted(written) == sorted(set(names) - {names[3]})

    (tmp_path / "infrared" / names[3]).write_bytes((tmp_path / "infrared" / names[2]).read_bytes())
    (fused / names[0]).unlink()
    finished = launch(*options)
    assert finished.returncode == 0, finished.stderr
    assert count_reports(finished)[0].startswith("fused 2 pairs") and "skipped 3 that existed" in finished.stdout
    after = {path.name: path.stat().st_mtime_ns for path in fused.iterdir()}
    assert sorted(after) == sorted(names)
    assert all(after[name] == written[name] for name in (names[1], names[2], names[4]))

    finished = launch(*options)
    assert finished.returncode == 0 and count_reports(finished) == [
        "nothing to do: all 5 outputs exist (model and options are not compared); --overwrite replaces them"
    ]


def test_share(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    for rank in (0, 1, 2):
        monkeypatch.setenv("RANK", str(rank))
        assert Share.find() == Share(rank, 3)
    for size in ("1", ""):
        monkeypatch.setenv("WORLD_SIZE", size)
        assert Share.find() == Share(0, 1)
    assert Share().gather(Outcome(done=1), Share().connect()) == Outcome(done=1)


@pytest.mark.parametrize("event", ["launcher ends", "signal"])
def test_a_process_that_waits_for_the_others_can_end(tmp_path: Path, event: str) -> None:
    """It prints what it did if its launcher is gone or a signal arrives, while the other process never finishes."""
    names = write_scenes(tmp_path, count=2, height=48, width=64)
    launcher = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    variables = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(launcher.port)}
    variables |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "gffusion", "fuse", *(tmp_path / kind for kind in ("visible", "infrared"))]
    command += ["-o", tmp_path / "fused", "--model", "gffusion-funet", "--device", "cpu", "--json"]
    running = subprocess.Popen(
        command, env=make_environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "fused" / names[0]).is_file():
        assert running.poll() is None, running.communicate()
        time.sleep(0.1)
    time.sleep(1)  # it waits now
    if event == "signal":
        running.terminate()
    else:
        del launcher
    out, err = running.communicate(timeout=60)
    report = json.loads(out)
    assert (report["fused"], report["exit_code"], running.returncode) == (1, *[143 if event == "signal" else 1] * 2)
    assert (report["process"], report["processes"]) == (0, 2) and "gffusion (process 0 of 2): " in err
    if event != "signal":
        assert len(err.splitlines()) == 1 and "the launcher or the first process has ended" in err
        assert "1 fused, 0 skipped, 0 failed, 0 not tried" in err


@pytest.mark.parametrize(
    ("size", "rank", "message"),
    [
        ("abc", "0", "WORLD_SIZE must be a number of processes, got 'abc'"),
        ("2", "", "not set: RANK;"),
        ("2", "2", "RANK must be less than WORLD_SIZE 2, got '2'"),
        ("2", "-1", "RANK must be less than WORLD_SIZE 2, got '-1'"),
    ],
)
def test_wrong_variables(
    gffusion: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, size: str, rank: str, message: str
) -> None:
    """They are refused before anything is fused."""
    for name, value in {"WORLD_SIZE": size, "RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    outcome = gffusion("fuse", "visible", "infrared", "-o", "out")
    assert outcome.exit_code == 2 and message in outcome.err and "accelerate launch" in outcome.err


def test_other_commands_refuse_several_processes(tmp_path: Path) -> None:
    """With one line; those that only tell something go on working."""
    finished = launch_two("-m", "gffusion", "sample", tmp_path / "sample")
    errors = [line for line in finished.stderr.splitlines() if line.startswith("gffusion:")]
    assert finished.returncode and not (tmp_path / "sample").exists()
    assert errors == [
        "gffusion: error: gffusion sample runs in one process, and the variable WORLD_SIZE is 2: start it without accelerate launch and "
        "torchrun, or unset WORLD_SIZE"
    ]


@pytest.mark.parametrize("variables", [{"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}, {"WORLD_SIZE": "8"}])
def test_variables_of_batch_systems(
    gffusion: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert gffusion("sample", tmp_path / "sample").exit_code == 0 and (tmp_path / "sample" / "visible").is_dir()


@pytest.mark.parametrize("words", ["models", "evaluate --help", "train --help", "--version"])
def test_commands_that_tell_something(
    gffusion: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert gffusion(*words.split()).exit_code == 0


def test_port_in_use(tmp_path: Path) -> None:
    """As with two launches on one machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1])}
        variables = address | {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "ACCELERATE_USE_CPU": "true"}
        command = [
            sys.executable,
            "-m",
            "gffusion",
            "train",
            "--train_data",
            tmp_path,
            "--output_dir",
            tmp_path / "run",
        ]
        done = subprocess.run(command, env=make_environment(**variables), capture_output=True, text=True)
    assert done.returncode == 2
    message = r"gffusion \(process 0 of 2\): error: no connection to the other processes: .*address already in use\n"
    assert re.fullmatch(message, done.stderr)


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize(
    ("words", "message"),
    [(["train", "--bogus", "3"], "unknown option --bogus"), (["sample", "out"], "gffusion sample runs in one process")],
)
def test_wrong_words_need_no_other_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str, words: list[str], message: str
) -> None:
    """The first process prints the error at once, others after a wait in which a launcher ends them."""
    for name, value in {"WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank}.items():
        monkeypatch.setenv(name, value)
    before: list[str] = []
    monkeypatch.setattr("time.sleep", lambda seconds: before.append(capsys.readouterr().err))
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2 and message in capsys.readouterr().err
    assert before == [""] * int(rank)
