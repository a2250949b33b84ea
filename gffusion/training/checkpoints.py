"""Atomic checkpoints: the previous one is deleted only after the new one is complete."""

import errno
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import OPTIMIZER_NAME, RNG_STATE_NAME, load
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gffusion.models.gffusion.json_files import read_json_object
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.models.gffusion.weight_checks import check_finite, find_new_parts, read_headers
from gffusion.models.gffusion.wrappers import without_wrappers
from gffusion.utils.atomic import describe_error, synchronize, synchronize_entries
from gffusion.utils.memory import describe_ended_worker, describe_memory_error
from gffusion.utils.peers import is_lost_peer

from .progress import Progress

_WEIGHTS = "model.safetensors"
_STATE = "state.json"
# Checkpoints, and hidden ones that are incomplete or about to be deleted. Anything else in the folder is not ours.
_NAME, _HIDDEN_NAME = re.compile(r"step-\d{8,}"), re.compile(r"\.step-\d{8,}(-outdated)?")
_OUTDATED_NAME = re.compile(r"\.outdated-step-\d{8,}")  # while one of the same step takes its place
# torch and safetensors raise their own errors when the disk is full.
_DISK_ERRORS = (OSError, RuntimeError, SafetensorError)
_READ_ERRORS = (*_DISK_ERRORS, LookupError, ValueError, EOFError, pickle.UnpicklingError)
_MIN_FREE = 1 << 16  # bytes; a disk with less is full


class CheckpointError(OSError):
    """A checkpoint, or another file of a run, could not be written or read."""


class Checkpoints:
    """Write and read checkpoints such as `folder/step-00000120`, of a model that is not wrapped.

    A checkpoint contains the trained weights, optimizer, random states and state of the run. Frozen encoders are left out,
    because they do not change: the state has digests of them, see [`describe_run`].
    """

    def __init__(self, folder: Path, accelerator: Accelerator, model: GFFusionModel) -> None:
        self.folder, self._accelerator = folder, accelerator
        self._model = without_wrappers(model)
        accelerator.register_save_state_pre_hook(self._save_weights)
        accelerator.register_load_state_pre_hook(self._load_weights)

    @property
    def newest(self) -> Path | None:
        """The newest checkpoint, or `None`."""
        return max(self._find(_NAME), key=lambda path: int(path.name.removeprefix("step-")), default=None)

    def check_newest(self, path: "str | os.PathLike[str]") -> None:
        """Raise ValueError unless this is the path of the newest checkpoint."""
        newest = self.newest
        if newest is None or Path(path).resolve() != newest.resolve():
            raise ValueError(
                f"`resume_from_checkpoint` must be true, false or the newest checkpoint in {self.folder.parent}, which is "
                f"{newest or 'none yet'}, got {os.fspath(path)!r}. To continue another run, set `output_dir` to its folder; to start "
                "from its weights, set `model_name_or_path` to one of the folders best and last in it."
            )

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the checkpoint of a step, then delete older checkpoints. All processes must call this.

        The state, which [`load`] returns, must be JSON-serializable.

        Raises:
            CheckpointError: If the checkpoint cannot be written. The previous one is kept.
        """
        name = f"step-{step:08d}"
        temporary = self.folder / f".{name}"
        is_main = self._accelerator.is_main_process
        with self.explain_disk_errors(f"write the checkpoint of step {step}"):
            if is_main:
                self.delete_unfinished()
                temporary.mkdir(parents=True)
            try:
                self._accelerator.wait_for_everyone()
                self._accelerator.save_state(str(temporary))  # every process adds its own random states
                self._accelerator.wait_for_everyone()
                if is_main:
                    (temporary / _STATE).write_text(json.dumps(state), encoding="utf-8")
                    replace_folder(temporary, self.folder / name)
                    self.delete_unfinished()
            except _DISK_ERRORS as error:
                is_full = False
                with suppress(OSError):  # such as of a disk that was removed: `error` says why
                    is_full = not isinstance(error, OSError) and shutil.disk_usage(self.folder).free < _MIN_FREE
                if is_main:
                    shutil.rmtree(temporary, ignore_errors=True)  # so that it takes no room
                    with suppress(OSError):
                        self.recover()
                if is_full:  # of which torch says "unexpected pos 64 vs 0"
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(temporary)) from error
                raise

    def load(self, check: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Restore the newest checkpoint, and return the state of the run, after `check(state)`, which can raise ValueError.

        Raises:
            CheckpointError: If there is no checkpoint, it cannot be read, or it does not fit the model.
        """
        if (newest := self.newest) is None:
            raise CheckpointError(f"There is no checkpoint in {self.folder}.")
        process_index = self._accelerator.process_index
        with _explain_read_errors(newest, process_index):
            state = read_json_object(newest / _STATE)
        check(state)
        with _explain_read_errors(newest, process_index):
            # Accelerate reads only plain values from pickles, but goes on without random states that it cannot read.
            load(newest / f"{RNG_STATE_NAME}_{process_index}.pkl")
            self._accelerator.load_state(str(newest))
        return state

    def read_progress(self, state: dict[str, Any]) -> Progress:
        """Return the progress in the state of the newest checkpoint, or raise CheckpointError if that is not complete."""
        try:
            progress = Progress.from_state(state)
            if self.newest is None or self.newest.name != f"step-{progress.step:08d}":
                raise ValueError(f"its {_STATE} is of step {progress.step}")
        except ValueError as error:
            raise CheckpointError(
                f"Cannot read the checkpoint {self.newest}: {str(error).rstrip('.')}. Delete it to start over."
            ) from error
        return progress

    def recover(self) -> None:
        """Restore a checkpoint if a process was killed while it replaced it by one of the same step."""
        for outdated in self._find(_OUTDATED_NAME):
            recover_folder(outdated.with_name(outdated.name.removeprefix(".outdated-")))

    def delete_unfinished(self) -> None:
        """Delete incomplete checkpoints, and older ones than the newest, which killed and failed processes left."""
        for unfinished in self._find(_HIDDEN_NAME):
            shutil.rmtree(unfinished)
        for older in set(self._find(_NAME)) - {self.newest}:
            self._delete(older)

    def clear(self) -> None:
        """Delete all checkpoints."""
        for checkpoint in self._find(_NAME):
            self._delete(checkpoint)

    def _find(self, name: re.Pattern[str]) -> list[Path]:
        # Unlike `glob`, `iterdir` raises if the folder cannot be read, in which a run would seem to have no checkpoint.
        paths = self.folder.iterdir() if self.folder.is_dir() else ()
        return [path for path in paths if name.fullmatch(path.name) and path.is_dir()]

    def _delete(self, checkpoint: Path) -> None:
        """Delete a checkpoint atomically: rename it first, so that a partly deleted one is never read."""
        hidden = checkpoint.with_name(f".{checkpoint.name}-outdated")
        os.rename(checkpoint, hidden)
        shutil.rmtree(hidden)

    @contextmanager
    def explain_disk_errors(self, action: str) -> Iterator[None]:
        """Turn disk errors inside the `with` block into a CheckpointError that names the last good checkpoint.

        `action` completes the message "Cannot ...".
        """
        try:
            yield
        except _DISK_ERRORS as error:
            if describe_ended_worker(error) or is_lost_peer(error):  # torch raises them wherever the trainer is
                raise
            good = "No checkpoint yet."
            if newest := self.newest:
                good = f"The last good checkpoint is {newest}; `resume_from_checkpoint` continues from it."
            reason = " ".join(describe_error(error).split()).rstrip(".")
            raise CheckpointError(f"Cannot {action} in {self.folder.parent}: {reason}. {good}") from error

    def _trained_weights(self) -> dict[str, torch.Tensor]:
        frozen = tuple(f"{name}." for name in self._model.backbones)
        return {name: value for name, value in self._model.state_dict().items() if not name.startswith(frozen)}

    def _save_weights(self, models: list[Any], weights: list[Any], folder: str) -> None:
        weights.clear()  # Accelerate would also write the encoders
        if self._accelerator.is_main_process:
            trained = {name: value.contiguous() for name, value in self._trained_weights().items()}
            save_file(trained, Path(folder) / _WEIGHTS)

    def _load_weights(self, models: list[Any], folder: str) -> None:
        models.clear()
        trained, found = self._trained_weights(), read_headers([Path(folder) / _WEIGHTS])
        if missing := sorted(trained.keys() ^ found.keys()):
            shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
            raise ValueError(f"its weights belong to another model; only one side has {shown}")
        find_new_parts(trained, found)
        weights = load_file(Path(folder) / _WEIGHTS)
        check_finite(weights)
        self._model.load_state_dict(weights, strict=False)


@contextmanager
def _explain_read_errors(checkpoint: Path, process_index: int) -> Iterator[None]:
    try:
        yield
    except _READ_ERRORS as error:
        if describe_memory_error(error) is not None:  # says nothing about the checkpoint
            raise
        reason = " ".join(str(error).split()).rstrip(".")
        if _is_readable(checkpoint, process_index):
            raise CheckpointError(
                f"The checkpoint {checkpoint} is intact, but does not fit this model or what is trained of it: {reason}. "
                "Give the model the parts, frozen parameters and labels that the run began with."
            ) from error
        raise CheckpointError(f"Cannot read the checkpoint {checkpoint}: {reason}. Delete it to start over.") from error


def _is_readable(checkpoint: Path, process_index: int) -> bool:
    """Return whether the files of a checkpoint are complete, and its weights finite."""
    try:
        read_json_object(checkpoint / _STATE)
        check_finite(load_file(checkpoint / _WEIGHTS))
        for name in (f"{OPTIMIZER_NAME}.bin", f"{RNG_STATE_NAME}_{process_index}.pkl"):
            load(checkpoint / name, map_location="cpu")
    except _READ_ERRORS:
        return False
    return True


def replace_folder(temporary: Path, final: Path) -> None:
    """Replace a folder with a newly written one, so that one of the versions survives a kill; entries that the new one lacks stay."""
    outdated = _outdated(final)
    synchronize(temporary)
    recover_folder(final)
    if final.exists():
        os.rename(final, outdated)
    os.rename(temporary, final)
    synchronize_entries(final.parent)
    _discard(outdated, final)


def recover_folder(final: Path) -> None:
    """Restore the previous folder if a process was killed inside [`replace_folder`]."""
    outdated = _outdated(final)
    if outdated.exists() and not final.exists():
        os.rename(outdated, final)
    _discard(outdated, final)


def _discard(outdated: Path, final: Path) -> None:
    """Delete a previous version, but move what the new one lacks, such as notes of the user, into that."""
    for path in outdated.iterdir() if outdated.is_dir() and not outdated.is_symlink() else ():
        if not os.path.lexists(final / path.name):
            os.rename(path, final / path.name)
    remove_folder(outdated)


def remove_folder(path: Path) -> None:
    """Remove a folder as far as possible, or a link to one but not the folder that it leads to."""
    if path.is_symlink():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


def _outdated(final: Path) -> Path:
    return final.with_name(f".outdated-{final.name}")
