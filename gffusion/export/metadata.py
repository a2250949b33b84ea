"""What exported files say about themselves."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from gffusion._version import __version__
from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.image_sizes import MIN_SIZE

from .parity import Parity

_INPUTS = {
    False: "visible: float32 (batch, 3, height, width), RGB in [0, 1]. infrared: float32 (batch, 1, height, width) in [0, 1]. "
    "fused: float32 (batch, 3, height, width), RGB in [0, 1]; round(255 * fused), halves to even, is the image",
    True: "visible: uint8 (batch, height, width, 3), RGB. infrared: uint8 (batch, height, width). fused: uint8 (batch, height, "
    "width, 3), RGB",
}
_VALUES = {
    False: "divide values by 255 or 65535, and map infrared counts of radiometric files to [0, 1] by their 0.1st and 99.9th percentile",
    True: "keep values of 8 bits, divide others by 257, map infrared counts of radiometric files to [0, 255] by their 0.1st and 99.9th "
    "percentile, and round, halves to even",
}


def describe_file(
    config: GFFusionConfig,
    image_processor: GFFusionImageProcessor,
    parity: Parity,
    *,
    name: str,
    license: str,
    dtype: str,
    segment: bool,
    uint8: bool,
) -> dict[str, str]:
    """Return the metadata of a file. Folders of this machine are reduced to their names."""
    encoders = {"clip_name_or_path": config.clip_name_or_path, "dinov2_name_or_path": config.dinov2_name_or_path}
    sources = {field: _drop_folders(source) for field, source in encoders.items() if source}
    labels = {str(index): label for index, label in config.id2label.items()}
    return {
        "gffusion.model": _drop_folders(name),
        "gffusion.version": __version__,
        "gffusion.license": license,
        "gffusion.dtype": dtype,
        "gffusion.values": "uint8" if uint8 else "float32",
        "gffusion.preprocessing": _describe_preprocessing(config, image_processor, uint8),
        **({"gffusion.labels": json.dumps(labels)} if segment else {}),
        "gffusion.image_processor": json.dumps(image_processor.to_dict()),
        "gffusion.config": json.dumps(config.to_diff_dict() | sources),
        "gffusion.parity": json.dumps(asdict(parity)),
    }


def name_saved_options(image_processor: GFFusionImageProcessor) -> str:
    """Return the options of a processor that are not the defaults, as they are spelled in the metadata; empty if all are.

    Examples:
        >>> name_saved_options(GFFusionImageProcessor(infrared_range=[7200, 8500], invert=True))
        'infrared_range [7200, 8500], invert true'
    """
    options = image_processor.infrared_options.to_diff_dict()
    if image_processor.size_divisor != 1:
        options["size_divisor"] = image_processor.size_divisor
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in options.items())


def _drop_folders(source: str) -> str:
    return Path(source).resolve().name if os.path.isabs(source) or os.path.isdir(source) else source


def _describe_preprocessing(config: GFFusionConfig, image_processor: GFFusionImageProcessor, uint8: bool) -> str:
    options = name_saved_options(image_processor)
    chroma = "" if config.color_space == "rgb" else " The fused image has the chroma of the visible one."
    saved = f" `gffusion.image_processor` has options that programs must apply: {options}." if options else ""
    return (
        f"{_INPUTS[uint8]}. Before: turn both images upright by their EXIF orientation, and align them to one size; replace "
        f"NaN, infinite and no-data values, and leave them out of percentiles and histograms; {_VALUES[uint8]}. "
        f"A gray visible image is repeated to three channels.{saved} Height and width: at least {MIN_SIZE}; pad smaller images at the bottom and on the right by "
        f"mirroring with the edge repeated, and crop the fused image.{chroma}"
    )
