"""The model card of a finished run."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gffusion.hub.cards import Evaluation, FusionCard, non_default_settings, versions
from gffusion.metrics import METRICS
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

from .arguments import FusionTrainingArguments

# Where a run goes and how it is watched tells nothing about the weights.
_IRRELEVANT = {
    "overwrite_output_dir",
    "num_pictures",
    "logging_steps",
    "trackers",
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
    """Write `README.md` beside the weights, unless a person has edited the one that is there.

    Args:
        folder: Of the weights, "best" or "last" of a run.
        model: The model.
        arguments: Options of the run.
        facts: Arguments of [`FusionCard`] that only the caller knows; its `settings` join those of the run.
        log: Lines of `log.jsonl`.
        evaluation_pairs: Number of pairs of the evaluation set.
    """
    settings = {name: value for name, value in non_default_settings(arguments).items() if name not in _IRRELEVANT}
    known = {**facts, "settings": settings | dict(facts.get("settings", {}))}
    FusionCard(
        model_name=arguments.hub_model_id or folder.parent.name,
        source=arguments.hub_model_id or _from_here(folder),
        config=model.config,
        parameters=model.num_parameters(),
        trainable_parameters=model.num_parameters(only_trainable=True),
        log=log,
        versions=versions(),
        evaluations=_evaluations(folder.name, log, evaluation_pairs, arguments),
        **known,
    ).save(folder)


def _from_here(folder: Path) -> str:
    """Return how the folder is called from where the run was started; what lies above is nobody's business."""
    whole, here = folder.absolute(), Path.cwd()
    return (whole.relative_to(here) if whole.is_relative_to(here) else Path(whole.parent.name, whole.name)).as_posix()


def _evaluations(
    name: str, log: Sequence[Mapping[str, Any]], images: int, arguments: FusionTrainingArguments
) -> list[Evaluation]:
    """Return the figures of the evaluation that these weights come from."""
    score = f"eval_{arguments.best_metric}"
    evaluated = [record for record in log if math.isfinite(record.get(score, math.nan))]
    if not evaluated:
        return []
    record = evaluated[-1]
    if name == "best":
        metric = METRICS.get(arguments.best_metric)
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
