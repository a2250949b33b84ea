"""FusionStream: the newest pair wins, results are those of `predict`, and readers and writers are in many threads."""

import gc
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from transformers.utils.logging import warning_once
from video_files import frame_pair, infrared_frame, visible_frame

from gffusion.data import ReadOptions
from gffusion.inference.predict import predict
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.video import stream as stream_module
from gffusion.video.frozen import FrozenFrames
from gffusion.video.fuser import FrameFuser
from gffusion.video.stream import FusionStream
from gffusion.zoo import load_image_processor


class Gate:
    """Let `FrameFuser.fuse` wait until a test allows it, instead of relying on how fast the model is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started, self.open = threading.Semaphore(0), threading.Semaphore(0)
        original = FrameFuser.fuse

        def fuse(fuser: FrameFuser, frames: Any) -> Any:
            self.started.release()
            assert self.open.acquire(timeout=120)
            return original(fuser, frames)

        monkeypatch.setattr(FrameFuser, "fuse", fuse)


def fuse_all(funet: GFFusionModel, pairs: Iterable[tuple[Any, Any]], rate: float = 1, **options: Any) -> list[Any]:
    """Return the results of a stream of pairs, which are pushed one after another."""
    results: list[Any] = []
    with FusionStream(funet, load_image_processor("gffusion-funet", **options)) as stream:
        for number, pair in enumerate(pairs):
            stream.push(*pair, time=number / rate)
            results.append(stream.latest(timeout=120, after=results[-1] if results else None))
    return results


def test_results_are_those_of_predict(funet: GFFusionModel) -> None:
    processor = load_image_processor("gffusion-funet")
    with FusionStream(funet, processor) as stream:
        assert stream.latest() is None
        result = None
        for index in range(3):
            stream.push(*frame_pair(index), time=index / 25)
            result = stream.latest(timeout=120, after=result)
            assert result is not None and result.time == index / 25
            assert np.array_equal(result.fused, predict(funet, processor, [frame_pair(index)])[0].fused)
            assert 0 < result.latency < 120
            assert result.labels is None
        assert stream.latest(timeout=0.01, after=result) is result
    statistics = stream.statistics
    assert (statistics.pushed, statistics.fused, statistics.dropped, statistics.failed) == (3, 3, 0, 0)
    assert statistics.latency > 0


def test_the_first_passes_of_a_size_are_not_the_longest(funet: GFFusionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """They load kernels, and capture a graph on a GPU."""
    latencies = [9, 8, 1, 2, 7, 6, 3]
    ticks = [tick for latency in latencies for tick in (0, latency)]
    monkeypatch.setattr(stream_module, "clock", SimpleNamespace(monotonic=lambda: ticks.pop(0)))
    longest = []
    with FusionStream(funet, load_image_processor("gffusion-funet")) as stream:
        for number in range(len(latencies)):
            images = frame_pair(number) if number < 4 else [image[:32] for image in frame_pair(number)]
            stream.push(*images, time=number)
            while stream.statistics.fused <= number:
                time.sleep(0.001)
            longest.append(stream.statistics.longest_latency)
    assert longest == [0, 0, 1, 2, 2, 2, 3]
    assert stream.statistics.latency == pytest.approx(36 / 7)


def test_newest_pair_wins(funet: GFFusionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first pair is fused, three come: only the last of them is fused next."""
    gate = Gate(monkeypatch)
    with FusionStream(funet, load_image_processor("gffusion-funet")) as stream:
        stream.push(*frame_pair(0), time=0)
        assert gate.started.acquire(timeout=120)
        for index in (1, 2, 3):
            stream.push(*frame_pair(index), time=index)  # returns at once
        gate.open.release()
        results = iter(stream)
        assert next(results).time == 0
        gate.open.release()
        last = next(results)
        assert (last.time, last.dropped) == (3, 2)
    assert list(results) == []
    assert (stream.statistics.pushed, stream.statistics.fused, stream.statistics.dropped) == (4, 2, 2)


@pytest.mark.parametrize("by_camera", [False, True])
def test_buffers_can_be_reused(funet: GFFusionModel, monkeypatch: pytest.MonkeyPatch, by_camera: bool) -> None:
    gate, processor, results = Gate(monkeypatch), load_image_processor("gffusion-funet"), []
    expected = [predict(funet, processor, [frame_pair(index)])[0].fused for index in range(4)]
    visible, infrared = frame_pair(0)
    with FusionStream(funet, processor) as stream:
        for index in range(4):
            visible[:], infrared[:] = frame_pair(index)
            if by_camera:
                stream.push_infrared(infrared, time=index)
                stream.push_visible(visible, time=index)
            else:
                stream.push(visible, infrared, time=index)
            visible[:], infrared[:] = frame_pair(9)  # while it waits or is fused
            gate.open.release()
            results.append(stream.latest(timeout=120, after=results[-1] if results else None))
    assert all(np.array_equal(result.fused, image) for result, image in zip(results, expected, strict=True))
    assert not any("identical" in note for result in results for note in result.notes)


def test_close_fuses_the_waiting_pair_and_ends_iteration(funet: GFFusionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    stream = FusionStream(funet, load_image_processor("gffusion-funet"))
    times: list[float] = []
    reader = threading.Thread(target=lambda: times.extend(result.time for result in stream))
    reader.start()
    stream.push(*frame_pair(0), time=0)
    gate.started.acquire(timeout=120)
    stream.push(*frame_pair(1), time=1)
    gate.open.release(2)
    stream.close()
    reader.join(timeout=120)
    assert times[-1] == 1
    latest = stream.latest()
    assert latest is not None
    assert latest.time == 1
    with pytest.raises(RuntimeError, match="closed"):
        stream.push(*frame_pair(2))


def test_an_unused_stream_ends(funet: GFFusionModel) -> None:
    stream = FusionStream(funet, load_image_processor("gffusion-funet"))
    stream.push(*frame_pair(0))
    assert stream.latest(timeout=120) is not None
    thread = stream._thread
    del stream
    gc.collect()
    thread.join(timeout=120)
    assert not thread.is_alive()


LEFT_OPEN = """
import atexit
atexit.register(lambda: print(stream.statistics.fused, stream._thread.is_alive()))  # after the exit functions of gffusion
import numpy as np
from gffusion import create_model, load_image_processor
from gffusion.video.stream import FusionStream
stream = FusionStream(create_model("gffusion-funet"), load_image_processor("gffusion-funet"))
stream.push(np.zeros((480, 640, 3), np.uint8), np.zeros((480, 640), np.uint8))
"""


def test_a_program_that_leaves_a_stream_open_ends_it(
    fork_script: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = fork_script(LEFT_OPEN)  # a thread within torch would abort it
    assert (done.returncode, done.stdout.split()) == (0, ["1", "False"]), done.stderr


@pytest.mark.parametrize(
    ("infrared", "message"),
    [
        (infrared_frame(0)[:20], 'the infrared image .* 20 .*`read_options`: .*align="resize"'),
        (np.zeros((48, 64), np.uint16), "^the infrared image has no measured pixel"),
        (infrared_frame(0).astype(np.float32), r'Pass infrared_range="percentile" .*or a range'),
    ],
)
def test_errors_name_what_streams_take(funet: GFFusionModel, infrared: NDArray[Any], message: str) -> None:
    """And neither the alignment nor the range that are refused."""
    with FusionStream(funet, load_image_processor("gffusion-funet")) as stream:
        stream.push(visible_frame(0), infrared)
        with pytest.raises(ValueError, match=message) as raised:
            stream.latest(timeout=120)
    assert '"auto"' not in str(raised.value) and '"folder"' not in str(raised.value)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("could not create a primitive")])
def test_memory_that_runs_out_is_reported_and_the_stream_goes_on(
    funet: GFFusionModel, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    with FusionStream(funet, load_image_processor("gffusion-funet")) as stream:
        with monkeypatch.context() as patch:
            patch.setattr(FrameFuser, "fuse", fail)
            stream.push(*frame_pair(0), time=0)
            with pytest.raises(MemoryError, match="not enough memory for this image"):
                stream.latest(timeout=120)
        stream.push(*frame_pair(1), time=1)
        result = stream.latest(timeout=120)
    assert result is not None and result.time == 1


def test_dropped_pairs_before_a_failure_count_for_the_next_result(
    funet: GFFusionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    gate.open.release(2)
    stream = FusionStream(funet, load_image_processor("gffusion-funet"))
    with stream._changed:  # the thread takes the newest pair only
        for index in (0, 1):
            stream.push(*frame_pair(index))
        stream.push(visible_frame(2), infrared_frame(2)[:20])
    with pytest.raises(ValueError, match="20"):
        stream.latest(timeout=120)
    stream.push(*frame_pair(3))
    stream.close()
    result = stream.latest()
    assert result is not None and result.dropped == 2
    assert (stream.statistics.dropped, stream.statistics.failed, stream.statistics.fused) == (2, 1, 1)


def test_notes_are_logged_once(funet: GFFusionModel, caplog: pytest.LogCaptureFixture) -> None:
    """Such as those on frames behind a shutter, of which dead ones fail; their numbers are no kind."""
    processor = load_image_processor("gffusion-funet", infrared_range="percentile")
    visible = visible_frame(0)
    with FusionStream(funet, processor) as stream:
        for number, value in enumerate((29315, 29420, 0, 65535)):
            stream.push(visible, np.full(visible.shape[:2], value, np.uint16), time=number)
            counts = stream.statistics
            while counts.fused + counts.failed <= number:
                time.sleep(0.001)
                counts = stream.statistics
    assert (counts.fused, counts.failed) == (2, 2)
    (warning,) = [record.message for record in caplog.records if "closed shutter" in record.message]
    assert warning.startswith("frame at 0.000 s: all infrared values are 29315")


@pytest.mark.parametrize("dead", [None, np.nan])
@pytest.mark.parametrize(
    ("is_new", "noted"),
    [
        (lambda number: number >= 3, [4, 5, 6, 7]),  # the third frame, after half a second
        (lambda number: False, [6, 7]),  # the camera of the newest frame stopped
        (lambda number: number == 3, [6, 7]),
    ],
)
def test_frozen_frames_are_noted(
    funet: GFFusionModel,
    caplog: pytest.LogCaptureFixture,
    is_new: Callable[[int], bool],
    noted: list[int],
    dead: float | None,
) -> None:
    """Pixels that a camera marks as not measured are the same, too."""
    first, last = (infrared_frame(index) / np.float32(255) if dead else infrared_frame(index) for index in (0, 8))
    first[5, 7] = dead or 0
    frames = [first]
    for number in range(1, 8):
        frames.append(frames[-1].copy() if is_new(number) else frames[-1])
    results = fuse_all(funet, zip(map(visible_frame, range(9)), [*frames, last], strict=True), rate=3)
    is_frozen = [any("frozen" in note for note in result.notes) for result in results]
    assert [number for number, value in enumerate(is_frozen) if value] == noted
    (warning,) = [record.message for record in caplog.records if "identical" in record.message]
    assert warning.startswith(f"frame at {noted[0] / 3:.3f} s: the infrared frames are identical since 0.000 s")


@pytest.mark.parametrize(("infrared_range", "dtype"), [("auto", "u2"), ("type", "u2"), ("auto", ">u2"), ("auto", "i8")])
def test_counts_that_will_look_flat_are_noted(
    funet: GFFusionModel, caplog: pytest.LogCaptureFixture, infrared_range: str, dtype: str
) -> None:
    """By the stream alone, for every pair; not if the range was chosen."""
    warning_once.cache_clear()
    visible, counts = visible_frame(0), infrared_frame(0).astype(np.uint16)
    pairs = [(visible, infrared.astype(dtype)) for infrared in (counts * 257, counts + 7000, counts + 7000)]
    results, is_noted = fuse_all(funet, pairs, infrared_range=infrared_range), infrared_range == "auto"
    is_flat = [any("will look flat" in note for note in result.notes) for result in results]
    assert is_flat == [False, is_noted, is_noted]
    assert [text[:17] for text in caplog.messages if "flat" in text] == ["frame at 1.000 s:"] * is_noted


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_visible_frames_of_few_bits_are_noted(
    funet: GFFusionModel, caplog: pytest.LogCaptureFixture, dtype: type[np.integer[Any]]
) -> None:
    """In every result, and logged once, whatever number of bits a frame uses."""
    pairs = [(visible_frame(0).astype(dtype) * factor, infrared_frame(0)) for factor in (257, 16, 8)]
    texts = [" ".join(result.notes) for result in fuse_all(funet, pairs)]
    assert "16 bits" not in texts[0] and "uses 12: " in texts[1] and "visible_range=(0, 2047)" in texts[2]
    assert [text[:17] for text in caplog.messages if "16 bits but uses" in text] == ["frame at 1.000 s:"]


def test_one_camera_given_as_both_is_noted(funet: GFFusionModel, caplog: pytest.LogCaptureFixture) -> None:
    """Once; dark and even frames look alike in all cameras."""
    same, visible = infrared_frame(0), visible_frame(0)
    pairs = [
        (np.zeros_like(same),) * 2,
        (np.full_like(same, 90),) * 2,
        (visible, same),
        (same, same),
        (same[..., None], same),
    ]
    is_noted = [any("show the same image" in note for note in result.notes) for result in fuse_all(funet, pairs)]
    assert is_noted == [False, False, False, True, True]
    assert [text[:17] for text in caplog.messages if "show the same image" in text] == ["frame at 3.000 s:"]


@pytest.mark.parametrize("jump", [1, 4])
def test_a_clock_that_is_set_freezes_no_frames(jump: int) -> None:
    """A slower camera repeats its array, and one frame is the same again."""
    frozen, infrared = FrozenFrames(), infrared_frame(0)
    for number in range(6):
        infrared = infrared.copy() if number == 3 else infrared
        moment = number / 25 + (3600 if number >= jump else 0)
        assert frozen.add(moment, visible_frame(number), infrared) == ()
    # The camera stopped, and the clock may be set back.
    assert frozen.add(moment + 1, visible_frame(6), infrared) and frozen.add(1.5, visible_frame(7), infrared)


def test_infrared_frames_of_another_type_are_refused(funet: GFFusionModel) -> None:
    """Such as degrees after counts; big-endian counts are the same type."""
    processor = load_image_processor("gffusion-funet", infrared_range="percentile", smooth_range=5)
    visible, counts = visible_frame(0), infrared_frame(0).astype(np.uint16)
    with FusionStream(funet, processor) as stream:
        stream.push(visible, counts)
        first = stream.latest(timeout=120)
        stream.push(visible, counts.astype(np.float32))
        with pytest.raises(ValueError, match=r"type of the infrared image changes from uint16 to float32.*convert all"):
            stream.latest(timeout=120, after=first)
        stream.push(visible, counts.astype(">u2"))
        assert stream.latest(timeout=120, after=first) is not first


def test_frames_of_each_camera_as_they_come(funet: GFFusionModel) -> None:
    """Every visible frame is fused with the newest infrared one, unless that is too old."""
    processor, result = load_image_processor("gffusion-funet"), None
    with FusionStream(funet, processor, max_age=0.5) as stream:
        stream.push_visible(visible_frame(0), time=0)  # nothing to fuse it with
        for time, infrared_time, source in ((1.0, 0.9, 1), (1.2, None, 1), (1.4, 1.45, 2)):
            if infrared_time is not None:
                stream.push_infrared(infrared_frame(source), time=infrared_time)
            stream.push_visible(visible_frame(3), time=time)
            result = stream.latest(timeout=120, after=result)
            assert result is not None and result.time == time
            assert result.infrared_age == pytest.approx(time - {1: 0.9, 2: 1.45}[source])
            expected = predict(funet, processor, [(visible_frame(3), infrared_frame(source))])[0].fused
            assert np.array_equal(result.fused, expected)
        for time, message in (
            (1.951, r"0\.501 s older than the visible one at 1\.951 s: the infrared camera is late"),
            (0, "1.450 s newer"),
        ):
            stream.push_visible(visible_frame(4), time=time)
            with pytest.raises(ValueError, match=message):
                stream.latest()
        stream.push_visible(visible_frame(4), time=1.949)
    counts = stream.statistics
    assert (counts.pushed, counts.fused, counts.dropped, counts.failed) == (7, 4, 1, 2)
    for push in (stream.push_visible, stream.push_infrared):
        with pytest.raises(RuntimeError, match="the stream is closed"):
            push(infrared_frame(0))
        with pytest.raises(ValueError, match="must be an array"):
            push(None)
    for age in (0, float("nan"), True, "2"):
        with pytest.raises(ValueError, match="`max_age` must be a positive number of seconds, got "):
            FusionStream(funet, processor, max_age=age)  # type: ignore[arg-type]
    FusionStream(funet, processor, max_age=np.float32(3)).close()  # type: ignore[arg-type]


def test_iteration_goes_on_after_a_pair_that_cannot_be_fused(funet: GFFusionModel) -> None:
    stream, times = FusionStream(funet, load_image_processor("gffusion-funet")), []
    results = iter(stream)
    stream.push(visible_frame(0), infrared_frame(0).astype(float))  # refused, and decides no type
    with pytest.raises(ValueError, match="must have values in"):
        next(results)
    stream.push(*frame_pair(1), time=1)
    times.append(next(results).time)
    stream.push(visible_frame(2), infrared_frame(2)[:20])
    with pytest.raises(ValueError, match="20"):
        next(results)
    stream.push(*frame_pair(3), time=3)
    stream.close()
    assert [*times, *(result.time for result in results)] == [1, 3]


def test_many_threads(funet: GFFusionModel) -> None:
    """Every pair is fused, dropped or failed, and times only grow for a reader of one camera."""
    stream = FusionStream(funet, load_image_processor("gffusion-funet"))
    readers_seen: list[list[int]] = [[], []]
    readers = [
        threading.Thread(target=lambda seen=seen: seen.extend(id(result) for result in stream)) for seen in readers_seen
    ]
    images = [frame_pair(index) for index in range(5)]
    writers = [
        threading.Thread(target=lambda: [(stream.push(*images[index % 5]), time.sleep(0.002)) for index in range(40)])
        for _ in range(3)
    ]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stream.close()
    for thread in readers:
        thread.join(timeout=120)
    statistics = stream.statistics
    assert statistics.pushed == 120
    assert statistics.fused + statistics.dropped == 120
    assert all(0 < len(seen) <= statistics.fused for seen in readers_seen)


def test_smoothing_and_alignment(funet: GFFusionModel) -> None:
    """A hot object that enters changes the rest far less with smoothing."""
    counts = [np.tile(np.arange(32, dtype=np.uint16), (24, 1)) * 4 + 7000 for _ in range(2)]
    counts[1][10:20, 5:15] = 7600
    jumps = []
    for frames in (0, 10):
        processor = load_image_processor("gffusion-funet", infrared_range="percentile", smooth_range=frames)
        levels = []
        with FusionStream(funet, processor, ReadOptions(align="resize")) as stream:
            for number, frame in enumerate(counts):
                stream.push(np.full((48, 64, 3), 90, np.uint8), frame, time=number)
                while (result := stream.latest(timeout=120)) is None or result.time != number:
                    time.sleep(0.001)
                levels.append(result.fused[:16].mean())
        jumps.append(abs(levels[1] - levels[0]))
    assert jumps[0] > 1.8 * jumps[1]
