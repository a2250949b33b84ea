"""`--infrared-luma` of all commands: infrared images in unknown colors are refused without it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gffusion.data import write_image
from gffusion.training.building import build_trainer
from gffusion.training.recipe import Recipe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a data folder with boxes, whose infrared image is a photograph: smooth patches of all colors."""
    rng = np.random.default_rng(0)
    for kind in ("visible", "infrared"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        patches = rng.integers(0, 256, (6, 8, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
        write_image(tmp_path / "data" / kind / "0.png", patches)
    (tmp_path / "data" / "boxes").mkdir()
    (tmp_path / "data" / "boxes" / "0.txt").write_text("0 0.5 0.5 0.4 0.6\n")
    (tmp_path / "data" / "classes.txt").write_text("person\n")
    return tmp_path / "data"


@pytest.mark.parametrize("command", ["fuse", "evaluate", "masks", "export"])
def test_commands(gffusion: Callable[..., Any], folder: Path, tmp_path: Path, command: str) -> None:
    sources = folder / "visible", folder / "infrared"
    words: list[object] = {
        "fuse": [*sources, "-o", tmp_path / "out", "-m", "gffusion-funet"],
        "evaluate": ["--visible", sources[0], "--infrared", sources[1], "-o", tmp_path / "out"],
        "masks": [folder, "-o", tmp_path / "out", "--method", "threshold"],
        "export": ["gffusion-funet", "-o", tmp_path / "m.pt2", "--visible", sources[0], "--infrared", sources[1]],
    }[command]
    refused = gffusion(command, *words)
    assert refused.exit_code != 0
    assert "--infrared-luma" in refused.err
    assert gffusion(command, *words, "--infrared-luma").exit_code == 0


def test_train(folder: Path, tmp_path: Path) -> None:
    words = ["--model_name_or_path", "gffusion-funet", "--train_data", str(folder)]
    words += ["--output_dir", str(tmp_path / "run"), "--crop_size", "0"]
    with pytest.raises(ValueError, match="--infrared-luma"):
        build_trainer(Recipe.parse(words))
    dataset = build_trainer(Recipe.parse([*words, "--infrared_luma", "true"])).train_dataset
    assert dataset[0]["infrared_values"].shape == (1, 48, 64)
