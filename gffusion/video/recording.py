"""Write fused frames in the background, segment by segment."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.inference.predict import Prediction
from gffusion.models.gffusion.infrared_options import Limits
from gffusion.utils.atomic import synchronize
from gffusion.utils.notes import get_kind
from gffusion.visualization.overlay import overlay

from .fuser import PreparedFrame
from .jobs import VideoJob
from .segments import SegmentEncoder, SegmentFolder, SegmentState, VideoSettings

MAX_ERRORS = 5
"""Number of reasons of failed frames that are kept."""


class FrameItem(NamedTuple):
    """A pair of frames with its images, or the reason why it cannot be fused."""

    time: Fraction
    duration: Fraction
    prepared: PreparedFrame | None
    error: str | None = None
    identical_since: float | None = None  # `FrozenFrames.since`


class Recorder:
    """Write the frames of one segment in the background; `notes` are those of the segments before."""

    def __init__(
        self,
        job: VideoJob,
        folder: SegmentFolder,
        settings: VideoSettings,
        executor: ThreadPoolExecutor,
        notes: Sequence[str],
    ) -> None:
        self._job, self._folder, self._settings, self._executor = job, folder, settings, executor
        self._index = len(folder.states)
        self._encoders: dict[str, SegmentEncoder] = {}
        self._pending: deque[Future[None]] = deque()
        self._size: tuple[int, ...] = ()
        self._failures = 0
        self._errors: list[str] = []
        self._known, self._notes = tuple(notes), list[str]()
        self._limits: tuple[Limits, ...] = ()
        self._palette: tuple[str, ...] | None = None
        self._duration = Fraction(0)
        self._identical_since: float | None = None
        self.seen = 0
        folder.remove_incomplete(job.outputs, self._index)  # of a run that was killed

    def fail(self, item: FrameItem) -> None:
        """Leave a frame out."""
        self.seen += 1
        self._identical_since = item.identical_since
        self._failures += 1
        if len(self._errors) < MAX_ERRORS:
            self._errors.append(f"{float(item.time):.3f} s: {item.error}")

    def write(self, item: FrameItem, prediction: Prediction) -> None:
        """Encode a frame after those before it."""
        assert item.prepared is not None
        is_first = not (self._index or self.seen)
        self.seen += 1
        images, self._palette, self._limits = item.prepared.images, item.prepared.palette, item.prepared.limits
        self._duration, self._size = item.duration, images.visible.shape[:2]
        self._identical_since = item.identical_since
        self._add_notes(images.notes, None if is_first else item.time)
        self._pending.append(self._executor.submit(self._encode, item, prediction))
        while len(self._pending) > 4:
            self._pending.popleft().result()

    def finish(self) -> SegmentState:
        """Close the files, and mark the segment as complete."""
        while self._pending:
            self._pending.popleft().result()
        for encoder in self._encoders.values():
            encoder.close()
            synchronize(encoder.path)  # before the state that says it is complete
        files = self._folder.describe_files(self._encoders, self._index)
        self._encoders = {}
        duration = self._duration.numerator, self._duration.denominator
        errors, notes = tuple(self._errors), tuple(self._notes)
        state = SegmentState(
            self.seen,
            self._failures,
            errors,
            notes,
            self._limits,
            duration,
            self._size,
            self._palette,
            files,
            self._identical_since,
        )
        self._folder.finish(state)
        return state

    def abort(self) -> None:
        """Close and delete the files of an incomplete segment."""
        for future in self._pending:
            future.cancel()
        self._executor.submit(self._close_incomplete).result()

    def _add_notes(self, notes: Sequence[str], time: Fraction | None) -> None:
        """Add notes of new kinds, with the time of the frame if it is not the first one."""
        for note in notes:
            if not any(get_kind(known).endswith(get_kind(note)) for known in (*self._known, *self._notes)):
                self._notes.append(note if time is None else f"from {float(time):.3f} s: {note}")

    def _close_incomplete(self) -> None:
        for encoder in self._encoders.values():
            encoder.abort()
        with suppress(OSError):  # the first error is the one to report
            self._folder.remove_incomplete(self._job.outputs, self._index)

    def _encode(self, item: FrameItem, prediction: Prediction) -> None:
        images: dict[str, NDArray[np.uint8]] = {"fused": prediction.fused}
        if prediction.labels is not None:
            images |= {"labels": prediction.labels, "overlay": overlay(prediction.fused, prediction.labels)}
        for kind, (_, output) in self._job.outputs.items():
            image = images[kind]
            if kind not in self._encoders:
                path = self._folder.name(kind, self._index)
                self._encoders[kind] = SegmentEncoder(path, output, self._settings, image.shape[:2])  # type: ignore[arg-type]
            self._encoders[kind].write(image, item.time, item.duration)
