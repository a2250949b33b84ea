"""Defer Ctrl-C, SIGTERM and SIGHUP until the step in progress is finished and its checkpoint is written."""

import signal
import threading
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator

from gffusion.utils.memory import describe_ended_worker

_OF_TERMINALS = [signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]  # Windows has no SIGHUP
_DEFERRED = [*_OF_TERMINALS, signal.SIGTERM]


def ignore_interrupts(worker: int) -> None:
    """Let a worker that loads data ignore Ctrl-C and SIGHUP, which terminals send to all processes: the trainer needs its pairs."""
    for number in _OF_TERMINALS:
        signal.signal(number, signal.SIG_IGN)


class Interruption:
    """Defer the first signal inside a `with` block; the second one ends the process at once.

    Python delivers signals to its main thread only, so the block has no effect in another thread.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._received = 0
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            # Ignored ones stay so: SIGHUP by `nohup`, SIGINT by shells for commands in the background of scripts.
            numbers = [number for number in _DEFERRED if signal.getsignal(number) != signal.SIG_IGN]
            self._handlers = {number: signal.signal(number, self._defer) for number in numbers}
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._restore_handlers()
        if self._received and describe_ended_worker(error):  # Slurm, for example, sends SIGTERM to all processes
            self.raise_signal()

    def is_requested(self) -> bool:
        """Return whether any process has received a signal. All processes must call this at the same time."""
        if self._accelerator.num_processes > 1:
            received = torch.tensor([self._received], device=self._accelerator.device)
            self._received = int(self._accelerator.gather(received).max())
        return bool(self._received)

    def raise_signal(self) -> None:
        """Raise KeyboardInterrupt after Ctrl-C, or SystemExit with 128 + the number of another signal, as shells report it."""
        if self._received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self._received)

    def _defer(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
