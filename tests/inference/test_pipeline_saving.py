"""Folders and repositories that the "image-fusion" pipeline writes."""

import json
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from transformers import pipeline

from gffusion import GFFusionImageProcessor, GFFusionModel, ImageFusionPipeline, create_model, load_image_processor
from gffusion.hub import find_problems

PAIR = np.full((40, 48, 3), 90, np.uint8), np.full((40, 48), 160, np.uint8)


@pytest.fixture
def fuse(tiny_model: Callable[..., GFFusionModel], tmp_path: Path) -> ImageFusionPipeline:
    """Pipeline of a saved model, as transformers creates it."""
    tiny_model(paradigm="cascading", use_segmenter=False).save_pretrained(tmp_path / "first")
    GFFusionImageProcessor(size_divisor=16).save_pretrained(tmp_path / "first")
    return pipeline("image-fusion", model=str(tmp_path / "first"))


def test_saved_pipelines_load(fuse: ImageFusionPipeline, tmp_path: Path) -> None:
    """Also in place of a folder that transformers' own method wrote, and the model alone afterwards."""
    fuse.save_pretrained(tmp_path / "second")
    assert {file.name for file in (tmp_path / "second").iterdir()} == {
        file.name for file in (tmp_path / "first").iterdir()
    }
    super(ImageFusionPipeline, fuse).save_pretrained(tmp_path / "third")
    config = json.loads((tmp_path / "third/config.json").read_text())
    config["custom_pipelines"] = {
        "image-fusion": {"impl": "pipeline.ImageFusionPipeline"}
    }  # written by earlier versions
    (tmp_path / "third/config.json").write_text(json.dumps(config))
    for name in ("second", "third"):
        again = pipeline("image-fusion", model=str(tmp_path / name))
        assert np.array_equal(again(PAIR), fuse(PAIR)) and again.image_processor.size_divisor == 16
        assert (
            create_model(tmp_path / name).config.to_diff_dict()
            == create_model(tmp_path / "first").config.to_diff_dict()
        )
        assert load_image_processor(tmp_path / name).size_divisor == 16
        assert find_problems(tmp_path / name) == []


def test_published_by_model_and_processor(fuse: ImageFusionPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = Mock()
    monkeypatch.setattr(GFFusionModel, "push_to_hub", upload.model)
    monkeypatch.setattr(GFFusionImageProcessor, "push_to_hub", upload.processor)
    fuse.push_to_hub("lab/street", private=True)
    assert [call[0] for call in upload.mock_calls] == ["model", "processor"]
    assert all(call[1:] == (("lab/street",), {"private": True}) for call in upload.mock_calls)
