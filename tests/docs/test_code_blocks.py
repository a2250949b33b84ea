"""The code blocks of all pages run, and those that do not have a reason."""

import importlib.util
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_files import encode, flir_jpeg, render_pair, to_counts
from doc_blocks import (
    LANGUAGES,
    LAUNCHER,
    OTHER_LANGUAGES,
    PAGES,
    ROOT,
    SMALLER,
    CodeBlock,
    commands,
    find_inline_commands,
    list_options,
    parse_command,
    read_blocks,
    run_block,
)

from gffusion.cameras import Rig
from gffusion.data import read_image, write_image
from gffusion.synthetic.samples import write_scenes

NEEDED_PACKAGES = {".mp4": "av", ".onnx": "onnxruntime"}
BLOCKS = [block for page in PAGES for block in read_blocks(page)]
RUN = [page for page in PAGES if any(not block.reason for block in read_blocks(page) if block.language in LANGUAGES)]


def name_of(block: CodeBlock) -> str:
    return f"{block.page.relative_to(ROOT)}:{block.line}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the files that the pages name, small and rendered."""
    root = tmp_path_factory.mktemp("world")
    write_scenes(root, count=3, height=96, width=128)
    scenes = list(root.iterdir())
    for name in ("data/train", "data/val", "data/mine", "TNO"):
        (root / name).mkdir(parents=True)
        for path in scenes:
            (shutil.copytree if path.is_dir() else shutil.copy)(path, root / name / path.name)
    shutil.rmtree(root / "data/mine/labels")
    visible, infrared = (read_image(root / kind / "rendered_0000.png") for kind in ("visible", "infrared"))
    write_image(root / "visible.png", visible)
    write_image(root / "visible.jpg", visible)
    write_image(root / "infrared.png", infrared)
    for kind in ("visible", "infrared"):
        shutil.copytree(root / kind, root / {"visible": "可见光", "infrared": "红外"}[kind])
    for name in ("blackhot", "raw", "frames"):
        (root / name).mkdir()
    for path in sorted((root / "infrared").iterdir()):
        image = read_image(path)
        write_image(root / "blackhot" / path.name, 255 - image)
        write_image(root / "raw" / path.name, (7000 + 2000 * (image / 255)).astype(np.uint16))
        (7000 + 30 * image.astype("<u2")).tofile(root / "frames" / f"{path.stem}.raw")
    color, heat = render_pair()
    (root / "FLIR0001.jpg").write_bytes(flir_jpeg(to_counts(heat), (root / "visible.jpg").read_bytes(), (128, 96)))
    (root / "FLIR").mkdir()
    shutil.copy(root / "FLIR0001.jpg", root / "FLIR")
    (root / "DCIM").mkdir()
    write_image(root / "DCIM/DJI_0001_W.JPG", visible)
    write_image(root / "DCIM/DJI_0001_T.JPG", infrared)
    (root / "MFNet/images").mkdir(parents=True)
    four = np.dstack([color, (heat * 255).astype(np.uint8)])
    (root / "MFNet/images/00001D.png").write_bytes(encode(four, "PNG"))
    (root / "SegmentationClass").mkdir()
    colors = np.array([(0, 0, 0), (250, 50, 83), (51, 221, 255), (61, 61, 245)], np.uint8)
    for path in (root / "labels").iterdir():
        write_image(root / "SegmentationClass" / path.name, colors[read_image(path)])
    (root / "pairs.csv").write_text("visible,infrared\nvisible.png,infrared.png\n")
    for kind in ("visible", "infrared"):
        (root / f"{kind}.txt").write_text(f"{kind}.png\n")
    Rig(np.eye(3), (96, 128), (96, 128)).save(root / "rig.json")
    if importlib.util.find_spec("av"):
        from video_files import write_pair

        write_pair(root, 3)
        shutil.copy(root / "infrared.mp4", root / "infrared.mkv")
        for kind in ("visible", "infrared"):
            (root / f"{kind}_videos").mkdir()
            shutil.copy(root / f"{kind}.mp4", root / f"{kind}_videos" / "1.mp4")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run(page: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(world, tmp_path / "world")
    monkeypatch.chdir(folder)
    namespace: dict[str, Any] = {"__name__": "__page__"}
    for block in read_blocks(page):
        missing = [
            name for word, name in NEEDED_PACKAGES.items() if word in block.text and not importlib.util.find_spec(name)
        ]
        if block.language in LANGUAGES and not block.reason and not missing:
            run_block(block, namespace)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.reason and block.language == "bash"], ids=name_of)
def test_commands_of_other_blocks_are_understood(block: CodeBlock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for command in commands(block):
        command = LAUNCHER.sub("", command)
        if command.startswith("gffusion ") and "..." not in command and "$" not in command:
            parse_command(command)


@pytest.mark.parametrize("command", find_inline_commands())
def test_commands_in_sentences_have_known_names_and_options(command: str) -> None:
    _, name, *words = shlex.split(command)
    options = {word for word in words if word.startswith("--")}
    assert options <= list_options(name)


def test_blocks_have_a_known_language_and_a_reason_if_they_do_not_run() -> None:
    assert [name_of(block) for block in BLOCKS if block.language not in LANGUAGES | OTHER_LANGUAGES] == []
    assert [name_of(block) for block in BLOCKS if block.reason and len(block.reason.split()) < 3] == []
    assert sum(not block.reason for block in BLOCKS if block.language in LANGUAGES) > 40


def test_the_site_installs_as_readme_does() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    clone = re.findall(r"`(git clone .*?)`", readme)
    (install, *_) = [block.text for block in BLOCKS if block.page.name == "README.md" and ".ci/run" in block.reason]
    for name in ("index.md", "get-started.md"):
        blocks = [block.text for block in read_blocks(ROOT / "docs" / name) if block.language == "bash"]
        assert "".join(blocks).startswith(f"{clone[0]}\n{install}"), name


def test_slow_settings_stand_in_blocks_that_run() -> None:
    texts = [block.text for block in BLOCKS if not block.reason]
    assert [slow for slow in SMALLER if not any(slow in text for text in texts)] == []
