"""Matching of file names, and reading of pairs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gffusion.data import NamedBoxes, PairMatch, match_pairs, read_pair, write_image

Match = Callable[..., PairMatch]


@pytest.fixture
def match(tmp_path: Path) -> Match:
    """Match folders of empty files, given by name."""

    def match_names(**folders: list[str]) -> PairMatch:
        for kind, names in folders.items():
            (tmp_path / kind).mkdir()
            for name in names:
                (tmp_path / kind / name).touch()
        return match_pairs(**{kind: tmp_path / kind for kind in folders})

    return match_names


def files_of(match: PairMatch) -> list[tuple[str, str]]:
    return [(pair.visible.name, pair.infrared.name) for pair in match.pairs]


class TestStems:
    def test_natural_order_any_suffix_any_case(self, match: Match, tmp_path: Path) -> None:
        found = match(
            visible=["img10.png", "IMG2.PNG", "img1.jpeg", "b.tif", "1.png", "01.png"],
            infrared=["img2.bmp", "img1.tiff", "Img10.webp", "B.jpg", "1.png", "01.png"],
        )
        assert files_of(found) == [
            ("01.png", "01.png"),
            ("1.png", "1.png"),
            ("b.tif", "B.jpg"),
            ("img1.jpeg", "img1.tiff"),
            ("IMG2.PNG", "img2.bmp"),
            ("img10.png", "Img10.webp"),
        ]
        assert [pair.name for pair in found.pairs] == ["01", "1", "b", "img1", "IMG2", "img10"]
        assert found.pairs[2].visible == tmp_path / "visible" / "b.tif"
        assert {pair.labels for pair in found.pairs} == {pair.boxes for pair in found.pairs} == {None}
        assert found.visible_only == found.infrared_only == found.labels_only == ()

    def test_files_without_a_partner(self, match: Match, tmp_path: Path) -> None:
        found = match(
            visible=["a.png", "b.png", "v10.png", "v9.png"],
            infrared=["a.png", "b.png", "i.png"],
            labels=["A.png", "v9.png", "other.png"],
        )
        labels = tmp_path / "labels"
        assert [pair.labels for pair in found.pairs] == [labels / "A.png", None]
        assert [file.name for file in found.visible_only] == ["v9.png", "v10.png"]
        assert found.infrared_only == (tmp_path / "infrared" / "i.png",)
        assert found.labels_only == (labels / "other.png", labels / "v9.png")

    def test_other_files_are_ignored(self, match: Match, tmp_path: Path) -> None:
        match(visible=["a.png", ".b.png", "._a.png", "a.txt", "Thumbs.db", "a"], infrared=["a.png", ".b.png"])
        (tmp_path / "visible" / "c.png").mkdir()
        found = match_pairs(tmp_path / "visible", tmp_path / "infrared")
        assert files_of(found) == [("a.png", "a.png")]
        assert found.visible_only == found.infrared_only == ()

    def test_only_the_last_suffix_is_removed(self, match: Match) -> None:
        assert files_of(match(visible=["s.1.png", "s.2.png"], infrared=["s.2.jpg"])) == [("s.2.png", "s.2.jpg")]

    @pytest.mark.parametrize("twins", [["a.png", "a.jpg"], ["a.png", "A.tif"]])
    def test_two_files_of_one_stem(self, match: Match, twins: list[str]) -> None:
        with pytest.raises(ValueError, match="same stem") as error:
            match(visible=["a.png"], infrared=twins)
        assert all(name in str(error.value) for name in twins)

    @pytest.mark.parametrize(
        ("folders", "message"),
        [
            ({"infrared": ["a.txt"]}, r"infrared holds no images; looked for \.png, \.jpg"),
            ({"infrared": ["3_IR.png"]}, r"1_VIS\.png and 3_IR\.png"),
            ({"infrared": ["1.png"], "labels": ["3_IR.png"]}, r"1_VIS\.png and 3_IR\.png"),
            ({"infrared": ["1.png"], "boxes": ["3.txt"]}, r"1_VIS\.png and 3\.txt"),
        ],
    )
    def test_no_match(self, match: Match, folders: dict[str, list[str]], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            match(visible=["1_VIS.png", "2_VIS.png"], **folders)

    def test_missing_folders(self, match: Match, tmp_path: Path) -> None:
        match(visible=["a.png"], infrared=["a.png"])
        visible, missing = tmp_path / "visible", tmp_path / "missing"
        for folders in ((visible, missing), (visible, visible, missing), (visible, visible, None, missing)):
            with pytest.raises(FileNotFoundError, match="missing does not exist"):
                match_pairs(*folders)
        with pytest.raises(NotADirectoryError, match=r"a\.png is a file"):
            match_pairs(visible, visible / "a.png")


class TestWords:
    @pytest.mark.parametrize(
        ("visible", "infrared"),
        [
            ("0001_vis.png", "0001_ir.png"),
            ("0001-visible.png", "0001-Thermal.tif"),
            ("VIS1.png", "IR1.png"),
            ("vis_0001.png", "ir_0001.png"),
            ("FLIR_00006_RGB.jpg", "FLIR_00006.jpg"),
            ("FLIR_00006_RGB.jpg", "FLIR_00006_PreviewData.jpeg"),
        ],
    )
    def test_match(self, match: Match, visible: str, infrared: str) -> None:
        found = match(visible=[visible], infrared=[infrared])
        assert files_of(found) == [(visible, infrared)]
        assert found.pairs[0].name == Path(visible).stem

    @pytest.mark.parametrize(
        ("visible", "infrared"),
        [("VIS1.png", "IR2.png"), ("vista1.png", "ta1.png"), ("davis.png", "da.png"), ("0001_ir.png", "0001_vis.png")],
    )
    def test_no_match(self, match: Match, visible: str, infrared: str) -> None:
        with pytest.raises(ValueError, match="no image"):
            match(visible=[visible], infrared=[infrared])

    def test_equal_stems_take_precedence(self, match: Match) -> None:
        found = match(visible=["1.png", "1_vis.png", "2.png"], infrared=["1.png", "1_ir.png", "2.png", "2_ir.png"])
        assert files_of(found) == [("1.png", "1.png"), ("1_vis.png", "1_ir.png"), ("2.png", "2.png")]
        assert [file.name for file in found.infrared_only] == ["2_ir.png"]

    @pytest.mark.parametrize(
        ("visible", "infrared"), [(["1.png", "1_vis.png"], ["1_ir.png"]), (["1_vis.png"], ["1_ir.png", "IR_1.png"])]
    )
    def test_ambiguous_match(self, match: Match, visible: list[str], infrared: list[str]) -> None:
        with pytest.raises(ValueError, match="ambiguous match") as error:
            match(visible=visible, infrared=infrared)
        assert all(name in str(error.value) for name in visible + infrared)

    def test_labels_and_boxes_of_either_image(self, match: Match) -> None:
        found = match(
            visible=["1_vis.png", "2_vis.png", "3_vis.png"],
            infrared=["1_ir.png", "2_ir.png", "3_ir.png"],
            labels=["1_mask.png", "2_vis.png", "3_ir_label.png"],
            boxes=["1.txt", "2_ir.xml", "3_rgb.txt", "classes.txt"],
        )
        assert [(pair.labels.name, pair.boxes.name) for pair in found.pairs] == [
            ("1_mask.png", "1.txt"),
            ("2_vis.png", "2_ir.xml"),
            ("3_ir_label.png", "3_rgb.txt"),
        ]
        assert found.labels_only == found.boxes_only == ()


class TestBoxes:
    def test_missing_and_unmatched_files(self, match: Match, tmp_path: Path) -> None:
        found = match(visible=["a.png", "B.png"], infrared=["a.png", "b.png"], boxes=["b.txt", "c.xml", "a.csv"])
        assert [pair.boxes for pair in found.pairs] == [None, tmp_path / "boxes" / "b.txt"]
        assert found.boxes_only == (tmp_path / "boxes" / "c.xml",)

    def test_two_formats_of_one_image(self, match: Match) -> None:
        with pytest.raises(ValueError, match=r"a\.txt and a\.xml .* same stem"):
            match(visible=["a.png"], infrared=["a.png"], boxes=["a.txt", "a.xml"])

    def test_coco_entries(self, tmp_path: Path) -> None:
        for name in ("A.png", "b.png"):
            (tmp_path / name).touch()
        first, spare = (NamedBoxes(f"all.json ({name})", None, (), ()) for name in ("a", "c"))
        found = match_pairs(tmp_path, tmp_path, boxes={"a": first, "C": spare})
        assert [pair.boxes for pair in found.pairs] == [first, None]
        assert found.boxes_only == (spare,)


def test_read_pair_refuses_different_sizes(tmp_path: Path) -> None:
    visible, infrared = tmp_path / "visible.png", tmp_path / "infrared.png"
    write_image(visible, np.zeros((4, 6, 3), np.uint8))
    write_image(infrared, np.zeros((4, 5), np.uint8))
    with pytest.raises(ValueError, match=r"visible\.png measures 6 x 4 pixels, but .*infrared\.png 5 x 4"):
        read_pair(visible, infrared)
