"""User errors as one line on stderr and exit code 2."""

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn, cast

import typer

from gffusion.utils.device_errors import describe_device_error, is_lost
from gffusion.utils.escaping import escape_controls
from gffusion.utils.memory import describe_memory_error
from gffusion.utils.peers import PeerError

from .messages import one_line
from .printing import LostOutput, list_names, print_failure, print_json_of_failure

# The base class of usage errors. It cannot be imported from click, because newer releases of typer bring their own copy of click.
ClickException = cast(type[Exception], typer.BadParameter.__mro__[2])

_OUTPUTS = {
    "evaluate": "results", "export": "model.onnx", "fuse": "fused.png, or -o fused for a folder",
    "match": "pairs.csv", "pull": "model", "show": "figure.png",
}  # fmt: skip
"""Examples of the outputs of commands."""


def exit_with_usage_error(error: Exception) -> NoReturn:
    """Print a usage error of typer as one line, and exit with code 2."""
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    message = error.format_message() if hasattr(error, "format_message") else error
    option = getattr(error, "option_name", "")
    if option in ("--crop", "--reference"):
        message = (
            f"{option} is an option of fuse, evaluate and show only: labels and boxes lie in the frame of the visible image, which the "
            "other commands keep; leave it out"
        )
    if context is not None and getattr(getattr(error, "param", None), "name", "") == "output":
        example = _OUTPUTS.get(context.command_path.split()[1])
        message = f"{one_line(message).rstrip('.')}{f', such as -o {example}' if example else ''}"
    if "unexpected extra argument" in str(message):
        message = f'{one_line(message).rstrip(".")}: put patterns such as "night/*.png" in quotes'
    _print_error(f"{one_line(message).rstrip('.')}{hint}")
    sys.exit(2)


def _print_error(message: str, code: int = 2) -> None:
    print_failure(f"error: {message}")
    print_json_of_failure({"error": message, "exit_code": code})


def exit_with_failures(
    title: str,
    failures: Sequence[tuple[str, str | None]],
    shown: int | None = None,
    is_partial: bool = True,
    count: int | None = None,
) -> NoReturn:
    """Print the reasons of failures, up to `shown` ones, and exit with code 1, or 2 unless a part succeeded.

    Reasons that differ only in paths and numbers are printed once, with the number and the first names of the others.
    `count` is the number of all failures if not all are known.
    """
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, reason in failures:
        text = one_line(reason or "")
        groups.setdefault(re.sub(r"(?<!\S)\S*[/\\\d]\S*", "", text), []).append((name, text))
    typer.echo(f"{count or len(failures)} {title}:", err=True)
    for (name, text), *others in list(groups.values())[:shown]:
        typer.echo(f"  {escape_controls(name)}: {text}", err=True)
        if others:
            names = list_names(other for other, _ in others)
            texts = {re.sub(r"(?<!\S)\S*[/\\]\S*", "", reason) for reason in (text, *(reason for _, reason in others))}
            numbers = ", with other numbers," if len(texts) > 1 else ""
            typer.echo(f"    the same{numbers} for {len(others)} more: {names}", err=True)
    if shown is not None and len(groups) > shown:
        typer.echo(f"  and {len(groups) - shown} more reasons", err=True)
    raise typer.Exit(1 if is_partial else 2)


class InterruptedRun(KeyboardInterrupt):
    """Ctrl-C, with the report of what was done before, and how to continue."""

    def __init__(self, report: dict[str, Any], advice: str) -> None:
        super().__init__()
        self.report, self.advice = report, advice


class StoppedRun(OSError):
    """An error after which a part of the work is kept, from which the same command continues."""


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Turn errors of users into one line and exit code 2, or 1 if a part is kept, and with `--json` into an object on stdout, too.

    They are `ValueError`, `OSError`, `ImportError` of an extra, `FloatingPointError` (a loss that is not finite), a lack of
    memory, and a GPU that is broken or cannot be used.
    """
    try:
        yield
    except PeerError:
        time.sleep(1)  # launchers end all processes after the first one, which is to print the error before
        raise typer.Exit(2) from None
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        _print_error(one_line(error), code := 1 if isinstance(error, StoppedRun) else 2)
        raise typer.Exit(code) from None
    except (MemoryError, RuntimeError) as error:
        if describe_memory_error(error) is None and not is_lost(error):
            raise
        _print_error(one_line(describe_device_error(error)))
        raise typer.Exit(2) from None
    except KeyboardInterrupt as stop:
        print_failure(f"interrupted; {getattr(stop, 'advice', 'files written so far are complete')}")
        code = received_code()
        with contextlib.suppress(LostOutput):  # that of a closed terminal
            print_json_of_failure({**getattr(stop, "report", {}), "interrupted": True, "exit_code": code})
        raise typer.Exit(code) from None


_received: list[int] = [signal.SIGINT]
_SAME_SIGNAL = 1  # seconds: `timeout` sends a signal twice


def received_code() -> int:
    """Return the exit code of the signal that interrupted a command, by default that of Ctrl-C."""
    return 128 + _received[-1]


@contextlib.contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP interrupt a command as Ctrl-C does, also as process 1 of a container, unless they are ignored.

    A second signal, after a second or more, ends the process at once: threads can still be reading files.
    """
    process = os.getpid()
    received: list[float] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        is_worker = os.getpid() != process  # a forked one, which its pool ends
        if is_worker or (received and now > received[0] + _SAME_SIGNAL):
            os._exit(128 + number)
        received.append(now)
        if len(received) > 1:
            return
        _received.append(number)
        raise KeyboardInterrupt

    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    replaced = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in replaced:
        signal.signal(number, interrupt)
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        # Before and after the work of a command; typer turns any KeyboardInterrupt into exit code 130.
        if isinstance(stop, SystemExit) and stop.code != 128 + signal.SIGINT:
            raise
        sys.exit(received_code())
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)
        del _received[1:]
