"""Matching of file names."""

import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_files import touch

from gffusion.data import NamedBoxes, PairMatch, match_pairs
from gffusion.data.pairs import match_results

Match = Callable[..., PairMatch]


@pytest.fixture
def match(tmp_path: Path) -> Match:
    """Match folders of empty files, given by name."""

    def match_names(**folders: list[str]) -> PairMatch:
        for kind, names in folders.items():
            touch(tmp_path / kind, *names)
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
            ({"infrared": ["a.mp4"]}, r"infrared holds no images; looked for .*; it holds videos, which only `gffusion fuse` takes"),
            (
                {"infrared": ["3_IR.png"]},
                r"1_VIS\.png and 3_IR\.png.*: rename them, or give a CSV file of pairs to `gffusion fuse`.* `gffusion match` writes the CSV file",
            ),
            ({"infrared": ["1.png"], "labels": ["3_IR.png"]}, r"1_VIS\.png and 3_IR\.png.*: rename them$"),
            ({"infrared": ["1.png"], "boxes": ["3.txt"]}, r"1_VIS\.png and 3\.txt.*: rename them$"),
        ],
    )  # fmt: skip
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
            ("DJI_20230601_0001_W.JPG", "DJI_20230601_0001_T.JPG"),
            ("DJI_0001_V.jpg", "DJI_0001_T.tiff"),
            ("DJI_20230601120000_0001_Z.JPG", "DJI_20230601120000_0001_T.JPG"),
            ("DJI_20230601120001_0001_W.JPG", "DJI_20230601120000_0001_T.JPG"),  # the second passes between the files
            ("DJI_20230601120001_0001_W_tower.JPG", "DJI_20230601120000_0001_T_tower.JPG"),
            ("DJI_20230601115959_0002_V.JPG", "DJI_20230601120000_0001_T.JPG"),
            ("DC_0002.jpg", "IR_0001.jpg"),  # FLIR numbers them consecutively
            ("20180101_120000.JPG", "20180101_120000_8b.JPG"),  # FLIR Duo Pro R
            ("20180101_120000.JPG", "20180101_120000_R.JPG"),
            ("IMG_1_可见光.png", "IMG_1_红外.png"),
            ("可见光0001.png", "红外0001.png"),
            ("街道可见光.png", "街道红外.png"),
            ("sichtbar_1.png", "Wärmebild_1.png"),
            ("1_видимый.png", "1_ИК.png"),
            ("1-optical.png", "1-thermal.png"),
            ("1_rgb.png", "1_nir.png"),
            ("00000001_co.png", "00000001_ir.png"),  # VEDAI
            ("v000001.jpg", "i000001.jpg"),  # LasHeR
            ("00001v.jpg", "00001i.jpg"),  # RGBT234
            ("VIS_meting012-1200_r.bmp", "IR_meting012-1200_g.bmp"),  # TNO
            ("DJI_20230601120000_0001_D.JPG", "DJI_20230601120000_0001_MS_NIR.TIF"),
            ("1_visible.png", "1_fir.png"),
            ("VIS_1.png", "IR_1_nir.png"),
        ],
    )
    def test_match(self, match: Match, visible: str, infrared: str) -> None:
        found = match(visible=[visible], infrared=[infrared])
        assert files_of(found) == [(visible, infrared)]
        assert found.pairs[0].name == Path(visible).stem

    @pytest.mark.parametrize(
        ("visible", "infrared"),
        [
            ("DJI_20230601120009_0001_W.JPG", "DJI_20230601120000_0001_T.JPG"),
            ("DC_0001.jpg", "IR_0004.jpg"),
            ("DJI_20230601120004_0002_W.JPG", "DJI_20230601120000_0001_T.JPG"),
            ("new.png", "ne.png"),
            ("cat.png", "ca.png"),
            ("VIS1.png", "IR2.png"),
            ("vista1.png", "ta1.png"),
            ("davis.png", "da.png"),
            ("0001_ir.png", "0001_vis.png"),
            ("1_co.png", "2_ir.png"),
            ("1_co.png", "1.png"),
            ("v000001.jpg", "i000002.jpg"),
            ("i000001.jpg", "v000001.jpg"),
            ("v000001.jpg", "000001.jpg"),
            ("va.jpg", "ia.jpg"),
            ("1v.jpg", "1.jpg"),
            ("VIS_1_r.bmp", "IR_2_g.bmp"),
            ("VIS_1_g.bmp", "IR_1_r.bmp"),
        ],
    )
    def test_no_match(self, match: Match, visible: str, infrared: str) -> None:
        with pytest.raises(ValueError, match="no image"):
            match(visible=[visible], infrared=[infrared])

    @pytest.mark.parametrize(
        ("visible", "infrared", "shared"),
        [("1_co", "1_ir", "1"), ("v01", "i01", "01"), ("01v", "01i", "01"), ("VIS_a-1_r", "IR_a-1_g", "A-1")],
    )
    def test_names_of_what_belongs_to_known_pairs(
        self, match: Match, tmp_path: Path, visible: str, infrared: str, shared: str
    ) -> None:
        """Label maps, boxes and fused images can have the name of either image, or what both share."""
        images = {"visible": [f"{visible}.png", "b.png"], "infrared": [f"{infrared}.png", "b.png"]}
        (pair, _) = sorted(match(**images).pairs, key=lambda pair: pair.name == "b")
        for name in (visible, infrared, shared):
            for kind, suffix in (("labels", "png"), ("boxes", "txt")):
                shutil.rmtree(tmp_path / kind, ignore_errors=True)
                touch(tmp_path / kind, f"{name}.{suffix}")
            found = match_pairs(*(tmp_path / kind for kind in ("visible", "infrared", "labels", "boxes"))).pairs
            files = [(tmp_path / "labels" / f"{name}.png", tmp_path / "boxes" / f"{name}.txt")]
            assert [(other.labels, other.boxes) for other in found if other.name == pair.name] == files
            results = match_results([pair.visible], tmp_path / "labels")
            assert results == {visible: tmp_path / "labels" / f"{name}.png"}
        (tmp_path / "labels" / f"{infrared}.png").touch()  # not certain
        with pytest.raises(ValueError, match="no image"):
            match_results([pair.visible], tmp_path / "labels")

    def test_equal_stems_take_precedence(self, match: Match) -> None:
        found = match(visible=["1.png", "1_vis.png", "2.png"], infrared=["1.png", "1_ir.png", "2.png", "2_ir.png"])
        assert files_of(found) == [("1.png", "1.png"), ("1_vis.png", "1_ir.png"), ("2.png", "2.png")]
        assert [file.name for file in found.infrared_only] == ["2_ir.png"]

    @pytest.mark.parametrize(
        ("visible", "infrared", "pair"),
        [
            (["DJI_0001_V.JPG", "DJI_0001_T.JPG"], ["DJI_0001_T.tiff"], ("DJI_0001_V.JPG", "DJI_0001_T.tiff")),
            (["DJI_0001_V.JPG"], ["DJI_0001_T.JPG", "DJI_0001_V.JPG"], ("DJI_0001_V.JPG", "DJI_0001_T.JPG")),
            (["IMG_1.jpg", "IMG_1_IR.jpg"], ["IMG_1_IR.tif"], ("IMG_1.jpg", "IMG_1_IR.tif")),
            (["FLIR_1_RGB.jpg"], ["FLIR_1_RGB.jpg", "FLIR_1.jpg"], ("FLIR_1_RGB.jpg", "FLIR_1.jpg")),
            (
                ["DJI_20230601120001_0001_V.JPG", "DJI_20230601120000_0001_T.JPG"],
                ["DJI_20230601120000_0001_T.tiff"],
                ("DJI_20230601120001_0001_V.JPG", "DJI_20230601120000_0001_T.tiff"),
            ),
        ],
    )
    def test_images_of_the_other_kind_are_left_out(
        self, match: Match, visible: list[str], infrared: list[str], pair: tuple[str, str]
    ) -> None:
        found = match(visible=visible, infrared=infrared)
        assert files_of(found) == [pair]
        assert "left out (1, such as" in found.notes[0]
        assert found.visible_only == found.infrared_only == ()

    @pytest.mark.parametrize("names", [["A_V.png", "A_T.png"], ["A_T.png"], ["A_T.png", "B_V.png"]])
    def test_names_alone_leave_out_no_file(self, match: Match, names: list[str]) -> None:
        assert files_of(match(visible=names, infrared=names)) == [(name, name) for name in sorted(names)]

    @pytest.mark.parametrize(
        ("visible", "bands", "partner"),
        [
            ("1_RGB.jpg", "R G B NIR", "1_NIR.tif"),
            ("1.jpg", "R RE NIR", "1_NIR.tif"),
            ("1.jpg", "R G T", "1_T.tif"),
            ("DJI_20230601120000_0001.jpg", "R NIR", "DJI_20230601120000_0001_NIR.tif"),
            ("20180101_120000.jpg", "8b R", "20180101_120000_R.tif"),  # FLIR Duo Pro R
        ],
    )
    def test_red_bands_and_radiometric_images(
        self, match: Match, tmp_path: Path, visible: str, bands: str, partner: str
    ) -> None:
        names = [f"{visible.removesuffix('.jpg').removesuffix('_RGB')}_{band}.tif" for band in bands.split()]
        assert files_of(match(visible=[visible], infrared=names)) == [(visible, partner)]
        touch(tmp_path / "card", visible, *names)
        assert (visible, partner) in files_of(match_pairs(tmp_path / "card", tmp_path / "card"))

    def test_near_infrared_does_not_replace_thermal_images(self, match: Match, tmp_path: Path) -> None:
        visible, infrared = ["1_rgb.tif", "2_rgb.tif"], ["1_nir.tif", "2_nir.tif", "2_thermal.tif"]
        found = match(visible=visible, infrared=infrared)
        assert files_of(found) == [("2_rgb.tif", "2_thermal.tif")]
        assert len(found.visible_only) == 1 and len(found.infrared_only) == 2
        touch(tmp_path / "card", *visible, *infrared)
        assert files_of(match_pairs(tmp_path / "card", tmp_path / "card")) == [("2_rgb.tif", "2_thermal.tif")]

    def test_right_camera(self, match: Match) -> None:
        with pytest.raises(ValueError, match="no image"):
            match(visible=["1.png"], infrared=["1_L.png", "1_R.png"])

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


class TestUnicode:
    @pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
    @pytest.mark.parametrize("stem", ["Straße_é", "Ünter", "がぎぐ", "한국"])
    def test_composed_and_decomposed_names_match(self, match: Match, forms: tuple[Any, Any], stem: str) -> None:
        visible, infrared = (unicodedata.normalize(form, stem) for form in forms)
        found = match(visible=[f"{visible}.png"], infrared=[f"{infrared}_IR.png"], labels=[f"{infrared}.png"])
        assert files_of(found) == [(f"{visible}.png", f"{infrared}_IR.png")]
        assert found.pairs[0].labels is not None


class TestShots:
    """Names of DJI's cameras, in two folders or in one."""

    @pytest.mark.parametrize("waypoint", ["", "_Waypoint1", "_航点1"])
    @pytest.mark.parametrize("one_folder", [False, True])
    def test_the_wide_camera_comes_first(self, tmp_path: Path, one_folder: bool, waypoint: str) -> None:
        names = [f"DJI_2023060112000{second}_000{number}_{letter}{waypoint}.JPG"
                 for number, second in ((1, 0), (2, 2)) for letter in "WZT"]  # fmt: skip
        for name in [*names, f"DJI_20230601120009_0003_V{waypoint}.JPG"]:
            touch(tmp_path / ("DCIM" if one_folder else "T" if "_T" in name else "W"), name)
        folders = ("DCIM", "DCIM") if one_folder else ("W", "T")
        found = match_pairs(*(tmp_path / folder for folder in folders))
        assert [(name[19:25], other[19:25]) for name, other in files_of(found)] == [
            ("0001_W", "0001_T"),
            ("0002_W", "0002_T"),
        ]
        assert [file.name[19:25] for file in found.visible_only] == ["0001_Z", "0002_Z", "0003_V"]
        assert not found.infrared_only
        assert found.notes == (
            "of several visible images of a shot, that of the wide camera is used (_W before _V and _Z)",
        )

    def test_the_zoom_camera_does_not_replace_the_wide_one(self, match: Match) -> None:
        """W is one second later in the second shot, and missing in the third."""
        names = ["DJI_20230601120000_0001_{}", "DJI_20230601120010_0002_{}", "DJI_20230601120020_0003_{}"]
        wide = [names[0].format("W.JPG"), "DJI_20230601120011_0002_W.JPG"]
        zoomed, thermal = ([name.format(letter) for name in names] for letter in ("Z.JPG", "T.JPG"))
        assert len(match(visible=zoomed, infrared=thermal).pairs) == 3
        found = match(visible=[*wide, *zoomed], infrared=thermal)
        assert files_of(found) == list(zip(wide, thermal[:2], strict=True))
        assert [file.name for file in found.visible_only] == zoomed
        assert len(found.infrared_only) == 1 and "the wide camera is used" in found.notes[0]

    def test_equal_numbers_exclude_others(self, match: Match) -> None:
        """With shared numbers, W of the second shot is no partner of T of the third, although its time is near."""
        found = match(
            visible=["DJI_20230601120001_0001_W.JPG", "DJI_20230601120002_0002_W.JPG"],
            infrared=["DJI_20230601120000_0001_T.JPG", "DJI_20230601120003_0003_T.JPG"],
        )
        assert files_of(found) == [("DJI_20230601120001_0001_W.JPG", "DJI_20230601120000_0001_T.JPG")]
        assert len(found.visible_only) == len(found.infrared_only) == 1
        assert found.notes == ("files were matched whose numbers or time stamps differ by one shot of the camera",)

    def test_two_cameras_at_the_same_distance(self, match: Match) -> None:
        with pytest.raises(ValueError, match="no image"):
            match(
                visible=["DJI_20230601120001_0001_W.JPG", "DJI_20230601115959_0001_V.JPG"],
                infrared=["DJI_20230601120000_0001_T.JPG"],
            )


class TestOneFolder:
    @pytest.mark.parametrize(
        ("names", "pairs"),
        [
            (["1_vis.png", "1_ir.png", "2_ir.png"], [("1_vis.png", "1_ir.png")]),
            (["FLIR_1.jpg", "FLIR_1_RGB.jpg"], [("FLIR_1_RGB.jpg", "FLIR_1.jpg")]),
            (["IMG_1.jpg", "IMG_1_T.jpg"], [("IMG_1.jpg", "IMG_1_T.jpg")]),
            (["IR_0001.jpg", "DC_0002.jpg", "IR_0003.jpg", "DC_0004.jpg"],
             [("DC_0002.jpg", "IR_0001.jpg"), ("DC_0004.jpg", "IR_0003.jpg")]),
            (["00001D.png", "00002N.png"], [("00001D.png", "00001D.png"), ("00002N.png", "00002N.png")]),
            (["IR_0001.jpg", "IR_0002.jpg"], [("IR_0001.jpg", "IR_0001.jpg"), ("IR_0002.jpg", "IR_0002.jpg")]),
            (["a_rgb.png", "a_t.png", "b.jpg"], [("a_rgb.png", "a_t.png"), ("b.jpg", "b.jpg")]),
            (["1_co.png", "1_ir.png", "2_ir.png"], [("1_co.png", "1_ir.png")]),
            (["IR_1_g.bmp", "VIS_1_r.bmp"], [("VIS_1_r.bmp", "IR_1_g.bmp")]),
            (["1.png", "1_co.png"], [("1.png", "1.png"), ("1_co.png", "1_co.png")]),
            (["i1.png", "v1.png"], [("i1.png", "i1.png"), ("v1.png", "v1.png")]),
            (["DJI_20230601120000_0001_T_Waypoint1.png", "DJI_20230601120000_0001_W_Waypoint1.png"],
             [("DJI_20230601120000_0001_W_Waypoint1.png", "DJI_20230601120000_0001_T_Waypoint1.png")]),
        ],
    )  # fmt: skip
    def test_given_twice(self, tmp_path: Path, names: list[str], pairs: list[tuple[str, str]]) -> None:
        touch(tmp_path, *names)
        (tmp_path / "link").symlink_to(tmp_path)
        for other in (tmp_path, tmp_path / "link"):
            assert files_of(match_pairs(tmp_path, other)) == pairs

    @pytest.mark.parametrize(
        ("kind", "name", "message"),
        [
            ("labels", "1.txt", r"1 \.txt file: if these are boxes, rename the folder to boxes and run `gffusion masks`"),
            ("labels", "1.xml", r"1 \.xml file: if these are boxes, rename the folder to boxes"),
            ("labels", "1.json", r"1 \.json file: export label maps as PNG files"),
            ("labels", "1.npy", r"1 \.npy file: save each as a PNG file"),
            ("labels", "1.gif", r"1 \.gif file; .*\(GIF\) is not read; convert"),
            ("labels", "classes.txt", r"\.bmp$"),
            ("labels", "default/1.png", r"\.bmp; move the files of its sub-folders default \(1 files\) into it$"),
            ("labels", "a/b/1.png", r"\.bmp; move the files of the folders in it a/b \(1 files\) into it$"),
            ("boxes", "train/1.txt", r"\.xml; move the files of its sub-folders train \(1 files\) into it$"),
        ],
    )  # fmt: skip
    def test_folders_without_label_maps_or_boxes(self, tmp_path: Path, kind: str, name: str, message: str) -> None:
        touch(tmp_path, "visible/1.png", "infrared/1.png", f"{kind}/{name}")
        with pytest.raises(ValueError, match=rf"/{kind} holds no (label maps|box files); looked for .*{message}"):
            match_pairs(tmp_path / "visible", tmp_path / "infrared", **{kind: tmp_path / kind})

    def test_several_label_maps_of_an_image(self, tmp_path: Path) -> None:
        touch(tmp_path, "visible/1.png", "visible/2.png", "infrared/1.png", "infrared/2.png")
        touch(tmp_path, *(f"labels/{number}_mask_{name}.png" for number in (1, 2) for name in ("car", "person")))
        folders = (tmp_path / "visible", tmp_path / "infrared", tmp_path / "labels")
        with pytest.raises(ValueError, match=r"such as 1_mask_car\.png and 1_mask_person\.png: .* merge them"):
            match_pairs(*folders)
        (tmp_path / "labels" / "2_mask_car.png").rename(tmp_path / "labels" / "12_mask_car.png")
        with pytest.raises(ValueError, match="must have the same name"):
            match_pairs(*folders)

    def test_sub_folders_are_named(self, tmp_path: Path) -> None:
        touch(tmp_path, "100MEDIA/1.png", "101MEDIA/2.png", "101MEDIA/3.png", ".hidden/4.png", "outdir/drive.mp4")
        message = r"holds no images; .* give one of its sub-folders 100MEDIA \(1 files\), 101MEDIA \(2 files\), or two as the visible and the infrared images$"
        for infrared in (tmp_path, tmp_path / "100MEDIA"):
            with pytest.raises(ValueError, match=message):
                match_pairs(tmp_path, infrared)

    @pytest.mark.parametrize(
        ("name", "example"), [("lwir", ", such as {}/set00/V000, or a CSV file"), ("other", ", or a CSV file")]
    )
    def test_deeper_folders_are_named(self, tmp_path: Path, name: str, example: str) -> None:
        files = (f"V000/{name}/1.png", "V000/visible/1.jpg", "V001/visible/2.png", "V001/.old/3.png", "V001/x/4.txt")
        touch(tmp_path / "set00", *files)
        folders = rf"set00/V000/{name} \(1 files\), set00/V000/visible \(1 files\), set00/V001/visible \(1 files\)"
        message = f"give one of the folders in it {folders}; .* takes a folder .*{re.escape(example.format(tmp_path))}"
        with pytest.raises(ValueError, match=message):
            match_pairs(tmp_path, tmp_path)


class TestBoxes:
    def test_missing_and_unmatched_files(self, match: Match, tmp_path: Path) -> None:
        found = match(visible=["a.png", "B.png"], infrared=["a.png", "b.png"], boxes=["b.txt", "c.xml", "a.csv"])
        assert [pair.boxes for pair in found.pairs] == [None, tmp_path / "boxes" / "b.txt"]
        assert found.boxes_only == (tmp_path / "boxes" / "c.xml",)

    def test_two_formats_of_one_image(self, match: Match) -> None:
        with pytest.raises(ValueError, match=r"a\.txt and a\.xml .* same stem"):
            match(visible=["a.png"], infrared=["a.png"], boxes=["a.txt", "a.xml"])

    def test_coco_entries(self, tmp_path: Path) -> None:
        touch(tmp_path, "A.png", "b.png")
        first, spare = (NamedBoxes(f"all.json ({name})", None, (), ()) for name in ("a", "c"))
        found = match_pairs(tmp_path, tmp_path, boxes={"a": first, "C": spare})
        assert [pair.boxes for pair in found.pairs] == [first, None]
        assert found.boxes_only == (spare,)


def test_partners_in_formats_that_are_not_read(tmp_path: Path) -> None:
    touch(tmp_path, "vis/1.png", "vis/2_vis.png", "vis/3.png", "ir/1.png", "ir/2_ir.GIF", "ir/3.heic", "ir/9.gif")
    found = match_pairs(tmp_path / "vis", tmp_path / "ir")
    assert [file.name for file in found.visible_only] == ["2_vis.png", "3.png"]
    (note,) = found.notes
    assert note.startswith(
        f"{tmp_path / 'ir' / '2_ir.GIF'} and 1 more: the format (GIF, HEIC) is not read; convert to PNG"
    )
    (tmp_path / "ir/1.png").unlink()
    with pytest.raises(ValueError, match=r"holds no images; .*the format \(.*GIF.*\) is not read; convert"):
        match_pairs(tmp_path / "vis", tmp_path / "ir")


def test_all_equal_stems_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "1.jpg", "2.png", "2.jpg", "3.png")
    with pytest.raises(ValueError, match=r"1\.jpg and 1\.png in .* have the same stem .*, and so have 1 more; remove"):
        match_pairs(tmp_path, tmp_path)


def test_a_file_that_is_listed_twice(tmp_path: Path) -> None:
    """The advice to rename or remove files would be wrong."""
    touch(tmp_path, "1.png", "2.png")
    first, second = tmp_path / "1.png", tmp_path / "2.png"
    other = tmp_path / ".." / tmp_path.name / "2.png"
    for files, message in (
        ([first, first], r"1\.png is listed twice: list"),
        ([first, second, first, first, other], r"1\.png is listed twice, like 1 other file: list each file once"),
    ):
        with pytest.raises(ValueError, match=message):
            match_pairs(files, tmp_path)


def test_lists_of_texts_are_matched_as_their_paths(tmp_path: Path) -> None:
    """As `glob.glob` returns them."""
    folders = tmp_path / "visible", tmp_path / "infrared"
    for folder in folders:
        touch(folder, "1.png", "2.png")
    texts = [[str(file) for file in folder.iterdir()] for folder in folders]
    assert match_pairs(*texts) == match_pairs(*folders)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "the list of images is empty"),
        (None, "expected a folder of images, or a list of their files, got None"),
        ([np.zeros((4, 6))], "a list of images must hold paths, got a ndarray"),
    ],
)
def test_lists_without_files_are_refused(tmp_path: Path, files: Any, message: str) -> None:
    touch(tmp_path, "1.png")
    for given in ((files, files), (tmp_path, files), (files, tmp_path)):
        with pytest.raises(ValueError, match=message):
            match_pairs(*given)
