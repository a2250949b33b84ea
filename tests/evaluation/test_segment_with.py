"""`evaluate` with one model that segments the fused images of all methods."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_runs import NAMES, run
from numpy.typing import NDArray
from read_back import read_pixels

from gffusion import GFFusionImageProcessor, GFFusionModel
from gffusion.inference.predict import predict

TinyModel = Callable[..., GFFusionModel]
CLASSES = dict(enumerate(("background", "person", "bicycle", "car")))


def save_model(folder: Path, tiny_model: TinyModel, seed: int = 0, **options: Any) -> Path:
    """Save a tiny model, with a seed with another segmentation head."""
    model = tiny_model(**{"id2label": CLASSES, "label2id": {name: label for label, name in CLASSES.items()}} | options)
    if seed:
        torch.nn.init.normal_(model.ssnet.classifier.weight, generator=torch.Generator().manual_seed(seed))
    model.save_pretrained(folder)
    GFFusionImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture
def labels(pairs: Path, save: Callable[[Path, NDArray[Any]], None]) -> Path:
    """Write label maps of random classes."""
    for seed, name in enumerate(NAMES):
        values = np.random.default_rng(seed).choice([0, 1, 2, 3, 255], (48, 64)).astype(np.uint8)
        save(pairs / "labels" / f"{name}.png", values)
    return pairs / "labels"


def test_own_images_in_a_folder_and_another_segmenter(
    pairs: Path, labels: Path, tmp_path: Path, tiny_model: TinyModel
) -> None:
    first, second = save_model(tmp_path / "first", tiny_model), save_model(tmp_path / "second", tiny_model, seed=1)
    model, processor = GFFusionModel.from_pretrained(first).eval(), GFFusionImageProcessor()
    (pairs / "saved").mkdir()
    for name in NAMES:
        images = tuple(read_pixels(pairs / kind / f"{name}.png") for kind in ("visible", "infrared"))
        predict(model, processor, [images], output_type="pil")[0].fused.save(pairs / "saved" / f"{name}.png")
    given: dict[str, Any] = {"fused": {"saved": pairs / "saved"}, "models": [first], "labels": labels}
    given |= {"baselines": ["average"], "output": tmp_path / "out"}
    own = run(pairs, **given)
    # Models are evaluated as `gffusion fuse` runs them; sums in another order change single pixels by one level.
    assert own.methods[:2] == ("saved", "first") and np.allclose(own.values[0], own.values[1], rtol=1e-3)
    # All four runs share the records, which depend on the segmenter.
    table, other, again = (run(pairs, **given, segment_with=model) for model in (first, second, first))
    assert list(own.confusion) == ["first"] and own.segmented_by is None
    assert list(table.confusion) == ["saved", "first", "average"]
    total = table.confusion["first"].sum()
    assert total == own.confusion["first"].sum()
    for matrices in (table.confusion["saved"], own.confusion["first"]):  # sums in another order; unrounded images
        assert abs(table.confusion["first"] - matrices).sum() < 0.02 * total
    assert abs(table.confusion["first"] - table.confusion["average"]).sum() > 0.1 * total
    for name in table.confusion:
        assert abs(table.confusion[name] - other.confusion[name]).sum() > 0.1 * total
        assert (table.confusion[name] == again.confusion[name]).all()
    assert other.summarize()["segmented_by"] == "second" and "second segmented the images of all methods" in str(other)
    assert (own.values == other.values).all()


@pytest.mark.parametrize(
    ("options", "overrides", "message"),
    [
        ({}, {"labels": None}, r"`segment_with` \(--segment-with\) needs label maps to compare with"),
        ({}, {"predicted_labels": {"sharp": "."}}, r"gives those of sharp: leave one of the two out"),
        ({}, {"segment_with": "model.onnx"}, r"model\.onnx: an \.onnx file segments only what it fuses"),
        ({"use_segmenter": False}, {}, r"tiny: The model has no segmenter"),
        ({"paradigm": "parallel"}, {}, r"tiny: A model of the parallel paradigm segments the visible and the infrared"),
        ({"num_labels": 2, "id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}, {}, "classes are 0 a, 1 b"),
    ],
)
def test_refused(
    pairs: Path,
    labels: Path,
    tmp_path: Path,
    tiny_model: TinyModel,
    options: dict[str, Any],
    overrides: dict[str, Any],
    message: str,
) -> None:
    folder = save_model(tmp_path / "tiny", tiny_model, **options)
    with pytest.raises(ValueError, match=message):
        run(pairs, **{"labels": labels, "segment_with": folder} | overrides)


@pytest.mark.parametrize("given", [5, ["gffusion-tiny"]])
def test_other_types(pairs: Path, given: Any) -> None:
    with pytest.raises(TypeError, match="`segment_with` must be the name of a model or a folder"):
        run(pairs, segment_with=given)
