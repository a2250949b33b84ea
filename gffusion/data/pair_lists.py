"""Pairs that are given by lists: `@list.txt`, patterns such as `night/*.png`, and CSV files. Does not import torch."""

import csv
import glob
import io
import os
import re
import shlex
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path, PurePosixPath

from gffusion.utils.escaping import to_line
from gffusion.utils.regular_files import decode_text

from .boxes import BOX_SUFFIXES
from .file_names import list_spellings, normalize_name
from .io import IMAGE_SUFFIXES
from .pairs import ImagePair, PairMatch, match_pairs

COLUMNS = ("visible", "infrared", "name", "labels", "boxes")
_UNNOTED = re.compile(r"difference|unnamed: \d+|")  # columns of `gffusion match`, and of the row numbers of pandas
_SETTING = re.compile(r'"?sep=([,;\t])"?(?:\r\n|\r|\n)')  # a first line for Excel
_MAX_BYTES = 1 << 28


def is_list(path: Path) -> bool:
    """Return whether a path is `@FILE`, a pattern, or a CSV file, and no existing image or folder has that name.

    Examples:
        >>> [is_list(Path(text)) for text in ("@night.txt", "night/*.png", "pairs.csv", "night/1.png")]
        [True, True, True, False]
    """
    if path.suffix.lower() == ".csv" and not path.is_dir():
        return True
    return (_is_text_list(path) or glob.has_magic(str(path))) and not path.exists()


def list_pairs(
    visible: Path, infrared: Path | None, infrared_suffixes: tuple[str, ...] = (), with_annotations: bool = False
) -> PairMatch:
    r"""Return the pairs of lists.

    - A CSV file alone has the columns `visible` and `infrared`, and optionally `name`: that of the result without suffix,
      which can have folders. Label maps and YOLO, KAIST or VOC files can be in the columns `labels` and `boxes`; an empty cell
      means none.
    - Two files of names, `@visible.txt` and `@infrared.txt`, with one name per line: the n-th lines are a pair.
    - Two patterns: the files are matched by name, as those of two folders.

    Names in a list are relative to its folder or, if there is no such file, to the current folder; never to the folder of the
    other images. `@-` is a list from standard input; a list can also be a pipe.

    Args:
        visible: List or pattern of the visible images, or a CSV file.
        infrared: List or pattern of the infrared images; `None` for a CSV file.
        infrared_suffixes: Suffixes of infrared files besides `IMAGE_SUFFIXES`.
        with_annotations: Whether to read the columns `labels` and `boxes`, and to note columns that are not read.

    Raises:
        OSError: If a list or a file in it cannot be found.
        ValueError: If a list is empty or damaged, or the two do not fit together.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for file in ("1.png", "1_ir.png"):
        ...         Path(folder, file).touch()
        ...     table = Path(folder, "pairs.csv")
        ...     _ = table.write_text("visible,infrared,name\n1.png,1_ir.png,night/first")
        ...     [pair.name for pair in list_pairs(table, None).pairs]
        ['night/first']
    """
    if visible.suffix.lower() == ".csv" and not _is_text_list(visible):
        if infrared is not None:
            raise ValueError(f"{visible} lists both files of each pair: give it alone, without {infrared}")
        return _read_table(visible, with_annotations)
    if infrared is None:
        raise ValueError(f"{visible} lists visible images: give the infrared images as well, or a CSV file of pairs")
    for path, other in ((visible, infrared), (infrared, visible)):
        if not is_list(path):
            if glob.has_magic(str(other)) and not _is_text_list(other):
                expand(other, IMAGE_SUFFIXES + infrared_suffixes)  # raises if no file matches
            raise ValueError(
                f"{other} is a list of files but {path} is not: give two lists, two patterns or two folders"
            )
    if _is_text_list(visible) != _is_text_list(infrared):
        raise ValueError(f"{visible} and {infrared} are a list and a pattern: give two lists or two patterns")
    if _is_text_list(visible):
        return PairMatch(_pair_lines(visible, infrared), (), ())
    return match_pairs(expand(visible, IMAGE_SUFFIXES), expand(infrared, IMAGE_SUFFIXES + infrared_suffixes))


def is_pipe(path: Path) -> bool:
    """Return whether a path is a list from standard input, a pipe or a device, which can be read only once.

    Examples:
        >>> is_pipe(Path("@-")), is_pipe(Path("@night.txt"))
        (True, False)
    """
    file = str(path)[1:]
    return _is_text_list(path) and (file == "-" or (os.path.exists(file) and not os.path.isfile(file)))


def list_files(path: Path, raw_suffixes: tuple[str, ...] = ()) -> Path | list[Path]:
    """Return the files of a list or pattern, or the path itself if it is none, for [`match_pairs`].

    `raw_suffixes` are allowed in a pattern besides `IMAGE_SUFFIXES`.

    Raises:
        OSError: If a list or a file in it cannot be found, or no image matches a pattern.
        ValueError: If a list is damaged, or a CSV file.
    """
    if not is_list(path):
        return path
    if _is_text_list(path):
        return _read_lines(path)
    if path.suffix.lower() == ".csv":
        raise ValueError(
            f"{path} lists both images of each pair: give it alone as the visible images, or give a folder, a pattern in quotes or @list.txt here"
        )
    return expand(path, IMAGE_SUFFIXES + raw_suffixes)


def expand(pattern: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files that match a pattern such as `night/*.png`; `**` stands for any folders.

    Raises:
        FileNotFoundError: If no image matches.
    """
    for spelling in list_spellings(str(pattern)):
        files = [*dict.fromkeys(map(Path, glob.iglob(spelling, recursive=True)))]  # glob repeats files of two `**`
        if files := [file for file in files if file.suffix.lower() in suffixes and not os.path.isdir(file)]:
            return files
    raise FileNotFoundError(f"no image matches the pattern {pattern}")


def _is_text_list(path: Path) -> bool:
    return str(path).startswith("@")


def _pair_lines(visible: Path, infrared: Path) -> tuple[ImagePair, ...]:
    firsts, seconds = _read_lines(visible), _read_lines(infrared)
    if len(firsts) != len(seconds):
        raise ValueError(
            f"{visible} has {len(firsts)} files and {infrared} has {len(seconds)}: their n-th lines must be a pair"
        )
    pairs = tuple(ImagePair(first.stem, first, second) for first, second in zip(firsts, seconds, strict=True))
    moved, is_complete = find_moved(pairs)
    if moved and is_complete:
        raise ValueError(
            f"{visible} and {infrared} have the same names in another order, first {moved[0].visible.name} and "
            f"{moved[0].infrared.name}: their n-th lines must be a pair"
        )
    return pairs


def find_moved(pairs: Sequence[ImagePair]) -> tuple[list[ImagePair], bool]:
    """Return the pairs of two lists whose visible image matches the infrared one of another line, and whether all match one.

    Examples:
        >>> pairs = [ImagePair(str(number), Path(f"{number}_vis.png"), Path(f"{number + 1}_ir.png")) for number in range(3)]
        >>> moved, is_complete = find_moved(pairs)
        >>> [pair.name for pair in moved], is_complete
        (['1', '2'], False)
    """
    try:
        match = match_pairs([pair.visible for pair in pairs], [pair.infrared for pair in pairs])
    except ValueError:  # no names match, or several files have one
        names = [[normalize_name(file.stem) for file in (pair.visible, pair.infrared)] for pair in pairs]
        if sorted(name for name, _ in names) != sorted(other for _, other in names):
            return [], False
        return [pair for pair, (name, other) in zip(pairs, names, strict=True) if name != other], True
    partners = {pair.visible: pair.infrared for pair in match.pairs}
    moved = [pair for pair in pairs if partners.get(pair.visible, pair.infrared) != pair.infrared]
    return moved, len(partners) == len(pairs)


def _read_lines(path: Path) -> list[Path]:
    """Return the files of `@list.txt`, without empty lines and comments."""
    if is_pipe(path) and int(os.environ.get("WORLD_SIZE") or "1") > 1:
        raise ValueError(f"{path} is read by one process only, but there are several: write the names to a file")
    file = Path(str(path)[1:])
    lines = [(number, line.strip()) for number, line in enumerate(re.split(r"\r\n|\r|\n", _read_text(file)), 1)]
    files = [_find(text, file, number) for number, text in lines if text and not text.startswith("#")]
    if not files:
        advice = "; it can be read only once" if is_pipe(path) else ""
        raise ValueError(f"{path if is_pipe(path) else file} names no files: write one per line{advice}")
    return files


def _read_table(path: Path, with_annotations: bool) -> PairMatch:
    text = _read_text(path)
    setting = _SETTING.match(text)
    header = re.split(r"[\r\n]", text[setting.end() if setting else 0 :], maxsplit=1)[0]
    delimiter = setting[1] if setting else max(",;\t", key=header.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    if setting:
        next(rows.reader)
    try:
        rows.fieldnames = columns = _read_columns(rows.fieldnames or (), path, header)
        pairs = _make_pairs(rows, path, with_annotations)
    except csv.Error as error:
        raise ValueError(f"{path}, line {rows.line_num}: {error}") from error
    others = ", ".join(repr(column) for column in columns if column not in COLUMNS and not _UNNOTED.fullmatch(column))
    note = f"not read of its columns: {others}; label maps are in a column labels, and boxes in a column boxes"
    return PairMatch(pairs, (), (), notes=(note,) if others and with_annotations else ())


def _read_columns(names: Sequence[str | None], path: Path, header: str) -> list[str]:
    columns = [(name or "").strip().lower() for name in names]
    if not {"visible", "infrared"} <= set(columns):
        raise ValueError(
            f"{path} must have a first line with the columns visible and infrared, and optionally name, labels and boxes, got "
            f"{header.strip()[:200]!r}"
        )
    for name in COLUMNS:
        if columns.count(name) > 1:
            raise ValueError(f"{path} has {columns.count(name)} columns {name}: leave one")
    return columns


def _make_pairs(rows: "csv.DictReader[str]", path: Path, with_annotations: bool) -> tuple[ImagePair, ...]:
    pairs = []
    for row in rows:
        cells = {column: (row.get(column) or "").strip() for column in COLUMNS}
        if not any(cells.values()):
            continue
        if not (cells["visible"] and cells["infrared"]):
            raise ValueError(f"{path}, line {rows.line_num}: the visible or the infrared file is missing")
        files = {column: _find(cells[column], path, rows.line_num) for column in ("visible", "infrared")}
        for column in ("labels", "boxes") if with_annotations else ():
            if cells[column]:
                advice = f"; rename the column {column} if it names no files, or leave a cell empty for none"
                files[column] = _find(cells[column], path, rows.line_num, advice)
        if (boxes := files.get("boxes")) and boxes.suffix.lower() not in BOX_SUFFIXES:
            raise ValueError(
                f"{path}, line {rows.line_num}: the boxes of an image must be in a file of its own that ends in one of "
                f"{', '.join(BOX_SUFFIXES)}, got {boxes.name}"
            )
        name = _check_name(cells["name"], path, rows.line_num) or files["visible"].stem
        pairs.append(ImagePair(name, **files, is_from_csv=True))
    if not pairs:
        raise ValueError(f"{path} names no pairs: write one per line")
    return tuple(pairs)


def _check_name(name: str, path: Path, line: int) -> str:
    parts = PurePosixPath(name.replace("\\", "/"))
    if name and (parts.is_absolute() or not parts.parts or ".." in parts.parts or ":" in name):
        raise ValueError(f"{path}, line {line}: the name {name[:200]!r} must be a name below the output folder")
    return str(parts) if name else ""


def _read_text(path: Path) -> str:
    if str(path) == "-":
        content = b"" if sys.stdin is None else sys.stdin.buffer.read(_MAX_BYTES + 1)
    elif path.exists() and not path.is_dir():
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    else:
        raise FileNotFoundError(f"the list {path} does not exist")
    if len(content) > _MAX_BYTES:
        raise ValueError(f"the list {path} has more than {_MAX_BYTES >> 20} MiB")
    return decode_text(content, f"the list {path}")


def _find(name: str, listed_in: Path, line: int, advice: str = "") -> Path:
    """Return the file of a line, relative to the list, to the current folder or, after `~`, to the home folder."""
    plain = name[1:-1] if len(name) > 2 and name[0] == name[-1] == '"' else name  # as "Copy as path" of Windows
    for written in dict.fromkeys(chain.from_iterable(map(list_spellings, (name, plain, plain.replace("\\", "/"))))):
        files = [listed_in.parent / written, Path(written), Path(os.path.expanduser(written))]
        # False also for names that are too long. Links to missing files, and pipes, are reported when they are read.
        for is_there in (os.path.isfile, os.path.lexists):
            if found := [file for file in files if is_there(file) and not os.path.isdir(file)]:
                return found[0]
    shown = to_line(name if len(name) <= 200 else f"{name[:200]}...")
    is_folder = os.path.isdir(listed_in.parent / name)
    problem = "is a folder: list its files" if is_folder else f"does not exist: {_explain_names(name, listed_in)}"
    raise FileNotFoundError(f"{listed_in}, line {line}: the file {shown} {problem}{advice}")


def _explain_names(name: str, listed_in: Path) -> str:
    """Return what the names of a list are relative to and, for a name without folder, how to put one before all names."""
    base = "names are relative to the folder of the list, or to the current folder"
    if "/" in name or "\\" in name or listed_in.suffix.lower() == ".csv":
        return base
    suffix = "" if Path(name).suffix else ".png"
    return f"{base}; sed 's|.*|FOLDER/&{suffix}|' {shlex.quote(str(listed_in))} prints the list with a folder before each name"
