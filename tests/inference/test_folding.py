"""Folding of FuNet's parts, and what is not folded."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import spectral_norm

from gffusion import (
    GFFusionConfig,
    GFFusionImageProcessor,
    GFFusionModel,
    create_model,
    list_models,
    load_image_processor,
)
from gffusion.inference import large_images, row_bands
from gffusion.inference.cpu_funet import get_cpu_funet
from gffusion.inference.folding import can_divide, can_fold, fold_batch_norms
from gffusion.inference.predict import predict
from gffusion.models.gffusion.finet import FINet
from gffusion.models.gffusion.funet import FuNet, GradientResidualDenseBlock

TinyModel = Callable[..., GFFusionModel]
Change = Callable[[GFFusionModel], AbstractContextManager[Any] | None]

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 70, 90, 3), np.uint8)


@pytest.fixture
def funet(tiny_model: Callable[..., GFFusionModel]) -> FuNet:
    return tiny_model(paradigm="cascading").eval().funet


@torch.no_grad()
def test_batch_norms(funet: FuNet) -> None:
    for layer in funet.decoder:
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    folded = fold_batch_norms(funet.decoder)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded)
    features = torch.rand(1, funet.decoder[0].in_channels, 8, 9)
    torch.testing.assert_close(nn.Sequential(*folded)(features), funet.decoder(features))


@pytest.mark.parametrize("name", list_models(status="bundled"))
def test_bundled_models_are_folded(name: str) -> None:
    """Also after the first run, in which transformers adds hooks to encoders."""
    model, processor = create_model(name), load_image_processor(name)
    for _ in range(2):
        predict(model, processor, [(IMAGES[0], IMAGES[0, ..., 0])])
        with torch.no_grad():
            assert can_divide(model) and get_cpu_funet(model) is not None


class OwnFINet(FINet):
    @staticmethod
    def inject(spatial: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
        features, gate = FINet.inject(spatial, projected)
        return features - features.mean(dim=(2, 3), keepdim=True), gate


class OwnModel(GFFusionModel):
    """With the methods of its base."""

    def __init__(self, config: GFFusionConfig) -> None:
        super().__init__(config)
        self.finet = OwnFINet(config, config.semantic_config.hidden_size)


def override(part: str, name: str = "forward") -> Change:
    """Change the class of a module to one whose method has another result if an attribute is set, as in adapters."""

    def change(model: GFFusionModel) -> None:
        module = model.get_submodule(part)
        kind = type(module)

        def method(self: Any, *inputs: Tensor) -> Tensor:
            return (0.5 if self.is_on else 1) * getattr(kind, name)(self, *inputs)

        module.__class__ = type(kind.__name__, (kind,), {"is_on": False, name: method})
        predict(model, GFFusionImageProcessor(), [(IMAGES[0], IMAGES[0, ..., 0])])
        module.is_on = True

    return change


def train(part: str) -> Change:
    return lambda model: model.get_submodule(part).train() and None


def replace(part: str, name: str = "forward") -> Change:
    """Replace a method on the object by one that changes its result."""

    def change(model: GFFusionModel) -> None:
        module = model.get_submodule(part)
        method = getattr(module, name)
        setattr(module, name, lambda *inputs: 0.5 * method(*inputs))

    return change


def hook(part: str) -> Change:
    return lambda model: model.get_submodule(part).register_forward_hook(lambda module, inputs, output: 0.5 * output)


def hook_before(part: str) -> Change:
    return lambda model: model.get_submodule(part).register_forward_pre_hook(
        lambda module, inputs: tuple(0.5 * value for value in inputs)
    )


def hook_everywhere(model: GFFusionModel) -> AbstractContextManager[Any]:
    return register_module_forward_hook(
        lambda module, inputs, output: 0.5 * output if isinstance(module, GradientResidualDenseBlock) else None
    )


def forget_statistics(model: GFFusionModel) -> None:
    norm = model.funet.decoder[1]
    norm.running_mean = norm.running_var = None


def append_average(model: GFFusionModel) -> None:
    """Append a layer that depends on the whole image."""
    encoder = model.funet.visible_encoder
    encoder.block = nn.Sequential(encoder.block, nn.InstanceNorm2d(model.config.feature_channels))


CHANGES: dict[str, Change] = {
    "injection, class": lambda model: setattr(model.finet, "__class__", OwnFINet),
    "injection, object": lambda model: setattr(model.finet, "inject", OwnFINet.inject),
    "injection, model": lambda model: vars(model).update(vars(OwnModel(model.config).eval())),
    "training, norm": train("funet.decoder.1"),
    "training, decoder": train("funet.decoder"),
    "no statistics": forget_statistics,
    "convolution": override("funet.visible_encoder.block.dense_align"),
    "norm": override("funet.decoder.1"),
    "activation": override("funet.infrared_encoder.activation"),
    "block": override("funet.visible_encoder.block"),
    "context": override("funet.context"),
    "FuNet": override("funet", "encode"),
    "other layer": append_average,
    "parametrization": lambda model: spectral_norm(model.funet.decoder[0]) and None,
    "pruning": lambda model: prune.l1_unstructured(model.funet.decoder[0], "weight", 0.5) and None,
    "replaced, encode": replace("funet", "encode"),
    "replaced, finish": replace("funet", "finish"),
    "replaced, forward": replace("funet.infrared_encoder"),
    "replaced, convolution": replace("funet.decoder.0", "_conv_forward"),
    "replaced, context": replace("funet.context"),
    "hook": hook("funet.visible_encoder.block"),
    "hook, context": hook("funet.context"),
    "hook before, context": hook_before("funet.context"),
    "hook before": hook_before("funet.decoder.0"),
    "hook, layer of the context": hook("funet.context.layers.0"),
    "hook everywhere": hook_everywhere,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("is_large", [False, True])
def test_changed_networks_give_their_own_images(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, change: Change, is_large: bool
) -> None:
    """Also if they change between two calls, or depend on other pixels or other images."""
    monkeypatch.setattr(large_images, "LARGE_PIXELS", 1 if is_large else 2**60)
    monkeypatch.setattr(row_bands, "MIN_BAND_ROWS", 20)
    monkeypatch.setattr(row_bands, "BAND_PIXELS", 0)
    model, processor = tiny_model(context_channels=3, pixel_unshuffle=2).eval(), GFFusionImageProcessor()
    with torch.no_grad():
        model.funet.context.layers[-1].weight.mul_(20)
    pairs = [(image, image[::-1, :, 0].copy()) for image in IMAGES]
    before = predict(model, processor, pairs)[0].fused.astype(int)
    with change(model) or nullcontext():
        found, expected = (
            [item.fused.astype(int) for item in predict(model, processor, pairs, row_bands=choice)]
            for choice in (None, False)
        )
    assert np.abs(expected[0] - before).max() > 2
    np.testing.assert_allclose(found, expected, rtol=0, atol=1)


def test_only_what_is_known_is_folded(tiny_model: TinyModel) -> None:
    model = tiny_model(paradigm="cascading").eval()
    assert can_fold(model)
    assert not can_fold(model.train())
    model.eval().funet.detail = nn.Conv2d(1, 1, 1)
    assert not can_fold(model)
    del model.funet.detail
    model.funet.decoder[0].stride = (2, 2)
    assert not can_fold(model)


def test_synchronized_batch_norms_are_folded(tiny_model: TinyModel) -> None:
    """They are those of a training with several processes."""
    model = nn.SyncBatchNorm.convert_sync_batchnorm(tiny_model(paradigm="cascading")).eval()
    with torch.no_grad():
        assert get_cpu_funet(model) is not None
