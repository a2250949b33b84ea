"""Interrupt runs between frames."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Stop(BaseException):
    """As Ctrl-C, but does not end pytest if it is not caught."""


def stop_after(count: int) -> Callable[[int, int | None], None]:
    """Return a callback of the progress that raises Stop."""

    def check(done: int, total: int | None) -> None:
        if done >= count:
            raise Stop

    return check


def interrupt(fuse: Callable[..., Any], visible: Path, infrared: Path, after: int, **options: Any) -> None:
    """Fuse two videos, and stop after some frames."""
    with pytest.raises(Stop):
        fuse(visible, infrared, progress=stop_after(after), **options)
