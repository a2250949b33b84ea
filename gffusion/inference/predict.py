"""Run a model on pairs. The command line, the pipeline, evaluation, validation and figures all use this module."""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor

from gffusion.cameras.missing import blend_visible, weight_visible
from gffusion.data.reading import PairImages
from gffusion.models.gffusion.argument_checks import check_flag
from gffusion.models.gffusion.finet import merge_modalities
from gffusion.models.gffusion.image_arrays import Image, take_output
from gffusion.models.gffusion.image_ops import rgb_to_luma, to_uint8
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.models.gffusion.input_checks import check_inputs
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel, GFFusionOutput, ProjectedSemantics
from gffusion.zoo.checks import check_model_object, check_processor_object, is_exported

from .cpu_funet import CpuFuNet
from .cuda_graphs import can_use_graphs, fuse_on_gpu
from .folding import can_divide, has_plain_forward
from .gpu_inputs import prepare_bytes
from .interface import FusionModel
from .label_refinement import refine_logits
from .large_images import find_large_form, fuse_large
from .pair_arrays import adapt_options, list_pairs, to_arrays
from .row_bands import fuse_in_bands, needs_bands
from .threads import run_alone, run_in_threads, should_compute_alone

Encoder = Callable[[Tensor, Tensor], Tensor]
"""Function from `visible_values` and `infrared_values` to the tokens of [`GFFusionModel.encode_semantics`]."""


@dataclass(frozen=True)
class Prediction:
    """Fused image with the visible image's size, color and depth, an array (H, W) or (H, W, 3) or a PIL image, and its labels.

    The labels are class ids (H, W), uint8, of what the fused image shows; `None` unless segmentation was requested.
    `missing` (H, W) is True where the infrared image had no measurement, so that the fused image shows the visible one;
    `None` if it had one everywhere. `notes` tell what is odd about a fused image that was read from a file.
    """

    fused: Any
    labels: NDArray[np.uint8] | Any = None  # of which type checkers then want no check
    missing: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()


@contextmanager
def _explain_ranges() -> Iterator[None]:
    """Add to errors about the range of infrared values where `predict` takes it from."""
    try:
        yield
    except ValueError as error:
        if "infrared_range" in str(error):
            error.add_note(
                '`predict` takes it of the image processor, such as load_image_processor(infrared_range="percentile"), or '
                "`infrared_options`."
            )
        raise


@_explain_ranges()
@torch.inference_mode()
def predict(
    model: FusionModel,
    image_processor: GFFusionImageProcessor,
    pairs: Iterable[tuple[Image, Image] | list[Any] | PairImages],
    segment: bool = False,
    infrared_options: Sequence[InfraredOptions] | Iterator[InfraredOptions] | None = None,
    output_type: Literal["np", "pil"] = "np",
    row_bands: bool | None = None,
    missing: Iterable[NDArray[np.bool_] | None] | None = None,
    encode: Encoder | None = None,
    infrared_luma: bool = False,
) -> list[Prediction]:
    """Fuse pairs of one size, and return one prediction per pair, in order.

    Args:
        model: The model, in evaluation mode, on its device.
        image_processor: Processor that prepares the images and restores size, color and depth.
        pairs: Pairs as [`read_pair`] returns them, whose missing pixels and ranges of radiometric files are considered; or
            visible and infrared images in any form that [`GFFusionImageProcessor`] accepts, such as
            `zip(visible_images, infrared_images)`. Arrays are taken as measured, except for transparent pixels and false
            colors: only [`read_pair`] and the pipeline look for missing values and borders.
        segment: Whether to predict label maps. Needs a model with a segmenter.
        infrared_options: Options of the infrared image of every pair, instead of those of the processor.
        output_type: Type of the fused images, see [`GFFusionImageProcessor.post_process_fusion`].
        row_bands: Whether to fuse in bands of rows ([`fuse_in_bands`]). Defaults to `True` on CPUs, where it is faster, and for
            images that a GPU cannot fuse otherwise ([`needs_bands`]). For others, the default on NVIDIA GPUs is
            [`fuse_on_gpu`]. A model whose `forward` is overridden or has hooks is called as a whole; by default, also one
            with other layers, hooks or training mode in FuNet, or another injection. `True` saves memory for such a model,
            if its layers do not depend on the whole image.
        missing: For every pair, `None` or a mask (H, W) that is True where the infrared image has no measurement. Such
            pixels take no part in ranges, and inside larger holes the fused image turns into the visible one. By default,
            those of the pairs.
        encode: Replaces [`GFFusionModel.encode_semantics`], for example by tokens of an earlier frame of a video.
        infrared_luma: Whether to take the luma of infrared images in color. By default, false colors of a known palette
            are mapped back to intensities, and other colors are refused, except for what [`read_pair`] returns, which
            did so.

    Raises:
        ValueError: If `model` or `image_processor` is something else, `pairs` is no list of pairs or empty, images or masks do not fit together, an infrared image has colors
            of no known palette, a result is not finite, the model is in training mode, or `row_bands` is given for an exported file or a model with a `forward` of its own.

    Examples:
        >>> import numpy as np
        >>> from gffusion import create_model, load_image_processor
        >>> pair = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.uint8)
        >>> model, processor = create_model("gffusion-funet"), load_image_processor("gffusion-funet")
        >>> predict(model, processor, [pair])[0].fused.shape
        (48, 64, 3)
    """
    pairs = list_pairs(pairs)
    for name, flag in {"segment": segment, "row_bands": row_bands or False, "infrared_luma": infrared_luma}.items():
        check_flag(f"`{name}`", flag)
    _check_arguments(model, pairs, row_bands)
    check_processor_object(image_processor)
    options = adapt_options(infrared_options, image_processor, pairs)
    images, masks = to_arrays(pairs, missing, infrared_luma)
    run = run_alone if model.device.type == "cpu" else operator.call  # small operations, which threads would wait for
    graphs = False
    if row_bands is None:
        row_bands = _prefers_bands(model, len(images), images[0][0].shape)
        graphs = not row_bands and can_use_graphs(model)
    if row_bands and not segment and encode is None and output_type == "np":
        divided = cast(GFFusionModel, model)  # exported files are not
        form = find_large_form(divided, image_processor, images[0][0].shape)
        if form is not None:
            return _predict_large(divided, form, image_processor, images, options, masks)
    inputs: Any = None
    if graphs and all(mask is None for mask in masks):
        inputs = prepare_bytes(image_processor, images, options, model.device)
    if inputs is None:
        given: dict[str, Any] = {"infrared_options": options, "missing": masks, "infrared_luma": True}
        inputs = run(lambda: image_processor(images, **given, return_tensors="pt")).to(model.device)
    reads_fused = not is_exported(model) and model.config.paradigm != "parallel"  # to segment it
    has_holes = segment and reads_fused and any(mask is not None for mask in masks)
    segments_now = segment and not has_holes
    outputs = run_model(model, **inputs, segment=segments_now, row_bands=row_bands, encode=encode, graphs=graphs)
    restored = run(partial(image_processor.post_process_fusion, outputs, images, output_type))
    fused = [
        image if mask is None else _blend(image, visible, mask)
        for image, (visible, _), mask in zip(restored, images, masks, strict=True)
    ]
    if not segment:
        return [Prediction(image, missing=mask) for image, mask in zip(fused, masks, strict=True)]
    if has_holes:
        outputs = _segment_blended(model, outputs, inputs["visible_values"], masks)
    label_maps = crop_labels(predict_labels(model, outputs, **inputs), images)
    return [Prediction(*parts) for parts in zip(fused, label_maps, masks, strict=True)]


def crop_labels(classes: Tensor, pairs: Sequence[tuple[NDArray[Any], Any]]) -> list[NDArray[np.uint8]]:
    """Return label maps (H, W) of pairs, which the processor pads at the bottom and on the right, from (B, H', W')."""
    arrays = classes.cpu().numpy()
    if arrays.max(initial=0) > 255:  # of a configuration that was changed after its checks
        raise ValueError(f"Label maps hold class ids up to 255, but class {arrays.max()} was predicted.")
    labels = arrays.astype(np.uint8)
    return [part[: len(image), : image.shape[1]] for part, (image, _) in zip(labels, pairs, strict=True)]


def _check_arguments(model: FusionModel, pairs: Sequence[tuple[Any, ...]], row_bands: bool | None) -> None:
    check_model_object(model, can_be_exported=True)
    if model.training:
        raise ValueError(
            "The model is in training mode, in which results depend on the batch: call `model.eval()` first."
        )
    if not pairs:
        raise ValueError("`pairs` is empty: give at least one pair of images.")
    if row_bands:
        _check_row_bands(model)


def _check_row_bands(model: Any) -> None:
    if is_exported(model):
        raise ValueError("`row_bands` cannot be used with an exported file: leave it out.")
    model = getattr(model, "_orig_mod", model)  # of `torch.compile`
    if isinstance(model, GFFusionModel) and not has_plain_forward(model):
        raise ValueError(
            "`row_bands` cannot be used with a model whose `forward`, or a method that it calls, is overridden or has hooks, "
            "because they would not be called: leave it out."
        )


def _prefers_bands(model: Any, images: int, shape: Sequence[int]) -> bool:
    """Return whether to fuse in bands of rows: always on CPUs, where it is faster, and otherwise if nothing else is possible."""
    return can_divide(model) and (model.device.type == "cpu" or needs_bands(model, images, *shape[:2]))


def _predict_large(
    model: GFFusionModel,
    form: CpuFuNet,
    image_processor: GFFusionImageProcessor,
    images: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    options: Sequence[InfraredOptions],
    masks: Sequence[NDArray[np.bool_] | None],
) -> list[Prediction]:
    """Fuse pairs one after the other, with little memory."""
    predictions = []
    for (visible, infrared), option, mask in zip(images, options, masks, strict=True):
        fused = fuse_large(model, form, image_processor, visible, infrared, option, mask)
        predictions.append(Prediction(blend_visible(fused, visible, mask), missing=mask))
    return predictions


def _blend(fused: Any, visible: NDArray[Any], missing: NDArray[np.bool_]) -> Any:
    """Blend the visible image over holes of a fused array or PIL image."""
    if isinstance(fused, np.ndarray):
        return blend_visible(fused, visible, missing)
    array = np.asarray(fused)
    visible = to_uint8(visible) if array.dtype == np.uint8 else visible
    return PIL.Image.fromarray(blend_visible(array, visible, missing))


def _segment_blended(
    model: FusionModel, outputs: GFFusionOutput, visible_values: Tensor, masks: Sequence[NDArray[np.bool_] | None]
) -> GFFusionOutput:
    """Return fused values with the visible image in holes, as users see it, and their logits."""
    fused: Any = outputs.fused_values
    weights = np.zeros((len(masks), 1, *fused.shape[-2:]), np.float32)
    for weight, mask in zip(weights, masks, strict=True):
        if mask is not None:
            padding = [(0, padded - side) for padded, side in zip(fused.shape[-2:], mask.shape, strict=True)]
            weight[0] = np.pad(weight_visible(mask), padding, mode="symmetric")
    fused = torch.lerp(fused, model.to_source(visible_values), torch.from_numpy(weights).to(fused))
    return GFFusionOutput(fused_values=fused, logits=predict_logits(model, fused, visible_values))


def run_model(
    model: FusionModel,
    visible_values: Tensor,
    infrared_values: Tensor,
    labels: Tensor | None = None,
    segment: bool | None = None,
    return_loss: bool | None = None,
    row_bands: bool = False,
    encode: Encoder | None = None,
    graphs: bool = False,
) -> GFFusionOutput:
    """Run a model on tensors.

    Tensors are those of [`GFFusionModel.forward`], and so are the logits: at one scale, and not refined. `row_bands`
    fuses in bands of rows ([`fuse_in_bands`]), which is faster and needs less memory on CPUs. `encode` replaces
    [`GFFusionModel.encode_semantics`]. `graphs` fuses by [`fuse_on_gpu`], for models that [`can_use_graphs`].

    Raises:
        ValueError: If `model` is none of this package, inputs do not fit it, `row_bands` or `graphs` is combined with losses or
            training mode, or `row_bands` with a `forward` that is overridden or has hooks.
    """
    check_model_object(model, can_be_exported=True)
    tokens = None if encode is None else encode(visible_values, infrared_values)
    if not row_bands and not graphs:
        return model(
            visible_values,
            infrared_values,
            labels=labels,
            segment=segment,
            return_dict=True,
            return_loss=return_loss,
            semantic_tokens=tokens,
        )
    if labels is not None or return_loss or model.training:
        name = "graphs" if graphs else "row_bands"
        raise ValueError(f"`{name}` cannot be combined with losses or training mode: leave it out.")
    model = cast(GFFusionModel, model)  # exported files are not divided
    check = partial(check_inputs, model.config, visible_values, infrared_values, labels, segment)
    if graphs:
        check()
        fused = fuse_on_gpu(model, visible_values, infrared_values, tokens)
        logits = model.predict_logits(fused, visible_values) if segment else None
        return GFFusionOutput(fused_values=fused, logits=logits)
    _check_row_bands(model)
    run_alone(check)
    semantics = find_semantics(model, visible_values, infrared_values, tokens)
    fused = fuse_in_bands(model, visible_values, infrared_values, semantics.projections)
    logits = predict_logits(model, fused, visible_values, semantics.source_tokens) if segment else None
    return GFFusionOutput(fused_values=fused, logits=logits)


def predict_logits(
    model: FusionModel, fused: Tensor, visible_values: Tensor, source_tokens: Tensor | None = None, scale: float = 1
) -> Tensor:
    """Return logits as [`GFFusionModel.predict_logits`] does, on CPUs by one thread for each image if that is better."""
    # Source tokens need no encoder, and an export knows no number of images.
    is_whole = source_tokens is not None or torch.compiler.is_compiling() or fused.device.type != "cpu"
    if is_whole or not should_compute_alone(len(fused)):
        return model.predict_logits(fused, visible_values, source_tokens, scale)
    pairs = zip(fused, visible_values, strict=True)
    return torch.cat(run_in_threads(partial(model.predict_logits, a[None], b[None], scale=scale) for a, b in pairs))


def find_semantics(
    model: GFFusionModel, visible_values: Tensor, infrared_values: Tensor, tokens: Tensor | None = None
) -> ProjectedSemantics:
    """Return what [`GFFusionModel.project_semantics`] does; on CPUs, threads wait for each other as rarely as possible."""
    if visible_values.device.type != "cpu":
        return model.project_semantics(visible_values, infrared_values, tokens)
    if tokens is None:
        tokens = _encode_alone(model, visible_values, infrared_values)
    project = partial(model.project_semantics, visible_values, infrared_values, tokens)
    return project() if tokens is None else run_alone(project)  # without tokens, it encodes images


def _encode_alone(model: GFFusionModel, visible_values: Tensor, infrared_values: Tensor) -> Tensor | None:
    """Return CLIP's features of images that are encoded by one thread each, `None` if dividing operations is better."""
    images = [part[None] for values in (visible_values, infrared_values) for part in values]
    if not model.config.needs_clip or not should_compute_alone(len(images)):
        return None
    tokens = run_in_threads(partial(model.encode_images, image) for image in images)  # 2B times L times (1, N, D)
    pairs = len(visible_values)
    return torch.cat([merge_modalities(*both) for both in zip(tokens[:pairs], tokens[pairs:], strict=True)])


def predict_labels(
    model: FusionModel, outputs: GFFusionOutput, visible_values: Tensor, infrared_values: Tensor
) -> Tensor:
    """Return label maps (B, H, W), int64, with the scales and the edge refinement of the configuration (ours).

    With the default configuration, they are the classes of the largest logits, as in the paper. `outputs` are those of
    the model for these images, (B, 3, H, W) and (B, 1, H, W) in [0, 1].

    Raises:
        ValueError: If the outputs have no logits.
    """
    if (label_maps := getattr(outputs, "label_maps", None)) is not None:  # of an exported file, which computes them
        return label_maps
    config, logits, fused = model.config, take_output(outputs, "logits"), take_output(outputs, "fused_values")
    scales = [scale for scale in config.segmenter_scales if scale != 1]
    if scales:
        others = [predict_logits(model, fused, visible_values, scale=scale) for scale in scales]
        probabilities = torch.stack([part.softmax(dim=1) for part in (logits, *others)]).mean(dim=0)
        logits = probabilities.clamp(min=1e-6).log()
    if config.segmenter_refinement:
        guides = torch.cat([rgb_to_luma(fused), infrared_values.float()], dim=1)  # (B, 2, H, W)
        logits = refine_logits(logits, guides, model.segmenter_grid, config.segmenter_refinement)
    return logits.argmax(dim=1)
