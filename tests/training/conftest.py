"""A file with the keys and shapes of DINOv2's published ADE20K heads."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn


@pytest.fixture
def published_head(tmp_path: Path) -> Callable[[int], tuple[Path, nn.Sequential]]:
    """Makes the file, and the network that it belongs to, in evaluation mode and float64."""

    def make(inputs: int) -> tuple[Path, nn.Sequential]:
        generator = torch.Generator().manual_seed(inputs)
        network = nn.Sequential(OrderedDict(bn=nn.BatchNorm2d(inputs), conv_seg=nn.Conv2d(inputs, 150, 1)))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator)
                value.copy_(noise.abs() + 0.01 if name.endswith("running_var") else noise)
        state = OrderedDict((f"decode_head.{name}", value.clone()) for name, value in network.state_dict().items())
        path = tmp_path / f"dinov2_{inputs}_ade20k_head.pth"
        torch.save({"meta": {"epoch": 9, "CLASSES": ("wall",)}, "state_dict": state}, path)
        return path, network.double().eval()

    return make
