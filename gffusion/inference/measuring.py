"""Measure where the time of a pair goes on the CPU, and how far the networks are from what the processor can do."""

import statistics
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gffusion.data import read_pair, write_image
from gffusion.models.gffusion.finet import upsample
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel, GFFusionOutput
from gffusion.synthetic.samples import write_scenes
from gffusion.zoo.checks import check_model_object

from .cpu_funet import get_cpu_funet
from .large_images import LARGE_PIXELS, find_large_form
from .predict import find_semantics
from .row_bands import fuse_in_bands
from .threads import run_alone, run_in_threads

Result = TypeVar("Result")


@dataclass(frozen=True)
class Rates:
    """What all threads compute together, each by itself: convolutions and matrix products in FLOP/s, copies in bytes/s.

    `narrow` is that of convolutions with 16 channels, as FuNet's, which limits do not use.
    """

    convolution: float
    narrow: float
    matmul: float
    copy: float


@dataclass(frozen=True)
class Step:
    """Median time of a stage, its lower bound at the measured rates, and the FLOP of the networks, 2 for each multiply-add."""

    name: str
    seconds: float
    limit: float | None = None
    flop: int | None = None


@dataclass(frozen=True)
class Measurement:
    """Steps of a pair, in order, the rates of the processor, and the numbers of trained and of frozen parameters."""

    steps: list[Step]
    rates: Rates
    parameters: dict[str, int]

    @property
    def flop(self) -> int:
        """FLOP of all networks for the pair."""
        return sum(step.flop or 0 for step in self.steps)


@torch.inference_mode()
def measure_pair(
    model: GFFusionModel, image_processor: GFFusionImageProcessor, size: tuple[int, int], repeats: int = 7
) -> Measurement:
    """Measure the steps of a rendered pair (height, width): read, prepare, encoder, FuNet, decode, restore, write.

    They are those of `gffusion fuse` on a CPU. "encoder" is the frozen encoder and FINet's merging, "FuNet" its two encoders
    with the injection, and "decode" its decoder. Rates are measured between the passes. The model is in evaluation mode.

    Raises:
        ValueError: If the model is not on the CPU, `repeats` is less than 1, or the pair is so large that it is fused in tiles.
    """
    check_model_object(model)
    if find_large_form(model, image_processor, size) is not None:
        raise ValueError(
            f"A pair of {size[0]}x{size[1]} is fused in tiles, which is not measured: it must have fewer than {LARGE_PIXELS:,} pixels."
        )
    if model.device.type != "cpu" or repeats < 1:
        raise ValueError(f"The model must be on the CPU and `repeats` at least 1, got {model.device} and {repeats}.")
    times: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (file,) = write_scenes(folder, height=size[0], width=size[1])
        for repeat in range(repeats + 1):
            passed = {**_time_pair(model, image_processor, folder, file), **_time_rates()}
            for step, seconds in passed.items() if repeat else ():  # the first pass prepares operations
                times[step].append(seconds)
    median = {step: statistics.median(seconds) for step, seconds in times.items()}
    rates = Rates(*(_WORK[kind] * torch.get_num_threads() / median.pop(kind) for kind in _WORK))
    counts = _count_flop(model, size)
    limits = _find_limits(counts, size, rates)
    flop = {step: sum(of_step.values()) for step, of_step in counts.items()}
    steps = [Step(step, seconds, limits.get(step), flop.get(step)) for step, seconds in median.items()]
    trained = model.num_parameters(only_trainable=True)
    return Measurement(steps, rates, {"trained": trained, "frozen": model.num_parameters() - trained})


def _time_pair(
    model: GFFusionModel, image_processor: GFFusionImageProcessor, folder: Path, name: str
) -> dict[str, float]:
    """Return the seconds of every step of one pair."""
    times: dict[str, float] = {}

    @contextmanager
    def timed(step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        times[step] = time.perf_counter() - start

    with timed("read"):
        images = read_pair(folder / "visible" / name, folder / "infrared" / name)[:2]
    with timed("prepare"):
        values = run_alone(lambda: image_processor([images], return_tensors="pt"))
    visible, infrared = values["visible_values"], values["infrared_values"]
    projections = None
    if model.config.paradigm != "cascading":
        with timed("encoder"):
            projections = find_semantics(model, visible, infrared).projections
    with timed("FuNet"), _watched(model) as shares:
        fused = fuse_in_bands(model, visible, infrared, projections)
    both = times.pop("FuNet")
    decoding = shares["decode"] / max(shares["encode"] + shares["decode"], 1e-9)
    times |= {"FuNet": both * (1 - decoding), "decode": both * decoding}
    with timed("restore"):
        output = GFFusionOutput(fused_values=fused)
        (image,) = run_alone(lambda: image_processor.post_process_fusion(output, [images], "np"))
    with timed("write"):
        write_image(folder / "fused.png", np.asarray(image))
    return times


@contextmanager
def _watched(model: GFFusionModel) -> Iterator[dict[str, float]]:
    """Sum the seconds that threads spend in the encoders and in the decoder of FuNet, in its form for CPUs if it has one."""
    watched: Any = get_cpu_funet(model) or model.funet
    times, lock = {"encode": 0.0, "decode": 0.0}, threading.Lock()

    def measure(name: str, method: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        result = method(*args)
        with lock:
            times[name] += time.perf_counter() - start
        return result

    for name in times:
        setattr(watched, name, partial(measure, name, getattr(watched, name)))
    try:
        yield times
    finally:
        for name in times:
            delattr(watched, name)


# Work of one thread in FLOP or bytes, and what it works on.
_MATRIX, _FLOATS = 512, 2**22
_CONVOLUTIONS = {"convolution": (64, 128), "narrow": (16, 256)}  # channels, and rows and columns
_WORK = {
    **{kind: 2 * 9 * channels**2 * side**2 for kind, (channels, side) in _CONVOLUTIONS.items()},
    "matmul": 2 * _MATRIX**3,
    "copy": 2 * 4 * _FLOATS,
}


def _prepare_convolution(channels: int, side: int) -> Callable[[], Tensor]:
    maps = torch.rand(1, channels, side, side).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(channels, channels, 3, 3).contiguous(memory_format=torch.channels_last)
    return lambda: F.conv2d(maps, weight, padding=1)


def _time_rates() -> dict[str, float]:
    """Return the seconds in which all threads do the work of `_WORK`."""
    matrix, floats, times = torch.rand(_MATRIX, _MATRIX), torch.rand(_FLOATS), {}
    works: dict[str, Callable[[], Tensor]] = {
        **{kind: _prepare_convolution(*shape) for kind, shape in _CONVOLUTIONS.items()},
        "matmul": lambda: matrix @ matrix,
        "copy": lambda: torch.empty(_FLOATS).copy_(floats),
    }
    for kind, work in works.items():
        start = time.perf_counter()
        run_in_threads([work] * torch.get_num_threads())
        times[kind] = time.perf_counter() - start
    return times


def _count_flop(model: GFFusionModel, size: tuple[int, int]) -> dict[str, dict[Any, int]]:
    """Return the FLOP of each of the networks by operation: of convolutions and matrix products."""
    visible, infrared = torch.rand(1, 3, *size), torch.rand(1, 1, *size)
    source = model.to_source(visible)
    counts, projections = {}, None
    if model.config.paradigm != "cascading":
        projections, counts["encoder"] = _count(lambda: model.project_semantics(visible, infrared).projections)

    def encode() -> Tensor:
        spatial = model.funet.encode(source, infrared)
        if projections is None:
            return spatial
        return model.finet.inject(spatial, upsample(projections, (spatial.shape[-2], spatial.shape[-1])))[0]

    spatial, counts["FuNet"] = _count(encode)
    _, counts["decode"] = _count(
        lambda: model.funet.decode(spatial, source, infrared, model.funet.compute_context(source, infrared))
    )
    return counts


def _count(function: Callable[[], Result]) -> tuple[Result, dict[Any, int]]:
    """Return the result of a function, and its FLOP by operation."""
    # The counter knows no other implementation of attention for CPUs.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        result = function()
    return result, dict(counter.get_flop_counts()["Global"])


def _find_limits(counts: dict[str, dict[Any, int]], size: tuple[int, int], rates: Rates) -> dict[str, float]:
    """Return the seconds of the networks' convolutions and matrix products, and of the copies around them, at the rates."""
    limits = dict.fromkeys(counts, 0.0)
    for step, of_step in counts.items():
        for operation, flop in of_step.items():
            limits[step] += flop / (rates.convolution if "convolution" in str(operation) else rates.matmul)
    pixels = size[0] * size[1]
    # Bytes that are read and written at least: two images and their values; values, the visible image, and the result.
    limits["prepare"] = pixels * (4 + 4 * 4) / rates.copy
    limits["restore"] = pixels * (4 + 3 + 3) / rates.copy
    return limits
