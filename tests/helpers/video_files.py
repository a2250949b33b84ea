"""Videos that are rendered for tests: a marker moves, so that its position gives the number of the frame."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 48, 64
RATE = 25


def background(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Return a smooth random image (H, W, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 160, (-(-height // 8), -(-width // 8), 3))
    return np.kron(coarse, np.ones((8, 8, 1)))[:height, :width].astype(np.uint8)


def visible_frame(index: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Return frame `index` of the visible video: a white block at `marker_column(index)` in the upper half."""
    image = background(1, height, width)
    image[4:14, marker_column(index, width) :][:, :6] = 255
    return image


def infrared_frame(index: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Return frame `index` of the infrared video: a hot block at `marker_column(index)` in the lower half."""
    image = background(2, height, width)[..., 0]
    image[height - 16 : height - 6, marker_column(index, width) :][:, :6] = 255
    return image


def frame_pair(index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return visible_frame(index), infrared_frame(index)


def marker_column(index: int, width: int = WIDTH) -> int:
    """Return the first column of the markers in frame `index`."""
    return 2 + 3 * index % (width - 10)


def find_marker(rows: NDArray[Any]) -> int:
    """Return the first column of the brightest block of 6 columns in rows (h, W) or (h, W, 3)."""
    levels = rows.astype(float)
    levels = levels.mean(axis=-1) if levels.ndim == 3 else levels
    sums = np.convolve(levels.mean(axis=0), np.ones(6), mode="valid")
    return int(sums.argmax())


def find_markers(fused: NDArray[Any]) -> tuple[int, int]:
    """Return the first columns of the visible and the infrared marker."""
    height = fused.shape[0]
    return find_marker(fused[4:14]), find_marker(fused[height - 16 : height - 6])


def write_video(
    path: Path,
    frames: Iterable[NDArray[Any]],
    times: Sequence[Fraction | float] | None = None,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: Fraction | int = RATE,
    audio_seconds: float = 0,
    time_base: Fraction = Fraction(1, 12800),
    rotation: int = 0,
    prepare: Callable[[Any], None] = lambda stream: None,
) -> Path:
    """Write frames (H, W) or (H, W, 3), at even times by default, with a tone as audio."""
    with av.open(str(path), "w") as container:
        options = {"crf": "8", "preset": "ultrafast"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.pix_fmt = pixels
        stream.codec_context.time_base = time_base
        if rotation:
            stream.set_display_rotation(rotation)
        prepare(stream)
        sound = container.add_stream("aac", rate=16000, layout="mono") if audio_seconds else None
        for index, image in enumerate(frames):
            if image.dtype == np.uint16:
                frame = av.VideoFrame.from_ndarray(image, pixels)
            else:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "gray" if image.ndim == 2 else "rgb24")
                frame = frame.reformat(format=pixels)
            if not stream.codec_context.is_open:
                stream.height, stream.width = image.shape[:2]
            time = Fraction(index) / rate if times is None else Fraction(times[index])
            frame.pts, frame.time_base = round(time / time_base), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            write_tone(container, sound, audio_seconds)
    return path


def write_tone(container: Any, stream: Any, seconds: float) -> None:
    """Encode a tone of 440 Hz."""
    count = int(seconds * 16000) // 1024
    for block in range(count):
        samples = np.sin(2 * np.pi * 440 * (np.arange(1024) + 1024 * block) / 16000).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(0.3 * samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 1024 * block
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def write_pair(folder: Path, count: int = 10, **options: Any) -> tuple[Path, Path]:
    """Write visible.mp4 and infrared.mp4 of `count` frames; `options` are those of the visible video."""
    visible = write_video(folder / "visible.mp4", map(visible_frame, range(count)), **options)
    return visible, write_video(folder / "infrared.mp4", map(infrared_frame, range(count)))


def write_frames(folder: Path, frames: Sequence[NDArray[Any]], pixels: str) -> tuple[Path, Path]:
    """Write infrared frames without loss to infrared.mkv, and a visible video of as many frames of their size."""
    visible = [visible_frame(index, *frames[0].shape[:2]) for index in range(len(frames))]
    infrared = write_video(folder / "infrared.mkv", frames, codec="ffv1", pixels=pixels)
    return write_video(folder / "visible.mp4", visible), infrared


def write_repeats(path: Path, milliseconds: Iterable[int], key_time: int | None = None) -> Path:
    """Write a WebM file of one VP9 frame at time 0, which is shown again at other times by packets of one byte.

    At `key_time`, if given, the frame is stored again, so that a reader can start there.
    """
    with av.open(str(path), "w", format="webm") as container:
        stream = container.add_stream("libvpx-vp9", rate=RATE)
        stream.height, stream.width = HEIGHT, WIDTH
        encoded = stream.encode(av.VideoFrame.from_ndarray(visible_frame(0), "rgb24")) + stream.encode(None)
        stored = bytes(encoded[0])
        for packet in encoded:
            container.mux(packet)
        for time in milliseconds:
            is_key = time == key_time
            packet = av.Packet(stored if is_key else bytes([0x88]))  # show_existing_frame
            packet.stream, packet.time_base, packet.pts, packet.dts = stream, Fraction(1, 1000), time, time
            packet.is_keyframe = is_key
            container.mux(packet)
    return path


def read_frames(path: Path) -> tuple[list[NDArray[Any]], list[Fraction]]:
    """Return the decoded frames as RGB or gray images, and their times."""
    images, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            images.append(frame.to_ndarray(format="gray" if frame.format.name == "gray" else "rgb24"))
            times.append(frame.pts * frame.time_base)
    return images, times


def read_columns(path: Path) -> list[tuple[int, int]]:
    """Return the columns of the visible and of the infrared marker in every frame."""
    return [find_markers(image) for image in read_frames(path)[0]]


def read_audio(path: Path) -> list[tuple[Fraction, bytes]]:
    """Return the times and contents of the audio packets."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio)
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in packets if packet.pts is not None]


def assert_paired(path: Path, visible_times: Sequence[Fraction], infrared_times: Sequence[Fraction]) -> None:
    """Check that a fused video has every visible frame, each with an infrared one that is nearest in time, but for rounding."""
    found = read_columns(path)
    assert [seen for seen, _ in found] == [marker_column(index) for index in range(len(visible_times))]
    for time, (_, hot) in zip(visible_times, found, strict=True):
        distances = {other: abs(time - infrared) for other, infrared in enumerate(infrared_times)}
        latest = min(distances.values()) + Fraction(1, 5000)
        assert hot in {marker_column(other) for other, distance in distances.items() if distance <= latest}


def assert_equal_videos(path: Path, expected: Path) -> None:
    """Check that two videos have the same times, audio and frames."""
    (frames, times), (expected_frames, expected_times) = read_frames(path), read_frames(expected)
    assert times == expected_times
    assert read_audio(path) == read_audio(expected)
    differences = [int(np.abs(a.astype(int) - b).max()) for a, b in zip(frames, expected_frames, strict=True)]
    wrong = {index: difference for index, difference in enumerate(differences) if difference}
    assert not wrong, f"largest differences in gray levels of frames {wrong}, of {len(frames)}"
