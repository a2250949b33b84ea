"""Output folder of a run with its log and weights, and the check that a resumed run has the same settings."""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from gffusion.hub.inspection import TRAINING_STATE
from gffusion.hub.publishing import CARD
from gffusion.hub.rendering import is_unedited
from gffusion.models.gffusion.config_limits import read_json_object
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.utils.atomic import remove_leftovers, replace_file
from gffusion.utils.locks import FolderLock

from .arguments import FusionTrainingArguments
from .card import IRRELEVANT
from .checked_dataset import read_item
from .checkpoints import recover_folder, replace_folder

LOG = "log.jsonl"
IMAGES = "images"
CHECKPOINTS = "checkpoints"
WEIGHTS = ("best", "last")

_PAIRS, _OF_EVALUATION = "pairs", " of the evaluation"  # in descriptions of runs
_EVALUATED = _PAIRS + _OF_EVALUATION

_ENCODERS = ("clip_config.", "dinov2_config.")  # their fields in descriptions

# Fields of a configuration, and of the encoders in it, that do not affect the weights.
_UNIMPORTANT = {"architectures", "dtype", "transformers_version", "backbone_weights", "_name_or_path"}

# Options that can change when a run is resumed; `num_train_epochs` within limits, see `check_same_run`.
_FREE = IRRELEVANT | {"output_dir", "num_train_epochs", "save_steps", "dataloader_num_workers"}
_FREE |= {"eval_strategy", "eval_epochs", "eval_steps", "eval_metrics"}


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


class RunFolder:
    """Atomic writer of log and weights, for the main process only. The folder is created if missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise OSError(f"Cannot write to the output folder {path}: {error}. Choose another `output_dir`.") from error

    def lock(self) -> FolderLock:
        """Return a lock that keeps other processes from training into the folder.

        Raises:
            ValueError: If another process does.
        """
        try:
            return FolderLock(self.path)
        except BlockingIOError:
            raise ValueError(
                f"Another process trains into {self.path}: wait for it, or choose another `output_dir`."
            ) from None

    def check_unused(self, resumes: bool) -> None:
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
            self.check_unused(resumes=True)
        except ValueError:
            return False
        return _is_log(self.path / LOG)

    def clear(self) -> None:
        """Delete log, images and weights of another run, but not edited model cards."""
        (self.path / LOG).unlink(missing_ok=True)
        for image in (self.path / IMAGES).glob("step-*.png"):
            if image.stem.removeprefix("step-").isdecimal():
                image.unlink()
        for folder in (self.path / name for name in WEIGHTS):
            for path in folder.iterdir() if folder.is_dir() else ():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != CARD or is_unedited(path.read_bytes()):
                    path.unlink()

    def _has_weights(self, name: str) -> bool:
        folder = self.path / name
        return folder.exists() and (not folder.is_dir() or any(path.name != CARD for path in folder.iterdir()))

    def _is_unfinished(self, name: str) -> bool:
        state = self.path / name / TRAINING_STATE
        return state.is_file() and read_json_object(state).get("finished") is False

    def append_log(self, record: dict[str, Any]) -> None:
        """Append a record to the log."""
        with open(self.path / LOG, "a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")
            log.flush()
            os.fsync(log.fileno())  # the checkpoint that follows relies on it

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
        """Write a folder for `from_pretrained`, replacing the previous one except for its model card.

        The model must be neither wrapped nor compiled. The state is written to `training_state.json`.
        """
        temporary, final = self.path / f".{name}", self.path / name
        shutil.rmtree(temporary, ignore_errors=True)
        model.save_pretrained(temporary)
        processor.save_pretrained(temporary)
        if (final / CARD).exists():
            shutil.copy2(final / CARD, temporary / CARD)
        (temporary / TRAINING_STATE).write_text(json.dumps(state) + "\n", encoding="utf-8")
        replace_folder(temporary, final)

    def mark_weights(self, finished: bool, total_steps: int) -> dict[str, int]:
        """Note in the weights folders whether the run is finished, and return the step of the weights in each."""
        steps = {}
        for name in WEIGHTS:
            file = self.path / name / TRAINING_STATE
            if file.is_file():
                state = read_json_object(file) | {"finished": finished, "total_steps": total_steps}
                replace_file(file, f"{json.dumps(state)}\n".encode())
                steps[name] = state["step"]
        return steps

    def recover(self) -> None:
        """Repair the folder after a killed process."""
        for name in WEIGHTS:
            shutil.rmtree(self.path / f".{name}", ignore_errors=True)
            recover_folder(self.path / name)
        for name in ("", IMAGES, *WEIGHTS):  # log, images and cards
            remove_leftovers(self.path / name)


def _is_log(log: Path) -> bool:
    try:
        read_log(log)
    except (OSError, ValueError):
        return False
    return True


def describe_run(
    arguments: FusionTrainingArguments,
    model: GFFusionModel,
    dataset: Dataset[dict[str, Any]],
    evaluation: Dataset[dict[str, Any]] | None,
    num_processes: int,
) -> dict[str, Any]:
    """Return everything that affects the weights of a run and which are the best, except initial weights and image contents."""
    unimportant = _UNIMPORTANT
    if not model.config.use_segmenter:
        unimportant = unimportant | {"id2label", "label2id"}  # such a run reads no label maps
    evaluated = {} if evaluation is None else _describe_data(evaluation)
    return {
        **{name: value for name, value in dataclasses.asdict(arguments).items() if name not in _FREE},
        "processes": num_processes,
        "tokens from a cache": arguments.token_cache is not None,  # cached tokens are rounded
        "size of a training image": list(read_item(dataset, 0)["visible_values"].shape[1:]),
        **_describe_data(dataset),
        **{f"{name}{_OF_EVALUATION}": value for name, value in evaluated.items()},
        "model": {
            name: value
            for name, value in model.config.to_dict().items()
            if name not in unimportant and not name.endswith(("name_or_path", "revision"))
        },
    }


def _describe_data(dataset: Dataset[dict[str, Any]]) -> dict[str, Any]:
    names = json.dumps(list(getattr(dataset, "names", ())))
    return {
        _PAIRS: len(dataset),  # type: ignore[arg-type]
        "names of the pairs": hashlib.blake2b(names.encode(), digest_size=8).hexdigest(),
        **getattr(dataset, "settings", {}),
    }


def _parse_record(log: Path, line: str) -> dict[str, Any]:
    """Return the record in a line of the log.

    Raises:
        ValueError: If it is none.
    """
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


def check_same_run(
    before: dict[str, Any], now: dict[str, Any], epochs_before: int, arguments: FusionTrainingArguments, epochs: float
) -> None:
    """Raise ValueError unless a run resumed after `epochs` gives the same weights and the same best ones as one that was never stopped.

    `before` is [`describe_run`] of the checkpoint, and `epochs_before` its `num_train_epochs`; `now` and `arguments` are of
    this process.
    """
    before, now = json.loads(json.dumps(before)), json.loads(json.dumps(now))
    before, now = before | _flatten(before.pop("model")), now | _flatten(now.pop("model"))
    names, differences = before.keys() | now.keys(), []
    names -= {
        name for name in before.keys() ^ now.keys() if name.startswith(_ENCODERS)
    }  # `paradigm` or `use_segmenter` differs
    if (_EVALUATED in before) != (_EVALUATED in now):
        names = {name for name in names if not name.endswith(_OF_EVALUATION)}
        differences.append(
            "the run had no evaluation and has one: leave the evaluation data out, or set `eval_strategy` to 'no'"
            if _EVALUATED in now
            else "the run had an evaluation and has none: give the evaluation data, and an `eval_strategy` that is not 'no'"
        )
    differences += [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in sorted(names)
        if before.get(name) != now.get(name)
    ]
    # Rates and lambda depend on the number of epochs from `head_start_epoch` on.
    if epochs > arguments.num_train_epochs:
        differences.append(f"num_train_epochs is {arguments.num_train_epochs}, and {epochs:g} epochs were trained")
    elif epochs_before != arguments.num_train_epochs and int(epochs) > arguments.head_start_epoch:
        differences.append(
            f"num_train_epochs was {epochs_before} and is {arguments.num_train_epochs}, after epoch {arguments.head_start_epoch} "
            "(head_start_epoch), from which the rates depend on it"
        )
    if differences:
        raise ValueError(
            f"This run cannot be resumed with other options or data: {'; '.join(differences)}. Restore them, or start a "
            "new run from its weights in another `output_dir`: set `model_name_or_path` to its folder last, or load that with "
            "create_model."
        )


def _flatten(config: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a configuration, those of its encoders with names such as "clip_config.hidden_size"."""
    fields: dict[str, Any] = {}
    for name, value in config.items():
        if f"{name}." in _ENCODERS:
            fields |= {f"{name}.{key}": field for key, field in (value or {}).items() if key not in _UNIMPORTANT}
        else:
            fields[name] = value
    return fields


def summarize(epoch: int, num_train_epochs: int, record: dict[str, Any]) -> str:
    """Return a log record as one readable line; the epoch before the first one is -1.

    Example:
        >>> summarize(0, 20, {"loss": 1.5, "eval_SSIM": 0.25})
        'epoch 1/20: loss 1.5000, SSIM 0.2500'
    """
    names = {"loss": "loss", "eval_loss_structural": "validation L_st", "eval_SSIM": "SSIM", "eval_mIoU": "mIoU"}
    figures = ", ".join(f"{text} {record[name]:.4f}" for name, text in names.items() if name in record)
    return f"{f'epoch {epoch + 1}/{num_train_epochs}' if epoch >= 0 else 'before training'}: {figures}"
