"""Compare an exported function with the PyTorch model on pairs."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gffusion.inference.pair_arrays import adapt_options, to_arrays
from gffusion.inference.predict import predict_labels, run_model
from gffusion.models.gffusion.image_ops import restore_color
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.synthetic.rendering import render_scene

# Batch, height and width of rendered pairs: none of them is that of the export, and sides are odd and even.
RENDERED = ((1, 240, 320), (3, 131, 177))

Function = Callable[[NDArray[Any], NDArray[Any]], Sequence[NDArray[Any]]]


@dataclass(frozen=True)
class Parity:
    """Differences from the float32 PyTorch model: largest and mean in gray levels of 255, and the share of equal labels.

    The differences are NaN if a value is.
    """

    largest: float
    mean: float
    labels: float | None
    pairs: int
    source: str

    def describe(self) -> str:
        """Return the report in one line."""
        labels = "" if self.labels is None else f", {self.labels:.3%} of labels equal"
        title = f"parity with PyTorch on {self.pairs} {self.source} pairs"
        if not math.isfinite(self.largest):
            return f"{title}: values are not finite{labels}"
        return f"{title}: differences up to {self.largest:.4f} gray levels, {self.mean:.5f} on average{labels}"


def render_batches() -> list[list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]]:
    """Return batches of rendered pairs."""
    batches = []
    for batch, height, width in RENDERED:
        scenes = [render_scene(seed, height, width) for seed in range(batch)]
        batches.append([(scene.visible, scene.infrared) for scene in scenes])
    return batches


@torch.inference_mode()
def measure_parity(
    function: Function,
    model: GFFusionModel,
    image_processor: GFFusionImageProcessor,
    batches: Iterable[Sequence[Any]],
    segment: bool,
    uint8: bool,
    source: str = "rendered",
) -> Parity:
    """Compare a function of the exported inputs and outputs with the model on batches of pairs of one size, as `predict` takes them."""
    maxima, means, equal, count = [], [], [], 0
    for pairs in batches:
        inputs = _prepare(image_processor, pairs, source)
        if uint8:  # the model gets what the bytes hold
            inputs = {name: (values * 255).round() / 255 for name, values in inputs.items()}
        expected, labels = _run_reference(model, inputs["visible_values"], inputs["infrared_values"], segment)
        outputs = function(*(_to_input(values, uint8) for values in inputs.values()))
        fused = outputs[0].astype(np.float64)
        if uint8:  # beyond the rounding, which is exact by definition
            difference = np.maximum(np.abs(fused - np.moveaxis(expected, 1, -1)) - 0.5, 0)
        else:
            difference = np.abs(fused * 255 - expected)
        count += len(pairs)
        maxima.append(float(difference.max()))
        means.append(float(difference.mean()))
        if labels is not None:
            equal.append(float((labels == outputs[1]).mean()))
    labels_equal = float(np.mean(equal)) if equal else None
    return Parity(float(np.max(maxima)), float(np.mean(means)), labels_equal, count, source)  # NaN if one value is


def _prepare(image_processor: GFFusionImageProcessor, pairs: Sequence[Any], source: str) -> dict[str, Tensor]:
    """Return the tensors of pairs, without ranges that rendered images or single pairs do not have."""
    options = image_processor.infrared_options
    if source == "rendered":
        options = options.override(infrared_range="type", invert=options.is_inverted)
    elif options.needs_measuring:  # the range of each image serves a comparison as well
        options = options.override(infrared_range="percentile", smooth_range=0)
    adapted = adapt_options([options] * len(pairs), image_processor, pairs)
    images, masks = to_arrays(pairs, None, infrared_luma=True)
    inputs = image_processor(images, infrared_options=adapted, missing=masks, infrared_luma=True, return_tensors="pt")
    return dict(inputs)


def _run_reference(
    model: GFFusionModel, visible: Tensor, infrared: Tensor, segment: bool
) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    """Return fused color images (B, 3, H, W) in gray levels of 255, and labels (B, H, W)."""
    output = run_model(model, visible, infrared, segment=segment)
    fused: Any = output.fused_values
    colored = restore_color(fused, visible)
    labels = predict_labels(model, output, visible, infrared).numpy() if segment else None
    return colored.double().numpy() * 255, labels


def _to_input(values: Tensor, uint8: bool) -> NDArray[Any]:
    if not uint8:
        return values.numpy()
    array = (values * 255).round().to(torch.uint8).numpy()
    return np.moveaxis(array, 1, -1) if array.shape[1] == 3 else array[:, 0]
