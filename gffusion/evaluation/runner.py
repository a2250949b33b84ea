"""`evaluate`: measure methods on folders of pairs, and write tables and figures."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from gffusion.cameras.cleaning import BORDER_FILLED
from gffusion.cameras.narrow_ranges import note_narrow
from gffusion.data import ImagePair, ReadOptions
from gffusion.data.infrared_range import PairRanges, format_options, measure_pairs
from gffusion.data.reading import read_pair_size
from gffusion.data.rigs import find_rig
from gffusion.data.value_types import find_odd_types
from gffusion.data.wrong_pairs import check_not_swapped
from gffusion.metrics.names import DEFAULT_METRICS, list_given
from gffusion.metrics.protocols import select_options
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.utils.notes import format_count, name_first, summarize_notes
from gffusion.utils.progress import show_progress
from gffusion.visualization.comparison import Box, check_box
from gffusion.zoo.digest import hash_file

from .baselines import BASELINES
from .infrared import check_range, choose_options
from .inputs import check_unique, find_inputs, name_model
from .label_classes import prepare_classes
from .matching import StrPath, note_ignored
from .methods import Baseline, FusedFolder, Method, Model
from .output_folder import check_former_table, check_output, locked_output, read_settings
from .records import Records
from .results import make_table
from .saving import save_results
from .scoring import PairScores, Plan, score_pairs
from .settings import describe_device, describe_replaced, describe_settings, hash_inputs
from .table import EvaluationTable

ARTIFACTS = "Nabf"
_OTHER_MODELS = (
    ": save a GFFusionModel with its `save_pretrained`, and give the folder; of other networks, give the folder of the images "
    "that they fused (`fused`)"
)
_FILLED_FOR_MODELS = (
    "filled by the visible image for models, unless --keep-borders is given; metrics compare with the file as it is"
)


def _write(text: str) -> None:
    """Write a line beside a progress bar. Standard output is for results."""
    tqdm.write(text, file=sys.stderr)


def evaluate(
    visible: StrPath,
    infrared: StrPath | None = None,
    *,
    fused: Mapping[str, StrPath] | None = None,
    models: Mapping[str, StrPath] | Sequence[StrPath] | StrPath = (),
    baselines: Sequence[str] | str = tuple(BASELINES),
    metrics: Sequence[str] | str | None = None,
    protocol: str = "standard",
    labels: StrPath | None = None,
    predicted_labels: Mapping[str, StrPath] | None = None,
    segment_with: StrPath | None = None,
    class_names: Sequence[str] | None = None,
    label_map: Mapping[int, int] | None = None,
    output: StrPath | None = None,
    sheet: Sequence[str] | int = 3,
    zoom: Box | None = None,
    html: bool = False,
    std: bool = False,
    compare: str | None = None,
    workers: int | None = None,
    device: str = "cpu",
    progress: bool = False,
    write: Callable[[str], None] = _write,
    infrared_options: Mapping[str, Any] | None = None,
    read_options: ReadOptions | None = None,
) -> EvaluationTable:
    """Measure several methods on the same pairs, and return the table of all pairs that could be measured.

    Images are matched by stem. If they lie in sub-folders, those of equal sub-folders are matched, and names have the folder, such as
    `night/1`. Metrics are computed on 8-bit luma, see [`to_luma8`][gffusion.metrics.to_luma8]. A pair that
    cannot be measured for one method, or has an infinite metric (such as PSNR of equal images), is left out for all methods,
    so that all means are over the same pairs. The table lists it in `skipped`. A pair with an unusable label map is left out
    of the segmentation only, and is listed in `unsegmented`.

    Args:
        visible: Folder of visible images, a pattern such as `"day/*.png"`, or `"@list.txt"` with one name per line. Or, without
            `infrared`, a folder with both kinds, or a CSV file of pairs with the columns `visible`, `infrared` and, optionally, `name`.
        infrared: Folder, pattern or list of infrared images. Images of a folder count only if the pattern or list of the
            other kind selects them. The n-th lines of two lists are a pair.
        fused: Folders of fused images, gray or color, by the name of their method. If names of pairs have folders, so have those
            of fused images and label maps.
        models: Models that fuse during the evaluation, or one: names of bundled models, folders, Hub ids or .onnx files of
            `gffusion export`. Or a dict of them by the name of their method, as for models of several seeds in folders of one name.
        baselines: Classical baselines, or one: names in `gffusion.evaluation.baselines.BASELINES`. Default: all; `[]` for none.
        metrics: Metrics of the mean rank, or one, or `"all"` metrics of the protocol. Default: EN, SCD, VIF, Qabf and SSIM,
            as far as the protocol has them. Metrics of your own have the names that
            [`register_metric`][gffusion.metrics.register_metric] gave them. Nabf, the share of artifacts, is always measured if the protocol has it, but
            counts only if it is listed here.
        protocol: A name in `gffusion.metrics.PROTOCOLS`.
        labels: Folder of label maps, or the CSV file of pairs if it has a column `labels`. Adds a table of IoU for models with a
            segmenter, over the pairs that have a label map.
        predicted_labels: Folders of predicted label maps by the name of their method, instead of a model's own.
        segment_with: Model (name, folder or Hub id) that predicts the label maps of all methods from their fused images, so
            that these can be compared, as [`segment_fused`][gffusion.inference.segmenting.segment_fused] does.
        class_names: Names of the classes in the order of their ids, the background first. Default: those in `classes.txt`
            next to the folder of the label maps, which must be those of the models, or else as in the models.
        label_map: Class ids by values of the label maps that have other numbers, such as `{4: 1, 9: 255}`; 255 is ignored.
            Values that are no key stay.
        output: Folder for tables, figures (box plots need matplotlib) and records, which let later calls measure only
            what is new. A table in it of other methods or pairs, or with another protocol, is not replaced; pairs can be added.
        sheet: Names of the pairs shown in `sheet.png` (and `sheet-2.png`, ..., if there are many) and `report.html`, or the
            number of evenly spread pairs.
        zoom: The part of the pairs in `sheet.png` that is enlarged: left, top, right and bottom in pixels, as in Pillow
            (`--zoom` of the command line takes left, top, width and height). By default, where sources and fused images
            differ most.
        html: Whether to write `report.html`: one file with tables that can be sorted, images with a slider, and box plots.
        std: Whether tables show the standard deviation over the images beside each mean.
        compare: Name of a method that is tested against each of the others with Wilcoxon's signed-rank test.
        workers: Number of threads. Default: as in PyTorch.
        device: Device of the models.
        progress: Whether to show a progress bar if standard error is a terminal, and notes and warnings.
        write: Function that shows a note or a warning. Default: writes it on standard error.
        infrared_options: How infrared values are mapped to gray levels, for metrics, baselines and models; names and
            values of [`InfraredOptions`]. By default, those saved with the models, which must agree unless the images have
            8 bits; without models, `"auto"`.
        read_options: How files are read and aligned. `align="auto"` estimates one rig from up to ten pairs.

    Raises:
        OSError: If a folder or a model does not exist, or a file cannot be written.
        TypeError: If an argument is neither a name nor names, or no dict.
        ValueError: If an argument is wrong, folders have no names in common, label maps hold values that are no classes,
            models have different infrared options, raw counts have no range, no pair can be measured, or another process
            writes to `output`.

    Examples:
        >>> import tempfile
        >>> from gffusion.synthetic.samples import write_scenes
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_scenes(Path(folder), count=2, height=64, width=96)
        ...     table = evaluate(f"{folder}/visible", f"{folder}/infrared", metrics=["EN"])
        >>> table.methods[:2]
        ('average', 'maximum')
    """

    def tell(text: str | None) -> None:
        if text and progress:
            write(text)

    workers = _choose_workers(workers)
    _check_mappings(fused=fused, predicted_labels=predicted_labels, label_map=label_map)
    named = _name_models(models)
    baselines = list_given(baselines, "baselines", advice="; pass [] for none")
    class_names = None if class_names is None else list_given(class_names, "class_names")
    if isinstance(sheet, bool) or not isinstance(sheet, int | np.integer):
        sheet = list_given(sheet, "sheet", advice=", or a number of pairs")
    else:
        sheet = int(sheet)
    ranked, beside = _choose_metrics(metrics, protocol)
    fused, predicted_labels = fused or {}, predicted_labels or {}
    read_options = read_options or ReadOptions()
    if not (fused or named or baselines):
        raise ValueError("There is nothing to evaluate: give `fused`, `models` or `baselines`.")
    if html and output is None:
        raise ValueError("`html` needs a folder to write to: give `output`.")
    inputs = find_inputs(
        visible,
        infrared,
        fused=fused,
        models=named,
        baselines=baselines,
        labels=labels,
        predicted_labels=predicted_labels,
        segment_with=segment_with,
        class_names=class_names,
        label_map=label_map,
        output=output,
        sheet=sheet,
        compare=compare,
        read_options=read_options,
    )
    read_options.check_raw_frames(pair.infrared for pair in inputs.match.pairs)
    check_not_swapped(inputs.match.pairs, read_options)
    names_of_methods = [*fused, *named, *baselines]
    folder = None if output is None else Path(output)
    if folder is not None:
        check_output(folder)
        check_former_table(folder, names_of_methods, protocol, inputs.names)
    segment_themselves = labels is not None and segment_with is None
    hash_once = cache(hash_file)
    methods: list[Method] = [
        *(FusedFolder(name, files, hash_once) for name, files in inputs.fused.items()),
        *(Model.load(model, device, segment_themselves, infrared_options, name) for name, model in named.items()),
        *(Baseline(name) for name in baselines),
    ]
    segmenter = None if segment_with is None else Model.load_segmenter(segment_with, device, infrared_options)
    label_map = dict(label_map or {})
    segmenters = [segmenter] if segmenter else methods
    names, assumed = prepare_classes(segmenters, inputs, class_names, label_map, labels, read_options.max_pixels)
    tell(assumed)
    tell(inputs.note)
    tell(note_ignored(inputs.predicted_labels))
    pairs = inputs.match.pairs
    reading = read_options  # as given
    read_options, found = find_rig(pairs, read_options)
    tell(found)
    if zoom is not None:
        _check_zoom(zoom, _choose_pairs(sheet, {pair.name: pair for pair in pairs}), read_options)
    odd = find_odd_types([pair.infrared for pair in pairs], read_options)
    measured = [pair for pair in pairs if pair.infrared not in odd]
    ranges = _measure(measured, methods, segmenter, infrared_options or {}, read_options, tell)
    plan = Plan(
        methods=methods,
        metrics=ranked + beside,
        ranked=ranked,
        protocol=protocol,
        class_names=names,
        label_files=inputs.predicted_labels,
        label_map=label_map,
        ranges=ranges,
        odd=odd,
        segmenter=segmenter,
        hash_file=hash_once,
    )
    sources = {"visible": visible, "infrared": infrared, "labels": labels, "segment_with": segment_with}
    settings = describe_settings(
        sources,
        fused=fused,
        models=named,
        predicted_labels=predicted_labels,
        metrics=ranked,
        infrared_options=ranges.options,
        read_options=reading,
        label_map=label_map,
        compared=compare,
    )
    with locked_output(folder, names_of_methods, protocol, inputs.names) if folder else nullcontext():
        if folder is not None:
            tell(describe_replaced(read_settings(folder), settings))
        records = Records(folder / "records.jsonl" if folder else None)
        results = score_pairs(plan, pairs, records, workers)
        scores = list(show_progress(results, total=len(pairs), unit="pair", hidden=not progress))
        records.finish()
        _tell_notes(scores, methods, tell)
        table = make_table(plan, scores, inputs.alone)
        scored = {pair.name: pair for pair in pairs if pair.name in table.images}
        settings |= {
            "device": describe_device(plan),
            "sha256": hash_inputs(plan, list(scored.values()), table.segmented),
        }
        table = replace(table, std=std, compared=compare, settings=settings)
        if folder is not None:
            save_results(table, plan, _choose_pairs(sheet, scored), folder, html, zoom)
    return table


def _name_models(models: Mapping[str, StrPath] | Sequence[StrPath] | StrPath) -> dict[str, StrPath]:
    if isinstance(models, Mapping):
        given = list_given(models.values(), "models", (str, os.PathLike), _OTHER_MODELS)
        return dict(zip(models, given, strict=True))
    given = list_given(models, "models", (str, os.PathLike), _OTHER_MODELS)
    check_unique([name_model(model) for model in given])
    return {name_model(model): model for model in given}


def _choose_workers(given: int | None) -> int:
    if given is not None and given < 1:
        raise ValueError(f"`workers` must be at least 1, got {given}.")
    return torch.get_num_threads() if given is None else given


def _check_mappings(**arguments: Mapping[Any, Any] | None) -> None:
    for argument, value in arguments.items():
        if value is not None and not isinstance(value, Mapping):
            raise TypeError(f"`{argument}` must be a dict, got {value!r}")


def _check_zoom(zoom: Box, shown: Sequence[ImagePair], options: ReadOptions) -> None:
    """Raise ValueError if the enlarged part does not lie in the pairs, before all of them are measured."""
    for pair in shown:
        try:
            size = read_pair_size(pair.visible, pair.infrared, options)
        except (OSError, ValueError):  # reported when the pair is measured
            continue
        check_box(zoom, size, pair.name)


def _measure(
    pairs: Sequence[ImagePair],
    methods: Sequence[Method],
    segmenter: Model | None,
    given: Mapping[str, Any],
    read_options: ReadOptions,
    tell: Callable[[str], None],
) -> PairRanges:
    """Measure ranges that depend on several pairs, give them to the models, and return those of the metrics."""
    options = choose_options(methods, given, pairs, read_options)
    if options != InfraredOptions().override(**given):
        tell(f"note: infrared values are mapped as saved with the models, in metrics, too: {format_options(options)}")
    check_range(options, pairs, read_options)
    measured: list[PairRanges] = []
    models = [model for model in (*methods, segmenter) if isinstance(model, Model)]
    for wanted in (options, *(model.infrared_options for model in models)):
        # Ranges do not depend on the gain control, nor on inversion.
        kind = wanted.infrared_range, wanted.smooth_range
        same = [part for part in measured if (part.options.infrared_range, part.options.smooth_range) == kind]
        measured.append(
            PairRanges(wanted, same[0].limits, read_options) if same else measure_pairs(pairs, wanted, read_options)
        )
    for model, ranges in zip(models, measured[1:], strict=True):
        model.use_ranges(ranges)
    for description in dict.fromkeys(ranges.description for ranges in measured if ranges.description):
        tell(description)
    for warning in dict.fromkeys(ranges.warning for ranges in measured if ranges.warning):
        tell(f"warning: {warning}")
    return measured[0]


def _choose_metrics(metrics: Sequence[str] | str | None, protocol: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the metrics that count in the mean rank, and the others."""
    allowed = select_options(protocol)
    ranked = tuple(
        select_options(protocol, [name for name in DEFAULT_METRICS if name in allowed] if metrics is None else metrics)
    )
    if not ranked:
        raise ValueError("Name at least one metric, or leave `metrics` (--metrics) out.")
    return ranked, (ARTIFACTS,) if ARTIFACTS in allowed and ARTIFACTS not in ranked else ()


def _choose_pairs(sheet: Sequence[str] | int, measured: Mapping[str, ImagePair]) -> list[ImagePair]:
    if not isinstance(sheet, int):
        return [measured[name] for name in sheet if name in measured]
    pairs, count = list(measured.values()), min(sheet, len(measured))
    # The middle of each of `count` equal sections.
    return [pairs[(2 * index + 1) * len(pairs) // (2 * count)] for index in range(count)]


def _tell_notes(scores: Sequence[PairScores], methods: Sequence[Method], tell: Callable[[str], None]) -> None:
    """Tell what was changed or assumed while reading the pairs. Borders are filled in the input of models only."""
    has_models = any(isinstance(method, Model) for method in methods)
    for note, count in summarize_notes(note for score in scores for note in score.notes):
        if note.endswith(BORDER_FILLED):
            if not has_models:
                continue
            note = note.removesuffix(BORDER_FILLED) + _FILLED_FOR_MODELS
        tell(f"note: {note} ({format_count(count, 'pair')})")
    narrow = note_narrow([(score.pair.name, *score.range_width) for score in scores if score.range_width is not None])
    if narrow:
        names, (note, *_) = zip(*narrow, strict=True)
        tell(f"note: {note} ({format_count(len(narrow), 'pair')}: {name_first(names)})")
