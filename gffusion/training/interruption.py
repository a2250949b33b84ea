"""Ctrl-C and SIGTERM, put off until the step in progress is over and its checkpoint is written."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import torch
from accelerate import Accelerator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Inside a `with` block, remembers a first signal instead of obeying it; a second one ends the process at once.

    Signals reach Python's main thread only: in another thread the block changes nothing.

    Args:
        accelerator: Whose processes stop together.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._received = 0
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._remember) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def requested(self) -> bool:
        """Whether any process has received a signal. All processes must ask at the same time."""
        if self._accelerator.num_processes > 1:
            received = torch.tensor([self._received], device=self._accelerator.device)
            self._received = int(self._accelerator.gather(received).max())
        return bool(self._received)

    def obey(self) -> None:
        """End as the signal asked for.

        Raises:
            KeyboardInterrupt: After Ctrl-C.
            SystemExit: After SIGTERM, with the exit status 143 that shells give it.
        """
        if self._received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signal.SIGTERM)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
