"""An interrupted run leaves nothing under the final name, and the same call continues after the finished segments."""

import ctypes
import errno
import inspect
import json
import os
import platform
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from interruptions import Stop, interrupt
from video_files import (
    RATE,
    assert_equal_videos,
    infrared_frame,
    marker_column,
    read_columns,
    read_frames,
    visible_frame,
    write_frames,
    write_pair,
    write_video,
)

from gffusion import create_model
from gffusion.cameras.palettes import load_palettes
from gffusion.data import ReadOptions
from gffusion.video.formats import LABEL_FORMAT, OUTPUT_FORMATS, OutputFormat
from gffusion.video.fusing import fuse_video
from gffusion.video.jobs import VideoJob
from gffusion.video.segments import SegmentEncoder, SegmentFolder, VideoSettings, explain_write_error
from gffusion.zoo import load_image_processor

SEGMENT_FRAMES = 24  # fewer than usual
M_PERTURB = -6  # of malloc.h: fill new memory with the complement of a byte
SMOOTH = {"infrared_range": "percentile", "smooth_range": 30}


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gffusion.video.fusing.SEGMENT_FRAMES", SEGMENT_FRAMES)


@pytest.mark.usefixtures("short_segments")
def test_resumed_result_equals_that_of_one_run(tmp_path: Path, fuse: Callable) -> None:
    """With a range that is smoothed over the interruption; the finished segments are not fused again."""
    folder = tmp_path / "once"
    folder.mkdir()
    count = 2 * SEGMENT_FRAMES + 6
    visible, infrared = write_pair(tmp_path, count, audio_seconds=2)
    gains = np.linspace(0.3, 1, count)  # so that frames differ by 40 levels if the range is lost
    write_video(infrared, ((infrared_frame(index) * gain).astype(np.uint8) for index, gain in enumerate(gains)))
    expected, _ = fuse(visible, infrared, "once/fused.mp4", infrared_options=SMOOTH)
    for end in (SEGMENT_FRAMES - 10, SEGMENT_FRAMES + 10, 2 * SEGMENT_FRAMES + 2):
        interrupt(fuse, visible, infrared, after=end, infrared_options=SMOOTH)
        assert not (tmp_path / "fused.mp4").exists()
    assert (tmp_path / ".fused.mp4.parts").stat().st_mode & 0o077 == 0  # others cannot put links there
    seen: list[int] = []
    path, report = fuse(visible, infrared, infrared_options=SMOOTH, progress=lambda done, total: seen.append(done))
    assert (report.frames, report.resumed) == (count, 2 * SEGMENT_FRAMES)
    assert seen[0] == 2 * SEGMENT_FRAMES + 1
    assert_equal_videos(path, expected)  # tells which frames differ
    assert path.read_bytes() == expected.read_bytes()
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["fused.mp4", "infrared.mp4", "once", "visible.mp4"]


@pytest.mark.usefixtures("short_segments")
def test_resuming_where_a_clock_starts_anew(tmp_path: Path, fuse: Callable) -> None:
    half = 30
    parts = [
        write_video(tmp_path / f"{start}.ts", map(visible_frame, range(start, start + half))) for start in (0, half)
    ]
    visible = tmp_path / "joined.ts"
    visible.write_bytes(b"".join(part.read_bytes() for part in parts))
    infrared = write_video(tmp_path / "infrared.mkv", map(infrared_frame, range(2 * half)))
    expected, report = fuse(visible, infrared, "expected.mp4")
    assert read_columns(expected) == [(marker_column(index),) * 2 for index in range(2 * half)]
    for end in (SEGMENT_FRAMES + 3, 2 * SEGMENT_FRAMES + 3):  # before and after
        interrupt(fuse, visible, infrared, after=end)
    path, resumed = fuse(visible, infrared)
    assert (resumed.resumed, resumed.notes) == (2 * SEGMENT_FRAMES, report.notes)
    assert path.read_bytes() == expected.read_bytes()


@pytest.mark.usefixtures("short_segments")
def test_resuming_between_visible_frames_of_one_infrared_frame(tmp_path: Path, fuse: Callable) -> None:
    """It does not move the smoothed range again."""
    visible = write_video(tmp_path / "visible.mp4", map(visible_frame, range(SEGMENT_FRAMES + 10)))
    frames = [(infrared_frame(index) * (0.3 + 0.1 * index)).astype(np.uint8) for index in range(7)]
    infrared = write_video(tmp_path / "infrared.mkv", frames, codec="ffv1", pixels="gray", rate=5)
    expected, _ = fuse(visible, infrared, "expected.mp4", infrared_options=SMOOTH)
    interrupt(fuse, visible, infrared, after=SEGMENT_FRAMES + 3, infrared_options=SMOOTH)
    path, report = fuse(visible, infrared, infrared_options=SMOOTH)
    assert report.resumed == SEGMENT_FRAMES
    assert_equal_videos(path, expected)
    assert path.read_bytes() == expected.read_bytes()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="new memory is filled by glibc")
@pytest.mark.parametrize(("height", "width"), [(160, 272), (240, 320)])
@pytest.mark.parametrize("output", [OUTPUT_FORMATS[".mp4"], OUTPUT_FORMATS[".webm"], LABEL_FORMAT])
def test_encoders_do_not_depend_on_what_memory_held(
    tmp_path: Path, output: OutputFormat, height: int, width: int
) -> None:
    """Files of x264 did with AVX-512, at widths that are no multiple of 128: resumed videos then differed from those of one run."""
    images = [(visible_frame(index, height, width) * (0.5 + index / 60)).astype(np.uint8) for index in range(30)]
    settings = VideoSettings(Fraction(1, 12800), Fraction(RATE))
    mallopt, files = ctypes.CDLL(None).mallopt, set()
    for value in (0x00, 0xFE):  # the latter are motion vectors that point into the image from behind its right edge
        try:
            mallopt(M_PERTURB, value ^ 0xFF)
            encoder = SegmentEncoder(tmp_path / "segment.nut", output, settings, (height, width))
            for index, image in enumerate(images):
                shown = image[..., 0] if output is LABEL_FORMAT else image
                encoder.write(shown, Fraction(index, RATE), Fraction(1, RATE))
            encoder.close()
        finally:
            mallopt(M_PERTURB, 0)
        files.add(encoder.path.read_bytes())
    assert len(files) == 1


@pytest.mark.usefixtures("short_segments")
def test_a_change_of_the_palette_is_seen_after_an_interruption(tmp_path: Path, fuse: Callable) -> None:
    """Also if only the frames are dark from which the palette of a video is chosen."""
    size, count = (96, 128), SEGMENT_FRAMES + 16
    palettes = [load_palettes()[name].astype(np.uint8) for name in ("jet", "inferno")]
    ramp = np.add.outer(np.arange(size[0]), np.arange(size[1]))
    frames = [palettes[index >= SEGMENT_FRAMES][(ramp + index) % 256] * (index % 4 == 0) for index in range(count)]
    visible, infrared = write_frames(tmp_path, frames, "bgr0")
    interrupt(fuse, visible, infrared, after=SEGMENT_FRAMES + 2)
    report = fuse(visible, infrared)[1]
    assert (report.resumed, report.failures) == (SEGMENT_FRAMES, 4)
    assert "the palette of" in report.errors[0]


@pytest.mark.usefixtures("short_segments")
@pytest.mark.parametrize("rate", [RATE, 9])
def test_frozen_frames_are_noted_over_an_interruption(tmp_path: Path, fuse: Callable, rate: int) -> None:
    """As without it: once, with the time since when they are identical, also if this was noted before."""
    frozen, end, count = 0.8, 2.4, 70  # from before the end of the first segment to after that of the second
    visible = write_video(tmp_path / "visible.mp4", map(visible_frame, range(count)))
    times = [index / rate for index in range(3 * rate)]
    shown = [frozen if frozen <= time < end else time for time in times]
    frames = [infrared_frame(round(100 * time)) for time in shown]
    infrared = write_video(tmp_path / "infrared.mkv", frames, codec="ffv1", pixels="gray", rate=rate)
    expected = fuse(visible, infrared, "once.mp4")[1].notes
    assert ["since 0.8" in note for note in expected if "frames are identical since" in note] == [True]
    for segments in (1, 2):
        interrupt(fuse, visible, infrared, after=segments * SEGMENT_FRAMES + 2)
        report = fuse(visible, infrared)[1]
        assert (report.resumed, report.notes) == (segments * SEGMENT_FRAMES, expected)


def test_each_segment_has_its_own_tokens(
    tmp_path: Path, fuse: Callable, tiny_model: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a run which is continued after a segment gives the same frames."""
    monkeypatch.setattr("gffusion.video.fusing.SEGMENT_FRAMES", 4)
    model = tiny_model(paradigm="hybrid", use_segmenter=False).eval()
    report = fuse(*write_pair(tmp_path, 10), model=model, semantic_every=100)[1]
    assert (report.frames, report.refreshed) == (10, 3)


def keep_segments(monkeypatch: pytest.MonkeyPatch, run: Callable[[], Any]) -> None:
    """Stop a run before its segments of 4 frames are joined."""

    def fail_to_join(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(f"cannot write {path}")

    monkeypatch.setattr("gffusion.video.fusing.SEGMENT_FRAMES", 4)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="cannot write"):
        patch.setattr("gffusion.video.fusing.join_segments", fail_to_join)
        run()


@pytest.mark.parametrize(
    "options", [{"infrared_options": {"invert": True}}, {"read_options": ReadOptions(keep_borders=True)}, {}]
)
def test_other_options_start_anew(
    tmp_path: Path, fuse: Callable, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """And replace no file of another run, if files are to be kept."""
    visible, infrared = write_pair(tmp_path, 6)
    keep_segments(monkeypatch, lambda: fuse(visible, infrared))
    (tmp_path / "fused.mp4").write_bytes(b"an older result")
    if options:
        with pytest.raises(ValueError, match=r"fused\.mp4 exists, and no run with these .*--overwrite"):
            fuse(visible, infrared, overwrite=False, **options)
        assert (tmp_path / "fused.mp4").read_bytes() == b"an older result"
    report = fuse(visible, infrared, overwrite=bool(options), **options)[1]
    assert (report.frames, report.resumed) == (6, 0 if options else 6)


def test_every_argument_that_changes_frames_is_in_the_plan(
    tmp_path: Path, fuse: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run would otherwise mix frames of two options."""
    keep_segments(monkeypatch, lambda: fuse(*write_pair(tmp_path, 6)))
    plan = json.loads((tmp_path / ".fused.mp4.parts" / "plan.json").read_text())
    other_names = {
        **dict.fromkeys(("job", "visible_fps", "infrared_fps"), "inputs"),
        "image_processor": "infrared",
        "read_options": "read",
    }
    of_files_alone = {"keep_metadata", "keep_audio", "overwrite", "progress", "on_read"}
    arguments = set(inspect.signature(fuse_video).parameters) - of_files_alone
    missing = {name for name in arguments if other_names.get(name, name) not in plan}
    assert not missing, (
        f"add {missing} to `_VideoRun.describe` in gffusion/video/fusing.py, or here if frames do not depend on it"
    )


def test_an_early_interruption_leaves_nothing(tmp_path: Path, fuse: Callable) -> None:
    visible, infrared = write_pair(tmp_path, 10)
    (tmp_path / "fused.mp4").write_bytes(b"an older result")
    interrupt(fuse, visible, infrared, after=5)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["fused.mp4", "infrared.mp4", "visible.mp4"]
    assert (tmp_path / "fused.mp4").read_bytes() == b"an older result"


def test_a_full_disk_keeps_finished_segments_only(
    tmp_path: Path, fuse: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    visible, infrared = write_pair(tmp_path, 10)
    monkeypatch.setattr("gffusion.video.fusing.SEGMENT_FRAMES", 4)
    folder, write = tmp_path / ".fused.mp4.parts", SegmentEncoder.write

    def fill(encoder: SegmentEncoder, *arguments: Any) -> None:
        write(encoder, *arguments)
        if encoder.path.name == "fused-000001.nut":
            raise explain_write_error(av.error.OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), encoder.path)

    with monkeypatch.context() as patch, pytest.raises(OSError, match=r"cannot write .*fused-000001\.nut") as caught:
        patch.setattr(SegmentEncoder, "write", fill)
        fuse(visible, infrared)
    assert caught.value.errno == errno.ENOSPC
    assert sorted(file.name for file in folder.iterdir()) == ["fused-000000.nut", "plan.json", "state-000000.json"]
    assert getattr(caught.value, "finished_frames", None) == 4
    report = fuse(visible, infrared)[1]
    assert (report.frames, report.resumed) == (10, 4)
    assert not folder.exists()


def test_a_segment_that_is_marked_as_complete_is_kept(
    tmp_path: Path, fuse: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if Ctrl-C comes just after its mark was written."""
    visible, infrared = write_pair(tmp_path, 6)
    finish = SegmentFolder.finish

    def interrupt(*arguments: Any) -> None:
        finish(*arguments)
        raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(SegmentFolder, "finish", interrupt)
        fuse(visible, infrared)
    assert (tmp_path / ".fused.mp4.parts" / "fused-000000.nut").exists()
    report = fuse(visible, infrared)[1]
    assert (report.frames, report.resumed) == (6, 6)


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def count_more(file: Path) -> None:
    file.write_text(file.read_text().replace('"frames": 4', '"frames": 5'))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((name, damage) for name in ("fused-000001.nut", "state-000001.json") for damage in (Path.unlink, halve, flip_a_bit)),
        ("state-000001.json", lambda file: file.write_text("[" * 100_000)),
        ("state-000001.json", lambda file: file.write_text("{}")),
        ("state-000001.json", count_more),
        ("state-000001.json", lambda file: file.write_bytes(file.read_bytes().rpartition(b"\n")[0])),  # of an older version
    ],
)  # fmt: skip
def test_damaged_segments_are_fused_again(
    tmp_path: Path, fuse: Callable, monkeypatch: pytest.MonkeyPatch, name: str, damage: Callable[[Path], Any]
) -> None:
    """And those after them, with a note."""
    visible, infrared = write_pair(tmp_path, 10)
    keep_segments(monkeypatch, lambda: fuse(visible, infrared))
    damage(tmp_path / ".fused.mp4.parts" / name)
    path, report = fuse(visible, infrared)
    assert (report.frames, report.resumed) == (10, 4)
    assert re.match(
        r"\d of \d finished segments in .* fused again, .* missing, damaged or of an older version$", report.notes[0]
    )
    assert_equal_videos(path, fuse(visible, infrared, "once.mp4")[0])


def change_nothing(file: Path) -> None:
    """Leave the plan as it is, so that the options differ from it."""


@pytest.mark.parametrize("damage", [halve, flip_a_bit, lambda file: file.write_bytes(b""), change_nothing])
def test_finished_segments_of_another_or_a_damaged_plan_are_noted(
    tmp_path: Path, fuse: Callable, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], Any]
) -> None:
    """Because hours of work can be lost."""
    visible, infrared = write_pair(tmp_path, 10)
    keep_segments(monkeypatch, lambda: fuse(visible, infrared, infrared_options={"invert": damage is change_nothing}))
    damage(tmp_path / ".fused.mp4.parts" / "plan.json")
    path, report = fuse(visible, infrared)
    assert (report.frames, report.resumed) == (10, 0)
    assert re.match(
        r"3 of 3 finished segments in .* fused again, .* of other .*, or plan\.json there is damaged$", report.notes[0]
    )
    once, report = fuse(visible, infrared, "once.mp4")
    assert "again" not in str(report.notes) and path.read_bytes() == once.read_bytes()


def test_a_segment_needs_all_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / name for name in ("fused.mp4", "labels.mkv", "overlay.mp4")]
    job = VideoJob(*write_pair(tmp_path, 10), *paths)
    model, processor = create_model("gffusion-tiny"), load_image_processor("gffusion-tiny")
    keep_segments(monkeypatch, lambda: fuse_video(job, model, processor))
    (job.folder / "labels-000002.nut").unlink()
    assert fuse_video(job, model, processor).resumed == 8
    assert [len(read_frames(path)[1]) for path in paths] == [10, 10, 10]


def test_a_file_that_is_removed_during_a_run_is_named(
    tmp_path: Path, fuse: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same call fuses its frames again."""
    visible, infrared = write_pair(tmp_path, 6)
    monkeypatch.setattr("gffusion.video.fusing.SEGMENT_FRAMES", 4)
    finish = SegmentFolder.finish

    def lose(folder: SegmentFolder, *arguments: Any) -> None:
        finish(folder, *arguments)
        folder.name("fused", 0).unlink(missing_ok=True)

    with monkeypatch.context() as patch, pytest.raises(FileNotFoundError, match=r"fused-000000\.nut was removed"):
        patch.setattr(SegmentFolder, "finish", lose)
        fuse(visible, infrared)
    path, report = fuse(visible, infrared)
    assert report.resumed == 0 and len(read_frames(path)[1]) == 6


@pytest.mark.parametrize("is_link", [True, False])
def test_planted_folders_are_refused(tmp_path: Path, fuse: Callable, is_link: bool) -> None:
    """Links in a folder of another user could lead to any file of this user."""
    visible, infrared = write_pair(tmp_path, 2)
    path, victim = tmp_path / ".fused.mp4.parts", tmp_path / "victim"
    victim.mkdir()
    if is_link:
        path.symlink_to(victim)
    else:
        path.mkdir()
        if os.geteuid() != 0:
            pytest.skip("only root can give a folder to another user")
        os.chown(path, 1234, 1234)
    with pytest.raises(ValueError, match="is a link" if is_link else "belongs to another user"):
        fuse(visible, infrared)
    assert not list(victim.iterdir()) and not (tmp_path / "fused.mp4").exists()


def test_other_folders_are_left_alone(tmp_path: Path, fuse: Callable) -> None:
    visible, infrared = write_pair(tmp_path, 2)
    (tmp_path / ".fused.mp4.parts").mkdir()
    (tmp_path / ".fused.mp4.parts" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not a folder of finished segments"):
        fuse(visible, infrared)
    assert (tmp_path / ".fused.mp4.parts" / "notes.txt").read_text() == "mine"
