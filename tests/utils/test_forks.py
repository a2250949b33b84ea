"""Processes that are forked after a model was loaded, or a metric computed, by several threads."""

import os
import subprocess
from collections.abc import Callable

import pytest

MODEL = """
from gffusion import GFFusionModel, load_image_processor, locate, predict
model = GFFusionModel.from_pretrained(locate("gffusion-tiny")).eval()
processor = load_image_processor("gffusion-tiny")
compute = lambda: predict(model, processor, [(visible, infrared)], segment=True)
"""
METRICS = """
from gffusion.metrics import compute_metrics, to_luma8
fused = to_luma8(infrared)
compute = lambda: compute_metrics(fused, to_luma8(visible), fused)
compute()
"""
FORK = """
import os, signal, sys
import numpy as np, torch
torch.set_num_threads(2)
visible, infrared = np.random.default_rng(0).integers(0, 255, (2, 480, 640), dtype=np.uint8)
{prepare}
if (child := os.fork()) == 0:
    signal.alarm(200)  # ends a process that waits for ever
    compute()
    print(torch.get_num_threads(), flush=True)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 or torch.get_num_threads() != 2)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("prepare", [MODEL, METRICS], ids=["model", "metrics"])
def test_a_forked_process_computes_with_one_thread(
    run_script: Callable[..., subprocess.CompletedProcess[str]], prepare: str
) -> None:
    done = run_script(FORK.format(prepare=prepare))
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
