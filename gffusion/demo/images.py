"""Fuse the uploaded files of one pair, and measure and show the result. Does not import gradio."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gffusion.data import ImagePair, ReadOptions, read_image
from gffusion.data.infrared_range import measure_pairs
from gffusion.data.modalities import check_holds_both
from gffusion.data.rigs import find_rig
from gffusion.data.visible_range import check_visible_range
from gffusion.evaluation.methods import Sources
from gffusion.inference.file_jobs import FusionJob
from gffusion.inference.files import fuse_files
from gffusion.metrics import compute_metrics, to_luma8
from gffusion.metrics.names import DEFAULT_METRICS
from gffusion.models.gffusion.image_ops import to_uint8
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.zoo import create_model, load_image_processor

from .settings import DemoSettings

SHOWN_METRICS = (*DEFAULT_METRICS, "Nabf")
"""Metrics that the demo shows."""

MAX_MEASURED_PIXELS = 4_000_000
"""Largest number of pixels of images whose metrics are computed, which takes longer than fusing them."""


@dataclass(frozen=True)
class ImageRequest:
    """What is to be fused.

    Attributes:
        visible: The visible image, or a file that holds both images.
        infrared: The infrared image; `None` if the other file holds both.
        model: Name, folder or Hub id of the model.
        align: Whether to align the images by the tags of the file or an estimate.
        segment: Whether to predict a label map, too.
        infrared_range: Range of infrared values, as for [`InfraredOptions`]; `None` for that of the model.
        invert: Whether cold objects are bright in the infrared image.
        suffix: Suffix of the fused file; `None` for that of the visible file.
        visible_range: Values of the visible image that become black and white, such as "0,4095"; `None` for those of its type.
    """

    visible: Path
    infrared: Path | None
    model: str
    align: bool = False
    segment: bool = False
    infrared_range: str | None = None
    invert: bool = False
    suffix: str | None = None
    visible_range: str | None = None


@dataclass(frozen=True)
class ImageResult:
    """A fused pair.

    Attributes:
        files: Fused file, and the label map and its overlay if they were requested.
        images: Images (H, W) or (H, W, 3) to show, uint8: visible, infrared, fused and perhaps segmentation.
        metrics: Values by metric; empty if they could not be computed.
        classes: Names of the classes in the label map, by their ids.
        notes: What was assumed, changed or left out, one sentence each.
    """

    files: tuple[Path, ...]
    images: Mapping[str, NDArray[np.uint8]]
    metrics: Mapping[str, float] = field(default_factory=dict)
    classes: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def fuse_upload(request: ImageRequest, folder: Path, settings: DemoSettings) -> ImageResult:
    """Fuse one pair as `gffusion fuse` does, and write the files to a folder.

    Raises:
        OSError: If a file cannot be read or written.
        ValueError: If the images cannot be fused with these options, or the model is not offered.
    """
    read_options = ReadOptions(
        align="auto" if request.align else "none",
        visible_range=check_visible_range(request.visible_range, "the visible range"),
        max_pixels=settings.max_pixels,
    )
    pair = ImagePair(request.visible.stem, request.visible, request.infrared or request.visible)
    if pair.infrared == pair.visible:  # also an upload of the same content: files are stored by their content
        check_holds_both(pair.visible, request.infrared is not None, read_options.decoding)
    model = load_model(request.model, settings, request.segment)
    options = {"infrared_range": request.infrared_range, "invert": request.invert or None}
    processor = load_image_processor(request.model, **options)
    read_options, found = find_rig([pair], read_options)
    ranges = measure_pairs([pair], processor.infrared_options, read_options)
    fused = folder / f"{pair.name}_fused{request.suffix or pair.visible.suffix}"
    labels, overlay = (
        fused.with_name(f"{fused.stem}_{kind}.png") if request.segment else None for kind in ("labels", "overlay")
    )
    job = FusionJob(pair, fused, labels, overlay, infrared_options=ranges.options_of(pair), keep_metadata=True)
    (result,) = fuse_files([job], model, processor, read_options=read_options)
    if result.error is not None:
        raise ValueError(result.error)
    sources = Sources.read(pair, ranges)
    image = read_image(fused, settings.max_pixels)
    images = {"visible": to_uint8(sources.images.visible), "infrared": sources.infrared_luma.numpy().astype(np.uint8)}
    images["fused"] = to_uint8(image)
    metrics, note = _measure(image, sources)
    if overlay is not None:
        images["segmentation"] = read_image(overlay)
    notes = tuple(filter(None, (found, ranges.description, *result.notes, note)))
    classes = {int(key): name for key, name in model.config.id2label.items() if key} if request.segment else {}
    return ImageResult(job.outputs, images, metrics, classes, notes)


def load_model(name: str, settings: DemoSettings, segment: bool) -> GFFusionModel:
    """Return a model that the demo offers, on its device.

    Raises:
        OSError: If it cannot be loaded.
        ValueError: If it is not offered, or `segment` is requested of a model without segmenter.
    """
    if name not in settings.models:
        raise ValueError(f"the model must be one of {', '.join(settings.models)}, got {name!r}")
    model = _load(name, settings.device, settings.dtype)
    if segment and not model.config.use_segmenter:
        raise ValueError(f"the model {name} has no segmenter: choose another model, or leave the segmentation out")
    return model


@lru_cache(maxsize=4)
def _load(name: str, device: str, dtype: str) -> GFFusionModel:
    return create_model(name, dtype=getattr(torch, dtype)).to(device)


def _measure(fused: NDArray[Any], sources: Sources) -> tuple[dict[str, float], str | None]:
    """Return the metrics, or the reason why there are none."""
    height, width = fused.shape[:2]
    if height * width > MAX_MEASURED_PIXELS:
        return {}, f"metrics left out: they are computed for up to {MAX_MEASURED_PIXELS:,} pixels"
    try:
        luma = to_luma8(fused), sources.visible_luma, sources.infrared_luma
        return {name: value.item() for name, value in compute_metrics(*luma, metrics=SHOWN_METRICS).items()}, None
    except ValueError as error:
        return {}, f"metrics left out: {error}"
