"""Known datasets, rebuilt with tiny images in the folders that users download."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gffusion import GFFusionConfig
from gffusion.data import LAYOUTS, FoundPairs, FusionDataset, ImageReadError, find_pairs, read_rgbt

RNG = np.random.default_rng(0)


def images(folder: Path, *names: str, channels: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        pixels = RNG.integers(0, 256, (8, 10, channels), np.uint8)
        Image.fromarray(pixels if channels > 1 else pixels[..., 0]).save(folder / name)
    return folder


def texts(folder: Path, content: str, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def voc(name: str) -> str:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>8</ymax></bndbox>"
    return f"<annotation><object><name>{name}</name>{box}</object></annotation>"


def names_of(found: FoundPairs) -> list[str]:
    return [pair.name for pair in found.match.pairs]


class TestFolders:
    def test_any_case_and_parts(self, tmp_path: Path) -> None:
        images(tmp_path / "train" / "Visible", "a.png", "b.png")
        images(tmp_path / "train" / "INFRARED", "a.png", "b.png")
        assert names_of(find_pairs(tmp_path, split="Train")) == ["a", "b"]

    @pytest.mark.parametrize("place", [".", "boxes"])
    def test_yolo_boxes_with_names(self, tmp_path: Path, place: str) -> None:
        images(tmp_path / "visible", "a.png"), images(tmp_path / "infrared", "a.png")
        texts(tmp_path / "boxes", "1 0.5 0.5 1 1", "a.txt")
        texts(tmp_path / place, "person\nbicycle\n\n", "classes.txt")
        dataset = FusionDataset(tmp_path)
        assert dataset.class_names == ("person", "bicycle")
        assert dataset[0]["boxes"].tolist() == [[0, 0, 10, 8]]

    def test_coco_boxes(self, tmp_path: Path) -> None:
        images(tmp_path / "visible", "a.png"), images(tmp_path / "infrared", "a.png")
        annotation = '{"image_id": 1, "category_id": 5, "bbox": [1, 2, 3, 4]}'
        text = f'{{"images": [{{"id": 1, "file_name": "A.jpg"}}], "annotations": [{annotation}], "categories": '
        texts(tmp_path / "boxes", text + '[{"id": 5, "name": "car"}, {"id": 3, "name": "bus"}]}', "all.json")
        dataset = FusionDataset(tmp_path)
        assert dataset.class_names == ("bus", "car")
        assert dataset[0]["boxes"].tolist() == [[1, 2, 4, 6]]
        assert dataset[0]["box_classes"].tolist() == [1]
        texts(tmp_path / "boxes", text, "more.json")
        with pytest.raises(ValueError, match=r"2 COCO files \(all\.json"):
            find_pairs(tmp_path)

    def test_missing_folder_is_named_with_those_that_exist(self, tmp_path: Path) -> None:
        images(tmp_path / "visible", "a.png"), (tmp_path / "thermal").mkdir()
        with pytest.raises(
            FileNotFoundError, match=r"folder infrared in .*, which contains the folders thermal, visible"
        ):
            find_pairs(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"folder val in"):
            find_pairs(tmp_path, split="val")
        with pytest.raises(FileNotFoundError, match=r"nowhere does not exist"):
            find_pairs(tmp_path / "nowhere")


class TestM3FD:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        names = ("00000.png", "00001.png", "00002.png")
        images(tmp_path / "Vis", *names), images(tmp_path / "Ir", *names, channels=1)
        for name, label in zip(names, ("People", "Truck", "Lamp"), strict=True):
            texts(tmp_path / "Annotation", voc(label), Path(name).with_suffix(".xml").name)
        return tmp_path

    def test_boxes_have_the_labels_of_the_default_model(self, root: Path) -> None:
        dataset = FusionDataset(root, layout="m3fd")
        id2label = GFFusionConfig().id2label
        assert ["background", *dataset.class_names] == [id2label[index] for index in sorted(id2label)]
        assert [id2label[int(item["box_classes"][0]) + 1] for item in dataset] == ["person", "truck", "lamp"]
        assert dataset[0]["boxes"].tolist() == [[0, 0, 10, 8]]

    def test_list_of_a_split(self, root: Path, caplog: pytest.LogCaptureFixture) -> None:
        images(root / "Vis", "00009.png")
        texts(root / "meta", "00002.png\n00000.png\n00777.png\n", "val.txt")
        assert names_of(find_pairs(root, "m3fd", "val")) == ["00000", "00002"]
        (record,) = caplog.records  # not that 00009.png has no partner: it is in another split
        assert "val.txt: 1 names without a pair (00777)" in record.getMessage()
        with pytest.raises(
            FileNotFoundError, match=r"'test' has no list of files; looked for .*test\.txt and .*meta.test\.txt"
        ):
            find_pairs(root, "m3fd", "test")

    def test_fusion_part_has_no_boxes(self, tmp_path: Path) -> None:
        images(tmp_path / "Vis", "1.png"), images(tmp_path / "Ir", "1.png")
        assert set(FusionDataset(tmp_path, layout="m3fd")[0]) == {"visible_values", "infrared_values", "name"}


class TestMFNet:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        names = ("00001D.png", "00003N.png", "00004N.png")
        images(tmp_path / "images", *names, channels=4), images(tmp_path / "labels", *names, channels=1)
        texts(tmp_path, "00003N\n00001D\n00003N_flip\n", "train.txt")
        return tmp_path

    def test_four_channels(self, root: Path) -> None:
        dataset = FusionDataset(root, layout="mfnet")
        assert len(dataset) == 3
        stored = np.asarray(Image.open(root / "images" / "00003N.png"))
        values = torch.cat([dataset[1]["visible_values"], dataset[1]["infrared_values"]]).permute(1, 2, 0)
        np.testing.assert_allclose(values, stored / 255, atol=1e-6)
        assert dataset.read_sizes() == [(8, 10)] * 3
        assert dataset.class_names is not None
        assert len(dataset.class_names) == 8

    def test_splits_and_flips(self, root: Path, caplog: pytest.LogCaptureFixture) -> None:
        assert names_of(find_pairs(root, "mfnet", "train")) == ["00001D", "00003N"]
        (record,) = caplog.records
        assert "1 names without a pair (00003n_flip)" in record.getMessage()

    def test_three_channels(self, root: Path) -> None:
        images(root / "images", "00001D.png")
        with pytest.raises(ImageReadError, match=r"00001D\.png: it has 3 channels, not four"):
            FusionDataset(root, layout="mfnet")[0]
        with pytest.raises(ImageReadError, match="it has 1 channels"):
            read_rgbt(root / "labels" / "00001D.png")


@pytest.mark.parametrize(
    ("layout", "visible", "infrared", "labels"),
    [
        ("msrs", "vi", "ir", "Segmentation_labels"),
        ("msrs", "Visible", "Infrared", "Label"),
        ("fmb", "Visible", "Infrared", "Label"),
    ],
)
def test_labeled_datasets_in_two_parts(tmp_path: Path, layout: str, visible: str, infrared: str, labels: str) -> None:
    for part in ("train", "test"):
        for folder in (visible, infrared, labels, "color"):
            images(tmp_path / part / folder, f"{part}.png", channels=1)
    for root, split in ((tmp_path, "train"), (tmp_path / "train", None)):
        found = find_pairs(root, layout, split)
        assert names_of(found) == ["train"]
        assert found.match.pairs[0].labels == tmp_path / "train" / labels / "train.png"
    assert found.class_names is not None
    assert len(found.class_names) == {"msrs": 8, "fmb": 14}[layout]
    with pytest.raises(
        FileNotFoundError, match=r"which contains the folders test, train; choose another layout or split"
    ):
        find_pairs(tmp_path, layout)


@pytest.mark.parametrize(
    ("layout", "visible", "infrared"),
    [("roadscene", "crop_LR_visible", "cropinfrared"), ("roadscene", "vi", "ir"), ("tno", "vi", "ir")],
)
def test_datasets_without_labels(tmp_path: Path, layout: str, visible: str, infrared: str) -> None:
    images(tmp_path / visible, "VIS1.png", "VIS2.png"), images(tmp_path / infrared, "IR1.bmp", "IR2.bmp")
    images(tmp_path / "crop_HR_visible", "VIS1.png")
    assert [(p.visible.name, p.infrared.name) for p in find_pairs(tmp_path, layout).match.pairs] == [
        ("VIS1.png", "IR1.bmp"),
        ("VIS2.png", "IR2.bmp"),
    ]
    texts(tmp_path, "VIS2", "pred.txt")
    assert names_of(find_pairs(tmp_path, layout, "pred")) == ["VIS2"]


def test_llvip(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part, name in (("train", "010001"), ("test", "190001")):
        for kind in ("visible", "infrared"):
            images(tmp_path / kind / part, f"{name}.jpg")
        texts(tmp_path / "Annotations", voc("person"), f"{name}.xml")
    dataset = FusionDataset(tmp_path, layout="llvip", split="test")
    assert dataset.names == ("190001",)
    assert dataset[0]["box_classes"].tolist() == [0]
    assert not caplog.records  # the other part's boxes are no loss
    with pytest.raises(ValueError, match='split="train"'):
        find_pairs(tmp_path, "llvip")


def test_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'M3F' is unknown; choose one of folders, m3fd, mfnet") as error:
        find_pairs(tmp_path, "M3F")
    assert all(name in str(error.value) for name in LAYOUTS)


def test_boxes_without_a_pair_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path / "visible", "a.png"), images(tmp_path / "infrared", "a.png")
    texts(tmp_path / "boxes", "", "a.txt", "b.txt", "c.txt")
    with caplog.at_level(logging.WARNING):
        find_pairs(tmp_path)
    assert caplog.records[0].getMessage() == f"{tmp_path}: left out 2 boxes without a pair (b.txt, c.txt)"
