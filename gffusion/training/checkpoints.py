"""Checkpoints of a run: whole or not there at all, and the newest one is never touched before the next is whole."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

_WEIGHTS = "model.safetensors"
_STATE = "state.json"
_PREFIX = "step-"
# torch and safetensors report a full disk as errors of their own.
_DISK_ERRORS = (OSError, RuntimeError, SafetensorError)


class CheckpointError(OSError):
    """A checkpoint, or another file of a run, could not be written or read."""


class Checkpoints:
    """Writes and reads `folder/step-00000120`: weights that learn, optimiser, random states, and the run's own state.

    The frozen encoders are left out: they are what they were when the run began.

    Args:
        folder: Where they go.
        accelerator: Whose optimiser and random states they hold.
        model: The model, neither wrapped nor compiled.
    """

    def __init__(self, folder: Path, accelerator: Accelerator, model: GFFusionModel) -> None:
        self.folder = folder
        self._accelerator = accelerator
        self._model = model
        accelerator.register_save_state_pre_hook(self._save_weights)
        accelerator.register_load_state_pre_hook(self._load_weights)

    @property
    def newest(self) -> Path | None:
        """The newest checkpoint, `None` if there is none."""
        return max(self.folder.glob(f"{_PREFIX}*"), default=None)  # the names sort by step

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the checkpoint of a step, then delete older ones. All processes must call this.

        Args:
            step: Steps done.
            state: What [`load`] shall return, as JSON can hold it.

        Raises:
            CheckpointError: If it cannot be written. The checkpoint before it is still there.
        """
        name = f"{_PREFIX}{step:08d}"
        temporary = self.folder / f".{name}"
        is_main = self._accelerator.is_main_process
        with self.explained(f"write the checkpoint of step {step}"):
            if is_main:
                self.discard_unfinished()
                temporary.mkdir(parents=True)
            self._accelerator.wait_for_everyone()
            self._accelerator.save_state(str(temporary))  # every process has random states of its own to add
            self._accelerator.wait_for_everyone()
            if is_main:
                (temporary / _STATE).write_text(json.dumps(state), encoding="utf-8")
                self._delete(self.folder / name)
                os.rename(temporary, self.folder / name)
                for older in set(self.folder.glob(f"{_PREFIX}*")) - {self.folder / name}:
                    self._delete(older)

    def load(self, check: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Go back to the newest checkpoint.

        Args:
            check: Called with the run's state before anything is changed; raises what it does not like.

        Raises:
            CheckpointError: If there is none, or it cannot be read.
        """
        newest = self.newest
        if newest is None:
            raise CheckpointError(f"There is no checkpoint in {self.folder}.")
        with _reading(newest):
            state: dict[str, Any] = json.loads((newest / _STATE).read_text(encoding="utf-8"))
        check(state)
        with _reading(newest):
            self._accelerator.load_state(str(newest))
        return state

    def discard_unfinished(self) -> None:
        """Delete what a process left that was killed while it wrote."""
        for unfinished in self.folder.glob(f".{_PREFIX}*"):
            shutil.rmtree(unfinished)

    def clear(self) -> None:
        """Delete all checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _delete(self, checkpoint: Path) -> None:
        """Delete a checkpoint so that no part of it is ever taken for a whole one."""
        if checkpoint.exists():
            hidden = checkpoint.with_name(f".{checkpoint.name}-outdated")
            os.rename(checkpoint, hidden)
            shutil.rmtree(hidden)

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Name the last good checkpoint where something cannot be written.

        Args:
            what: What is done inside the `with` block, as in "Cannot ...".

        Raises:
            CheckpointError: For every error in the block that a disk may cause.
        """
        try:
            yield
        except _DISK_ERRORS as error:
            newest = self.newest
            good = (
                f"The last good checkpoint is {newest}; `resume_from_checkpoint` goes on from it."
                if newest
                else "No checkpoint yet."
            )
            raise CheckpointError(f"Cannot {what}: {' '.join(str(error).split())}. {good}") from error

    def _learned(self) -> dict[str, torch.Tensor]:
        frozen = tuple(f"{name}." for name in self._model.backbones)
        return {name: value for name, value in self._model.state_dict().items() if not name.startswith(frozen)}

    def _save_weights(self, models: list[Any], weights: list[Any], folder: str) -> None:
        weights.clear()  # Accelerate would write the encoders, too
        if self._accelerator.is_main_process:
            save_file({name: value.contiguous() for name, value in self._learned().items()}, Path(folder) / _WEIGHTS)

    def _load_weights(self, models: list[Any], folder: str) -> None:
        models.clear()
        weights = load_file(Path(folder) / _WEIGHTS)
        missing = self._learned().keys() ^ weights.keys()
        if missing:
            raise ValueError(f"its weights are those of another model; only one side has {', '.join(sorted(missing))}")
        self._model.load_state_dict(weights, strict=False)


@contextmanager
def _reading(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except (*_DISK_ERRORS, KeyError, ValueError) as error:
        raise CheckpointError(
            f"Cannot read the checkpoint {checkpoint}: {' '.join(str(error).split())}. Delete it to start anew."
        ) from error


def replace_folder(temporary: Path, final: Path) -> None:
    """Put a freshly written folder in the place of an older one."""
    outdated = _outdated(final)
    shutil.rmtree(outdated, ignore_errors=True)
    if final.exists():
        os.rename(final, outdated)
    os.rename(temporary, final)
    shutil.rmtree(outdated, ignore_errors=True)


def recover_folder(final: Path) -> None:
    """Mend what is left where a process was killed inside [`replace_folder`]."""
    outdated = _outdated(final)
    if outdated.exists() and not final.exists():
        os.rename(outdated, final)
    shutil.rmtree(outdated, ignore_errors=True)


def _outdated(final: Path) -> Path:
    return final.with_name(f".outdated-{final.name}")
