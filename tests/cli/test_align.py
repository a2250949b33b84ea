"""`gffusion align`, and `--align` of the other commands."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moved_scenes import make_matrix, write_rig
from PIL import Image

from gffusion.cameras import Rig
from gffusion.cameras.estimation import measure_distance
from gffusion.cameras.orientation import ORIENTATIONS
from gffusion.data import read_image, write_image

MATRIX = make_matrix(1.4, -2, (0.02, 0.03))


@pytest.fixture(scope="module")
def rig_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rig(tmp_path_factory.mktemp("rig"), MATRIX, 3)


def test_a_rig_is_written_and_kept(gffusion: Callable[..., Any], rig_folder: Path, tmp_path: Path) -> None:
    words = "align", rig_folder / "visible", rig_folder / "infrared", "-o", tmp_path / "rig.json"
    done = gffusion(*words, "--overlay", tmp_path / "c.png")
    assert done.exit_code == 0, done.err
    assert "similarity from 3 pairs" in done.out
    rig = Rig.load(tmp_path / "rig.json")
    assert 320 * measure_distance(MATRIX, rig.matrix) < 1
    assert Image.open(tmp_path / "c.png").size == (2 * 320 + 8, 240)
    (tmp_path / "rig.json").write_text("mine")
    refused = gffusion(*words, "--json")
    assert refused.exit_code == json.loads(refused.out)["exit_code"] == 2 and "--overwrite" in refused.err
    assert (tmp_path / "rig.json").read_text() == "mine"
    again = gffusion(*words, "--json", "--overwrite", "--overlay", tmp_path / "c.png")
    report = json.loads(again.out)
    assert again.err.splitlines() == done.out.splitlines()
    assert f"residual {report['residual']:.1f} pixels, confidence {report['confidence']:.2f}" in again.err
    assert (report["transform"], report["pairs"], report["sure"]) == ("similarity", 3, True)
    assert (report["distance_from_tags"], report["output"]) == (None, str(tmp_path / "rig.json"))
    assert Rig.load(tmp_path / "rig.json").infrared_size == (120, 160)


def test_pairs_that_are_left_out_are_named(gffusion: Callable[..., Any], rig_folder: Path, tmp_path: Path) -> None:
    data = shutil.copytree(rig_folder, tmp_path / "data")
    write_image(data / "infrared" / "2.png", np.tile(np.arange(160, dtype=np.uint8), (100, 1)))
    done = gffusion("align", data / "visible", data / "infrared", "-o", tmp_path / "rig.json", "--json")
    reason = "320 x 240 and 160 x 100 pixels, others have 320 x 240 and 160 x 120"
    assert done.exit_code == 0 and "from 2 pairs" in done.err
    assert f"note: left out of the estimate: 2 ({reason})" in done.err
    assert json.loads(done.out)["left_out"] == {"2": reason}


def test_files_that_do_not_fit_are_named(gffusion: Callable[..., Any], tmp_path: Path) -> None:
    write_rig(tmp_path, np.eye(3), 4)
    file = tmp_path / "infrared" / "2.png"
    write_image(file, np.roll(read_image(file), (6, 9), axis=(0, 1)))
    words = tmp_path / "visible", tmp_path / "infrared", "-o"
    done = gffusion("align", *words, tmp_path / "o.json", "--transform", "translation", "--json")
    note = "1 of 4 pairs does not fit this rig: 2; did a camera move, or are they wrong pairs?"
    assert done.exit_code == 0 and json.loads(done.out)["notes"] == [note] and f"note: {note}" in done.err.splitlines()
    fused = gffusion("fuse", *words, tmp_path / "fused", "--align", "auto")
    assert fused.exit_code == 0 and f"; {note}" in fused.out.replace("\n", " ")


def test_one_folder_gives_the_rig_of_two(gffusion: Callable[..., Any], rig_folder: Path, tmp_path: Path) -> None:
    for kind, letter in (("visible", "V"), ("infrared", "T")):
        for file in (rig_folder / kind).iterdir():
            (tmp_path / "DCIM").mkdir(exist_ok=True)
            shutil.copy(file, tmp_path / "DCIM" / f"DJI_000{file.stem}_{letter}.png")
    alone = gffusion("align", tmp_path / "DCIM", "-o", tmp_path / "alone.json")
    both = gffusion("align", rig_folder / "visible", rig_folder / "infrared", "-o", tmp_path / "both.json")
    assert alone.exit_code == both.exit_code == 0, alone.err
    assert (tmp_path / "alone.json").read_text() == (tmp_path / "both.json").read_text()
    single = gffusion("align", rig_folder / "visible" / "0.png", "-o", tmp_path / "single.json")
    assert (single.exit_code, "0.png holds one image" in single.err) == (2, True)


def test_an_uncertain_rig_is_not_written(
    gffusion: Callable[..., Any], rig_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gffusion.cameras.estimation.ORIENTATIONS", ORIENTATIONS[:2])  # for the sake of time
    write_image(tmp_path / "noise.png", np.random.default_rng(0).integers(0, 255, (120, 160)).astype(np.uint8))
    words = "align", rig_folder / "visible" / "0.png", tmp_path / "noise.png", "-o", tmp_path / "rig.json"
    done = gffusion(*words, "--overlay", tmp_path / "check.png")
    assert done.exit_code == 2
    assert "--accept-uncertain" in done.err and "field of view" not in done.out + done.err
    assert not (tmp_path / "rig.json").exists()
    assert (tmp_path / "check.png").exists()
    assert gffusion(*words, "--accept-uncertain").exit_code == 0


def test_turned_cameras_are_found_and_aligned(gffusion: Callable[..., Any], rig_folder: Path, tmp_path: Path) -> None:
    """The options are suggested, and the rig is that of the upright images, for the images as they are."""
    (tmp_path / "infrared").mkdir()
    for file in (rig_folder / "infrared").iterdir():
        write_image(tmp_path / "infrared" / file.name, np.ascontiguousarray(read_image(file)[::-1, ::-1]))
    words = "align", rig_folder / "visible", tmp_path / "infrared", "-o", tmp_path / "rig.json"
    done = gffusion(*words)
    assert done.exit_code == 2 and not (tmp_path / "rig.json").exists()
    assert done.err.endswith("turned or mirrored: try --infrared-turn 180\n")
    assert gffusion(*words, "--infrared-turn", 180).exit_code == 0
    rig = Rig.load(tmp_path / "rig.json")
    x, y, _ = np.transpose(MATRIX @ (0.6, 0.3, 1))
    assert np.allclose(rig.matrix @ (0.6, 0.3, 1), (1 - x, 1 - y, 1), atol=0.01)
    assert "--infrared-turn must be one of 0, 90, 180, 270, got 45" in gffusion(*words, "--infrared-turn", 45).err


def test_a_saved_rig_is_checked(gffusion: Callable[..., Any], rig_folder: Path, tmp_path: Path) -> None:
    """Exit code 0 if it fits, 1 if a camera has moved; `-o` writes the new rig, in place of the saved one, too."""
    saved = tmp_path / "saved.json"
    words = "align", rig_folder / "visible", rig_folder / "infrared", "--check", saved
    shutil.copy(rig_folder / "rig.json", saved)
    done = gffusion(*words)
    assert done.exit_code == 0 and "the saved rig still fits: the saved rig (infrared field of view 71%" in done.out
    assert [path.name for path in tmp_path.iterdir()] == ["saved.json"]
    shift = np.array([[1, 0, 6 / 320], [0, 1, -8 / 240], [0, 0, 1]])  # 10 pixels of the visible image
    Rig(MATRIX @ shift, (480, 640), (120, 160)).save(saved)
    done = gffusion(*words, "-o", saved, "--overwrite", "--json")
    report = json.loads(done.out)
    assert done.exit_code == 1
    assert 0 < done.err.index("a camera has moved") < done.err.index("rig -> ")
    assert report["notes"][0].startswith("the rig is for visible images of 640 x 480 pixels")  # of another resolution
    assert f"note: {report['notes'][0]}" in done.err.splitlines()
    assert report["has_moved"] and abs(report["distance"] - 10) < 0.7 and report["tolerance"] < 3
    assert (report["output"], report["sure"]) == (str(saved), True)
    assert 320 * measure_distance(MATRIX, Rig.load(saved).matrix) < 1


def test_a_check_that_is_not_sure(gffusion: Callable[..., Any], rig_folder: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "noise.png", np.random.default_rng(0).integers(0, 255, (120, 160)).astype(np.uint8))
    words = "align", rig_folder / "visible" / "0.png", tmp_path / "noise.png", "--check", rig_folder / "rig.json"
    done = gffusion(*words, "--json")
    report = json.loads(done.out)
    assert done.exit_code == report["exit_code"] == 2 and not report["sure"]
    assert report["has_moved"] is None and report["distance"] > 0 and report["tolerance"] >= 1
    assert "it is not known whether" in done.err and report["error"] in done.err
    assert "--accept-uncertain" not in done.err and "the search covers" not in done.err  # neither helps


def test_an_estimate_starts_at_an_approximate_rig(
    gffusion: Callable[..., Any], rig_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found where the search does not look, and the message names the range of the search and the option."""
    monkeypatch.setattr("gffusion.cameras.estimation.search_rigs", lambda *_: [make_matrix(3.0), make_matrix(0.5)])
    monkeypatch.setattr("gffusion.cameras.estimation.ORIENTATIONS", ORIENTATIONS[:1])  # for the sake of time
    words = "align", rig_folder / "visible", rig_folder / "infrared", "-o", tmp_path / "rig.json"
    done = gffusion(*words)
    assert done.exit_code == 2
    assert "fields of view of 43% to 238% of the visible width" in done.err and "--start RIG.json" in done.err
    Rig(make_matrix(1.36, -1.5, (0.03, 0.02))).save(tmp_path / "start.json")
    assert gffusion(*words, "--start", tmp_path / "start.json").exit_code == 0
    assert 320 * measure_distance(MATRIX, Rig.load(tmp_path / "rig.json").matrix) < 1


@pytest.mark.parametrize("command", ["align", "fuse"])
def test_no_position_is_made_up(gffusion: Callable[..., Any], rig_folder: Path, tmp_path: Path, command: str) -> None:
    write_image(tmp_path / "flat.png", np.full((120, 160), 9, np.uint8))
    words = {"align": (tmp_path / "o.json", "--accept-uncertain"), "fuse": (tmp_path / "o.png", "--align", "auto")}
    done = gffusion(command, rig_folder / "visible" / "0.png", tmp_path / "flat.png", "-o", *words[command])
    assert (done.exit_code, done.out) == (2, "")
    assert "no position of the infrared image was found: the infrared image has no contrast. Give" in done.err
    assert "--align resize" in done.err
    assert "residual" not in done.err and [path.name for path in tmp_path.iterdir()] == ["flat.png"]


def test_inputs_are_not_replaced(gffusion: Callable[..., Any], rig_folder: Path, tmp_path: Path) -> None:
    pair = rig_folder / "visible" / "0.png", rig_folder / "infrared" / "0.png"
    for overlay in pair:
        before = overlay.read_bytes()
        done = gffusion("align", *pair, "-o", tmp_path / "rig.json", "--overlay", overlay, "--overwrite")
        assert done.exit_code == 2 and f"the output {overlay} would overwrite an input" in done.err
        assert overlay.read_bytes() == before and list(tmp_path.iterdir()) == []


def test_options_of_reading_and_notes(gffusion: Callable[..., Any], rig_folder: Path, tmp_path: Path) -> None:
    """Raw frames are read and matched; files without a partner are named, as by `fuse`."""
    frames = tmp_path / "frames"
    frames.mkdir()
    for index in range(2):
        read_image(rig_folder / "infrared" / f"{index}.png").tofile(frames / f"{index}.raw")
    words = "align", rig_folder / "visible", frames, "-o", tmp_path / "rig.json", "--raw-frame"
    done = gffusion(*words, "120x160,uint8")
    assert done.exit_code == 0 and "from 2 pairs" in done.out
    assert "left out 1 without infrared partner: 2.png" in done.err
    assert "check --raw-frame" in gffusion(*words, "120x161,uint8", "--overwrite").err
    pair = rig_folder / "visible" / "0.png", rig_folder / "infrared" / "0.png", "-o", tmp_path / "other.json"
    for options, message in (
        (["--raw-frame", "120x160,uint8"], "--raw-frame is for infrared files ending in .raw, .bin, .dat, but none"),
        (["--max-pixels", "9"], "--max-pixels 76800"),
        (["--truncated", "cut"], '--truncated must be "refuse" or "fill"'),
    ):
        done = gffusion("align", *pair, *options)
        assert done.exit_code == 2 and message in done.err
    cut = tmp_path / "cut.png"
    cut.write_bytes(pair[0].read_bytes()[:-200])
    done = gffusion("align", cut, *pair[1:], "--truncated", "fill", "--keep-borders")
    assert done.exit_code == 0, done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.png", "b.png", "-o", "rig.json"], "a.png does not exist"),
        (["{visible}", "{infrared}/0.png", "-o", "rig.json"], "two files or two folders"),
        (["{visible}/0.png", "{visible}/0.png", "-o", "rig.json"], "the visible and the infrared image are the same file"),
        (["{visible}", "{visible}", "-o", "rig.json"], "the visible and the infrared image are the same file"),
        (["{visible}", "{infrared}", "-o", "rig.txt"], "--output must be a .json"),
        (["{visible}", "{infrared}", "-o", "none/at/rig.json"], "folder none does not exist"),
        (["{visible}", "{infrared}", "-o", "rig.json", "--transform", "rotation"], "--transform must be one of"),
        (["{visible}", "{infrared}", "-o", "rig.json", "--overlay", "check.txt"], "--overlay must be one of"),
        (["{visible}", "{infrared}"], "such as -o rig.json, or --check RIG.json"),
        (["{visible}", "{infrared}", "--check", "none.json"], "--check none.json does not exist"),
        (["{visible}", "{infrared}", "-o", "rig.json", "--start", "{visible}/0.png"], "0.png is no rig"),
        (["{visible}", "{infrared}", "--check", "{rig}", "--start", "{rig}"], "leave out --start"),
        (["{visible}", "{infrared}", "--check", "{rig}", "--accept-uncertain"], "leave out --accept-uncertain"),
        (
            ["{visible}", "{infrared}", "--check", "{rig}", "--infrared-turn", "90"],
            "rig.json is for upright infrared images: leave out --infrared-turn and --infrared-mirror, they are",
        ),
    ],
)  # fmt: skip
def test_wrong_arguments(
    gffusion: Callable[..., Any], rig_folder: Path, cwd: Path, words: list[str], message: str
) -> None:
    paths = {"visible": rig_folder / "visible", "infrared": rig_folder / "infrared", "rig": rig_folder / "rig.json"}
    done = gffusion("align", *(word.format(**paths) for word in words))
    assert done.exit_code == 2
    assert message in done.err
    assert list(cwd.iterdir()) == []


def test_videos_are_refused_with_what_to_do(gffusion: Callable[..., Any], rig_folder: Path, tmp_path: Path) -> None:
    video = tmp_path / "drive.MP4"
    video.write_bytes(b"video")
    image = rig_folder / "visible" / "0.png"
    for words in ((video, image), (image, video), (video, video)):
        done = gffusion("align", *words, "-o", tmp_path / "rig.json")
        assert done.exit_code == 2
        assert "drive.MP4 is a video, and align takes images" in done.err and "--align auto" in done.err
