"""Ranges, inversion and gain control of infrared images in `fuse`, `evaluate` and `masks`."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_files import dji_jpeg
from numpy.typing import NDArray
from PIL import Image
from training_runs import SMALL_MODEL

from gffusion import GFFusionImageProcessor
from gffusion.cli.infrared_options import check_saved_options
from gffusion.data import FusionDataset, read_image, write_image
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.zoo import locate

NAMES = [f"rendered_{number:04d}.png" for number in range(3)]
RAW = [7000, 7400, 20000]  # counts of black in the three frames; a gray level has 10 counts


@pytest.fixture
def here(scenes: Path, cwd: Path) -> Path:
    """Change into a folder with visible/, infrared/ and, in other units, blackhot/ and raw/."""
    shutil.copytree(scenes, cwd, dirs_exist_ok=True, ignore=shutil.ignore_patterns("labels"))
    for name, offset in zip(NAMES, RAW, strict=True):
        infrared = read_image(cwd / "infrared" / name)
        for kind, image in (("blackhot", 255 - infrared), ("raw", (offset + 10 * infrared.astype(np.uint16)))):
            (cwd / kind).mkdir(exist_ok=True)
            write_image(cwd / kind / name, image)
    return cwd


@pytest.fixture
def fuse(gffusion: Callable, here: Path) -> Callable:
    """Return a function that fuses visible/ and another folder into a new one, and returns output and images."""

    def run(infrared: str, *options: object, output: str = "") -> tuple[Any, list[NDArray[Any]]]:
        output = output or "_".join(["out", infrared, *map(str, options)]).replace("/", "-")
        outcome = gffusion("fuse", "visible", infrared, "-o", output, "-m", "gffusion-funet", *options)
        images = [read_image(here / output / name) for name in NAMES if (here / output / name).exists()]
        return outcome, images

    return run


@pytest.mark.parametrize("options", [("--invert",), ("--infrared-range", "255,0"), ("--infrared-range", "255 0")])
def test_black_hot_images_are_fused_as_white_hot_ones(fuse: Callable, options: tuple[str, ...]) -> None:
    np.testing.assert_array_equal(fuse("blackhot", *options)[1], fuse("infrared")[1])


def test_folder_range(fuse: Callable, here: Path) -> None:
    """It is that of all pixels, is printed, and does not depend on which files exist."""
    pixels = np.concatenate([read_image(here / "raw" / name).ravel() for name in NAMES])
    low, high = np.percentile(pixels, [0.1, 99.9])
    outcome, images = fuse("raw", "--infrared-range", "folder", output="out")
    assert outcome.exit_code == 0
    assert f"infrared range of 3 images: {low:.7g} to {high:.7g}, in the unit of the files\n" in outcome.out
    np.testing.assert_array_equal(images, fuse("raw", "--infrared-range", f"{low},{high}")[1])
    (here / "out" / NAMES[1]).unlink()
    np.testing.assert_array_equal(fuse("raw", "--infrared-range", "folder", output="out")[1], images)
    assert "infrared range" not in fuse("raw", "--infrared-range", "folder", output="out")[0].out  # nothing to do


def test_one_pair_is_a_folder_of_one(gffusion: Callable, here: Path) -> None:
    pair = ("fuse", f"visible/{NAMES[0]}", f"raw/{NAMES[0]}", "-m", "gffusion-funet", "--infrared-range")
    assert "infrared range of 1 image: " in gffusion(*pair, "folder", "-o", "folder.png").out
    assert gffusion(*pair, "percentile", "-o", "percentile.png").exit_code == 0
    assert (here / "folder.png").read_bytes() == (here / "percentile.png").read_bytes()


def test_smooth_range_follows_the_frames(fuse: Callable, here: Path) -> None:
    own = [np.percentile(read_image(here / "raw" / name), [0.1, 99.9]) for name in NAMES]
    second = own[0] + (own[1] - own[0]) / 4
    smooth = ("--infrared-range", "percentile", "--smooth-range", "4")
    outcome, images = fuse("raw", *smooth, output="out")
    assert outcome.exit_code == 0
    percentile = fuse("raw", "--infrared-range", "percentile")[1]
    np.testing.assert_array_equal(images[0], percentile[0])
    np.testing.assert_array_equal(images[1], fuse("raw", "--infrared-range", "{},{}".format(*second))[1][1])
    np.testing.assert_array_equal(images[2], percentile[2])  # a cut, after which the range starts anew
    (here / "out" / NAMES[1]).unlink()
    np.testing.assert_array_equal(fuse("raw", *smooth, output="out")[1], images)


def test_damaged_files_are_left_out_of_the_range(fuse: Callable, here: Path) -> None:
    (here / "raw" / NAMES[0]).write_bytes(b"no image")
    pixels = np.concatenate([read_image(here / "raw" / name).ravel() for name in NAMES[1:]])
    outcome, images = fuse("raw", "--infrared-range", "folder")
    assert outcome.exit_code == 1 and "rendered_0000: " in outcome.err
    assert "infrared range of 2 images: {:.7g} to {:.7g}".format(*np.percentile(pixels, [0.1, 99.9])) in outcome.out
    assert len(images) == 2


@pytest.mark.parametrize("infrared_range", ["6900,9600", "9600,6900"])
def test_a_frame_outside_the_range_fails_alone(fuse: Callable, infrared_range: str) -> None:
    outcome, images = fuse("raw", "--infrared-range", infrared_range)
    assert outcome.exit_code == 1 and len(images) == 2
    assert re.search(
        r"1 failed:\n  rendered_0002: \d+% of .* outside the range 6900 to 9600.*--infrared-range percent", outcome.err
    )


@pytest.mark.parametrize("agc", ["plateau", "clahe"])
def test_gain_control(fuse: Callable, agc: str) -> None:
    images = fuse("raw", "--infrared-range", "percentile", "--agc", agc)[1]
    linear = fuse("raw", "--infrared-range", "percentile")[1]
    assert np.abs(np.subtract(images, linear, dtype=float)).mean() > 1


def test_plateau_limit(fuse: Callable) -> None:
    low, high = (fuse("infrared", "--agc", "plateau", "--plateau-limit", limit)[1] for limit in (0.1, 50))
    assert np.abs(np.subtract(low, high, dtype=float)).mean() > 1


def test_options_saved_with_the_model(fuse: Callable, here: Path) -> None:
    folder = shutil.copytree(locate("gffusion-funet"), here / "model")
    GFFusionImageProcessor(infrared_range="percentile", smooth_range=4, invert=True, agc="plateau").save_pretrained(
        folder
    )
    typed = ["--infrared-range", "percentile", "--smooth-range", 4, "--invert", "--agc", "plateau"]
    np.testing.assert_array_equal(fuse("raw", "-m", "model")[1], fuse("raw", *typed)[1])
    reset = ["-m", "model", "--infrared-range", "type", "--no-invert", "--agc", "linear"]
    np.testing.assert_array_equal(fuse("infrared", *reset)[1], fuse("infrared")[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--infrared-range 255,0 --invert", "255,0 inverts already: .*--no-invert"),
        ("--infrared-range folder --smooth-range 5", "--smooth-range.*--infrared-range percentile"),
        ("--infrared-range 1,2 --smooth-range 5", "--smooth-range.*--infrared-range percentile"),
        ("--smooth-range 5", "--smooth-range.*--infrared-range percentile.*'auto'"),
        ("--infrared-range percentile --smooth-range 0.2", "--smooth-range.*at least 1.*0.2"),
        ("--plateau-limit 2 --agc clahe", "--plateau-limit.*--agc plateau"),
        ("--plateau-limit 2", "--plateau-limit.*--agc plateau"),
        ("--agc plateau --plateau-limit -1", "--plateau-limit.*greater than 0"),
        ("--agc auto", "--agc.*linear, plateau, clahe.*auto"),
    ],
)
def test_options_that_exclude_each_other(fuse: Callable, options: str, message: str) -> None:
    outcome, _ = fuse("infrared", *options.split())
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert re.match(rf"gffusion: error: .*{message}.*\n$", outcome.err)


@pytest.mark.parametrize("command", ["fuse visible infrared --dry-run -m", "export"])
def test_options_that_exclude_saved_ones_are_refused_first(gffusion: Callable, here: Path, command: str) -> None:
    """Before a dry run prints pairs, and before an export takes half a minute."""
    folder = shutil.copytree(locate("gffusion-funet"), here / "model")
    options = ("--plateau-limit", "2", "-o", "new.onnx" if command == "export" else "new")
    outcome = gffusion(*command.split(), "model", *options)
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert re.fullmatch("gffusion: error: .*--plateau-limit.*needs.*--agc plateau.*\n", outcome.err)
    if command != "export":
        GFFusionImageProcessor(agc="plateau").save_pretrained(folder)
        assert gffusion(*command.split(), "model", *options).exit_code == 0


def test_options_saved_on_the_hub_are_not_known_yet() -> None:
    check_saved_options("lab/model", {"plateau_limit": 2.0})


def test_evaluate_measures_mapped_values(gffusion: Callable, here: Path) -> None:
    """Raw counts and black-hot images give the table of the 8-bit images that they were made from."""
    tables = []
    for kind, options in (
        ("infrared", []),
        ("infrared", ["--infrared-range", "type"]),
        ("blackhot", ["--invert"]),
        ("raw", ["--infrared-range", "7000,9550"]),
    ):
        if kind == "raw":  # of one offset
            for name, offset in zip(NAMES, RAW, strict=True):
                write_image(here / "raw" / name, read_image(here / "raw" / name) - np.uint16(offset - RAW[0]))
        command = ("evaluate", "--visible", "visible", "--infrared", kind, "-o", f"table_{len(tables)}", *options)
        outcome = gffusion(*command, "--model", "gffusion-funet", "--metrics", "EN,SCD", "--sheet", "1")
        assert (outcome.exit_code, outcome.err) == (0, "")
        tables.append(json.loads((here / f"table_{len(tables)}" / "summary.json").read_text())["methods"])
    sheets = [np.asarray(Image.open(here / f"table_{index}" / "sheet.png"), float) for index in range(4)]
    for table, sheet in zip(tables[1:], sheets[1:], strict=True):
        assert {name: pytest.approx(values, abs=1e-3) for name, values in tables[0].items()} == table
        assert np.abs(sheet - sheets[0]).mean() < 0.1


def test_evaluate_measures_the_folder_and_skips_frames_outside(gffusion: Callable, here: Path) -> None:
    command = ("evaluate", "--visible", "visible", "--infrared", "raw", "--metrics", "EN", "--model", "gffusion-funet")
    outcome = gffusion(*command, "-o", "folder", "--infrared-range", "folder")
    assert outcome.exit_code == 0 and outcome.err.count("infrared range of 3 images: 7") == 1
    outcome = gffusion(*command, "-o", "fixed", "--infrared-range", "6900,9600")
    assert outcome.exit_code == 1 and re.search("rendered_0002: .*raw.*outside the range", outcome.err)
    outcome = gffusion(*command, "-o", "smooth", "--infrared-range", "percentile", "--smooth-range", "3")
    assert outcome.exit_code == 0


def test_evaluate_takes_the_range_that_models_were_saved_with(gffusion: Callable, here: Path) -> None:
    """For metrics, baselines and fused folders, too; models that were saved with different ranges are refused."""
    for name, offset in zip(NAMES, RAW, strict=True):
        write_image(here / "raw" / name, read_image(here / "raw" / name) - np.uint16(offset - RAW[0]))
    for name, infrared_range in (("first", [7000, 9550]), ("second", [6900, 9600])):
        shutil.copytree(locate("gffusion-funet"), name)
        GFFusionImageProcessor(infrared_range=infrared_range).save_pretrained(name)
    command = ("evaluate", "--visible", "visible", "--metrics", "SSIM", "--fused", "mine=visible", "--infrared")
    tables = {}
    for output, words in {
        "saved": ["raw", "-m", "first"],
        "typed": ["raw", "-m", "first", "--infrared-range", "7000,9550"],
        "8 bits": ["infrared", "-m", "gffusion-funet"],
    }.items():
        outcome = gffusion(*command, *words, "-o", output)
        assert outcome.exit_code == 0, outcome.err
        assert ("note: infrared values are mapped as saved" in outcome.err) == (output == "saved")
        methods = json.loads((here / output / "summary.json").read_text())["methods"]
        tables[output] = {"first" if name == "gffusion-funet" else name: value for name, value in methods.items()}
    expected = {name: pytest.approx(values, abs=1e-3) for name, values in tables["8 bits"].items()}
    assert tables["saved"] == tables["typed"] == expected
    outcome = gffusion(*command, "raw", "-m", "first", "-m", "second", "-o", "differ")
    assert outcome.exit_code == 2 and "--infrared-range 7000,9550, but second with --infrared-range 6" in outcome.err
    shown = gffusion(
        "show", "fused", f"visible/{NAMES[0]}", f"raw/{NAMES[0]}", "-o", "x.png", "-m", "first", "-m", "second"
    )
    assert shown.exit_code == 2 and "first was saved with --infrared-range 7000,9550" in shown.err
    outcome = gffusion(*command, "raw", "-o", "counts")  # no model, and so no range
    assert outcome.exit_code == 2 and "nearly constant images. Set --infrared-range folder" in outcome.err
    shutil.copytree(locate("gffusion-funet"), "same")
    GFFusionImageProcessor(infrared_range="type").save_pretrained("same")
    assert gffusion(*command, "infrared", "-m", "same", "-m", "gffusion-funet", "-o", "bytes").exit_code == 0
    outcome = gffusion(*command, "infrared", "-m", "same", "-m", "gffusion-live", "--invert", "-o", "inverted")
    assert outcome.exit_code == 0


def test_masks_of_mapped_values(gffusion: Callable, here: Path) -> None:
    """Black-hot and raw images give the label maps of white-hot ones."""
    maps = []
    for kind, options in (("infrared", []), ("blackhot", ["--invert"]), ("raw", ["--infrared-range", "folder"])):
        data = here / f"data_{kind}"
        for name, source in (("visible", "visible"), ("boxes", "boxes"), ("infrared", kind)):
            shutil.copytree(here / source, data / name)
        command = ("masks", data, "--method", "threshold", "--source", "infrared", *options)
        outcome = gffusion(*command, "--contact-sheet", data / "sheet.png")
        assert outcome.exit_code == 0
        assert ("infrared range of 3 images" in outcome.out) == (kind == "raw")
        maps.append([read_image(data / "labels" / name) for name in NAMES])
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.mean(np.not_equal(maps[0], maps[2])) < 0.02


def test_counts_of_radiometric_files_have_ranges_of_their_own_everywhere(gffusion: Callable, here: Path) -> None:
    """By default, they are mapped by percentiles: those of their type would give uniformly gray images."""
    (here / "radiometric" / "infrared").mkdir(parents=True)
    for kind in ("visible", "boxes"):
        shutil.copytree(here / kind, here / "radiometric" / kind)
    for name in NAMES:
        content = dji_jpeg(read_image(here / "raw" / name), (64, 96))
        (here / "radiometric" / "infrared" / name).with_suffix(".jpg").write_bytes(content)
    folders = ("--visible", "radiometric/visible", "--infrared", "radiometric/infrared")
    results = []
    for options in ([], ["--infrared-range", "percentile"]):
        output = here / f"out{len(results)}"
        outcome = gffusion("evaluate", *folders, "-o", output, "--metrics", "EN", "-m", "gffusion-funet", *options)
        assert outcome.exit_code == 0
        labels = output / "labels"
        outcome = gffusion("masks", "radiometric", "--method", "threshold", "-o", labels, *options)
        assert outcome.exit_code == 0
        given = {"infrared_range": "percentile"} if options else {}
        values = [item["infrared_values"].numpy() for item in FusionDataset(here / "radiometric", **given)]
        maps = [read_image(labels / name) for name in NAMES]
        results.append((json.loads((output / "summary.json").read_text())["methods"], np.array(maps), np.array(values)))
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])
    np.testing.assert_array_equal(results[0][2], results[1][2])


def test_train_prints_and_saves_the_range(gffusion: Callable, here: Path) -> None:
    for kind in ("visible", "raw"):
        shutil.copytree(here / kind, here / "train" / kind.replace("raw", "infrared"))
    words = "--train_data train --eval_data train --output_dir run --num_train_epochs 1 --crop_size 32"
    options = "--infrared_range folder --agc plateau --plateau_limit 2"
    outcome = gffusion("train", *words.split(), *options.split(), "--model_config", SMALL_MODEL)
    assert outcome.exit_code == 0, outcome.err
    assert re.findall(r"^(\w+): infrared range of 3 images: 7\d+", outcome.out, re.MULTILINE) == [
        "training",
        "evaluation",
    ]
    saved = GFFusionImageProcessor.from_pretrained(here / "run" / "best").infrared_options
    assert saved == InfraredOptions("folder", agc="plateau", plateau_limit=2)


@pytest.mark.parametrize(("command", "count"), [("fuse", 5), ("masks", 0)])
def test_help_tells_whether_options_can_be_saved_with_a_model(gffusion: Callable, command: str, count: int) -> None:
    text = " ".join(gffusion(command, "--help").out.split())
    assert text.count("[default: as saved with the model that fuses, if any, else ") == count
    assert ("cold objects are bright. [default: no-invert]" in text) == (count == 0)
