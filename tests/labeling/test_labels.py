"""Label maps of several pairs: bad pairs are reported, and the others are still labeled."""

import errno
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from gffusion.data import ImagePair, read_labels
from gffusion.data.boxes import Boxes
from gffusion.labeling.files import choose_label_files
from gffusion.labeling.labels import write_labels
from gffusion.labeling.masks import MaskReport


@pytest.fixture
def pairs(tmp_path: Path) -> list[ImagePair]:
    """Three pairs of 40 x 32 pixels and increasing brightness, each with one box of class 1."""
    found = []
    for index in range(3):
        files = [tmp_path / f"{index}_{kind}" for kind in ("visible.png", "infrared.tif", "boxes.txt")]
        Image.new("RGB", (40, 32), (100 * index, 0, 255)).save(files[0])
        infrared = np.full((32, 40), index * 255 // 2, np.uint8)
        infrared[-1, -1] = 64  # images of one value are noted
        Image.fromarray(infrared).save(files[1])
        files[2].write_text("1 0.5 0.5 0.5 0.5\n")
        found.append(ImagePair(str(index), files[0], files[1], boxes=files[2]))
    return found


def left_half(visible_values: NDArray[Any], infrared_values: NDArray[Any], boxes: Boxes) -> list[NDArray[np.bool_]]:
    """Find the left half of every box."""
    mask = np.zeros((16, 20), dtype=bool)
    mask[:, :10] = True
    return [mask] * len(boxes.classes)


def test_writes_the_masks_of_the_method(pairs: list[ImagePair], tmp_path: Path) -> None:
    seen: list[tuple[Any, ...]] = []

    def method(visible_values: NDArray[Any], infrared_values: NDArray[Any], boxes: Boxes) -> list[NDArray[np.bool_]]:
        seen.append((visible_values[:, 0, 0].tolist(), infrared_values.shape, float(infrared_values[0, 0, 0])))
        return left_half(visible_values, infrared_values, boxes)

    results = list(write_labels(pairs, str(tmp_path / "new" / "labels"), method, ignore_doubtful=False))
    assert [(result.pair, result.report, result.error) for result in results] == [
        (pair, MaskReport(1, 1, 0), None) for pair in pairs
    ]
    expected = np.zeros((32, 40), dtype=np.uint8)
    expected[8:24, 10:20] = 2
    for pair in pairs:
        np.testing.assert_array_equal(read_labels(tmp_path / "new" / "labels" / f"{pair.name}.png"), expected)
    assert seen[2][0] == pytest.approx([200 / 255, 0, 1])
    assert [shape for _, shape, _ in seen] == [(1, 32, 40)] * 3
    assert [level for *_, level in seen] == pytest.approx([0, 127 / 255, 1])


@pytest.mark.parametrize("error", [ValueError, MemoryError, torch.OutOfMemoryError, OSError])
def test_continues_after_errors(pairs: list[ImagePair], tmp_path: Path, error: type[Exception]) -> None:
    calls = []

    def method(*arguments: Any) -> list[NDArray[np.bool_]]:
        calls.append(arguments)
        if len(calls) == 2:
            raise error("the second")
        return left_half(*arguments)

    results = list(write_labels(pairs, tmp_path / "labels", method))
    lack = "" if error in (ValueError, OSError) else "not enough memory for this image: "
    assert [result.error for result in results] == [None, f"{lack}the second", None]
    assert results[1].report == MaskReport(0, 0, 0)
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == ["0.png", "2.png"]


def test_a_full_disk_ends_the_run(pairs: list[ImagePair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("gffusion.labeling.labels.write_image", fail)
    (result,) = write_labels(pairs, tmp_path / "labels", left_half)
    assert result.error is not None and "the disk is full" in result.error


def test_missing_boxes_and_unknown_classes(pairs: list[ImagePair], tmp_path: Path) -> None:
    bare = ImagePair("bare", pairs[0].visible, pairs[0].infrared)
    (result,) = write_labels([bare], tmp_path / "labels", left_half)
    assert result.error is not None and "has no boxes" in result.error
    boxes = Path(str(pairs[0].boxes))
    boxes.write_text("0 0.5 0.5 0.5 0.5\n7 0.5 0.5 0.5 0.5\n")
    (result,) = write_labels(pairs[:1], tmp_path / "labels", left_half, class_names=["person"])
    assert result.error is not None and "the class must be" in result.error
    boxes.write_text("1 0.5 0.5 0.5 0.5\n")
    with pytest.raises(ValueError, match="ids start at 1"):
        list(write_labels(pairs[:1], tmp_path / "labels", left_half, class_names=["person"]))
    assert not (tmp_path / "labels").exists()  # datasets reject a labels folder without files


def test_notes(pairs: list[ImagePair], tmp_path: Path) -> None:
    counts = np.arange(12000, 12000 + 32 * 40, dtype=np.uint16).reshape(32, 40)
    counts[5, 6] = 0  # a dead pixel
    Image.fromarray(counts).save(pairs[0].infrared)
    results = list(write_labels(pairs[:2], tmp_path / "labels", left_half))
    assert [len(result.notes) for result in results] == [1, 0]


@pytest.mark.parametrize("platform", ["darwin", "win32", "linux"])
def test_label_maps_whose_names_differ_only_in_case(
    pairs: list[ImagePair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    named = [replace(pair, name=name) for pair, name in zip(pairs, ("A", "a"), strict=False)]
    if platform == "linux":
        assert [file.name for file in choose_label_files(named, tmp_path)] == ["A.png", "a.png"]
        return
    with pytest.raises(ValueError, match=r"0_visible\.png and .*1_visible\.png would have the same label map .*a\.png"):
        choose_label_files(named, tmp_path)
