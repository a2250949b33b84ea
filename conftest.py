"""Settings of all tests, including the examples in docstrings."""

import importlib.util
import os
from collections.abc import Iterator

import pytest

# Before transformers is imported, and for the processes that tests start: quiet, and no test may need a network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
# Parallel workers share the cores: one thread each, or they wait for each other. The processes of tests inherit it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# `--doctest-modules` executes modules without marking them as initializing, which `gffusion.inference.registration` relies
# on: import them regularly first.
import gffusion.inference.pipeline  # noqa: F401
from gffusion.metrics import METRICS

collect_ignore = []
# Triton is part of torch's builds for NVIDIA GPUs on Linux only.
if importlib.util.find_spec("triton") is None:
    collect_ignore += ["gffusion/inference/triton_funet.py", "gffusion/inference/triton_kernels.py"]
if importlib.util.find_spec("gradio") is None:
    collect_ignore += ["gffusion/demo/page.py"]


@pytest.fixture(autouse=True)
def keep_metrics() -> Iterator[None]:
    """Forget the metrics that a test, an example or a page registers."""
    before = dict(METRICS)
    yield
    if before != METRICS:
        METRICS.clear()
        METRICS.update(before)
