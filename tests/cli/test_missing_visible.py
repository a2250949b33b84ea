"""Visible images with NaN around them, such as mosaics, give the results of the same ones with black around them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import pipeline

from gffusion import create_model, load_image_processor
from gffusion.data import FusionDataset, read_image, write_image
from gffusion.synthetic.samples import write_scenes

NOTE = "visible border without a value (31 %) black"
MODEL = "gffusion-live"


@pytest.fixture
def here(cwd: Path) -> Path:
    """Change into a folder with the datasets missing/ and black/."""
    for folder, value in (("missing", np.nan), ("black", 0)):
        write_scenes(cwd / folder, count=2, height=96, width=128)
        for file in (cwd / folder / "visible").iterdir():
            image = read_image(file).astype(np.float32) / 255
            image[:30] = value
            write_image(file.with_suffix(".tif"), image)
            file.unlink()
    return cwd


@pytest.mark.parametrize(
    "words",
    [
        f"fuse DATA/visible DATA/infrared -m {MODEL} -o DATA.out",
        "masks DATA --method threshold --source visible --overwrite -o DATA.out",
        "evaluate --visible DATA/visible --infrared DATA/infrared --baselines average --metrics EN,SCD,VIF -o DATA.out",
    ],
    ids=lambda words: words.split()[0],
)
def test_commands(gffusion: Callable[..., Any], here: Path, words: str) -> None:
    for folder in ("missing", "black"):
        outcome = gffusion(*words.replace("DATA", folder).split())
        assert outcome.exit_code == 0, outcome.err
        assert (NOTE in outcome.err) == (folder == "missing")
    found, expected = (sorted(here.glob(f"{folder}.out/*.*")) for folder in ("missing", "black"))
    assert [file.name for file in found] == [file.name for file in expected] != []
    for file, other in zip(found, expected, strict=True):
        if file.suffix in (".tif", ".png", ".csv"):
            assert file.read_bytes() == other.read_bytes()


def test_training_and_pipeline(here: Path) -> None:
    found, expected = (FusionDataset(here / folder)[0]["visible_values"] for folder in ("missing", "black"))
    np.testing.assert_array_equal(found, expected)
    fuse = pipeline("image-fusion", model=create_model(MODEL), image_processor=load_image_processor(MODEL))
    infrared = here / "black" / "infrared" / "rendered_0000.png"
    images = [read_image(here / folder / "visible" / "rendered_0000.tif") for folder in ("missing", "black")]
    assert np.isnan(images[0]).any()
    found, expected = fuse([(image, infrared) for image in images])
    np.testing.assert_array_equal(found, expected)
