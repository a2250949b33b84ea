"""Print results for other programs, and names that can hold any characters."""

import codecs
import contextlib
import errno
import io
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gffusion.utils.escaping import escape_controls, escape_json
from gffusion.utils.notes import name_first

if TYPE_CHECKING:
    from rich.console import Console


class LostOutput(Exception):
    """Standard output cannot be written. This is no OSError, as those are about files."""


_UNLIMITED_WIDTH = 10_000
_MIN_WIDTH, _DEFAULT_WIDTH = 20, 80

_json = {"is_expected": False, "is_printed": False}
_process: dict[str, int] = {}


def expect_json(is_expected: bool) -> None:
    """Set whether the command that starts prints one JSON document, also if it fails."""
    _json.update(is_expected=is_expected, is_printed=False)
    _process.clear()


def name_process(rank: int, size: int) -> None:
    """Set which of several processes this one is: its errors and interruptions say so."""
    _process.update(process=rank, processes=size)


def print_json_of_failure(facts: dict[str, Any]) -> None:
    """Print JSON about an error or an interruption, if the command prints JSON and has not done so."""
    if _json["is_expected"] and not _json["is_printed"]:
        print_json({**facts, **_process})


def print_failure(text: str) -> None:
    """Print an error or an interruption on standard error, with the name of the command and, of several, the process.

    Without a standard error, such as that of a closed terminal, the exit code tells it alone.
    """
    process = f" (process {_process['process']} of {_process['processes']})" if _process else ""
    with contextlib.suppress(OSError):
        typer.echo(f"gffusion{process}: {text}", err=True)


def print_json(facts: Any) -> None:
    """Print JSON; characters that the output cannot hold become its escapes, which `json.loads` turns back."""
    _json["is_printed"] = True
    is_utf8 = codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
    # Bytes of file names that are no UTF-8 become escapes in any case.
    text = json.dumps(_without_nan(facts), indent=1, ensure_ascii=not is_utf8)
    _write(escape_json(text.encode("utf-8", "backslashreplace").decode()))


def _without_nan(facts: Any) -> Any:
    """Return facts with null for numbers that JSON cannot hold."""
    if isinstance(facts, dict):
        return {name: _without_nan(value) for name, value in facts.items()}
    if isinstance(facts, list | tuple):
        return [_without_nan(value) for value in facts]
    return None if isinstance(facts, float) and not math.isfinite(facts) else facts


def print_line(text: str, err: bool = False) -> None:
    """Print one line, on standard error if wanted, or if the command prints JSON, which is then alone on standard output.

    Names in it can hold line breaks and other control characters. Of several processes, only the first one prints it.
    """
    if not _process.get("process"):
        _write(escape_controls(text), err or _json["is_expected"])


def _write(text: str, err: bool = False) -> None:
    try:
        typer.echo(text, err=err)
    except OSError as error:
        if not err:  # notes that cannot be written end no work
            raise LostOutput(error.strerror) from None


def make_console() -> "Console":
    """Return the console for tables: as wide as the terminal, or one line for each row, which other programs can read."""
    from rich.console import Console  # takes a tenth of a second to import

    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = _UNLIMITED_WIDTH
    elif console.width < _MIN_WIDTH:  # such as COLUMNS=0, with which rich prints nothing
        console.width = _DEFAULT_WIDTH
    return console


class _Unread(io.FileIO):
    """Output that is dropped when its reader has ended, such as `head`: the work goes on, and the exit code is that of the work."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            is_lost = isinstance(error, BrokenPipeError) or (os.name == "nt" and error.errno == errno.EINVAL)
            if not is_lost:
                raise
            return memoryview(content).nbytes


def _drop_unread(text: Any) -> io.TextIOWrapper:
    """Return a stream for the same descriptor that drops what nobody reads."""
    text.flush()
    buffer = io.BufferedWriter(_Unread(text.fileno(), "wb", closefd=False))
    is_direct = text.line_buffering or text.write_through
    return io.TextIOWrapper(buffer, text.encoding, text.errors, line_buffering=is_direct)


def prepare_output() -> None:
    """Write nothing to closed streams and to readers that have ended, and let no character that a stream cannot hold end the work."""
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed by the caller
            setattr(sys, stream, open(os.devnull, "w"))  # noqa: SIM115 - for the rest of the process
        elif getattr(sys, stream) is getattr(sys, f"__{stream}__") and not getattr(sys, stream).isatty():
            setattr(sys, stream, _drop_unread(getattr(sys, stream)))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def checked_output() -> Iterator[None]:
    """If standard output cannot be written, print that and exit with code 1; the work itself was done."""
    try:
        yield
    except (LostOutput, OSError) as error:  # OSError of tables; those about files become exit codes before
        if getattr(error, "filename", None) is not None:
            raise
        reason = getattr(error, "strerror", None) or error
        print_failure(f"error: standard output cannot be written: {reason}; files written so far are complete")
        sys.exit(1)


def drop_unwritten() -> None:
    """Drop what is left in streams that cannot be written, with which Python would change the exit code when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):  # of a stream without descriptor
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def name_files(files: Sequence[Path]) -> list[str]:
    """Return the names of files; if they lie in several folders, with the path below the folder that holds all of them.

    Examples:
        >>> name_files([Path("visible/day1/0.png"), Path("visible/day2/0.png")])
        ['day1/0.png', 'day2/0.png']
    """
    folders = {file.absolute().parent for file in files}
    if len(folders) < 2:
        return [file.name for file in files]
    try:
        root = os.path.commonpath(folders)
    except ValueError:  # on several drives
        return [str(file) for file in files]
    return [file.absolute().relative_to(root).as_posix() for file in files]


def list_names(names: "Iterable[str] | Iterable[Path]") -> str:
    """Return the first names for a message.

    Examples:
        >>> list_names("abcdefg")
        'a, b, c, d, e, ...'
    """
    given = list(names)
    files = [name for name in given if isinstance(name, Path)]
    texts = name_files(files) if files else given
    return escape_controls(name_first(texts, 5))
