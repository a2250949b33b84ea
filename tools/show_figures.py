"""Draw the figures of docs/guides/show.md from a rendered scene: `python tools/show_figures.py` writes docs/images/show-*.png."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

FIGURES = Path(__file__).parents[1] / "docs" / "images"
KINDS = ("labels", "tokens")
WIDTH = 1000


def run(*words: str | Path) -> None:
    """Run a command of gffusion."""
    subprocess.run([sys.executable, "-m", "gffusion", *map(str, words)], check=True)


def main() -> None:
    """Draw the figures, and save them small."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run("sample", folder / "scene", "--count", "1")
        pair = [folder / "scene" / kind / "rendered_0000.png" for kind in ("visible", "infrared")]
        for kind in KINDS:
            run("show", kind, *pair, "-o", folder / f"{kind}.png")
            figure = Image.open(folder / f"{kind}.png").convert("RGB")
            size = WIDTH, round(figure.height * WIDTH / figure.width)
            small = figure.resize(size, Image.Resampling.LANCZOS).quantize(128)
            small.save(FIGURES / f"show-{kind}.png", optimize=True)


if __name__ == "__main__":
    main()
