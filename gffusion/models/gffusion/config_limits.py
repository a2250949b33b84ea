"""What a configuration file may ask for: sizes that make sense, no code, and no folder of whoever loads it."""

import os
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import CLIPVisionConfig, Dinov2Config

# Largest values: far beyond any model that makes sense, and small enough to be refused before memory runs out.
LIMITS = {
    "stem_channels": 4096,
    "feature_channels": 4096,
    "decoder_channels": 4096,
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

# What whoever loads a model chooses: a file that did could pick code to run.
_CHOICES_OF_THE_LOADER = {
    "_attn_implementation",
    "_attn_implementation_internal",
    "_experts_implementation",
    "_experts_implementation_internal",
    "attn_implementation",
    "experts_implementation",
    "quantization_config",
}


def check_encoder_sizes(name: str, encoder: CLIPVisionConfig | Dinov2Config) -> None:
    """Refuse an encoder that no machine could hold.

    Args:
        name: What the error calls it.
        encoder: Its configuration.

    Raises:
        ValueError: If a size is not positive or too large, or if all of them together are.
    """
    for key, limit in ENCODER_LIMITS.items():
        value = getattr(encoder, key)
        if not all(1 <= number <= limit for number in (value if isinstance(value, list | tuple) else [value])):
            raise ValueError(f"`{key}` of `{name}` must lie between 1 and {limit}, got {value}.")
    count = _count_parameters(encoder)
    if not 0 < count <= MAX_ENCODER_PARAMETERS:
        raise ValueError(
            f"The encoder of `{name}` would have about {count:.0e} parameters, and {MAX_ENCODER_PARAMETERS:.0e} are allowed: "
            "its sizes cannot be meant."
        )


def refuse_choices_of_the_loader(config_dict: dict[str, Any]) -> None:
    """Refuse a configuration file that says which code runs the model.

    Raises:
        ValueError: If it does, itself or in the part of an encoder.
    """
    parts = (config_dict, config_dict.get("clip_config"), config_dict.get("dinov2_config"))
    found = {name for part in parts if isinstance(part, dict) for name in part} & _CHOICES_OF_THE_LOADER
    if found:
        raise ValueError(
            f"A configuration file may not choose {sorted(found)}, which decide on the code that runs. "
            "Remove them from config.json, and pass what you want of them when you load the model."
        )


def refuse_path(name: str, value: str | None) -> None:
    """Refuse a source of an encoder that is not on the Hub, as no configuration from there may name another.

    Args:
        name: What the error calls it.
        value: The source.

    Raises:
        ValueError: If it is a folder, or no Hub id.
    """
    if value is None:
        return
    try:
        validate_repo_id(value)
        is_repository = not os.path.exists(value)
    except HFValidationError:
        is_repository = False
    if not is_repository:
        raise ValueError(
            f"The configuration comes from the Hub and names {value!r} as `{name}`, which is a folder here, or no Hub id. "
            f"If you trust it, pass {name}={value!r} yourself."
        )


def _count_parameters(encoder: CLIPVisionConfig | Dinov2Config) -> float:
    """Estimate the number of an encoder's parameters: attention, MLP, position and patch embeddings."""
    width = encoder.hidden_size
    inner = encoder.intermediate_size if isinstance(encoder, CLIPVisionConfig) else encoder.mlp_ratio * width
    image_size = encoder.image_size if isinstance(encoder.image_size, int) else max(encoder.image_size)
    patch_size = encoder.patch_size if isinstance(encoder.patch_size, int) else min(encoder.patch_size)
    layers = encoder.num_hidden_layers * (4 * width + 2 * inner)
    return float(width * (layers + (image_size / patch_size) ** 2 + encoder.num_channels * patch_size**2))
