"""`gffusion sample`: write rendered pairs to try gffusion with."""

from pathlib import Path
from typing import Annotated

import typer

from .errors import user_errors
from .options import QuietOption
from .outputs import new_output
from .printing import print_line


def sample(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Output folder; created if needed.")],
    count: Annotated[int, typer.Option("--count", min=1, metavar="COUNT", help="Number of pairs.")] = 1,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="SEED", help="Seed of the first pair; each further pair adds 1.")
    ] = 0,
    height: Annotated[
        int,
        typer.Option(
            "--height", min=32, metavar="PIXELS", help="Height in pixels; height times width is at most 16 million."
        ),
    ] = 480,
    width: Annotated[int, typer.Option("--width", min=32, metavar="PIXELS", help="Width in pixels.")] = 640,
    quiet: QuietOption = False,
) -> None:
    """Write rendered visible/infrared pairs of a street at night, with label maps and boxes.

    DIR gets visible/, infrared/, labels/ (class ids as PNG), boxes/ (YOLO: class, center and size relative to the image)
    and classes.txt. If DIR has a classes.txt with other classes, nothing is written. The images are rendered, not captured; a seed always gives the same files with the same versions of Pillow and NumPy.
    """
    from gffusion.synthetic.samples import write_scenes  # imports scipy, which would delay `gffusion --help`

    with user_errors(), new_output(folder, "DIR"):
        names = write_scenes(folder, count=count, seed=seed, height=height, width=width)
    print_line(
        f"rendered {count} pair{'s' * (count > 1)} in {folder}: {folder / 'visible' / names[0]}, "
        f"{folder / 'infrared' / names[0]}{', ...' * (count > 1)}"
    )
