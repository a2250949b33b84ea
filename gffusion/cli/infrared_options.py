"""Options of the mapping of infrared values, shared by several commands."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from gffusion.models.gffusion.infrared_options import AGCS, OPTION_NAMES, InfraredOptions
from gffusion.models.gffusion.json_files import read_json_object

from .choices import show_choices

_SAVED = "as saved with the model that fuses, if any, else "

InfraredRangeOption = Annotated[
    str | None,
    typer.Option(
        "--infrared-range",
        metavar="RANGE",
        help='Infrared values that become black and white: "type" (0 and 255, or 65535 for 16 bits), "percentile" (the 0.1st and '
        '99.9th percentile of each image), "auto" (percentile for radiometric files, else type), "folder" (the percentiles of all '
        f"images together), or LOW,HIGH in the unit of the file; HIGH,LOW inverts. [default: {_SAVED}auto]",
    ),
]
InvertOption = Annotated[
    bool | None,
    typer.Option(
        "--invert/--no-invert",
        help=f"Invert infrared images in which cold objects are bright. [default: {_SAVED}no-invert]",
    ),
]
AgcOption = Annotated[
    str | None,
    typer.Option(
        "--agc",
        metavar=show_choices(AGCS),
        help="Automatic gain control within the range: none (linear), plateau histogram equalization, or contrast-limited "
        f"adaptive histogram equalization (clahe). [default: {_SAVED}linear]",
    ),
]
PlateauLimitOption = Annotated[
    float | None,
    typer.Option(
        "--plateau-limit",
        metavar="LIMIT",
        help="For --agc plateau: the largest count of a histogram bin, as a multiple of the mean; smaller is closer to linear. "
        f"[default: {_SAVED}1]",
    ),
]
SmoothRangeOption = Annotated[
    float | None,
    typer.Option(
        "--smooth-range",
        metavar="FRAMES",
        help="For frames of a video with --infrared-range percentile: average the range over about FRAMES frames, against "
        f"flicker; 0 turns it off. [default: {_SAVED}0]",
    ),
]


def without_model(option: Any) -> Any:
    """Return an option from above for a command without a model that fuses, with the plain default in its help."""
    info = copy.copy(get_args(option)[1])
    info.help = info.help.replace(_SAVED, "")
    return info


def parse_infrared_options(
    infrared_range: str | None,
    invert: bool | None,
    agc: str | None,
    plateau_limit: float | None,
    smooth_range: float | None,
) -> dict[str, Any]:
    """Return the options that were given, after all checks that are possible without the model."""
    from gffusion.data.infrared_range import parse_infrared_range  # saves start-up time

    options: dict[str, Any] = {
        "infrared_range": None if infrared_range is None else parse_infrared_range(infrared_range),
        "invert": invert,
        "agc": agc,
        "plateau_limit": plateau_limit,
        "smooth_range": smooth_range,
    }
    given = {name: value for name, value in options.items() if value is not None}
    # Options that are not given may be saved with the model: assume those that allow the given ones.
    InfraredOptions(
        **{"infrared_range": "percentile", "agc": "linear" if plateau_limit is None else "plateau", **given}
    )
    return given


def check_saved_options(folder: str, given: Mapping[str, Any]) -> None:
    """Raise ValueError if given options exclude those saved with the model in a folder, before torch is imported.

    What is saved with a model of the Hub, or in a damaged file, is checked when the model is loaded.
    """
    file = Path(folder, "preprocessor_config.json")
    if not file.parent.is_dir():
        return
    try:
        content = read_json_object(file) if file.exists() else {}
        saved = InfraredOptions(**{name: content[name] for name in OPTION_NAMES if name in content})
    except (OSError, ValueError, TypeError):
        return
    saved.override(**given)
