"""`--visible-range` of every command that reads pairs: images of 12 bits give the results of the same ones in 16 bits."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_runs import SMALL_MODEL

from gffusion.data import FusionDataset, read_image, write_image
from gffusion.synthetic.samples import write_scenes
from gffusion.training.building import build_trainer
from gffusion.training.recipe import Recipe

RANGE = ("--visible-range", "0,4080")  # of gray levels times 16


@pytest.fixture
def here(cwd: Path) -> Path:
    """Change into a folder with the datasets few/ and full/, whose visible images have 12 and 16 bits."""
    write_scenes(cwd / "few", count=2, height=96, width=128)
    shutil.copytree(cwd / "few", cwd / "full")
    for folder, factor in (("few", 16), ("full", 257)):
        for file in (cwd / folder / "visible").iterdir():
            write_image(file, read_image(file).astype(np.uint16) * np.uint16(factor))
    return cwd


def _read_all(folder: Path) -> list[np.ndarray]:
    files = sorted(folder.rglob("*.png")) if folder.is_dir() else [folder]
    return [read_image(file) for file in files]


@pytest.mark.parametrize(
    ("words", "output"),
    [
        ("fuse DATA/visible DATA/infrared -m gffusion-live -o DATA.out", "DATA.out"),
        ("masks DATA --method threshold --source visible --overwrite -o DATA.out/labels", "DATA.out/labels"),
        ("show fused DATA/visible/rendered_0000.png DATA/infrared/rendered_0000.png -m gffusion-live -o DATA.png", "DATA.png"),
    ],
    ids=lambda words: words.split()[0],
)  # fmt: skip
def test_results_are_those_of_16_bits(gffusion: Callable[..., Any], here: Path, words: str, output: str) -> None:
    wrong = gffusion(*words.replace("DATA", "few").split(), "--visible-range", "4095,0")
    assert wrong.exit_code == 2 and "--visible-range must be two finite numbers LOW,HIGH" in wrong.err
    for folder, options in (("few", RANGE), ("full", ())):
        outcome = gffusion(*words.replace("DATA", folder).split(), *options)
        assert outcome.exit_code == 0 and "16 bits" not in outcome.err, outcome.err
    found, expected = (_read_all(here / output.replace("DATA", folder)) for folder in ("few", "full"))
    assert len(found) == len(expected) > 0
    for image, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(image, other)


def test_align(gffusion: Callable[..., Any], here: Path, scenes: Path) -> None:
    """It looks at the contrast of edges only, so that the range shows in what is refused."""
    words = ("--accept-uncertain", "-o", "rig.json", *RANGE)
    outcome = gffusion("align", scenes / "visible", scenes / "infrared", *words)
    assert outcome.exit_code == 2 and "has 8 bits: leave it out" in outcome.err
    outcome = gffusion("align", "few/visible", "few/infrared", *words)
    assert outcome.exit_code == 0, outcome.err


def test_evaluate(gffusion: Callable[..., Any], here: Path) -> None:
    for folder, options in (("few", RANGE), ("full", ())):
        words = f"evaluate --visible {folder}/visible --infrared {folder}/infrared --baselines average -o {folder}.out"
        assert gffusion(*words.split(), "--metrics", "EN,SCD,VIF", *options).exit_code == 0
    found, expected = (json.loads((here / f"{name}.out" / "summary.json").read_text()) for name in ("few", "full"))
    assert found["methods"] == expected["methods"]
    assert [table["settings"]["read_options"]["visible_range"] for table in (found, expected)] == ["0,4080", None]


@pytest.mark.parametrize(
    "words", [["--visible_range", "0,4080"], ["--visible_range", "0", "4080"], ["--config", "a.yaml"]]
)
def test_train(here: Path, words: list[str]) -> None:
    Path("a.yaml").write_text("visible_range: [0, 4080]\n")
    options = ["--model_config", SMALL_MODEL, "--output_dir", "run"]
    trainer = build_trainer(Recipe.parse(["--train_data", "few", *options, "--crop_size", "0", "--flip", "0", *words]))
    found, expected = trainer.train_dataset[0], FusionDataset("full")[0]
    np.testing.assert_allclose(found["visible_values"], expected["visible_values"], atol=1e-6)
