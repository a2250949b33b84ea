"""Signals: a checkpoint first, then the end that was asked for."""

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import training_runs as runs
from accelerate import Accelerator

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionModel
from gffusion.synthetic.samples import write_scenes
from gffusion.training.interruption import Interruption

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def accelerator() -> Iterator[Accelerator]:
    """Restore what handles signals at the end; `nohup` ignores SIGHUP, and other tests can leave a handler."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in SIGNALS}
    yield Accelerator()
    for number, handler in before.items():
        signal.signal(number, handler or signal.SIG_DFL)


class TestInterruption:
    @pytest.mark.parametrize("number", SIGNALS)
    def test_first_signal_waits(self, accelerator: Accelerator, number: int) -> None:
        with Interruption(accelerator) as interruption:
            assert not interruption.is_requested()
            os.kill(os.getpid(), number)
            assert interruption.is_requested()
        assert signal.getsignal(number) is signal.default_int_handler

    @pytest.mark.parametrize("number", SIGNALS)
    def test_ignored_signals_stay_ignored(self, accelerator: Accelerator, number: int) -> None:
        """`nohup` ignores SIGHUP, and a script that runs a command in the background SIGINT."""
        signal.signal(number, signal.SIG_IGN)
        with Interruption(accelerator) as interruption:
            os.kill(os.getpid(), number)
            assert not interruption.is_requested()

    def test_second_ctrl_c_does_not_wait(self, accelerator: Accelerator) -> None:
        with pytest.raises(KeyboardInterrupt), Interruption(accelerator) as interruption:
            os.kill(os.getpid(), signal.SIGINT)
            while not interruption.is_requested():  # another thread can receive the signal a moment later
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)

    def test_signals_that_end_workers_before_the_step_is_finished(self, accelerator: Accelerator) -> None:
        """Batch systems send them to all processes."""
        with pytest.raises(SystemExit, match="143"), Interruption(accelerator) as interruption:
            os.kill(os.getpid(), signal.SIGTERM)
            while not interruption.is_requested():
                time.sleep(0.01)
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated. ")

    def test_other_threads_cannot_have_signals(self, accelerator: Accelerator) -> None:
        seen = []

        def work() -> None:
            with Interruption(accelerator) as interruption:
                seen.append(interruption.is_requested())

        before = signal.getsignal(signal.SIGTERM)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [False]
        assert signal.getsignal(signal.SIGTERM) is before


class Interrupting(list[dict[str, Any]]):
    def __getitem__(self, index: Any) -> Any:
        if torch.utils.data.get_worker_info():
            os.kill(os.getpid(), signal.SIGINT)
        return super().__getitem__(index)


def test_workers_ignore_ctrl_c(tiny_model: Callable[..., GFFusionModel], tmp_path: Path) -> None:
    """Spawned ones, too, which do not inherit the handler of the trainer."""
    pair = {"visible_values": torch.zeros(3, 32, 32), "infrared_values": torch.zeros(1, 32, 32)}
    arguments = FusionTrainingArguments(str(tmp_path), dataloader_num_workers=1, per_device_train_batch_size=2)
    trainer = FusionTrainer(tiny_model(paradigm="cascading"), arguments, Interrupting([pair] * 2))  # type: ignore[arg-type]
    assert len(list(trainer._loader)) == 1


@pytest.fixture(scope="module")
def job(tiny_model: Callable[..., GFFusionModel], tmp_path_factory: pytest.TempPathFactory) -> runs.Job:
    """A run of 3 epochs of 2 steps, with checkpoints at the end of epochs."""
    folder = tmp_path_factory.mktemp("interrupted")
    write_scenes(folder / "training", 4, height=36, width=40)
    tiny_model(paradigm="cascading").save_pretrained(folder / "model", include_backbones=True)
    arguments = {
        "output_dir": str(folder / "whole"),
        "num_train_epochs": 3,
        "head_start_epoch": 1,
        "per_device_train_batch_size": 2,
    }
    return runs.Job(str(folder / "model"), str(folder / "training"), arguments)


@pytest.fixture(scope="module")
def expected(job: runs.Job) -> dict[str, bytes]:
    assert runs.run(job) == 0
    return runs.contents(job.output)


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "status", "dataloader_num_workers", "to_group"),
    [("SIGTERM", 143, 0, False), ("SIGINT", 1, 0, False), ("SIGTERM", 143, 1, True), ("SIGINT", 1, 1, True)],
)
def test_interrupted_in_the_middle_of_an_epoch(
    job: runs.Job,
    expected: dict[str, bytes],
    tmp_path: Path,
    name: str,
    status: int,
    dataloader_num_workers: int,
    to_group: bool,
) -> None:
    """The step is finished, its checkpoint is there, and the resumed run comes out as if nothing had happened.

    Terminals and batch systems send their signals to the workers that load data, too.
    """
    arguments = job.arguments | {"output_dir": str(tmp_path / "run"), "dataloader_num_workers": dataloader_num_workers}
    interrupted = dataclasses.replace(
        job, arguments=arguments, signal_at=3, signal_number=signal.Signals[name], to_group=to_group
    )
    assert runs.run(interrupted) == status, interrupted.report.read_text()
    error = interrupted.report.read_text().splitlines()[-1]
    assert error == {"SIGTERM": "SystemExit: 143", "SIGINT": "KeyboardInterrupt"}[name]
    assert [path.name for path in (interrupted.output / "checkpoints").iterdir()] == ["step-00000003"]
    assert len((interrupted.output / "log.jsonl").read_text().splitlines()) == 1
    assert runs.run(dataclasses.replace(interrupted, signal_at=0, resume=True)) == 0
    assert runs.contents(interrupted.output) == expected
