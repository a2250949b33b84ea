"""Output folder of a run, with its log and weights."""

import json
import logging
import os
import re
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers.utils import logging as transformers_logging

from gffusion.data import write_image
from gffusion.hub.inspection import TRAINING_STATE
from gffusion.hub.publishing import CARD
from gffusion.hub.rendering import is_unedited
from gffusion.models.gffusion.configuration_gffusion import OUR_TERMS
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.json_files import read_json_object
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.utils.atomic import remove_leftovers, replace_file, replace_link
from gffusion.utils.locks import FolderLock

from .arguments import FusionTrainingArguments
from .checkpoints import Checkpoints, recover_folder, remove_folder, replace_folder
from .recipe import RECIPE_START, update_yaml

logger = logging.getLogger(__name__)

LOG = "log.jsonl"
RECIPE = "recipe.yaml"
IMAGES = "images"
CHECKPOINTS = "checkpoints"
WEIGHTS = ("best", "last")

# Files of weights and images as runs write them. Others are not ours.
_WEIGHT_FILE = re.compile(
    r"(preprocessor_)?config\.json|model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json|"
    + re.escape(TRAINING_STATE)
)
_IMAGE_FILE = re.compile(r"step-\d{8,}\.png")


def read_log(log: Path) -> list[dict[str, Any]]:
    """Return the records of a `log.jsonl`, without an incomplete last line.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If a line is no record.
    """
    if not log.is_file():
        raise FileNotFoundError(f"{log} does not exist: give the folder of a run, or its {LOG}")
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    return [_parse_record(log, line) for line in lines if line.endswith("\n")]


def name_loss(logs: Iterable[Path]) -> str:
    """Return a label of the structural loss of several runs, from the configurations of their weights."""
    names = {_name_loss(log.parent) for log in logs}
    return names.pop() if len(names) == 1 else "L_st"


def _name_loss(run: Path) -> str:
    for name in WEIGHTS:
        with suppress(OSError):
            config = read_json_object(run / name / "config.json")
            is_ours = any(config.get(f"{term}_weight") for term in OUR_TERMS)
            return "L_st (Eq. 10) and our terms" if is_ours else "L_st (Eq. 10)"
    return "L_st"


class RunFolder:
    """Atomic writer of log, weights and recipe, for the main process only. The folder is created if missing.

    Attributes:
        path: The folder.
        recipe: Text of the recipe, see [`Recipe.to_yaml`], or an empty text.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.recipe = path, ""
        try:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise OSError(f"Cannot write to the output folder {path}: {error}. Choose another `output_dir`.") from error

    def lock(self) -> FolderLock:
        """Return a lock that keeps other processes from training into the folder, or raise ValueError if one does."""
        try:
            return FolderLock(self.path)
        except BlockingIOError:
            raise ValueError(
                f"Another process trains into {self.path}: wait for it, or choose another `output_dir`."
            ) from None

    def check_start(self, newest: Path | None, resumes: bool, overwrites: bool, model: GFFusionModel) -> None:
        """Raise ValueError if a new run of a model must not start here: `newest` is the checkpoint in the folder, if any."""
        if overwrites:
            self._check_overwritten()
        elif newest:
            raise ValueError(
                f"{self.path} holds a run, at {newest.name}. Continue it with `resume_from_checkpoint`, choose another "
                "`output_dir`, or set `overwrite_output_dir` to delete it."
            )
        else:
            self._check_unused(resumes)
        self._check_sources(model)

    def _check_sources(self, model: GFFusionModel) -> None:
        """Raise ValueError if the folders of weights, which are replaced, have those of the model or its encoders."""
        replaced = [(self.path / name).resolve() for name in WEIGHTS]
        config = model.config
        for source in filter(None, (model.name_or_path, config.clip_name_or_path, config.dinov2_name_or_path)):
            files = [file for file in Path(source).glob("*") if file.is_file()]
            if any(file.resolve().is_relative_to(folder) for file in files for folder in replaced):
                raise ValueError(
                    f"A new run in {self.path} deletes its weights, but starts from {source}, which has them: choose another "
                    "`output_dir`."
                )

    def _check_overwritten(self) -> None:
        """Raise ValueError if files would be deleted that no run wrote, as far as one can tell."""
        found = [path for path in (self.path / LOG, *self._find_weights()) if path.is_file()]
        found += [path for path in (self.path / name for name in WEIGHTS) if path.is_file()]
        if found and not self._is_run():
            names = ", ".join(path.relative_to(self.path).as_posix() for path in found)
            raise ValueError(
                f"`overwrite_output_dir` deletes the run in {self.path}, but that holds {names} and no sign of a run (a readable {LOG}, "
                f"{TRAINING_STATE} in {' or '.join(WEIGHTS)}, or a checkpoint). Choose another `output_dir`, or move these files."
            )

    def _is_run(self) -> bool:
        """Return whether a run has left log, weights or a checkpoint."""
        states = [self.path / name / TRAINING_STATE for name in WEIGHTS]
        is_run = any(state.is_file() for state in states) or any((self.path / CHECKPOINTS).glob("step-*/state.json"))
        return is_run or ((self.path / LOG).is_file() and _is_log(self.path / LOG))

    def _find_weights(self) -> list[Path]:
        folders = [folder for folder in (self.path / name for name in WEIGHTS) if folder.is_dir()]
        return sorted(path for folder in folders for path in folder.iterdir() if _WEIGHT_FILE.fullmatch(path.name))

    def _check_unused(self, resumes: bool) -> None:
        """Raise ValueError if a new run would replace something.

        A run that `resumes` may replace what it left when it was stopped before its first checkpoint.
        """
        found = [name for name in WEIGHTS if self._has_weights(name) and not (resumes and self._is_unfinished(name))]
        if (log := self.path / LOG).exists() and not (resumes and _is_log(log)):
            found.append(LOG)
        if not resumes and (folder := self.path / CHECKPOINTS).is_dir() and any(folder.iterdir()):
            found.append(CHECKPOINTS)
        if found:
            advice = "Choose another `output_dir`, or set `overwrite_output_dir` to replace them."
            if not resumes and self._was_stopped_early():
                advice = (
                    "They are of a run that was stopped before its first checkpoint: set `resume_from_checkpoint` to start it "
                    "again, or choose another `output_dir`."
                )
            raise ValueError(f"{self.path} holds {', '.join(found)}, but no checkpoint to continue from. {advice}")

    def _was_stopped_early(self) -> bool:
        """Return whether a run that resumes would replace everything."""
        try:
            self._check_unused(resumes=True)
        except ValueError:
            return False
        return _is_log(self.path / LOG)

    def prepare(
        self, checkpoints: Checkpoints, step: int, total_steps: int, arguments: FusionTrainingArguments
    ) -> dict[str, int]:
        """Drop what a run that continues after a step does not keep, or another run if the step is 0, and write the recipe.

        Returns the step of the weights in each folder.
        """
        checkpoints.delete_unfinished()
        if step:
            self.truncate_log(step)
        else:
            checkpoints.clear()
            self.clear()
        self.write_recipe(arguments)
        return self.mark_weights(False, total_steps)

    def clear(self) -> None:
        """Delete log, images, weights and recipe of another run, and no other files: edited model cards stay, for example.

        A recipe that [`~RunFolder.write_recipe`] will replace stays as well: this run can have been started from it.
        """
        if not self.recipe and _is_recipe(self.path / RECIPE):
            (self.path / RECIPE).unlink()
        if not self._is_run():
            return
        images = [path for path in (self.path / IMAGES).glob("*") if _IMAGE_FILE.fullmatch(path.name)]
        cards = [card for card in (self.path / name / CARD for name in WEIGHTS) if card.is_file()]
        unedited = [card for card in cards if is_unedited(card.read_bytes())]
        for path in (*images, *unedited, *self._find_weights(), self.path / LOG):
            path.unlink(missing_ok=True)

    def _has_weights(self, name: str) -> bool:
        folder = self.path / name
        return folder.exists() and (not folder.is_dir() or any(path.name != CARD for path in folder.iterdir()))

    def _is_unfinished(self, name: str) -> bool:
        state = self.path / name / TRAINING_STATE
        return state.is_file() and read_json_object(state).get("finished") is False

    def write_recipe(self, arguments: FusionTrainingArguments) -> None:
        """Write the recipe, if there is one, else update that of the resumed run; a file that no run wrote stays, with a warning."""
        file, recipe = self.path / RECIPE, self.recipe
        if not recipe and _is_recipe(file):
            try:
                recipe = update_yaml(file.read_text(encoding="utf-8"), arguments)
            except ValueError as error:
                logger.warning("%s is damaged (%s), and does not have the options of this run: remove it.", file, error)
        if recipe and os.path.lexists(file) and not _is_recipe(file):
            logger.warning("%s was not written by a run and is kept: the options of this run are not saved.", file)
        elif recipe:
            replace_file(file, recipe.encode())

    def append_log(self, record: dict[str, Any]) -> None:
        """Append a record to the log."""
        replace_link(self.path / LOG)
        with open(self.path / LOG, "a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")
            log.flush()
            os.fsync(log.fileno())  # the checkpoint that follows relies on it

    def write_image(self, step: int, image: NDArray[np.uint8]) -> None:
        """Write the image of a step."""
        (self.path / IMAGES).mkdir(exist_ok=True)
        write_image(self.path / IMAGES / f"step-{step:08d}.png", image)

    def truncate_log(self, step: int) -> None:
        """Drop the records after a step, and an incomplete last line."""
        log = self.path / LOG
        if log.exists():
            kept = [record for record in read_log(log) if record["step"] <= step]
            replace_file(log, "".join(json.dumps(record) + "\n" for record in kept).encode())

    def read_log(self) -> list[dict[str, Any]]:
        """Return the records of the log."""
        log = self.path / LOG
        return read_log(log) if log.exists() else []

    def write_weights(
        self, name: str, model: GFFusionModel, processor: GFFusionImageProcessor, state: dict[str, Any]
    ) -> None:
        """Write a folder for `from_pretrained`, replacing the files of the previous one; others, and its model card, stay.

        The model must be neither wrapped nor compiled. The state is written to `training_state.json`.
        """
        temporary, final = self.path / f".{name}", self.path / name
        remove_folder(temporary)
        # A bar of transformers would break that of the training.
        hook = transformers_logging.set_tqdm_hook(lambda bar, args, kwargs: bar(*args, **kwargs | {"disable": True}))
        try:
            model.save_pretrained(temporary)
        finally:
            transformers_logging.set_tqdm_hook(hook)
        processor.save_pretrained(temporary)
        (temporary / TRAINING_STATE).write_text(json.dumps(state) + "\n", encoding="utf-8")
        replace_folder(temporary, final)

    def mark_weights(self, finished: bool, total_steps: int) -> dict[str, int]:
        """Note in the weights folders whether the run is finished, and return the step of the weights in each."""
        steps = {}
        for name in WEIGHTS:
            file = self.path / name / TRAINING_STATE
            if file.is_file():
                state = read_json_object(file) | {"finished": finished, "total_steps": total_steps}
                if type(state.get("step")) is not int:
                    raise ValueError(f"{file} is damaged: `step` must be a number. Remove the file to continue.")
                replace_file(file, f"{json.dumps(state)}\n".encode())
                steps[name] = state["step"]
        return steps

    def recover(self) -> None:
        """Repair the folder after a killed process."""
        for name in WEIGHTS:
            remove_folder(self.path / f".{name}")
            recover_folder(self.path / name)
        for name in ("", IMAGES, *WEIGHTS):  # log, images and cards
            remove_leftovers(self.path / name)


def _is_recipe(file: Path) -> bool:
    """Return whether a run wrote a recipe."""
    with suppress(OSError):
        if file.is_file() and not file.is_symlink():
            with file.open("rb") as content:
                return content.read(len(RECIPE_START)) == RECIPE_START.encode()
    return False


def _is_log(log: Path) -> bool:
    try:
        read_log(log)
    except (OSError, ValueError):
        return False
    return True


def _parse_record(log: Path, line: str) -> dict[str, Any]:
    """Return the record in a line of the log, or raise ValueError if it is none."""
    record: Any = None
    with suppress(ValueError, RecursionError):
        record = json.loads(line)
    is_record = (
        isinstance(record, dict)
        and isinstance(record.get("step"), int)
        and "epoch" in record
        and all(isinstance(value, int | float) for value in record.values())
    )
    if not is_record:
        raise ValueError(
            f"{log} is damaged: {line.strip()[:80]!r} is no record of numbers with `step` and `epoch`; remove this line."
        )
    return record


def summarize(epoch: int, num_train_epochs: int, record: dict[str, Any]) -> str:
    """Return a log record as one readable line; the epoch before the first one is -1.

    Examples:
        >>> summarize(0, 20, {"loss": 1.5, "eval_SSIM": 0.25})
        'epoch 1/20: loss 1.5000, SSIM 0.2500'
    """
    names = {"loss": "loss", "eval_loss_structural": "validation L_st", "eval_SSIM": "SSIM", "eval_mIoU": "mIoU"}
    figures = ", ".join(f"{text} {record[name]:.4f}" for name, text in names.items() if name in record)
    return f"{f'epoch {epoch + 1}/{num_train_epochs}' if epoch >= 0 else 'before training'}: {figures}"
