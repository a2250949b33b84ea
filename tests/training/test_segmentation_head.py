"""load_head: the right rows for the right classes, and what it says of those it leaves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn
from transformers import Dinov2Config

from gffusion import GFFusionConfig, GFFusionModel
from gffusion.conversion.ade20k import ADE20K_CLASSES, convert_ade20k_head
from gffusion.training.segmentation_head import load_head

PublishedHead = Callable[[int], tuple[Path, nn.Sequential]]
MakeModel = Callable[..., GFFusionModel]

M3FD = ["background", "person", "car", "bus", "motorcycle", "lamp", "truck"]


@pytest.fixture
def make_model(tiny_config: Callable[..., GFFusionConfig], dinov2_config: Callable[..., Dinov2Config]) -> MakeModel:
    """Makes a model for the given classes, with four layers of DINOv2."""

    def make(classes: list[str], **overrides: Any) -> GFFusionModel:
        labels = {"id2label": dict(enumerate(classes)), "num_labels": len(classes)}
        encoder = {"paradigm": "cascading", "clip_config": None, "dinov2_config": dinov2_config(num_hidden_layers=4)}
        return GFFusionModel(tiny_config(**labels | encoder | overrides))

    return make


@pytest.fixture
def converted(published_head: PublishedHead, tmp_path: Path) -> Callable[[int], tuple[Path, nn.Sequential]]:
    """Makes a converted head for DINOv2 tokens of 32 channels, and the network that it was."""

    def make(inputs: int) -> tuple[Path, nn.Sequential]:
        source, network = published_head(inputs)
        convert_ade20k_head(source, tmp_path / "head.safetensors", hidden_size=32)
        return tmp_path / "head.safetensors", network

    return make


@pytest.mark.parametrize("layers", [1, 4])
def test_classes_score_as_in_the_published_head(make_model: MakeModel, converted: PublishedHead, layers: int) -> None:
    path, network = converted(32 * layers)
    model = make_model(M3FD, segmenter_layers=layers)
    tokens = torch.randn(1, 6, 32 * layers, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model.ssnet.classifier(tokens)
        match = load_head(model, path)
        after = model.ssnet.classifier(tokens)
        published = network(tokens.double().mT[..., None])[..., 0].mT.float()
    counterparts = ["person", "car", "bus", "minibike", "streetlight", "truck"]
    rows = [[name.split(",")[0] for name in ADE20K_CLASSES].index(name) for name in counterparts]
    torch.testing.assert_close(after[..., 1:], published[..., rows], atol=1e-4, rtol=1e-4)
    assert torch.equal(after[..., 0], before[..., 0])  # the background
    assert match.loaded == {name: ADE20K_CLASSES[row] for name, row in zip(M3FD[1:], rows, strict=True)}
    assert match.left == ("background",)


@pytest.mark.parametrize(
    ("name", "counterpart"),
    [
        ("Person", "person"),
        ("people", "person"),
        ("bike", "bicycle"),
        ("Motorbike", "minibike"),
        ("street lamp", "streetlight"),
        ("Traffic_Light", "traffic light"),
        ("guardrail", "railing"),
        ("counter", "counter"),  # also a synonym of "buffet"
        ("stool", "stool"),  # also a synonym of "toilet", which comes earlier
        ("ground", "earth"),  # a synonym of "earth" and of "land", which comes later
    ],
)
def test_names(make_model: MakeModel, converted: PublishedHead, name: str, counterpart: str) -> None:
    match = load_head(make_model(["car_stop", name]), converted(32)[0])
    assert match.left == ("car_stop",)
    assert match.loaded[name].split(",")[0] == counterpart


def test_precision_of_the_model_stays(make_model: MakeModel, converted: PublishedHead) -> None:
    model = make_model(M3FD).bfloat16()
    load_head(model, converted(32)[0])
    assert {parameter.dtype for parameter in model.ssnet.parameters()} == {torch.bfloat16}
    assert all(parameter.requires_grad for parameter in model.ssnet.parameters())


class TestRefusals:
    @pytest.mark.parametrize(
        ("inputs", "layers", "message"),
        [
            (128, 1, "reads the last 4 layers .*the last 1: build the model with segmenter_layers=4"),
            (32, 2, "reads the last 1 layers .*the last 2: build the model with segmenter_layers=1"),
        ],
    )
    def test_other_numbers_of_layers(
        self, make_model: MakeModel, converted: PublishedHead, inputs: int, layers: int, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            load_head(make_model(M3FD, segmenter_layers=layers), converted(inputs)[0])

    def test_heads_of_another_dinov2(
        self, make_model: MakeModel, published_head: PublishedHead, tmp_path: Path
    ) -> None:
        convert_ade20k_head(published_head(48)[0], tmp_path / "head", hidden_size=48)
        with pytest.raises(ValueError, match="DINOv2 of width 48, but the model's has width 32"):
            load_head(make_model(M3FD), tmp_path / "head")

    def test_no_class_in_common(self, make_model: MakeModel, converted: PublishedHead) -> None:
        model = make_model(["background", "survivor"])
        with pytest.raises(ValueError, match=r"none of the classes.*survivor"):
            load_head(model, converted(32)[0])

    def test_no_segmenter(self, make_model: MakeModel, converted: PublishedHead) -> None:
        with pytest.raises(ValueError, match="no segmenter"):
            load_head(make_model(M3FD, use_segmenter=False), converted(32)[0])

    def test_files(self, make_model: MakeModel, published_head: PublishedHead, tmp_path: Path) -> None:
        model = make_model(M3FD)
        with pytest.raises(OSError, match=r"damaged or not a safetensors file.*convert_ade20k_head"):
            load_head(model, published_head(32)[0])
        with pytest.raises(FileNotFoundError, match="absent"):
            load_head(model, tmp_path / "absent")
        with pytest.raises(IsADirectoryError, match="is a folder: give the file"):
            load_head(model, tmp_path)
        safetensors.torch.save_file({"weight": torch.ones(150, 32)}, tmp_path / "other")
        with pytest.raises(ValueError, match="not written by convert_ade20k_head"):
            load_head(model, tmp_path / "other")

    @pytest.mark.parametrize(
        ("tensors", "metadata", "message"),
        [
            ({"weight": torch.ones(2, 32), "bias": torch.ones(3)}, {}, "for each of its classes"),
            ({"weight": torch.ones(2, 32), "bias": torch.ones(2, dtype=torch.int32)}, {}, "for each of its classes"),
            ({"weight": torch.ones(2), "bias": torch.ones(2)}, {}, "for each of its classes"),
            ({"weight": torch.full((2, 32), torch.nan), "bias": torch.ones(2)}, {}, "NaN or infinite: 'weight'"),
            ({"weight": torch.ones(2, 32), "bias": torch.ones(2)}, {"classes": "{"}, "wrong metadata"),
            ({"weight": torch.ones(2, 32), "bias": torch.ones(2)}, {"classes": "7"}, "wrong metadata"),
            ({"weight": torch.ones(2, 65), "bias": torch.ones(2)}, {"layers": "2"}, "DINOv2 of width 32.5"),
            ({"weight": torch.ones(2, 32), "bias": torch.ones(2)}, {"classes": '{"a": 1, "b": 2}'}, "for each of its"),
            ({"weight": torch.ones(2, 32), "bias": torch.ones(2)}, {"classes": "[1, 2]"}, "for each of its classes"),
            ({"weight": torch.ones(2, 32), "bias": torch.ones(2)}, {"layers": "two"}, "wrong metadata"),
            ({"weight": torch.ones(2, 32), "bias": torch.ones(2)}, {"layers": "0"}, "for each of its classes"),
        ],
    )
    def test_damaged(
        self,
        make_model: MakeModel,
        tmp_path: Path,
        tensors: dict[str, torch.Tensor],
        metadata: dict[str, str],
        message: str,
    ) -> None:
        file = tmp_path / "head.safetensors"
        safetensors.torch.save_file(tensors, file, {"classes": '["person", "car"]', "layers": "1", **metadata})
        with pytest.raises((OSError, ValueError), match=message):
            load_head(make_model(["background", "person"]), file)
