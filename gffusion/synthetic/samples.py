"""Writes rendered scenes in the folder layout that `FusionDataset` and `gffusion fuse` read."""

from pathlib import Path

from tqdm import tqdm

from gffusion.data.io import write_image

from .rendering import CLASS_NAMES, RenderedScene, render_scene


def write_scenes(folder: Path, count: int = 1, seed: int = 0, height: int = 480, width: int = 640) -> list[str]:
    """Render scenes and write them to `visible/`, `infrared/`, `labels/` and `boxes/`, with `classes.txt` beside them.

    Boxes are YOLO rows, `class cx cy w h` as shares of the picture; classes count the lines of `classes.txt` from 0. Label
    maps hold the same classes counted from 1, after the background.

    Args:
        folder: Where to write; created if needed. Files of the same names are replaced.
        count: Number of scenes, at least 1.
        seed: Seed of the first scene; the others count up from it.
        height: Height of the pictures in pixels, at least 32.
        width: Width of the pictures in pixels, at least 32.

    Returns:
        Names of the pictures, which are the same in every folder.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If an argument is out of range.
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1, got {count}.")
    for name in ("visible", "infrared", "labels", "boxes"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASS_NAMES[1:]), encoding="utf-8")
    names = []
    for number in tqdm(range(seed, seed + count), unit="scene", disable=None, leave=False):
        scene = render_scene(number, height, width)
        name = f"rendered_{number:04d}.png"
        for kind in ("visible", "infrared", "labels"):
            write_image(folder / kind / name, getattr(scene, kind))
        (folder / "boxes" / name).with_suffix(".txt").write_text(_yolo_rows(scene), encoding="utf-8")
        names.append(name)
    return names


def _yolo_rows(scene: RenderedScene) -> str:
    height, width = scene.labels.shape
    rows = []
    for box in scene.boxes:
        centre = (box.left + box.right) / 2 / width, (box.top + box.bottom) / 2 / height
        size = (box.right - box.left) / width, (box.bottom - box.top) / height
        rows.append(f"{box.class_id - 1} {centre[0]:.6f} {centre[1]:.6f} {size[0]:.6f} {size[1]:.6f}\n")
    return "".join(rows)
