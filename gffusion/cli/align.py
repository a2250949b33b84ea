"""`gffusion align`: estimate the rig of two cameras from their images."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from . import read_options as reading
from .choices import IMAGE_SUFFIXES, TURNS, show_choices
from .errors import user_errors
from .fuse_plans import check_pairs, find_match, warn_of_thermal_visible
from .messages import one_line, print_note
from .options import JsonOption, OverwriteFileOption, QuietOption
from .outputs import check_new, check_not_inputs, check_parent, check_writable, new_output, write_output
from .printing import print_json, print_line

if TYPE_CHECKING:
    from gffusion.cameras import Rig
    from gffusion.cameras.estimation import RigEstimate
    from gffusion.cameras.orientation import Orientation
    from gffusion.cameras.rig_checks import RigCheck
    from gffusion.data import ImagePair, ReadOptions
    from gffusion.data.rigs import RigPairs

TRANSFORMS = ("translation", "similarity", "affine", "homography")


class _Start(NamedTuple):
    """Where an estimate starts.

    Attributes:
        rig: Rig of `--check` or `--start`, if one was given.
        upright: The same for upright infrared images.
        orientation: How the infrared camera is mounted.
    """

    rig: "Rig | None"
    upright: "Rig | None"
    orientation: "Orientation"


def align(
    visible: Annotated[
        Path,
        typer.Argument(
            metavar="VISIBLE",
            help="Visible image, or folder, pattern or @list.txt of visible images; or, alone, a file or folder with both images, or "
            "a CSV file of pairs as `gffusion match` writes it.",
        ),
    ],
    infrared: Annotated[
        Path | None,
        typer.Argument(
            metavar="INFRARED",
            help="Infrared image, or folder, pattern or @list.txt of infrared images; leave it out if VISIBLE has both images.",
            show_default=False,
        ),
    ] = None,
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="RIG.json", help="File of the rig to write.", show_default=False),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="RIG.json",
            help="Saved rig to compare with a new estimate from these pairs: exit code 0 if it still fits, 1 if a camera has moved, and 2 "
            "if the estimate is not sure. With -o, the new rig is written, too.",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            metavar="RIG.json",
            help="Approximate rig that is tried besides the positions of the search, such as one made in Python: needed for fields of view "
            "that the search does not cover.",
        ),
    ] = None,
    transform: Annotated[
        str | None,
        typer.Option(
            "--transform",
            metavar=show_choices(TRANSFORMS),
            help="What differs between the cameras: translation is for cameras with one field of view; similarity adds scale and "
            "rotation, affine also stretch and shear, homography also perspective.",
            show_default="similarity; with --check, that of the saved rig",
        ),
    ] = None,
    infrared_turn: Annotated[
        int,
        typer.Option(
            "--infrared-turn",
            metavar=show_choices(TURNS),
            help="Degrees by which infrared images must be turned counterclockwise to be upright. The rig turns them.",
        ),
    ] = 0,
    infrared_mirror: Annotated[
        bool,
        typer.Option(
            "--infrared-mirror",
            help="Infrared images are mirrored: the rig swaps left and right, before it turns them.",
        ),
    ] = False,
    overlay: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write an image to check the rig by eye: both images as a checkerboard, and their edges in cyan and red. "
            "It is written even if the estimate is not sure.",
        ),
    ] = None,
    accept_uncertain: Annotated[
        bool, typer.Option("--accept-uncertain", help="Write the rig even if the estimate is not sure.")
    ] = False,
    raw_frame: reading.RawFrameOption = None,
    infrared_luma: reading.InfraredLumaOption = False,
    keep_borders: reading.KeepBordersOption = False,
    visible_range: reading.VisibleRangeOption = None,
    max_pixels: reading.MaxPixelsOption = reading.MAX_PIXELS,
    truncated: reading.TruncatedOption = "refuse",
    overwrite: OverwriteFileOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Estimate how the infrared image lies in the visible image, and save it for `--align RIG.json`.

    The cameras must be fixed to each other. From folders, up to ten evenly spaced pairs are used together; different scenes
    with structure at the usual distance give the best result. If radiometric files state the position in their tags, it is compared with the others.
    Exit code: 0 if a rig was written, or that of --check still fits, 1 if a camera has moved since --check RIG.json was saved, 2 if the estimate is not sure or nothing could be done.
    """
    with user_errors(), contextlib.nullcontext() if output is None else new_output(output):
        _check(output, transform, infrared_turn, overlay, overwrite)
        _check_start(output, check, start, accept_uncertain)
        given = _load_start(check, start, infrared_turn, infrared_mirror)
        flags: dict[str, Any] = {"infrared_luma": infrared_luma, "keep_borders": keep_borders, "max_pixels": max_pixels}
        read_options = reading.parse_reading(raw_frame, truncated, visible_range, **flags)
        pairs = _find_pairs(visible, infrared, output, read_options)
        sources = [file for pair in pairs for file in (pair.visible, pair.infrared)]
        check_not_inputs(filter(None, (output, overlay)), sources)
        check_pairs(pairs, read_options)
        warn_of_thermal_visible(pairs, read_options)
        found = _read_images(pairs, read_options, " and ".join(map(str, filter(None, (visible, infrared)))))
        notes = _check_sizes(found, given) + _note_georeferences(found.pairs[0])
        estimate, checked = _estimate(found, transform, given, check)
        estimate.check_found()
        is_accepted = estimate.sure or accept_uncertain
        facts = {name: getattr(estimate, name) for name in ("transform", "pairs", "residual", "confidence", "sure")}
        about_estimate = [one_line(note) for note in estimate.list_notes(found.names)]
        facts["notes"] = [*notes, *about_estimate]
        facts["left_out"] = {name: one_line(reason) for name, reason in found.left_out.items()}
        if is_accepted:
            print_line(estimate.describe())
            for note in about_estimate:
                print_note(note)
            facts["distance_from_tags"] = _compare_with_tags(found, given, estimate.rig)
        if overlay is not None:
            _write_overlay(overlay, found, estimate.rig, overwrite)
        of_check = () if checked is None else ("distance", "tolerance", "has_moved")
        facts |= {name: getattr(checked, name) for name in of_check}
        if not is_accepted:
            message = _describe_uncertain(estimate, check, given, found, about_estimate)
            if as_json:
                print_json({**facts, "error": one_line(message), "exit_code": 2})
            raise ValueError(message)
        if checked is not None:
            print_line(checked.describe())
        if output is not None:
            write_output(output, estimate.rig.to_json().encode())
            print_line(f"rig -> {output}")
    if as_json:
        print_json({**facts, "output": None if output is None else str(output)})
    if checked is not None and checked.has_moved:
        raise typer.Exit(1)


def _check_start(output: Path | None, check: Path | None, start: Path | None, accept_uncertain: bool) -> None:
    """Raise ValueError if there is nothing to do, or options exclude each other."""
    if output is None and check is None:
        raise ValueError(
            "Missing option '--output' / '-o', such as -o rig.json, or --check RIG.json to check a saved rig"
        )
    if check is not None and start is not None:
        raise ValueError("--check starts at its own rig: leave out --start")
    if check is not None and accept_uncertain:
        raise ValueError("--check needs an estimate that is sure: leave out --accept-uncertain")


def _load_start(check: Path | None, start: Path | None, turn: int, is_mirrored: bool) -> _Start:
    """Load the rig of `--check` or `--start`, which also says how the infrared camera is mounted."""
    from gffusion.cameras import Rig  # these imports take time that `gffusion --help` need not spend
    from gffusion.cameras.orientation import Orientation, split_orientation

    given = Orientation(turn, is_mirrored)
    option, path = ("--check", check) if check is not None else ("--start", start)
    if path is None:
        return _Start(None, None, given)
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
    return _Start(rig, Rig(upright), orientation)


def _read_images(pairs: "Sequence[ImagePair]", options: "ReadOptions", names: str) -> "RigPairs":
    """Read up to ten pairs, and print which ones are left out."""
    from gffusion.data.rigs import read_rig_pairs  # saves start-up time

    found = read_rig_pairs(pairs, options)
    if not found.arrays:
        raise ValueError(f"no pair of {names} can be read: {next(iter(found.left_out.values()))}")
    if found.left_out:
        print_note(found.describe_left_out())
    return found


def _check_sizes(found: "RigPairs", given: _Start) -> list[str]:
    """Print and return notes on images of other sizes than those of the saved rig; refuse other aspect ratios."""
    if given.rig is None:
        return []
    visible, infrared = (image.shape[:2] for image in found.arrays[0][:2])
    notes = [one_line(note) for note in given.rig.check_sizes(visible, infrared)]
    for note in notes:
        print_note(note)
    return notes


def _note_georeferences(pair: "ImagePair") -> list[str]:
    """Print and return a note if the pair is georeferenced, which is exact."""
    from gffusion.data.georeference import are_georeferenced  # saves start-up time

    if not are_georeferenced(pair.visible, pair.infrared):
        return []
    note = (
        "both files are georeferenced: --align auto uses the georeferences, and needs no rig, which is only an estimate"
    )
    print_note(note)
    return [note]


def _estimate(
    found: "RigPairs", transform: Any, given: _Start, check: Path | None
) -> "tuple[RigEstimate, RigCheck | None]":
    """Estimate the rig, and compare it with that of `--check` if there is one."""
    from gffusion.cameras.estimation import estimate_rig  # saves start-up time
    from gffusion.cameras.rig_checks import check_rig

    if check is None or given.rig is None:
        start = given.upright or found.tags
        return estimate_rig(found.arrays, transform or "similarity", start, given.orientation), None
    checked = check_rig(found.arrays, given.rig, transform)
    return checked.estimate, checked


def _compare_with_tags(found: "RigPairs", given: _Start, rig: "Rig") -> float | None:
    """Print and return the distance from the rig in the tags of a file; `None` if there is none."""
    from gffusion.cameras.estimation import measure_distance  # saves start-up time

    if found.tags is None:
        return None
    size = found.arrays[0][0].shape[:2]
    distance = measure_distance(given.orientation.matrix @ found.tags.matrix, rig.matrix, size)
    print_line(f"distance from the position in the tags of the file: {distance:.1f} pixels")
    return distance


def _describe_uncertain(
    estimate: "RigEstimate", check: Path | None, given: _Start, found: "RigPairs", notes: list[str]
) -> str:
    """Return why the estimate is not accepted, and what to do."""
    from gffusion.cameras.search import describe_search  # saves start-up time

    outcome = "the estimate is not sure, and no rig was written"
    if check is not None:
        outcome = f"the estimate is not sure, and it is not known whether {check} still fits"
    advice = "" if check is not None else "; look at --overlay FILE, and pass --accept-uncertain if it is right"
    if given.rig is None:
        advice += (
            f"; {describe_search()}: for others, pass an approximate rig (--start RIG.json)"
            f"{_suggest_orientation(found, estimate.transform, given.orientation)}"
        )
    return (
        f"{outcome} (residual {estimate.residual:.1f} pixels, confidence {estimate.confidence:.2f}): "
        "give up to ten pairs of the rig, of different scenes with edges that both cameras see; check that the files belong "
        f"together{advice}{''.join(f'. {note}' for note in notes)}"
    )


def _suggest_orientation(found: "RigPairs", transform: str, tried: "Orientation") -> str:
    """Return the options with which the estimate would be sure, as the end of a message; empty if there are none."""
    from gffusion.cameras.estimation import find_orientation  # saves start-up time
    from gffusion.cameras.orientation import Orientation

    print_line("trying whether the infrared images are turned or mirrored ...", err=True)
    orientation = find_orientation(found.arrays, transform, tried)  # type: ignore[arg-type]
    if orientation is None:
        return ""
    if orientation == Orientation():
        return ". The infrared images seem to be upright: leave out --infrared-turn and --infrared-mirror"
    options = f"--infrared-turn {orientation.turn} " * (orientation.turn > 0) + "--infrared-mirror" * orientation.mirror
    return f". The infrared images seem to be turned or mirrored: try {options.strip()}"


def _check(output: Path | None, transform: str | None, turn: int, overlay: Path | None, overwrite: bool) -> None:
    if transform is not None and transform not in TRANSFORMS:
        raise ValueError(f"--transform must be one of {', '.join(TRANSFORMS)}, got {transform!r}")
    if turn not in TURNS:
        raise ValueError(f"--infrared-turn must be one of {', '.join(map(str, TURNS))}, got {turn}")
    if output is not None and output.suffix.lower() != ".json":
        raise ValueError(f"--output must be a .json file, got {output}")
    if overlay is not None:
        if overlay.suffix.lower() not in IMAGE_SUFFIXES:
            raise ValueError(f"--overlay must be one of {', '.join(IMAGE_SUFFIXES)}, got {overlay}")
        check_parent(overlay, "--overlay")
        check_writable(overlay, "--overlay")
    if output is not None:
        check_writable(output)
        check_new(output, overwrite)


def _find_pairs(
    visible: Path, infrared: Path | None, output: Path | None, options: "ReadOptions"
) -> "Sequence[ImagePair]":
    from gffusion.data.other_files import is_video  # saves start-up time

    for path in filter(None, (visible, infrared)):
        if is_video(path) and path.is_file():
            raise ValueError(
                f"{path} is a video, and align takes images: give two folders of frames that were extracted from both videos "
                "(ffmpeg -i VIDEO -vf fps=1 FOLDER/%04d.png), or pass --align auto to gffusion fuse"
            )
    return find_match(visible, infrared, output or Path("rig.json"), options).pairs


def _write_overlay(path: Path, found: "RigPairs", rig: "Rig", overwrite: bool) -> None:
    """Write the overlay, or raise ValueError if another image is there. The same one is left by a run without a rig."""
    import numpy as np

    from gffusion.cameras import apply_rig
    from gffusion.data.io import encode_image
    from gffusion.visualization.alignment import draw_alignment

    visible, infrared, missing = found.arrays[len(found.arrays) // 2]
    aligned = apply_rig(visible, infrared, missing, rig)
    content = encode_image(path, np.asarray(draw_alignment(aligned.visible, aligned.infrared, aligned.missing)))
    check_new(path, overwrite or (path.is_file() and path.read_bytes() == content))
    write_output(path, content)
    print_line(f"overlay of {found.pairs[len(found.pairs) // 2].name} -> {path}")
