"""Results do not depend on the default dtype and device of torch, which other parts of a program can set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gffusion import GFFusionModel, predict
from gffusion.data import FusionDataset
from gffusion.metrics import compute_metrics, to_luma8
from gffusion.synthetic.rendering import render_scene
from gffusion.synthetic.samples import write_scenes
from gffusion.training.sampling import StepSampler, collate
from gffusion.zoo import create_model, load_image_processor

NAME = "gffusion-tiny"  # has a context, semantics, and a segmenter of several windows


@pytest.fixture(autouse=True)
def torch_defaults() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


def fuse(model: GFFusionModel) -> dict[str, Any]:
    scene = render_scene(0, 120, 160)
    result = predict(model, load_image_processor(NAME), [(scene.visible, scene.infrared)], segment=True)[0]
    return {"fused": result.fused, "labels": result.labels}


def read(folder: Path) -> dict[str, Any]:
    dataset = FusionDataset(folder)
    items = {f"{name} {index}": value for index in range(2) for name, value in dataset[index].items()}
    return {**items, "order": list(StepSampler(len(dataset), 1))}


def measure(model: GFFusionModel, folder: Path) -> dict[str, Any]:
    """Return losses and metrics."""
    batch = collate([FusionDataset(folder)[0]], model.config)
    with torch.no_grad():
        output = model(**batch)
    lumas = [to_luma8(batch[f"{kind}_values"]) for kind in ("visible", "infrared")]
    return {
        "loss": output.loss,
        "segmentation": output.loss_segmentation,
        **compute_metrics(to_luma8(output.fused_values.clamp(0, 1)), *lumas),
    }


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_default_dtype(dtype: torch.dtype, tmp_path: Path) -> None:
    write_scenes(tmp_path, 2, height=176, width=192)
    model = create_model(NAME)
    expected = [fuse(model), read(tmp_path), measure(model, tmp_path)]
    torch.set_default_dtype(dtype)
    for before, after in zip(expected, [fuse(model), read(tmp_path), measure(model, tmp_path)], strict=True):
        for name, value in before.items():
            np.testing.assert_array_equal(after[name], value, err_msg=name)


def test_default_device(tmp_path: Path) -> None:
    """Here "meta", on which tensors have no values, instead of a GPU."""
    write_scenes(tmp_path, 2, height=176, width=192)
    model = create_model(NAME)
    expected = {**fuse(model), **read(tmp_path)}
    torch.set_default_device("meta")
    for name, value in {**fuse(model), **read(tmp_path)}.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
