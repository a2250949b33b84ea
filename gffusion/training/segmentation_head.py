"""Start the segmentation head from a converted linear segmenter, matching classes by name."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gffusion.data.file_names import normalize_class_name
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.models.gffusion.weight_checks import check_finite, check_header_size
from gffusion.zoo.checks import check_model_object

# Class names of fusion datasets (M3FD, MFNet, FMB) -> ADE20K, whose own "lamp" is a table lamp. "background" has no
# counterpart, because it means all classes that a dataset does not name.
_ADE20K_NAMES = {
    "guardrail": "railing",
    "lamp": "streetlight",
    "motorcycle": "minibike",
    "pedestrian": "person",
    "people": "person",
    "terrain": "earth",
    "traffic sign": "signboard",
    "vegetation": "tree",
}


@dataclass(frozen=True)
class HeadMatch:
    """Classes of a model with and without weights from the loaded head.

    Attributes:
        loaded: Class of the model -> class of the head whose weights it has now.
        left: Classes of the model that the head lacks; their weights are unchanged.
    """

    loaded: dict[str, str]
    left: tuple[str, ...]


def load_head(model: GFFusionModel, path: str | os.PathLike[str]) -> HeadMatch:
    """Copy weights of a converted head into `model.ssnet`, for the classes that both have.

    Names in `model.config.id2label` and in the file are compared case-insensitively, with `_` as a space. A class of the file
    can be a list of synonyms ("minibike, motorbike"); first names take precedence over synonyms, earlier classes over later
    ones. Names that only fusion datasets use are translated: people, pedestrian -> person; motorcycle -> minibike;
    lamp -> streetlight; guardrail -> railing; terrain -> earth; traffic sign -> signboard; vegetation -> tree. "background"
    is unchanged.

    Args:
        model: A model with a segmenter that reads the same number of layers as the head, `config.segmenter_layers`.
        path: A safetensors file of `convert_ade20k_head`.

    Raises:
        OSError: If the file cannot be read or is damaged.
        ValueError: If the model has no segmenter, the file is not a converted head, or the head is for another DINOv2, for
            another number of layers, or has none of the model's classes.
    """
    check_model_object(model)
    if not model.config.use_segmenter:
        raise ValueError("the model has no segmenter to load a head into (use_segmenter=False)")
    weight, bias, classes, layers = _read(path)
    hidden_size, expected = weight.shape[1] / layers, model.config.dinov2_config.hidden_size
    if hidden_size != expected:
        raise ValueError(
            f"the head of {path} was made for a DINOv2 of width {hidden_size:g}, but the model's has width {expected}"
        )
    if layers != model.config.segmenter_layers:
        raise ValueError(
            f"the head of {path} reads the last {layers} layers of DINOv2, the model's head the last "
            f"{model.config.segmenter_layers}: build the model with segmenter_layers={layers}"
        )
    rows, names = _rows_by_name(classes), model.config.id2label
    found = {index: rows[key] for index, name in names.items() if (key := _key(name)) in rows}
    if not found:
        raise ValueError(
            f"{path} has none of the classes {list(names.values())}: name the classes as ADE20K does (id2label)"
        )
    classifier = model.ssnet.classifier
    with torch.no_grad():
        for index, row in found.items():
            classifier.weight[index] = weight[row].to(classifier.weight)
            classifier.bias[index] = bias[row].to(classifier.bias)
    return HeadMatch(
        loaded={names[index]: classes[row] for index, row in found.items()},
        left=tuple(name for index, name in names.items() if index not in found),
    )


def _read(path: str | os.PathLike[str]) -> tuple[Tensor, Tensor, list[str], int]:
    """Return weight, bias, classes and the number of layers that the head reads."""
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder: give the file that convert_ade20k_head wrote")
    try:
        check_header_size(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise OSError(
            f"{path} is damaged or not a safetensors file: {error}; convert a published head with convert_ade20k_head"
        ) from error
    if set(tensors) != {"weight", "bias"} or not {"classes", "layers"} <= set(metadata):
        raise ValueError(
            f"{path} was not written by convert_ade20k_head: it holds {sorted(tensors)} and the metadata {sorted(metadata)}"
        )
    weight, bias = tensors["weight"], tensors["bias"]
    try:
        classes, layers = json.loads(metadata["classes"]), int(metadata["layers"])
        fits = layers >= 1 and weight.shape == (len(classes), weight.shape[-1]) and bias.shape == (len(classes),)
        is_complete = fits and isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    except (ValueError, TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"{path} has wrong metadata: {error}") from error
    if not is_complete or not (weight.is_floating_point() and bias.is_floating_point()):
        raise ValueError(f"{path} does not hold a weight and a bias for each of its classes")
    check_finite(tensors)
    return weight, bias, classes, layers


def _rows_by_name(classes: Sequence[str]) -> dict[str, int]:
    synonyms = [[normalize_class_name(name) for name in entry.split(",")] for entry in classes]
    first = [(names[0], row) for row, names in enumerate(synonyms)]
    others = [(name, row) for row, names in enumerate(synonyms) for name in names[1:]]
    return dict(reversed(first + others))  # the first of equal names wins


def _key(name: str) -> str:
    name = normalize_class_name(name)
    return _ADE20K_NAMES.get(name, name)
