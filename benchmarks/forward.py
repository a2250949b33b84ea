"""Measure the time of a fusion by the bundled models, relative to a network of SeAFusion's published shape.

Run from the root of the repository: python benchmarks/forward.py --threads 2

The reference follows the numbers of its paper (Tang et al., Information Fusion 82, 2022), not its code. It has 167 thousand
parameters, all at full resolution; random weights take the same time as trained ones. The bundled models run as in
`gffusion fuse`, encoders included, without the segmenter. Passes are interleaved.
"""

import argparse
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gffusion import create_model, list_models
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


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--repeats", type=int, default=11, help="passes of each network, after one that is not timed")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    visible, infrared = torch.rand(1, 3, *options.size), torch.rand(1, 1, *options.size)
    reference = Reference().eval()
    passes = {"reference": lambda: reference(visible[:, :1], infrared)}
    sizes = {"reference": sum(parameter.numel() for parameter in reference.parameters())}
    for name in list_models(status="bundled"):
        model = create_model(name, use_segmenter=False)
        passes[name] = lambda model=model: run_model(model, visible, infrared, row_bands=True)
        sizes[name] = model.num_parameters()
    times: dict[str, list[float]] = {name: [] for name in passes}
    for repeat in range(options.repeats + 1):
        for name, run in passes.items():
            start = time.perf_counter()
            run()
            if repeat:
                times[name].append(time.perf_counter() - start)
    print(f"{options.size[0]} x {options.size[1]}, {options.threads} threads, medians of {options.repeats}")
    for name, seconds in times.items():
        ratio = np.median(times["reference"]) / np.median(seconds)
        print(f"{name:20} {sizes[name]:10,} parameters {np.median(seconds):8.3f} s   1/{ratio:.1f}")


if __name__ == "__main__":
    main()
