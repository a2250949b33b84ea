"""Progress of long work: a bar in terminals and notebooks, else a plain line every ten seconds."""

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm

SECONDS = 10.0
"""Time between two lines; work that takes less time prints none."""

_is_hidden = False


def is_progress_hidden() -> bool:
    """Return whether this process shows no progress: after [`hide_progress`], or if `TQDM_DISABLE` is set, as in tqdm."""
    return _is_hidden or os.environ.get("TQDM_DISABLE", "0") not in ("", "0")


def hide_progress(hidden: bool = True) -> None:
    """Show no progress in this process, or show it again."""
    global _is_hidden
    _is_hidden = hidden


@contextlib.contextmanager
def hidden_progress(hidden: bool = True) -> Iterator[None]:
    """Show no progress inside the `with` block, unless `hidden` is false."""
    before = _is_hidden
    hide_progress(hidden or before)
    try:
        yield
    finally:
        hide_progress(before)


def show_progress(
    items: Iterable[Any] | None = None,
    *,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    description: str = "",
    hidden: bool = False,
) -> "tqdm[Any]":
    """Return a progress bar of tqdm over the items, or with a total for `update`; where standard error is no terminal, lines.

    Args:
        items: What is iterated over.
        unit: Name of one item.
        total: Number of items, if it cannot be found by `len`.
        initial: Number of items that were done before.
        description: Text before the numbers.
        hidden: Whether nothing is shown.

    Examples:
        >>> [number for number in show_progress(range(3), unit="pair")]
        [0, 1, 2]
    """
    options: dict[str, Any] = {"unit": unit, "total": total, "initial": initial, "desc": description or None}
    options |= {"leave": False, "disable": hidden or is_progress_hidden()}
    kind: Any = tqdm if sys.stderr.isatty() else _Lines
    if _is_notebook():
        from tqdm.auto import tqdm as kind  # looks for widgets
    return kind(items, **options)


def get_download_bar() -> "type[tqdm[Any]] | None":
    """Return a class of bars of bytes that the Hub client can use instead of its own, which stay silent without terminal."""
    return None if sys.stderr.isatty() or _is_notebook() else _DownloadLines


def _is_notebook() -> bool:
    return "IPython" in sys.modules and "ipykernel" in sys.modules


class _Lines(tqdm):  # type: ignore[type-arg] # of tqdm at run time, which is not generic
    """A progress bar that writes lines, without carriage returns."""

    _units = property(lambda self: f"{self.unit}s")
    monitor_interval = 0  # no thread: lines are written when work proceeds

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._due = time.monotonic() + SECONDS
        options |= {"mininterval": min(SECONDS, 1.0), "miniters": 1}
        super().__init__(*arguments, **options)

    def display(self, *_: Any, **__: Any) -> None:
        """Write a line if the last one is long ago, and something was done."""
        now = time.monotonic()
        if now >= self._due and self.n > self.initial:
            self._due = now + SECONDS
            self.fp.write(f"{self._describe()}\n")
            self.fp.flush()

    def clear(self, *_: Any, **__: Any) -> None:
        """Do nothing: lines stay."""

    def close(self) -> None:
        """End the progress."""
        if not self.disable:
            self.disable = True
            self._decr_instances(self)  # type: ignore[attr-defined]

    def _describe(self) -> str:
        facts = self.format_dict
        done, total, seconds = facts["n"], facts["total"], facts["elapsed"]
        parts = [f"{self._count(done)}{f' of {self._count(total)}' if total else ''} {self._units}"]
        rate = (done - self.initial) / max(seconds, 1e-9)
        parts.append(self._describe_rate(rate))
        parts += [f"{self.format_interval((total - done) / rate)} left"] if total else []
        parts += [str(self.postfix)] if self.postfix else []
        return f"{(self.desc or 'progress').removesuffix(': ')}: {', '.join(parts)}"

    def _count(self, number: float) -> str:
        return f"{number:g}"

    def _describe_rate(self, rate: float) -> str:
        return f"{rate:.1f} per second" if rate >= 1 else f"{1 / rate:.1f} s per {self.unit}"


class _DownloadLines(_Lines):
    """Lines about files that the Hub client downloads, whose bars have some arguments of their own."""

    _units = "MB"

    def __init__(self, *arguments: Any, name: str | None = None, **options: Any) -> None:
        file = str(options.get("desc") or "download").rpartition("/")[2]
        options |= {"disable": is_progress_hidden(), "leave": False, "unit": "MB", "desc": file}
        super().__init__(*arguments, **options)

    def _count(self, number: float) -> str:
        return f"{number / 1e6:.1f}"

    def _describe_rate(self, rate: float) -> str:
        return f"{rate / 1e6:.1f} MB per second"
