"""Validate configuration files: size limits, no code selection, no local paths."""

import functools
import math
import os
import re
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, TypeVar

from huggingface_hub.errors import HFValidationError, StrictDataclassError
from huggingface_hub.utils import validate_repo_id
from transformers import CLIPVisionConfig, Dinov2Config, PreTrainedConfig

from .json_files import describe_type, name_file_in_errors

# Largest values, far beyond published models. Larger ones are rejected before memory is allocated.
LIMITS = {
    "stem_channels": 4096,
    "feature_channels": 4096,
    "decoder_channels": 4096,
    "context_channels": 4096,
    "group_kernel_size": 31,
    "clip_image_size": 4096,
    "segmenter_image_size": 4096,
    "segmenter_refinement": 8,
}
MAX_DECODER_LAYERS = 128
MAX_LABELS = 4096
MAX_SEGMENTED = 255  # classes; label maps have 8 bits, of which 255 marks ignored pixels
MAX_LABEL_LENGTH = 1000
MAX_TOKENS = 1 << 14  # of an encoder's input; DINOv2 reads up to 5,329 at 1024 x 1024 pixels
MAX_SCALES = 16
_DTYPES = ("float32", "float16", "bfloat16", "float64")
ENCODER_LIMITS = {
    "hidden_size": 16384,
    "num_hidden_layers": 128,
    "num_attention_heads": 1024,
    "image_size": 4096,
    "patch_size": 4096,
}
MAX_ENCODER_PARAMETERS = 10**10  # DINOv2-giant has 1.1e9

# Options for callers only, because they can select code to run.
_LOADER_OPTIONS = {
    "_attn_implementation",
    "_attn_implementation_internal",
    "_experts_implementation",
    "_experts_implementation_internal",
    "attn_implementation",
    "experts_implementation",
    "quantization_config",
}

# Of attention, in PyTorch itself; published configurations can name them.
_IMPLEMENTATIONS = (None, "eager", "sdpa", "flex_attention")

ConfigClass = TypeVar("ConfigClass", bound=type[PreTrainedConfig])


def raise_value_errors(config_class: ConfigClass) -> ConfigClass:
    """Make a `@strict` class raise `ValueError` for invalid values: at construction, when they are set, and when they are saved."""

    def convert(method: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(method)
        def converted(self: PreTrainedConfig, *args: Any, **kwargs: Any) -> None:
            try:
                method(self, *args, **kwargs)
            except StrictDataclassError as error:
                raise ValueError(f"{config_class.__name__}: {_describe_refusal(error)}") from error

        return converted

    for name in ("__init__", "__setattr__", "validate"):
        setattr(config_class, name, convert(getattr(config_class, name)))
    return config_class


def _describe_refusal(error: StrictDataclassError) -> str:
    """Return in one line what a field has and what it allows, without the attempts at each of several types."""
    refused = error.__cause__ if isinstance(error.__cause__, TypeError | ValueError) else error
    text = " ".join(str(refused).split()).partition(" Errors: ")[0]
    return re.sub(r"<class '([\w.]+)'>", r"\1", text)


def check_config_class(config: Any, config_class: type[PreTrainedConfig]) -> None:
    """Raise ValueError if an object is no configuration of a model; classes of remote code have the same `model_type`."""
    of_remote_code = isinstance(config, PreTrainedConfig) and config.model_type == config_class.model_type
    if not (isinstance(config, config_class) or of_remote_code):
        raise ValueError(
            f"`config` must be a {config_class.__name__}, or the folder or Hub id of one when loading, got a {type(config).__name__}. "
            "To change single fields when loading, pass them as arguments."
        )


def check_field_types(config_dict: dict[str, Any]) -> None:
    """Raise ValueError if fields that transformers does not check have a wrong type, or too many classes."""
    if not isinstance(config_dict, dict):
        raise ValueError(f"it must hold a JSON object, got {describe_type(config_dict)}")
    check_classes(config_dict)
    for name in ("dtype", "torch_dtype"):
        dtype = config_dict.get(name)
        if dtype is not None and str(dtype).removeprefix("torch.") not in _DTYPES:
            raise ValueError(f"`{name}` must be one of {', '.join(_DTYPES)}, got {describe_type(dtype)}")
    for name in ("clip_config", "dinov2_config"):
        if isinstance(config_dict.get(name), dict):
            with name_file_in_errors(f"`{name}`"):
                check_field_types(config_dict[name])


def check_classes(config_dict: dict[str, Any]) -> None:
    """Raise ValueError if classes have a wrong type, are too many or too long, or contradict each other."""
    for name in ("id2label", "label2id"):
        classes = config_dict.get(name)
        if classes is not None and not isinstance(classes, dict):
            raise ValueError(f"`{name}` must be an object, got {describe_type(classes)}")
        if classes is not None and len(classes) > MAX_LABELS:
            raise ValueError(f"`{name}` must have at most {MAX_LABELS} classes, got {len(classes)}")
    names, count = config_dict.get("id2label"), config_dict.get("num_labels")
    for key, label in (names or {}).items():
        if not str(key).isdecimal() or not isinstance(label, str):
            raise ValueError(f"`id2label` must have names by number, got {str(key)[:40]!r}: {describe_type(label)}")
        if len(label) > MAX_LABEL_LENGTH:
            raise ValueError(
                f"`id2label` must have names of at most {MAX_LABEL_LENGTH} characters, got {len(label):,}: {label[:40]!r}..."
            )
    if count is not None and (not isinstance(count, Integral) or isinstance(count, bool) or int(count) > MAX_LABELS):
        raise ValueError(f"`num_labels` must be an integer of at most {MAX_LABELS}, got {count!r}.")
    if names is not None and count is not None and count != len(names):
        raise ValueError(f"`num_labels` ({count}) and `id2label` ({len(names)} names) must agree, or pass only one.")


def number_classes(names: Any) -> dict[int, str]:
    """Return the names of classes by number, which can be text; raise ValueError unless the numbers are 0, 1, 2, ..."""
    check_classes({"id2label": names})
    numbered = {int(key): name for key, name in (names or {}).items()}
    if not numbered or sorted(numbered) != list(range(len(numbered))):
        raise ValueError(f"`id2label` must number at least one class as 0, 1, 2, ..., got {sorted(numbered)}.")
    return numbered


def names_other_classes(config_dict: dict[str, Any], overrides: dict[str, Any]) -> bool:
    """Return whether overrides change the number or the names of the classes, which are compared up to case and underscores."""
    saved, given = (
        {int(key): str(name).strip().casefold().replace("_", " ") for key, name in (part.get("id2label") or {}).items()}
        for part in (config_dict, overrides)
    )
    return (bool(given) and given != saved) or overrides.get("num_labels", len(saved)) != len(saved)


def check_label_numbers(id2label: dict[int, str], label2id: dict[str, Any] | None) -> None:
    """Raise ValueError if `label2id` is given and not the inverse of `id2label`; its numbers can be text."""
    numbers = {label: str(index) for index, label in id2label.items()}
    if label2id is not None and {label: str(index) for label, index in label2id.items()} != numbers:
        raise ValueError(f"`label2id` must be the inverse of `id2label` ({id2label}), got {label2id}.")


def check_class_weights(config: Any) -> None:
    """Raise ValueError if weights of the classes are given that are not one valid weight per class."""
    weights = config.class_weights
    if weights is None:
        return
    valid = all(0 <= weight < float("inf") for weight in weights) and any(weights)
    if not valid or len(weights) != len(config.id2label):
        raise ValueError(
            f"`class_weights` must be {len(config.id2label)} finite non-negative numbers, one per class of "
            f"`id2label` and not all 0, got {weights}."
        )


def check_finite_numbers(name: str, value: Any) -> None:
    """Raise ValueError for NaN and infinities in the field `name` of a configuration, or in its parts."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"`{name}` must be finite, got {value}.")
    if isinstance(value, PreTrainedConfig):
        for key, part in vars(value).items():
            check_finite_numbers(f"{name}.{key}", part)
    for part in value if isinstance(value, list | tuple) else ():
        check_finite_numbers(name, part)


def check_encoder_sizes(name: str, encoder: CLIPVisionConfig | Dinov2Config) -> None:
    """Raise ValueError if sizes of an encoder are out of range or imply too many parameters, or it does not read RGB images."""
    for key, limit in ENCODER_LIMITS.items():
        value = getattr(encoder, key)
        if not all(1 <= number <= limit for number in (value if isinstance(value, list | tuple) else [value])):
            raise ValueError(f"`{key}` of `{name}` must be between 1 and {limit}, got {value}.")
    if encoder.num_channels != 3:
        raise ValueError(
            f"`num_channels` of `{name}` must be 3, because encoders read RGB images, got {encoder.num_channels}: use another encoder."
        )
    if (patches := _count_patches(encoder)) > MAX_TOKENS:
        raise ValueError(
            f"`image_size` and `patch_size` of `{name}` must give at most {MAX_TOKENS:,} patches, got {patches:,.0f}."
        )
    count = _count_parameters(encoder)
    if not 0 < count <= MAX_ENCODER_PARAMETERS:
        raise ValueError(
            f"The encoder of `{name}` would have about {count:.0e} parameters, at most {MAX_ENCODER_PARAMETERS:.0e} are "
            "allowed: check its sizes."
        )


def refuse_loader_options(config_dict: dict[str, Any]) -> None:
    """Raise ValueError if a configuration file, or its part for an encoder, selects the code to run."""
    parts = (config_dict, config_dict.get("clip_config"), config_dict.get("dinov2_config"))
    found = {name for part in parts if isinstance(part, dict) for name in part} & _LOADER_OPTIONS
    if found:
        raise ValueError(
            f"A configuration file may not set {sorted(found)}, which select the code that runs. "
            "Remove them from config.json and pass them when you load the model."
        )


def refuse_downloaded_code(config_dict: dict[str, Any]) -> None:
    """Raise ValueError if the configuration file of an encoder selects code that transformers downloads, such as kernels."""
    vision = config_dict.get("vision_config") if config_dict.get("model_type") == "clip" else None
    for part in (config_dict, vision if isinstance(vision, dict) else {}):
        for name in sorted(_LOADER_OPTIONS - {"quantization_config"}):
            value = part.get(name)
            of_parts = value.values() if isinstance(value, dict) else [value]
            if any(implementation not in _IMPLEMENTATIONS for implementation in of_parts):
                raise ValueError(
                    f"`{name}` may only be {' or '.join(filter(None, _IMPLEMENTATIONS))}, got {describe_type(value)}: other values "
                    "can select code to download. Use another encoder, or a copy of its folder without this entry."
                )


def names_repository(source: str) -> bool:
    """Return whether a source of weights is a Hub id rather than a local path.

    Also ids without an organization, unlike `is_on_hub`.
    """
    try:
        validate_repo_id(source)
    except HFValidationError:
        return False
    return not os.path.exists(source)


def refuse_path(name: str, value: str | None) -> None:
    """Raise ValueError if the encoder source in the field `name` of a configuration from the Hub is not a Hub id."""
    if value is not None and not names_repository(value):
        raise ValueError(
            f"The configuration comes from the Hub and sets `{name}` to {value!r}, which is a local path or not a Hub id. "
            f"If you trust it, pass {name}={value!r} when you load the model."
        )


def check_widths(config: Any) -> None:
    """Raise ValueError if numbers of channels or layers, or the slope of LeakyReLU, are out of range."""
    stem, features, decoder = [config.stem_channels], [config.feature_channels], config.decoder_channels or []
    widths = {"stem_channels": stem, "feature_channels": features, "decoder_channels": decoder}
    for name, values in widths.items():
        if not all(1 <= value <= LIMITS[name] for value in values):
            raise ValueError(f"`{name}` must be between 1 and {LIMITS[name]}, got {getattr(config, name)}.")
    if not 0 <= config.context_channels <= LIMITS["context_channels"]:
        raise ValueError(
            f"`context_channels` must be between 0 and {LIMITS['context_channels']}, got {config.context_channels}."
        )
    if len(decoder) > MAX_DECODER_LAYERS:
        raise ValueError(f"`decoder_channels` must have at most {MAX_DECODER_LAYERS} entries, got {len(decoder)}.")
    if not 0 <= config.leaky_relu_slope < 1:
        raise ValueError(f"`leaky_relu_slope` must be at least 0 and less than 1, got {config.leaky_relu_slope}.")


def check_semantic_layers(config: Any) -> None:
    """Raise ValueError if the merged layers, or the options of merging, do not fit the encoder or each other."""
    if config.semantic_config is None:
        return
    num_layers = config.semantic_config.num_hidden_layers
    layers = config.semantic_layers
    if not layers or len(set(layers)) != len(layers) or not all(1 <= layer <= num_layers for layer in layers):
        advice = ": set it to [1], because the default is all layers except the last" if num_layers == 1 else ""
        raise ValueError(
            f"`semantic_layers` must be distinct layers of the encoder, from 1 to {num_layers}, got {layers}{advice}."
        )
    if config.merging == "group_conv" and not 1 <= config.num_groups <= len(layers):
        raise ValueError(
            f"`num_groups` must be between 1 and the number of semantic layers ({len(layers)}), "
            f"got {config.num_groups}."
        )
    if config.group_kernel_size % 2 == 0 or not 1 <= config.group_kernel_size <= LIMITS["group_kernel_size"]:
        raise ValueError(
            f"`group_kernel_size` must be odd, from 1 to {LIMITS['group_kernel_size']}, got {config.group_kernel_size}."
        )


def check_image_sizes(config: Any) -> None:
    """Raise ValueError if the size of an encoder's input is no multiple of its patch size, or too large."""
    sizes = [
        ("clip_image_size", config.clip_image_size, config.clip_config, config.needs_clip),
        ("segmenter_image_size", config.segmenter_image_size, config.dinov2_config, config.needs_dinov2),
    ]
    for name, size, encoder, needed in sizes:
        if not needed or size is None:
            continue
        patch_size = encoder.patch_size
        sides = range(patch_size, LIMITS[name] + 1, patch_size)
        if len(size) != 2 or any(side not in sides for side in size):
            raise ValueError(
                f"`{name}` must be [height, width] in multiples of the encoder's patch size {patch_size}, "
                f"up to {LIMITS[name]}, got {size}."
            )
        _check_patches(name, size, patch_size)


def _check_patches(name: str, size: Sequence[int], patch_size: int, scale: float = 1) -> None:
    if (patches := scale**2 * size[0] * size[1] / patch_size**2) > MAX_TOKENS:
        raise ValueError(
            f"`{name}` must give the encoder at most {MAX_TOKENS:,} patches, but {size} has {patches:,.0f}"
            f"{f' at scale {scale:g}' if scale != 1 else ''}: make it smaller."
        )


def check_segmenter(config: Any) -> None:
    """Raise ValueError if classes, layers, refinement, windows or scales are out of range or contradict each other."""
    if config.use_segmenter and len(config.id2label) > MAX_SEGMENTED:
        raise ValueError(
            f"`num_labels` must be at most {MAX_SEGMENTED}, because label maps hold 8 bits and 255 means ignored, got "
            f"{len(config.id2label)}: merge classes, or set `use_segmenter` to False."
        )
    num_layers = config.dinov2_config.num_hidden_layers
    if not 1 <= config.segmenter_layers <= num_layers:
        raise ValueError(
            f"`segmenter_layers` must be between 1 and the number of DINOv2's layers ({num_layers}), "
            f"got {config.segmenter_layers}."
        )
    if not 0 <= config.segmenter_refinement <= LIMITS["segmenter_refinement"]:
        raise ValueError(
            f"`segmenter_refinement` must be between 0 and {LIMITS['segmenter_refinement']} tokens, "
            f"got {config.segmenter_refinement}."
        )
    grid = [side // config.dinov2_config.patch_size for side in config.segmenter_image_size]
    windows = config.segmenter_windows or []
    if len(windows) != 2 or any(count < 1 or side % count for side, count in zip(grid, windows, strict=True)):
        raise ValueError(
            f"`segmenter_windows` must be [rows, columns] that divide the {grid[0]} x {grid[1]} tokens of "
            f"`segmenter_image_size`, got {windows}."
        )
    _check_segmenter_scales(config)


def _check_segmenter_scales(config: Any) -> None:
    scales = config.segmenter_scales or []
    if len(scales) > MAX_SCALES:
        raise ValueError(f"`segmenter_scales` must have at most {MAX_SCALES} scales, got {len(scales)}.")
    largest = LIMITS["segmenter_image_size"] / max(config.segmenter_image_size)
    fit = all(
        0 < scale <= largest and all(float(scale * count).is_integer() for count in config.segmenter_windows)
        for scale in scales
    )
    if not fit or 1 not in scales or len(set(scales)) != len(scales):
        raise ValueError(
            f"`segmenter_scales` must be distinct numbers up to {largest:.4g}, including 1, whose products with "
            f"`segmenter_windows` ({config.segmenter_windows}) are integers, got {config.segmenter_scales}."
        )
    _check_patches(
        "segmenter_image_size", config.segmenter_image_size, config.dinov2_config.patch_size, scale=max(scales)
    )
    if config.paradigm == "parallel" and scales != [1]:
        raise ValueError(
            "`segmenter_scales` apply to the fused image, but in the parallel paradigm SSNet reads the sources: "
            f"leave them at [1], got {scales}."
        )


def _count_parameters(encoder: CLIPVisionConfig | Dinov2Config) -> float:
    """Estimate the number of parameters of an encoder: attention, MLP, position and patch embeddings."""
    width = encoder.hidden_size
    inner = encoder.intermediate_size if isinstance(encoder, CLIPVisionConfig) else encoder.mlp_ratio * width
    patch_size = encoder.patch_size if isinstance(encoder.patch_size, int) else max(encoder.patch_size)
    layers = encoder.num_hidden_layers * (4 * width + 2 * inner)
    return float(width * (layers + _count_patches(encoder) + 3 * patch_size**2))


def _count_patches(encoder: CLIPVisionConfig | Dinov2Config) -> float:
    """Return the number of patches of an image of the encoder's own size."""
    image_size = encoder.image_size if isinstance(encoder.image_size, int) else max(encoder.image_size)
    patch_size = encoder.patch_size if isinstance(encoder.patch_size, int) else min(encoder.patch_size)
    return float((image_size / patch_size) ** 2)
