"""Match the images of an evaluation, and the fused images and label maps of its pairs. Does not import torch."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from gffusion.data import ImagePair, PairMatch, ReadOptions, match_pairs
from gffusion.data.file_names import LABELS_WORDS, Words, find_core, is_listed, normalize_name
from gffusion.data.folder_files import EmptyFolderError
from gffusion.data.io import IMAGE_SUFFIXES
from gffusion.data.nested import match_nested
from gffusion.data.pair_lists import find_moved, is_list, list_files, list_pairs
from gffusion.data.pairs import NoMatchError, match_results
from gffusion.utils.notes import format_count, name_first

StrPath = str | os.PathLike[str]


def match_images(
    visible: StrPath,
    infrared: StrPath | None,
    labels: StrPath | None,
    results: Iterable[StrPath | None],
    options: ReadOptions,
) -> PairMatch:
    """Return the pairs of a CSV file, or of folders, patterns or lists, with their label maps.

    If one of both is a list or a pattern and the other a folder, other images in the folder are not without a partner. The
    folders `results` are not searched for images. See [`evaluate`][gffusion.evaluation.evaluate] for the arguments.
    """
    visible_path = _check_images("visible", visible)
    infrared_path = visible_path if infrared is None else _check_images("infrared", infrared)
    if not visible_path.exists() and not is_list(visible_path):
        raise FileNotFoundError(f"the folder {visible_path} does not exist")
    if infrared is None and not visible_path.is_dir():
        match = _list_table(visible_path, labels)
    elif str(visible_path).startswith("@") and str(infrared_path).startswith("@"):
        match = _check_lines(_check_names(list_pairs(visible_path, infrared_path), visible_path), infrared_path)
    else:
        match = _match_by_name(visible_path, infrared_path, [labels, *results], options.raw_suffixes)
    return match if labels is None or any(pair.labels for pair in match.pairs) else _add_labels(match, labels)


def _check_images(argument: str, given: StrPath) -> Path:
    advice = f'a folder, a pattern in quotes such as "{argument}/*.png", or "@list.txt" with one file per line'
    if not isinstance(given, str | os.PathLike):
        raise TypeError(f"`{argument}` must be {advice}, got {given!r:.80}.")
    path = Path(given)
    if path.is_file() and not is_list(path):
        raise NotADirectoryError(f"{path} is a file, but `{argument}` must be {advice}")
    return path


def _match_by_name(
    visible: Path, infrared: Path, others: Iterable[StrPath | None], raw_suffixes: tuple[str, ...]
) -> PairMatch:
    visible_files, infrared_files = list_files(visible), list_files(infrared, raw_suffixes)
    if isinstance(visible_files, Path) and isinstance(infrared_files, Path):
        ignored = [Path(folder) for folder in others if folder is not None]
        return match_nested(visible_files, infrared_files, raw_suffixes, ignored)
    match = match_pairs(visible_files, infrared_files, infrared_suffixes=raw_suffixes)
    if isinstance(infrared_files, Path):
        return replace(match, infrared_only=())
    return replace(match, visible_only=()) if isinstance(visible_files, Path) else match


def _list_table(table: Path, labels: StrPath | None) -> PairMatch:
    """Return the pairs of a CSV file, with the label maps of its column `labels` if `labels` is the same file."""
    has_labels = labels is not None and Path(labels).resolve() == table.resolve()
    match = _check_names(list_pairs(table, None, with_annotations=has_labels), table)
    if has_labels and not any(pair.labels for pair in match.pairs):
        raise ValueError(
            f"{table} names no label maps: put them in a column labels, or give their folder as `labels` (--labels)"
        )
    return _note_repeated(match)


def _check_names(match: PairMatch, source: Path) -> PairMatch:
    """Raise ValueError if two pairs of a list have one name."""
    named: dict[str, ImagePair] = {}
    for pair in match.pairs:
        if (twin := named.setdefault(normalize_name(pair.name), pair)) is pair:
            continue
        files, others = _list_images(pair), _list_images(twin)
        if files == others:
            raise ValueError(
                f"the pair of {pair.visible} and {pair.infrared} is listed twice in {source}: list it once"
            )
        first, second = (twin.infrared, pair.infrared) if files[0] == others[0] else (twin.visible, pair.visible)
        raise ValueError(
            f"two pairs of {source} have the name {pair.name} (ignoring case), {first} and {second}: give each a name "
            "of its own in the column name of a CSV file"
        )
    return match


def _list_images(pair: ImagePair) -> tuple[str, str]:
    return os.path.abspath(pair.visible), os.path.abspath(pair.infrared)


def _note_repeated(match: PairMatch) -> PairMatch:
    """Note that pairs of other names have the same two images, which then count several times."""
    names: dict[tuple[str, str], list[str]] = {}
    for pair in match.pairs:
        names.setdefault(_list_images(pair), []).append(pair.name)
    repeated = [" and ".join(group) for group in names.values() if len(group) > 1]
    if not repeated:
        return match
    note = f"the same two images are listed under several names, and count several times: {name_first(repeated)}"
    return replace(match, notes=(*match.notes, note))


def _check_lines(match: PairMatch, source: Path) -> PairMatch:
    """Raise ValueError if images of two lists match those of other lines by name, as if a name was missing in one of them."""
    moved, _ = find_moved(match.pairs)
    if moved:
        first = moved[0]
        raise ValueError(
            f"{first.visible.name} and {first.infrared.name} are on one line of the two lists, but {source} has the name of "
            f"{first.visible.name} on another line. If the two are a pair, list them in a CSV file; otherwise, put both lists in the same "
            "order, or give a folder instead of one list"
        )
    return match


def _add_labels(match: PairMatch, labels: StrPath) -> PairMatch:
    maps = find_results(match.pairs, labels, are_labels=True)
    folders = {pair.name: PurePosixPath(pair.name).parent for pair in match.pairs}
    labeled = {PurePosixPath(name).parent for name in maps}
    empty = dict.fromkeys(folder for folder in folders.values() if folder not in labeled)
    notes = [f"{labels} has no label maps in a sub-folder {folder}" for folder in empty]
    if missing := [name for name, folder in folders.items() if folder in labeled and name not in maps]:
        unused = (describe_unused(maps, folder) for folder in dict.fromkeys(folders[name] for name in missing))
        notes.append(
            f"{len(missing)} of {format_count(len(match.pairs), 'pair')} without a label map in {labels} ({name_first(missing)})"
            + next(filter(None, unused), "")
        )
    if ignored := _describe_ignored(maps):
        notes.append(ignored)
    pairs = tuple(replace(pair, labels=maps.get(pair.name)) for pair in match.pairs)
    return replace(match, pairs=pairs, notes=(*match.notes, *notes))


def find_results(pairs: Sequence[ImagePair], folder: StrPath, are_labels: bool = False) -> dict[str, Path]:
    """Return the fused image or label map of each pair that has one, by its name; folders in names are below `folder`.

    Raises:
        OSError: If `folder` does not exist or is a file.
        ValueError: As for [`match_results`][gffusion.data.pairs.match_results], unless other sub-folders have results.
    """
    if Path(folder).is_file():
        wanted = "label maps, or the CSV file of the pairs" if are_labels else "fused images"
        raise NotADirectoryError(f"{folder} is a file; give a folder of {wanted}")
    files: dict[PurePosixPath, list[Path]] = {}
    for pair in pairs:
        name = PurePosixPath(pair.name)
        files.setdefault(name.parent, []).append(pair.visible.with_name(name.name + pair.visible.suffix))
    found: dict[str, Path] = {}
    missing: list[Exception] = []
    for parent, named in files.items():
        try:
            results = match_results(named, _find_folder(Path(folder), parent), are_labels)
        except (FileNotFoundError, NoMatchError, EmptyFolderError) as error:
            missing.append(error)
        else:
            found |= {str(parent / stem): file for stem, file in results.items()}
    if found:
        return found
    if "/" not in pairs[0].name or not Path(folder).exists():
        raise missing[0]
    raise ValueError(
        f"{missing[0]}; the names of the pairs have folders, such as {pairs[0].name}, and their files are expected in sub-folders of "
        f"{folder} with these names"
    )


def _find_folder(root: Path, path: PurePosixPath) -> Path:
    """Return a folder below the root whose names are equal, or else equal without case and in one Unicode form."""
    for name in path.parts:
        others = root.iterdir() if root.is_dir() and not (root / name).is_dir() else ()
        twins = [other for other in others if other.is_dir() and normalize_name(other.name) == normalize_name(name)]
        root = twins[0] if len(twins) == 1 else root / name
    return root


def name_alone(match: PairMatch, visible: StrPath, infrared: StrPath | None) -> dict[str, str]:
    """Return why images without a partner are left out, by their name, which has a folder if the names of pairs have one."""
    has_folders = any("/" in pair.name for pair in match.pairs)
    reasons: dict[str, str] = {}
    for files, root, other in ((match.visible_only, visible, "infrared"), (match.infrared_only, infrared, "visible")):
        for file in files:
            name = file.relative_to(root or "") if has_folders else Path(file.name)
            reasons[name.with_suffix("").as_posix()] = f"no {other} image of this name"
    return reasons


def note_ignored(predicted_labels: Mapping[str, Mapping[str, Path]]) -> str:
    """Return a note on files that are not used as predicted label maps, by method, or an empty text."""
    ignored = {method: _describe_ignored(maps) for method, maps in predicted_labels.items()}
    texts = [f"{method}: {text}" for method, text in ignored.items() if text]
    return f"note: {'; '.join(texts)}" if texts else ""


def _describe_ignored(maps: Mapping[str, Path]) -> str:
    """Return which files beside label maps have their names with words such as `seg` or `mask`, or an empty text.

    Tools write such files on purpose, so that they are no error.
    """
    used = {(file.parent, normalize_name(file.stem)): file for file in maps.values()}
    ignored: dict[Path, Path] = {}
    for folder in dict.fromkeys(file.parent for file in maps.values()):
        for other in sorted(folder.iterdir()):
            stem = normalize_name(other.stem)
            exact = used.get((folder, find_core(stem, Words(LABELS_WORDS))))
            if exact and (folder, stem) not in used and is_listed(other, IMAGE_SUFFIXES):
                ignored[other] = exact
    if not ignored:
        return ""
    return (
        f"{format_count(len(ignored), 'file')} not used as label maps ({name_first([*ignored], 1)}), because others have the exact names of "
        f"the images, such as {next(iter(ignored.values())).name}: if these others are wrong, move them to another folder"
    )


def describe_unused(files: Mapping[str, Path], folder: PurePosixPath) -> str:
    """Return which images beside results, by the name of their pair, belong to no pair, or an empty text.

    `folder` is that in the names of pairs, `.` for names without one.
    """
    name, file = next(iter(files.items()))
    listed = _find_folder(file.parents[name.count("/")], folder)
    used = set(files.values())
    others = sorted(listed.iterdir()) if listed.is_dir() else []
    names = [other.name for other in others if other not in used and is_listed(other, IMAGE_SUFFIXES)]
    return f"; {format_count(len(names), 'unused image')} in {listed}: {name_first(names)}" if names else ""
