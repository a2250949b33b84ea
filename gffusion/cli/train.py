"""`gffusion train`: train a model with a recipe and options."""

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gffusion.utils.memory import describe_ended_worker
from gffusion.utils.notes import format_count
from gffusion.utils.signals import ended_by_signals

from .distributed import find_launched, wait_for_launcher
from .errors import received_code, user_errors
from .library_logging import quiet_libraries
from .messages import name_options
from .outputs import new_output
from .printing import name_process

if TYPE_CHECKING:
    from gffusion.training import FusionTrainer
    from gffusion.training.recipe import Recipe

_PROGRAM = "gffusion train"

# Recipe.parse defines the options and prints the help.
CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def train(context: typer.Context) -> None:
    """Train or fine-tune a model: `--config RECIPE`, and options that override it; `--help` lists them.

    Runs on one device; for several, use `accelerate launch -m gffusion train ...`. Ctrl-C finishes the step and writes a
    checkpoint, from which `--resume_from_checkpoint` continues. Exit code: 0 on success, 2 if the run cannot start,
    continue or be published.
    """
    from gffusion.training.options import find_options
    from gffusion.training.recipe import list_options  # here, to keep `gffusion --help` fast

    name_options({name: f"--{name}" for name in list_options()} | find_options(context.args))
    rank, size = find_launched()
    if size > 1:
        name_process(rank, size)
    with user_errors(), _one_interruption(rank):
        recipe = _parse(context.args, rank)
        if size > 1:
            _connect()
        with new_output(Path(recipe.training.output_dir), "--output_dir"):
            _train(recipe)


@contextmanager
def _one_interruption(rank: int) -> Iterator[None]:
    """Let only the first of several processes print that the run was interrupted: launchers end all others if one ends."""
    try:
        yield
    except KeyboardInterrupt:
        if not rank:
            raise
        raise typer.Exit(received_code()) from None


def _parse(words: Sequence[str], rank: int) -> "Recipe":
    """Return the recipe; of several processes with the same wrong option, the first one prints the error."""
    from gffusion.training.recipe import Recipe

    if not rank:
        return Recipe.parse(words, _PROGRAM)
    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
            return Recipe.parse(words, _PROGRAM)
    except SystemExit as stop:
        if stop.code:  # not after `--help`
            wait_for_launcher()
        print(printed.getvalue(), end="", file=sys.stderr)
        raise


def _connect() -> None:
    """Connect several processes."""
    from gffusion.training.processes import is_alone  # imports torch

    try:
        with ended_by_signals():
            is_alone()
    except RuntimeError as error:  # of torch, such as about a port that is in use
        cause, *_ = str(error).split("\n")
        raise ConnectionError(f"no connection to the other processes: {cause}") from None


def _train(recipe: "Recipe") -> None:
    quiet_libraries()
    from gffusion.training.building import build_trainer  # imports torch: after the options are checked

    trainer = build_trainer(recipe)
    for name, dataset in (("training", trainer.train_dataset), ("evaluation", trainer.eval_dataset)):
        if description := getattr(dataset, "range_description", None):
            trainer.accelerator.print(f"{name}: {description}")
    trainer.accelerator.print(_describe_length(trainer))
    with _ended_workers():
        trainer.train()
    trainer.accelerator.print(f"best weights: {trainer.output_dir / 'best'}")
    trainer.accelerator.state.destroy_process_group()  # its threads would race with the end of Python


@contextmanager
def _ended_workers() -> Iterator[None]:
    """Turn the end of a process that loads data into an error of users."""
    try:
        yield
    except RuntimeError as error:
        if (found := describe_ended_worker(error)) is None:
            raise
        raise ChildProcessError(
            f"{found}; if memory ran out, lower --dataloader_num_workers; --resume_from_checkpoint true continues the run"
        ) from None


def _describe_length(trainer: "FusionTrainer") -> str:
    """Return the number of pairs, epochs and steps, and how many pairs an epoch uses if that is not all."""
    pairs, used = trainer.sampler.length, trainer.steps_per_epoch * trainer.sampler.global_batch
    epochs, steps = format_count(trainer.args.num_train_epochs, "epoch"), format_count(trainer.steps_per_epoch, "step")
    text = f"training on {format_count(pairs, 'pair')}: {epochs} of {steps}"
    if used < pairs:
        text += (
            f"; each epoch uses {format_count(used, 'pair')}, and not always the same, because the rest ({pairs - used}) does not fill a step: "
            "to use more, lower --per_device_train_batch_size"
        )
    return text
