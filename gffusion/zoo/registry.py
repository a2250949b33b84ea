"""Names of models and locations of their weights. Does not import torch or transformers."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

Status = Literal["bundled", "published", "recipe-only"]

PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".pkl")
"""Suffixes of weights saved with `torch.save`."""

_WEIGHT_SUFFIXES = (*PICKLE_SUFFIXES, ".safetensors", ".onnx", ".pt2")
_PICKLES = ": pickled weights (.pth, .pt, .ckpt, .bin) can run code and are not read; convert them to safetensors"

_EXPORTED = {
    ".onnx": "; exported files are for `gffusion fuse`, `gffusion evaluate` and `gffusion show fused`",
    ".pt2": "; a .pt2 file is for `torch.export.load`: give the model that it was exported from, or, to fuse and evaluate, an .onnx file",
}


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A listed model: a configuration of GFFusion, with weights or a recipe that trains them.

    Other networks are compared by folders of their fused images: `gffusion evaluate --fused NAME=FOLDER`.

    Args:
        name: Name in `create_model` and on the command line.
        description: Purpose of the model, in one line.
        status: Whether the weights are in the package ("bundled"), on the Hub ("published"), or do not exist
            ("recipe-only").
        recipe: Recipe that trains the model, for `gffusion train --config`: a bundled one, or a path in the repository.
        training_data: Data that the weights were trained on, or that the recipe trains on.
        architecture: Arguments of [`GFFusionConfig`].
        license: SPDX identifier of the license of the weights, which every model with weights has.
        repo_id: Hub id of published weights.
        revision: Commit of `repo_id`.
        measurements: Means measured with the weights, by dataset and metric, which every model with weights has.
    """

    name: str
    description: str
    status: Status
    recipe: str
    training_data: str
    architecture: Mapping[str, Any] = field(default_factory=dict)
    license: str | None = None
    repo_id: str | None = None
    revision: str | None = None
    measurements: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def evaluation_command(self, dataset: str) -> str:
        """Return the command that reproduces the means on a dataset."""
        folder = dataset.partition(",")[0]
        return (
            f"gffusion evaluate --visible {folder}/visible --infrared {folder}/infrared --model {self.name} "
            f"--metrics {','.join(self.measurements[dataset])} -o OUT"
        )


def _means(*values: float) -> dict[str, float]:
    return dict(zip(("EN", "SCD", "VIF", "Qabf", "SSIM", "Nabf"), values, strict=True))


# Classes of the label maps of MFNet, in order of their ids.
_MFNET_CLASSES = ("background", "car", "person", "bike", "curve", "car_stop", "guardrail", "color_cone", "bump")

_M3FD = "M3FD, with masks generated from its boxes"

_SMALL_FUNET = {"stem_channels": 8, "feature_channels": 24, "decoder_channels": [16, 8], "intensity_weight": 20.0}

_TWO_SCALE = {
    "gradient_weight": 5.0,
    "intensity_target": "two_scale",
    "intensity_contrast": 1.15,
    "intensity_floor": 0.5,
    "intensity_undershoot": 0.04,
}

MODELS = (
    ModelEntry(
        name="gffusion-funet",
        description="FuNet alone, at full resolution as in the paper, for comparisons; superseded by gffusion-live",
        status="bundled",
        recipe="funet",
        training_data="436 pairs of MSRS, RoadScene and M3SVD",
        architecture={"paradigm": "cascading", "use_segmenter": False, **_SMALL_FUNET},
        license="Apache-2.0",
        measurements={
            "MSRS, 40 validation pairs": _means(6.569, 1.652, 0.865, 0.603, 1.415, 0.015),
            "M3SVD, 12 pairs of three clips": _means(7.393, 1.611, 0.720, 0.710, 1.261, 0.009),
        },
    ),
    ModelEntry(
        name="gffusion-live",
        description="FuNet at a quarter of the resolution (cascading paradigm without segmenter): for cameras and videos",
        status="bundled",
        recipe="projects/gffusion_tiny/live_whole.yaml",
        training_data="436 pairs of MSRS, RoadScene and M3SVD",
        architecture={
            "paradigm": "cascading",
            "use_segmenter": False,
            "pixel_unshuffle": 4,
            "stem_channels": 16,
            "feature_channels": 24,
            "decoder_channels": [16],
            "context_channels": 8,
            "blend_sources": True,
            **_TWO_SCALE,
            "intensity_weight": 10.0,
            "vif_weight": 0.5,
            "qabf_weight": 1.0,
        },
        license="Apache-2.0",
        measurements={
            "MSRS, 40 validation pairs": _means(6.600, 1.679, 1.025, 0.673, 1.430, 0.012),
            "M3SVD, 12 pairs of three clips": _means(7.298, 1.651, 0.924, 0.772, 1.295, 0.009),
        },
    ),
    ModelEntry(
        name="gffusion-tiny",
        description="Small version of the complete method with encoders of its own: fusion and segmentation on a laptop",
        status="bundled",
        recipe="projects/gffusion_tiny/fusion_whole.yaml",
        training_data="436 pairs of MSRS, RoadScene and M3SVD, with boxes of MSRS",
        architecture={
            "pixel_unshuffle": 2,
            "stem_channels": 16,
            "feature_channels": 48,
            "decoder_channels": [32, 16],
            "context_channels": 16,
            "blend_sources": True,
            **_TWO_SCALE,
            "intensity_weight": 22.0,
            "vif_weight": 0.5,
            "qabf_weight": 1.5,
            "segmenter_image_size": [448, 588],
            "segmenter_windows": [2, 2],
            "segmenter_scales": [1, 0.5],
            "segmenter_layers": 4,
            "segmenter_refinement": 1.0,
            "id2label": {0: "background", 1: "person", 2: "bicycle", 3: "car"},
            "class_weights": [1, 2.5, 3.5, 5],
        },
        license="Apache-2.0",
        measurements={
            "MSRS, 40 validation pairs": _means(6.704, 1.844, 1.063, 0.698, 1.400, 0.015),
            "M3SVD, 12 pairs of three clips": _means(7.288, 1.794, 0.925, 0.777, 1.274, 0.010),
        },
    ),
    ModelEntry(
        name="gffusion-m3fd",
        description="Model of the paper (hybrid paradigm, weighted_sum merging) with the classes of M3FD",
        status="recipe-only",
        recipe="paper_m3fd",
        training_data=_M3FD,
    ),
    ModelEntry(
        name="gffusion-mfnet",
        description="Model of the paper (hybrid paradigm, weighted_sum merging) with the classes of MFNet",
        status="recipe-only",
        recipe="paper_mfnet",
        training_data="MFNet",
        architecture={"id2label": dict(enumerate(_MFNET_CLASSES))},
    ),
    *(
        ModelEntry(
            name=f"gffusion-{value.replace('_', '-')}",
            description=f"Variant of the {option} comparison in the paper: {value}{suffix}",
            status="recipe-only",
            recipe=f"ablations/{value}",
            training_data=_M3FD,
            architecture={option: value},
        )
        for option, values, suffix in (
            ("paradigm", ("cascading", "parallel", "hybrid"), ""),
            ("merging", ("mean", "group_conv", "weighted_sum"), ", in the hybrid paradigm"),
        )
        for value in values
    ),
)


def list_models(pattern: str = "*", status: Status | None = None) -> list[str]:
    """Return the names of models that match a pattern and have a status: "bundled", "published" or "recipe-only".

    Raises:
        ValueError: If the status is unknown.

    Examples:
        >>> list_models("*-m*fd", status="recipe-only")
        ['gffusion-m3fd']
    """
    return [entry.name for entry in find_entries(pattern, status)]


def find_entries(pattern: str = "*", status: Status | None = None) -> list[ModelEntry]:
    """Return the entries of models, selected as in [`list_models`].

    Examples:
        >>> [entry.recipe for entry in find_entries("*funet")]
        ['funet']
    """
    if status is not None and status not in get_args(Status):
        raise ValueError(f"`status` must be one of {', '.join(get_args(Status))}, got {status!r}.")
    return [entry for entry in MODELS if fnmatch(entry.name, pattern) and status in (None, entry.status)]


def find_entry(name: str | os.PathLike[str]) -> ModelEntry | None:
    """Return the entry of the model with this name, or `None` for paths and for other names."""
    return next((entry for entry in MODELS if entry.name == name), None)


def find_revision(name: str | os.PathLike[str]) -> str | None:
    """Return the commit of a listed model on the Hub, or `None` for other models."""
    entry = find_entry(name)
    return None if entry is None else entry.revision


def advise_name(name: str) -> str:
    """Return what to do about a path that equals the name of a listed model, as the end of a message."""
    return "" if find_entry(name) is None else f" For the listed model, pass {name!r} as text, not as a path."


def locate(name: str | os.PathLike[str]) -> str:
    """Return the folder or Hub id of a model, for `from_pretrained`.

    Args:
        name: Name of a listed model, folder, or Hub id `organization/name`.

    Raises:
        OSError: If the model is unknown, has no weights, or a folder would be loaded instead.

    Examples:
        >>> locate("organization/street")
        'organization/street'
    """
    if (entry := find_entry(name)) is not None:
        if entry.status == "bundled":
            return _extract_bundled_weights(entry.name)
        if entry.repo_id is not None:
            if os.path.exists(entry.repo_id):
                raise OSError(
                    f"{entry.repo_id} is a path here, and would be loaded instead of {entry.name} on the Hub: work in another "
                    f"folder, or rename it. To load it, write ./{entry.repo_id}."
                )
            return entry.repo_id
        folder = f" For the folder of this name, write ./{entry.name}." if os.path.isdir(entry.name) else ""
        raise OSError(
            f"No weights of {entry.name} are published. Train them with `gffusion train --config {entry.recipe}`, or "
            f"create an untrained model with create_model(..., pretrained=False).{folder}"
        )
    name = os.fspath(name)
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            models = sorted(str(file.parent) for file in path.glob("*/config.json"))
            hint = f" Did you mean {' or '.join(models)}?" if models else ""
            pickles = sorted(file.name for file in path.iterdir() if file.suffix.lower() in PICKLE_SUFFIXES)
            found = f" It contains {pickles[0]}{_PICKLES}." if pickles else ""
            if (path / "adapter_config.json").is_file():
                found = (
                    " It contains an adapter: load the model that it was trained with, then call `model.load_adapter`."
                )
            raise OSError(f"The folder {name} contains no model: it has no config.json.{hint}{found}")
        return name
    if path.suffix.lower() in _WEIGHT_SUFFIXES:
        raise OSError(
            f"{name} is named as a file of weights, but a model is a folder with config.json and model.safetensors"
            f"{_EXPORTED.get(path.suffix.lower(), '')}"
            f"{_PICKLES if path.suffix.lower() in PICKLE_SUFFIXES else ''}. Use such a folder, a listed model "
            f"({_name_loadable_models()}), or a Hub id such as organization/name."
        )
    if path.exists() or not is_hub_id(name):
        raise OSError(
            f"Unknown model {name!r}: use a listed model ({_name_loadable_models()}), a folder with a model, or a Hub "
            f"id such as organization/name.{advise_name(name)}"
        )
    return name


def locate_folder(name: str | os.PathLike[str]) -> Path:
    """Return the folder of a model to be published.

    Args:
        name: Name of a bundled model, or folder.

    Raises:
        OSError: If there is no such folder, or the listed model of this name is not bundled.
        ValueError: If both exist.

    Examples:
        >>> locate_folder("gffusion-live").name
        'gffusion-live'
    """
    entry, is_folder = find_entry(name), os.path.isdir(name)
    if entry is not None and is_folder:
        raise ValueError(
            f"{entry.name} is a listed model and a folder here: write ./{entry.name} for the folder, or work in another folder for "
            "the listed model."
        )
    if entry is None and not is_folder:
        raise NotADirectoryError(
            f"{os.fspath(name)} is not a folder: give one that a training run or `save_pretrained` wrote, such as runs/mine/best, or a "
            f"bundled model ({', '.join(list_models(status='bundled'))}).{advise_name(os.fspath(name))}"
        )
    return Path(name if entry is None else locate(name))


def _name_loadable_models() -> str:
    return ", ".join(entry.name for entry in MODELS if entry.status != "recipe-only")


def is_hub_id(name: str) -> bool:
    """Return whether a name has the form of a Hub id, `organization/name`.

    Examples:
        >>> is_hub_id("organization/street"), is_hub_id("runs/street/best")
        (True, False)
    """
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def is_on_hub(source: str | None) -> bool:
    """Return whether a source of weights is a Hub id rather than a local path."""
    return source is not None and is_hub_id(source) and not os.path.exists(source)


@cache
def _extract_bundled_weights(name: str) -> str:
    """Return the folder of bundled weights, or a temporary copy if the package is imported from an archive."""
    bundled = files(__package__) / "weights" / name
    if isinstance(bundled, Path):
        return str(bundled)
    folder = Path(tempfile.mkdtemp(prefix="gffusion-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for file in bundled.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return str(folder)
