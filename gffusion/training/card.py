"""The model card of a finished run."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gffusion.data.infrared_range import format_options
from gffusion.hub import Evaluation, FusionCard, non_default_settings, versions
from gffusion.metrics import METRICS
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

from .arguments import FusionTrainingArguments

# Options that do not affect the weights. A resumed run can change them.
IRRELEVANT = {
    "overwrite_output_dir",
    "resume_from_checkpoint",
    "eval_on_start",
    "num_eval_images",
    "disable_tqdm",
    "logging_steps",
    "report_to",
    "token_cache",
    "push_to_hub",
    "hub_model_id",
}


def write_card(
    folder: Path,
    model: GFFusionModel,
    arguments: FusionTrainingArguments,
    facts: Mapping[str, Any],
    log: Sequence[Mapping[str, Any]],
    step: int,
    evaluation_pairs: int,
    infrared_options: InfraredOptions,
) -> None:
    """Write the model card `README.md` next to the weights of a step ("best" or "last" of a run); an edited card is kept.

    Without `evaluation_pairs`, it has no results of an evaluation, only the log. `facts` are further arguments of [`FusionCard`]; their `settings`, and the infrared options saved with the model, are
    added to those of the run.
    """
    settings = {name: value for name, value in non_default_settings(arguments).items() if name not in IRRELEVANT}
    settings = (
        {"seed": arguments.seed} | settings | dict(facts.get("settings", {})) | non_default_settings(infrared_options)
    )
    facts = {**facts, "settings": settings}
    options = " ".join(filter(None, [_format_reading(settings), format_options(infrared_options)]))
    FusionCard(
        model_name=arguments.hub_model_id or folder.parent.name,
        source=arguments.hub_model_id or _shorten_path(folder),
        config=model.config,
        log=log,
        metric_for_best_model=arguments.metric_for_best_model,
        versions=versions(),
        evaluations=_evaluations(log, step, evaluation_pairs, options),
        **facts,
    ).save(folder)


def add_digests(facts: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """Return the facts of a card with digests of encoders among the settings, under the call that computes them."""
    calls = {f"digest_weights(model.{name})": digest for name, digest in digests.items()}
    return {**facts, "settings": {**facts.get("settings", {}), **calls}}


def _shorten_path(folder: Path) -> str:
    """Return a path without the parent directories, so that local paths do not leak."""
    path, here = folder.absolute(), Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else Path(path.parent.name, path.name)).as_posix()


def _format_reading(settings: Mapping[str, Any]) -> str:
    """Return the options for reading images as `gffusion evaluate` takes them."""
    options = []
    if align := settings.get("align"):
        options.append(f"--align {align if align in ('resize', 'auto') else 'RIG.json'}")
    options += [f"--{name.replace('_', '-')}" for name in ("infrared_luma", "keep_borders") if settings.get(name)]
    if limits := settings.get("visible_range"):
        options.append(f"--visible-range {','.join(map(str, limits))}")
    return " ".join(options)


def _evaluations(log: Sequence[Mapping[str, Any]], step: int, images: int, options: str) -> list[Evaluation]:
    """Return the results of the evaluation of the weights of a step."""
    record: dict[str, Any] = {}
    for part in log:
        record |= part if part["step"] == step else {}
    # Readers of the card have no registered metrics.
    names = [metric for metric, info in METRICS.items() if not info.is_registered]
    values = {metric: record.get(f"eval_{metric}", math.nan) for metric in names}
    metrics = {metric: value for metric, value in values.items() if math.isfinite(value)}
    if not metrics or not images:
        return []
    fusion = ",".join(metric for metric in metrics if METRICS[metric].task == "fusion")
    command = "gffusion evaluate --visible VISIBLE --infrared INFRARED --model MODEL -o OUT"
    command += f" --metrics {fusion}" * bool(fusion) + " --labels LABELS" * ("mIoU" in metrics)
    command += f" {options}" * bool(options)
    return [Evaluation("evaluation pairs of the run", metrics, images, "standard", command)]
