"""Pairs from the rows of a `datasets.Dataset`."""

import pickle
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from gffusion.cameras.palettes import load_palettes
from gffusion.data import FusionDataset, ImageReadError

VISIBLE = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
THERMAL = np.linspace(0, 65535, 54).astype(np.uint16).reshape(6, 9)
LABELS = np.arange(54, dtype=np.uint8).reshape(6, 9) % 4
OBJECTS = {"bbox": [[1, 2, 3, 4], [0, 0, 9, 6]], "category": [1, 0]}


class Rows:
    """The part of the interface of `datasets.Dataset` that `from_dataset` needs."""

    def __init__(self, **columns: list[Any]) -> None:
        self._columns = columns
        self.column_names = list(columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __getitem__(self, key: int | str) -> Any:
        return self._columns[key] if isinstance(key, str) else {name: v[key] for name, v in self._columns.items()}


def encoded(image: NDArray[Any], suffix: str = "PNG") -> dict[str, Any]:
    content = BytesIO()
    Image.fromarray(image).save(content, suffix)
    return {"bytes": content.getvalue(), "path": None}


def expect_pair(item: dict[str, Any]) -> None:
    torch.testing.assert_close(item["visible_values"], torch.tensor(VISIBLE / 255).permute(2, 0, 1).float())
    torch.testing.assert_close(item["infrared_values"], torch.tensor(THERMAL / 65535)[None].float())


class TestRows:
    @pytest.mark.parametrize("kind", ["path", "encoded", "array"])
    def test_swapped_and_same_images(self, tmp_path: Path, kind: str) -> None:
        def convert(name: str, image: NDArray[Any]) -> Any:
            Image.fromarray(image).save(tmp_path / name)
            return {"path": tmp_path / name, "encoded": encoded(image), "array": image}[kind]

        thermal = THERMAL.astype(np.uint8)
        rows = [
            {"visible": convert(f"v{i}.png", VISIBLE + i), "infrared": convert(f"i{i}.png", thermal)} for i in range(3)
        ]
        dataset = FusionDataset.from_dataset(rows)
        assert len(set(dataset.identify())) == 3
        assert dataset.select([2]).identify() == FusionDataset.from_dataset(rows[2:]).identify()
        with pytest.raises(ValueError, match=r"are swapped: the column 'infrared' .* infrared_luma=True"):
            FusionDataset.from_dataset(rows, visible="infrared", infrared="visible")
        with pytest.raises(ValueError, match=r"row 0, column 'visible' is a color image.* infrared_luma=True"):
            FusionDataset.from_dataset(rows[:1], visible="infrared", infrared="visible")[0]
        dataset = FusionDataset.from_dataset(rows, visible="infrared", infrared="visible", infrared_luma=True)
        luma = torch.tensor(VISIBLE @ [0.299, 0.587, 0.114] / 255).float()
        torch.testing.assert_close(dataset[0]["infrared_values"][0], luma)

    def test_settings_tell_how_rows_are_read(self) -> None:
        """Resumed runs compare them."""
        rows = [{"visible": VISIBLE.astype(np.uint16), "infrared": THERMAL}]
        options: list[dict[str, Any]] = [
            {},
            {"infrared_luma": True},
            {"visible_range": (0, 255)},
            {"visible_range": (0, 99)},
        ]
        settings = [FusionDataset.from_dataset(rows, **chosen).settings for chosen in options]
        assert all(settings.count(found) == 1 for found in settings)

    @pytest.mark.parametrize("kind", [encoded, np.asarray])
    def test_false_colors(self, caplog: pytest.LogCaptureFixture, kind: Any) -> None:
        levels = np.add.outer(np.arange(48), 3 * np.arange(64)).astype(np.uint8)
        jet = np.rint(load_palettes()["jet"][levels]).astype(np.uint8)
        rows = Rows(visible=[np.zeros((48, 64, 3), np.uint8)] * 2, infrared=[kind(jet)] * 2)
        dataset = FusionDataset.from_dataset(rows)
        for item in (dataset[0], dataset[1]):
            torch.testing.assert_close(
                item["infrared_values"][0], torch.tensor(levels / 255).float(), atol=0.01, rtol=0
            )
        assert ["by the palette jet" in message for message in caplog.messages] == [True]

    @pytest.mark.parametrize("kind", [np.asarray, Image.fromarray, encoded])
    def test_images(self, kind: Any) -> None:
        rows = Rows(rgb=[kind(VISIBLE)], t=[kind(THERMAL)], mask=[kind(LABELS)])
        dataset = FusionDataset.from_dataset(rows, visible="rgb", infrared="t", labels="mask")
        item = dataset[0]
        expect_pair(item)
        assert torch.equal(item["labels"], torch.tensor(LABELS).long())
        assert item["name"] == "0"
        assert dataset.read_sizes() == [(6, 9)]
        assert dataset.read_label_values().keys() == {0, 1, 2, 3}
        assert dataset.pairs == ()

    def test_files_and_names(self, tmp_path: Path) -> None:
        Image.fromarray(VISIBLE).save(tmp_path / "a.png")
        Image.fromarray(THERMAL).save(tmp_path / "b.png")
        files = [{"bytes": None, "path": str(tmp_path / name)} for name in ("a.png", "b.png")]
        dataset = FusionDataset.from_dataset(Rows(visible=files[:1], infrared=files[1:], id=["street"]), names="id")
        expect_pair(dataset[0])
        assert dataset.names == ("street",)

    @pytest.mark.parametrize("make", [lambda rows: rows, lambda rows: Rows(**{n: [rows[0][n]] for n in rows[0]})])
    def test_paths_and_lists_of_dicts(self, tmp_path: Path, make: Any) -> None:
        images = {"visible": VISIBLE, "infrared": THERMAL, "mask": LABELS}
        files = {name: tmp_path / f"{name}.png" for name in images}
        for name, image in images.items():
            Image.fromarray(image).save(files[name])
        rows = make([files | {"mask": str(files["mask"]), "id": "street", "objects": OBJECTS}])
        dataset = FusionDataset.from_dataset(rows, labels="mask", names="id", boxes="objects")
        expect_pair(dataset[0])
        assert torch.equal(dataset[0]["labels"], torch.tensor(LABELS).long())
        assert dataset.names == ("street",) and dataset.read_sizes() == [(6, 9)] and dataset.has_boxes

    @pytest.mark.parametrize(
        "objects",
        [
            OBJECTS,
            [{"bbox": box, "category": category} for box, category in zip(*OBJECTS.values(), strict=True)],
            {"bbox": np.array(OBJECTS["bbox"]), "category": torch.tensor([1, 0])},
            {"bbox": OBJECTS["bbox"], "category": ["Car", "People"]},
        ],
    )
    def test_boxes(self, objects: Any) -> None:
        rows = Rows(visible=[VISIBLE], infrared=[THERMAL], objects=[objects])
        dataset = FusionDataset.from_dataset(rows, boxes="objects", class_names=["person", "car"])
        assert dataset[0]["boxes"].tolist() == [[1, 2, 4, 6], [0, 0, 9, 6]]
        assert dataset[0]["box_classes"].tolist() == [1, 0]
        assert dataset.class_names == ("person", "car")

    @pytest.mark.parametrize("objects", [{"bbox": [], "category": []}, []])
    def test_no_objects(self, objects: Any) -> None:
        rows = Rows(visible=[VISIBLE], infrared=[THERMAL], objects=[objects])
        assert FusionDataset.from_dataset(rows, boxes="objects")[0]["boxes"].shape == (0, 4)

    @pytest.mark.parametrize(
        ("objects", "message"),
        [
            ({"bbox": [[1, 2, 3]], "category": [0]}, r"\(left, top, width, height\)"),
            ({"bbox": [[1, 2, 3, 4]]}, r"\(left, top, width, height\)"),
            ({"bbox": [[1, 2, 3, 4]], "category": []}, "1 boxes have 0 categories"),
            ({"bbox": [[1, 2, 3, 4]], "category": [0.5]}, r"indices from 0 to 1, got \[0.5\]"),
            ({"bbox": [[1, 2, 3, 4]], "category": [np.nan]}, r"indices from 0 to 1, got \[nan\]"),
            ({"bbox": [[1, 2, 3, 4]], "category": [2]}, r"indices from 0 to 1, got \[2\]"),
            ({"bbox": [[1, 2, 3, 4]], "category": ["tram"]}, "unknown class 'tram'"),
            (None, r"\(left, top, width, height\)"),
        ],
    )
    def test_wrong_boxes(self, objects: Any, message: str) -> None:
        rows = Rows(visible=[VISIBLE], infrared=[THERMAL], objects=[objects])
        dataset = FusionDataset.from_dataset(rows, boxes="objects", class_names=["person", "car"])
        with pytest.raises(ValueError, match=rf"row 0, column 'objects': .*{message}"):
            dataset[0]

    @pytest.mark.parametrize(
        ("box", "message"),
        [
            ([5, 4, 8, 6], r"\[5, 4, 8, 6\] in 9x6 \(width x height\): are they \[x1, y1, x2, y2\]\?"),
            ([0.1, 0.1, 0.2, 0.3], r"\[0\.1, 0\.1, 0\.2, 0\.3\]: are they relative\?"),
        ],
    )
    @pytest.mark.parametrize("kind", ["dict", "list"])
    def test_boxes_of_another_format(self, box: list[float], message: str, kind: str) -> None:
        objects: Any = (
            {"bbox": [box] * 5, "category": [0] * 5} if kind == "dict" else [{"bbox": box, "category": 0}] * 5
        )
        empty: Any = {"bbox": [], "category": []} if kind == "dict" else []
        rows = Rows(visible=[VISIBLE] * 2, infrared=[THERMAL] * 2, objects=[empty, objects])
        with pytest.raises(ValueError, match=f"the column 'objects': .*{message}"):
            FusionDataset.from_dataset(rows, boxes="objects")

    @pytest.mark.parametrize("wrong", [{"bytes": b"no image", "path": None}, {}, "a.png", None, np.int64(VISIBLE)])
    def test_wrong_images(self, wrong: Any) -> None:
        dataset = FusionDataset.from_dataset(Rows(visible=[VISIBLE, wrong], infrared=[THERMAL] * 2))
        for read in (lambda: dataset[1], dataset.read_sizes):
            with pytest.raises(ImageReadError, match="row 1, column 'visible': "):
                read()

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            (VISIBLE, r"\(H, W\) class indices"),
            (encoded(LABELS, "JPEG"), "JPEG changes classes"),
            (np.ma.masked_equal(LABELS, 3), r"masked array: pass labels.filled\(255\)"),
        ],
    )
    def test_wrong_labels(self, wrong: Any, message: str) -> None:
        dataset = FusionDataset.from_dataset(Rows(visible=[VISIBLE], infrared=[THERMAL], m=[wrong]), labels="m")
        with pytest.raises(ImageReadError, match=f"row 0, column 'm': .*{message}"):
            dataset[0]

    def test_different_sizes(self) -> None:
        dataset = FusionDataset.from_dataset(Rows(visible=[encoded(VISIBLE)], infrared=[encoded(THERMAL[:, 1:])]))
        for read in (lambda: dataset[0], dataset.read_sizes):
            with pytest.raises(
                ValueError,
                match=r"'visible' measures 9 x 6 pixels, but row 0, column 'infrared' 8 x 6.*\. Rows are not aligned: align",
            ):
                read()

    def test_columns(self) -> None:
        rows = Rows(rgb=[VISIBLE], infrared=[THERMAL])
        with pytest.raises(ValueError, match="no column visible, mask; its columns are rgb, infrared"):
            FusionDataset.from_dataset(rows, labels="mask")
        rows.column_names = {"train": ["rgb"], "test": ["rgb"]}  # type: ignore[assignment]
        with pytest.raises(ValueError, match=r"splits train, test; choose one, such as dataset\['train'\]"):
            FusionDataset.from_dataset(rows)
        with pytest.raises(ValueError, match=r"got a generator; pass a datasets\.Dataset"):
            FusionDataset.from_dataset(row for row in ())

    @pytest.mark.parametrize("option", ["layout", "split", "read_options", "with_boxes", "truncated"])
    def test_options_of_folders(self, option: str) -> None:
        with pytest.raises(ValueError, match=f"from_dataset does not take {option}: leave it out"):
            FusionDataset.from_dataset(Rows(visible=[VISIBLE], infrared=[THERMAL]), **{option: None})

    def test_dicts_without_a_column(self) -> None:
        with pytest.raises(ValueError, match="the dataset has no column infrared; its columns are visible"):
            FusionDataset.from_dataset([{"visible": VISIBLE, "infrared": THERMAL}, {"visible": VISIBLE}])
        with pytest.raises(ValueError, match="the dataset has no rows"):
            FusionDataset.from_dataset([])

    def test_range_and_cache(self) -> None:
        rows = Rows(visible=[VISIBLE], infrared=[THERMAL.astype(np.float32) / 256 + 200])
        with pytest.raises(ValueError, match=r'row 0: .*infrared_range="percentile"'):
            FusionDataset.from_dataset(rows)[0]
        dataset = FusionDataset.from_dataset(rows, None, 0, True, infrared_range=(200, 456))
        torch.testing.assert_close(dataset[0]["infrared_values"][0], torch.tensor(THERMAL / 65536).float())


class TestDatasets:
    @pytest.mark.parametrize("style", ["list of objects", "object of lists"])
    @pytest.mark.parametrize("kind", [None, "numpy", "torch"])
    def test_features(self, style: str, kind: str | None) -> None:
        datasets = pytest.importorskip("datasets")
        box, category = datasets.List(datasets.Value("float32")), datasets.ClassLabel(names=["person", "car"])
        if style == "list of objects":
            feature = datasets.List({"bbox": box, "category": category})
            objects: Any = [{"bbox": b, "category": c} for b, c in zip(*OBJECTS.values(), strict=True)]
        else:
            feature, objects = {"bbox": datasets.List(box), "category": datasets.List(category)}, OBJECTS
        image = datasets.Image()
        features = {"rgb": image, "t": image, "mask": image, "objects": feature, "id": datasets.Value("string")}
        images = {"rgb": encoded(VISIBLE), "t": encoded(THERMAL), "mask": encoded(LABELS)}
        rows = [images | {"objects": objects, "id": "a"}] * 2
        table = datasets.Dataset.from_list(rows, features=datasets.Features(features)).with_format(kind)
        dataset = FusionDataset.from_dataset(
            table, visible="rgb", infrared="t", labels="mask", boxes="objects", names="id"
        )
        for copy in (dataset, pickle.loads(pickle.dumps(dataset))):
            expect_pair(copy[1])
            assert torch.equal(copy[1]["labels"], torch.tensor(LABELS).long())
            assert copy[1]["boxes"].tolist() == [[1, 2, 4, 6], [0, 0, 9, 6]]
            assert copy[1]["box_classes"].tolist() == [1, 0]
            assert copy.class_names == ("person", "car")
            assert copy.names == ("a", "a")
            assert copy.read_sizes() == [(6, 9)] * 2

    @pytest.mark.parametrize("names", [["background", "person"], ["person", "Person"]])
    def test_names_of_features_are_checked(self, names: list[str]) -> None:
        rows: Any = Rows(visible=[VISIBLE], infrared=[THERMAL], objects=[OBJECTS])
        rows.features = {"objects": {"category": SimpleNamespace(names=names)}}
        with pytest.raises(ValueError, match=r"ClassLabel of the column 'objects' \(class_names= replaces it\)"):
            FusionDataset.from_dataset(rows, boxes="objects")
        assert FusionDataset.from_dataset(rows, boxes="objects", class_names=["a", "b"]).class_names == ("a", "b")

    @pytest.mark.parametrize("kind", [None, "numpy", "torch"])
    def test_arrays(self, kind: str | None) -> None:
        datasets = pytest.importorskip("datasets")
        features = datasets.Features(
            {"visible": datasets.Array3D((6, 9, 3), "uint8"), "infrared": datasets.Array2D((6, 9), "uint16")}
        )
        table = datasets.Dataset.from_list([{"visible": VISIBLE, "infrared": THERMAL}], features=features)
        expect_pair(FusionDataset.from_dataset(table.with_format(kind))[0])


@pytest.mark.parametrize(
    ("transform", "found"),
    [
        (lambda rows: {"visible": rows["rgb"]}, "does not give the column rgb, thermal"),
        (
            lambda rows: {"rgb": [np.asarray(image.convert("L")) for image in rows["rgb"]]},
            r"fails on undecoded images \(AttributeError: 'dict' object has no attribute 'convert'\)",
        ),
        (lambda rows: rows, ""),
    ],
)
def test_transforms_of_datasets(transform: Any, found: str) -> None:
    """Images are read undecoded, which the second one does not expect."""
    datasets = pytest.importorskip("datasets")
    row = {"rgb": Image.new("RGB", (8, 6)), "thermal": Image.new("L", (8, 6))}
    rows = datasets.Dataset.from_list([row, row]).with_transform(transform)
    if found:
        with pytest.raises(ValueError, match=rf"transform .* {found}: .*with_format\(None\)"):
            FusionDataset.from_dataset(rows, visible="rgb", infrared="thermal")
        rows = rows.with_format(None)
    item = FusionDataset.from_dataset(rows, visible="rgb", infrared="thermal")[0]
    assert item["visible_values"].shape == (3, 6, 8)
