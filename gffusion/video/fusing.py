"""Fuse two videos into one, in constant memory, and continue where an interrupted run stopped."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256
from itertools import chain, islice, repeat
from statistics import median
from typing import Any, cast

from numpy.typing import NDArray
from torch import nn

from gffusion._version import __version__
from gffusion.cameras import InfraredFrame
from gffusion.cameras.cleaning import BORDER_FILLED, note_cut_border
from gffusion.cameras.missing import format_share
from gffusion.cameras.narrow_ranges import measure_width, note_narrow_frame
from gffusion.cameras.range_histogram import RangeHistogram
from gffusion.cameras.running_range import find_odd_ranges
from gffusion.data import ReadOptions
from gffusion.data.reading import clean
from gffusion.data.rigs import find_rig
from gffusion.inference.batching import batch_by_size, check_batch_size
from gffusion.inference.interface import FusionModel
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.infrared_options import InfraredOptions, Limits
from gffusion.models.gffusion.infrared_values import measure_limits
from gffusion.utils.atomic import is_written
from gffusion.utils.notes import name_first
from gffusion.utils.prefetch import map_in_order
from gffusion.zoo.checks import check_model_object, check_processor_object
from gffusion.zoo.digest import digest_weights

from .folders import StoredFrame, decode_infrared_frame, decode_visible_frame, open_sources
from .frozen import FrozenFrames
from .fuser import FrameFuser, mask_border, read_palette
from .jobs import VideoJob, VideoReport, check_time_offset
from .joining import check_audio, join_segments
from .matching import FramePair, VideoPair, describe_counts
from .opening import import_av
from .probing import check_frames, describe_files, find_common_border, probe_infrared
from .reading import VideoFile, find_aspect
from .recording import MAX_ERRORS, FrameItem, Recorder
from .segments import SEGMENT_FRAMES, SegmentFolder, SegmentState, VideoSettings, has_plan
from .semantics import check_refresh

_FAILURES_AT_START = 10  # with so many, other frames are tried: the options can be wrong

Progress = Callable[[int, int | None], None]
"""Function that is called with the number of finished frames and their total, or `None` where that is unknown."""


def fuse_video(
    job: VideoJob,
    model: FusionModel,
    image_processor: GFFusionImageProcessor,
    read_options: ReadOptions | None = None,
    *,
    batch_size: int = 1,
    semantic_every: int = 1,
    time_offset: float = 0,
    visible_fps: float | None = None,
    infrared_fps: float | None = None,
    keep_metadata: bool = True,
    keep_audio: bool = True,
    overwrite: bool = True,
    progress: Progress | None = None,
    on_read: Callable[[], None] | None = None,
) -> VideoReport:
    """Fuse two videos, files or folders of frames, with the time stamps and the audio of the visible one.

    Frames are matched by time ([`VideoPair`]). The files are written only when they are complete. Until then, finished
    segments are kept in a hidden folder beside the output, and the same call continues after them; the result equals
    that of a run without interruption.

    Args:
        job: The files.
        model: The model, in evaluation mode, on its device.
        image_processor: Its image processor. `smooth_range` and `infrared_range="folder"` apply to the frames.
        read_options: How infrared images are cleaned and aligned. `align="auto"` estimates one rig from up to ten pairs.
        batch_size: Number of frames per forward pass.
        semantic_every: Number of frames that share CLIP's tokens; a scene cut refreshes them at once.
        time_offset: Seconds that are added to the times of the infrared video.
        visible_fps: Frames per second of a folder of visible frames; by default, the times in their names are taken.
        infrared_fps: Frames per second of a folder of infrared frames, in the same way.
        keep_metadata: Whether to keep title, date and the like of the visible file.
        keep_audio: Whether to copy the audio of the visible file.
        overwrite: Whether to replace files that exist. If not, only those of the interrupted run that is continued are.
        progress: Called after every batch.
        on_read: Called for every packet of a file and every image of a folder after they were opened. An error
            that it raises ends the call, also while many frames are left out.

    Raises:
        ImportError: If PyAV is not installed.
        OSError: If a file cannot be read or written.
        ValueError: If the videos cannot be fused with these options, or files may not be replaced.

    Errors after the segments of this call were found have `finished_frames`, the number of frames after which it continues.
    """
    check_model_object(model, can_be_exported=True)
    check_processor_object(image_processor)
    check_time_offset(time_offset)
    check_batch_size(batch_size)
    check_refresh(model, semantic_every)
    read_options = read_options or ReadOptions()
    sources = open_sources((job.visible, job.infrared), (visible_fps, infrared_fps), read_options)
    pair = VideoPair(*sources, Fraction(str(time_offset)))
    pair.visible.on_read = pair.infrared.on_read = on_read
    for kind, (path, output) in job.outputs.items():
        if keep_audio and kind != "labels" and isinstance(pair.visible, VideoFile):
            check_audio(pair.visible, path, output)
    run = _VideoRun(job, pair, model, image_processor, read_options, semantic_every)
    plan = run.describe() | {
        "batch_size": batch_size,
        "time_offset": time_offset,
        "model": digest_weights(cast(nn.Module, model), repr(model.config), str(model.dtype), str(model.device)),
    }
    existing = [str(path) for path, _ in job.outputs.values() if path.is_dir() or is_written(path)]
    if existing and not overwrite and not has_plan(job.folder, plan):
        raise ValueError(
            f"{', '.join(existing)} exists, and no run with these inputs and options was interrupted: pass overwrite=True "
            "(--overwrite), or choose another output"
        )
    folder = SegmentFolder(job.folder, plan)
    try:
        run.run(folder, batch_size, progress)
        run.join(folder, keep_metadata, keep_audio)
    except BaseException as error:
        error.finished_frames = folder.finished_frames  # type: ignore[attr-defined]
        folder.unlock()
        if not folder.states:  # nothing to continue from
            folder.remove()
        raise
    folder.remove()
    return run.report


class _VideoRun:
    """State of one call of [`fuse_video`]."""

    def __init__(
        self,
        job: VideoJob,
        pair: VideoPair,
        model: FusionModel,
        image_processor: GFFusionImageProcessor,
        read_options: ReadOptions,
        semantic_every: int,
    ) -> None:
        self.job, self.pair, self.report = job, pair, VideoReport()
        self._names = str(job.visible), str(job.infrared)
        found_pairs = pair.probe()
        reference = 1 if read_options.reference == "infrared" else 0  # the video whose shape the result has
        file = (pair.visible, pair.infrared)[reference]
        aspect = find_aspect(file.sample_aspect_ratio, found_pairs[0][reference].frame)
        self._settings = VideoSettings(pair.visible.time_base, pair.visible.rate.limit_denominator(1001), aspect)
        interlaced = [any(item[index].frame.interlaced_frame for item in found_pairs) for index in (0, 1)]
        probes = [(decode_visible_frame(item.visible.frame), probe_infrared(item.infrared)) for item in found_pairs]
        values = [(visible, infrared.values) for visible, infrared in probes]
        check_frames(values, self._names, read_options.infrared_luma)
        self._keep_borders = read_options.keep_borders
        self._border = None if read_options.keep_borders else find_common_border([frame for _, frame in probes])
        self._read_options, found = find_rig(probes, replace(read_options, keep_borders=True), self._as_pair)
        cleaned = list(self._clean_usable(frame for _, frame in probes))
        palettes = Counter(read_palette(frame, values) for values, frame in cleaned)
        del palettes[None]  # of frames that use few colors
        self._palette = next((palette for palette, _ in palettes.most_common(1)), None)
        self.report.measured += [found] if found else []
        self.report.notes += describe_files(pair, interlaced)
        if self._border is not None:
            note = f"infrared border ({format_share(self._border)}) {BORDER_FILLED}"
            self.report.notes += note_cut_border((note,), read_options.crop)
        self._processor, self._model, self._semantic_every = image_processor, model, semantic_every
        self._infrared_options = image_processor.infrared_options
        has_own_ranges = (
            self._infrared_options.infrared_range == "percentile" and not self._infrared_options.smooth_range
        )
        widths = [measure_width(frame.values, frame.missing) for _, frame in cleaned if has_own_ranges]
        self._usual_width = median(widths) if widths else 0.0  # 0: frames have not each their own range
        self._size: tuple[int, ...] | None = None
        self._frozen, self._infrared_time = FrozenFrames(), Fraction(-1)
        self._frozen_notes: tuple[str, ...] = ()  # on the infrared frame before
        self._failures = 0

    def describe(self) -> dict[str, Any]:
        """Return everything that the fused frames depend on, besides the model and the arguments of `run`."""
        return {
            "version": [__version__, import_av().__version__],
            "inputs": [source.identify() for source in (self.pair.visible, self.pair.infrared)],
            "outputs": {kind: output for kind, (_, output) in self.job.outputs.items()},
            "infrared": self._infrared_options.to_dict(),
            "size_divisor": self._processor.size_divisor,
            "read": repr(self._read_options),
            "keep_borders": self._keep_borders,
            "border": None if self._border is None else sha256(self._border.tobytes()).hexdigest(),
            "semantic_every": self._semantic_every,
        }

    def _as_pair(self, probe: tuple[NDArray[Any], InfraredFrame]) -> tuple[NDArray[Any], InfraredFrame]:
        return probe[0], mask_border(probe[1], self._border, self._names[1])

    def _clean(self, infrared: InfraredFrame) -> InfraredFrame:
        return clean(mask_border(infrared, self._border, self._names[1]), self._names[1], self._read_options)

    def _clean_usable(self, frames: Iterable[InfraredFrame]) -> Iterator[tuple[NDArray[Any], InfraredFrame]]:
        """Yield the values of frames that are not left out, and the frames after they were cleaned."""
        for frame in frames:
            with suppress(ValueError):
                yield frame.values, self._clean(frame)

    def _measure(self) -> InfraredOptions:
        """Return the options of all frames, with their common range if it is to be measured."""
        options = self._infrared_options
        if options.infrared_range != "folder":
            return options
        histogram, problem = RangeHistogram(), None
        own: dict[Fraction, Limits] = {}  # by time
        for item in self.pair.read():
            try:
                frame = self._clean(decode_infrared_frame(item.infrared.frame))
                histogram.add(frame.values, frame.missing)
                own[item.infrared.time] = measure_limits(frame.values, frame.missing)
            except ValueError as error:  # such frames are left out
                problem = error
        if not own:
            raise ValueError(f"no frame could be fused: {problem}")
        low, high = histogram.limits
        self.report.measured.append(f"infrared range of the video: {low:.7g} to {high:.7g}, in the unit of the file")
        odd, warning = find_odd_ranges(list(own.values()))
        if odd:
            times = list(own)
            names = name_first([f"{float(times[index]):.3f} s" for index in odd])
            self.report.notes.append(f"{names}: {warning}")
        return options.with_limits(histogram.limits)

    def run(self, folder: SegmentFolder, batch_size: int, progress: Progress | None) -> None:
        """Fuse all frames after the finished segments."""
        done = folder.states
        self.report.resumed = folder.finished_frames
        self.report.notes += folder.notes
        for state in done:
            self._count(state)
        self._infrared_options = self._measure()
        fuser = self._create_fuser(
            next((state.palette for state in reversed(done) if state.palette is not None), self._palette),
            next((state.limits for state in reversed(done) if state.limits), ()),
        )
        seconds = min(source.seconds for source in (self.pair.visible, self.pair.infrared))  # 0: unknown
        total = round(seconds * self.pair.visible.rate) or None
        pairs = self.pair.read()
        self._skip(fuser, pairs, done)
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            ahead = map_in_order(reader, lambda _: self._prepare(fuser, pairs), repeat(None), depth=2 * batch_size)
            items = iter(lambda: next(ahead), None)
            for first in items:
                recorder = Recorder(self.job, folder, self._settings, writer, self.report.notes)
                fuser.reset_semantics()
                try:
                    frames = chain([first], islice(items, SEGMENT_FRAMES - 1))
                    for batch in batch_by_size(frames, batch_size, _size_of):
                        self._fuse(fuser, batch, recorder)
                        if progress is not None:
                            progress(self.report.frames + self.report.failures + recorder.seen, total)
                    state = recorder.finish()
                except BaseException:
                    recorder.abort()
                    raise
                self._count(state)
        self.report.refreshed = fuser.refreshed
        if not self.report.frames:
            raise ValueError(f"no frame could be fused: {self.report.errors[0].partition(': ')[2]}")

    def _skip(self, fuser: FrameFuser, pairs: Iterator[FramePair], done: Sequence[SegmentState]) -> None:
        """Leave out finished frames, but compare those again whose infrared image is that of the last one."""
        last = None
        for last in islice(pairs, sum(state.frames for state in done)):
            if (since := done[-1].identical_since) is not None and float(last.time) >= since:
                with suppress(ValueError):
                    self._find_frozen(last, *last.decode())
        if last is not None:
            with suppress(ValueError):
                fuser.remember(*last.decode(), last.name(self._names))

    def _prepare(self, fuser: FrameFuser, pairs: Iterator[FramePair]) -> FrameItem | None:
        pair = next(pairs, None)
        if pair is None:
            return None
        time, duration = pair.time, pair.visible.duration or 1 / self.pair.visible.rate
        try:
            visible, infrared = pair.decode()
            notes = self._find_frozen(pair, visible, infrared)
            if isinstance(pair.visible.frame, StoredFrame):
                notes += pair.visible.frame.notes
            prepared = fuser.prepare(visible, infrared, pair.name(self._names), self.pair.infrared.largest_count)
            images = prepared.images
            notes += note_narrow_frame(images.infrared, images.missing, self._usual_width)
            prepared = prepared._replace(images=images._replace(notes=images.notes + notes))
            return FrameItem(time, duration, prepared, None, self._frozen.since)
        except ValueError as error:
            return FrameItem(time, duration, None, str(error), self._frozen.since)

    def _find_frozen(self, pair: FramePair, visible: NDArray[Any], infrared: InfraredFrame) -> tuple[str, ...]:
        if pair.infrared.time == self._infrared_time:  # one infrared frame for several visible ones
            return ()
        self._infrared_time = pair.infrared.time
        before, self._frozen_notes = self._frozen_notes, self._frozen.add(float(pair.time), visible, infrared.values)
        return () if self._frozen_notes == before else self._frozen_notes

    def _fuse(self, fuser: FrameFuser, batch: Sequence[FrameItem], recorder: "Recorder") -> None:
        prepared = [item.prepared for item in batch if item.prepared is not None]
        if not prepared:
            self._leave_out(batch[0], recorder)
            return
        size = prepared[0].images.visible.shape[:2]
        if self._size is not None and size != self._size:
            raise ValueError(
                f"the size of the frames changes from {self._size[1]}x{self._size[0]} to {size[1]}x{size[0]} at "
                f"{float(batch[0].time):.3f} s: split the videos there"
            )
        try:
            predictions = fuser.fuse(prepared)
        except ValueError as error:
            if len(batch) > 1:  # find the frames that fail
                for item in batch:
                    self._fuse(fuser, [item], recorder)
                return
            self._leave_out(batch[0]._replace(error=str(error)), recorder)
            return
        self._size = size
        for item, prediction in zip(batch, predictions, strict=True):
            recorder.write(item, prediction)

    def _leave_out(self, item: FrameItem, recorder: Recorder) -> None:
        recorder.fail(item)
        self._failures += 1
        if not self._size and self._failures == _FAILURES_AT_START:
            self._try_others(item)

    def _try_others(self, item: FrameItem) -> None:
        """Raise ValueError if evenly spaced frames cannot be fused either, as with wrong options."""
        pair = VideoPair(copy(self.pair.visible), copy(self.pair.infrared), self.pair.offset)  # which are being read
        problem: Exception | None = None
        for probe in pair.probe():
            fuser = self._create_fuser(self._palette)
            try:
                fuser.fuse([fuser.prepare(*probe.decode(), self._names, pair.infrared.largest_count)])
                return
            except ValueError as error:
                problem = error
        raise ValueError(
            f"no frame could be fused, neither the first {_FAILURES_AT_START}, up to {float(item.time):.3f} s, nor others over "
            f"the whole time: {problem}"
        )

    def _count(self, state: SegmentState) -> None:
        report = self.report
        self._size = state.size or self._size
        report.frames += state.frames - state.failures
        report.failures += state.failures
        report.errors = [*report.errors, *state.errors][:MAX_ERRORS]
        report.notes += [note for note in state.notes if note not in report.notes]

    def _create_fuser(self, palette: tuple[str, ...] | None, limits: Sequence[Limits] = ()) -> FrameFuser:
        return FrameFuser(
            self._model,
            self._processor,
            replace(self._read_options, visible_range=None),  # applied when the frames were read
            segment=len(self.job.outputs) > 1,
            semantic_every=self._semantic_every,
            border=self._border,
            limits=limits,
            infrared_options=self._infrared_options,
            palette=palette,
        )

    def join(self, folder: SegmentFolder, keep_metadata: bool, keep_audio: bool) -> None:
        """Write the output files from the segments."""
        counts, visible = self.pair.counts, self.pair.visible
        last_duration = Fraction(*next(state.duration for state in reversed(folder.states) if state.duration[0]))
        for kind, (path, output) in self.job.outputs.items():
            notes = join_segments(
                path,
                output,
                folder.list_files(kind),
                last_duration,
                visible=visible if keep_audio and kind != "labels" and isinstance(visible, VideoFile) else None,
                metadata=visible.metadata if keep_metadata else None,
                is_cut=(counts.before > 0, counts.after),
            )
            self.report.notes += [note for note in notes if note not in self.report.notes]
        self.report.notes += describe_counts(counts, self.pair)


def _size_of(item: FrameItem) -> tuple[int, ...]:
    return (id(item),) if item.prepared is None else item.prepared.images.visible.shape[:2]
