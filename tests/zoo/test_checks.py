"""Every function that takes a model says what it takes if it gets something else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.parallel import DataParallel

from gffusion import (
    FusionTrainer,
    FusionTrainingArguments,
    GFFusionConfig,
    GFFusionImageProcessor,
    GFFusionModel,
    ImageFusionPipeline,
)
from gffusion.data import PairImages
from gffusion.evaluation import evaluate
from gffusion.export.exporting import check_model, export_model
from gffusion.hub import push_model
from gffusion.inference.features import extract_features, get_layer_weights
from gffusion.inference.files import fuse_files
from gffusion.inference.measuring import measure_pair
from gffusion.inference.predict import predict, run_model
from gffusion.inference.segmenting import segment_fused
from gffusion.training import load_head
from gffusion.video.fuser import FrameFuser
from gffusion.video.fusing import fuse_video
from gffusion.video.jobs import VideoJob
from gffusion.video.stream import FusionStream
from gffusion.zoo.checks import check_can_be_saved, check_model_object

PROCESSOR = GFFusionImageProcessor()
PAIR = np.zeros((40, 48, 3), np.uint8), np.zeros((40, 48), np.uint8)
VALUES = torch.rand(1, 3, 40, 48), torch.rand(1, 1, 40, 48)
ENTRIES: dict[str, Callable[[Any], Any]] = {
    "FusionTrainer": lambda model: FusionTrainer(model, FusionTrainingArguments("run"), []),
    "load_head": lambda model: load_head(model, "head.safetensors"),
    "predict": lambda model: predict(model, PROCESSOR, [PAIR]),
    "run_model": lambda model: run_model(model, *VALUES),
    "fuse_files": lambda model: list(fuse_files([], model, PROCESSOR)),
    "extract_features": lambda model: extract_features(model, PROCESSOR, PairImages(*PAIR)),
    "get_layer_weights": get_layer_weights,
    "measure_pair": lambda model: measure_pair(model, PROCESSOR, (40, 48), 1),
    "FrameFuser": lambda model: FrameFuser(model, PROCESSOR),
    "FusionStream": lambda model: FusionStream(model, PROCESSOR),
    "fuse_video": lambda model: fuse_video(VideoJob(Path("a.mp4"), Path("b.mp4"), Path("c.mp4")), model, PROCESSOR),
    "export_model": lambda model: export_model(model, PROCESSOR, "model.onnx", name="mine"),
    "check_model": lambda model: check_model(model, "mine", False, "fp32"),
    "push_model": lambda model: push_model(model, "lab/mine"),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_other_networks(entry: str) -> None:
    for other in (nn.Conv2d(3, 1, 3), "gffusion-tiny", None):
        with pytest.raises(ValueError, match=r"`model` must be a GFFusionModel, as `create_model` .*, got"):
            ENTRIES[entry](other)


PROCESSOR_ENTRIES: dict[str, Callable[[GFFusionModel, Any], Any]] = {
    "predict": lambda model, processor: predict(model, processor, [PAIR]),
    "segment_fused": lambda model, processor: segment_fused(model, processor, [PAIR[0]], [PAIR]),
    "fuse_files": lambda model, processor: list(fuse_files([], model, processor)),
    "extract_features": lambda model, processor: extract_features(model, processor, PairImages(*PAIR)),
    "FrameFuser": FrameFuser,
    "FusionStream": FusionStream,
    "fuse_video": lambda model, processor: fuse_video(VideoJob("a.mp4", "b.mp4", "c.mp4"), model, processor),
    "export_model": lambda model, processor: export_model(model, processor, "model.onnx", name="mine"),
}


@pytest.mark.parametrize("entry", PROCESSOR_ENTRIES)
def test_other_processors(entry: str, tiny_model: Callable[..., GFFusionModel]) -> None:
    model = tiny_model().eval()
    for other in (None, model, "gffusion-tiny", GFFusionImageProcessor):
        with pytest.raises(ValueError, match=r"`image_processor` must be a GFFusionImageProcessor, .*, got"):
            PROCESSOR_ENTRIES[entry](model, other)


class Foreign(nn.Module):
    """A network with a configuration, as transformers' have it."""

    config = type("Config", (), {"model_type": "vit"})()


class Wrapper(nn.Module):
    """A wrapper that has the attributes of the model, as PEFT's."""

    def __init__(self, model: GFFusionModel) -> None:
        super().__init__()
        self.base_model = model

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.base_model, name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda model: DataParallel(model), "got a DataParallel: pass its `module`"),
        (lambda model: torch.fx.symbolic_trace(nn.ReLU()), "use the model that it was exported from"),
        (lambda model: torch.jit.script(nn.ReLU()), "use the model that it was exported from"),
        (lambda model: Path("runs/mine"), r"got the \w+ 'runs/mine': load it first, by `create_model\('runs/mine'\)`"),
        (lambda model: GFFusionModel, "got the class GFFusionModel: pass an instance"),
        (
            lambda model: Foreign(),
            "got a Foreign: other networks cannot be used; `gffusion.evaluation.evaluate` compares",
        ),
    ],
)
def test_advice(make: Callable[[GFFusionModel], Any], message: str, tiny_model: Callable[..., GFFusionModel]) -> None:
    with pytest.raises(ValueError, match=message):
        check_model_object(make(tiny_model(paradigm="cascading", use_segmenter=False)))


def test_wrappers_that_have_the_attributes_of_the_model(tiny_model: Callable[..., GFFusionModel]) -> None:
    model = tiny_model(paradigm="cascading", use_segmenter=False)
    for wrapper in (torch.compile(model, backend="eager"), Wrapper(model)):
        check_model_object(wrapper)
    own = GFFusionConfig.from_dict(model.config.to_dict())
    own.model_type = "my_fusion"  # as in a subclass
    model.config = own
    check_model_object(model)
    exported = Foreign()
    exported.config = model.config  # without the parts, as an OnnxModel
    check_model_object(exported, can_be_exported=True)
    with pytest.raises(ValueError, match="got a Foreign: use the model that it was exported from"):
        check_model_object(exported)


class Adapted(nn.Module):
    """A layer with an adapter, as PEFT adds it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.base_layer, self.lora_A = layer, nn.Linear(layer.in_features, layer.out_features, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.base_layer(tokens) + self.lora_A(tokens)


def add_adapter(model: GFFusionModel) -> GFFusionModel:
    model.ssnet.classifier = Adapted(model.ssnet.classifier)  # type: ignore[assignment]
    return model


class OwnAdapters(GFFusionModel):
    """A class whose own networks have such layers, with which they are loaded."""

    def __init__(self, config: GFFusionConfig) -> None:
        super().__init__(config)
        add_adapter(self)


SAVERS = {name: ENTRIES[name] for name in ("FusionTrainer", "push_model")} | {
    "pipeline.save_pretrained": lambda model: ImageFusionPipeline(model, image_processor=PROCESSOR).save_pretrained(
        "x"
    ),
    "pipeline.push_to_hub": lambda model: ImageFusionPipeline(model, image_processor=PROCESSOR).push_to_hub("lab/x"),
}


@pytest.mark.parametrize("saver", SAVERS)
def test_models_of_which_a_part_would_not_be_saved(saver: str, tiny_model: Callable[..., GFFusionModel]) -> None:
    for change, found in (
        (Wrapper, "Wrapper, which wraps one"),
        (add_adapter, "adapters, first in 'ssnet.classifier'"),
    ):
        with pytest.raises(
            ValueError, match=f"must be a GFFusionModel itself.* got a .*{found}.*: merge adapters first"
        ):
            SAVERS[saver](change(tiny_model()))


def test_models_that_can_be_saved(tiny_model: Callable[..., GFFusionModel]) -> None:
    model = tiny_model()
    for whole in (model, torch.compile(model, backend="eager"), OwnAdapters(model.config)):
        check_can_be_saved(whole)


def test_real_adapters(tiny_model: Callable[..., GFFusionModel]) -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(tiny_model(), peft.LoraConfig(target_modules=["classifier"]))
    for adapted in (model, model.base_model.model):
        with pytest.raises(ValueError, match="must be a GFFusionModel itself"):
            check_can_be_saved(adapted)
    check_can_be_saved(model.merge_and_unload())


def test_evaluation_and_pipeline(scenes: Path) -> None:
    for models in (Foreign(), [Foreign()]):
        with pytest.raises(TypeError, match=r"`models` must be a name or .*, got Foreign: save .* \(`fused`\)"):
            evaluate(scenes / "visible", scenes / "infrared", models=models)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`model` must be a GFFusionModel"):
        ImageFusionPipeline(model=nn.ReLU(), image_processor=PROCESSOR)
