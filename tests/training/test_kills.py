"""SIGKILL at any moment: a resumed run gives the same weights to the last bit."""

import dataclasses
import json
import random
import shutil
import signal
from collections.abc import Callable
from typing import Any

import pytest
import training_runs as runs
from crash_cases import IS_WHOLE

from gffusion import GFFusionModel
from gffusion.synthetic.samples import write_scenes

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@pytest.fixture(scope="module")
def job(tiny_model: Callable[..., GFFusionModel], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., runs.Job]:
    """Makes a run of 2 epochs of 2 steps, with images, evaluation, and a checkpoint in the middle of each epoch."""
    folder = tmp_path_factory.mktemp("killed")
    write_scenes(folder / "training", 4, height=36, width=40)
    write_scenes(folder / "evaluation", 1, seed=9, height=36, width=32)
    models = {"cascading": {"use_segmenter": False}, "hybrid": {}}
    for paradigm, options in models.items():
        model = tiny_model(paradigm=paradigm, **options)
        model.save_pretrained(folder / paradigm, include_backbones=True)

    def make(name: str, paradigm: str = "cascading", **options: Any) -> runs.Job:
        arguments = {
            "num_train_epochs": 2,
            "head_start_epoch": 1,
            "per_device_train_batch_size": 2,
            "eval_metrics": [],
            "num_eval_images": 1,
        }
        arguments |= {"output_dir": str(folder / name), "save_steps": 1} | options
        return runs.Job(str(folder / paradigm), str(folder / "training"), arguments, str(folder / "evaluation"))

    return make


@pytest.fixture(scope="module")
def whole(job: Callable[..., runs.Job]) -> runs.Job:
    """A run without kills."""
    undisturbed = job("whole")
    assert runs.run(undisturbed) == 0
    return undisturbed


def writes(finished: runs.Job) -> list[str]:
    return json.loads(finished.report.read_text())["writes"]


def check_killed_and_resumed(killed: runs.Job, expected: dict[str, bytes]) -> None:
    assert runs.run(killed) == -signal.SIGKILL
    assert runs.run(dataclasses.replace(killed, kill_at=0, kill_inside=0, resume=True)) == 0, killed.report.read_text()
    assert runs.contents(killed.output) == expected
    shutil.rmtree(killed.output)


def test_killed_before_a_write(job: Callable[..., runs.Job], whole: runs.Job) -> None:
    """Between the two renames of a folder, before and after a log line, before an old checkpoint is deleted, and so on."""
    expected, all_writes = runs.contents(whole.output), writes(whole)
    second_epoch = next(number for number, write in enumerate(all_writes) if write.endswith("log.jsonl"))
    places = ("os.rename", f"open {whole.output}/log.jsonl")
    numbers = [
        number
        for number, write in enumerate(all_writes, start=1)
        if number > second_epoch and any(place in write for place in places)
    ]
    assert len(numbers) > 10
    if not IS_WHOLE:  # at random, as folders are replaced by two renames
        numbers = random.Random(0).sample(numbers, len(numbers) // 2)
    for number in [2, *numbers]:
        check_killed_and_resumed(dataclasses.replace(job(f"before-{number}"), kill_at=number), expected)


def test_killed_inside_a_file(job: Callable[..., runs.Job], whole: runs.Job) -> None:
    """Half of each kind of file: weights of best and last, then weights, optimizer and random states of a checkpoint."""
    expected = runs.contents(whole.output)
    first_of_second_epoch = 3 + 5 + 3 + 1  # checkpoints of 3 files, best and last in the first epoch
    for number in range(first_of_second_epoch, first_of_second_epoch + 5):
        check_killed_and_resumed(dataclasses.replace(job(f"inside-{number}"), kill_inside=number), expected)
    beyond = dataclasses.replace(job("beyond"), kill_inside=first_of_second_epoch + 5)
    assert runs.run(beyond) == 0


@pytest.mark.parametrize("dataloader_num_workers", [0, 1])
def test_killed_at_random_times(job: Callable[..., runs.Job], dataloader_num_workers: int) -> None:
    """Repeatedly, after longer and longer times, until a run finishes."""
    undisturbed = job(f"calm-{dataloader_num_workers}", "hybrid", num_train_epochs=3, dataloader_num_workers=0)
    assert runs.run(undisturbed) == 0
    killed = job(
        f"killed-{dataloader_num_workers}", "hybrid", num_train_epochs=3, dataloader_num_workers=dataloader_num_workers
    )
    killed = dataclasses.replace(killed, resume=True)
    generator, kills, patience = random.Random(dataloader_num_workers), 0, 0.4
    while True:
        process = runs.start(killed)
        process.join(generator.uniform(0.2, patience))
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
        kills, patience = kills + 1, patience * 1.5
    assert process.exitcode == 0, killed.report.read_text()
    assert kills > 1
    assert runs.contents(killed.output) == runs.contents(undisturbed.output)
