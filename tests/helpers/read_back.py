"""Read what the code under test has written: images, whole folders and logs of training runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def read_pixels(path: Path) -> NDArray[Any]:
    """Return the pixels of an image as Pillow stores them."""
    with Image.open(path) as image:
        return np.asarray(image)


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files below a folder, hidden ones included, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the records in the log of a training run."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
