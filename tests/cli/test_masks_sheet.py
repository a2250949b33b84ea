"""`gffusion masks --contact-sheet`: the sheet, and files that it does not replace."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

NAMES = [f"rendered_{number:04d}" for number in range(3)]


@pytest.mark.parametrize("sheet", ["visible/{0}", "infrared/{1}", "visible/extra", "labels/{0}", "labels/sheet"])
def test_contact_sheet_does_not_replace_data(gffusion: Callable, data: Path, sheet: str) -> None:
    """Also files of pairs without boxes, without partner, and label maps that are not written again."""
    (data / "boxes" / f"{NAMES[1]}.txt").unlink()
    (data / "labels").mkdir()
    shutil.copy(data / "visible" / f"{NAMES[0]}.png", data / "visible" / "rendered_0009.png")
    for name in NAMES:
        Image.new("L", (240, 160)).save(data / "labels" / f"{name}.png")
    before = {file: file.read_bytes() for file in data.rglob("*") if file.is_file()}
    file = data / f"{sheet.format(*NAMES).replace('extra', 'rendered_0009')}.png"
    options = ("--method", "threshold", "-o", "out/labels", "--overwrite", "--contact-sheet", file)
    outcome = gffusion("masks", data, *options)
    assert outcome.exit_code == 2 and "is in a folder of the data" in outcome.err
    assert {file: file.read_bytes() for file in data.rglob("*") if file.is_file()} == before


def test_contact_sheet_in_the_output_folder(gffusion: Callable, data: Path) -> None:
    """Runs can be repeated, also with pairs that were added or fail."""
    command = ("masks", data, "--method", "threshold", "-o", "out", "--contact-sheet", "out/sheet.png")
    outcome = gffusion(*command[:-1], f"out/{NAMES[0]}.jpg")
    assert outcome.exit_code == 2 and "has the name of a label map" in outcome.err and not Path("out").exists()
    boxes = data / "boxes" / f"{NAMES[2]}.txt"
    boxes.rename("kept.txt")
    for options in ((), ("--overwrite",)):
        assert gffusion(*command, *options).exit_code == 0
    sheet = Path("out/sheet.png").read_bytes()
    boxes.write_text("damaged")
    outcome = gffusion(*command)
    assert outcome.exit_code == 1 and f"1 failed:\n  {NAMES[2]}" in outcome.err
    Path("kept.txt").rename(boxes)
    outcome = gffusion(*command)
    assert outcome.exit_code == 0 and "note: --contact-sheet out/sheet.png exists" in outcome.err
    assert Path("out/sheet.png").read_bytes() == sheet
    assert gffusion(*command, "--overwrite").exit_code == 0 and Path("out/sheet.png").read_bytes() != sheet


def test_no_contact_sheet_of_a_part(gffusion: Callable, data: Path) -> None:
    """The repeated command would keep it."""
    command = ("masks", data, "--method", "threshold", "-o", "out", "--contact-sheet", "sheet.png")
    boxes = data / "boxes" / f"{NAMES[2]}.txt"
    content = boxes.read_bytes()
    boxes.write_text("damaged")
    outcome = gffusion(*command)
    assert outcome.exit_code == 1 and not Path("sheet.png").exists()
    assert f"wrote no contact sheet: there is no label map of {NAMES[2]};" in outcome.err
    boxes.write_bytes(content)
    assert "3 of 3 label maps shown" in gffusion(*command).out


def test_contact_sheet(gffusion: Callable, data: Path) -> None:
    command = ("masks", data, "--method", "threshold", "--contact-sheet", "look/sheet.png")
    outcome = gffusion(*command)
    assert outcome.out.endswith("3 of 3 label maps shown -> look/sheet.png\n")
    with Image.open("look/sheet.png") as sheet:
        assert sheet.size[0] > 1500 and sheet.size[1] > 900
    assert gffusion(*command).exit_code == 0  # with the same image, as after an interruption
    Path("look/sheet.png").write_bytes(b"mine")
    outcome = gffusion(*command)
    assert outcome.exit_code == 0 and "look/sheet.png exists and shows something else" in outcome.err
    outcome = gffusion(*command, "-o", "new/labels")
    assert outcome.exit_code == 2 and "look/sheet.png exists: choose another file, or pass --overwrite" in outcome.err
    assert Path("look/sheet.png").read_bytes() == b"mine" and not Path("new").exists()
    assert gffusion(*command, "--overwrite").exit_code == 0
    Path("look/sheet.png").unlink()
    assert gffusion(*command).exit_code == 0  # of maps that exist
    assert Path("look/sheet.png").is_file()
    Path("look/sheet.png").unlink()
    for name in NAMES:
        Image.new("L", (240, 160)).save(data / "labels" / f"{name}.png")
    assert "the 3 label maps contain no objects" in gffusion(*command).err
