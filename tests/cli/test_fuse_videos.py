"""`gffusion fuse` of two videos."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av", reason='videos need PyAV: pip install "gffusion[video]"')

from environments import make_environment
from video_files import find_markers, marker_column, read_audio, read_frames, write_pair

from gffusion.data import ReadOptions
from gffusion.video.fuser import FrameFuser
from gffusion.video.jobs import VideoJob, VideoReport
from gffusion.video.recording import Recorder
from gffusion.video.segments import SEGMENT_FRAMES

FUSE = "fuse visible.mp4 infrared.mp4 -o fused.mp4 --model gffusion-funet"


@pytest.fixture
def clips(cwd: Path) -> Path:
    """Write visible.mp4 and infrared.mp4 of 8 frames into the current folder."""
    write_pair(cwd, 8, audio_seconds=0.5)
    return cwd


def test_process(gffusion_process: Callable, gffusion: Callable, clips: Path) -> None:
    """As a shell runs it; a second run has nothing to do."""
    words = FUSE.split()
    words[1:5] = [clips / words[1], clips / words[2], "-o", clips / "fused.mp4"]
    outcome = gffusion_process(*words)
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert outcome.out.startswith("fused 8 frames in ")
    images, times = read_frames(clips / "fused.mp4")
    assert [find_markers(image) for image in images] == [(marker_column(index),) * 2 for index in range(8)]
    assert times == read_frames(clips / "visible.mp4")[1]
    assert read_audio(clips / "fused.mp4") == read_audio(clips / "visible.mp4")
    outcome = gffusion(*words)
    assert (outcome.exit_code, outcome.out[:14]) == (0, "nothing to do:")
    report = json.loads(gffusion(*words, "--json").out)
    assert (report["fused"], report["skipped"], report["output"]) == (0, 1, str(clips / "fused.mp4"))
    assert any("exists (model and options are not compared)" in note for note in report["notes"])
    assert gffusion(*words, "--strict").exit_code == 0


@pytest.mark.processes
@pytest.mark.slow
def test_interrupted_process(tmp_path: Path) -> None:
    """Ctrl-C after the first segment: exit code 130, no half file, and the same command finishes."""
    write_pair(tmp_path, 4 * SEGMENT_FRAMES)
    command = [sys.executable, "-m", "gffusion", *FUSE.split(), "--device", "cpu"]
    running = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=make_environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # which shells ignore for commands that end in &
    )
    state = tmp_path / ".fused.mp4.parts" / "state-000000.json"
    started = time.monotonic()
    while not state.exists() and time.monotonic() < started + 120:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    error = running.communicate(timeout=300)[1]
    assert running.returncode == 130
    assert re.search(r"interrupted; the same command continues after the \d+ frames that are finished", error)
    assert sorted(file.name for file in tmp_path.glob("*.mp4")) == ["infrared.mp4", "visible.mp4"]
    done = subprocess.run(command, cwd=tmp_path, env=make_environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert "were fused before" in done.stdout
    images, _ = read_frames(tmp_path / "fused.mp4")
    assert [find_markers(image)[1] for image in images] == [marker_column(index) for index in range(4 * SEGMENT_FRAMES)]


def test_options_of_images(gffusion: Callable, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option changes the arguments of [`fuse_video`] that it names, and no others."""
    rows: list[tuple[str, dict[str, Any]]] = [
        ("", {}),
        ("--infrared-range percentile --smooth-range 5", {"infrared_range": "percentile", "smooth_range": 5}),
        ("--infrared-range folder", {"infrared_range": "folder"}),
        ("--infrared-range 255,0", {"infrared_range": [255, 0]}),
        ("--invert --agc plateau --plateau-limit 2", {"invert": True, "agc": "plateau", "plateau_limit": 2}),
        ("--agc clahe", {"agc": "clahe"}),
        ("--max-pixels 4000", {"max_pixels": 4000}),
        ("--align resize --crop", {"align": "resize", "crop": True}),
        ("--align resize --reference infrared", {"align": "resize", "reference": "infrared"}),
        ("--keep-borders --infrared-luma", {"keep_borders": True, "infrared_luma": True}),
        ("--no-metadata --dtype bfloat16", {"keep_metadata": False, "dtype": "torch.bfloat16"}),
        ("--batch-size 3 --semantic-every 4", {"batch_size": 3, "semantic_every": 4}),
        ("--time-offset 0.04 --no-audio", {"time_offset": 0.04, "keep_audio": False}),
        ("--overwrite", {"overwrite": True}),
    ]
    given: list[dict[str, Any]] = []

    def record(
        job: VideoJob, model: Any, processor: Any, read_options: ReadOptions, *, progress: Any, **options: Any
    ) -> VideoReport:
        infrared = vars(processor.infrared_options)
        given.append({"dtype": str(model.dtype), **infrared, **vars(read_options), **options})
        return VideoReport()

    monkeypatch.setattr("gffusion.video.fusing.fuse_video", record)
    for options, expected in rows:
        outcome = gffusion(*FUSE.split(), *options.split())
        assert outcome.exit_code == 0, outcome.err
        assert {name: value for name, value in given[-1].items() if value != given[0][name]} == expected


def test_segment(gffusion: Callable, clips: Path) -> None:
    """Label maps are lossless, next to an overlay; CLIP's features are computed for few frames."""
    command = "fuse visible.mp4 infrared.mp4 -o out --segment --model gffusion-tiny --semantic-every 4"
    outcome = gffusion(*command.split())
    assert outcome.exit_code == 0, outcome.err
    assert "CLIP's features computed" in outcome.out
    names = ["visible.mp4", "visible_labels.mkv", "visible_overlay.mp4"]
    assert sorted(file.name for file in (clips / "out").iterdir()) == names
    labels, times = read_frames(clips / "out" / names[1])
    assert {image.ndim for image in labels} == {2}
    assert max(image.max() for image in labels) < 4
    assert len(times) == len(read_frames(clips / "out" / names[2])[0]) == 8


def test_some_outputs_exist(gffusion: Callable, clips: Path) -> None:
    """The fused video is replaced with `--overwrite` only; segments of another run change nothing."""
    (clips / "fused.mp4").write_bytes(b"an older result")
    command = [*FUSE.replace("gffusion-funet", "gffusion-tiny").split(), "--segment"]
    for options in ([], ["--dry-run"]):
        outcome = gffusion(*command, *options)
        assert (outcome.exit_code, outcome.out, (clips / "fused.mp4").read_bytes()) == (2, "", b"an older result")
        message = "fused.mp4 exists but fused_labels.mkv, fused_overlay.mp4 does not, .*: pass --overwrite, or choose"
        assert re.search(message, outcome.err)
    (clips / ".fused.mp4.parts").mkdir()
    (clips / ".fused.mp4.parts" / "plan.json").write_text("{}")
    outcome = gffusion(*command)
    assert outcome.exit_code == 2 and "no run with these inputs and options was interrupted" in outcome.err
    assert (clips / "fused.mp4").read_bytes() == b"an older result"
    assert gffusion(*command, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.nut"), 1, "cannot write x.nut: the disk is full; the same command continues after the 4 frames that are finished when there is room"),
        (OSError("cannot read the video"), 1, "cannot read the video; the same command continues after the 4 frames that are finished"),
        (KeyboardInterrupt(), 130, "interrupted; the same command continues after the 4 frames that are finished"),
    ],
)  # fmt: skip
def test_what_is_kept_is_said(
    gffusion: Callable, clips: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, expected: str
) -> None:
    """Segments of a run with other options are not counted, if it is stopped before it looks for them, and stay."""

    def fail(self: Recorder, *arguments: Any) -> None:
        if self._index == 1:
            raise error
        write(self, *arguments)

    def fail_early(*_: Any) -> None:
        raise type(error)(*error.args)

    write = Recorder.write
    monkeypatch.setattr("gffusion.video.fusing.SEGMENT_FRAMES", 4)
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "write", fail)
        outcome = gffusion(*FUSE.split(), "--json")
    report = json.loads(outcome.out)
    assert (outcome.exit_code, report["exit_code"]) == (code, code)
    assert outcome.err.strip().endswith(expected)
    with monkeypatch.context() as patch:
        patch.setattr("gffusion.video.fusing.VideoPair.probe", fail_early)
        outcome = gffusion(*FUSE.split(), "--invert")
    assert outcome.exit_code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert "same command" not in outcome.err
    assert json.loads(gffusion(*FUSE.split(), "--json").out)["resumed"] == 4


def test_an_early_interruption_is_said_to_start_anew(
    gffusion: Callable, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "write", fail)
    outcome = gffusion(*FUSE.split())
    assert outcome.exit_code == 130
    assert "interrupted; no segment was finished, so the same command starts anew" in outcome.err


def test_an_interrupted_replacement_is_kept(gffusion: Callable, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command without `--overwrite` keeps the file and the segments, and `--overwrite` continues."""

    def fail(path: Path, *_: object, **__: object) -> None:
        raise OSError(f"cannot write {path}")

    assert gffusion(*FUSE.split()).exit_code == 0
    older = (clips / "fused.mp4").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("gffusion.video.fusing.join_segments", fail)
        assert gffusion(*FUSE.split(), "--invert", "--overwrite").exit_code == 1
    outcome = gffusion(*FUSE.split(), "--invert")
    assert outcome.exit_code == 0
    assert (
        "fused.mp4 exists (model and options are not compared), and --overwrite was not given; a run that was to replace it was interrupted"
        in outcome.out
    )
    assert (clips / "fused.mp4").read_bytes() == older
    outcome = gffusion(*FUSE.split(), "--invert", "--overwrite")
    assert "8 were fused before" in outcome.out


@pytest.mark.parametrize("as_json", [True, False])
def test_strict(gffusion: Callable, clips: Path, as_json: bool) -> None:
    """Frames without a partner are a fault; a measured range is none. An empty file is no result."""
    command = (*FUSE.split(), "--infrared-range", "folder", "--strict", *["--json"] * as_json)
    (clips / "fused.mp4").touch()
    assert gffusion(*command).exit_code == 0
    outcome = gffusion(*command, "--overwrite", "--time-offset", "0.12")
    assert outcome.exit_code == 1 and "--strict: notes or warnings (" in outcome.err
    if as_json:
        notes = json.loads(outcome.out)["notes"]
        assert notes["left out 2 visible frames before the infrared video starts"] == 1
        assert any(note.startswith("infrared range of the video") for note in notes)
    else:
        assert "note: infrared range of the video" in outcome.err


def test_odd_names_and_failed_frames(gffusion: Callable, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names with colons and line breaks; all failures are counted, and five are shown."""
    names = "visible\n.mp4", "12:30:00.mp4"
    for old, new in zip(("visible.mp4", "infrared.mp4"), names, strict=True):
        (clips / old).rename(clips / new)
    command = ["fuse", *names, "-o", "12:30:01.mp4", "--model", "gffusion-funet"]
    outcome = gffusion(*command, "--dry-run")
    assert outcome.out == "visible\\n.mp4 + 12:30:00.mp4 -> 12:30:01.mp4; nothing was written\n"
    prepare, seen = FrameFuser.prepare, iter(range(100))

    def fail(*arguments: Any) -> Any:
        if next(seen) > 0:
            raise ValueError("no image")
        return prepare(*arguments)

    monkeypatch.setattr(FrameFuser, "prepare", fail)
    outcome = gffusion(*command, "--json")
    report = json.loads(outcome.out)
    assert (outcome.exit_code, report["fused"], report["failed"]) == (1, 1, 7)
    assert report["errors"]["0.040 s"] == "no image" and len(report["errors"]) == 5
    seen = iter(range(100))
    outcome = gffusion(*command, "--overwrite")
    assert outcome.exit_code == 1
    assert re.search(r"(?m)^7 pairs of frames failed and are left out \(5 shown\):$", outcome.err)
    assert "  0.040 s: no image" in outcome.err and "the same for 4 more: 0.080 s, 0.120 s, " in outcome.err
    assert len(read_frames((clips / "12:30:01.mp4").absolute())[0]) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_outputs_that_are_no_files_are_refused_first(
    gffusion: Callable, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(clips / "fused.mp4")
    monkeypatch.setattr("gffusion.video.fusing.fuse_video", lambda *_, **__: pytest.fail("frames are fused"))
    for options in ([], ["--overwrite"], ["--dry-run"]):
        outcome = gffusion(*FUSE.split(), *options)
        assert outcome.exit_code == 2 and "cannot write fused.mp4: it is a pipe" in outcome.err


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (f"{FUSE} --suffix .mkv", "--suffix is for images"),
        (f"{FUSE} --raw-frame 4x4,uint16", "--raw-frame is for images"),
        (f"{FUSE} --time-offset inf --dry-run", "--time-offset must be a finite number of seconds, got inf"),
        (f"{FUSE} --truncated fill", "--truncated fill is for images"),
        (f"{FUSE} --keep-thermal", "--keep-thermal is for images"),
        (f"{FUSE} --semantic-every 5", "--semantic-every.* needs a model that injects CLIP features"),
        (f"{FUSE} --semantic-every 0", "--semantic-every"),
        (f"{FUSE} --segment", "no segmenter"),
        ("fuse visible.mp4 infrared.mp4 -o fused.png", r"suffix must be one of \.m4v, \.mkv, \.mov, \.mp4, \.webm"),
        ("fuse visible.mp4 infrared.mp4 -o visible.mp4", "would overwrite an input"),
        ("fuse visible.mp4 -o fused.mp4", "give the infrared video, or the folder of its frames, too"),
        ("fuse visible.mp4 visible.mp4 -o fused.mp4", "given twice"),
        ("fuse visible.mp4 none.mp4 -o fused.mp4", "none.mp4 does not exist"),
        ("fuse visible.mp4 . -o fused.mp4", "the folder . holds no images"),
        (f"{FUSE} --infrared-fps 9", r"--infrared-fps is for a folder of frames, but infrared\.mp4 is none: leave it out"),
        ("fuse visible.mp4 infrared/*.tiff -o fused.mp4", "is a list or a pattern: the frames of a video are given as a folder"),
        ("fuse visible.mp4 flight.seq -o fused.mp4", r"flight\.seq: recordings of FLIR .*flirpy"),
        ("fuse pictures pictures -o fused --semantic-every 5", "--semantic-every is for two videos"),
        ("fuse visible.png infrared.png -o fused.png --time-offset 1", "--time-offset is for two videos"),
        ("fuse visible.png infrared.png -o fused.png --no-audio", "--no-audio is for two videos"),
        ("fuse pictures pictures -o f --visible-fps 3 --infrared-fps 3", "--visible-fps and --infrared-fps are for two"),
    ],
)  # fmt: skip
def test_refused(gffusion: Callable, clips: Path, command: str, named: str) -> None:
    outcome = gffusion(*command.split())
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert re.fullmatch(rf"gffusion: error: .*{named}.*\n", outcome.err), outcome.err
    assert sorted(file.name for file in clips.iterdir()) == ["infrared.mp4", "visible.mp4"]


def test_several_processes_are_refused(
    gffusion_process: Callable, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    outcome = gffusion_process(*FUSE.split())
    assert outcome.exit_code == 2
    assert "a video is fused by one process: run gffusion fuse without accelerate launch" in outcome.err


def test_without_pyav(gffusion: Callable, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    outcome = gffusion(*FUSE.split())
    assert outcome.exit_code == 2
    assert re.search(r'pip install .*\[video\]"', outcome.err)
