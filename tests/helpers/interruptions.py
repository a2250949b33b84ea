"""Interrupt runs between frames."""

from collections.abc import Callable


class Stop(BaseException):
    """As Ctrl-C, but does not end pytest if it is not caught."""


def stop_after(count: int) -> Callable[[int, int | None], None]:
    """Return a callback of the progress that raises Stop."""

    def check(done: int, total: int | None) -> None:
        if done >= count:
            raise Stop

    return check
