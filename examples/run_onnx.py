"""Fuse a pair with a file of `gffusion export`, with numpy, onnxruntime and Pillow alone.

gffusion export gffusion-tiny -o model.onnx
python examples/run_onnx.py model.onnx visible.png infrared.png fused.png
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

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


def fuse(session: onnxruntime.InferenceSession, visible: np.ndarray, infrared: np.ndarray) -> np.ndarray:
    """Fuse uint8 images (H, W, 3) and (H, W) of one size -> uint8 (H, W, 3)."""
    height, width = infrared.shape
    if visible.shape[:2] != (height, width):
        raise ValueError(
            f"the images must have one size: the visible one has {visible.shape[1]}x{visible.shape[0]} pixels, the infrared "
            f"one {width}x{height}"
        )
    visible, infrared = pad(visible)[None], pad(infrared)[None]
    if session.get_inputs()[0].type == "tensor(uint8)":  # exported with --uint8
        return session.run(["fused"], {"visible": visible, "infrared": infrared})[0][0, :height, :width]
    inputs = {
        "visible": np.moveaxis(visible, -1, 1).astype(np.float32) / 255,  # (1, 3, H, W)
        "infrared": infrared[:, None].astype(np.float32) / 255,  # (1, 1, H, W)
    }
    fused = session.run(["fused"], inputs)[0][0]
    return np.rint(np.moveaxis(fused, 0, -1)[:height, :width] * 255).astype(np.uint8)


def main() -> None:
    """Read two 8-bit images and write the fused one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "visible", "infrared", "output"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    if options.output.resolve() in (options.visible.resolve(), options.infrared.resolve()):
        parser.error(f"{options.output} is an input: choose another output")
    try:
        session = load(options.model)
        fused = fuse(session, read(options.visible, "RGB"), read(options.infrared, "L"))
        Image.fromarray(fused).save(options.output)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise SystemExit(f"run_onnx.py: error: {error}") from None


if __name__ == "__main__":
    main()
