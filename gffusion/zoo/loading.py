"""Load models and image processors by name."""

import os
from typing import Any

from transformers.utils import IMAGE_PROCESSOR_NAME

from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.encoders import BACKBONE_CLASSES
from gffusion.models.gffusion.image_processing_gffusion import PROCESSOR_OPTIONS, GFFusionImageProcessor
from gffusion.models.gffusion.infrared_options import OPTION_NAMES
from gffusion.models.gffusion.json_files import name_file_in_errors, read_json_object
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.models.gffusion.weight_files import HUB_ARGUMENTS, explained, find_file, limit_to_cache

from .digest import digest_weights
from .registry import ModelEntry, advise_name, find_entry, find_revision, list_models, locate

_REQUEST_ARGUMENTS = (*HUB_ARGUMENTS, "revision", "subfolder")


def create_model(
    name: str | os.PathLike[str] = "gffusion-tiny", pretrained: bool = True, **kwargs: Any
) -> GFFusionModel:
    """Load a model by name, in evaluation mode, or create an untrained one of its architecture.

    Args:
        name: Name of a listed model, folder, or Hub id.
        pretrained: Whether to load trained weights. Otherwise only the frozen encoders are loaded and the model is in
            training mode; `name` must be a listed model.
        kwargs: Arguments of [`GFFusionModel.from_pretrained`], such as `subfolder`, or of [`GFFusionModel.from_backbones`] if not `pretrained`.
            The default encoders are those bundled with the model, or else those of the paper. For other classes, pass
            `id2label` or `num_labels` with `ignore_mismatched_sizes=True`: the segmentation head is then untrained.

    Raises:
        OSError: If the model is unknown, has no published weights, or cannot be loaded.
        ValueError: If an argument is invalid.

    Examples:
        >>> create_model("gffusion-live").config.paradigm
        'cascading'
    """
    entry = find_entry(name)
    try:
        if not pretrained:
            return _create_untrained_model(entry, os.fspath(name), kwargs)
        source, kwargs = _find_source(name, kwargs)
        return GFFusionModel.from_pretrained(source, **kwargs)
    except RuntimeError as error:  # weights of other shapes
        raise OSError(f"Cannot load the model {os.fspath(name)!r}: {error}") from error


def load_image_processor(name: str | os.PathLike[str] = "gffusion-tiny", **kwargs: Any) -> GFFusionImageProcessor:
    """Load the image processor of a model by name, or create the default one if the model has none.

    Args:
        name: Name of a listed model, folder, or Hub id.
        kwargs: Options of [`GFFusionImageProcessor`], and arguments of a request to the Hub: `revision`, `subfolder`, `token`,
            `cache_dir`, `force_download`, `local_files_only` and `proxies`.

    Raises:
        OSError: If the model is unknown or cannot be loaded.
        ValueError: If an option is unknown or invalid.

    Examples:
        >>> load_image_processor("gffusion-live", size_divisor=8).size_divisor
        8
    """
    if unknown := sorted(set(kwargs) - {*PROCESSOR_OPTIONS, *_REQUEST_ARGUMENTS}):
        raise ValueError(f"Unknown options {unknown}. Allowed: {', '.join(PROCESSOR_OPTIONS + _REQUEST_ARGUMENTS)}.")
    source, kwargs = _find_source(name, kwargs)
    given = {key: kwargs.pop(key) for key in OPTION_NAMES if key in kwargs}
    kwargs = limit_to_cache(source, kwargs)
    request = {key: kwargs[key] for key in _REQUEST_ARGUMENTS if key in kwargs}
    with explained("the image processor", source):
        file = find_file(source, IMAGE_PROCESSOR_NAME, **request)
        if file is None:
            processor = GFFusionImageProcessor(**{key: value for key, value in kwargs.items() if key not in request})
        else:
            read_json_object(file)
            with name_file_in_errors(file, kwargs):
                processor = GFFusionImageProcessor.from_pretrained(source, **kwargs)
    processor.infrared_options = processor.infrared_options.override(**given)
    return processor


def find_bundled(model: GFFusionModel) -> str | None:
    """Return the name of the bundled model that has the configuration and the weights of a model, or `None`.

    Examples:
        >>> find_bundled(create_model("gffusion-live"))
        'gffusion-live'
    """
    config = model.config.to_dict() | {"_name_or_path": ""}
    for name in list_models(status="bundled"):
        if GFFusionConfig.from_pretrained(locate(name)).to_dict() == config:
            return name if digest_weights(create_model(name)) == digest_weights(model) else None
    return None


def _find_source(name: str | os.PathLike[str], arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the folder or Hub id of a model, and the arguments with the listed revision if there is one and none is given.

    `subfolder` becomes part of a local folder.
    """
    subfolder = arguments.get("subfolder")
    if subfolder and find_entry(name) is None and os.path.isdir(name):
        name = os.path.join(name, subfolder)
        arguments = {key: value for key, value in arguments.items() if key != "subfolder"}
    source = locate(name)
    if (revision := find_revision(name)) is not None:
        arguments = {"revision": revision, **arguments}
    if arguments.get("revision") and os.path.isdir(source):
        raise ValueError(f"{source} is a folder and has no revisions, got revision={arguments['revision']!r}: omit it.")
    return source, arguments


def _create_untrained_model(entry: ModelEntry | None, name: str, kwargs: dict[str, Any]) -> GFFusionModel:
    if entry is None:
        raise ValueError(
            f"pretrained=False needs a listed model ({', '.join(list_models())}), got {name!r}.{advise_name(name)}"
        )
    arguments = {**entry.architecture, **kwargs}
    if {"id2label", "num_labels"} & kwargs.keys():  # other classes than those of the entry, and of its weights
        arguments = {**entry.architecture, "id2label": None, "class_weights": None, **kwargs}
    config = GFFusionConfig(**{key: arguments[key] for key in ("paradigm", "use_segmenter") if key in arguments})
    for encoder in BACKBONE_CLASSES:  # the name of the argument in `from_pretrained`
        if source := arguments.pop(f"{encoder}_name_or_path", None):
            arguments.setdefault(encoder, source)
    missing = [
        encoder for encoder in BACKBONE_CLASSES if getattr(config, f"needs_{encoder}") and encoder not in arguments
    ]
    bundled = GFFusionModel.from_pretrained(locate(name)).backbones if entry.status == "bundled" and missing else {}
    encoders = {encoder: bundled.get(encoder, getattr(config, f"{encoder}_name_or_path")) for encoder in missing}
    return GFFusionModel.from_backbones(**encoders, **arguments)
