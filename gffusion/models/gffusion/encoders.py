"""The frozen encoders: their classes, which of them a model has, checks of their files, and loading them."""

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import CLIPVisionModel, Dinov2Model, PreTrainedConfig, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming
from transformers.utils import CONFIG_NAME, cached_file, logging

from .config_limits import check_encoder_sizes, refuse_downloaded_code
from .json_files import name_file_in_errors, read_json_object
from .weight_checks import LOADING, check_encoder_files, check_finite, is_quantized
from .weight_files import NO_PICKLES, explained, limit_to_cache, locate_weights
from .wrappers import without_wrappers

BACKBONE_CLASSES: dict[str, type[PreTrainedModel]] = {"clip": CLIPVisionModel, "dinov2": Dinov2Model}

_TYPES = {"clip": ("clip", "clip_vision_model"), "dinov2": ("dinov2",)}  # in config.json
_EXAMPLES = {
    "clip": "CLIPModel or CLIPVisionModel of transformers, such as openai/clip-vit-base-patch16",
    "dinov2": "Dinov2Model of transformers, without registers, such as facebook/dinov2-base",
}

_SUMMATION_ERROR = 1e-12  # relative, of float64 sums in another order


def gradients_if_trained(encoder: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Return a context without gradients if all weights of an encoder are frozen: on fixed images, no loss needs them."""
    is_trained = torch.is_grad_enabled() and any(weight.requires_grad for weight in encoder.parameters())
    return contextlib.nullcontext() if is_trained else torch.no_grad()


class WeightSum(NamedTuple):
    """Sum and norm of a weight, which show whether it has changed since."""

    dtype: torch.dtype
    total: float
    norm: float

    def fits(self, other: "WeightSum") -> bool:
        """Return whether the weight is the same, up to rounding if it was converted to another dtype."""
        if self.dtype == other.dtype:
            precision = _SUMMATION_ERROR
        else:  # five standard deviations of the sum of rounding errors, which are random
            precision = max(torch.finfo(dtype).eps for dtype in (self.dtype, other.dtype))
        return not abs(self.total - other.total) > precision * self.norm  # NaN, of the meta device, fits


WeightSums = dict[str, WeightSum]


def sum_weights(encoder: nn.Module) -> WeightSums:
    """Return the sum and norm of each weight of an encoder that is not quantized, for [`have_same_weights`]."""
    sums = {}
    for name, value in without_wrappers(encoder).state_dict().items():
        if is_quantized(value) or not value.is_floating_point():
            continue
        rounded = value.numel() ** 0.5 * torch.finfo(torch.float16).tiny  # smaller values lose digits in float16
        total = norm = float("nan")
        if not value.is_meta:
            exact = value.detach().cpu().double()  # some devices have no float64
            total, norm = float(exact.sum()), float(exact.norm())
        sums[name] = WeightSum(value.dtype, total, norm + rounded)
    return sums


def have_same_weights(before: WeightSums, after: WeightSums) -> bool:
    """Return whether an encoder has the weights that it had before, up to a conversion to another dtype."""
    return before.keys() == after.keys() and all(before[name].fits(after[name]) for name in before)


def check_given_encoders(plan: Any, given: Collection[str], argument: str = "{}", may_lack: bool = False) -> None:
    """Raise ValueError if encoders are given that a model does not have, or, unless it `may_lack` them, are missing.

    `plan` is its configuration, and `argument` how an encoder is given, with a place for its name.
    """
    options = f"paradigm={plan.paradigm!r} and use_segmenter={plan.use_segmenter}"
    problems = []
    for name in BACKBONE_CLASSES:
        field, is_needed = f"`{argument.format(name)}`", getattr(plan, f"needs_{name}")
        if is_needed and name not in given and not may_lack:
            problems.append(f"{field} is missing: a model with {options} needs it. Give its Hub id or folder.")
        if not is_needed and name in given:
            problems.append(
                f"{field} gives an encoder that a model with {options} does not have: leave it out, or change these "
                "fields of the configuration."
            )
    if problems:
        raise ValueError(" ".join(problems))


def locate_source(source: str | os.PathLike[str]) -> str:
    """Return a Hub id as it is, and the absolute path of a folder, so that it is found from other folders, too."""
    return os.path.abspath(source) if os.path.isdir(source) else os.fspath(source)


def collect_weights(encoders: dict[str, PreTrainedModel]) -> dict[str, Tensor]:
    """Return the weights of encoders, by their names in a [`GFFusionModel`]."""
    return {f"{name}.{key}": value for name, model in encoders.items() for key, value in model.state_dict().items()}


def restore_names(encoder: nn.Module, weights: dict[str, Tensor], prefix: str) -> None:
    """Rename weights that `save_pretrained` wrote, in place, to the names of an encoder's modules, as transformers does.

    Names of the encoder's weights start with `prefix`.
    """
    own = {f"{prefix}{name}" for name in encoder.state_dict()}
    saved = [name for name in weights if name.startswith(prefix) and name not in own]
    renamings = get_model_conversion_mapping(encoder) if saved else []  # type: ignore[arg-type]
    for name in saved:
        renamed = name.removeprefix(prefix)
        for renaming in renamings:
            if isinstance(renaming, WeightRenaming):
                renamed, _ = renaming.rename_source_key(renamed)
        if f"{prefix}{renamed}" in own - weights.keys():
            weights[f"{prefix}{renamed}"] = weights.pop(name)


def explain_move(name: str) -> str:
    """Return the advice for an encoder that was not found."""
    return f"If it has moved, pass {name}_name_or_path or {name}_revision."


def read_encoder_config(name: str, source: str, **request: Any) -> PreTrainedConfig:
    """Read the configuration of an encoder; raise ValueError for another kind of model, code to download, or a wrong size."""
    with explained(f"the frozen {name} encoder", source, explain_move(name)):
        if os.path.isdir(source) and not os.path.isfile(os.path.join(source, CONFIG_NAME)):
            raise FileNotFoundError(f"the folder has no {CONFIG_NAME}.")
        settings = read_json_object(cached_file(source, CONFIG_NAME, **request))
    found = settings.get("model_type")
    if found not in _TYPES[name]:
        kind = f"the `model_type` {found!r}" if found else "no `model_type`, as those of timm"
        raise ValueError(
            f"{source!r} cannot be the {name} encoder: its {CONFIG_NAME} has {kind}. Allowed is "
            f"{' or '.join(map(repr, _TYPES[name]))}: {_EXAMPLES[name]}."
        )
    with name_file_in_errors(os.path.join(source, CONFIG_NAME)):
        refuse_downloaded_code(settings)
        config: PreTrainedConfig = BACKBONE_CLASSES[name].config_class.from_pretrained(source, **request)
        check_encoder_sizes(f"{name}_config", config)
    return config


def check_encoder(name: str, source: str, config: PreTrainedConfig | None, request: dict[str, Any]) -> None:
    """Check kind and sizes of an encoder and the headers of its weights, before memory is allocated."""
    has_weights_alone = (
        config is not None and os.path.isdir(source) and not os.path.isfile(os.path.join(source, CONFIG_NAME))
    )
    found = config if has_weights_alone else read_encoder_config(name, source, **request)
    try:
        paths = locate_weights(source, **request)
    except OSError:  # the loader reports it, or finds converted weights
        return
    with explained(f"the frozen {name} encoder", source, explain_move(name)):
        check_encoder_files(paths, BACKBONE_CLASSES[name], found if config is None else config)


def find_included_backbones(config: Any, weights: Iterable[str]) -> set[str]:
    """Return the encoders that are among the weights of a checkpoint, by name, or that its configuration says it includes."""
    if config.backbone_weights == "included":
        return set(BACKBONE_CLASSES)
    return BACKBONE_CLASSES.keys() & {name.partition(".")[0] for name in weights}


def load_external_backbones(
    config: Any,
    source: str | os.PathLike[str],
    included: Collection[str],
    other_encoders: dict[str, str | os.PathLike[str] | None],
    hub_arguments: dict[str, Any],
) -> dict[str, PreTrainedModel]:
    """Load the encoders that a checkpoint does not include; `other_encoders` cannot replace those that it includes."""
    backbones = {}
    for name in BACKBONE_CLASSES:
        if not getattr(config, f"needs_{name}"):
            continue
        if name not in included:
            place, revision, encoder_config = (
                getattr(config, f"{name}_{field}") for field in ("name_or_path", "revision", "config")
            )
            backbones[name] = load_backbone(name, place, revision, encoder_config, hub_arguments)
        elif other := other_encoders[name]:
            raise ValueError(
                f"{os.fspath(source)!r} includes its {name} encoder, which {name}_name_or_path={other!r} does not replace: "
                "omit it, or use a checkpoint without encoders."
            )
    return backbones


def load_backbone(
    name: str, source: str | None, revision: str | None, config: PreTrainedConfig | None, hub_arguments: dict[str, Any]
) -> PreTrainedModel:
    """Load one frozen encoder and check that all its weights were loaded."""
    if not source:
        raise ValueError(
            f"The checkpoint neither holds the weights of its {name} encoder nor names a source. "
            f"Pass {name}_name_or_path with a Hub id or a folder."
        )
    what = f"the frozen {name} encoder"
    request = limit_to_cache(source, {"revision": revision or "main", **hub_arguments})
    check_encoder(name, source, config, request)
    # Text weights of CLIP are unexpected and ignored.
    with explained(what, source, f"{NO_PICKLES} {explain_move(name)}"), quiet_loading():
        backbone, report = BACKBONE_CLASSES[name].from_pretrained(
            source,
            config=config,
            output_loading_info=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # rejected below with a clear message
            **request,
        )
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise OSError(f"{source!r} lacks {len(missing)} weights of the {name} encoder, {missing[0]!r} among them.")
    differing = [f"{key} is {list(found)}, not {list(wanted)}" for key, found, wanted in report["mismatched_keys"]]
    # A head or a text model next to the encoder is ignored; additional layers or registers inside it are rejected.
    parts = tuple(f"{part}." for part, _ in backbone.named_children())
    differing += [f"{key} is not expected" for key in report["unexpected_keys"] if key.startswith(parts)]
    if differing:
        raise ValueError(
            f"The {name} encoder of {source!r} does not have the expected architecture: {len(differing)} weights differ, "
            f"{min(differing)} among them."
        )
    with explained(what, source):
        check_finite(backbone.state_dict())
    return backbone


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence the report of missing and unexpected weights, which the caller checks."""
    with LOADING:
        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
