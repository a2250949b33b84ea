"""`gffusion fuse` of the videos of two folders, or of one that holds both kinds."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av", reason='videos need PyAV: pip install "gffusion[video]"')

from video_files import find_markers, marker_column, read_frames, write_pair

from gffusion.video.recording import Recorder

FUSE = ("fuse", "v", "i", "-o", "out", "--model", "gffusion-funet")


@pytest.fixture
def folders(cwd: Path) -> Path:
    """Write two pairs of different lengths to v/ and i/, in formats and names that differ, with files of other kinds beside them."""
    for folder in ("v", "i"):
        Path(folder).mkdir()
        Path(folder, "notes.txt").touch()
    for name, count in (("a", 6), ("b", 9)):
        write_pair(cwd, count)
        Path("visible.mp4").rename(f"v/{name}_vis.mp4")
        Path("infrared.mp4").rename(f"i/{name}_IR.m4v")
    return cwd


def check_fused(file: str, count: int) -> None:
    images, _ = read_frames(Path(file))
    assert [find_markers(image) for image in images] == [(marker_column(index),) * 2 for index in range(count)]


def test_failures_do_not_end_the_others(gffusion: Callable, folders: Path) -> None:
    """A damaged video is tried again by the same command, and the others are kept."""
    Path("v/0.mp4").write_bytes(b"damaged")
    shutil.copy("i/a_IR.m4v", "i/0.m4v")
    shutil.copy("i/a_IR.m4v", "i/alone.m4v")
    planned = json.loads(gffusion(*FUSE, "--dry-run", "--json").out)
    assert [Path(pair["fused"]).name for pair in planned["pairs"]] == ["0.mp4", "a_vis.mp4", "b_vis.mp4"]
    assert not Path("out").exists()
    for done, skipped in ((2, 0), (0, 2)):
        outcome = gffusion(*FUSE, "--json")
        report = json.loads(outcome.out)
        assert (outcome.exit_code, list(report["errors"])) == (1, ["0"])
        assert (report["fused"], report["skipped"]) == (done, skipped)
        assert report["unmatched"]["infrared"] == ["alone.m4v"]
    check_fused("out/a_vis.mp4", 6)
    check_fused("out/b_vis.mp4", 9)
    shutil.copy("v/a_vis.mp4", "v/0.mp4")
    outcome = gffusion(*FUSE)
    assert (outcome.exit_code, outcome.out[:14]) == (0, "fused 1 pair i")
    assert gffusion(*FUSE, "--strict").exit_code == 1  # alone.m4v
    assert sorted(os.listdir("out")) == ["0.mp4", "a_vis.mp4", "b_vis.mp4"]


def test_one_folder_with_a_folder_of_each_kind(gffusion: Callable, folders: Path) -> None:
    Path("card").mkdir()
    for source, kind in (("v", "visible"), ("i", "infrared")):
        Path(source).rename(f"card/{kind}")
    outcome = gffusion("fuse", "card", "-o", "out", "--dry-run")
    assert (outcome.exit_code, outcome.out.count(" -> ")) == (0, 2), outcome.err


@pytest.mark.parametrize("given", [("card",), ("card", "card"), ("card", "thermal")])
def test_memory_card(gffusion: Callable, folders: Path, given: tuple[str, ...]) -> None:
    """Both kinds in one folder, which can be given beside a folder of the thermal videos."""
    for source, name in (("v/a_vis.mp4", "V"), ("v/b_vis.mp4", "Z"), ("i/a_IR.m4v", "T")):
        for folder in ("card", *["thermal"] * (name == "T")):
            Path(folder).mkdir(exist_ok=True)
            shutil.copy(source, f"{folder}/DJI_0001_{name}.MP4")
    Path("card/DJI_0001_Z.MP4").unlink()
    shutil.copy("v/b_vis.mp4", "card/other.mp4")
    outcome = gffusion("fuse", *given, "-o", "out", "--model", "gffusion-funet")
    assert outcome.exit_code == 0, outcome.err
    assert os.listdir("out") == ["DJI_0001_V.mp4"] and "left out 1 without infrared partner: other.mp4" in outcome.err
    check_fused("out/DJI_0001_V.mp4", 6)


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.nut"), 1, "1 more not tried"),
        (KeyboardInterrupt(), 130, "the same command fuses what is missing"),
    ],
)
def test_interruptions(
    gffusion: Callable, folders: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, expected: str
) -> None:
    """The second of three videos stops after its first segment; the same command continues it."""
    shutil.copy("v/b_vis.mp4", "v/c.mp4")
    shutil.copy("i/b_IR.m4v", "i/c.m4v")

    def fail(self: Recorder, *arguments: Any) -> None:
        if self._index == 1:
            raise error
        write(self, *arguments)

    write = Recorder.write
    monkeypatch.setattr("gffusion.video.fusing.SEGMENT_FRAMES", 7)  # the first video has one segment
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "write", fail)
        outcome = gffusion(*FUSE)
    assert (outcome.exit_code, outcome.err.count(expected)) == (code, 1), outcome.err
    assert sorted(os.listdir("out")) == [".b_vis.mp4.parts", "a_vis.mp4"]
    report = json.loads(gffusion(*FUSE, "--json").out)
    assert (report["fused"], report["skipped"], report["failed"]) == (2, 1, 0)
    assert sorted(os.listdir("out")) == ["a_vis.mp4", "b_vis.mp4", "c.mp4"]
    check_fused("out/b_vis.mp4", 9)


@pytest.mark.parametrize(
    ("text", "done", "expected"),
    [
        ("input tensor must fit into 32-bit index math", ["b_vis.mp4", "c.mp4"], "  a_vis: input tensor must fit into 32-bit index math\n"),
        ("CUDA error: out of memory", ["b_vis.mp4", "c.mp4"], "  a_vis: not enough memory: CUDA error: out of memory"),
        ("CUDA error: an illegal memory access was encountered", [], "the GPU cannot be used any more, run the command again"),
    ],
)  # fmt: skip
def test_errors_of_devices(
    gffusion: Callable, folders: Path, monkeypatch: pytest.MonkeyPatch, text: str, done: list[str], expected: str
) -> None:
    """Only the video fails that needs what the device lacks; a broken GPU ends the run, and the same command continues."""
    shutil.copy("v/b_vis.mp4", "v/c.mp4")
    shutil.copy("i/b_IR.m4v", "i/c.m4v")

    def fail(self: Recorder, *arguments: Any) -> None:
        if not failed or "illegal" in text:
            failed.append(text)
            raise RuntimeError(f"{text}\nException raised from here")
        write(self, *arguments)

    write, failed = Recorder.write, list[str]()
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "write", fail)
        outcome = gffusion(*FUSE)
    assert outcome.exit_code and expected in outcome.err and "Traceback" not in outcome.err
    assert len(failed) == 1
    assert sorted(path.name for path in Path("out").glob("[!.]*")) == done
    report = json.loads(gffusion(*FUSE, "--json").out)
    assert (report["fused"], report["skipped"]) == (3 - len(done), len(done))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("v i -o x.mp4", "several videos are written: give a folder"),
        ("v i -o out --raw-frame 8x8,uint16", "--raw-frame is for images"),
        ("v i -o out --show", "--show is for one pair"),
        ("v i -o out --time-offset nan", "--time-offset must be a finite number"),
        ("v i -o out --infrared-fps 9", "--infrared-fps is for a folder of frames, but the folders hold videos"),
        ("v i -o v", "would overwrite an input"),
        ("v v -o out", "no video in v is named as the visible one of an infrared one"),
        ("v other -o out", "no video in v has the name of one in other (for example a_vis.mp4 and x.mkv)"),
        ("v images -o out", "the folder v holds no images"),
    ],
)
def test_refusals(gffusion: Callable, folders: Path, arguments: str, message: str) -> None:
    for file in ("other/x.mkv", "images/a.png"):
        Path(file).parent.mkdir()
        Path(file).touch()
    outcome = gffusion("fuse", *arguments.split(), "--model", "gffusion-funet")
    assert outcome.exit_code == 2 and message in outcome.err
    assert not Path("out").exists() and len(os.listdir("v")) == 3


def test_outputs_of_two_videos_can_be_one_file(gffusion: Callable, folders: Path) -> None:
    Path("v/b_vis.mp4").rename("v/a_vis_overlay.mp4")
    Path("i/b_IR.m4v").rename("i/a_vis_overlay.m4v")
    outcome = gffusion("fuse", "v", "i", "-o", "out", "--segment")
    assert outcome.exit_code == 2 and "would both be out/a_vis_overlay.mp4" in outcome.err


@pytest.mark.parametrize("given", [("v", "i"), ("card",)])
def test_videos_beside_images_are_noted(gffusion: Callable, pair: Path, given: tuple[str, ...]) -> None:
    """As on the memory card of a camera that took both."""
    for kind, names in (("visible", ("v/1", "card/DJI_0001_V")), ("infrared", ("i/1", "card/DJI_0001_T"))):
        for name in names:
            Path(name).parent.mkdir(exist_ok=True)
            shutil.copy(f"{kind}.png", f"{name}.png")
            Path(f"{name}.MP4").touch()
    outcome = gffusion("fuse", *given, "-o", "out", "--dry-run")
    assert outcome.exit_code == 0
    assert outcome.err.count("note: 2 videos beside the images are not fused, such as ") == 1
    next(Path(given[0]).glob("*.MP4")).unlink()
    outcome = gffusion("fuse", *given, "-o", "out", "--dry-run")
    assert "note: 1 video beside the images is not fused, such as " in outcome.err
