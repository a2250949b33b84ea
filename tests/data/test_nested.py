"""Sub-folders of equal paths are matched; hidden ones, circles and the output are not searched."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from camera_files import touch

from gffusion.data import IMAGE_SUFFIXES
from gffusion.data.nested import list_nested, match_nested


def match(root: Path, ignored: str | None = None) -> tuple[list[tuple[str, str, str]], list[str], list[str]]:
    found = match_nested(root / "vis", root / "ir", (".raw",), () if ignored is None else [root / ignored])
    pairs = [
        (pair.name, str(pair.visible.relative_to(root)), str(pair.infrared.relative_to(root))) for pair in found.pairs
    ]
    alone = ([str(file.relative_to(root)) for file in files] for files in (found.visible_only, found.infrared_only))
    return pairs, *alone  # type: ignore[return-value]


def test_sub_folders_of_equal_paths(tmp_path: Path) -> None:
    touch(tmp_path / "vis", "day10/0.png", "day2/0.png", "day2/a/1_vis.jpg", "day2/9.png", "x/5.png", "z/1.png")
    touch(tmp_path / "ir", "day10/0.raw", "Day2/0.png", "Day2/a/1_ir.png", "y/5.png", "z/2.png")
    pairs, visible_only, infrared_only = match(tmp_path)
    assert pairs == [
        ("day2/0", "vis/day2/0.png", "ir/Day2/0.png"),
        ("day2/a/1_vis", "vis/day2/a/1_vis.jpg", "ir/Day2/a/1_ir.png"),
        ("day10/0", "vis/day10/0.png", "ir/day10/0.raw"),
    ]
    assert sorted(visible_only) == ["vis/day2/9.png", "vis/x/5.png", "vis/z/1.png"]
    assert sorted(infrared_only) == ["ir/y/5.png", "ir/z/2.png"]
    notes = match_nested(tmp_path / "vis", tmp_path / "ir", (".raw",)).notes
    assert f"no sub-folder of {tmp_path / 'ir'} matches {tmp_path / 'vis' / 'x'}" in notes
    assert any(note.startswith(f"no image in {tmp_path / 'vis/z'} has the stem of one") for note in notes)
    touch(tmp_path, "vis/w/5.png")
    notes = match_nested(tmp_path / "vis", tmp_path / "ir", (".raw",)).notes
    lone = f"{tmp_path / 'vis' / 'w'}, {tmp_path / 'vis' / 'x'}"
    assert f"no sub-folder of {tmp_path / 'ir'} matches 2 sub-folders of {tmp_path / 'vis'}: {lone}" in notes


def test_one_folder_holds_both_folders(tmp_path: Path) -> None:
    touch(tmp_path, "visible/day/0.png", "visible/night/0.png", "thermal/day/0.raw", "thermal/night/0.png")
    assert [pair.name for pair in match_nested(tmp_path, tmp_path, (".raw",)).pairs] == ["day/0", "night/0"]
    touch(tmp_path, "visible/1.png", "thermal/1.raw")  # beside sub-folders, which are not searched then
    assert [pair.name for pair in match_nested(tmp_path, tmp_path, (".raw",)).pairs] == ["1"]


def test_hidden_folders_and_circles_are_not_searched(tmp_path: Path) -> None:
    touch(tmp_path, "vis/a/0.png", "vis/.cache/0.png", "ir/a/0.png", "ir/.cache/0.png", "far/1.png", "ir/far/1.png")
    for link, target in (("vis/a/up", tmp_path / "vis"), ("vis/b", tmp_path / "vis/a"), ("vis/far", tmp_path / "far")):
        (tmp_path / link).symlink_to(target, target_is_directory=True)
    (tmp_path / "far/back").symlink_to(tmp_path / "vis", target_is_directory=True)
    assert [pair[0] for pair in match(tmp_path)[0]] == ["a/0", "far/1"]
    assert list_nested(tmp_path / "vis", IMAGE_SUFFIXES) == [tmp_path / "vis/a", tmp_path / "vis/far"]


def test_the_output_is_not_searched(tmp_path: Path) -> None:
    """Unless both folders hold it: then it is one of the inputs, and refused later."""
    touch(tmp_path, "vis/a/0.png", "ir/a/0.png", "vis/out/a/0.png")
    assert match(tmp_path, "vis/out") == ([("a/0", "vis/a/0.png", "ir/a/0.png")], [], [])
    assert match(tmp_path, "vis/a")[0] == match(tmp_path, "vis")[0] == [("a/0", "vis/a/0.png", "ir/a/0.png")]


def test_folders_that_hold_images_are_not_searched(tmp_path: Path) -> None:
    touch(tmp_path, "vis/0.png", "vis/old/1.png", "ir/0.png", "ir/old/1.png")
    assert match(tmp_path) == ([("0", "vis/0.png", "ir/0.png")], [], [])
    assert list_nested(tmp_path / "vis", IMAGE_SUFFIXES) == [tmp_path / "vis"]


def test_what_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "vis/a/0.png", "ir/b/0.png")
    with pytest.raises(ValueError, match="the sub-folders of a pair must have the same name, too"):
        match(tmp_path)
    touch(tmp_path, "ir/a/1.png", "ir/a/0.gif")
    with pytest.raises(ValueError, match=r"same name, except for suffix.*0\.gif: the format \(GIF\) is not read"):
        match(tmp_path)
    touch(tmp_path, "ir/0.png")
    with pytest.raises(
        ValueError, match=r"ir holds images beside its sub-folders \(0\.png\), but .*vis holds images only"
    ):
        match(tmp_path)
    (tmp_path / "ir/0.png").unlink()
    touch(tmp_path, "flat/0.png")
    with pytest.raises(ValueError, match=r"vis holds no images; .*; give one of its sub-folders a \(1 files\)"):
        match_nested(tmp_path / "vis", tmp_path / "flat")
    touch(tmp_path, "vis/A/0.png")
    if (tmp_path / "vis/a").samefile(tmp_path / "vis/A"):
        pytest.skip("the file system ignores case")
    with pytest.raises(ValueError, match="differ only in case"):
        match(tmp_path)


@pytest.mark.parametrize("empty", ["vis", "ir"])
@pytest.mark.parametrize(
    ("name", "advice"), [("0.bin", "raw frames need their size"), ("0.gif", r"\(GIF\) is not read")]
)
def test_the_folder_without_images_is_named(tmp_path: Path, empty: str, name: str, advice: str) -> None:
    """With the advice on other files that a folder without sub-folders gets."""
    touch(tmp_path, "vis/a/0.png", "ir/a/0.png", f"{empty}/a/{name}")
    (tmp_path / empty / "a/0.png").unlink()
    with pytest.raises(ValueError, match=rf"{empty}.a holds no images; .*{advice}"):
        match(tmp_path)


def test_folders_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as `lost+found` and those of Windows, on disks of cameras."""
    touch(tmp_path, "vis/a/0.png", "ir/a/0.png", "vis/lost+found/0.png")
    scan = os.scandir

    def refuse(path: Any) -> Iterator[Any]:
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert match(tmp_path) == ([("a/0", "vis/a/0.png", "ir/a/0.png")], [], [])
    assert f"{tmp_path}/vis/lost+found cannot be read and is left out: Permission denied" in caplog.text
