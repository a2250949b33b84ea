"""Signals while torch connects or waits for other processes."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let signals end this process at once: while torch connects or waits, no handlers of Python run.

    Python sets handlers in its main thread only, so the block has no effect in another thread.
    """
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    handlers = {number: signal.getsignal(number) for number in numbers}
    replaced = [number for number, handler in handlers.items() if callable(handler)]  # not ignored
    for number in replaced:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, handlers[number])
