"""The form of FuNet for CPUs: its images are those of the network, and it is used only where they are."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gffusion import GFFusionModel
from gffusion.inference import cpu_funet, row_bands
from gffusion.inference.cpu_funet import get_cpu_funet
from gffusion.inference.predict import run_model
from gffusion.models.gffusion.funet import FuNet

pytestmark = pytest.mark.usefixtures("no_grad")

TinyModel = Callable[..., GFFusionModel]
MakeInputs = Callable[..., dict[str, Tensor]]
GRAY_LEVEL = 1 / 255

CHOICES: list[dict[str, Any]] = [
    {"paradigm": "parallel"},
    {"paradigm": "hybrid"},
    {"color_space": "rgb", "stem_channels": 8, "feature_channels": 12, "decoder_channels": [3]},
    {"stem_channels": 16, "feature_channels": 20, "decoder_channels": [17, 6]},
    {"decoder_channels": []},
    {"pixel_unshuffle": 2, "stem_channels": 4},
    {"pixel_unshuffle": 2, "blend_sources": True, "paradigm": "hybrid"},
    {"blend_sources": True, "color_space": "rgb"},
    {"context_channels": 3},
    {"context_channels": 3, "pixel_unshuffle": 2, "decoder_channels": []},
]


@pytest.mark.parametrize("choices", CHOICES, ids=str)
@pytest.mark.parametrize("size", [(48, 40), (51, 45), (33, 90)], ids=str)
def test_images_are_those_of_the_network(
    tiny_model: TinyModel, make_inputs: MakeInputs, monkeypatch: Any, choices: dict[str, Any], size: tuple[int, int]
) -> None:
    """Within a hundredth of a gray level, also at the borders, in several rows and columns of tiles."""
    monkeypatch.setattr(row_bands, "MIN_BAND_ROWS", 20)
    monkeypatch.setattr(row_bands, "TILE_VALUES", 0)
    monkeypatch.setattr(row_bands, "MAX_COLUMNS", 32)
    model = tiny_model(**{"paradigm": "cascading", **choices}).eval()
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        norm.running_mean.uniform_(-0.5, 0.5)
        norm.running_var.uniform_(0.5, 2)
    inputs = {name: F.interpolate(value, size) for name, value in make_inputs().items()}
    assert get_cpu_funet(model) is not None
    fused = run_model(model, **inputs, row_bands=True).fused_values
    expected = run_model(model, **inputs).fused_values
    torch.testing.assert_close(fused, expected, atol=GRAY_LEVEL / 100, rtol=0)


@pytest.mark.parametrize(
    "change",
    [
        lambda funet: funet.decoder[0].weight.mul_(-1),
        lambda funet: funet.decoder[0].weight.data.mul_(-1),
        lambda funet: setattr(funet.decoder[1], "eps", 0.5),
        lambda funet: [
            setattr(layer, "negative_slope", 0.9) for layer in funet.modules() if isinstance(layer, torch.nn.LeakyReLU)
        ],
    ],
    ids=["weights", "data", "eps", "slope"],
)
def test_weights_and_settings_that_change_are_used(
    tiny_model: TinyModel, make_inputs: MakeInputs, change: Callable[[FuNet], Any]
) -> None:
    model, inputs = tiny_model(paradigm="cascading").eval(), make_inputs()
    form = get_cpu_funet(model)
    assert form is get_cpu_funet(model) is not None
    change(model.funet)
    assert get_cpu_funet(model) is not form
    fused = run_model(model, **inputs, row_bands=True).fused_values
    torch.testing.assert_close(fused, run_model(model, **inputs).fused_values, atol=GRAY_LEVEL / 100, rtol=0)


def test_plain_networks(tiny_model: TinyModel, make_inputs: MakeInputs, monkeypatch: Any) -> None:
    """Where the form for CPUs is unknown, or its result is another, the network runs as it is."""
    assert get_cpu_funet(tiny_model(paradigm="cascading").eval().bfloat16()) is None
    model, inputs = tiny_model(paradigm="cascading").eval(), make_inputs()
    with torch.enable_grad():
        assert run_model(model, **inputs, row_bands=True).fused_values.requires_grad
    monkeypatch.setattr(cpu_funet.CpuFuNet, "decode", lambda self, features, tile, frame: torch.zeros(1, 1, 20, 24))
    assert get_cpu_funet(model) is None


def test_processors_without_the_convolution(tiny_model: TinyModel, make_inputs: MakeInputs, monkeypatch: Any) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("not supported")

    monkeypatch.setattr(cpu_funet, "_convolve", fail)
    model, inputs = tiny_model(paradigm="cascading").eval(), make_inputs()
    assert get_cpu_funet(model) is None
    fused = run_model(model, **inputs, row_bands=True).fused_values
    torch.testing.assert_close(fused, run_model(model, **inputs).fused_values, atol=1e-6, rtol=0)


@pytest.mark.parametrize("small", [1, 2, 5, 30])
@pytest.mark.parametrize(("width", "left", "columns"), [(30, -1, 40), (120, 57, 16), (117, 104, 24), (3, -1, 8)])
def test_maps_of_some_columns_are_part_of_all(small: int, width: int, left: int, columns: int) -> None:
    """As by `F.interpolate`; columns outside of the image repeat those at its border."""
    maps, height = torch.rand(2, 3, 4, small), 11
    frame = cpu_funet.Frame(0, left, height, columns, height, width)
    found = cpu_funet.Map(maps, frame).upsample(1, 0, height).unflatten(1, (columns, 3))
    expected = F.interpolate(maps[1:], (height, width), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    inside = torch.arange(left, left + columns).clamp(0, width - 1)
    torch.testing.assert_close(found, expected[:, inside], atol=1e-5, rtol=0)
