"""Fuse a pair with a file of `gffusion export`, with numpy, onnxruntime and Pillow alone.

gffusion export gffusion-tiny -o model.onnx
python examples/run_onnx.py model.onnx visible.png infrared.png fused.png
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

try:
    import onnxruntime
except ImportError:
    raise SystemExit("run_onnx.py: error: needs ONNX Runtime: pip install onnxruntime") from None

MIN_SIZE = 32


def read(path: Path, mode: str) -> np.ndarray:
    """Read an image upright, as RGB (H, W, 3) or gray "L" (H, W), uint8."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith(("I", "F")):  # Pillow would clip the values to 255
        raise ValueError(f"{path} has more than 8 bits: map its values to 8 bits first, or use gffusion fuse")
    return np.asarray(image.convert(mode))


def pad(image: np.ndarray) -> np.ndarray:
    """Mirror an image at the bottom and on the right if it is smaller than the model allows."""
    missing = [max(0, MIN_SIZE - side) for side in image.shape[:2]]
    return np.pad(image, [(0, missing[0]), (0, missing[1])] + [(0, 0)] * (image.ndim - 2), mode="symmetric")


def map_infrared(image: np.ndarray, options: dict[str, Any]) -> np.ndarray:
    """Map a gray image (H, W), uint8, to [0, 1] by the options that are saved in the file -> float32."""
    limits = options.get("infrared_range", "auto")
    if limits == "percentile":
        limits = np.percentile(image, (0.1, 99.9))
    elif isinstance(limits, str):  # auto and type
        limits = (0, 255)
    low, high = sorted(limits)
    if np.mean((image < low) | (image > high)) > 0.5:
        raise ValueError(f"most infrared values are outside the saved range {low:g} to {high:g}: use gffusion fuse")
    is_inverted = options.get("invert", False) or low != limits[0]
    distance = high - image.astype(np.float64) if is_inverted else image.astype(np.float64) - low
    return np.clip(distance / max(high - low, np.finfo(np.float32).tiny), 0, 1).astype(np.float32)


def load(path: Path) -> onnxruntime.InferenceSession:
    """Start a session that runs a file of `gffusion export`."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: write it with gffusion export")
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no class of their own
        raise ValueError(f"{path} is not a readable ONNX file: {str(error).splitlines()[0]}") from error
    if [value.name for value in session.get_inputs()] != ["visible", "infrared"]:
        raise ValueError(f"{path} was not written by gffusion export: its inputs are not visible and infrared")
    return session


def load_options(session: onnxruntime.InferenceSession) -> dict[str, Any]:
    """Return the options of the image processor that are saved in the file; refuse those that this program does not apply."""
    options = json.loads(session.get_modelmeta().custom_metadata_map.get("gffusion.image_processor", "{}"))
    refused = {
        "infrared_range": options.get("infrared_range") == "folder",
        "agc": options.get("agc", "linear") != "linear",
        "smooth_range": options.get("smooth_range", 0) > 0,
        "size_divisor": options.get("size_divisor", 1) > 1,
    }
    for name, is_refused in refused.items():
        if is_refused:
            raise ValueError(f"the file has the option {name}={options[name]!r}, which needs gffusion fuse")
    return options


def fuse(session: onnxruntime.InferenceSession, visible: np.ndarray, infrared: np.ndarray) -> np.ndarray:
    """Fuse uint8 images (H, W, 3) and (H, W) of one size -> uint8 (H, W, 3)."""
    height, width = infrared.shape
    if visible.shape[:2] != (height, width):
        raise ValueError(
            f"the images must have one size: the visible one has {visible.shape[1]}x{visible.shape[0]} pixels, the infrared "
            f"one {width}x{height}"
        )
    visible, infrared = pad(visible)[None], pad(map_infrared(infrared, load_options(session)))[None]
    if session.get_inputs()[0].type == "tensor(uint8)":  # exported with --uint8
        inputs = {"visible": visible, "infrared": np.rint(infrared * 255).astype(np.uint8)}
        return session.run(["fused"], inputs)[0][0, :height, :width]
    inputs = {
        "visible": np.moveaxis(visible, -1, 1).astype(np.float32) / 255,  # (1, 3, H, W)
        "infrared": infrared[:, None],  # (1, 1, H, W)
    }
    fused = session.run(["fused"], inputs)[0][0]
    return np.rint(np.moveaxis(fused, 0, -1)[:height, :width] * 255).astype(np.uint8)


def main() -> None:
    """Read two 8-bit images and write the fused one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "visible", "infrared", "output"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    if arguments.output.resolve() in (arguments.visible.resolve(), arguments.infrared.resolve()):
        parser.error(f"{arguments.output} is an input: choose another output")
    try:
        session = load(arguments.model)
        fused = fuse(session, read(arguments.visible, "RGB"), read(arguments.infrared, "L"))
        Image.fromarray(fused).save(arguments.output)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise SystemExit(f"run_onnx.py: error: {error}") from None


if __name__ == "__main__":
    main()
