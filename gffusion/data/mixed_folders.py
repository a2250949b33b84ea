"""Leave out images of the other kind in a folder of visible or of infrared images."""

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from .file_names import (
    INFRARED,
    INFRARED_OR_NEAR,
    VISIBLE,
    choose_widest,
    find_bands,
    find_core,
    find_zoomed,
    match_shots,
    normalize_name,
)


def leave_out_other_kind(
    visible: Mapping[str, Path], infrared: Mapping[str, Path]
) -> tuple[dict[str, Path], dict[str, Path], tuple[str, ...]]:
    """Return the files by stem without thermal images among the visible ones, and the reverse, and notes.

    The visible folder can be the camera's memory card, with `DJI_0001_V.JPG` and `DJI_0001_T.JPG`, and the infrared one hold
    converted `DJI_0001_T.tiff`: equal stems would be two thermal images. A file is left out if both folders have its stem,
    and only its own one has the other image of the shot.

    Examples:
        >>> visible = {stem: Path(f"{stem}.jpg") for stem in ("dji_0001_t", "dji_0001_v")}
        >>> left, _, notes = leave_out_other_kind(visible, {"dji_0001_t": Path("dji_0001_t.tiff")})
        >>> list(left), notes[0]
        (['dji_0001_v'], 'thermal images in the visible folder are left out (1, such as dji_0001_t.jpg): it also holds the visible images of these shots')
    """
    shared = visible.keys() & infrared.keys()
    photos, thermal = find_marked(shared)
    thermal &= set(_match(visible.keys() - shared, thermal).values())
    photos &= _match(photos, infrared.keys() - shared).keys()
    left_out = ((thermal, visible, "thermal images", "visible"), (photos, infrared, "photos", "infrared"))
    notes = [
        f"{kind} in the {side} folder are left out ({len(stems)}, such as {files[min(stems)].name}): it also holds the {side} "
        "images of these shots"
        for stems, files, kind, side in left_out
        if stems
    ]
    return (
        {stem: file for stem, file in visible.items() if stem not in thermal},
        {stem: file for stem, file in infrared.items() if stem not in photos},
        tuple(notes),
    )


def separate_kinds(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the files that can be visible and those that can be infrared images: all are both if names show one kind only.

    Of several visible images of a shot, that of DJI's wide camera is returned, and no images of near infrared beside thermal ones.

    Examples:
        >>> files = [Path(name) for name in ("dji_0001_w.jpg", "dji_0001_z.jpg", "dji_0001_t.jpg", "dji_0002_t.jpg")]
        >>> [[file.name for file in kind] for kind in separate_kinds(files)]
        [['dji_0001_w.jpg'], ['dji_0001_t.jpg', 'dji_0002_t.jpg']]
    """
    stems = {normalize_name(file.stem) for file in files}
    photos, thermal = find_marked(stems)
    near = {stem for stem in thermal if find_core(stem, INFRARED) == stem}
    near = near if near < thermal else set()
    photos |= _match(stems - thermal, thermal).keys()  # of some cameras, names of photos have no word
    if not photos:
        thermal = set()
    shots = defaultdict(list)
    for stem in stems - thermal:
        shots[find_core(stem, VISIBLE)].append(stem)
    narrow = {stem for shot in shots.values() for stem in shot if choose_widest(shot) not in (None, stem)}
    left_out = thermal | narrow | find_zoomed(stems), near | (photos if thermal else set())
    visible, infrared = ([file for file in files if normalize_name(file.stem) not in stems] for stems in left_out)
    return visible, infrared


def find_marked(stems: Set[str]) -> tuple[set[str], set[str]]:
    """Return the stems with words of visible images and none of infrared ones, and the reverse."""
    marked = [{stem for stem in stems if find_core(stem, kind) != stem} for kind in (VISIBLE, INFRARED_OR_NEAR)]
    return marked[0] - marked[1], marked[1] - marked[0] - find_bands(stems)


def _match(visible: Set[str], infrared: Set[str]) -> dict[str, str]:
    """Return the infrared stem of the same shot for each visible stem that has one."""
    cores = {find_core(stem, INFRARED_OR_NEAR): stem for stem in infrared}
    matched = {stem: cores[core] for stem in visible if (core := find_core(stem, VISIBLE)) in cores}
    return match_shots(visible, infrared) | matched
