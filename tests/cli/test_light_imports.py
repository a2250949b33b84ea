"""What the command imports before its first image, and that the parts it leaves out can be imported afterwards."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = """
import sys
from gffusion.cli import main
try:
    main(sys.argv[1:])
except SystemExit as exit:
    assert exit.code in (0, None), exit.code
left_out = {"torch._dynamo", "scipy.optimize", "torch.distributed.tensor", "sympy"} & sys.modules.keys()
assert not left_out, left_out
import scipy.optimize, torch._dynamo, torch.distributed, transformers.modeling_utils
from transformers.loss import loss_for_object_detection
assert torch.distributed.is_available() and callable(torch._dynamo.optimize)
assert loss_for_object_detection.linear_sum_assignment([[1, 0], [0, 1]])[1].tolist() == [1, 0]
"""


@pytest.mark.parametrize("model", ["gffusion-funet", "gffusion-tiny"])
def test_parts_that_are_left_out(tmp_path: Path, model: str) -> None:
    for name, shape in (("visible", (48, 64, 3)), ("infrared", (48, 64))):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8)).save(tmp_path / f"{name}.png")
    words = ["fuse", str(tmp_path / "visible.png"), str(tmp_path / "infrared.png"), "--model", model]
    fused = tmp_path / "fused.png"
    subprocess.run([sys.executable, "-c", SCRIPT, *words, "--output", str(fused)], check=True, timeout=120)
    assert fused.is_file()
