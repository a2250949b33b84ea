"""Pair matching by file name."""

from pathlib import Path

import pytest

from gffusion.data import NamedBoxes, match_pairs


def folder(path: Path, *names: str) -> Path:
    path.mkdir()
    for name in names:
        (path / name).touch()
    return path


def test_natural_order_any_suffix_any_case(tmp_path: Path) -> None:
    visible = folder(tmp_path / "visible", "img10.png", "IMG2.PNG", "img1.jpeg", "b.tif")
    infrared = folder(tmp_path / "infrared", "img2.bmp", "img1.tiff", "Img10.webp", "B.jpg")
    match = match_pairs(visible, infrared)
    assert [(pair.name, pair.visible.name, pair.infrared.name, pair.labels) for pair in match.pairs] == [
        ("b", "b.tif", "B.jpg", None),
        ("img1", "img1.jpeg", "img1.tiff", None),
        ("IMG2", "IMG2.PNG", "img2.bmp", None),
        ("img10", "img10.png", "Img10.webp", None),
    ]
    assert match.pairs[0].visible == visible / "b.tif"
    assert match.visible_only == match.infrared_only == match.labels_only == ()


def test_numbers_with_leading_zeros_are_different_stems(tmp_path: Path) -> None:
    names = ("1.png", "01.png", "2.png")
    match = match_pairs(folder(tmp_path / "visible", *names), folder(tmp_path / "infrared", *names))
    assert [pair.name for pair in match.pairs] == ["01", "1", "2"]


def test_what_has_no_partner_is_returned(tmp_path: Path) -> None:
    visible = folder(tmp_path / "visible", "a.png", "b.png", "v10.png", "v9.png")
    infrared = folder(tmp_path / "infrared", "a.png", "b.png", "i.png")
    labels = folder(tmp_path / "labels", "A.png", "v9.png", "other.png")
    match = match_pairs(visible, infrared, labels)
    assert [pair.labels for pair in match.pairs] == [labels / "A.png", None]
    assert match.visible_only == (visible / "v9.png", visible / "v10.png")
    assert match.infrared_only == (infrared / "i.png",)
    assert match.labels_only == (labels / "other.png", labels / "v9.png")


def test_only_visible_files_with_an_image_suffix_count(tmp_path: Path) -> None:
    visible = folder(tmp_path / "visible", "a.png", ".b.png", "._a.png", "a.txt", "Thumbs.db", "a")
    (visible / "c.png").mkdir()
    match = match_pairs(visible, folder(tmp_path / "infrared", "a.png", ".b.png"))
    assert [pair.name for pair in match.pairs] == ["a"]
    assert match.visible_only == match.infrared_only == ()


def test_only_the_last_suffix_is_cut_off(tmp_path: Path) -> None:
    visible = folder(tmp_path / "visible", "scene.1.png", "scene.2.png")
    match = match_pairs(visible, folder(tmp_path / "infrared", "scene.2.jpg"))
    assert [pair.name for pair in match.pairs] == ["scene.2"]


@pytest.mark.parametrize("twins", [("a.png", "a.jpg"), ("a.png", "A.tif")])
def test_two_files_of_one_stem(tmp_path: Path, twins: tuple[str, str]) -> None:
    visible = folder(tmp_path / "visible", "a.png")
    with pytest.raises(ValueError, match="same stem") as error:
        match_pairs(visible, folder(tmp_path / "infrared", *twins))
    assert all(name in str(error.value) for name in twins)


def test_folders_that_are_none(tmp_path: Path) -> None:
    visible = folder(tmp_path / "visible", "a.png")
    with pytest.raises(FileNotFoundError, match="infrared"):
        match_pairs(visible, tmp_path / "infrared")
    with pytest.raises(NotADirectoryError, match=r"a\.png"):
        match_pairs(visible, visible / "a.png")
    with pytest.raises(FileNotFoundError, match="labels"):
        match_pairs(visible, visible, tmp_path / "labels")


def test_folder_without_images(tmp_path: Path) -> None:
    visible = folder(tmp_path / "visible", "a.png")
    with pytest.raises(ValueError, match=r"infrared holds no images; looked for \.png, \.jpg"):
        match_pairs(visible, folder(tmp_path / "infrared", "a.txt"))


def test_nothing_in_common(tmp_path: Path) -> None:
    visible = folder(tmp_path / "visible", "0001_VIS.png", "0002_VIS.png")
    infrared = folder(tmp_path / "infrared", "0003_IR.png")
    with pytest.raises(ValueError, match=r"0001_VIS\.png and 0003_IR\.png"):
        match_pairs(visible, infrared)
    with pytest.raises(ValueError, match=r"0001_VIS\.png and 0003_IR\.png"):
        match_pairs(visible, visible, infrared)
    boxes = folder(tmp_path / "boxes", "0003.txt")
    with pytest.raises(ValueError, match=r"0001_VIS\.png and 0003\.txt"):
        match_pairs(visible, visible, boxes=boxes)


class TestCustomaryWords:
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
    def test_match(self, tmp_path: Path, visible: str, infrared: str) -> None:
        match = match_pairs(folder(tmp_path / "visible", visible), folder(tmp_path / "infrared", infrared))
        assert [(pair.visible.name, pair.infrared.name) for pair in match.pairs] == [(visible, infrared)]
        assert match.pairs[0].name == Path(visible).stem

    @pytest.mark.parametrize(
        ("visible", "infrared"),
        [("VIS1.png", "IR2.png"), ("vista1.png", "ta1.png"), ("davis.png", "da.png"), ("0001_ir.png", "0001_vis.png")],
    )
    def test_no_match(self, tmp_path: Path, visible: str, infrared: str) -> None:
        with pytest.raises(ValueError, match="no image"):
            match_pairs(folder(tmp_path / "visible", visible), folder(tmp_path / "infrared", infrared))

    def test_the_same_stem_goes_first(self, tmp_path: Path) -> None:
        visible = folder(tmp_path / "visible", "1.png", "1_vis.png", "2.png")
        infrared = folder(tmp_path / "infrared", "1.png", "1_ir.png", "2.png", "2_ir.png")
        match = match_pairs(visible, infrared)
        assert [(pair.visible.name, pair.infrared.name) for pair in match.pairs] == [
            ("1.png", "1.png"),
            ("1_vis.png", "1_ir.png"),
            ("2.png", "2.png"),
        ]
        assert match.infrared_only == (infrared / "2_ir.png",)

    @pytest.mark.parametrize(
        ("visible", "infrared"), [(["1.png", "1_vis.png"], ["1_ir.png"]), (["1_vis.png"], ["1_ir.png", "IR_1.png"])]
    )
    def test_what_is_open_is_an_error(self, tmp_path: Path, visible: list[str], infrared: list[str]) -> None:
        with pytest.raises(ValueError, match="ambiguous match") as error:
            match_pairs(folder(tmp_path / "visible", *visible), folder(tmp_path / "infrared", *infrared))
        assert all(name in str(error.value) for name in visible + infrared)

    def test_labels_and_boxes_of_either_image(self, tmp_path: Path) -> None:
        visible = folder(tmp_path / "visible", "1_vis.png", "2_vis.png", "3_vis.png")
        infrared = folder(tmp_path / "infrared", "1_ir.png", "2_ir.png", "3_ir.png")
        labels = folder(tmp_path / "labels", "1_mask.png", "2_vis.png", "3_ir_label.png")
        boxes = folder(tmp_path / "boxes", "1.txt", "2_ir.xml", "3_rgb.txt", "classes.txt")
        match = match_pairs(visible, infrared, labels, boxes)
        assert [(pair.labels, pair.boxes) for pair in match.pairs] == [
            (labels / "1_mask.png", boxes / "1.txt"),
            (labels / "2_vis.png", boxes / "2_ir.xml"),
            (labels / "3_ir_label.png", boxes / "3_rgb.txt"),
        ]
        assert match.labels_only == match.boxes_only == ()


class TestBoxes:
    def test_missing_and_spare_files(self, tmp_path: Path) -> None:
        images = folder(tmp_path / "images", "a.png", "B.png")
        boxes = folder(tmp_path / "boxes", "b.txt", "c.xml", "a.csv")
        match = match_pairs(images, images, boxes=boxes)
        assert [pair.boxes for pair in match.pairs] == [None, boxes / "b.txt"]
        assert match.boxes_only == (boxes / "c.xml",)

    def test_two_formats_of_one_image(self, tmp_path: Path) -> None:
        images, boxes = folder(tmp_path / "images", "a.png"), folder(tmp_path / "boxes", "a.txt", "a.xml")
        with pytest.raises(ValueError, match=r"a\.txt and a\.xml .* same stem"):
            match_pairs(images, images, boxes=boxes)

    def test_of_a_coco_file(self, tmp_path: Path) -> None:
        images = folder(tmp_path / "images", "A.png", "b.png")
        first, spare = (NamedBoxes(f"all.json ({name})", None, (), ()) for name in ("a", "c"))
        match = match_pairs(images, images, boxes={"a": first, "C": spare})
        assert [pair.boxes for pair in match.pairs] == [first, None]
        assert match.boxes_only == (spare,)
