"""Segment images that any method fused, to compare methods by one segmenter."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gffusion.data.reading import PairImages
from gffusion.models.gffusion.image_arrays import Image, to_array
from gffusion.models.gffusion.image_ops import replace_luma
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.models.gffusion.infrared_values import to_visible_values
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel, GFFusionOutput
from gffusion.zoo.checks import check_model_object, check_processor_object

from .pair_arrays import adapt_options, list_pairs, to_arrays
from .predict import crop_labels, predict_labels, predict_logits


def check_segmenter(model: Any) -> None:
    """Raise ValueError if a model cannot segment images that were fused by other methods."""
    check_model_object(model)
    if not model.config.use_segmenter:
        raise ValueError(
            "The model has no segmenter (`use_segmenter=False`): choose one that has, such as gffusion-tiny, or train one."
        )
    if model.config.paradigm == "parallel":
        raise ValueError(
            "A model of the parallel paradigm segments the visible and the infrared image, not the fused one: choose a "
            "model of another paradigm."
        )


@torch.inference_mode()
def segment_fused(
    model: GFFusionModel,
    image_processor: GFFusionImageProcessor,
    fused: Iterable[Any],
    pairs: Sequence[tuple[Image, Image] | list[Any] | PairImages],
    infrared_options: Sequence[InfraredOptions] | None = None,
) -> list[NDArray[np.uint8]]:
    """Segment fused images of any origin as [`predict`] segments those of the model, and return label maps (H, W) of class ids.

    Args:
        model: A model with a segmenter that reads the fused image: not one of the parallel paradigm.
        image_processor: Processor of the model.
        fused: Fused images of one size, in any form that [`GFFusionImageProcessor`] accepts as visible images. Gray ones get
            the chroma of the visible image, as those of the model do.
        pairs: The images that were fused, as for [`predict`]. Of the infrared ones, `segmenter_refinement` reads the edges.
        infrared_options: As for [`predict`].

    Raises:
        ValueError: If the model cannot segment fused images, `image_processor` or `fused` is something else, numbers or sizes of the images differ, or images are those that
            [`predict`] refuses.

    Examples:
        >>> from gffusion import create_model, load_image_processor
        >>> pair = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.uint8)
        >>> model, processor = create_model("gffusion-tiny"), load_image_processor("gffusion-tiny")
        >>> segment_fused(model, processor, [np.full((48, 64), 90, np.uint8)], [pair])[0].shape
        (48, 64)
    """
    check_segmenter(model)
    check_processor_object(image_processor)
    pairs, fused = list_pairs(pairs), _list_images(fused)
    if not pairs or len(fused) != len(pairs):
        raise ValueError(f"Give one fused image for each pair, got {len(fused)} for {len(pairs)} pairs.")
    options = adapt_options(infrared_options, image_processor, pairs)
    images, masks = to_arrays(pairs, missing=None, infrared_luma=False)
    colored = [
        (_to_color(to_array(image, "fused"), visible), infrared)
        for image, (visible, infrared) in zip(fused, images, strict=True)
    ]
    inputs: Any = image_processor(
        colored, infrared_options=options, missing=masks, infrared_luma=True, return_tensors="pt"
    ).to(model.device)
    values = model.to_source(inputs["visible_values"])
    outputs = GFFusionOutput(fused_values=values, logits=predict_logits(model, values, inputs["visible_values"]))
    return crop_labels(predict_labels(model, outputs, **inputs), images)


def _list_images(fused: Any) -> list[Any]:
    if not isinstance(fused, Iterable):
        raise ValueError(f"`fused` must be a list of images, one for each pair, got a {type(fused).__name__}.")
    return list(fused)


def _to_color(fused: NDArray[Any], visible: NDArray[Any]) -> NDArray[np.float32]:
    """Return a fused image in [0, 1] (H, W, 3), with the chroma of the visible image if it is gray."""
    if fused.shape[:2] != visible.shape[:2]:
        sizes = [f"{width} x {height}" for height, width in (fused.shape[:2], visible.shape[:2])]
        raise ValueError(
            f"The fused image measures {sizes[0]} pixels, but the visible image {sizes[1]} (width x height): both must have "
            "one size."
        )
    values = torch.from_numpy(to_visible_values(fused, "fused"))  # (3, H, W)
    if bool((values == values[:1]).all()):
        values = replace_luma(torch.from_numpy(to_visible_values(visible)), values[:1])
    return values.movedim(0, -1).numpy()
