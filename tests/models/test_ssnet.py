"""SSNet, whose logits `test_modeling_gffusion.py` compares with DINOv2 and SciPy."""

import torch

from gffusion.models.gffusion.ssnet import SSNet


def test_logits_are_float32() -> None:
    network = SSNet(hidden_size=5, num_labels=3).bfloat16()
    assert network(torch.zeros(1, 6, 5, dtype=torch.bfloat16), grid=(2, 3), size=(4, 6)).dtype == torch.float32
