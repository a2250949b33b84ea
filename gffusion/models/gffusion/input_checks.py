"""Check the inputs of `GFFusionModel.forward`."""

import torch
from torch import Tensor

from .argument_checks import check_flag
from .configuration_gffusion import GFFusionConfig
from .image_sizes import MIN_SIZE

OVERSHOOT = 0.5
"""Distance to [0, 1] that is allowed: interpolation overshoots."""


def check_inputs(
    config: GFFusionConfig,
    visible_values: Tensor,
    infrared_values: Tensor,
    labels: Tensor | None = None,
    segment: bool | None = None,
) -> None:
    """Raise ValueError if inputs of the model do not match each other or the configuration."""
    batch, channels, *size = visible_values.shape if visible_values.dim() == 4 else (0, 0, 0, 0)
    if batch == 0 or channels != 3 or tuple(infrared_values.shape) != (batch, 1, *size):
        raise ValueError(
            "With B of at least 1, `visible_values` must have shape (B, 3, H, W) and `infrared_values` (B, 1, H, W), "
            f"got {tuple(visible_values.shape)} and {tuple(infrared_values.shape)}."
        )
    if not (visible_values.is_floating_point() and infrared_values.is_floating_point()):
        raise ValueError(
            f"Images must be floating point in [0, 1], got {visible_values.dtype} and {infrared_values.dtype}. "
            "Use GFFusionImageProcessor to convert them."
        )
    _check_range(visible_values, infrared_values)
    if min(size) < MIN_SIZE:
        raise ValueError(
            f"Images must measure at least {MIN_SIZE} x {MIN_SIZE} pixels, got {tuple(size)}. "
            "GFFusionImageProcessor pads smaller ones."
        )
    if segment is not None:
        check_flag("`segment`", segment)
    if (segment or labels is not None) and not config.use_segmenter:
        raise ValueError(
            "This model has no segmenter (`use_segmenter=False`): it takes no labels and computes no logits."
        )
    if labels is not None:
        _check_labels(config, labels, (batch, *size), segment)


def check_semantic_tokens(config: GFFusionConfig, tokens: Tensor, batch: int) -> None:
    """Raise ValueError if the paradigm uses no CLIP tokens, or the shape of precomputed ones is wrong."""
    if not config.needs_clip:
        raise ValueError(f'`semantic_tokens` need the hybrid paradigm; this model is "{config.paradigm}".')
    width = config.clip_config.hidden_size
    rows, columns = config.clip_grid
    expected = (batch, len(config.semantic_layers or ()), rows * columns, width)
    if tuple(tokens.shape) != expected:
        raise ValueError(
            f"`semantic_tokens` must have shape {expected}, got {tuple(tokens.shape)}. Compute them with `encode_semantics`."
        )


def _check_range(*images: Tensor) -> None:
    """Raise ValueError if images are not in [0, 1]; small overshoots of interpolation are allowed."""
    if torch.compiler.is_compiling() or not all(image.numel() for image in images):
        return
    # Into a CUDA graph, for which there are no values yet.
    is_recorded = torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
    if is_recorded or any(image.device.type not in ("cpu", "cuda") for image in images):
        return
    # One tensor: each read waits for a GPU.
    limits = torch.stack([limit.float() for image in images for limit in image.detach().aminmax()]).tolist()
    if min(limits) < -OVERSHOOT or max(limits) > 1 + OVERSHOOT:  # NaN passes: the output is checked
        raise ValueError(
            f"Images must be in [0, 1], got values from {min(limits):.4g} to {max(limits):.4g}. Use GFFusionImageProcessor to "
            "convert them, or divide 8-bit images by 255."
        )


def _check_labels(config: GFFusionConfig, labels: Tensor, expected: tuple[int, ...], segment: bool | None) -> None:
    if segment is False:
        raise ValueError("`labels` need logits: leave `segment` out or set it to True.")
    if labels.is_floating_point():
        raise ValueError(f"`labels` must be integer class ids, got {labels.dtype}.")
    if tuple(labels.shape) != expected:
        raise ValueError(f"`labels` must have shape {expected}, got {tuple(labels.shape)}.")
    if not torch.compiler.is_compiling() and labels.device.type == "cpu":  # reading values would wait for a GPU
        check_label_values(config, labels)


def check_label_values(config: GFFusionConfig, labels: Tensor) -> None:
    """Raise ValueError if labels are neither classes of a model nor ignored."""
    labels = labels.long()
    wrong = labels[(labels != config.ignore_index) & ((labels < 0) | (labels >= config.num_labels))]
    if len(wrong):
        raise ValueError(
            f"`labels` must be 0 to {config.num_labels - 1}, the classes of `id2label`, or `ignore_index` ({config.ignore_index}), "
            f"got {wrong[0]}."
        )
