"""Measure the metrics of intensity targets, as if a network had learned them perfectly.

python -m projects.gffusion_tiny.targets data/val/msrs data/val/m3svd
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from gffusion.data import FusionDataset
from gffusion.metrics import compute_metrics, to_luma8
from gffusion.models.gffusion.image_ops import rgb_to_luma
from gffusion.models.gffusion.losses import two_scale_target

METRICS = ("EN", "SCD", "VIF", "Qabf", "SSIM", "Nabf")
TARGETS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "maximum": torch.maximum,
    **{f"two_scale, contrast {c:g}": partial(two_scale_target, contrast=c) for c in (0.5, 0.75, 1.0, 1.25)},
}


def measure(target: Callable[[Tensor, Tensor], Tensor], pairs: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    """Return the mean metrics over pairs."""
    rows = []
    for pair in pairs:
        visible, infrared = rgb_to_luma(pair["visible_values"][None]), pair["infrared_values"][None]
        images = map(to_luma8, (target(visible, infrared), visible, infrared))
        rows.append(torch.stack([value.squeeze() for value in compute_metrics(*images, METRICS).values()]))
    return dict(zip(METRICS, torch.stack(rows).mean(dim=0).tolist(), strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="folders of pairs")
    parser.add_argument("--every", type=int, default=1, help="take every n-th pair")
    options = parser.parse_args(arguments)
    for root in options.data:
        dataset = FusionDataset(root)
        pairs = [dataset[index] for index in range(0, len(dataset), options.every)]
        print(f"\n{root}, {len(pairs)} pairs\n\n| target | {' | '.join(METRICS)} |\n| --- |{' ---: |' * len(METRICS)}")
        for name, target in tqdm(TARGETS.items(), disable=None):
            means = measure(target, pairs)
            print(f"| {name} | {' | '.join(f'{means[metric]:.3f}' for metric in METRICS)} |")


if __name__ == "__main__":
    main()
