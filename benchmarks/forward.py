"""Measure the time of a fusion by the bundled models, relative to a network of SeAFusion's published shape.

Run from the root of the repository: python benchmarks/forward.py --threads 2 --json forward.json
On an NVIDIA GPU: python benchmarks/forward.py --device cuda --dtype float16 --size 1080 1920 --json forward.json

The reference follows the numbers of its paper (Tang et al., Information Fusion 82, 2022), not its code. It has 167 thousand
parameters, all at full resolution; random weights take the same time as trained ones. The bundled models run as in
`gffusion fuse`, encoders included, without the segmenter. Passes are interleaved. On a GPU, the reference is treated as the
bundled models are: the same precision and a CUDA graph; also channels last, and compiled by torch.compile. Ratios are to
the fastest of these.
"""

import argparse
import copy
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from environment import describe_machine, read_count, write_json
from torch import Tensor, nn

from gffusion import GFFusionConfig, GFFusionModel, create_model, list_models
from gffusion.inference.cuda_graphs import can_use_graphs
from gffusion.inference.predict import run_model


class ReferenceBlock(nn.Module):
    """Gradient residual dense block: two dense 3x3 convolutions, and a Sobel branch with a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.dense1 = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.dense2 = nn.Conv2d(2 * in_channels, in_channels, 3, padding=1)
        self.align = nn.Conv2d(3 * in_channels, out_channels, 1)
        self.gradient_align = nn.Conv2d(in_channels, out_channels, 1)
        kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
        kernels = torch.stack([kernel, kernel.T]).repeat(in_channels, 1, 1)[:, None]  # (2 C, 1, 3, 3)
        self.register_buffer("kernels", kernels)

    def forward(self, features: Tensor) -> Tensor:
        first = F.leaky_relu(self.dense1(features), 0.1)
        second = F.leaky_relu(self.dense2(torch.cat([features, first], dim=1)), 0.1)
        dense = self.align(torch.cat([features, first, second], dim=1))
        gradients = F.conv2d(features, self.kernels, padding=1, groups=features.shape[1])
        magnitude = gradients.abs().unflatten(1, (-1, 2)).sum(dim=2)
        return F.leaky_relu(dense + self.gradient_align(magnitude), 0.1)


def reference_encoder() -> nn.Module:
    """Return the encoder of one image: a 3x3 stem of 16 channels, then blocks to 32 and 48."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.LeakyReLU(0.1), ReferenceBlock(16, 32), ReferenceBlock(32, 48)
    )


class Reference(nn.Module):
    """Two encoders, and 3x3 convolutions of 96-64-32-16-1 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.visible, self.infrared = reference_encoder(), reference_encoder()
        layers: list[nn.Module] = []
        for in_channels, out_channels in ((96, 64), (64, 32), (32, 16)):
            layers += [
                nn.Conv2d(in_channels, out_channels, 3, padding=1),
                nn.BatchNorm2d(out_channels),
                nn.LeakyReLU(0.1),
            ]
        self.decoder = nn.Sequential(*layers, nn.Conv2d(16, 1, 3, padding=1))

    def forward(self, visible: Tensor, infrared: Tensor) -> Tensor:
        return torch.tanh(self.decoder(torch.cat([self.visible(visible), self.infrared(infrared)], dim=1)))


def capture(network: nn.Module, *inputs: Tensor) -> Callable[[], object]:
    """Return a function that replays a CUDA graph of a network."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            network(*inputs)
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        network(*inputs)
    return graph.replay


def measure(run: Callable[[], object], device: str) -> float:
    """Return the milliseconds of one call."""
    if device == "cpu":
        start = time.perf_counter()
        run()
        return (time.perf_counter() - start) * 1000
    start_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start_event.record()
    run()
    end_event.record()
    end_event.synchronize()
    return start_event.elapsed_time(end_event)


def prepare_passes(options: argparse.Namespace) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    """Return the passes to measure, and the number of parameters of each network, by name."""
    on_gpu = options.device != "cpu"
    dtype = getattr(torch, options.dtype)
    visible, infrared = (torch.rand(1, channels, *options.size, device=options.device) for channels in (3, 1))
    reference = Reference().eval().to(options.device, dtype)
    inputs = visible[:, :1].to(dtype), infrared.to(dtype)
    passes: dict[str, Callable[[], object]] = {"reference": lambda: reference(*inputs)}
    if on_gpu:
        passes["reference"] = capture(reference, *inputs)
        if options.compile:
            passes["reference, compiled"] = capture(torch.compile(reference, dynamic=False), *inputs)
        last = copy.deepcopy(reference).to(memory_format=torch.channels_last)
        passes["reference, channels last"] = capture(last, *inputs)
    size = sum(parameter.numel() for parameter in reference.parameters())
    sizes = dict.fromkeys(passes, size)
    for name in list_models(status="bundled"):
        model = create_model(name, use_segmenter=False, dtype=dtype).to(options.device)
        passes[name] = lambda model=model: run_model(
            model, visible, infrared, row_bands=not on_gpu, graphs=can_use_graphs(model)
        )
        sizes[name] = model.num_parameters()
    if options.paper:
        paper = GFFusionModel(GFFusionConfig(use_segmenter=False)).eval().to(options.device, dtype)
        passes["paper's size"] = lambda: run_model(paper, visible, infrared, row_bands=not on_gpu)
        sizes["paper's size"] = paper.num_parameters()
    return passes, sizes


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument(
        "--repeats", type=read_count, default=11, help="passes of each network, rounded up to tens on a GPU"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--device", default="cpu", help='"cpu" or "cuda"')
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--compile", action="store_true", help="also measure the compiled reference, on a GPU")
    parser.add_argument("--paper", action="store_true", help="also measure the model of the paper, with random weights")
    parser.add_argument("--json", type=Path, help="JSON file of the result")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    passes, sizes = prepare_passes(options)
    times: dict[str, list[float]] = {name: [] for name in passes}
    in_a_row = 1 if options.device == "cpu" else 10  # as in a folder of images
    for repeat in range(math.ceil(options.repeats / in_a_row) + 3):  # the first three are not timed
        for name, run in passes.items():
            milliseconds = [measure(run, options.device) for _ in range(in_a_row)]
            if repeat > 2:
                times[name] += milliseconds
    medians = {name: statistics.median(values) for name, values in times.items()}
    timed = len(times["reference"])
    where = f"{options.threads} threads" if options.device == "cpu" else torch.cuda.get_device_name()
    print(f"{options.size[0]} x {options.size[1]}, {options.dtype}, {where}, medians of {timed}")
    fastest = min(milliseconds for name, milliseconds in medians.items() if name.startswith("reference"))
    for name, milliseconds in medians.items():
        ratio = fastest / milliseconds
        print(f"{name:24} {sizes[name]:10,} parameters {milliseconds:9.3f} ms   1/{ratio:.1f}")
    settings = {name: getattr(options, name) for name in ("size", "dtype", "device", "threads")}
    result = {
        **settings,
        "repeats": timed,
        "milliseconds": medians,
        "parameters": sizes,
        **describe_machine(options.device),
    }
    write_json(options.json, result)


if __name__ == "__main__":
    main()
