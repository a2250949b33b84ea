"""Compute one request at a time, also while the threads of cancelled requests still run."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Turns:
    """Turns of requests: Gradio starts one when that before has ended or was cancelled, but lets the thread of the latter run.

    Examples:
        >>> turns = Turns()
        >>> with turns.take() as check:
        ...     check()
        ...     turns.cancel()
        ...     check()
        Traceback (most recent call last):
        ...
        ValueError: the request was cancelled
    """

    def __init__(self) -> None:
        self._newest = 0
        self._computing = threading.Lock()

    @contextmanager
    def take(self) -> Iterator[Callable[[], None]]:
        """Wait for the request that is computed, and return a function to call while computing.

        Raises:
            ValueError: Also by this function, if the request was cancelled.
        """
        self._newest += 1
        turn = self._newest

        def check() -> None:
            if self._newest != turn:
                raise ValueError("the request was cancelled")

        with self._computing:
            check()
            yield check

    def cancel(self, seconds: float = 0) -> None:
        """Cancel the request that is computed and those that wait, and wait up to some seconds until they have ended."""
        self._newest += 1
        if seconds and self._computing.acquire(timeout=seconds):
            self._computing.release()
