"""Nothing that is read executes code, or makes gffusion write outside of the output folder."""

import pickle
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from pickle_trap import PickleTrap
from training_runs import SMALL_MODEL
from video_files import visible_frame, write_pair, write_video

from gffusion.cli import main
from gffusion.video.reading import VideoFile

ROOT = Path(__file__).parents[2]


def test_checkpoints_of_others(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Optimizer, schedule and random states are pickles, from which only plain values are read."""

    def train(*words: object) -> int:
        sizes = ["--crop_size", 32, "--head_start_epoch", 1, "--model_config", SMALL_MODEL]
        folders = ["--train_data", scenes, "--output_dir", tmp_path / "run"]
        with pytest.raises(SystemExit) as stop:
            main(["train", *map(str, [*folders, *sizes, *words])])
        return int(stop.value.code or 0)

    assert train("--num_train_epochs", 1) == 0
    files = [file for file in tmp_path.glob("run/checkpoints/*/*") if file.suffix in (".bin", ".pkl")]
    assert {"optimizer.bin", "random_states_0.pkl"} <= {file.name for file in files}
    for file in files:
        content = file.read_bytes()
        file.write_bytes(pickle.dumps(PickleTrap(tmp_path / "executed")))
        code = train("--num_train_epochs", 2, "--resume_from_checkpoint", "true", "--save_steps", 10**6)
        assert not (tmp_path / "executed").exists(), file.name
        assert code == 2 and "Traceback" not in capsys.readouterr().err, file.name
        file.write_bytes(content)


def test_names_in_lists(gffusion: Callable, scenes: Path, tmp_path: Path) -> None:
    visible, infrared = (sorted((scenes / kind).iterdir())[0] for kind in ("visible", "infrared"))
    (tmp_path / "pairs.csv").write_text(f"visible,infrared,name\n{visible},{infrared},a/../../outside\n")
    done = gffusion("fuse", tmp_path / "pairs.csv", "-o", tmp_path / "out" / "fused", "-m", "gffusion-funet")
    assert done.exit_code == 2 and "below the output folder" in done.err
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["pairs.csv"]


_HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\n{}\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("list.mp4", "ffconcat version 1.0\nfile visible.mp4\n", "ffconcat"),
        ("list.mp4", "ffconcat version 1.0\nfile list.mp4\nfile list.mp4\n", "ffconcat"),
        ("chain.mp4", "ffconcat version 1.0\nfile private.m3u8\nduration 0.4\n", "ffconcat"),
        ("private.m3u8", _HLS, "HLS or M3U"),
        ("list.mp4", _HLS, "HLS or M3U"),
        ("list.mp4", "v=0\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n", "SDP"),
        ("list.mp4", '<?xml version="1.0"?>\n<MPD type="static"><BaseURL>visible.mp4</BaseURL></MPD>', "DASH"),
    ],
)
def test_playlists_named_as_videos(gffusion: Callable, tmp_path: Path, name: str, content: str, kind: str) -> None:
    """The videos that they name, which exist, are not fused."""
    _, infrared = write_pair(tmp_path)
    private = write_video(tmp_path / "private.ts", map(visible_frame, range(10)), time_base=Fraction(1, 90000))
    (tmp_path / "private.m3u8").write_text(_HLS.format(private))
    (tmp_path / name).write_text(content.format(private))
    with pytest.raises(ValueError, match=f"{name} is a playlist \\({kind}\\), not a video"):
        VideoFile(tmp_path / name)
    if name.endswith(".mp4"):  # read as a video by the command
        done = gffusion("fuse", tmp_path / name, infrared, "-o", tmp_path / "out.mp4", "-m", "gffusion-live")
        assert done.exit_code == 2 and f"is a playlist ({kind})" in done.err and done.err.count("\n") == 1
        assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("kind", ["file", "dangling"])
def test_links_in_the_output(gffusion: Callable, scenes: Path, tmp_path: Path, kind: str) -> None:
    """The file that a link leads to is neither changed nor made."""
    output, target = tmp_path / "out", tmp_path / "target"
    output.mkdir()
    if kind == "file":
        target.write_bytes(b"kept")
    for file in (scenes / "visible").iterdir():
        (output / file.name).symlink_to(target)
    words = (scenes / "visible", scenes / "infrared", "-o", output, "-m", "gffusion-funet", "--overwrite")
    assert gffusion("fuse", *words).exit_code == 0
    assert target.read_bytes() == b"kept" if kind == "file" else not target.exists()
    assert not any(file.is_symlink() for file in output.iterdir())


def test_code_that_could_execute() -> None:
    """The package has no call that runs content of files or strings, except tensors of pickles."""
    pattern = re.compile(
        r"(?<![\w.])(?:eval|exec|compile|__import__)\(|\bpickle\.loads?\(|\bos\.(?:system|popen)|yaml\.(?:load\((?!text, _Loader\))|unsafe|full)"
        r"|shell=True|allow_pickle=True|trust_remote_code=True\)|torch\.load\((?!.*weights_only=True)"
    )
    found = []
    for file in sorted((ROOT / "gffusion").rglob("*.py")):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            code = line.partition("#")[0]
            if pattern.search(code) and "`" not in code:
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []


def test_policy_says_how_to_report() -> None:
    policy = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "github.com/gffusion/gffusion/security/advisories/new" in policy and "Supported versions" in policy
