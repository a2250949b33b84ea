"""Fuse live frames: the newest pair is fused, and older ones that were not reached are dropped."""

import atexit
import threading
import time as clock
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers.utils import logging

from gffusion.cameras.frozen_images import are_equal
from gffusion.cameras.same_images import are_same
from gffusion.data import PairImages, ReadOptions
from gffusion.inference.interface import FusionModel
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.utils.memory import memory_errors
from gffusion.utils.notes import find_new_kinds

from .frozen import FrozenFrames
from .fuser import FrameFuser
from .jobs import is_number
from .stream_inputs import Inbox, Pushed, check_image, check_stream_sizes, check_time

logger = logging.get_logger(__name__)

_PALETTE_PATIENCE = 5  # frames
_COMPARED_FRAMES = 25  # at the start: cameras do not change places later
_SLOW_PASSES = 2  # of a size: they load kernels, and capture a graph on a GPU
_PATIENCE_AT_EXIT = 10.0  # seconds

_open_streams: "weakref.WeakSet[FusionStream]" = weakref.WeakSet()


@atexit.register
def _close_streams() -> None:
    """End the threads of streams before the interpreter does, which torch would abort. A model that hangs is not waited for."""
    streams = list(_open_streams)
    for stream in streams:
        stream._inbox.close()
    for stream in streams:
        stream._thread.join(_PATIENCE_AT_EXIT)


@dataclass(frozen=True)
class StreamResult:
    """A fused pair of frames.

    Attributes:
        fused: Fused image, with the size, color and type of the visible one.
        labels: Label map (H, W), uint8; `None` unless the stream segments.
        time: Time of the frames, as it was given to `push` or `push_visible`.
        latency: Seconds from there to this result.
        dropped: Number of pairs that were dropped since the result before.
        notes: What was changed or assumed, and what is odd about the frames, such as that infrared ones are frozen.
        infrared_age: Seconds by which the infrared frame is older than the visible one; 0 for pairs of `push`.
    """

    fused: NDArray[Any]
    labels: NDArray[np.uint8] | None
    time: float
    latency: float
    dropped: int
    notes: tuple[str, ...] = ()
    infrared_age: float = 0.0


@dataclass(frozen=True)
class StreamStatistics:
    """What a stream has done so far.

    Attributes:
        pushed: Number of pairs, or of visible images, that were pushed.
        fused: Number of those that were fused.
        dropped: Number of those that were replaced by newer ones before they were fused, or came before the first infrared one.
        failed: Number of those that could not be fused.
        latency: Mean of the seconds from there to the result; 0 before the first one.
        longest_latency: The largest of them, without the first two results of each size, for which kernels are loaded.
    """

    pushed: int = 0
    fused: int = 0
    dropped: int = 0
    failed: int = 0
    latency: float = 0.0
    longest_latency: float = 0.0


def _work(inbox: Inbox, reference: "weakref.ref[FusionStream]") -> None:
    """Fuse pairs until the stream is closed or no longer referenced."""
    while (pushed := inbox.take()) is not None and (stream := reference()) is not None:
        stream._fuse(pushed)
        del stream
    if (stream := reference()) is not None:
        stream._finish()


class FusionStream:
    """Fuse frames of cameras as they come, in a thread of its own. Nothing queues: the newest pair replaces a waiting one.

    What is changed or assumed, frames that show nothing, frozen ones, the same image from both cameras, and the same infrared array
    for two seconds are logged as warnings, once per kind; `notes` of a result has all that are about it.
    `push` takes pairs; `push_visible` and `push_infrared` take the frames of each camera as they come. All copy the frames and
    return at once, so that cameras can reuse their buffers. `latest` returns the newest result, and iterating yields each
    newest result once, until the stream is closed. All methods can be called from any thread. A stream that nothing refers to ends, too.

    Args:
        model: The model, in evaluation mode, on its device.
        image_processor: Its image processor. `smooth_range` smooths the range over the frames; `"folder"` is refused.
        read_options: How infrared images are cleaned and aligned: [`ReadOptions`] with a [`Rig`], `"resize"` or `"none"`.
            By default, borders are taken as measured, because searching every image for them takes time.
        segment: Whether to predict label maps, too.
        semantic_every: Number of fused frames that share the tokens of CLIP; a scene cut refreshes them at once.
        max_age: Largest difference, in seconds, between the times of a visible and an infrared frame that `push_visible` fuses.

    Raises:
        TypeError: If `read_options` are something else.
        ValueError: If `model` is none of this package, or options exclude each other or do not fit ordered frames.

    Examples:
        >>> from gffusion import create_model, load_image_processor
        >>> model, processor = create_model("gffusion-live"), load_image_processor("gffusion-live")
        >>> with FusionStream(model, processor) as stream:
        ...     stream.push(np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.uint8), time=0.04)
        >>> stream.latest().fused.shape, stream.latest().time, stream.statistics.dropped
        ((48, 64, 3), 0.04, 0)
    """

    def __init__(
        self,
        model: FusionModel,
        image_processor: GFFusionImageProcessor,
        read_options: ReadOptions | None = None,
        *,
        segment: bool = False,
        semantic_every: int = 1,
        max_age: float = 2.0,
    ) -> None:
        if not (is_number(max_age) and max_age > 0):
            raise ValueError(f"`max_age` must be a positive number of seconds, got {max_age!r}")
        read_options = read_options or ReadOptions(keep_borders=True)
        self._fuser = FrameFuser(
            model, image_processor, read_options, segment, semantic_every, patience=_PALETTE_PATIENCE
        )
        self._inbox = Inbox()
        self._changed = self._inbox.changed
        self._result: StreamResult | None = None
        self._error: Exception | None = None
        self._is_finished = False
        self._statistics = StreamStatistics()
        self._logged: set[str] = set()  # kinds of notes
        self._passes: Counter[tuple[int, ...]] = Counter()  # by size
        self._frozen = FrozenFrames()
        self._max_age, self._align = max_age, read_options.align
        self._last_infrared: tuple[NDArray[Any], NDArray[Any]] | None = None  # as it was pushed, and its copy
        self._newest_infrared: tuple[NDArray[Any], float] | None = None  # with its time, of `push_infrared`
        weakref.finalize(self, self._inbox.close)
        arguments = self._inbox, weakref.ref(self)
        self._thread = threading.Thread(target=_work, args=arguments, name="FusionStream", daemon=True)
        self._thread.start()
        _open_streams.add(self)

    def __enter__(self) -> "FusionStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def push(self, visible: NDArray[Any], infrared: NDArray[Any], time: float | None = None) -> None:
        """Hand over the newest pair; a pair that still waits is dropped. The arrays are copied.

        Args:
            visible: (H, W), (H, W, 1) or (H, W, 3) RGB; OpenCV's images are BGR and need `frame[..., ::-1]`.
            infrared: (h, w), (h, w, 1) or (h, w, 3).
            time: Time of the frames in seconds, on any clock; by default, that of `time.monotonic()`. It names the result, and
                tells how long frames are frozen. The newest pair is the one pushed last, also if the clock was set back.

        Raises:
            RuntimeError: If the stream is closed.
            ValueError: If an image is no array of integers or floating-point values of one of these shapes, is empty or masked,
                or `time` is no finite number.
        """
        arrived = clock.monotonic()
        time = check_time(time, arrived)
        check_image("visible", visible)
        check_image("infrared", infrared)
        visible = visible.copy()
        with self._changed:
            self._count_pushed()
            self._wait_for_work(Pushed(visible, self._copy_infrared(infrared), time, arrived))

    def push_infrared(self, infrared: NDArray[Any], time: float | None = None) -> None:
        """Hand over the newest infrared image, with which visible ones are fused from now on; arguments and errors as `push`.

        The newest one is the one pushed last, also if its `time` is earlier: push the images of a camera in order.
        """
        arrived = clock.monotonic()
        time = check_time(time, arrived)
        check_image("infrared", infrared)
        with self._changed:
            self._check_open()
            self._newest_infrared = self._copy_infrared(infrared), time

    def push_visible(self, visible: NDArray[Any], time: float | None = None) -> None:
        """Hand over the newest visible image, to be fused with the newest infrared one; arguments and errors as `push`.

        `time` and that of `push_infrared` must have one clock. If they differ by more than `max_age`, as when the infrared camera
        has stopped, the pair is not fused, and `latest` raises ValueError. Before the first infrared image, nothing is fused.
        """
        arrived = clock.monotonic()
        time = check_time(time, arrived)
        check_image("visible", visible)
        visible = visible.copy()
        with self._changed:
            self._count_pushed()
            if self._newest_infrared is None:
                self._inbox.dropped += 1
                self._statistics = replace(self._statistics, dropped=self._statistics.dropped + 1)
                return
            infrared, infrared_time = self._newest_infrared
            age = float(time) - float(infrared_time)
            pushed = Pushed(visible, infrared, time, arrived, age)
            if abs(age) <= self._max_age:
                self._wait_for_work(pushed)
                return
        order, late = ("older", "infrared") if age > 0 else ("newer", "visible")
        self._fail(
            pushed,
            ValueError(
                f"the newest infrared frame is {abs(age):.3f} s {order} than the visible one at {float(time):.3f} s: the {late} "
                f"camera is late, or the times have different clocks; `max_age` allows {float(self._max_age):g} s"
            ),
        )

    def latest(self, timeout: float | None = None, after: StreamResult | None = None) -> StreamResult | None:
        """Return the newest result, or `None` if there is none yet.

        Args:
            timeout: Seconds to wait for a result other than `after`; by default, do not wait.
            after: The result that was seen last: it is returned again only after `timeout`, or if the stream has ended.

        Raises:
            MemoryError: If memory ran out while a pair was fused; raised once per failure, the stream goes on.
            ValueError: If a pair could not be fused, in the same way. Or if `timeout` is no number.
        """
        if timeout is not None and not is_number(timeout):
            raise ValueError(f"`timeout` must be a number of seconds or None, got {timeout!r:.40}")
        with self._changed:
            if timeout is not None:
                seconds = min(timeout, threading.TIMEOUT_MAX)
                self._changed.wait_for(lambda: self._result is not after or self._error or self._is_finished, seconds)
            self._raise_error()
            return self._result

    def __iter__(self) -> Iterator[StreamResult]:
        """Return an iterator over the newest results, which waits for each, until the stream is closed.

        It raises ValueError or MemoryError if a pair could not be fused, and can be continued then: `results = iter(stream)`, and a new loop
        over `results`.
        """
        return _Results(self)

    @property
    def statistics(self) -> StreamStatistics:
        """What the stream has done so far."""
        with self._changed:
            return self._statistics

    def close(self) -> None:
        """Fuse the pair that waits, and stop. The last result stays."""
        self._inbox.close()
        self._thread.join()

    def _check_open(self) -> None:
        if self._inbox.is_closed:
            raise RuntimeError("the stream is closed: make a new one")

    def _count_pushed(self) -> None:
        self._check_open()
        self._statistics = replace(self._statistics, pushed=self._statistics.pushed + 1)

    def _copy_infrared(self, infrared: NDArray[Any]) -> NDArray[Any]:
        """Return a copy, the one before if the same array comes again unchanged, which is no new frame."""
        last = self._last_infrared
        if last is None or infrared is not last[0] or not are_equal(infrared, last[1]):
            self._last_infrared = last = infrared, infrared.copy()
        return last[1]

    def _wait_for_work(self, pushed: Pushed) -> None:
        """Let a pair wait, in place of one that waits already."""
        is_late = self._inbox.waiting is not None
        self._inbox.dropped += is_late
        self._statistics = replace(self._statistics, dropped=self._statistics.dropped + is_late)
        self._inbox.waiting = pushed
        self._changed.notify_all()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback refers to the stream

    def _fuse(self, pushed: Pushed) -> None:
        try:
            check_stream_sizes(pushed.visible, pushed.infrared, self._align)
            with memory_errors():
                prepared = self._fuser.prepare(pushed.visible, pushed.infrared)
                frozen = self._frozen.add(float(pushed.time), pushed.visible, pushed.infrared)
                notes = prepared.images.notes + frozen + self._note_same(prepared.images)
                self._log_new_kinds(pushed, notes)
                prediction = self._fuser.fuse([prepared])[0]
        except Exception as error:  # of any kind: without this thread, readers would wait for ever
            self._fail(pushed, error)
        else:
            self._deliver(pushed, prediction.fused, prediction.labels, notes)

    def _note_same(self, images: PairImages) -> tuple[str, ...]:
        """Return a note if the first frames of both cameras are the same image."""
        if self._statistics.fused >= _COMPARED_FRAMES or not are_same(images.visible, images.infrared):
            return ()
        return ("the visible and the infrared frame show the same image: push those of two cameras",)

    def _finish(self) -> None:
        with self._changed:
            self._is_finished = True
            self._changed.notify_all()

    def _log_new_kinds(self, pushed: Pushed, notes: Sequence[str]) -> None:
        """Log the first note of every kind."""
        for note in find_new_kinds(notes, self._logged):
            logger.warning(f"frame at {float(pushed.time):.3f} s: {note} (further frames like it are not reported)")

    def _fail(self, pushed: Pushed, error: Exception) -> None:
        with self._changed:
            self._error = error
            self._inbox.dropped += pushed.dropped  # they belong to the next result
            self._statistics = replace(self._statistics, failed=self._statistics.failed + 1)
            self._changed.notify_all()

    def _deliver(
        self, pushed: Pushed, fused: NDArray[Any], labels: NDArray[np.uint8] | None, notes: tuple[str, ...]
    ) -> None:
        latency = clock.monotonic() - pushed.arrived
        self._passes[fused.shape] += 1
        is_slow = self._passes[fused.shape] <= _SLOW_PASSES
        with self._changed:
            counts = self._statistics
            self._statistics = replace(
                counts,
                fused=counts.fused + 1,
                latency=(counts.latency * counts.fused + latency) / (counts.fused + 1),
                longest_latency=max(counts.longest_latency, 0 if is_slow else latency),
            )
            self._result = StreamResult(fused, labels, pushed.time, latency, pushed.dropped, notes, pushed.infrared_age)
            self._changed.notify_all()


class _Results(Iterator[StreamResult]):
    """Results of a stream; a generator would end at the first error."""

    def __init__(self, stream: FusionStream) -> None:
        self._stream = stream
        self._seen: StreamResult | None = None

    def __next__(self) -> StreamResult:
        newest = self._stream.latest(threading.TIMEOUT_MAX, after=self._seen)
        if newest is None or newest is self._seen:
            raise StopIteration
        self._seen = newest
        return newest
