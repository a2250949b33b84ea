"""The kernels of FuNet, interpreted on the CPU; tests/inference/test_cuda_graphs.py runs them on a GPU."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

SCRIPT = """
import json
import sys

import torch

from gffusion import GFFusionConfig, GFFusionModel
from gffusion.inference.triton_funet import TritonFuNet, supports
from gffusion.models.gffusion.finet import FINet, upsample
from gffusion.models.gffusion.funet import FuNet

options = json.loads(sys.argv[1])
widths = {"stem_channels": 6, "feature_channels": 20, "decoder_channels": [18]}
config = GFFusionConfig(paradigm="cascading", use_segmenter=False, **(widths | options))
model = GFFusionModel(config)
torch.manual_seed(0)
funet = model.funet = FuNet(config)
model.eval()
for name, value in funet.state_dict().items():
    if value.is_floating_point():
        value += 0.1 * (torch.rand_like(value) if name.endswith("running_var") else torch.randn_like(value))
funet.decoder[0].weight.data[0] = 0  # a pruned filter
images = torch.rand(2, 4, 10, 21)
visible, infrared = images[:, :3], images[:, 3:]
is_luma = config.color_space == "ycbcr"
source = (visible * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, True) if is_luma else visible
projections = torch.randn(2, 80, 3, 2) if is_luma else None
with torch.no_grad():
    features = funet.encode(source, infrared)
    if projections is not None:
        features, _ = FINet.inject(features, upsample(projections, features.shape[-2:]))
    expected = funet.decode(features, source, infrared, funet.compute_context(source, infrared))
    assert not supports(model)  # float32
    funet.half()
    assert supports(model)
    half = None if projections is None else projections.half()
    kernels = TritonFuNet(funet, is_luma)
    result = kernels(visible, infrared, half)
widest = max(layer.out_channels for layer in funet.modules() if isinstance(layer, torch.nn.Conv2d))
side = next(side for side in range(1000, 40000) if not kernels.fits(side, side)) - 1
maps = [(-(-side // funet.factor)) ** 2 * channels for channels in (18, 40, widest)]
assert max(maps) <= 2**31 and 3 * side**2 <= 2**31  # indices have 32 bits
assert max(maps) > 0.99 * 2**31 or 3 * side**2 > 0.99 * 2**31  # and not fewer than needed
assert result.shape == expected.shape and result.dtype == torch.float32
funet.visible_encoder.activation.negative_slope = 0.5
assert not supports(model)  # they have one slope
print(f"{(result - expected).abs().max().item():.6f}")
"""


REFLECT = """
import torch
import triton
import triton.language as tl

from gffusion.inference.triton_kernels import reflect


@triton.jit
def probe(target, size, LENGTH: tl.constexpr):
    indices = tl.arange(0, LENGTH)
    tl.store(target + indices, reflect(indices - 1, size))


for size in (2, 3, 16, 17, 40):
    found = torch.zeros(64, dtype=torch.int32)
    probe[(1,)](found, size, LENGTH=64)
    assert 0 <= found.min() and found.max() < size, found
    assert found[: size + 2].tolist() == [1, *range(size), size - 2]
"""


def test_indices_stay_in_narrow_maps(
    run_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Also those of the pixels of a block that lie outside of the image, which are loaded and not stored."""
    script = tmp_path / "reflect.py"  # Triton reads the source of kernels
    script.write_text(REFLECT)
    result = run_script(f"import runpy; runpy.run_path({str(script)!r})", environment={"TRITON_INTERPRET": "1"})
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"color_space": "rgb", "blend_sources": True},
        {"context_channels": 4, "pixel_unshuffle": 2, "decoder_channels": [44]},
    ],
)
def test_equal_funet(run_script: Callable[..., subprocess.CompletedProcess[str]], options: dict[str, Any]) -> None:
    """With semantics and without; odd sizes, widths that are no multiples of a chunk, and two images."""
    result = run_script(SCRIPT, json.dumps(options), environment={"TRITON_INTERPRET": "1"})
    assert result.returncode == 0, result.stderr
    assert 0 < float(result.stdout) < 1 / 255
