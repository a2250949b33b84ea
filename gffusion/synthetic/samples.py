"""Write rendered scenes in the folder layout that `FusionDataset` and `gffusion fuse` read."""

import os
from pathlib import Path

from gffusion.data.class_names import read_lines
from gffusion.data.io import write_image
from gffusion.data.pairs import CLASSES_FILE
from gffusion.utils.atomic import replace_file
from gffusion.utils.progress import show_progress

from .rendering import CLASS_NAMES, Box, check_scene, render_scene


def write_scenes(
    folder: str | os.PathLike[str], count: int = 1, seed: int = 0, height: int = 480, width: int = 640
) -> list[str]:
    """Render scenes and write them to `visible/`, `infrared/`, `labels/`, `boxes/` and `classes.txt`.

    Boxes are YOLO rows, `class cx cy w h` relative to the image; their classes are the lines of `classes.txt`, counted from
    0. Label maps contain 0 for the background and the same classes counted from 1.

    Args:
        folder: Output folder; created if needed. Existing files of the same names are replaced.
        count: Number of scenes, at least 1.
        seed: Seed of the first scene; each further scene adds 1.
        height: Height of the images in pixels, at least 32.
        width: Width of the images in pixels, at least 32, with at most 16 million pixels.

    Returns:
        The names of the image files, the same in every folder.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If an argument is out of range, or `classes.txt` in the folder names other classes.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_scenes(folder, count=2, seed=7, height=32, width=48)
        ['rendered_0007.png', 'rendered_0008.png']
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    check_scene(seed, height, width)
    folder = Path(folder)
    classes, class_names = folder / CLASSES_FILE, CLASS_NAMES[1:]
    if classes.is_file() and (found := read_lines(classes)) != class_names:  # the ids would get another meaning
        raise ValueError(
            f"{classes} names the classes {', '.join(found)}, but rendered scenes have {', '.join(class_names)}: choose "
            "another folder"
        )
    for name in ("visible", "infrared", "labels", "boxes"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = []
    for number in show_progress(range(seed, seed + count), unit="scene"):
        scene = render_scene(number, height, width)
        name = f"rendered_{number:04d}.png"
        for kind in ("visible", "infrared", "labels"):
            write_image(folder / kind / name, getattr(scene, kind))
        rows = "".join(_yolo_row(box, height, width) for box in scene.boxes)
        replace_file((folder / "boxes" / name).with_suffix(".txt"), rows.encode())
        names.append(name)
    replace_file(classes, "".join(f"{name}\n" for name in class_names).encode())
    return names


def _yolo_row(box: Box, height: int, width: int) -> str:
    x, y = (box.left + box.right) / 2 / width, (box.top + box.bottom) / 2 / height
    w, h = (box.right - box.left) / width, (box.bottom - box.top) / height
    return f"{box.class_id - 1} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n"
