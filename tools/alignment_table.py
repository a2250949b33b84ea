"""Measure the alignment of real pairs that are moved by known amounts, and what misalignment costs.

    python tools/alignment_table.py truth --trials 12      # a table of errors and refusals
    python tools/alignment_table.py registration           # how far edges of the registered pairs lie apart
    python tools/alignment_table.py residual --pairs 4     # estimated and true errors of transforms that do not fit
    python tools/alignment_table.py cost --pairs 8         # quality of fused images at 0 to 8 pixels

Registered pairs are read from `$GFFUSION_DATA` (default `../shared/data`). A trial moves the infrared image of one
pair, or of ten pairs alike, by a scale of 0.5 to 2, a rotation of up to 5 degrees and a shift of up to 10 % of the
visible image. Half of the trials crop both images to windows that are filled with content; in the others, the infrared
image has missing borders. The error is the mean distance of the corners of the common part, in pixels of the visible
image.

The sets are not registered perfectly. Errors are given against the registration of the set, and, as "relative", against the
estimate for the same part of the same images before they were moved.
"""

import argparse
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from gffusion.cameras import Rig, align_images
from gffusion.cameras.edges import prepare_pair
from gffusion.cameras.estimation import PairArrays, estimate_rig, measure_distance
from gffusion.cameras.refinement import FINE, Level, Transform, compare_tiles, refine_rig
from gffusion.cameras.rig import from_relative
from gffusion.cameras.warping import warp_image
from gffusion.data import ImagePair, match_pairs, read_image

DATA = Path(os.environ.get("GFFUSION_DATA", "../shared/data"))
# The thresholds of the refusal were chosen on other files: on `train` of MSRS and M3SVD, and the first 120 of
# RoadScene.
SETS: dict[str, tuple[str, Callable[[str], bool], slice]] = {
    "MSRS, day": ("val/msrs", lambda name: name.endswith("D"), slice(None)),
    "MSRS, night": ("val/msrs", lambda name: name.endswith("N"), slice(None)),
    "RoadScene": ("train/roadscene", lambda name: True, slice(120, None)),
    "M3SVD": ("val/m3svd", lambda name: True, slice(None)),
}
CORNERS = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], np.float64)
WRONG, FAR_OFF = 2.0, 10.0  # pixels, errors of estimates that are not refused


def list_pairs(name: str) -> list[ImagePair]:
    """Return the pairs of a set."""
    folder, is_wanted, part = SETS[name]
    return [pair for pair in match_folder(folder) if is_wanted(pair.name)][part]


def match_folder(folder: str) -> list[ImagePair]:
    """Return the pairs of a folder of the data."""
    return list(match_pairs(DATA / folder / "visible", DATA / folder / "infrared").pairs)


def spread(pairs: list[ImagePair], count: int) -> list[ImagePair]:
    """Return at most so many pairs, spread over all of them."""
    return pairs[:: max(1, len(pairs) // count)][:count]


def read_arrays(pair: ImagePair, size: tuple[int, int] | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the images of a pair, the infrared image in gray, resized to a common size if one is given."""
    visible, infrared = read_image(pair.visible), read_image(pair.infrared)
    infrared = infrared[..., 0] if infrared.ndim == 3 else infrared
    if size is None or visible.shape[:2] == size:
        return visible, infrared
    return _resize(visible, size), _resize(infrared, size)


def _resize(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    return warp_image(image, None, Rig(np.eye(3)).to_pixels(size, image.shape[:2]), size)[0]


def draw_motion(rng: np.random.Generator, size: tuple[int, int], perspective: bool) -> NDArray[np.float64]:
    """Return a random rig, whose pixels are square for visible and infrared images of one aspect ratio."""
    zoom, angle = np.exp(rng.uniform(*np.log((0.5, 2.0)))), np.deg2rad(rng.uniform(-5, 5))
    shift, tilt = rng.uniform(-0.1, 0.1, 2), rng.uniform(-0.05, 0.05, 2)
    turn, square, center, back, view = np.eye(3), np.diag([size[1], size[0], 1.0]), np.eye(3), np.eye(3), np.eye(3)
    turn[:2, :2] = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center[:2, 2], back[:2, 2] = 0.5, -0.5 - shift
    if perspective:
        view[2, :2] = tilt
    matrix = center @ view @ np.linalg.inv(square) @ turn @ square @ back
    return matrix / matrix[2, 2]


def move(
    visible: NDArray[Any], infrared: NDArray[Any], motion: NDArray[np.float64], crop: bool, density: float
) -> tuple[PairArrays, PairArrays, NDArray[np.float64]]:
    """Return the moved pair, the same part of the pair before it was moved, and the exact rig.

    Args:
        visible: (H, W, 3).
        infrared: (H, W), registered.
        motion: The rig.
        crop: Whether both images are windows that are filled with content.
        density: Pixels of the moved infrared image per pixel of `infrared`, along one axis.
    """
    height, width = infrared.shape
    quad = np.linalg.inv(motion) @ CORNERS.T
    reach = np.abs(quad[:2] / quad[2] - 0.5).max()
    share = min(1.0, 0.5 / reach) if crop else 1.0
    rows, columns = int(height * share) // 2 * 2, int(width * share) // 2 * 2
    top, left = (height - rows) // 2, (width - columns) // 2
    window = slice(top, top + rows), slice(left, left + columns)
    # The same pixels in the windows: square pixels stay square although the sizes are rounded.
    zoom = float(np.sqrt(np.linalg.det(motion[:2, :2]))) if crop else 1.0
    size = max(64, round(rows / zoom * density)), max(64, round(columns / zoom * density))
    to_infrared = from_relative(size) @ motion @ np.linalg.inv(from_relative((rows, columns)))
    scale = size[1] / columns, size[0] / rows
    stretch = np.diag([1.0, scale[0] / scale[1], 1.0])  # undoes the rounding of the height
    to_infrared = stretch @ to_infrared
    exact = np.linalg.inv(from_relative(size)) @ to_infrared @ from_relative((rows, columns))
    shifted = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]]) @ np.linalg.inv(to_infrared)
    moved, missing, _ = warp_image(infrared, None, shifted, size)
    _, unseen, _ = warp_image(moved.astype(np.float32), missing, to_infrared, (rows, columns))
    before = visible[window], infrared[window], unseen
    return (visible[window], moved, missing), before, exact / exact[2, 2]


def run_trial(name: str, count: int, seed: int, perspective: bool) -> dict[str, float]:
    """Return errors, in pixels, and the refusal of one trial."""
    rng = np.random.default_rng(seed)
    pairs = list_pairs(name)
    chosen = [pairs[index] for index in rng.choice(len(pairs), count, replace=False)]
    first = read_arrays(chosen[0])
    size = first[1].shape
    motion, density = draw_motion(rng, size, perspective), rng.uniform(0.5, 1.0)
    results = [move(*read_arrays(pair, size), motion, seed % 2 == 0, density) for pair in chosen]
    transform: Transform = "homography" if perspective else "similarity"
    started = time.process_time()
    estimate = estimate_rig([moved for moved, _, _ in results], transform)
    seconds = time.process_time() - started
    size, exact = results[0][0][0].shape[:2], results[0][2]
    before = refine_rig([prepare_pair(*unmoved) for _, unmoved, _ in results], np.eye(3), transform, FINE)
    return {
        "error": measure_distance(exact, estimate.rig.matrix, size),
        "relative": measure_distance(exact @ before.matrix, estimate.rig.matrix, size),
        "residual": estimate.residual,
        "confidence": estimate.confidence,
        "refused": float(not estimate.sure),
        "seconds": seconds / count,
    }


def run_unrelated(name: str, seed: int) -> float:
    """Return 1 if the images of different scenes are refused."""
    first, second = choose_unrelated(list_pairs(name), np.random.default_rng(seed))
    return float(not estimate_rig([(read_arrays(first)[0], read_arrays(second)[1], None)]).sure)


def choose_unrelated(pairs: Sequence[ImagePair], rng: np.random.Generator) -> tuple[ImagePair, ImagePair]:
    """Return two pairs, of different clips if their names are those of M3SVD, CLIP_FRAME."""
    while True:
        first, second = (pairs[index] for index in rng.choice(len(pairs), 2, replace=False))
        clips = [re.fullmatch(r"(\d{4}_\d{4})_\d{4}", pair.name) for pair in (first, second)]
        if clips[0] is None or clips[1] is None or clips[0][1] != clips[1][1]:
            return first, second


def print_truth(trials: int, joint_trials: int, perspective_trials: int) -> None:
    """Print the table of errors and refusals."""
    print(
        "| set | pairs | trials | refused | <= 1 px, relative | <= 2 px, relative | > 2 px, relative | > 10 px, relative "
        "| <= 1 px, registration | <= 2 px, registration | s per pair |"
    )
    print("| --- |" + " ---: |" * 10)
    for label, count, number, perspective in (
        ("", 1, trials, False),
        ("", 10, joint_trials, False),
        (", perspective", 10, perspective_trials, True),
    ):
        for name in SETS:
            results = [run_trial(name, count, seed, perspective) for seed in range(number)]
            if results:
                print(f"| {name}{label} | {count} | {number} | {summarize(results)} |", flush=True)
    refused = [run_unrelated(name, seed) for name in SETS for seed in range(trials)]
    print(f"\nunrelated images: {sum(refused):.0f} of {len(refused)} refused")


def summarize(results: Sequence[dict[str, float]]) -> str:
    """Return the cells of a row of the table."""
    values = {key: np.array([trial[key] for trial in results]) for key in results[0]}
    used = values["refused"] == 0
    cells = [values["refused"].mean()]
    cells += [(used & (values["relative"] <= limit)).mean() for limit in (1, 2)]
    cells += [(used & (values["relative"] > limit)).mean() for limit in (WRONG, FAR_OFF)]
    cells += [(used & (values["error"] <= limit)).mean() for limit in (1, 2)]
    return " | ".join([*(f"{cell:.0%}" for cell in cells), f"{values['seconds'].mean():.1f}"])


def print_registration(count: int) -> None:
    """Print by how many pixels the edges of registered pairs lie apart, in tiles of 80 pixels, all pairs together."""
    for name, (folder, is_wanted, _) in SETS.items():
        folder = folder.replace("val", "train")
        pairs = [pair for pair in match_folder(folder) if is_wanted(pair.name)]
        size = read_arrays(pairs[0])[1].shape
        arrays = [read_arrays(pair, size) for pair in spread(pairs, count)]
        prepared = [prepare_pair(*pair, None) for pair in arrays]
        tiles = compare_tiles(prepared, np.eye(3), size, Level(640, 10, 80))
        sums = tiles.agreements.sum(axis=0)
        rows, columns = np.unravel_index(sums.reshape(len(sums), -1).argmax(axis=1), sums.shape[1:])
        shifts = np.stack([columns, rows], axis=1) - tiles.radius
        print(f"{name}: {len(arrays)} pairs, root mean square {np.sqrt((shifts**2).sum(axis=1).mean()):.1f} pixels")
        if name.startswith("MSRS"):
            grid = shifts.reshape(-(-size[0] // 80), -1, 2)
            print("to the right:", *grid[..., 0], "downwards:", *grid[..., 1], sep="\n")


Coordinates = NDArray[np.float64]
# Positions in the visible image for those of infrared pixels, in half widths from the center.
MISFITS: dict[str, tuple[Transform, Callable[[Coordinates, Coordinates], tuple[Coordinates, Coordinates]]]] = {
    "exact": ("similarity", lambda x, y: (0.8 * x, 0.8 * y)),
    "field of view 2 % smaller": ("translation", lambda x, y: (0.98 * x, 0.98 * y)),
    "field of view 4 % smaller": ("translation", lambda x, y: (0.96 * x, 0.96 * y)),
    "field of view 8 % smaller": ("translation", lambda x, y: (0.92 * x, 0.92 * y)),
    "stretch of 4 %": ("similarity", lambda x, y: (0.82 * x, 0.78 * y)),
    "barrel, 6 % at the side": ("similarity", lambda x, y: _scale(x, y, 0.8 * (1 - 0.06 * (x**2 + y**2)))),
    "perspective of 4 %": ("similarity", lambda x, y: _scale(x, y, 0.8 / (1 + 0.04 * x))),
    "parallax of +-4 pixels": ("similarity", lambda x, y: (0.8 * x + np.sign(np.sin(12 * x)) / 80, 0.8 * y)),
}


def _scale(x: Coordinates, y: Coordinates, factor: Coordinates) -> tuple[Coordinates, Coordinates]:
    return x * factor, y * factor


def run_misfit(pairs: Sequence[ImagePair], case: str) -> tuple[float, float, bool]:
    """Return the residual and the true mean error over the infrared image, in pixels, and whether the estimate is sure."""
    transform, move_points = MISFITS[case]
    size = read_arrays(pairs[0])[1].shape
    center, half = np.array([size[1] - 1, size[0] - 1]) / 2, size[1] / 2
    grid = np.stack(np.meshgrid(np.arange(size[1]), np.arange(size[0])), axis=-1)
    x, y = np.moveaxis((grid - center) / half, -1, 0)
    true = np.stack(move_points(x, y), axis=-1) * half + center
    images = []
    for visible, infrared in (read_arrays(pair, size) for pair in pairs):
        moved = ndimage.map_coordinates(infrared.astype(float), [true[..., 1], true[..., 0]], order=1, mode="nearest")
        images.append((visible, moved.astype(infrared.dtype), None))
    estimate = estimate_rig(images, transform)
    matrix = np.linalg.inv(estimate.rig.to_pixels(size, size))
    found = np.concatenate([grid, np.ones((*size, 1))], axis=-1) @ matrix.T
    errors = np.linalg.norm(found[..., :2] / found[..., 2:] - true, axis=-1)
    inside = ((true >= 0) & (true <= 2 * center)).all(axis=-1)
    return estimate.residual, float(errors[inside].mean()), estimate.sure


def print_residuals(count: int) -> None:
    """Print the estimated and the true error of transforms that cannot hold how the cameras differ."""
    names = [name for name in SETS if not name.startswith("MSRS")]  # which is not registered to two pixels
    print("| misfit | transform |" + "".join(f" {name}, residual | {name}, error | sure |" for name in names))
    print("| --- | --- |" + " ---: | ---: | --- |" * len(names))
    for case, (transform, _) in MISFITS.items():
        cells = []
        for name in names:
            residual, error, is_sure = run_misfit(spread(list_pairs(name), count), case)
            cells += [f"{residual:.1f}", f"{error:.1f}", "yes" if is_sure else "no"]
        print(f"| {case} | {transform} | {' | '.join(cells)} |", flush=True)


def print_cost(count: int, model_name: str) -> None:
    """Print the quality of fused images at shifts of 0 to 8 pixels, without and with `--align auto`."""
    from gffusion import create_model
    from gffusion.inference.predict import predict
    from gffusion.metrics import compute_metrics, to_luma8
    from gffusion.zoo import load_image_processor

    names = ("Qabf", "VIF", "SSIM", "Nabf")
    model, processor = create_model(model_name), load_image_processor(model_name)
    images = [read_arrays(pair) for pair in spread(list_pairs("M3SVD"), count)]
    print(f"| shift | {' | '.join(names)} | {' | '.join(f'{name}, auto' for name in names)} |")
    print(f"| ---: |{' ---: |' * 2 * len(names)}")
    for shift in (0, 1, 2, 4, 8):
        matrix = np.array([[1, 0, shift * 0.8], [0, 1, shift * 0.6], [0, 0, 1]])
        moved = [warp_image(infrared, None, matrix, infrared.shape)[0] for _, infrared in images]
        rig = estimate_rig([(visible, other, None) for (visible, _), other in zip(images, moved, strict=True)]).rig
        rows = []
        for (visible, infrared), other in zip(images, moved, strict=True):
            aligned = align_images(visible, other, align=rig)[0].infrared
            inner = slice(16, -16)
            for used in (other, aligned):
                fused = predict(model, processor, [(visible, used)])[0].fused
                # Measured against the registered images, without the borders that the shift loses.
                lumas = [to_luma8(np.ascontiguousarray(image[inner, inner])) for image in (fused, visible, infrared)]
                rows.append([value.item() for value in compute_metrics(*lumas, metrics=names).values()])
        means = np.array(rows).reshape(len(images), 2, len(names)).mean(axis=0).ravel()
        print(f"| {shift} | {' | '.join(f'{value:.3f}' for value in means)} |", flush=True)


def main() -> None:
    """Print one of the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["truth", "registration", "residual", "cost"])
    parser.add_argument("--trials", type=int, default=12, help="trials with one pair, per set")
    parser.add_argument("--joint-trials", type=int, default=3, help="trials with ten pairs, per set")
    parser.add_argument(
        "--perspective-trials", type=int, default=1, help="trials with ten pairs and perspective, per set"
    )
    parser.add_argument("--pairs", type=int, default=6, help="pairs of the tables of residuals and costs")
    parser.add_argument("--model", default="gffusion-tiny", help="model of the table of costs")
    options = parser.parse_args()
    if options.table == "truth":
        print_truth(options.trials, options.joint_trials, options.perspective_trials)
    elif options.table == "registration":
        print_registration(40)
    elif options.table == "residual":
        print_residuals(options.pairs)
    else:
        print_cost(options.pairs, options.model)


if __name__ == "__main__":
    main()
