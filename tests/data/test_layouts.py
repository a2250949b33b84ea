"""Known datasets, rebuilt with tiny images in the folders that users download."""

import json
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gffusion import GFFusionConfig
from gffusion.data import LAYOUTS, FoundPairs, FusionDataset, find_pairs, match_pairs
from gffusion.data.layouts.known import FMB_CLASSES, M3FD_CLASSES, MFNET_CLASSES
from gffusion.data.layouts.unread import describe_unread

RNG = np.random.default_rng(0)
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "training-data.md"
LINES = GUIDE.read_text(encoding="utf-8").partition("| layout |")[2].partition("\n\n")[0]
ROWS = re.findall(r"^\| `(\w+)` \|(.*)\|$", LINES, re.MULTILINE)
TABLE = {name: [cell.strip(" `/") for cell in row.split("|")] for name, row in ROWS}


def make_images(*folders: Path, names: tuple[str, ...] = ("a.png",), channels: int = 3) -> None:
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            pixels = RNG.integers(0, 256, (8, 10, channels), np.uint8)
            if channels == 3:  # gray: infrared images in false colors must have a known palette
                pixels[:] = pixels[..., :1]
            Image.fromarray(pixels if channels > 1 else pixels[..., 0]).save(folder / name)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def voc(name: str) -> str:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>8</ymax></bndbox>"
    return f"<annotation><object><name>{name}</name>{box}</object></annotation>"


def names_of(found: FoundPairs) -> list[str]:
    return [pair.name for pair in found.match.pairs]


class TestFolders:
    @pytest.mark.parametrize("place", [".", "boxes"])
    def test_yolo_boxes_with_names(self, tmp_path: Path, place: str) -> None:
        make_images(tmp_path / "visible", tmp_path / "infrared")
        write(tmp_path / "boxes" / "a.txt", "1 0.5 0.5 1 1")
        write(tmp_path / place / "classes.txt", "person\nbicycle\n\n")
        dataset = FusionDataset(tmp_path)
        assert dataset.class_names == ("person", "bicycle")
        assert dataset[0]["boxes"].tolist() == [[0, 0, 10, 8]]

    def test_coco_boxes(self, tmp_path: Path) -> None:
        make_images(tmp_path / "visible", tmp_path / "infrared")
        (tmp_path / "settings.json").mkdir()
        assert FusionDataset(tmp_path).class_names is None
        write(tmp_path / "boxes" / "._all.json", "of macOS")
        annotation = '{"image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4]}'
        text = f'{{"images": [{{"id": 1, "file_name": "A.jpg"}}], "annotations": [{annotation}], "categories": '
        write(tmp_path / "boxes" / "all.json", text + '[{"id": 5, "name": "car"}, {"id": 3, "name": "bus"}]}')
        dataset = FusionDataset(tmp_path)
        assert dataset.class_names == ("bus", "car")
        assert dataset[0]["boxes"].tolist() == [[1, 2, 4, 6]]
        assert dataset[0]["box_classes"].tolist() == [1]
        write(tmp_path / "boxes" / "all.json", text + '[{"id": 5, "name": "car"}, {"id": 3, "name": "_background_"}]}')
        assert FusionDataset(tmp_path).class_names == ("car",)
        write(tmp_path / "boxes" / "all.json", text + '[{"id": 5, "name": "Background"}, {"id": 3, "name": "car"}]}')
        with pytest.raises(ValueError, match=r"all\.json lists .*: remove 'Background'; .* `class_names`"):
            FusionDataset(tmp_path)
        write(tmp_path / "classes.txt", "car")
        assert find_pairs(tmp_path).class_names == ("car",)
        write(tmp_path / "boxes" / "more.json", text)
        with pytest.raises(ValueError, match=r"2 COCO files \(all\.json"):
            find_pairs(tmp_path)
        write(tmp_path / "boxes" / "more.json", '{"shapes": []}')
        assert find_pairs(tmp_path).pairs[0].boxes.coordinates == ((1, 2, 4, 6),)
        write(tmp_path / "boxes" / "all.json", '{"shapes": []}')  # LabelMe's, one for each image
        with pytest.raises(
            ValueError, match=r"boxes holds no box files; .* 2 \.json files: they are no COCO files; .* export"
        ):
            find_pairs(tmp_path)

    def test_label_maps_in_the_order_of_a_coco_file(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """Nothing tells that the label maps were made from that file."""
        make_images(tmp_path / "visible", tmp_path / "infrared", names=("a.png",))
        categories = [{"id": number, "name": name} for number, name in enumerate(("objects", "person", "car"))]
        box = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
        content = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [box], "categories": categories}
        write(tmp_path / "_annotations.coco.json", json.dumps(content))
        FusionDataset(tmp_path)
        assert "label maps" not in caplog.text
        make_images(tmp_path / "labels", names=("a.png",), channels=1)
        FusionDataset(tmp_path)
        assert "are read as 0 background, 1 objects, 2 person, 3 car, in the order of the categories of" in caplog.text
        assert "_annotations.coco.json: if they have other numbers, list the classes after" in caplog.text
        caplog.clear()
        FusionDataset(tmp_path, class_names=["objects", "person", "car"])
        write(tmp_path / "classes.txt", "person\ncar")
        assert FusionDataset(tmp_path).class_names == ("person", "car")
        assert "label maps" not in caplog.text

    @pytest.mark.parametrize("folder", ["labels", "boxes"])
    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            ("\n", "names no class"),
            ("person\nPerson", "names 'Person' twice"),
            ("person\nBackground", "remove 'Background'"),
            ("background\nperson", None),
            ("__background__\nperson", None),
        ],
    )
    def test_lists_of_classes(self, tmp_path: Path, folder: str, lines: str, message: str | None) -> None:
        """A first line "background" is the label 0, but boxes have no such class."""
        make_images(tmp_path / "visible", tmp_path / "infrared", names=("a.png",))
        write(tmp_path / "classes.txt", lines)
        write(tmp_path / folder / "a.txt", "")
        if message or folder == "boxes":
            message = message or f"remove '{lines.splitlines()[0]}'"
            make_images(tmp_path / "labels", names=("a.png",), channels=1)
            with pytest.raises(ValueError, match=rf"classes\.txt .*{message}.*`class_names`"):
                FusionDataset(tmp_path)
            assert FusionDataset(tmp_path, class_names=["b", "c"]).class_names == ("b", "c")
        else:
            make_images(tmp_path / "labels", names=("a.png",), channels=1)
            assert FusionDataset(tmp_path).class_names == ("person",)

    @pytest.mark.parametrize("names", [["a", "A"], ["background", "a"], []])
    def test_wrong_class_names_are_refused(self, tmp_path: Path, names: list[str]) -> None:
        make_images(tmp_path / "visible", tmp_path / "infrared", names=("a.png",))
        with pytest.raises(ValueError, match="class_names "):
            FusionDataset(tmp_path, class_names=names)

    def test_boxes_without_a_pair_are_reported(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        make_images(tmp_path / "visible", tmp_path / "infrared")
        for name in ("a.txt", "b.txt", "c.txt"):
            write(tmp_path / "boxes" / name, "")
        find_pairs(tmp_path)
        assert caplog.records[0].getMessage() == f"{tmp_path}: left out 2 boxes without a pair (b.txt, c.txt)"

    @pytest.mark.parametrize(
        ("visible", "infrared"),
        [
            ("rgb", "thermal"), ("Visible Light", "Thermal_Images"), ("可见光", "红外"), ("可見光圖像", "紅外線"), ("RGB", "T"),
            ("sichtbar", "Wärmebild"), ("optique", "infrarouge"), ("luz_visible", "térmica"), ("видимый", "ИК"),
            ("可視光", "赤外線"), ("가시광", "열화상"), ("vis", "lwir"), ("eo", "ir"), ("RGB", "thermal_8_bit"), ("rgb", "nir"),
        ],
    )  # fmt: skip
    def test_usual_names_of_folders(self, tmp_path: Path, visible: str, infrared: str) -> None:
        folders = [tmp_path / unicodedata.normalize("NFD", name) for name in (visible, infrared)]
        make_images(*folders)
        (tmp_path / "labels_old").mkdir()
        for match in (find_pairs(tmp_path).match, match_pairs(tmp_path, tmp_path)):
            assert [(pair.visible.parent, pair.infrared.parent) for pair in match.pairs] == [tuple(folders)]

    def test_missing_folders(self, tmp_path: Path) -> None:
        make_images(tmp_path / "visible", tmp_path / "depth")
        with pytest.raises(FileNotFoundError, match=r"infrared in .*, which contains the folders depth, visible"):
            find_pairs(tmp_path)
        with pytest.raises(FileNotFoundError, match="folder val in"):
            find_pairs(tmp_path, split="val")
        (tmp_path / "mine").mkdir()
        (tmp_path / "pairs.txt").touch()
        for name, error in (("mine", FileNotFoundError), ("pairs.txt", NotADirectoryError)):
            with pytest.raises(error, match=rf"{name}.*give a CSV file of pairs .*fuse also takes two.*from_dataset"):
                find_pairs(tmp_path / name)
        with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
            find_pairs(tmp_path / "nowhere")

    def test_list_of_pairs(self, tmp_path: Path) -> None:
        make_images(tmp_path / "first", names=("a.png", "b.png"))
        make_images(tmp_path / "second", names=("1.png", "2.png"))
        make_images(tmp_path / "data" / "visible", tmp_path / "data" / "infrared", names=("c.png",))
        file = tmp_path / "pairs.csv"
        file.write_text("visible,infrared,difference\nfirst/b.png,second/1.png,0.02\nfirst/a.png,second/2.png,0.01\n")
        found = find_pairs(file, "msrs")
        assert [(pair.visible.name, pair.infrared.name) for pair in found.pairs] == [
            ("b.png", "1.png"),
            ("a.png", "2.png"),
        ]
        assert FusionDataset([file, tmp_path / "data"]).names == ("b", "a", "c")
        with pytest.raises(ValueError, match=r"pairs\.csv lists pairs and has no split 'train': leave the split out"):
            find_pairs(file, split="train")
        with pytest.raises(FileNotFoundError, match=r"lost\.csv does not exist"):
            find_pairs(tmp_path / "lost.csv")


class TestM3FD:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        make_images(tmp_path / "Vis", tmp_path / "Ir", names=("00000.png", "00001.png", "00002.png"))
        for index, label in enumerate(("People", "Truck", "Lamp")):
            write(tmp_path / "Annotation" / f"0000{index}.xml", voc(label))
        return tmp_path

    def test_classes_are_the_labels_of_the_default_model(self, root: Path) -> None:
        dataset = FusionDataset(root, layout="m3fd")
        id2label = GFFusionConfig().id2label
        assert ["background", *dataset.class_names] == [id2label[index] for index in sorted(id2label)]
        assert [id2label[int(item["box_classes"][0]) + 1] for item in dataset] == ["person", "truck", "lamp"]
        assert dataset[0]["boxes"].tolist() == [[0, 0, 10, 8]]

    def test_split(self, root: Path, caplog: pytest.LogCaptureFixture) -> None:
        make_images(root / "Vis", names=("00009.png",))
        write(root / "meta" / "val.txt", "Vis\\00002.png\n00000.png\n00777.png\n")  # the first as Windows writes it
        assert names_of(find_pairs(root, "m3fd", "val")) == ["00000", "00002"]
        (record,) = caplog.records  # 00009.png, which has no partner, is in another split
        assert "val.txt: 1 names without a pair (00777)" in record.getMessage()
        with pytest.raises(
            FileNotFoundError, match=r"'test' has no list .* looked for .*test\.txt and .*meta.test\.txt"
        ):
            find_pairs(root, "m3fd", "test")
        (root / "meta" / "val.txt").write_text("00002.png\n", encoding="utf-16")
        assert names_of(find_pairs(root, "m3fd", "val")) == ["00002"]
        (root / "meta" / "val.txt").write_text("00002.png\nwärme.png\n", encoding="cp1252")
        with pytest.raises(ValueError, match=r"val\.txt is not UTF-8 text"):
            find_pairs(root, "m3fd", "val")

    def test_fusion_part_has_no_boxes(self, tmp_path: Path) -> None:
        make_images(tmp_path / "Vis", tmp_path / "Ir")
        assert set(FusionDataset(tmp_path, layout="m3fd")[0]) == {"visible_values", "infrared_values", "name"}


class TestMFNet:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        names = ("00001D.png", "00003N.png", "00004N.png")
        make_images(tmp_path / "images", names=names, channels=4)
        make_images(tmp_path / "labels", names=names, channels=1)
        write(tmp_path / "train.txt", "00003N\n00001D\n00003N_flip\n")
        return tmp_path

    def test_four_channels(self, root: Path) -> None:
        dataset = FusionDataset(root, layout="mfnet")
        assert len(dataset) == 3
        stored = np.asarray(Image.open(root / "images" / "00003N.png"))
        values = torch.cat([dataset[1]["visible_values"], dataset[1]["infrared_values"]]).permute(1, 2, 0)
        np.testing.assert_allclose(values, stored / 255, atol=1e-6)
        assert dataset.read_sizes() == [(8, 10)] * 3
        assert dataset.class_names == MFNET_CLASSES

    def test_split_with_flips(self, root: Path, caplog: pytest.LogCaptureFixture) -> None:
        assert names_of(find_pairs(root, "mfnet", "train")) == ["00001D", "00003N"]
        (record,) = caplog.records
        assert "1 names without a pair (00003n_flip)" in record.getMessage()

    def test_three_channels(self, root: Path) -> None:
        make_images(root / "images", names=("00001D.png",))
        with pytest.raises(ValueError, match=r"00001D\.png holds one image"):
            FusionDataset(root, layout="mfnet")[0]


@pytest.mark.parametrize(
    ("layout", "folders", "class_names"),
    [
        ("msrs", ("vi", "ir", "Segmentation_labels"), MFNET_CLASSES),
        ("msrs", ("Visible", "Infrared", "Label"), MFNET_CLASSES),
        ("fmb", ("Visible", "Infrared", "Label"), FMB_CLASSES),
        ("folders", ("Visible", "INFRARED", "labels"), None),
    ],
)
def test_splits_in_folders(
    tmp_path: Path, layout: str, folders: tuple[str, str, str], class_names: tuple[str, ...] | None
) -> None:
    for split in ("train", "test"):
        parts = [tmp_path / split / folder for folder in (*folders, "color")]
        make_images(*parts, names=(f"{split}.png",), channels=1)
    for root, split in ((tmp_path, "Train"), (tmp_path / "train", None)):
        found = find_pairs(root, layout, split)
        assert names_of(found) == ["train"]
        assert found.match.pairs[0].labels == tmp_path / "train" / folders[2] / "train.png"
        assert found.class_names == class_names
    with pytest.raises(FileNotFoundError, match="; choose one of the splits test, train with split="):
        find_pairs(tmp_path, layout)


@pytest.mark.parametrize(
    ("folders", "kind", "unread", "advice"),
    [
        (("vi", "ir", "Segmentation_labels", "visualized"), "labels", "Segmentation_labels is", '"msrs" .--layout msrs. if this is MSRS, or rename the folder to labels if it holds label maps of your own$'),
        (("Visible", "Infrared", "Label"), "labels", "Label is", "if this is MSRS, or .* if this is FMB, or rename the folder to labels if .* of your own$"),
        (("Vis", "Ir", "Annotation"), "boxes", "Annotation is", "--layout m3fd. if this is M3FD, or rename the folder to boxes if it holds boxes of your own$"),
        (("RGB", "T", "GT"), "labels", "GT is", "rename the folder to labels if it holds label maps$"),
        (("RGB", "T", "Annotations", "xml"), "boxes", "Annotations and .*xml are", "rename the folder to boxes if it holds boxes"),
        (("RGB", "T", "SegmentationClass", "SegmentationObject"), "labels", "SegmentationClass is", "rename .* label maps$"),
        (("visible", "infrared", "fused"), "labels", None, ""),
        (("visible", "infrared", "labels"), "labels", None, ""),
        (("visible", "infrared", "GT"), "boxes", None, ""),
    ],
)  # fmt: skip
def test_folders_that_are_not_read(
    tmp_path: Path, folders: tuple[str, ...], kind: str, unread: str | None, advice: str
) -> None:
    make_images(*(tmp_path / folder for folder in folders[:2]), names=("a.png", "b.png"))
    for folder in folders[2:]:
        if kind == "labels" or folder == "GT":
            make_images(tmp_path / folder, names=("b.png",))
        else:
            write(tmp_path / folder / "b.xml", "")
    make_images(tmp_path / "other", names=("c.png",))
    text = describe_unread(find_pairs(tmp_path).pairs, kind)
    assert re.fullmatch(f"; .*{unread} not read: .*{advice}", text) if unread else not text


def test_own_classes_in_the_folders_of_a_known_dataset(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_images(tmp_path / "visible", tmp_path / "infrared", names=("a.png",))
    write(tmp_path / "classes.txt", "person\nbicycle\ncar\n")
    assert FusionDataset(tmp_path, layout="m3fd").class_names is None
    make_images(tmp_path / "masks", names=("a.png",), channels=1)
    FusionDataset(tmp_path, layout="m3fd", class_names=["person", "bicycle", "car"])
    write(tmp_path / "M3FD" / "classes.txt", "background\n" + "\n".join(M3FD_CLASSES).title())
    for folder in ("visible", "infrared", "masks"):
        make_images(tmp_path / "M3FD" / folder, names=("a.png",), channels=1)
    FusionDataset(tmp_path / "M3FD", layout="m3fd")
    assert "is not read" not in caplog.text
    FusionDataset(tmp_path, layout="m3fd")
    assert "classes.txt is not read: label maps have the classes of the dataset, person, car, bus," in caplog.text
    assert "rename the folder of label maps to labels and leave the layout out" in caplog.text


def test_folder_of_the_visible_images_alone(tmp_path: Path) -> None:
    make_images(tmp_path / "visible", tmp_path / "infrared", names=("a.png",))
    with pytest.raises(FileNotFoundError, match="contains no folders; give its parent folder"):
        find_pairs(tmp_path / "visible")


def test_folder_of_several_datasets(tmp_path: Path) -> None:
    make_images(tmp_path / "b" / "RGB", tmp_path / "b" / "infrared", tmp_path / "a" / "other", names=("a.png",))
    with pytest.raises(FileNotFoundError, match=rf"the folders a, b; give a folder in it, such as {tmp_path / 'b'};"):
        find_pairs(tmp_path)


@pytest.mark.parametrize(
    ("layout", "visible", "infrared"),
    [("roadscene", "crop_LR_visible", "cropinfrared"), ("roadscene", "vi", "ir"), ("tno", "vi", "ir")],
)
def test_datasets_without_labels(tmp_path: Path, layout: str, visible: str, infrared: str) -> None:
    make_images(tmp_path / visible, names=("VIS1.png", "VIS2.png"))
    make_images(tmp_path / infrared, names=("IR1.bmp", "IR2.bmp"))
    make_images(tmp_path / "crop_HR_visible", names=("VIS1.png",))
    pairs = find_pairs(tmp_path, layout).pairs
    assert [(pair.visible.name, pair.infrared.name) for pair in pairs] == [
        ("VIS1.png", "IR1.bmp"),
        ("VIS2.png", "IR2.bmp"),
    ]
    write(tmp_path / "pred.txt", "VIS2")
    assert names_of(find_pairs(tmp_path, layout, "pred")) == ["VIS2"]
    write(tmp_path / "pred.txt", "VIS3")
    with pytest.raises(ValueError, match="lists no image"):
        find_pairs(tmp_path, layout, "pred")


def test_llvip(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split, name in (("train", "010001"), ("test", "190001")):
        make_images(tmp_path / "visible" / split, tmp_path / "infrared" / split, names=(f"{name}.jpg",))
        write(tmp_path / "Annotations" / f"{name}.xml", voc("person"))
    dataset = FusionDataset(tmp_path, layout="llvip", split="test")
    assert dataset.names == ("190001",)
    assert dataset[0]["box_classes"].tolist() == [0]
    assert not caplog.records  # the boxes of the other split are not unmatched
    with pytest.raises(ValueError, match='split="train"'):
        find_pairs(tmp_path, "llvip")


@pytest.mark.parametrize("kind", ["labels", "boxes"])
def test_llvip_files_of_one_split(tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """As after `gffusion masks --split train`: all splits share the folders of label maps and boxes."""
    for split, name in (("train", "010001"), ("test", "190001")):
        make_images(tmp_path / "visible" / split, tmp_path / "infrared" / split, names=(f"{name}.jpg",))
    file = tmp_path / ("masks/010001.png" if kind == "labels" else "Annotations/010001.xml")
    file.parent.mkdir()
    file.touch()
    found = [getattr(find_pairs(tmp_path, "llvip", split).pairs[0], kind) for split in ("train", "test")]
    assert found == [file, None]
    warned = [] if kind == "labels" else [f"{file.parent} has boxes of other splits only"]
    assert [record.getMessage() for record in caplog.records] == warned
    file.rename(file.with_stem("170001"))
    for split in ("train", "test"):
        with pytest.raises(
            ValueError, match=f"no image in .*{split} has the stem of one in {re.escape(str(file.parent))}"
        ):
            find_pairs(tmp_path, "llvip", split)


def test_the_guide_has_all_layouts() -> None:
    assert list(TABLE) == list(LAYOUTS)


@pytest.mark.parametrize("layout", TABLE)
def test_folders_of_the_guide(layout: str, tmp_path: Path) -> None:
    """The folders of label maps and boxes of the other layouts are ignored."""
    visible, infrared, labels, boxes, split = TABLE[layout]
    root = tmp_path / "train" if "around" in split else tmp_path
    folders = [root / name / ("train" if "in those" in split else "") for name in (visible, infrared)]
    make_images(*folders, channels=4 if visible == infrared else 3)
    make_images(*(root / row[2] for row in TABLE.values() if row[2]), channels=1)
    for row in TABLE.values():
        write(root / row[3] / "a.xml", voc("person"))
    write(tmp_path / "train.txt", "a.png" if "list" in split else "other.png")
    (pair,) = find_pairs(tmp_path, layout, "train").pairs
    assert [pair.visible, pair.infrared] == [folder / "a.png" for folder in folders]
    assert pair.labels == (root / labels / "a.png" if labels else None)
    assert pair.boxes == (root / boxes / "a.xml" if boxes else None)
    if "in those" not in split:  # LLVIP needs a split
        assert len(find_pairs(root, layout).pairs) == 1
    if "around" in split:  # such layouts are listed in `_LAYOUTS_OF_SPLIT_FOLDERS`, for this advice
        with pytest.raises(
            FileNotFoundError, match=f"the layout '{layout}' .*; choose one of the splits train with split="
        ):
            find_pairs(tmp_path, layout)


def test_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(f"'M3F' is unknown; choose one of {', '.join(LAYOUTS)}")):
        find_pairs(tmp_path, "M3F")
