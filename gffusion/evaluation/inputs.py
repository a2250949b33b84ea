"""Find and check the files of an evaluation before anything is computed. Does not import torch."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gffusion.data import PairMatch, ReadOptions
from gffusion.data.label_values import check_label_files
from gffusion.data.wrong_pairs import check_different_files
from gffusion.export.requirements import check_file, is_onnx
from gffusion.zoo import locate

from .baseline_names import BASELINE_NAMES
from .matching import StrPath, find_results, match_images, name_alone

FilesByMethod = Mapping[str, Mapping[str, Path]]
"""Files by method, by name of the pair."""
_SHOWN = ("visible", "infrared", "labels")  # beside fused images


def name_model(model: StrPath) -> str:
    """Return the name of a model in tables: the last part of its name or path; for `best` of a run, that of the run.

    Examples:
        >>> name_model("org/gffusion-m3fd"), name_model("runs/mine/best"), name_model("runs/mine/last")
        ('gffusion-m3fd', 'mine', 'mine-last')
    """
    path = Path(os.path.abspath(model))  # the current folder is "."
    run, suffix = path.parent.name, {"best": "", "last": "-last"}.get(path.name)
    return path.name if suffix is None or not run else run + suffix


def check_no_baseline(model: StrPath) -> None:
    """Raise OSError if the name of a model is that of a baseline, and of no folder."""
    if os.fspath(model) in BASELINE_NAMES and not os.path.exists(model):
        raise OSError(
            f"Unknown model {os.fspath(model)!r}: {model} is a baseline of `gffusion evaluate`: name it there in `baselines` (--baselines {model})"
        )


class Inputs(NamedTuple):
    """The pairs, the fused images, the predicted label maps, and why images without a partner are left out, by their name."""

    match: PairMatch
    fused: FilesByMethod
    predicted_labels: FilesByMethod
    alone: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """Names of the pairs and of the images without a partner."""
        return [*(pair.name for pair in self.match.pairs), *self.alone]

    @property
    def note(self) -> str:
        """What was assumed to match the images, or an empty text."""
        return f"note: {'; '.join(self.match.notes)}" if self.match.notes else ""


def find_inputs(
    visible: StrPath,
    infrared: StrPath | None,
    *,
    fused: Mapping[str, StrPath],
    models: Mapping[str, StrPath],
    baselines: Sequence[str],
    labels: StrPath | None,
    predicted_labels: Mapping[str, StrPath],
    segment_with: StrPath | None,
    class_names: Sequence[str] | None,
    label_map: Mapping[int, int] | None,
    output: StrPath | None,
    sheet: Sequence[str] | int,
    compare: str | None,
    read_options: ReadOptions,
) -> Inputs:
    """Find the files of an evaluation, and check its arguments; see [`evaluate`][gffusion.evaluation.evaluate] for them.

    Raises:
        OSError: If a folder or a model does not exist, or a file is given instead of a folder.
        TypeError: If a path is neither text nor a path.
        ValueError: If arguments contradict each other, two methods have the same name, folders have no names in common, a pair or method is unknown, or the
            label maps hold only 0 and 255.
    """
    _check_options(baselines, labels, label_map, class_names, read_options)
    _check_segment_with(segment_with, labels, predicted_labels)
    mappings = {"fused": fused, "predicted_labels": predicted_labels}
    given = [(f"{argument}[{name!r}]", path) for argument, paths in mappings.items() for name, path in paths.items()]
    _check_paths([("labels", labels), ("output", output), *given])
    for model in models.values():
        check_no_baseline(model)
    methods = [*fused, *models]
    _check_other_names(methods, baselines)
    methods += baselines
    check_methods(methods, predicted_labels)
    _check_compare(compare, methods)
    if predicted_labels and labels is None:
        raise ValueError(
            "Predicted label maps (`predicted_labels`, --predicted-labels) are given without label maps to compare them with: give "
            "`labels` (--labels)."
        )
    if output is not None and Path(output).is_file():
        raise NotADirectoryError(f"{output} is a file, but a folder is needed to write to")
    for model in models.values():
        check_file(model) if is_onnx(model) else locate(model)
    match = match_images(visible, infrared, labels, [output, *fused.values(), *predicted_labels.values()], read_options)
    _check_files(match, visible, infrared, read_options)
    check_label_files((pair.labels for pair in match.pairs if pair.labels), read_options.max_pixels)
    pairs = dict.fromkeys(pair.name for pair in match.pairs)
    if isinstance(sheet, int) and sheet < 1:
        raise ValueError(f"The sheet must show at least 1 pair, got {sheet}.")
    for name in () if isinstance(sheet, int) else sheet:
        if name not in pairs:
            raise ValueError(
                f"There is no pair {name!r} for the sheet. The first of {len(pairs)} is {next(iter(pairs))!r}."
            )
    return Inputs(
        match,
        {method: find_results(match.pairs, folder) for method, folder in fused.items()},
        {method: find_results(match.pairs, folder, are_labels=True) for method, folder in predicted_labels.items()},
        name_alone(match, visible, infrared),
    )


def _check_files(match: PairMatch, visible: StrPath, infrared: StrPath | None, options: ReadOptions) -> None:
    """Raise ValueError if the two images of all pairs are the same."""
    try:
        check_different_files(match.pairs, options=options)
    except ValueError as error:
        is_given_twice = all(pair.visible == pair.infrared for pair in match.pairs)
        if infrared is not None or not is_given_twice or not Path(visible).is_dir():
            raise
        raise ValueError(
            f"give the infrared images, too (`infrared`, --infrared): {match.pairs[0].visible} does not hold both images, and no two "
            f"files of {os.fspath(visible)} have names such as 1_vis.png and 1_ir.png"
        ) from error


def _check_options(
    baselines: Sequence[str],
    labels: StrPath | None,
    label_map: Mapping[int, int] | None,
    class_names: Sequence[str] | None,
    read_options: ReadOptions,
) -> None:
    """Raise ValueError if a baseline is unknown, or options need label maps or cannot be used with them."""
    for name in baselines:
        if name not in BASELINE_NAMES:
            raise ValueError(
                f"There is no baseline {name!r}. Allowed are {', '.join(BASELINE_NAMES)}; on the command line also all or none, alone."
            )
    for option, value in (("`label_map` (--label-map)", label_map), ("`class_names` (--class-names)", class_names)):
        if labels is None and value:
            raise ValueError(f"{option} needs label maps (`labels`, --labels).")
    if labels is not None and (read_options.crop or read_options.reference != "visible"):
        raise ValueError(
            "`crop` and `reference` (--crop and --reference infrared) cannot be used with label maps, which lie in the frame of "
            "the visible image: leave them out, or evaluate without `labels` (--labels)"
        )


def _check_other_names(methods: Sequence[str], baselines: Sequence[str]) -> None:
    """Raise ValueError if a method has the name of a baseline of the evaluation."""
    for name in methods:
        if name in baselines:
            raise ValueError(
                f"{name!r} is the name of a baseline: choose another one for images or a model of your own, or leave the baselines "
                "out (`baselines=[]`, --no-baselines)."
            )


def _check_compare(name: str | None, methods: Sequence[str]) -> None:
    """Raise ValueError if the method to compare, if there is one, has no others to be compared with."""
    if name is not None and name not in methods:
        raise ValueError(f"`compare` (--compare) must be one of the methods {', '.join(methods)}, got {name!r}.")
    if name is not None and len(methods) == 1:
        raise ValueError(f"`compare` (--compare) tests {name} against other methods: give another method, too.")


def _check_segment_with(model: Any, labels: StrPath | None, predicted_labels: Iterable[str]) -> None:
    """Check the argument `segment_with` of an evaluation, which can be `None`, before the model is loaded."""
    if model is None:
        return
    if not isinstance(model, str | os.PathLike):
        raise TypeError(f"`segment_with` must be the name of a model or a folder, got {model!r:.80}.")
    if labels is None:
        raise ValueError("`segment_with` (--segment-with) needs label maps to compare with: give `labels` (--labels).")
    if names := list(predicted_labels):
        raise ValueError(
            "`segment_with` (--segment-with) predicts the label maps of all methods, but `predicted_labels` "
            f"(--predicted-labels) gives those of {', '.join(names)}: leave one of the two out."
        )
    if is_onnx(model):
        raise ValueError(
            f"`segment_with` (--segment-with) {os.fspath(model)}: an .onnx file segments only what it fuses; give the model "
            "that it was exported from."
        )
    check_no_baseline(model)
    locate(model)


def _check_paths(paths: Iterable[tuple[str, Any]]) -> None:
    """Raise TypeError if a folder is something else than text or a path."""
    for argument, path in paths:
        if path is not None and not isinstance(path, str | os.PathLike):
            raise TypeError(f"`{argument}` must be a folder, got {path!r}.")


def check_methods(methods: Sequence[str], predicted_labels: Iterable[str] = ()) -> None:
    """Raise ValueError if two methods have one name, or that of another image, or label maps are those of no method."""
    for name in methods:
        if name in _SHOWN or name.endswith(f": {_SHOWN[-1]}"):
            raise ValueError(
                f"The name {name!r} of a method is that of another image in the figures: choose one other than "
                f"{', '.join(_SHOWN)} and 'NAME: {_SHOWN[-1]}'."
            )
    check_unique(methods)
    for name in predicted_labels:
        if name not in methods:
            raise ValueError(f"Predicted label maps are given for {name!r}, but the methods are {', '.join(methods)}.")


def check_unique(methods: Sequence[str]) -> None:
    """Raise ValueError if two methods have one name."""
    for name in methods:
        if methods.count(name) > 1:
            raise ValueError(
                f"Two methods have the name {name!r}: give each method once, and name models of two folders of this name, as in "
                '`models={"first": "FOLDER"}` (--model first=FOLDER).'
            )
