"""`gffusion show`: figures of a pair, a model or a training run."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gffusion.utils.notes import name_in_errors

from . import infrared_options as mapping
from . import read_options as reading
from .device import choose_device
from .errors import user_errors
from .library_logging import quiet_libraries
from .messages import print_note
from .models import complete_model
from .option_values import collect_fused, collect_models, parse_zoom
from .options import DeviceOption, OverwriteFileOption, ZoomOption
from .outputs import check_new, check_not_inputs, check_writable, new_output, write_output
from .printing import print_line

if TYPE_CHECKING:
    from gffusion.data import ImagePair, ReadOptions
    from gffusion.inference.features import Features

KINDS = {
    "fused": "sources and fused images with an enlarged part",
    "tokens": "principal components of the encoders' tokens",
    "gates": "where features of the encoder are injected",
    "labels": "segmentation over the fused image",
    "weights": "shares of the merged layers",
    "training": "curves of training runs",
}
_OF_PAIRS = ("fused", "tokens", "gates", "labels")
# Kinds of figures that an option is for; other options are for those of pairs.
_OF_OPTIONS = {
    "zoom": ("fused",),
    "fused": ("fused",),
    "model": (*_OF_PAIRS, "weights"),
    "output": tuple(KINDS),
    "overwrite": tuple(KINDS),
}
_DEFAULT_MODEL = "gffusion-tiny"
_FORMATS = (".png", ".pdf", ".svg")
_MIN_WIDTH, _MAX_WIDTH = 380, 1000  # of each image in figures of pairs, in pixels


def show(
    context: typer.Context,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help=f"What to draw. {'; '.join(f'{kind}: {text}' for kind, text in KINDS.items())}."
        ),
    ],
    visible: Annotated[
        Path | None,
        typer.Argument(
            metavar="VISIBLE|RUN",
            help="Visible image. For training: folder of a run, or its log.jsonl. For weights: nothing.",
        ),
    ] = None,
    infrared: Annotated[
        Path | None,
        typer.Argument(
            metavar="INFRARED|RUN",
            help="Infrared image; leave it out if VISIBLE holds both images. For training: another run.",
        ),
    ] = None,
    more: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN", help="For training: more runs, drawn in one figure.")
    ] = None,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help=f"Figure to write: {', '.join(_FORMATS)}.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="[NAME=]MODEL",
            help=f"Bundled model, folder, or Hub id, and its name in the figure. For fused: or .onnx file; can be repeated. [default: {_DEFAULT_MODEL}]",
            autocompletion=complete_model,
        ),
    ] = None,
    fused: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIR",
            help="For fused: a method and the folder of its fused images, which have the name of the visible image. Can be "
            "repeated.",
        ),
    ] = None,
    zoom: ZoomOption = None,
    align: reading.AlignOption = "none",
    reference: reading.ReferenceOption = "visible",
    crop: reading.CropOption = False,
    infrared_range: mapping.InfraredRangeOption = None,
    invert: mapping.InvertOption = None,
    agc: mapping.AgcOption = None,
    plateau_limit: mapping.PlateauLimitOption = None,
    infrared_luma: reading.InfraredLumaOption = False,
    keep_borders: reading.KeepBordersOption = False,
    visible_range: reading.VisibleRangeOption = None,
    max_pixels: reading.MaxPixelsOption = reading.MAX_PIXELS,
    truncated: reading.TruncatedOption = "refuse",
    raw_frame: reading.RawFrameOption = None,
    device: DeviceOption = "auto",
    overwrite: OverwriteFileOption = False,
) -> None:
    """Draw a figure of a pair, a model or training runs, in publication quality. Needs matplotlib: `pip install "gffusion[plots]"`.

    A file with both images, such as a radiometric JPEG, is given alone. Exit code: 0 if the figure was written, 2 if not.
    """
    with user_errors(), new_output(output):
        box, folders = parse_zoom(zoom), collect_fused(fused)
        typed = list(model or ([] if folders else [_DEFAULT_MODEL]))
        inputs = [path for path in (visible, infrared, *(more or ())) if path is not None]
        _check(kind, inputs, output, overwrite)
        check_writable(output)
        _check_options(kind, context)
        if kind != "fused" and len(typed) > 1:
            raise ValueError(f"show fused takes several models, show {kind} one, got {', '.join(typed)}")
        flags = {"infrared_luma": infrared_luma, "keep_borders": keep_borders, "max_pixels": max_pixels}
        read_options = reading.parse_reading(raw_frame, truncated, visible_range, align, reference, crop, **flags)
        infrared_options = mapping.parse_infrared_options(infrared_range, invert, agc, plateau_limit, None)
        from gffusion.visualization.plotting import check_matplotlib  # imports Pillow

        check_matplotlib()
        models = collect_models(typed)
        quiet_libraries()
        if visible is None:
            content = _draw_weights(next(iter(models.values())), output)
        elif kind == "training":
            content = _draw_training(inputs, output)
        elif kind == "fused":
            pair = _find_pair(visible, infrared)
            files = _find_fused(pair, models, folders)
            check_not_inputs([output], files.values())
            images = _fuse(pair, models, files, choose_device(device), read_options, infrared_options)
            content = _draw_images(images, output, zoom=box)
        else:
            pair = _find_pair(visible, infrared)
            [(name, given)] = models.items()
            features, class_names = _extract(pair, given, choose_device(device), read_options, infrared_options)
            content = _draw_features(kind, features, class_names, name, given, output)
        write_output(output, content)
    print_line(f"{kind} -> {output}")


def _check(kind: str, inputs: Sequence[Path], output: Path, overwrite: bool) -> None:
    if kind not in KINDS:
        raise ValueError(f"KIND must be one of {', '.join(KINDS)}, got {kind!r}")
    if output.suffix.lower() not in _FORMATS:
        raise ValueError(f"--output must be one of {', '.join(_FORMATS)}, got {output}")
    check_new(output, overwrite)
    check_not_inputs([output], inputs)
    if kind in _OF_PAIRS and not inputs:
        raise ValueError(f"show {kind} needs a pair: gffusion show {kind} visible.png infrared.png -o {output}")
    if kind in _OF_PAIRS and len(inputs) > 2:
        raise ValueError(f"show {kind} takes one pair, got {', '.join(map(str, inputs))}")
    if kind == "training" and not inputs:
        raise ValueError(f"show training needs the folder of a run: gffusion show training runs/mine -o {output}")
    if kind == "weights" and inputs:
        raise ValueError("show weights takes no images: give the model with --model")


def _check_options(kind: str, context: typer.Context) -> None:
    """Raise ValueError if an option has a value other than its default, but is for other kinds."""
    for option in (parameter for parameter in context.command.params if parameter.param_type_name == "option"):
        kinds, value = _OF_OPTIONS.get(str(option.name), _OF_PAIRS), context.params.get(str(option.name))
        is_default = value in (option.get_default(context), [], ())  # lists that are not given are empty
        if kind not in kinds and not is_default:
            raise ValueError(f"{option.opts[0]} is for show {', '.join(kinds)}, got show {kind}")


def _find_pair(visible: Path, infrared: Path | None) -> "ImagePair":
    from gffusion.data import ImagePair

    for path in filter(None, (visible, infrared)):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not a file" if path.exists() else f"{path} does not exist")
    return ImagePair(visible.stem, visible, infrared or visible)


def _extract(
    pair: "ImagePair", name: str, device: str, read_options: "ReadOptions", infrared_options: dict[str, Any]
) -> tuple["Features", list[str]]:
    """Read a pair as `gffusion fuse` does, and return what a model computes of it, and the names of its classes."""
    from gffusion.data.infrared_range import measure_pairs
    from gffusion.inference.features import extract_features  # imports torch
    from gffusion.zoo import create_model, load_image_processor

    processor = load_image_processor(name, **infrared_options)
    ranges = measure_pairs([pair], processor.infrared_options, read_options)
    images = ranges.read(pair)
    for note in images.notes:
        print_note(note)
    processor.infrared_options = ranges.options_of(pair)
    model = create_model(name).to(device)
    class_names = [model.config.id2label[label] for label in range(model.config.num_labels)]
    return extract_features(model, processor, images), class_names


def _find_fused(pair: "ImagePair", models: Mapping[str, str], folders: Mapping[str, Path]) -> dict[str, Path]:
    """Return the fused image in each folder by name, after a check of the names of all methods."""
    from gffusion.data.pairs import match_results  # imports torch
    from gffusion.evaluation.inputs import check_methods

    check_methods([*folders, *models])
    return {name: match_results([pair.visible], folder)[pair.visible.stem] for name, folder in folders.items()}


def _fuse(
    pair: "ImagePair",
    models: Mapping[str, str],
    files: Mapping[str, Path],
    device: str,
    read_options: "ReadOptions",
    infrared_options: dict[str, Any],
) -> dict[str, Any]:
    """Return the sources and the fused images of all methods, by name."""
    from gffusion.data.infrared_range import measure_pairs  # these import torch
    from gffusion.evaluation.infrared import choose_options
    from gffusion.evaluation.methods import FusedFolder, Model, Sources
    from gffusion.models.gffusion.infrared_values import to_infrared_values

    loaded = [Model.load(model, device, False, infrared_options, name) for name, model in models.items()]
    options = choose_options(loaded, infrared_options, [pair], read_options)
    for method in loaded:
        method.use_ranges(measure_pairs([pair], method.infrared_options, read_options))
    sources = Sources.read(pair, measure_pairs([pair], options, read_options))
    for note in sources.images.notes:
        print_note(note)
    infrared = to_infrared_values(sources.images.infrared, sources.infrared_options, sources.images.missing)
    methods = [*loaded, *(FusedFolder(name, {pair.name: file}) for name, file in files.items())]
    predictions = {method.name: method.fuse(sources) for method in methods}
    for name, prediction in predictions.items():
        for note in prediction.notes:
            print_note(f"{name}: {note}")
    fused = {name: prediction.fused for name, prediction in predictions.items()}
    return {"visible": sources.images.visible, "infrared": infrared[0], **fused}


def _draw_features(
    kind: str, features: "Features", class_names: list[str], name: str, model: str, output: Path
) -> bytes:
    from gffusion.evaluation.inputs import check_methods
    from gffusion.visualization.features import draw_gates, draw_tokens

    if kind == "tokens":
        if not features.tokens:
            raise ValueError(f"the model {model} has no encoders, and so no tokens: choose another --model")
        return _render(draw_tokens(features.images, features.tokens), output)
    if kind == "gates":
        if features.gate is None:
            raise ValueError(f"the model {model} injects no features, and so has no gates: choose another --model")
        return _render(draw_gates(features.images, features.gate), output)
    if features.labels is None:
        raise ValueError(f"the model {model} has no segmenter: choose another --model")
    check_methods([name])
    images: dict[str, Any] = dict(features.images)
    images[name] = images.pop("fused")
    return _draw_images(images, output, enlarge=False, labels={name: features.labels}, class_names=class_names)


def _draw_images(images: Mapping[str, Any], output: Path, **options: Any) -> bytes:
    from gffusion.visualization.side_by_side import TILE_WIDTH, draw_side_by_side

    width = min(max(images["visible"].shape[1], _MIN_WIDTH), _MAX_WIDTH)
    return _render(draw_side_by_side(images, **options), output, width / TILE_WIDTH)


def _draw_weights(name: str, output: Path) -> bytes:
    from gffusion.inference.features import get_layer_weights  # imports torch
    from gffusion.visualization.features import draw_layer_weights
    from gffusion.zoo import create_model

    model = create_model(name)
    with name_in_errors(name):
        weights = get_layer_weights(model)
    return _render(draw_layer_weights(weights), output)


def _draw_training(runs: Sequence[Path], output: Path) -> bytes:
    from gffusion.training.run_folder import LOG, name_loss, read_log
    from gffusion.visualization.features import draw_training

    logs = [run / LOG if run.is_dir() else run for run in runs]
    names = [log.parent.resolve().name if run.is_dir() else log.stem for run, log in zip(runs, logs, strict=True)]
    if len(logs) == 1:
        figure = draw_training(read_log(logs[0]), title=names[0], loss_name=name_loss(logs))
        return _render(figure, output)
    if len({*names}) < len(names):
        names = [str(run) for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the run {name} is given twice")
    records = {name: read_log(log) for name, log in zip(names, logs, strict=True)}
    return _render(draw_training(records, loss_name=name_loss(logs)), output)


def _render(figure: Any, output: Path, dpi: float = 150) -> bytes:
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # it lists fonts that are missing
    from gffusion.visualization.plotting import render_figure

    return render_figure(figure, output.suffix[1:].lower(), dpi)
