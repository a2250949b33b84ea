"""The examples run as documented, in processes of their own, but for errors."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from read_back import read_log
from transformers import Dinov2Model

from gffusion import GFFusionModel
from gffusion.cameras import Rig
from gffusion.synthetic.samples import write_scenes

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = {
    "paradigm": "cascading",
    "use_segmenter": False,
    "stem_channels": 4,
    "feature_channels": 8,
    "decoder_channels": [8],
}

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)


def test_train(tmp_path: Path) -> None:
    """Through Accelerate's launcher; the command line overrides the recipe."""
    write_scenes(tmp_path / "data", count=3, height=64, width=96)
    recipe, data, output = tmp_path / "recipe.yaml", tmp_path / "data", tmp_path / "run"
    options = {
        "model_config": SMALL,
        "train_data": [str(data)],
        "num_train_epochs": 50,
        "crop_size": 48,
        "output_dir": "no",
    }
    recipe.write_text(json.dumps(options))
    done = run(
        "-m", "accelerate.commands.launch", "--cpu", EXAMPLES / "train.py", "--config", recipe, "--num_train_epochs", 2,
        "--eval_data", data, data, "--output_dir", output,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"best weights: {output / 'best'}" in done.stdout
    log = read_log(output)
    assert [record["epoch"] for record in log] == [0, 1]
    assert all("eval_SSIM" in record for record in log)
    assert GFFusionModel.from_pretrained(output / "best").config.feature_channels == 8


def test_finetune(
    data_dir: Path, backbone_folders: dict[str, str], dinov2_config: Callable[..., Any], tmp_path: Path
) -> None:
    """Boxes to label maps to training on real pairs; the weights load."""
    data, source = tmp_path / "data", data_dir / "train" / "msrs"
    boxed = [path.stem for path in sorted((source / "boxes").iterdir()) if path.stat().st_size][:4]
    for kind in ("visible", "infrared", "boxes"):
        (data / kind).mkdir(parents=True)
        for file in (source / kind).iterdir():
            if file.stem in boxed:
                (data / kind / file.name).symlink_to(file)
    (data / "classes.txt").symlink_to(source / "classes.txt")
    dinov2, output = tmp_path / "dinov2", tmp_path / "run"
    Dinov2Model(dinov2_config(patch_size=14, image_size=28)).save_pretrained(dinov2)
    encoders = "--clip", backbone_folders["clip"], "--dinov2", dinov2
    done = run(EXAMPLES / "finetune.py", data, output, *encoders, "--epochs", 2)
    assert done.returncode == 0, done.stderr
    assert len(list((data / "labels").iterdir())) == 4
    log = read_log(output)
    assert [record["epoch"] for record in log] == [0, 1]
    assert all(record["loss_segmentation"] > 0 for record in log)
    model = GFFusionModel.from_pretrained(output / "best")
    assert list(model.config.id2label.values()) == ["background", "person", "bicycle", "car"]


def test_live(tmp_path: Path) -> None:
    """Two clips of half a second as cameras: every frame is fused or dropped, and the last one is the last pair."""
    pytest.importorskip("av", reason='videos need PyAV: pip install "gffusion[video]"')
    from video_files import find_markers, marker_column, write_pair

    from gffusion.data import read_image

    visible, infrared = write_pair(tmp_path, 12)
    Rig(np.eye(3)).save(tmp_path / "rig.json")
    words = "--model", "gffusion-funet", "--align", tmp_path / "rig.json", "--infrared-range", "0,255"
    done = run(EXAMPLES / "live.py", visible, infrared, *words, "--last", tmp_path / "last.png")
    assert done.returncode == 0, done.stderr
    *lines, summary = done.stdout.splitlines()
    fused, pushed, dropped, failed = (int(word.rstrip(",")) for word in summary.split() if word.rstrip(",").isdecimal())
    assert pushed == 12 == fused + dropped and not failed
    assert 0 < len(lines) <= fused
    assert "latency" in lines[-1]
    assert find_markers(read_image(tmp_path / "last.png")) == (marker_column(11),) * 2


def test_live_takes_the_largest_count_of_a_video_as_white(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `gffusion fuse` does; the frames themselves are uint16."""
    pytest.importorskip("av", reason='videos need PyAV: pip install "gffusion[video]"')
    from video_files import infrared_frame, visible_frame, write_video

    from gffusion import create_model, load_image_processor, predict
    from gffusion.data import read_image

    frame, counts = visible_frame(0), infrared_frame(0).astype(np.uint16) * 15
    visible = write_video(tmp_path / "visible.mkv", [frame], codec="ffv1", pixels="bgr0")
    infrared = write_video(tmp_path / "infrared.mkv", [counts], codec="ffv1", pixels="gray12le")
    words = ["live.py", visible, infrared, "--model", "gffusion-funet", "--last", tmp_path / "last.png"]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    runpy.run_path(str(EXAMPLES / "live.py"), run_name="__main__")
    processor = load_image_processor("gffusion-funet")
    expected = predict(create_model("gffusion-funet"), processor, [(frame, (counts / 4095).astype(np.float32))])[
        0
    ].fused
    assert np.abs(read_image(tmp_path / "last.png").astype(int) - expected).max() <= 1


@pytest.mark.parametrize("dead", [range(2), range(1, 2), range(3)])
def test_live_goes_on_after_pairs_that_cannot_be_fused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], dead: range
) -> None:
    """Such as frames of a camera that starts, of which all pixels are 0."""
    pytest.importorskip("av", reason='videos need PyAV: pip install "gffusion[video]"')
    from video_files import find_markers, infrared_frame, marker_column, visible_frame, write_video

    from gffusion.data import read_image

    counts = [infrared_frame(index).astype(np.uint16) * 15 * (index not in dead) for index in range(3)]
    visible = write_video(tmp_path / "visible.mkv", map(visible_frame, range(3)), rate=1)
    infrared = write_video(tmp_path / "infrared.mkv", counts, codec="ffv1", pixels="gray12le", rate=1)
    words = ["live.py", visible, infrared, "--model", "gffusion-funet", "--last", tmp_path / "last.png"]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    with pytest.raises(SystemExit, match="no pair could be fused") if len(dead) == 3 else nullcontext():
        runpy.run_path(str(EXAMPLES / "live.py"), run_name="__main__")
    text = capsys.readouterr()
    assert f"{3 - len(dead)} of 3 frames fused, 0 dropped, {len(dead)} failed" in text.out
    assert text.err.count("pair left out: ") == text.err.count("no measured pixel") == len(dead)
    if len(dead) < 3:
        assert find_markers(read_image(tmp_path / "last.png")) == (marker_column(2),) * 2


def test_live_ends_when_reading_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, which would end with this text."""
    pytest.importorskip("av", reason='videos need PyAV: pip install "gffusion[video]"')
    from video_files import infrared_frame, visible_frame, write_video

    visible = write_video(tmp_path / "visible.mp4", map(visible_frame, range(3)))
    infrared = write_video(tmp_path / "infrared.mp4", map(infrared_frame, range(3)), times=[100, 101, 102])
    monkeypatch.setattr(sys, "argv", ["live.py", str(visible), str(infrared), "--model", "gffusion-funet"])
    with pytest.raises(SystemExit, match=r"^live\.py: error: no frames of the two videos are at the same time"):
        runpy.run_path(str(EXAMPLES / "live.py"), run_name="__main__")
    assert "0 of 0 frames fused" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["live.py", "no.mp4", "no.mp4"], "no.mp4 does not exist"),
        (["live.py", "no.mp4", "no.mp4", "--device", "foo"], "--device foo: "),
        (["live.py", "no.mp4", "no.mp4", "--align", "rig"], "--align must be none, resize, auto or the file of a rig"),
        (["live.py", "no.mp4", "no.mp4", "--infrared-range", "1"], "range"),
        (["live.py", "no.mp4", "no.mp4", "--last", "last.xyz"], "--last must be one of .*, got last.xyz"),
        (["live.py", "no.mp4", "no.mp4", "--last", "no_folder/last.png"], "the folder no_folder does not exist"),
        (["live_webcams.py", "--visible", "no_camera"], ""),
        (["live_webcams.py", "--device", "foo"], ""),
        (["finetune.py", "no_folder", "run"], "no_folder"),
        (["train.py", "--config", "funet", "--train_data", "nowhere", "--output_dir", "run"], "nowhere"),
    ],
)
def test_errors_are_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, where Python would print the text with which they end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(EXAMPLES / words[0]), run_name="__main__")
    code, printed = stop.value.code, capsys.readouterr().err
    assert code == 2 or (isinstance(code, str) and not printed)
    assert re.search(f"{words[0]}: error: .*{message}", printed if code == 2 else code), (code, printed)
    assert not list(tmp_path.iterdir())


def test_finetune_makes_the_missing_label_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One box file is damaged: the other maps stay, and after its correction only the missing one is made."""
    names = [Path(name).stem for name in write_scenes(tmp_path, count=3, height=64, width=96)]
    shutil.rmtree(tmp_path / "labels")
    boxes = next((tmp_path / "boxes").glob(f"{names[1]}.*"))
    content = boxes.read_bytes()
    boxes.write_bytes(b"damaged")
    monkeypatch.setattr(sys, "argv", ["finetune.py", str(tmp_path), "run"])
    make_labels = runpy.run_path(str(EXAMPLES / "finetune.py"), run_name="example")["make_labels"]
    with pytest.raises(ValueError, match=f"^1 label maps could not be made; {names[1]}: "):
        make_labels(tmp_path)
    first = tmp_path / "labels" / f"{names[0]}.png"
    first.touch()
    boxes.write_bytes(content)
    before = first.stat().st_mtime_ns
    make_labels(tmp_path)
    assert len(list((tmp_path / "labels").iterdir())) == 3
    assert first.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--crop", "65"], "--crop 65 is larger .* at most --crop 64$"),
        (["--crop", "64"], r"names: list them, .*classes\.txt"),
    ],
)
def test_finetune_checks_the_data_before_it_makes_label_maps(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scenes(tmp_path, count=2, height=64, width=96)
    shutil.rmtree(tmp_path / "labels")
    if "names" in message:
        (tmp_path / "classes.txt").unlink()
    monkeypatch.setattr(sys, "argv", ["finetune.py", str(tmp_path), str(tmp_path / "run"), *words])
    with pytest.raises(SystemExit, match=f"^finetune.py: error: .*{message}"):
        runpy.run_path(str(EXAMPLES / "finetune.py"), run_name="__main__")
    assert not (tmp_path / "labels").exists()
