"""The model card of a finished run."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gffusion.hub import Evaluation, FusionCard, non_default_settings, versions
from gffusion.metrics import METRICS
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

from .arguments import FusionTrainingArguments

# Options that do not affect the weights.
_IRRELEVANT = {
    "overwrite_output_dir",
    "resume_from_checkpoint",
    "num_eval_images",
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
    evaluation_pairs: int,
) -> None:
    """Write the model card `README.md` next to the weights; an edited card is kept.

    Args:
        folder: Folder of the weights, "best" or "last" of a run.
        model: The trained model.
        arguments: Options of the run.
        facts: Further arguments of [`FusionCard`]; its `settings` are added to those of the run.
        log: Records of `log.jsonl`.
        evaluation_pairs: Number of pairs of the evaluation set.
    """
    settings = {name: value for name, value in non_default_settings(arguments).items() if name not in _IRRELEVANT}
    facts = {**facts, "settings": settings | dict(facts.get("settings", {}))}
    FusionCard(
        model_name=arguments.hub_model_id or folder.parent.name,
        source=arguments.hub_model_id or _shorten_path(folder),
        config=model.config,
        log=log,
        versions=versions(),
        evaluations=_evaluations(folder.name, log, evaluation_pairs, arguments),
        **facts,
    ).save(folder)


def _shorten_path(folder: Path) -> str:
    """Return a path without the parent directories, so that local paths do not leak."""
    path, here = folder.absolute(), Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else Path(path.parent.name, path.name)).as_posix()


def _evaluations(
    name: str, log: Sequence[Mapping[str, Any]], images: int, arguments: FusionTrainingArguments
) -> list[Evaluation]:
    """Return the results of the evaluation at which the weights were saved."""
    score = f"eval_{arguments.metric_for_best_model}"
    evaluated = [record for record in log if math.isfinite(record.get(score, math.nan))]
    if not evaluated:
        return []
    record = evaluated[-1]
    if name == "best":
        metric = METRICS.get(arguments.metric_for_best_model)
        choose = max if metric is not None and metric.higher_is_better else min
        record = choose(evaluated, key=lambda record: record[score])
    metrics = {
        metric: record[f"eval_{metric}"] for metric in METRICS if math.isfinite(record.get(f"eval_{metric}", math.nan))
    }
    if not metrics:
        return []
    fusion = ",".join(metric for metric in metrics if METRICS[metric].task == "fusion")
    command = f"gffusion evaluate --visible VISIBLE --infrared INFRARED --model MODEL --metrics {fusion} -o OUT"
    return [Evaluation("evaluation pairs of the run", metrics, images, "standard", command)]
