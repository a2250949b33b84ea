"""Show double outlines of a pair that is slightly off: `python tools/outlines_figure.py`.

Three rendered streets whose infrared images are shifted are fused as they are, and with the rig that `--align auto` estimates
from them. Prints the mean difference, in gray levels, from the image fused from the registered pair, at most 6 pixels from
the outlines of hot things, and writes docs/images/outlines.png: crops of the infrared image and of images fused as they are,
aligned, and registered, for a shift of 4 pixels.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from page_tables import format_table
from scipy.ndimage import distance_transform_edt

from gffusion import create_model
from gffusion.cameras import align_images
from gffusion.cameras.estimation import estimate_rig
from gffusion.cameras.warping import warp_image
from gffusion.data import write_image
from gffusion.inference.predict import predict
from gffusion.metrics import to_luma8
from gffusion.models.gffusion.image_ops import sobel_magnitude
from gffusion.synthetic.rendering import render_scene
from gffusion.zoo import load_image_processor

FIGURE = Path(__file__).parents[1] / "docs" / "images" / "outlines.png"
MODELS = ("gffusion-tiny", "gffusion-live")
SIZE = 480, 640
SEEDS = range(3)
SHIFTS, SHOWN = (2, 4, 8), 4
CROP = slice(200, 400), slice(60, 340)  # of the first street
REACH, STRONG = 6, 200  # pixels from outlines, and Sobel magnitude of an outline

Image = NDArray[np.uint8]


def shift_infrared(infrared: Image, pixels: float) -> Image:
    """Return the image moved by a distance, to the lower right."""
    matrix = np.array([[1, 0, -0.8 * pixels], [0, 1, -0.6 * pixels], [0, 0, 1]])
    return warp_image(infrared, None, matrix, infrared.shape)[0]


def align(pairs: list[tuple[Image, Image]]) -> list[tuple[Image, Image]]:
    """Return the pairs as `--align auto` aligns them."""
    rig = estimate_rig([(visible, infrared, None) for visible, infrared in pairs]).rig
    return [(visible, align_images(visible, infrared, align=rig)[0].infrared) for visible, infrared in pairs]


def find_outlines(infrared: Image) -> NDArray[np.bool_]:
    """Return the pixels near outlines of hot things, without the border that shifts lose."""
    edges = sobel_magnitude(to_luma8(infrared)[None, None])[0, 0].numpy() > STRONG
    near = distance_transform_edt(~edges) <= REACH
    inner = np.zeros_like(near)
    inner[16:-16, 16:-16] = True
    return near & inner


def main() -> None:
    """Print the table, and write the figure."""
    scenes = [render_scene(seed, *SIZE) for seed in SEEDS]
    registered = [(scene.visible, scene.infrared) for scene in scenes]
    outlines = [find_outlines(infrared) for _, infrared in registered]
    moved = {
        shift: [(visible, shift_infrared(infrared, shift)) for visible, infrared in registered] for shift in SHIFTS
    }
    aligned = {shift: align(pairs) for shift, pairs in moved.items()}
    columns: dict[str, list[float]] = {}
    crops = [np.repeat(registered[0][1][..., None], 3, axis=-1)]
    for name in MODELS:
        model, processor = create_model(name, use_segmenter=False), load_image_processor(name)
        goals = [predict(model, processor, [pair])[0].fused for pair in registered]
        for shift in SHIFTS:
            for suffix, pairs in (("", moved[shift]), (", `--align auto`", aligned[shift])):
                fused = [predict(model, processor, [pair])[0].fused for pair in pairs]
                differences = [
                    (to_luma8(image) - to_luma8(goal)).abs().numpy()[near].mean()
                    for image, goal, near in zip(fused, goals, outlines, strict=True)
                ]
                columns.setdefault(name + suffix, []).append(float(np.mean(differences)))
                if shift == SHOWN and name == MODELS[0]:
                    crops.append(fused[0])
        crops += [goals[0]] if name == MODELS[0] else []
    rows = [[str(shift), *(f"{column[row]:.1f}" for column in columns.values())] for row, shift in enumerate(SHIFTS)]
    print(format_table(["shift", *columns], rows))
    write_image(FIGURE, np.concatenate([image[CROP] for image in crops], axis=1))


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
