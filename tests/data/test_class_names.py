"""Lists of classes that people and other programs write."""

from pathlib import Path

import pytest

from gffusion.data.class_names import check_typed_names, read_unchecked_names
from gffusion.data.file_names import is_background


@pytest.mark.parametrize(
    "background", ["background", "_background_", "__background__", "BG", "Unlabeled", "void", "__ignore__"]
)
def test_first_line_is_label_0(tmp_path: Path, background: str) -> None:
    """LabelMe, Roboflow and MFNet name it so; boxes have no such class, so there it can be another one."""
    file = tmp_path / "classes.txt"
    file.write_text(f"{background}\nperson\ncar\n")
    assert read_unchecked_names(file, of_boxes=False) == ("person", "car")
    assert read_unchecked_names(file, of_boxes=True) == (background, "person", "car")
    with pytest.raises(ValueError, match=f"--class_names lists .*: remove '{background}'"):
        check_typed_names([background, "person"], "--class_names", of_labels=True)
    assert is_background(background) or check_typed_names([background, "person"], "--class_names")


@pytest.mark.parametrize(
    "lines",
    [
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nperson:250,50,83::",  # CVAT
        "background:0,0,0::\nperson:250,50,83::",
        "Pixel Value, Class\n 0, background\n 1, person",  # Roboflow
        "names:\n- person\n- car",
        "names:\n  0: person\n  1: car",
        "- person\n- car",
        "0: person\n1: car",
        "0\tperson\n1\tcar",
        "0 background\n1 person\n2 car",
        "0. person\n1. car",
    ],
)
def test_lines_of_other_files(tmp_path: Path, lines: str) -> None:
    file = tmp_path / "classes.txt"
    file.write_text(lines)
    with pytest.raises(ValueError, match=r"which is more than a name: each line or entry is the name of one class"):
        check_typed_names(read_unchecked_names(file, of_boxes=False), str(file))


@pytest.mark.parametrize(
    "names",
    [
        ["person", "2 wheeler", "3 wheeler", "4-wheeler"],
        ["0", "1", "2"],
        ["0-9 years", "10-19 years"],
        ["18-wheeler", "3,5t LKW", "7,5t LKW"],
        ["1 axle", "2 axles"],
        ["vehicle:car", "vehicle:bus/coach", "T-72", "M1A2.v2", "C#", "name: other"],
        ["#1 bus", "#2 bus"],
        ["0 degrees"],
        ["person", "unlabeled", "none"],
        ["行人", "汽车"],
    ],
)  # fmt: skip
def test_names_with_digits_and_marks(names: list[str]) -> None:
    assert check_typed_names(names, "classes.txt", of_labels=True) == tuple(names)
