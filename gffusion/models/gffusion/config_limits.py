"""Limits on configuration files: plausible sizes, no choice of code, and no local folders."""

import os
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import CLIPVisionConfig, Dinov2Config

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
ENCODER_LIMITS = {
    "hidden_size": 16384,
    "num_hidden_layers": 128,
    "num_attention_heads": 1024,
    "image_size": 4096,
    "patch_size": 4096,
    "num_channels": 4096,
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


def check_encoder_sizes(name: str, encoder: CLIPVisionConfig | Dinov2Config) -> None:
    """Raise ValueError if a size of an encoder is not positive or too large, or they imply too many parameters."""
    for key, limit in ENCODER_LIMITS.items():
        value = getattr(encoder, key)
        if not all(1 <= number <= limit for number in (value if isinstance(value, list | tuple) else [value])):
            raise ValueError(f"`{key}` of `{name}` must be between 1 and {limit}, got {value}.")
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


def refuse_path(name: str, value: str | None) -> None:
    """Raise ValueError if the encoder source in the field `name` of a configuration from the Hub is not a Hub id."""
    if value is None:
        return
    try:
        validate_repo_id(value)
        is_repository = not os.path.exists(value)
    except HFValidationError:
        is_repository = False
    if not is_repository:
        raise ValueError(
            f"The configuration comes from the Hub and sets `{name}` to {value!r}, which is a local path or not a Hub id. "
            f"If you trust it, pass {name}={value!r} when you load the model."
        )


def check_segmenter(config: Any) -> None:
    """Raise ValueError if layers, refinement, windows or scales are out of range or contradict each other."""
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
    if config.paradigm == "parallel" and scales != [1]:
        raise ValueError(
            "`segmenter_scales` apply to the fused image, but in the parallel paradigm SSNet reads the sources: "
            f"leave them at [1], got {scales}."
        )


def _count_parameters(encoder: CLIPVisionConfig | Dinov2Config) -> float:
    """Estimate the number of parameters of an encoder: attention, MLP, position and patch embeddings."""
    width = encoder.hidden_size
    inner = encoder.intermediate_size if isinstance(encoder, CLIPVisionConfig) else encoder.mlp_ratio * width
    image_size = encoder.image_size if isinstance(encoder.image_size, int) else max(encoder.image_size)
    patch_size = encoder.patch_size if isinstance(encoder.patch_size, int) else min(encoder.patch_size)
    layers = encoder.num_hidden_layers * (4 * width + 2 * inner)
    return float(width * (layers + (image_size / patch_size) ** 2 + encoder.num_channels * patch_size**2))
