"""Saved rigs of `gffusion align`: one that is checked, or an approximate one at which the estimate starts."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gffusion.cameras import Rig
    from gffusion.cameras.orientation import Orientation


class Start(NamedTuple):
    """Where an estimate starts.

    Attributes:
        rig: Rig of `--check` or `--start`, if one was given.
        upright: The same for upright infrared images.
        orientation: How the infrared camera is mounted.
    """

    rig: "Rig | None"
    upright: "Rig | None"
    orientation: "Orientation"


def check_options(output: Path | None, check: Path | None, start: Path | None, accept_uncertain: bool) -> None:
    """Raise ValueError if there is nothing to do, or options exclude each other."""
    if output is None and check is None:
        raise ValueError(
            "Missing option '--output' / '-o', such as -o rig.json, or --check RIG.json to check a saved rig"
        )
    if check is not None and start is not None:
        raise ValueError("--check starts at its own rig: leave out --start")
    if check is not None and accept_uncertain:
        raise ValueError("--check needs an estimate that is sure: leave out --accept-uncertain")


def load_start(check: Path | None, start: Path | None, turn: int, is_mirrored: bool) -> Start:
    """Load the rig of `--check` or `--start`, which also says how the infrared camera is mounted.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no rig, or `--infrared-turn` or `--infrared-mirror` contradicts it.
    """
    from gffusion.cameras import Rig  # these imports take time that `gffusion --help` need not spend
    from gffusion.cameras.orientation import Orientation, split_orientation

    given = Orientation(turn, is_mirrored)
    option, path = ("--check", check) if check is not None else ("--start", start)
    if path is None:
        return Start(None, None, given)
    if not path.is_file():
        raise FileNotFoundError(
            f"{option} {path} does not exist: give a rig of gffusion align, or of Rig.save in Python"
        )
    rig = Rig.load(path)
    orientation, upright = split_orientation(rig.matrix)
    if given not in (Orientation(), orientation):
        options = f"--infrared-turn {orientation.turn} and {'' if orientation.mirror else 'without '}--infrared-mirror"
        kind = "upright infrared images" if orientation == Orientation() else f"a camera with {options}"
        raise ValueError(
            f"{option} {path} is for {kind}: leave out --infrared-turn and --infrared-mirror, they are taken from the rig"
        )
    return Start(rig, Rig(upright), orientation)
