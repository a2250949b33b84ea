"""Rendered pairs and a rendered clip to try the demo with."""

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gffusion.data import write_image
from gffusion.synthetic.rendering import RenderedScene, render_scene

CLIP_FRAMES, CLIP_RATE, _STEP = 40, 20, 4
_FIELD = (0.08, 0.06, 0.9, 0.94)  # of the other infrared camera: left, top, right, bottom
_OTHER_SIZE = (384, 308)  # its width and height

SAMPLES: Mapping[str, tuple[int, bool]] = {
    "Street at night": (0, True),
    "Another street": (3, True),
    "Two cameras": (1, False),
}
"""Seed of the scene, and whether its images are aligned, by the name of a sample."""

_scene = lru_cache(maxsize=8)(render_scene)


def write_sample(name: str, folder: Path) -> tuple[Path, Path]:
    """Render a sample, and return the files of its visible and infrared image."""
    seed, is_aligned = SAMPLES[name]
    scene: RenderedScene = _scene(seed)
    infrared = scene.infrared if is_aligned else _view_by_other_camera(scene.infrared)
    files = folder / f"street_{seed}_visible.png", folder / f"street_{seed}_infrared.png"
    for file, image in zip(files, (scene.visible, infrared), strict=True):
        write_image(file, image)
    return files


def _view_by_other_camera(infrared: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = infrared.shape
    left, top, right, bottom = _FIELD
    box = (left * width, top * height, right * width, bottom * height)
    return np.asarray(Image.fromarray(infrared).resize(_OTHER_SIZE, Image.Resampling.LANCZOS, box))


def write_clip(folder: Path) -> tuple[Path, Path]:
    """Render a clip of a turning camera, and return its visible and its infrared video.

    Raises:
        ImportError: If PyAV is not installed.
    """
    from gffusion.video.opening import import_av  # saves start-up time

    av = import_av()
    height, width = 240, 320
    scene = _scene(0, height, width + _STEP * CLIP_FRAMES)
    files = folder / "street_visible.mp4", folder / "street_infrared.mp4"
    for file, image in zip(files, (scene.visible, scene.infrared), strict=True):
        with av.open(str(file), "w") as container:
            stream = container.add_stream("libx264", rate=CLIP_RATE, options={"crf": "16"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for index in range(CLIP_FRAMES):
                part = np.ascontiguousarray(image[:, _STEP * index :][:, :width])
                frame = av.VideoFrame.from_ndarray(part, "rgb24" if part.ndim == 3 else "gray")
                frame.pts, frame.time_base = index, Fraction(1, CLIP_RATE)
                container.mux(stream.encode(frame.reformat(format="yuv420p")))
            container.mux(stream.encode(None))
    return files
