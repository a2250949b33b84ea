"""The torch dataset: values, pairing, randomness across workers and epochs."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import tifffile
import torch
from camera_files import encode, infiray_jpeg, render_pair, to_counts
from PIL import Image
from torch.utils.data import DataLoader

from gffusion.data import FusionDataset, ImageReadError, ReadOptions
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip, Sample, ThermalGain, VisiblePhotometric
from gffusion.models.gffusion.image_ops import rgb_to_luma
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.models.gffusion.infrared_values import to_infrared_values

RANDOM = Compose([RandomCrop(6), RandomFlip(0.5, 0.5), VisiblePhotometric(0.2), ThermalGain(0.2)])


def make_pairs(root: Path, count: int = 4, labels: bool = False, prefix: str = "scene") -> Path:
    rng = np.random.default_rng(len(prefix))
    for kind in ("visible", "infrared", *(["labels"] if labels else [])):
        (root / kind).mkdir(parents=True)
    for index in range(count):
        name = f"{prefix}{index}.png"
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).save(root / "visible" / name)
        Image.fromarray(rng.integers(0, 256, (9, 12), np.uint8)).save(root / "infrared" / name)
        if labels:
            Image.fromarray(rng.integers(0, 9, (9, 12), np.uint8)).save(root / "labels" / name)
    return root


def make_boxes(root: Path, *rows: str) -> Path:
    """Write YOLO boxes of the first pairs."""
    (root / "boxes").mkdir()
    for index, text in enumerate(rows):
        (root / "boxes" / f"scene{index}.txt").write_text(text)
    (root / "classes.txt").write_text("person\ncar\n")
    return root


def replace_infrared(root: Path, thermal: np.ndarray) -> Path:
    """Replace the infrared image of the first pair."""
    (root / "infrared" / "scene0.png").unlink()
    tifffile.imwrite(root / "infrared" / "scene0.tif", thermal)
    return root / "infrared" / "scene0.tif"


def values_of(dataset: FusionDataset, workers: int = 0) -> torch.Tensor:
    loader = DataLoader(dataset, batch_size=3, num_workers=workers)
    return torch.cat([torch.cat([batch["visible_values"], batch["infrared_values"]], dim=1) for batch in loader])


class TestItems:
    def test_values_and_layout(self, tmp_path: Path) -> None:
        dataset = FusionDataset(make_pairs(tmp_path, labels=True))
        assert len(dataset) == 4
        item = dataset[2]
        assert set(item) == {"visible_values", "infrared_values", "labels", "name"}
        assert item["name"] == "scene2"
        visible, infrared, labels = (
            np.asarray(Image.open(tmp_path / kind / "scene2.png")) for kind in ("visible", "infrared", "labels")
        )
        torch.testing.assert_close(item["visible_values"], torch.tensor(visible / 255.0).permute(2, 0, 1).float())
        torch.testing.assert_close(item["infrared_values"], torch.tensor(infrared / 255.0)[None].float())
        assert torch.equal(item["labels"], torch.tensor(labels).long())

    def test_gray_visible_and_color_infrared(self, tmp_path: Path) -> None:
        make_pairs(tmp_path, count=1)
        for name, other in (("visible", "swap"), ("infrared", "visible"), ("swap", "infrared")):
            (tmp_path / name).rename(tmp_path / other)
        with pytest.raises(ValueError, match="no known palette"):
            FusionDataset(tmp_path)[0]
        item = FusionDataset(tmp_path, read_options=ReadOptions(infrared_luma=True))[0]
        visible, infrared = (
            np.asarray(Image.open(tmp_path / kind / "scene0.png")) / 255 for kind in ("visible", "infrared")
        )
        torch.testing.assert_close(item["visible_values"], torch.tensor(visible).float().expand(3, 9, 12))
        luma = infrared @ [0.299, 0.587, 0.114]
        torch.testing.assert_close(item["infrared_values"], torch.tensor(luma)[None].float())

    def test_white_color_infrared_does_not_exceed_1(self, tmp_path: Path) -> None:
        make_pairs(tmp_path, count=1)
        Image.new("RGB", (12, 9), "white").save(tmp_path / "infrared" / "scene0.png")
        infrared = FusionDataset(tmp_path)[0]["infrared_values"]
        assert 1 - 1e-6 < infrared.min() <= infrared.max() <= 1

    def test_16_bits(self, tmp_path: Path) -> None:
        thermal = np.linspace(0, 65535, 9 * 12).astype(np.uint16).reshape(9, 12)
        replace_infrared(make_pairs(tmp_path, count=1), thermal)
        infrared = FusionDataset(tmp_path)[0]["infrared_values"]
        torch.testing.assert_close(infrared[0], torch.tensor(thermal / 65535).float())

    def test_float(self, tmp_path: Path) -> None:
        thermal = np.linspace(0, 1, 9 * 12, dtype=np.float32).reshape(9, 12)
        path = replace_infrared(make_pairs(tmp_path, count=1), thermal)
        assert torch.equal(FusionDataset(tmp_path)[0]["infrared_values"][0], torch.tensor(thermal))
        for wrong in (thermal * 300, thermal - 0.1):
            tifffile.imwrite(path, wrong)
            with pytest.raises(ValueError, match=r"scene0\.tif: .* in \[0, 1\]"):
                FusionDataset(tmp_path)[0]
        tifffile.imwrite(path, np.where(thermal > 0.5, np.float32("nan"), thermal))
        item = FusionDataset(tmp_path)[0]
        filled = torch.tensor(thermal > 0.5)
        assert torch.equal(item["infrared_values"][0][filled], rgb_to_luma(item["visible_values"])[0][filled])
        assert torch.equal(item["infrared_values"][0][~filled], torch.tensor(thermal)[~filled])

    def test_counts_of_a_camera(self, tmp_path: Path) -> None:
        """`"auto"` takes the percentiles of radiometric files; a range that is given holds."""
        visible, infrared = render_pair()
        counts = to_counts(infrared)
        for folder, content in (("visible", encode(visible, "PNG")), ("infrared", infiray_jpeg(counts))):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "scene.jpg").write_bytes(content)
        stretched = np.interp(counts, np.percentile(counts, [0.1, 99.9]), [0, 1])
        for name, values in {"auto": stretched, "type": counts / 65535, "percentile": stretched}.items():
            item = FusionDataset(tmp_path, infrared_range=name)[0]  # type: ignore[arg-type]
            np.testing.assert_allclose(item["infrared_values"][0], values, atol=1e-5)

    def test_indices_are_those_of_a_list(self, tmp_path: Path) -> None:
        dataset = FusionDataset(make_pairs(tmp_path), RANDOM)
        for index in (-1, np.int8(3), torch.tensor(3, dtype=torch.uint8)):
            assert torch.equal(dataset[index]["visible_values"], dataset[3]["visible_values"])
        for index in (4, -5):
            with pytest.raises(IndexError, match=rf"There is no pair {index}: the dataset has 4 pairs"):
                dataset[index]
        assert len(list(dataset)) == 4

    @pytest.mark.parametrize("index", [slice(2), [0, 1], "scene0", 1.0, None, np.arange(2)])
    def test_index_that_is_no_whole_number(self, tmp_path: Path, index: Any) -> None:
        dataset = FusionDataset(make_pairs(tmp_path))
        with pytest.raises(TypeError, match=rf"got {type(index).__name__}: `\[dataset\[i\] for i in range\(2\)\]`"):
            dataset[index]
        assert dataset.select(range(2)).names == ("scene0", "scene1")
        assert dataset[np.int64(1)]["name"] == dataset[torch.tensor(1)]["name"] == "scene1"

    @pytest.mark.parametrize("kind", ["infrared", "labels"])
    def test_different_sizes(self, tmp_path: Path, kind: str) -> None:
        make_pairs(tmp_path, labels=True)
        Image.new("L", (11, 9)).save(tmp_path / kind / "scene1.png")
        dataset = FusionDataset(tmp_path)
        with pytest.raises(ValueError, match=r"measures 12 x 9 pixels, but .* 11 x 9") as error:
            dataset[1]
        assert str(tmp_path / "visible" / "scene1.png") in str(error.value)
        assert str(tmp_path / kind / "scene1.png") in str(error.value)


class TestFolders:
    def test_several_roots_are_joined_in_order(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        first, second = make_pairs(tmp_path / "b", prefix="b"), make_pairs(tmp_path / "a", count=2, prefix="a")
        dataset = FusionDataset([str(first), second])
        assert [pair.name for pair in dataset.pairs] == ["b0", "b1", "b2", "b3", "a0", "a1"]
        assert dataset[4]["name"] == "a0" and not caplog.records

    def test_unmatched_files_are_reported_once(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        make_pairs(tmp_path, labels=True)
        for index in range(5):
            Image.new("L", (12, 9)).save(tmp_path / "infrared" / f"extra{index}.png")
        Image.new("L", (12, 9)).save(tmp_path / "labels" / "spare.png")
        dataset = FusionDataset(tmp_path)
        assert len(list(dataset)) == 4
        (record,) = caplog.records
        assert record.getMessage() == (
            f"{tmp_path}: left out 5 infrared without visible (extra0.png, extra1.png, extra2.png, ...); "
            "1 labels without a pair (spare.png)"
        )

    def test_notes_are_reported_once_per_kind(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        for folder in ("visible", "infrared"):
            (tmp_path / folder).mkdir()
        for name in "ab":
            visible, infrared = render_pair()
            Image.fromarray(visible).save(tmp_path / "visible" / f"{name}.png")
            Image.fromarray(to_counts(infrared).byteswap()).save(tmp_path / "infrared" / f"{name}.png")
        dataset = FusionDataset(tmp_path, infrared_range="percentile")
        for index in (0, 1, 0):
            dataset[index]
        (record,) = caplog.records
        files = f"{tmp_path / 'visible' / 'a.png'}, {tmp_path / 'infrared' / 'a.png'}"
        assert record.getMessage().startswith(f"{files}: bytes of 16-bit values swapped")

    def test_no_root(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="at least one"):
            FusionDataset([])
        with pytest.raises(FileNotFoundError, match="visible"):
            FusionDataset(tmp_path)

    @pytest.mark.parametrize("rows", [[{"visible": "a.png"}], datasets.Dataset.from_dict({"visible": ["a.png"]})])
    def test_rows_are_no_folders(self, rows: Any) -> None:
        with pytest.raises(ValueError, match=r"`root` must be a folder.*`FusionDataset\.from_dataset`"):
            FusionDataset(rows)


class TestInfraredRange:
    def test_kelvin(self, tmp_path: Path) -> None:
        thermal = np.linspace(270, 320, 9 * 12, dtype=np.float32).reshape(9, 12)
        replace_infrared(make_pairs(tmp_path, count=1), thermal)
        with pytest.raises(ValueError, match=r'scene0\.tif: .*got 270 to 320.*infrared_range="percentile"'):
            FusionDataset(tmp_path)[0]
        fixed = FusionDataset(tmp_path, infrared_range=(280, 310))[0]["infrared_values"][0]
        torch.testing.assert_close(fixed, torch.tensor(((thermal - 280) / 30).clip(0, 1)))
        percentile = FusionDataset(tmp_path, infrared_range="percentile", cache_in_memory=True)[0]["infrared_values"][0]
        low, high = np.percentile(thermal, (0.1, 99.9))
        torch.testing.assert_close(percentile, torch.tensor(((thermal - low) / (high - low)).clip(0, 1)).float())

    @pytest.mark.parametrize("cache_in_memory", [False, True])
    def test_of_several_images(self, tmp_path: Path, cache_in_memory: bool) -> None:
        make_pairs(tmp_path)
        images = [np.asarray(Image.open(tmp_path / "infrared" / f"scene{index}.png")) for index in range(4)]
        folder = FusionDataset(tmp_path, None, 0, cache_in_memory, infrared_range="folder")
        low, high = np.percentile(images, (0.1, 99.9))
        assert f"infrared range of 4 images: {low:.7g} to {high:.7g}, in the unit" in folder.range_description
        running = np.percentile(images[0], (0.1, 99.9))
        smooth = FusionDataset(tmp_path, None, 0, cache_in_memory, infrared_range="percentile", smooth_range=3)
        assert smooth.range_description is None
        for index, image in enumerate(images):
            running = running + (np.percentile(image, (0.1, 99.9)) - running) / 3
            for dataset, limits in ((folder, (low, high)), (smooth, running)):
                expected = np.interp(image, limits, [0, 1])
                torch.testing.assert_close(dataset[index]["infrared_values"][0], torch.tensor(expected).float())

    def test_joined_folders_are_recordings(self, tmp_path: Path) -> None:
        roots = [tmp_path / name for name in ("day", "night")]
        for root, scale in zip(roots, (1, 2), strict=True):
            make_pairs(root, count=2)
            for file in (root / "infrared").iterdir():
                Image.fromarray(np.asarray(Image.open(file)) // scale).save(file)
        options: Any = {"infrared_range": "percentile", "smooth_range": 10}
        joined, night = FusionDataset(roots, **options), FusionDataset(roots[1], **options)
        for index in range(2):
            torch.testing.assert_close(joined[2 + index]["infrared_values"], night[index]["infrared_values"])

    def test_inverted_with_gain_control(self, tmp_path: Path) -> None:
        make_pairs(tmp_path)
        options = {"invert": True, "agc": "plateau", "plateau_limit": 2}
        values = FusionDataset(tmp_path, **options)[1]["infrared_values"].numpy()  # type: ignore[arg-type]
        image = np.asarray(Image.open(tmp_path / "infrared" / "scene1.png"))
        np.testing.assert_array_equal(values, to_infrared_values(image, InfraredOptions(**options)))

    def test_images_that_cannot_be_measured(self, tmp_path: Path) -> None:
        replace_infrared(make_pairs(tmp_path), np.full((9, 12), np.inf, np.float32))
        with pytest.raises(ValueError, match=r"scene0"):
            FusionDataset(tmp_path, infrared_range="folder")


class TestBoxes:
    def test_pixels_and_empty_files(self, tmp_path: Path) -> None:
        dataset = FusionDataset(make_boxes(make_pairs(tmp_path, count=2), "1 0.5 0.5 0.5 1\n", ""))
        assert dataset.has_boxes
        assert dataset.class_names == ("person", "car")
        item = dataset[0]
        assert torch.equal(item["boxes"], torch.tensor([[3.0, 0.0, 9.0, 9.0]]))
        assert torch.equal(item["box_classes"], torch.tensor([1]))
        assert dataset[1]["boxes"].shape == (0, 4)
        assert (dataset[1]["boxes"].dtype, dataset[1]["box_classes"].dtype) == (torch.float32, torch.int64)

    def test_a_missing_file_is_not_an_image_without_objects(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        dataset = FusionDataset(make_boxes(make_pairs(tmp_path, count=3), "0 0.5 0.5 1 1", ""))
        (record,) = caplog.records
        assert "boxes are left out: 1 of 3 pairs have no box file" in record.getMessage()
        assert "scene2.png" in record.getMessage()
        assert not dataset.has_boxes
        assert "boxes" not in dataset[0]

    def test_joined_folders(self, tmp_path: Path) -> None:
        first, second = (make_boxes(make_pairs(tmp_path / name, count=1), "1 0.5 0.5 1 1") for name in "ab")
        assert FusionDataset([first, second]).class_names == ("person", "car")
        (second / "classes.txt").write_text("car\nperson")
        with pytest.raises(ValueError, match=r"those of .*a are person, car, those of .*b are car, person"):
            FusionDataset([first, second])
        (second / "classes.txt").unlink()
        with pytest.raises(ValueError, match=r"those of .*b are not named; pass class_names"):
            FusionDataset([first, second])
        assert FusionDataset([first, second], class_names=["x", "y"]).class_names == ("x", "y")

    def test_voc_needs_class_names(self, tmp_path: Path) -> None:
        root = make_boxes(make_pairs(tmp_path, count=1), "")
        (root / "boxes" / "scene0.txt").rename(root / "boxes" / "scene0.xml")
        (root / "classes.txt").unlink()
        with pytest.raises(ValueError, match=r"boxes such as .*scene0\.xml contain class names; pass class_names="):
            FusionDataset(root)


class TestMetadata:
    def test_without_labels(self, tmp_path: Path) -> None:
        dataset = FusionDataset(make_pairs(tmp_path))
        assert dataset.names == ("scene0", "scene1", "scene2", "scene3")
        assert not dataset.has_labels
        assert "labels" not in dataset[0]
        assert dataset.read_label_values() == {}

    @pytest.mark.parametrize("cache", [False, True])
    def test_label_values(self, tmp_path: Path, cache: bool) -> None:
        make_pairs(tmp_path, labels=True)
        for index, value in enumerate((0, 3, 255, 3)):
            Image.new("L", (12, 9), value).save(tmp_path / "labels" / f"scene{index}.png")
        values = FusionDataset(tmp_path, cache_in_memory=cache).read_label_values()
        assert values == {0: "scene0", 3: "scene1", 255: "scene2"}
        assert {type(value) for value in values} == {int}

    def test_sizes(self, tmp_path: Path) -> None:
        make_pairs(tmp_path, count=2, labels=True)
        for kind in ("visible", "infrared", "labels"):
            Image.new("L", (20, 10)).save(tmp_path / kind / "scene1.png")
        assert FusionDataset(tmp_path).read_sizes() == [(9, 12), (10, 20)]
        Image.new("L", (20, 11)).save(tmp_path / "labels" / "scene1.png")
        with pytest.raises(ValueError, match=r"measures 20 x 10 pixels, but .*labels.scene1\.png 20 x 11"):
            FusionDataset(tmp_path).read_sizes()
        with pytest.raises(ImageReadError, match=r"scene1\.png: its 20 x 10 pixels .*max_pixels=200"):
            FusionDataset(tmp_path, read_options=ReadOptions(max_pixels=150)).read_sizes()


class TestRandomness:
    def test_depends_on_seed_epoch_and_index_alone(self, tmp_path: Path) -> None:
        root = make_pairs(tmp_path)
        dataset = FusionDataset(root, RANDOM, seed=3)
        first = values_of(dataset)
        np.random.seed(99)
        assert torch.equal(values_of(dataset), first)
        assert torch.equal(values_of(FusionDataset(root, RANDOM, seed=3)), first)
        assert not torch.equal(values_of(FusionDataset(root, RANDOM, seed=4)), first)
        dataset.set_epoch(1)
        second = values_of(dataset)
        assert not torch.equal(second, first)
        dataset.set_epoch(0)
        assert torch.equal(values_of(dataset), first)

    def test_every_item_draws_other_numbers(self, tmp_path: Path) -> None:
        draws: list[float] = []

        def remember(sample: Sample, rng: np.random.Generator) -> Sample:
            draws.append(rng.random())
            return sample

        dataset = FusionDataset(make_pairs(tmp_path), remember)
        for epoch in range(3):
            dataset.set_epoch(epoch)
            list(dataset)
        assert len(set(draws)) == len(draws) == 12

    @pytest.mark.processes
    @pytest.mark.parametrize("start_method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
    def test_epoch_reaches_persistent_workers(self, tmp_path: Path, start_method: str) -> None:
        dataset = FusionDataset(make_pairs(tmp_path), RANDOM)
        loader = DataLoader(
            dataset, batch_size=4, num_workers=1, persistent_workers=True, multiprocessing_context=start_method
        )
        for epoch in (0, 5, 1):
            dataset.set_epoch(epoch)
            (batch,) = loader
            expected = torch.stack([dataset[index]["visible_values"] for index in range(4)])
            assert torch.equal(batch["visible_values"], expected)

    def test_negative_numbers(self, tmp_path: Path) -> None:
        root = make_pairs(tmp_path)
        with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
            FusionDataset(root, seed=-1)
        with pytest.raises(ValueError, match="epoch must be at least 0, got -2"):
            FusionDataset(root).set_epoch(-2)


class TestCache:
    def test_same_items_without_the_files(self, tmp_path: Path) -> None:
        make_pairs(tmp_path, labels=True)
        expected = values_of(FusionDataset(tmp_path, RANDOM))
        cached = FusionDataset(tmp_path, RANDOM, cache_in_memory=True)
        for file in tmp_path.glob("*/*.png"):
            file.unlink()
        assert torch.equal(values_of(cached), expected)
        assert torch.equal(values_of(cached, workers=2), expected)

    def test_transform_in_place_does_not_change_it(self, tmp_path: Path) -> None:
        root = make_boxes(make_pairs(tmp_path, count=1), "1 0.5 0.5 0.5 1\n")
        replace_infrared(root, np.full((9, 12), 0.5, np.float32))

        def change_in_place(sample: Sample, rng: np.random.Generator) -> Sample:
            sample["infrared"] *= 0.5
            sample["boxes"] += 1
            return sample | {"labels": np.full((9, 12), sample["box_classes"][0] + 1)}

        dataset = FusionDataset(root, change_in_place, cache_in_memory=True)
        for _ in range(2):
            item = dataset[0]
            assert torch.equal(item["infrared_values"], torch.full((1, 9, 12), 0.25))
            assert item["boxes"].tolist() == [[4, 1, 10, 10]]
            assert item["labels"].unique().tolist() == [2]
