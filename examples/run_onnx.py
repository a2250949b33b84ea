"""Fuse a pair with a file of `gffusion export`, with numpy, onnxruntime and Pillow alone.

gffusion export gffusion-tiny -o model.onnx
python examples/run_onnx.py model.onnx visible.png infrared.png fused.png
"""

import sys

import numpy as np
import onnxruntime
from PIL import Image

MINIMUM_SIZE = 32


def pad(image: np.ndarray) -> np.ndarray:
    """Mirror an image at the bottom and on the right if it is smaller than the model allows."""
    missing = [max(0, MINIMUM_SIZE - side) for side in image.shape[:2]]
    return np.pad(image, [(0, missing[0]), (0, missing[1])] + [(0, 0)] * (image.ndim - 2), mode="symmetric")


def fuse(session: onnxruntime.InferenceSession, visible: np.ndarray, infrared: np.ndarray) -> np.ndarray:
    """Fuse uint8 images (H, W, 3) and (H, W) of one size -> uint8 (H, W, 3)."""
    height, width = infrared.shape
    inputs = {
        "visible": np.moveaxis(pad(visible), -1, 0)[None].astype(np.float32) / 255,  # (1, 3, H, W)
        "infrared": pad(infrared)[None, None].astype(np.float32) / 255,  # (1, 1, H, W)
    }
    fused = session.run(["fused"], inputs)[0][0]
    return np.rint(np.moveaxis(fused, 0, -1)[:height, :width] * 255).astype(np.uint8)


def main(model: str, visible: str, infrared: str, output: str) -> None:
    """Read two 8-bit images and write the fused one."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    images = np.asarray(Image.open(visible).convert("RGB")), np.asarray(Image.open(infrared).convert("L"))
    Image.fromarray(fuse(session, *images)).save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
