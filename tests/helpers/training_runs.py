"""Training runs in processes of their own: to be killed, to be interrupted, or launched in pairs (`training_runs.py JOBS`)."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionModel
from gffusion.data import FusionDataset
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip

SMALL_MODEL = json.dumps(
    dict(paradigm="cascading", use_segmenter=False, stem_channels=4, feature_channels=8, decoder_channels=[4])
)
"""Value of `--model_config` for a model that trains fast."""


@dataclasses.dataclass
class Job:
    """Job of a process.

    Args:
        model: Folder of the model, encoders included.
        data: Folder of the pairs.
        arguments: Of `FusionTrainingArguments`.
        evaluation: Folder of the evaluation pairs.
        crop: Side of the random crops.
        resume: Whether to resume.
        kill_at: Number (from 1) of the write below which the process kills itself.
        kill_inside: Number (from 1) of the file of weights or states half of which is written when the process kills itself.
        signal_at: Step in which the process sends `signal_number` to itself.
        signal_number: A signal.
        signal_rank: The process, of several, that does so.
        to_group: Whether the signal goes to the workers, too, as a terminal or a batch system sends it.
    """

    model: str
    data: str
    arguments: dict[str, Any]
    evaluation: str | None = None
    crop: int = 32
    resume: bool = False
    kill_at: int = 0
    kill_inside: int = 0
    signal_at: int = 0
    signal_number: int = 0
    signal_rank: int = 0
    to_group: bool = False

    @property
    def output(self) -> Path:
        return Path(self.arguments["output_dir"])

    @property
    def report(self) -> Path:
        """File beside the output folder that holds the error, or the number of writes."""
        rank = os.environ.get("RANK", "0")
        return self.output.with_name(f"{self.output.name}-{rank}.txt")


class Signalled(FusionTrainer):
    """Receives a signal in the middle of a step."""

    job: Job

    def _steps(self) -> Any:
        for batches in super()._steps():
            here = self.accelerator.process_index == self.job.signal_rank
            if here and self.progress.step + 1 == self.job.signal_at:
                if self.job.to_group:
                    os.killpg(0, self.job.signal_number)
                else:
                    os.kill(os.getpid(), self.job.signal_number)
            yield batches


def train(job: Job) -> None:
    """Run a job in this process; errors are reported and raised."""
    multiprocessing.set_start_method("fork", force=True)  # spawned workers would import everything again
    torch.set_num_threads(1)
    os.environ["ACCELERATE_USE_CPU"] = "true"
    writes: list[str] = []
    _watch_writes(job.output, writes, job.kill_at)
    if job.kill_inside:
        _kill_inside(job.kill_inside)
    if job.to_group:
        os.setpgid(0, 0)
    try:
        transform = Compose([RandomCrop(job.crop), RandomFlip(0.5)])
        trainer = Signalled(
            GFFusionModel.from_pretrained(job.model),
            FusionTrainingArguments(**job.arguments),
            FusionDataset(job.data, transform),
            FusionDataset(job.evaluation) if job.evaluation else None,
        )
        trainer.job = job
        trainer.train(resume_from_checkpoint=job.resume)
        report = {"processes": trainer.accelerator.num_processes, "writes": writes, **trainer_facts(trainer)}
        job.report.write_text(json.dumps(report))
    except BaseException:
        job.report.write_text(traceback.format_exc())
        raise


def trainer_facts(trainer: FusionTrainer) -> dict[str, Any]:
    return {"after": trainer.evaluate() if trainer.eval_dataset else {}, "step": trainer.progress.step}


def start(job: Job) -> BaseProcess:
    """Start a process for a job. It is forked from one that has imported the libraries."""
    path = [str(Path(__file__).parent), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    try:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["training_runs"])
        process = context.Process(target=train, args=(job,))
        process.start()
    finally:
        del os.environ["PYTHONPATH"]
        os.environ.update({} if before is None else {"PYTHONPATH": before})
    return process


def run(job: Job) -> int:
    """Run a job in its own process, and return its exit status, -9 if it was killed."""
    process = start(job)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a run but checkpoints, whose optimizer states differ in bytes."""
    files = [path for path in folder.rglob("*") if path.is_file() and "checkpoints" not in path.parts]
    files = [path for path in files if path.name != "README.md"]  # which holds the name of the run
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _watch_writes(folder: Path, writes: list[str], kill_at: int) -> None:
    """Note whatever this process opens to write, makes, renames or deletes below a folder, and kill it before one."""
    root = f"{folder}{os.sep}"

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir") or not arguments:
            return
        path = arguments[0]
        if not isinstance(path, str) or not os.path.abspath(path).startswith(root):
            return
        if event == "open" and not (arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        writes.append(f"{event} {path}")
        if len(writes) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _kill_inside(number: int) -> None:
    """Kill this process when half of the n-th file that torch or safetensors writes is there: no hook sees those."""
    import safetensors.torch
    import transformers.modeling_utils

    from gffusion.training import checkpoints

    count = 0

    def halved(write: Callable[..., Any], place: int) -> Callable[..., Any]:
        def halve(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            result = write(*arguments, **options)
            if count == number:
                path = arguments[place]
                os.truncate(path, os.path.getsize(path) // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return halve

    torch.save = halved(torch.save, 1)
    for module in (checkpoints, transformers.modeling_utils):
        name = "save_file" if hasattr(module, "save_file") else "safe_save_file"
        setattr(module, name, halved(safetensors.torch.save_file, 1))


if __name__ == "__main__":
    for description in json.loads(Path(sys.argv[1]).read_text()):
        with contextlib.suppress(SystemExit):  # the report holds the error
            train(Job(**description))
    if torch.distributed.is_initialized():  # as the command does: its threads would race with the end of Python
        torch.distributed.destroy_process_group()
