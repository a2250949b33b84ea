"""What models there are, where each one lives, and what was measured with it."""

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
from typing import TYPE_CHECKING, Any, Literal, get_args

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

if TYPE_CHECKING:
    from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
    from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

Status = Literal["bundled", "published", "recipe-only"]


@dataclass(frozen=True)
class Measurement:
    """Means that `gffusion evaluate` measured with a model's weights.

    Args:
        data_set: What they are means over.
        metrics: Means by metric.
        command: The command that measures them again.
    """

    data_set: str
    metrics: Mapping[str, float]
    command: str


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A model that has a name.

    Args:
        name: Name in `create_model` and on the command line.
        description: One line for people who choose.
        status: Whether the weights are in the package ("bundled"), on the Hub ("published"), or nowhere ("recipe-only").
        recipe: Name of the recipe that trains it, as `gffusion train --config` takes it.
        training_data: What the weights were, or are to be, trained on.
        architecture: Arguments of [`GFFusionConfig`].
        licence: SPDX identifier of the weights' licence.
        repo_id: Where published weights are on the Hub.
        revision: Commit of `repo_id`.
        measurements: What was measured with the weights.
    """

    name: str
    description: str
    status: Status
    recipe: str
    training_data: str
    architecture: Mapping[str, Any] = field(default_factory=dict)
    licence: str | None = None
    repo_id: str | None = None
    revision: str | None = None
    measurements: tuple[Measurement, ...] = ()


_COMMAND = (
    "gffusion evaluate --visible {0}/visible --infrared {0}/infrared --model {1} "
    "--metrics EN,SCD,VIF,Qabf,SSIM,Nabf -o OUT"
)

# Classes of MFNet's label maps, in their order.
_MFNET_LABELS = (
    "background",
    "car",
    "person",
    "bike",
    "curve",
    "car_stop",
    "guardrail",
    "color_cone",
    "bump",
)

MODELS = (
    ModelEntry(
        name="gffusion-funet",
        description="FuNet alone (cascading paradigm without segmenter): small and quick, needs no encoder",
        status="bundled",
        recipe="funet",
        training_data="436 pairs of MSRS, RoadScene and M3SVD",
        architecture={
            "paradigm": "cascading",
            "use_segmenter": False,
            "stem_channels": 8,
            "feature_channels": 24,
            "decoder_channels": [16, 8],
            "intensity_weight": 20.0,
        },
        licence="Apache-2.0",
        measurements=(
            Measurement(
                data_set="MSRS, 40 validation pairs",
                metrics={"EN": 6.569, "SCD": 1.652, "VIF": 0.865, "Qabf": 0.603, "SSIM": 1.415, "Nabf": 0.015},
                command=_COMMAND.format("MSRS", "gffusion-funet"),
            ),
            Measurement(
                data_set="M3SVD, 12 pairs of one clip",
                metrics={"EN": 7.393, "SCD": 1.611, "VIF": 0.720, "Qabf": 0.710, "SSIM": 1.261, "Nabf": 0.009},
                command=_COMMAND.format("M3SVD", "gffusion-funet"),
            ),
        ),
    ),
    ModelEntry(
        name="gffusion-tiny",
        description="The whole method made small: fusion and segmentation, with encoders of its own, on a laptop",
        status="bundled",
        recipe="projects/gffusion_tiny/segmentation.yaml",
        training_data="436 pairs of MSRS, RoadScene and M3SVD, and boxes of MSRS",
        architecture={
            "stem_channels": 8,
            "feature_channels": 24,
            "decoder_channels": [16, 8],
            "intensity_weight": 20.0,
            "intensity_target": "two_scale",
            "segmenter_image_size": [448, 588],
            "segmenter_windows": [2, 2],
            "segmenter_scales": [1, 1.5],
            "segmenter_layers": 4,
            "segmenter_refinement": 1.0,
            "id2label": {0: "background", 1: "person", 2: "bicycle", 3: "car"},
            "class_weights": [1, 2.5, 3.5, 5],
        },
        licence="Apache-2.0",
        measurements=(
            Measurement(
                data_set="MSRS, 40 validation pairs",
                metrics={"EN": 6.669, "SCD": 1.843, "VIF": 0.925, "Qabf": 0.662, "SSIM": 1.431, "Nabf": 0.015},
                command=_COMMAND.format("MSRS", "gffusion-tiny"),
            ),
            Measurement(
                data_set="M3SVD, 12 pairs of one clip",
                metrics={"EN": 7.366, "SCD": 1.783, "VIF": 0.777, "Qabf": 0.740, "SSIM": 1.292, "Nabf": 0.012},
                command=_COMMAND.format("M3SVD", "gffusion-tiny"),
            ),
        ),
    ),
    ModelEntry(
        name="gffusion-m3fd",
        description="The paper's model (hybrid paradigm, weighted_sum merging), with M3FD's classes",
        status="recipe-only",
        recipe="paper_m3fd",
        training_data="M3FD, masks made from its boxes",
    ),
    ModelEntry(
        name="gffusion-mfnet",
        description="The paper's model (hybrid paradigm, weighted_sum merging), with MFNet's classes",
        status="recipe-only",
        recipe="paper_mfnet",
        training_data="MFNet",
        architecture={"id2label": dict(enumerate(_MFNET_LABELS))},
    ),
    *(
        ModelEntry(
            name=f"gffusion-{paradigm}",
            description=f"The paper's comparison of paradigms: {paradigm}",
            status="recipe-only",
            recipe=f"ablations/{paradigm}",
            training_data="M3FD, masks made from its boxes",
            architecture={"paradigm": paradigm},
        )
        for paradigm in ("cascading", "parallel", "hybrid")
    ),
    *(
        ModelEntry(
            name=f"gffusion-{merging.replace('_', '-')}",
            description=f"The paper's comparison of mergings: {merging}, in the hybrid paradigm",
            status="recipe-only",
            recipe=f"ablations/{merging}",
            training_data="M3FD, masks made from its boxes",
            architecture={"merging": merging},
        )
        for merging in ("mean", "group_conv", "weighted_sum")
    ),
)


def list_models(pattern: str = "*", status: Status | None = None) -> list[str]:
    """Return the names of models.

    Args:
        pattern: What the names match, such as `"*funet*"`.
        status: Of which models: "bundled", "published" or "recipe-only". Defaults to all.

    Raises:
        ValueError: If the status is unknown.
    """
    return [entry.name for entry in find_entries(pattern, status)]


def find_entries(pattern: str = "*", status: Status | None = None) -> list[ModelEntry]:
    """Return the entries of models, chosen like those of [`list_models`]."""
    if status is not None and status not in get_args(Status):
        raise ValueError(f"`status` must be one of {', '.join(get_args(Status))}, got {status!r}.")
    return [entry for entry in MODELS if fnmatch(entry.name, pattern) and status in (None, entry.status)]


def locate(name: str | os.PathLike[str]) -> str:
    """Return what `from_pretrained` needs to load a model.

    Args:
        name: Name of a model of the zoo, folder, or Hub id `organisation/name`.

    Raises:
        OSError: If the name is none of these, or names a model without published weights.
    """
    name = os.fspath(name)
    entry = _find(name)
    if entry is not None:
        return _weights_of(entry)
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            inside = sorted(str(file.parent) for file in path.glob("*/config.json"))
            hint = f" Did you mean {' or '.join(inside)}?" if inside else ""
            raise OSError(f"The folder {name} holds no model: it has no config.json.{hint}")
        return name
    if path.exists() or not is_hub_id(name):
        raise OSError(
            f"Unknown model {name!r}: neither a model of the zoo ({', '.join(list_models())}), nor a folder with a model, "
            "nor a Hub id such as org/name."
        )
    return name


def create_model(
    name: str | os.PathLike[str] = "gffusion-tiny", pretrained: bool = True, **kwargs: Any
) -> "GFFusionModel":
    """Load a model by name, with its weights and ready for inference, or start a new one of its architecture.

    Args:
        name: Name of a model of the zoo, folder, or Hub id.
        pretrained: Whether to load weights. Otherwise all but the frozen encoders is new, as a training begins; only
            models of the zoo can be made so.
        kwargs: Passed on to [`GFFusionModel.from_pretrained`], without weights to [`GFFusionModel.from_backbones`], whose
            encoders default to those that are bundled with the model, or else that the paper names.

    Raises:
        OSError: If there is no such model, no weights of it are published, or it cannot be loaded.
        ValueError: If an argument is refused.
    """
    from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

    entry = _find(os.fspath(name))
    try:
        if not pretrained:
            return _start(entry, os.fspath(name), kwargs)
        if entry is not None and entry.status == "bundled" and kwargs.get("revision"):
            raise ValueError(f"{name} is in the package and has no revisions, got revision={kwargs['revision']!r}.")
        if entry is not None and entry.revision is not None:
            kwargs = {"revision": entry.revision, **kwargs}
        return GFFusionModel.from_pretrained(locate(name), **kwargs)
    except (OSError, RuntimeError) as error:  # RuntimeError: weights of other shapes
        raise OSError(f"Cannot load the model {os.fspath(name)!r}: {error}") from error


def load_image_processor(name: str | os.PathLike[str] = "gffusion-tiny", **kwargs: Any) -> "GFFusionImageProcessor":
    """Load the image processor of a model by name, or the default one where the model was saved without.

    Args:
        name: Name of a model of the zoo, folder, or Hub id.
        kwargs: Options of [`GFFusionImageProcessor`], and what its `from_pretrained` takes.

    Raises:
        OSError: If there is no such model, or it cannot be loaded.
        ValueError: If an option is refused.
    """
    from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
    from gffusion.models.gffusion.weight_files import HUB_ARGUMENTS, explained, find_file

    source = locate(name)
    request = {key: kwargs[key] for key in (*HUB_ARGUMENTS, "revision", "subfolder") if key in kwargs}
    with explained("the image processor", source):
        if find_file(source, "preprocessor_config.json", **request) is None:
            return GFFusionImageProcessor(**{key: value for key, value in kwargs.items() if key not in request})
        return GFFusionImageProcessor.from_pretrained(source, **kwargs)


def is_hub_id(name: str) -> bool:
    """Tell whether a name has the form of a Hub id, `organisation/name`."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def _find(name: str) -> ModelEntry | None:
    return next((entry for entry in MODELS if entry.name == name), None)


def _weights_of(entry: ModelEntry) -> str:
    if entry.status == "bundled":
        return _unpack(entry.name)
    if entry.repo_id is None:
        raise OSError(
            f"No weights of {entry.name} are published. Train them with `gffusion train --config {entry.recipe}`, or "
            "start from new ones with create_model(..., pretrained=False)."
        )
    return entry.repo_id


@cache
def _unpack(name: str) -> str:
    """Return the folder of bundled weights, which has to be made first where the package is imported from an archive."""
    bundled = files(__package__) / "weights" / name
    if isinstance(bundled, Path):
        return str(bundled)
    folder = Path(tempfile.mkdtemp(prefix="gffusion-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for file in bundled.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return str(folder)


def _start(entry: ModelEntry | None, name: str, kwargs: dict[str, Any]) -> "GFFusionModel":
    from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
    from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

    if entry is None:
        raise ValueError(f"pretrained=False needs a model of the zoo ({', '.join(list_models())}), got {name!r}.")
    arguments = {**entry.architecture, **kwargs}
    if {"id2label", "num_labels"} & kwargs.keys():  # weights of classes say nothing of others
        arguments["class_weights"] = kwargs.get("class_weights")
    choices = {key: arguments[key] for key in ("paradigm", "use_segmenter") if key in arguments}
    config = GFFusionConfig(**choices)
    for encoder in ("clip", "dinov2"):  # as `from_pretrained` calls it
        if source := arguments.pop(f"{encoder}_name_or_path", None):
            arguments.setdefault(encoder, source)
    needed = [name for name in ("clip", "dinov2") if getattr(config, f"needs_{name}") and name not in arguments]
    # Bundled weights bring encoders of their own.
    bundled = GFFusionModel.from_pretrained(locate(name)).backbones if entry.status == "bundled" and needed else {}
    encoders = {encoder: bundled.get(encoder, getattr(config, f"{encoder}_name_or_path")) for encoder in needed}
    return GFFusionModel.from_backbones(**{**encoders, **arguments})
