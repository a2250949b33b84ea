"""What a model looks at: tokens of its frozen encoders, gates of the injection, and weights of the merged layers."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate.utils import align_module_device
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from gffusion.data import PairImages
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.zoo.checks import check_model_object

from .predict import predict


@dataclass(frozen=True)
class Features:
    """Images of a pair and what the networks compute from them, on the CPU.

    Attributes:
        images: Visible, infrared and fused image, (H, W) or (H, W, 3).
        tokens: Patch tokens (h, w, D) of every image, by encoder (`"clip"`, `"dinov2"`).
        gate: Gate of Eq. (7), (C, h, w) in [0, 1], or `None` without injection. (h, w) is (H, W) divided by the model's
            `pixel_unshuffle` and rounded up.
        labels: Predicted label map (H, W), or `None` without a segmenter.
    """

    images: dict[str, NDArray[np.generic]]
    tokens: dict[str, dict[str, NDArray[np.float32]]] = field(default_factory=dict)
    gate: NDArray[np.float32] | None = None
    labels: NDArray[np.uint8] | None = None


@torch.inference_mode()
def extract_features(model: GFFusionModel, image_processor: GFFusionImageProcessor, pair: PairImages) -> Features:
    """Fuse a pair, and return the tokens, gates and label maps of the model.

    Args:
        model: A model in evaluation mode.
        image_processor: Its image processor.
        pair: The pair, as [`read_pair`][gffusion.data.read_pair] returns it.

    Raises:
        ValueError: If `model`, `image_processor` or `pair` is something else, or the images cannot be fused.

    Examples:
        >>> from gffusion import create_model, load_image_processor
        >>> from gffusion.data import PairImages
        >>> pair = PairImages(np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.uint8))
        >>> features = extract_features(create_model(), load_image_processor(), pair)
        >>> features.tokens["clip"]["fused"].shape[-1]
        160
    """
    check_model_object(model)
    if not isinstance(pair, PairImages):
        raise ValueError(
            f"`pair` must be one that `read_pair` returns, got a {type(pair).__name__}: `PairImages(visible, infrared)` makes one of arrays."
        )
    [prediction] = predict(model, image_processor, [pair], model.config.use_segmenter)
    options = [pair.adapt(image_processor.infrared_options)]
    given: dict[str, Any] = {"infrared_options": options, "missing": [pair.missing], "infrared_luma": True}
    inputs = image_processor([pair[:2]], **given, return_tensors="pt").to(model.device)
    height, width = pair.visible.shape[:2]  # the processor pads at the bottom and on the right
    infrared = inputs["infrared_values"][0, 0, :height, :width].float().cpu().numpy()
    images = {"visible": pair.visible, "infrared": infrared, "fused": prediction.fused}
    factor = model.config.pixel_unshuffle
    gate = None if model.config.paradigm == "cascading" else model(**inputs, output_features=True).gate
    fused_inputs = image_processor([(prediction.fused, pair.infrared)], **given, return_tensors="pt")
    stack = [
        inputs["visible_values"],
        inputs["infrared_values"].expand(-1, 3, -1, -1),
        fused_inputs["visible_values"].to(model.device),
    ]
    return Features(
        images,
        _encode(model, torch.cat(stack), list(images)),
        None if gate is None else gate[0, :, : -(-height // factor), : -(-width // factor)].float().cpu().numpy(),
        prediction.labels,
    )


def get_layer_weights(model: GFFusionModel) -> dict[str, float]:
    """Return the share of every merged layer, or group of layers, after the softmax; they add up to 1.

    Raises:
        ValueError: If the model learns no such weights.
    """
    check_model_object(model)
    config = model.config
    if config.paradigm == "cascading":
        raise ValueError("the model has no weights of layers: its paradigm is cascading, without injected features")
    layers = [str(layer) for layer in config.semantic_layers or ()]
    if config.merging == "mean":
        return dict.fromkeys(layers, 1 / len(layers))
    names, groups = layers, iter(layers)
    if config.merging == "group_conv":
        names = ["+".join(next(groups) for _ in range(size)) for size in model.finet.group_sizes]
    with align_module_device(model.finet):  # of an offloaded model
        shares = model.finet.group_weights if config.merging == "group_conv" else model.finet.layer_weights
        return dict(zip(names, shares.detach().float().softmax(dim=0).tolist(), strict=True))


def _encode(model: GFFusionModel, images: Tensor, names: list[str]) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Return the tokens of the deepest layer that a model uses, of each encoder that it has."""
    found: dict[str, tuple[Tensor, tuple[int, int]]] = {}
    if model.config.needs_clip:
        found["clip"] = model.encode_images(images)[-1], model.config.clip_grid
    if model.config.needs_dinov2:
        tokens = model.encode_dinov2(images, [])[1]  # as SSNet reads them
        found["dinov2"] = tokens, model.segmenter_grid
    return {
        encoder: {
            name: rearrange(tokens.float().cpu(), "(h w) d -> h w d", h=grid[0]).numpy()
            for name, tokens in zip(names, batch, strict=True)
        }
        for encoder, (batch, grid) in found.items()
    }
