"""The trackers of a run, such as TensorBoard or Weights & Biases."""

import dataclasses
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import LoggerType
from numpy.typing import NDArray
from transformers import PreTrainedConfig

from gffusion._version import __version__
from gffusion.utils.escaping import first_line
from gffusion.utils.yaml_text import load_yaml

from .arguments import FusionTrainingArguments
from .recipe import OF_ONE_RUN
from .sampling import keep_random_state

logger = logging.getLogger(__name__)

_PROJECT = "gffusion"
_PROJECT_VARIABLES = {"wandb": "WANDB_PROJECT", "comet_ml": "COMET_PROJECT_NAME", "swanlab": "SWANLAB_PROJECT"}
_RUN_ATTRIBUTES = {"wandb": "run", "mlflow": "active_run", "trackio": "run"}  # of Accelerate's trackers
_MAX_CHARACTERS = 500  # of a text; older versions of MLflow take no more


def check_trackers(names: list[str]) -> None:
    """Raise ValueError if a tracker is unknown or not installed."""
    available = [str(name) for name in get_available_trackers()]
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(map(str, LOGGER_TYPE_TO_CLASS))
            raise ValueError(f"`report_to` does not know {name!r}. Allowed are none, {known}.")
        if name not in available and name in LoggerType.list():  # others are registered in Python
            package = '"gffusion[tensorboard]"' if name == "tensorboard" else name
            raise ValueError(f"The tracker {name!r} of `report_to` is not installed: pip install {package}")


def describe_options(
    arguments: FusionTrainingArguments, recipe: str, config: PreTrainedConfig, dataset: Any
) -> dict[str, int | float | str]:
    """Return the options of a run as trackers take them: those of its recipe, or else of Python, and the fields of the model.

    Options that place, continue, replace or publish a run are left out: a tracker's run that is continued keeps its options.

    Examples:
        >>> from gffusion import GFFusionConfig
        >>> arguments, config = FusionTrainingArguments("run", seed=3), GFFusionConfig(merging="mean")
        >>> options = describe_options(arguments, "crop_size: 96", config, [None])
        >>> options["seed"], options["crop_size"], options["model_config.merging"], options["training_pairs"]
        (3, 96, 'mean', 1)
    """
    start = {"model_name_or_path": config.name_or_path or None}
    options: dict[str, Any] = load_yaml(recipe) if recipe else {**start, **getattr(dataset, "settings", {})}
    options |= dataclasses.asdict(arguments)
    options.pop("model_config", None)  # a part of the fields
    ignored = {"transformers_version", *PreTrainedConfig().to_dict()} - {"id2label"}
    fields = {name: value for name, value in config.to_dict().items() if name not in ignored}
    options |= {f"model_config.{name}": value for name, value in fields.items() if not name.endswith("_config")}
    options |= {"training_pairs": len(dataset), "gffusion_version": __version__}
    given = {name: value for name, value in options.items() if value is not None and name not in OF_ONE_RUN}
    return {
        name: value if isinstance(value, int | float) else str(value)[:_MAX_CHARACTERS] for name, value in given.items()
    }


class Trackers:
    """Send figures and images of a run to trackers, from the main process. Leaving the `with` block ends their runs.

    A run that is active before, such as that of `wandb.init` or `mlflow.start_run`, is used, and stays open. Once a tracker fails,
    it gets no more figures, or no more images, with a warning: the training goes on.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._started: list[Any] = []  # which stay with the accelerator after the run, such as for its address
        self._own: list[Any] = []  # whose runs are to be ended
        self._failed: set[tuple[str, str]] = set()

    @keep_random_state()
    def start(self, arguments: FusionTrainingArguments, recipe: str, config: PreTrainedConfig, dataset: Any) -> None:
        """Start the trackers with the options of the run, see [`describe_options`], or raise ValueError if one cannot start."""
        names = [str(kind) for kind in self._accelerator.log_with] if self._accelerator.is_main_process else []
        options = describe_options(arguments, recipe, config, dataset) if names else {}
        for tracker in self._started:
            self._accelerator.trackers.remove(tracker)
        self._started, self._failed = [], set()
        for name in names:
            try:
                tracker, is_own = _start(name, self._accelerator.logging_dir, Path(arguments.output_dir).name)
            except Exception as error:
                raise ValueError(f"The tracker {name!r} of `report_to` cannot start: {first_line(error)}.") from error
            self._accelerator.trackers.append(tracker)
            self._started.append(tracker)
            self._own += [tracker] * is_own
            try:
                tracker.store_init_configuration(options)
            except Exception as error:  # such as of MLflow, if the options of a run change
                logger.warning("The tracker %r does not take the options of the run: %s", name, first_line(error))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log figures of a step."""
        self._send("log", "figures", dict(values), step=step)

    def log_image(self, image: NDArray[np.uint8], step: int) -> None:
        """Log an image of (height, width, 3), to the trackers that take images."""
        self._send("log_images", "images", {"evaluation pairs": image[None]}, step=step)

    def _send(self, method: str, content: str, values: dict[str, Any], step: int) -> None:
        for tracker in self._accelerator.trackers:
            if not hasattr(tracker, method) or (tracker.name, method) in self._failed:
                continue
            # Others have no other layout.
            layout = {"dataformats": "NHWC"} if (tracker.name, method) == ("tensorboard", "log_images") else {}
            try:
                getattr(tracker, method)(values, step=step, **layout)
            except Exception as error:
                self._failed.add((tracker.name, method))
                logger.warning(
                    "The tracker %r failed at step %d, and gets no more %s: %s",
                    tracker.name,
                    step,
                    content,
                    first_line(error),
                )

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        own, self._own = self._own, []
        for tracker in own:
            try:
                _finish(tracker, kind)
            except Exception as failure:  # must not hide the error that ends the run
                logger.warning("The tracker %r cannot end its run: %s", tracker.name, first_line(failure))


def _start(name: str, folder: str | os.PathLike[str] | None, run_name: str) -> tuple[Any, bool]:
    """Return a started tracker, and whether it has started a run, which is to be ended."""
    kind = LOGGER_TYPE_TO_CLASS[name]
    project = os.environ.get(_PROJECT_VARIABLES.get(name, "")) or _PROJECT
    options = {"run_name": run_name} if name == "mlflow" else {}  # its own names depend on the seed alone
    tracker = kind(project, folder) if kind.requires_logging_directory else kind(project, **options)
    active = _find_active_run(name)
    if active is not None and not getattr(tracker, "nested_run", False):
        setattr(tracker, _RUN_ATTRIBUTES[name], active)
        return tracker, False
    tracker.start()
    return tracker, True


def _find_active_run(name: str) -> Any:
    """Return the run that the program has started in a tracker, if any."""
    module: Any = sys.modules.get(name)
    if module is None:
        return None
    if name == "wandb":
        return module.run
    if name == "mlflow":
        return module.active_run()
    if name == "trackio":
        run = module.context_vars.current_run.get()
        with suppress(AttributeError):
            return None if run._stop_flag.is_set() else run  # ended ones stay there
    return None


def _finish(tracker: Any, error: type[BaseException] | None) -> None:
    """End the run of a tracker, as failed or interrupted where the tracker has such states."""
    if tracker.name == "mlflow" and error:
        sys.modules["mlflow"].end_run("FAILED" if issubclass(error, Exception) else "KILLED")
    elif tracker.name == "wandb" and error:
        tracker.run.finish(exit_code=1)
    else:
        tracker.finish()
