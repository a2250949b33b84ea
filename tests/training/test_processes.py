"""Two real processes (gloo) against one that sees the same pairs: weights, figures, and who writes."""

import dataclasses
import json
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import training_runs as runs
from accelerate import Accelerator
from read_back import read_log
from two_processes import launch_two

from gffusion import GFFusionModel
from gffusion.data import FusionDataset, read_image, write_image
from gffusion.synthetic.samples import write_scenes
from gffusion.training.validation import evaluate

pytestmark = [pytest.mark.processes, pytest.mark.slow]

# Two processes without a launcher, forked from one that has imported what both need. Each prints its errors.
FORKED = """
import os, sys, time
import torch
from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionModel
rank = int(os.fork() == 0)
os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
sys.stdout = open(f"{sys.argv[1]}{rank}.txt", "w")
torch.manual_seed(0)
pair = {"visible_values": torch.rand(3, 48, 48), "infrared_values": torch.rand(1, 48, 48)}
started = False
class Trainer(FusionTrainer):
    def _prepare(self, resume):
        global started
        super()._prepare(resume)
        started = True
def train(name, training, evaluation=1, **options):
    model = GFFusionModel.from_backbones(paradigm="cascading", use_segmenter=False, decoder_channels=[4])
    options = {"num_train_epochs": 1, "num_eval_images": 0, "eval_metrics": [], "disable_tqdm": True} | options
    arguments = FusionTrainingArguments(sys.argv[1] + name, **options)
    dataset = training if isinstance(training, torch.utils.data.Dataset) else [pair] * training
    Trainer(model, arguments, dataset, [pair] * evaluation).train()
def refuse(*arguments, **options):
    try:
        train(*arguments, **options)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", flush=True)
"""
END = """
torch.distributed.destroy_process_group()
if rank == 0:
    assert os.wait()[1] == 0
os._exit(0)
"""

# 8 pairs and 4 per step make 2 steps per epoch, 20 in all; the head is trained in the last 10. Adam turns rounding errors of a
# gradient into full steps: at the paper's rate of 1e-3, weights differ by up to 1e-3 if one process only sums the pairs in
# another order. At this rate they differ by less than 1e-6.
OPTIONS: dict[str, Any] = {
    "num_train_epochs": 10,
    "head_start_epoch": 5,
    "per_device_train_batch_size": 2,
    "learning_rate": 5e-5,
    "batch_normalization": "running",
    "eval_epochs": 5,
    "eval_metrics": ["SSIM"],
    "num_eval_images": 1,
    "logging_steps": 1,
    "report_to": ["tensorboard"],
}
RUNS = ("cascading", "parallel", "hybrid", "unlabeled")


@pytest.fixture
def fork_two(
    fork_script: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> Callable[[str], list[list[str]]]:
    """Run lines of a script in two processes, and return the lines that each one prints."""

    def run(script: str) -> list[str]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        variables = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
        finished = fork_script(FORKED + script + END, f"{tmp_path}/", environment=variables)
        assert finished.returncode == 0, finished.stderr[-5000:]
        return [(tmp_path / f"{rank}.txt").read_text().splitlines() for rank in range(2)]

    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 labeled pairs to learn from, in which more and more pixels are ignored, the same without labels, and 3 pairs."""
    folder = tmp_path_factory.mktemp("pairs")
    for name in write_scenes(folder / "training", 8, height=40, width=48):
        path = folder / "training" / "labels" / name
        labels = read_image(path).copy()
        labels[: 5 * int(path.stem[-1])] = 255
        write_image(path, labels)
    (folder / "unlabeled").mkdir()
    for kind in ("visible", "infrared"):
        (folder / "unlabeled" / kind).symlink_to(folder / "training" / kind)
    write_scenes(folder / "evaluation", 3, seed=20, height=48, width=40)
    return folder


def job(name: str, place: Path, data: Path, models: Path, **options: Any) -> runs.Job:
    arguments = OPTIONS | {"output_dir": str(place / name)} | options
    pairs = data / ("unlabeled" if name == "unlabeled" else "training")
    return runs.Job(str(models / name), str(pairs), arguments, str(data / "evaluation"), crop=36)


@pytest.fixture(scope="module")
def models(tiny_model: Callable[..., GFFusionModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in RUNS:
        paradigm = "hybrid" if name == "unlabeled" else name
        tiny_model(paradigm=paradigm).save_pretrained(folder / name, include_backbones=True)
    return folder


@pytest.fixture(scope="module")
def pair_of_processes(data: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the runs of two processes; those of the hybrid paradigm take each step in two batches."""
    folder = tmp_path_factory.mktemp("two")
    jobs = folder / "jobs.json"
    parts = [job(name, folder, data, models) for name in RUNS]
    accumulated = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
    parts[RUNS.index("hybrid")] = job("hybrid", folder, data, models, **accumulated)
    stopped = dataclasses.replace(parts[-1], arguments=parts[-1].arguments | {"output_dir": str(folder / "stopped")})
    parts += [dataclasses.replace(stopped, signal_at=11, signal_number=signal.SIGTERM, signal_rank=1)]
    parts += [dataclasses.replace(stopped, resume=True)]
    own = {"output_dir": str(folder / "own statistics"), "batch_normalization": "local", "num_train_epochs": 2}
    parts += [dataclasses.replace(parts[0], arguments=parts[0].arguments | own | {"eval_epochs": 1})]
    jobs.write_text(json.dumps([dataclasses.asdict(part) for part in parts]))
    finished = launch_two(runs.__file__, jobs, timeout=1200)
    assert finished.returncode == 0, finished.stderr[-5000:]
    return folder


@pytest.fixture(scope="module")
def one_process(data: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the runs of one process with batches of 4."""
    folder = tmp_path_factory.mktemp("one")
    for name in RUNS:
        assert runs.run(job(name, folder, data, models, per_device_train_batch_size=4)) == 0
    return folder


def largest_difference(first: Path, second: Path) -> float:
    states = [GFFusionModel.from_pretrained(folder).state_dict() for folder in (first, second)]
    return max((states[0][name].double() - value.double()).abs().max().item() for name, value in states[1].items())


def reports(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{name}-{rank}.txt").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", RUNS)
class TestTwoProcesses:
    def test_weights_are_those_of_one_process(
        self, pair_of_processes: Path, one_process: Path, models: Path, name: str
    ) -> None:
        for report in reports(pair_of_processes, name):
            assert (report["processes"], report["step"]) == (2, 20)
        assert largest_difference(models / name, one_process / name / "last") > 5e-4  # something has been learned
        assert largest_difference(pair_of_processes / name / "last", one_process / name / "last") < 1e-5

    def test_figures_are_those_of_one_process(self, pair_of_processes: Path, one_process: Path, name: str) -> None:
        """Losses over the pixels that are not ignored, and metrics over 3 pairs, of which one process has 2."""
        two, one = read_log(pair_of_processes / name), read_log(one_process / name)
        assert [record["step"] for record in two] == [2 * epoch for epoch in range(1, 11)]
        assert "eval_SSIM" in two[4]
        assert "eval_mIoU" in two[4]
        for first, second in zip(two, one, strict=True):
            assert first.keys() == second.keys()
            # One pixel that falls to the other of two classes changes mIoU.
            assert list(first.values()) == pytest.approx(list(second.values()), rel=1e-3)

    def test_both_processes_know_the_figures(self, pair_of_processes: Path, name: str) -> None:
        """After training, too."""
        first, second = reports(pair_of_processes, name)
        assert first["after"] == second["after"]
        last = read_log(pair_of_processes / name)[-1]
        assert first["after"] == pytest.approx({key: last[key] for key in first["after"]})

    def test_one_process_writes(self, pair_of_processes: Path, name: str) -> None:
        """The other one only tries whether it could, and adds its random states to checkpoints (in C++, unseen here)."""
        folder = pair_of_processes / name
        first, second = (report["writes"] for report in reports(pair_of_processes, name))
        assert len([write for write in first if "log.jsonl" in write and write.startswith("open")]) == 10
        # Accelerate makes the folder that is there already.
        assert not [write for write in second if ".probe-" not in write and not write.startswith("os.mkdir")]
        assert sorted(path.name for path in (folder / "images").iterdir()) == [
            f"step-{step:08d}.png" for step in (0, 10, 20)
        ]
        (checkpoint,) = (folder / "checkpoints").iterdir()
        assert {path.name for path in checkpoint.iterdir()} == {
            "model.safetensors", "optimizer.bin", "random_states_0.pkl", "random_states_1.pkl", "state.json",
        }  # fmt: skip
        assert len(list((folder / "trackers" / "gffusion").glob("events.*"))) == 1


def test_evaluated_with_the_statistics_that_are_saved(pair_of_processes: Path, data: Path) -> None:
    """Each process has its own statistics of batch normalization after a step; those of the first one are saved."""
    model = GFFusionModel.from_pretrained(pair_of_processes / "own statistics" / "last")
    expected = evaluate(model, FusionDataset(data / "evaluation"), ["SSIM"], Accelerator(cpu=True))
    logged = read_log(pair_of_processes / "own statistics")[-1]
    for name in ("loss_structural", "SSIM"):
        assert logged[f"eval_{name}"] == pytest.approx(expected[name], rel=1e-5)


def test_signal_to_one_process_stops_both_and_leaves_no_trace(pair_of_processes: Path) -> None:
    """SIGTERM to the second process in step 11, the first of an epoch, and a resumed run."""
    uninterrupted, stopped = (
        {name: content for name, content in runs.contents(pair_of_processes / name).items() if "trackers" not in name}
        for name in ("unlabeled", "stopped")
    )
    assert stopped == uninterrupted
    for report in reports(pair_of_processes, "stopped"):
        opened = [write for write in report["writes"] if write.startswith("open") and "log.jsonl" in write]
        assert len(opened) in (0, 5)  # the epochs after the 5th


def test_processes_refuse_together(fork_two: Callable[[str], list[list[str]]], tmp_path: Path) -> None:
    """Both raise: they read different data, have output folders of their own, or only the first one refuses."""
    script = """
refuse("pairs", 8 + rank, per_device_train_batch_size=2)
refuse("evaluation", 4, 1 + 2 * rank, per_device_train_batch_size=2)
refuse("step", 4 - rank, per_device_train_batch_size=2)
refuse("options", 4, per_device_train_batch_size=2, save_steps=rank)
time.sleep = lambda seconds: None  # until files of others appear
refuse(f"node{rank}", 4, per_device_train_batch_size=2)
train("run", 4, per_device_train_batch_size=2)
refuse("run", 4, per_device_train_batch_size=2)
"""
    first, second = ([line for line in lines if "Error: " in line] for lines in fork_two(script))
    assert len(first) == len(second) == 6
    for reason in (
        "pairs (9 instead of 8)", "pairs of the evaluation (3 instead of 1)", "A step takes 4 pairs", "save_steps (1 instead of 0)",
        f"Process 1 does not find what process 0 writes to `output_dir` {tmp_path}/node0", "run holds a run, at step-00000001",
    ):  # fmt: skip
        (own,), (other,) = ([line for line in part if reason in line] for part in (first, second))
        kinds = own.partition(":")[0], other.partition(":")[0]
        assert kinds == (("PeerError", "ValueError") if reason.startswith("A step") else ("ValueError", "PeerError"))
    assert not (tmp_path / "pairs" / "log.jsonl").exists()


def test_output_folder_whose_files_appear_late(fork_two: Callable[[str], list[list[str]]], tmp_path: Path) -> None:
    """As on network disks: the second process sees an empty folder until it has waited."""
    script = """
def update(seconds):
    if not os.path.islink(sys.argv[1] + "seen1"):
        os.rmdir(sys.argv[1] + "seen1")
        os.symlink(sys.argv[1] + "seen0", sys.argv[1] + "seen1")
time.sleep = update
refuse(f"seen{rank}", 4, per_device_train_batch_size=2)
"""
    assert not [line for lines in fork_two(script) for line in lines if "Error" in line]
    assert (tmp_path / "seen1").is_symlink() and (tmp_path / "seen0" / "last").is_dir()
    assert not list((tmp_path / "seen0").glob(".probe-*"))


def test_tracker_that_fails(fork_two: Callable[[str], list[list[str]]], tmp_path: Path) -> None:
    """Only the first process has it: both train on, or both refuse."""
    script = """
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
class Broken(GeneralTracker):
    name, requires_logging_directory, tracker, starts = "broken", False, None, True
    def __init__(self, project):
        super().__init__()
    def start(self):
        if not Broken.starts:
            raise OSError("no server")
    def log(self, values, step=None, **_):
        raise OSError("503")
LOGGER_TYPE_TO_CLASS["broken"] = Broken
train("run", 4, per_device_train_batch_size=2, report_to=["broken"])
Broken.starts = False
refuse("refused", 4, per_device_train_batch_size=2, report_to=["broken"])
"""
    message = "The tracker 'broken' of `report_to` cannot start: no server."
    first, second = ([line for line in lines if "Error: " in line] for lines in fork_two(script))
    assert (first, second) == ([f"ValueError: {message}"], [f"PeerError: {message} (process 0)"])
    assert (tmp_path / "run" / "log.jsonl").exists() and not (tmp_path / "refused" / "log.jsonl").exists()


def test_full_disk_of_the_first_process(fork_two: Callable[[str], list[list[str]]]) -> None:
    """It is raised in both when the first one cannot write the file by which the other one knows the folder."""
    script = """
write = os.fsync
def fail(file):
    raise OSError(28, "No space left on device")
os.fsync = fail if rank == 0 else write
refuse("full", 4, per_device_train_batch_size=2)
"""
    first, second = fork_two(script)
    assert first[-1].startswith("OSError: [Errno 28] No space left on device")
    assert second[-1].startswith("PeerError: [Errno 28] No space left on device") and "(process 0)" in second[-1]


INTERRUPTED = """
class Interrupted(torch.utils.data.Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        if rank == 1:
            interrupt()
        else:
            wait()
        return pair
try:
    train("run", Interrupted(), per_device_train_batch_size=2)
except BaseException as error:
    print(f"{type(error).__name__}: {error}", flush=True)
"""


def test_ctrl_c_before_the_first_step_interrupts_both(fork_two: Callable[[str], list[list[str]]]) -> None:
    script = """
def interrupt():
    raise KeyboardInterrupt
def wait():
    pass
"""
    first, second = fork_two(script + INTERRUPTED)
    assert (first[-1], second[-1]) == ("KeyboardInterrupt: interrupted (process 1)", "KeyboardInterrupt: ")


def test_second_ctrl_c_ends_a_process_that_waits_for_others(fork_two: Callable[[str], list[list[str]]]) -> None:
    script = """
import threading
def press():
    while True:
        time.sleep(0.5)
        os.kill(os.getpid(), 2)
def interrupt():
    threading.Thread(target=press, daemon=True).start()
    raise KeyboardInterrupt
def wait():
    print("ended by", os.wait()[1], flush=True)
    os._exit(0)
"""
    assert fork_two(script + INTERRUPTED)[0][-1] == "ended by 2"


def test_own_datasets_draw_other_random_numbers_in_each_process(fork_two: Callable[[str], list[list[str]]]) -> None:
    """Of torch, NumPy and Python."""
    script = """
import random
import numpy as np
class Drawn(torch.utils.data.Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, index):
        if started:
            print("drawn", float(torch.rand(())), np.random.rand(), random.random(), flush=True)
        return pair
train("run", Drawn(), per_device_train_batch_size=1)
"""
    lines = [line.split()[1:] for lines in fork_two(script) for line in lines if line.startswith("drawn ")]
    assert len(lines) == 8
    assert all(len(set(numbers)) == 8 for numbers in zip(*lines, strict=True))


def test_a_process_that_ends_is_reported_by_the_others(fork_two: Callable[[str], list[list[str]]]) -> None:
    script = """
class Ending(torch.utils.data.Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        if started and rank == 1:
            os._exit(0)
        return pair
refuse("run", Ending(), per_device_train_batch_size=1)
"""
    assert fork_two(script)[0][-1].startswith("ConnectionError: Another process ended, see its message")


def test_parameters_of_a_subclass_may_be_unused(fork_two: Callable[[str], list[list[str]]]) -> None:
    script = """
class Own(GFFusionModel):
    def __init__(self, config):
        super().__init__(config)
        self.unused = torch.nn.Linear(2, 2)
GFFusionModel = Own
refuse("run", 4, per_device_train_batch_size=1, gradient_accumulation_steps=2, num_train_epochs=2)
"""
    assert not [line for lines in fork_two(script) for line in lines if "Error" in line]


def test_processes_without_evaluation_pairs(fork_two: Callable[[str], list[list[str]]]) -> None:
    """They have the scores of the others, and nothing to warn about, each on a machine of its own."""
    script = """
os.environ["LOCAL_RANK"] = "0"
import warnings
from accelerate import Accelerator
from gffusion import create_model
from gffusion.training.validation import evaluate as measure
labeled = pair | {"labels": torch.ones(48, 48, dtype=torch.long)}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    print(measure(create_model("gffusion-tiny"), [labeled], [], Accelerator(), True)["mIoU"])
for warning in caught:
    print(warning.message)
sys.stdout.flush()
"""
    first, second = fork_two(script)
    assert first == second and len(second) == 2, second
