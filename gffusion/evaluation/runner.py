"""`evaluate`: methods side by side over folders of pairs, into tables and figures."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from gffusion.data import ImagePair, PairMatch, match_pairs
from gffusion.metrics import PROTOCOLS
from gffusion.visualization.boxplots import draw_box_plots, save_figure

from .baselines import BASELINES
from .methods import Baseline, FusedFolder, Method, Model
from .pictures import draw_pictures
from .records import Records
from .scoring import CONFUSION, PairScores, Plan, score_pairs
from .table import EvaluationTable

logger = logging.getLogger(__name__)

StrPath = str | os.PathLike[str]

DEFAULT_METRICS = ("EN", "SCD", "VIF", "Qabf", "SSIM")
ARTEFACTS = "Nabf"


def evaluate(
    visible: StrPath,
    infrared: StrPath,
    *,
    fused: Mapping[str, StrPath] | None = None,
    models: Sequence[StrPath] = (),
    baselines: Sequence[str] = tuple(BASELINES),
    metrics: Sequence[str] | None = None,
    protocol: str = "standard",
    labels: StrPath | None = None,
    predicted_labels: Mapping[str, StrPath] | None = None,
    class_names: Sequence[str] | None = None,
    output: StrPath | None = None,
    pictures: Sequence[str] | int = 3,
    workers: int | None = None,
    device: str = "cpu",
    progress: bool = False,
) -> EvaluationTable:
    """Measure several methods on the same pairs.

    Pictures belong together by stem, whatever the suffix. All are measured on 8-bit luma, see
    [`to_luma8`][gffusion.metrics.to_luma8]. A pair that cannot be measured for one of the methods is left out for all of
    them, so that every mean is over the same pairs, and reported in the table's `skipped`. That holds for pairs where a
    metric is infinite, too, as PSNR is where nothing differs. Constant pictures have the values that each metric documents.

    Args:
        visible: Folder of the visible pictures.
        infrared: Folder of the infrared pictures.
        fused: Folders of fused pictures, grey or colour, by the name of their method.
        models: Models that fuse on the fly: names of bundled ones, folders or Hub ids.
        baselines: Rules without learning, names in `gffusion.evaluation.baselines.BASELINES`.
        metrics: Names of the metrics, all of which count in the mean rank. Default: those of EN, SCD, VIF, Qabf and SSIM
            that the protocol has. Nabf, the share of artefacts, stands beside them wherever the protocol has it, and
            counts only if it is named here.
        protocol: Whose conventions to follow, a name in `gffusion.metrics.PROTOCOLS`.
        labels: Folder of label maps. Adds a table of IoU for every model that has a segmenter, over the pairs that have one.
        predicted_labels: Folders of predicted label maps by the name of their method; they go before a model's own.
        class_names: Names of the classes in the order of their ids, the background first. Default: the models' own.
        output: Folder for records, tables and figures. Measures only what its records do not hold yet.
        pictures: Names of the pairs to show in `pictures.png`, or how many, spread evenly.
        workers: Threads that measure. Default: as many as PyTorch uses.
        device: Where models run.
        progress: Show a bar, if standard error is a terminal.

    Returns:
        The table over all pairs that could be measured.

    Raises:
        OSError: If a folder or a model does not exist, or a file cannot be written.
        ValueError: If an argument is out of range, names collide, folders have nothing in common, or no pair can be
            measured.

    Example:
        >>> table = evaluate("visible", "infrared", models=["gffusion-funet"], output="results")  # doctest: +SKIP
        >>> print(table)  # doctest: +SKIP
    """
    workers = torch.get_num_threads() if workers is None else workers
    if workers < 1:
        raise ValueError(f"`workers` must be at least 1, got {workers}.")
    ranked, beside = _choose_metrics(metrics, protocol)
    match = match_pairs(Path(visible), Path(infrared), None if labels is None else Path(labels))
    _check_pictures(pictures, match.pairs)
    methods = _make_methods(Path(visible), fused or {}, models, baselines, device, segment=labels is not None)
    plan = Plan(methods, ranked + beside, protocol)
    if labels is not None:
        plan = _with_segmentation(plan, Path(visible), predicted_labels or {}, class_names)
    elif predicted_labels:
        raise ValueError("Predicted label maps need label maps to be held against: give `labels`, too.")
    folder = None if output is None else _make_folder(Path(output))

    results = score_pairs(plan, match.pairs, Records(folder / "records.jsonl" if folder else None), workers)
    bar = tqdm(results, total=len(match.pairs), unit="pair", disable=None if progress else True, leave=False)
    table = _make_table(plan, ranked, list(bar), match)
    if folder is not None:
        table.save(folder)
        _save_box_plots(table, folder)
        measured = {pair.name: pair for pair in match.pairs if pair.name in table.images}
        if shown := _choose_pictures(pictures, measured):
            draw_pictures(methods, shown).save(folder / "pictures.png")
    return table


def _choose_metrics(metrics: Sequence[str] | None, protocol: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the metrics that count in the rank, and those that stand beside them."""
    if protocol not in PROTOCOLS:
        raise ValueError(f"There is no protocol {protocol!r}. Allowed are {', '.join(PROTOCOLS)}.")
    allowed = PROTOCOLS[protocol].options
    ranked = tuple(dict.fromkeys(metrics)) if metrics else tuple(name for name in DEFAULT_METRICS if name in allowed)
    for name in ranked:
        if name not in allowed:
            raise ValueError(f"The protocol {protocol!r} has no fusion metric {name!r}. It has {', '.join(allowed)}.")
    return ranked, (ARTEFACTS,) if ARTEFACTS in allowed and ARTEFACTS not in ranked else ()


def _check_pictures(pictures: Sequence[str] | int, pairs: Sequence[ImagePair]) -> None:
    if isinstance(pictures, int):
        if pictures < 1:
            raise ValueError(f"`pictures` must be at least 1, got {pictures}.")
        return
    names = [pair.name for pair in pairs]
    for name in pictures:
        if name not in names:
            raise ValueError(f"There is no pair {name!r} to show. The first of {len(names)} is {names[0]!r}.")


def _choose_pictures(pictures: Sequence[str] | int, measured: Mapping[str, ImagePair]) -> list[ImagePair]:
    if not isinstance(pictures, int):
        return [measured[name] for name in pictures if name in measured]
    pairs, count = list(measured.values()), min(pictures, len(measured))
    # The middle of each of `count` equal stretches.
    return [pairs[(2 * index + 1) * len(pairs) // (2 * count)] for index in range(count)]


def _make_methods(
    visible: Path,
    fused: Mapping[str, StrPath],
    models: Sequence[StrPath],
    baselines: Sequence[str],
    device: str,
    segment: bool,
) -> list[Method]:
    names = [*fused, *(Path(model).name for model in models), *baselines]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Two methods have the name {name!r}: give one of them another name.")
    if not names:
        raise ValueError("There is nothing to evaluate: give fused pictures, models or rules without learning.")
    for name in baselines:
        if name not in BASELINES:
            raise ValueError(f"There is no rule {name!r} without learning. Allowed are {', '.join(BASELINES)}.")
    return [
        *(FusedFolder(name, _files_by_pair(visible, Path(folder)), Path(folder)) for name, folder in fused.items()),
        *(Model.load(model, device, segment) for model in models),
        *(Baseline(name) for name in baselines),
    ]


def _files_by_pair(visible: Path, folder: Path) -> dict[str, Path]:
    return {pair.name: pair.infrared for pair in match_pairs(visible, folder).pairs}


def _with_segmentation(
    plan: Plan, visible: Path, predicted_labels: Mapping[str, StrPath], class_names: Sequence[str] | None
) -> Plan:
    methods = {method.name: method for method in plan.methods}
    for name in predicted_labels:
        if name not in methods:
            raise ValueError(
                f"There is no method {name!r} that label maps could be of. There are {', '.join(methods)}."
            )
    of_models = {method.class_names for method in plan.methods if method.class_names}
    if not of_models and not predicted_labels:
        raise ValueError("None of the models has a segmenter: give predicted label maps, or leave the labels out.")
    if class_names is None and len(of_models) != 1:
        known = "; ".join(", ".join(names) for names in sorted(of_models)) or "none"
        raise ValueError(
            f"Name the classes in the order of their ids: the models do not settle them (theirs: {known})."
        )
    names = tuple(class_names) if class_names is not None else of_models.pop()
    if len(names) < 2:
        raise ValueError(f"Name at least two classes, the background first, got {', '.join(names) or 'none'}.")
    files = {name: _files_by_pair(visible, Path(folder)) for name, folder in predicted_labels.items()}
    return Plan(plan.methods, plan.metrics, plan.protocol, names, files)


def _make_folder(folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file, but a folder is needed to write to")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _save_box_plots(table: EvaluationTable, folder: Path) -> None:
    order = table.best_first
    try:
        figure = draw_box_plots(
            table.values[order],
            [table.methods[row] for row in order],
            table.metrics,
            table.higher_is_better,
            [not table.learned[row] for row in order],
        )
    except ImportError:
        logger.warning('no box plots without matplotlib: pip install "gffusion[plots]"')
        return
    for suffix in ("png", "svg"):
        save_figure(figure, folder / f"boxplots.{suffix}")


def _make_table(plan: Plan, ranked: tuple[str, ...], scores: Sequence[PairScores], match: PairMatch) -> EvaluationTable:
    skipped = {score.pair.name: "; ".join(score.errors) for score in scores if score.errors}
    whole = [score for score in scores if not score.errors]
    if not whole:
        name, reason = next(iter(skipped.items()))
        raise ValueError(f"None of {len(scores)} pairs could be measured. {name}: {reason}")
    for kind, files in (("infrared", match.visible_only), ("visible", match.infrared_only)):
        skipped |= {file.stem: f"there is no {kind} picture of this name" for file in files}
    values = [
        [[score.values[method.name][metric] for metric in plan.metrics] for score in whole] for method in plan.methods
    ]
    confusion = {
        method.name: sum(
            (np.array(score.values[method.name][CONFUSION]) for score in whole if score.pair.labels),
            start=np.zeros((len(plan.class_names),) * 2, dtype=np.int64),
        )
        for method in plan.methods
        if plan.is_segmented(method)
    }
    return EvaluationTable(
        methods=tuple(method.name for method in plan.methods),
        learned=tuple(method.learned for method in plan.methods),
        metrics=plan.metrics,
        ranked=ranked,
        images=tuple(score.pair.name for score in whole),
        values=np.array(values),
        protocol=plan.protocol,
        skipped=skipped,
        class_names=plan.class_names,
        confusion=confusion,
    )
