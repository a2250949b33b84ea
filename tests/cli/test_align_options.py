"""`--align`, `--reference` and `--crop` of the commands, datasets, trainings and the pipeline."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moved_scenes import make_matrix, write_rig
from numpy.typing import NDArray

from gffusion import create_model
from gffusion.cameras import Rig
from gffusion.data import FusionDataset, ImagePair, ReadOptions, read_image, write_image
from gffusion.data.rigs import find_rig, parse_align
from gffusion.inference.pipeline import ImageFusionPipeline
from gffusion.training.building import build_trainer
from gffusion.training.recipe import Recipe
from gffusion.zoo import load_image_processor

MATRIX = make_matrix(1.4, -2, (0.02, 0.03))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rig(tmp_path_factory.mktemp("rig"), MATRIX, 2)


@pytest.fixture
def fuse(gffusion: Callable[..., Any], folder: Path, tmp_path: Path) -> Callable[..., Any]:
    def run(*options: object) -> Any:
        sources = folder / "visible", folder / "infrared"
        return gffusion("fuse", *sources, "-o", tmp_path / "out", "-m", "gffusion-funet", *options)

    return run


def read_shape(folder: Path) -> tuple[int, ...]:
    return read_image(folder / "out" / "0.png").shape


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_camera_that_is_turned(gffusion: Callable[..., Any], scenes: Path, tmp_path: Path, turns: int) -> None:
    """The result is that of the upright image. `turns` are quarters counterclockwise."""
    visible, infrared = (scenes / kind / "rendered_0000.png" for kind in ("visible", "infrared"))
    upright = read_image(infrared)
    turned = np.rot90(upright, turns)
    write_image(tmp_path / "turned.png", np.ascontiguousarray(turned))
    height, width = upright.shape[:2]
    right, bottom = width - 1, height - 1
    pixels = {
        1: [[0, 1, 0], [-1, 0, right], [0, 0, 1]],
        2: [[-1, 0, right], [0, -1, bottom], [0, 0, 1]],
        3: [[0, -1, bottom], [1, 0, 0], [0, 0, 1]],
    }
    Rig.from_pixels(pixels[turns], (height, width), turned.shape[:2]).save(tmp_path / "rig.json")
    options = "-m", "gffusion-funet", "-o"
    assert gffusion("fuse", visible, infrared, *options, tmp_path / "upright").exit_code == 0
    done = gffusion(
        "fuse", visible, tmp_path / "turned.png", *options, tmp_path / "fused", "--align", tmp_path / "rig.json"
    )
    assert (done.exit_code, done.err) == (0, "")
    results = [read_image(tmp_path / folder / "rendered_0000.png") for folder in ("fused", "upright")]
    assert np.array_equal(*results)


def test_auto_finds_one_rig_for_the_folder(fuse: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    done = fuse("--align", "auto")
    assert done.exit_code == 0, done.err
    assert done.out.count("similarity from 2 pairs") == 1
    auto = read_image(tmp_path / "out" / "0.png").astype(int)
    assert fuse("--align", folder / "rig.json", "--overwrite").exit_code == 0
    assert np.abs(auto - read_image(tmp_path / "out" / "0.png")).mean() < 3


def test_reference_and_crop(fuse: Callable[..., Any], folder: Path, tmp_path: Path) -> None:
    assert fuse("--align", folder / "rig.json", "--reference", "infrared").exit_code == 0
    assert read_shape(tmp_path) == (120, 160, 3)
    assert fuse("--align", folder / "rig.json", "--crop", "--overwrite").exit_code == 0
    height, width, _ = read_shape(tmp_path)
    assert 0.8 * 240 / 1.4 < height < 240 / 1.4
    assert 0.8 * 320 / 1.4 < width < 320 / 1.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--crop"], "--crop and --reference need --align resize, auto or RIG.json"),
        (["--reference", "infrared"], "--crop and --reference need --align"),
        (["--reference", "left", "--align", "auto"], '--reference must be "visible" or "infrared"'),
        (["--align", "automatic"], "--align must be none, resize, auto or the file of a rig"),
    ],
)
def test_wrong_options(fuse: Callable[..., Any], tmp_path: Path, options: list[str], message: str) -> None:
    done = fuse(*options)
    assert done.exit_code == 2
    assert message in done.err
    assert not (tmp_path / "out").exists()


def test_find_rig(folder: Path) -> None:
    pairs = [ImagePair(str(i), folder / "visible" / f"{i}.png", folder / "infrared" / f"{i}.png") for i in range(2)]
    assert find_rig(pairs, ReadOptions()) == (ReadOptions(), None)
    options, text = find_rig(pairs, ReadOptions("auto", crop=True))
    assert isinstance(options.align, Rig)
    assert options.crop
    assert text is not None
    broken = [ImagePair("x", folder / "none.png", folder / "none.png")]
    assert find_rig(broken, ReadOptions("auto"))[1] is None
    assert isinstance(parse_align(str(folder / "rig.json")), Rig)


@pytest.mark.parametrize("align", ["resize", "rig.json"])
def test_evaluate(gffusion: Callable[..., Any], folder: Path, tmp_path: Path, align: str) -> None:
    words = "--visible", folder / "visible", "--infrared", folder / "infrared", "--baselines", "average"
    align = str(folder / align) if align == "rig.json" else align
    assert gffusion("evaluate", *words, "-o", tmp_path / "table", "--align", align).exit_code == 0
    assert json.loads((tmp_path / "table" / "summary.json").read_text())["images"] == 2
    refused = gffusion("evaluate", *words, "-o", tmp_path / "other", "--align", align, "--crop", "--labels", folder)
    assert refused.exit_code == 2 and "--crop and --reference infrared cannot be used with label maps" in refused.err


@pytest.mark.parametrize("option", ["--crop", "--reference=infrared"])
def test_frames_of_labels_cannot_change(
    gffusion: Callable[..., Any], folder: Path, tmp_path: Path, option: str
) -> None:
    """Labels and boxes lie in the frame of the visible image."""
    name, advice = option.partition("=")[0], "frame of the visible image.*leave it out"
    for command in ("masks", "train"):
        outcome = gffusion(command, *([folder] if command == "masks" else ["--train-data", folder]), option)
        assert outcome.exit_code == 2 and re.search(rf"{name}.*{advice}", outcome.err)
    shutil.copytree(folder, tmp_path / "data")
    (tmp_path / "data" / "labels").mkdir()
    for index in range(2):
        write_image(tmp_path / "data" / "labels" / f"{index}.png", np.zeros((240, 320), np.uint8))
    options = ReadOptions("resize", crop=name == "--crop", reference="visible" if name == "--crop" else "infrared")
    with pytest.raises(ValueError, match=rf"{name}.*leave them out"):
        FusionDataset(tmp_path / "data", read_options=options)


def test_dataset_and_training(folder: Path, tmp_path: Path) -> None:
    dataset = FusionDataset(folder, read_options=ReadOptions(Rig.load(folder / "rig.json")))
    assert dataset[0]["infrared_values"].shape == (1, 240, 320)
    assert dataset.read_sizes() == [(240, 320)] * 2
    words = ["--model_name_or_path", "gffusion-funet", "--train_data", folder, "--output_dir", tmp_path / "run"]
    trainer = build_trainer(Recipe.parse([*map(str, words), "--align", str(folder / "rig.json"), "--crop_size", "0"]))
    assert trainer.train_dataset[0]["infrared_values"].shape == (1, 240, 320)


def test_pipeline(folder: Path) -> None:
    pipeline = ImageFusionPipeline(
        model=create_model("gffusion-funet"), image_processor=load_image_processor("gffusion-funet")
    )
    pairs = [(str(folder / "visible" / f"{i}.png"), str(folder / "infrared" / f"{i}.png")) for i in range(2)]
    with pytest.raises(ValueError, match='align="auto"'):
        pipeline(pairs[0])
    rig, auto = (np.asarray(pipeline(pairs, align=align)[1], np.int64) for align in (folder / "rig.json", "auto"))
    assert rig.shape == (240, 320, 3)
    assert np.abs(rig - auto).mean() < 3
    values = [*pipeline(dict(enumerate(pairs)).values(), align="auto")]  # which have a length, but no items
    assert np.array_equal(values[1], auto)
    arrays: list[NDArray[Any]] = [read_image(file) for file in pairs[0]]
    assert pipeline(*arrays, align="resize").size == (320, 240)
    assert pipeline(*arrays, align=Rig(MATRIX), reference="infrared").size == (160, 120)
