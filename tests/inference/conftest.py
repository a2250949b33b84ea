"""Fixtures of the tests of inference."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from transformers import pipeline

from gffusion import GFFusionImageProcessor, GFFusionModel, ImageFusionPipeline


@pytest.fixture
def no_grad() -> Iterator[None]:
    """Compute no gradients, as in inference."""
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def checkpoint(tiny_model: Callable[..., GFFusionModel], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_model().save_pretrained(folder)
    GFFusionImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def fuse(checkpoint: Path) -> ImageFusionPipeline:
    return pipeline("image-fusion", model=str(checkpoint), device="cpu")  # equal to the last bit only there


@pytest.fixture
def new_pipeline(fuse: ImageFusionPipeline) -> ImageFusionPipeline:
    """Return a pipeline of the same model that has logged nothing yet."""
    return ImageFusionPipeline(fuse.model, image_processor=fuse.image_processor)
