"""Show the effect of the injected tokens: merged layers, the gate, and the losses without them.

    python -m projects.gffusion_tiny.injection gffusion-tiny --data runs/tiny/data/val/msrs --output runs/tiny/injection

Every pair is fused with its own tokens, with their mean over the image, and with the tokens of the previous pair. The increase of
the losses shows whether the model uses local or global content of the tokens. With its own tokens, it is also fused with the mean
over the image of the gate, Eq. (7), or of the features that are added, Eq. (8). OUTPUT gets `injection.json` and `injection.png`.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from gffusion import GFFusionModel, create_model
from gffusion.data import FusionDataset
from gffusion.models.gffusion.finet import FINet
from gffusion.models.gffusion.image_ops import replace_luma

LOSSES = ("loss_structural", "loss_ssim", "loss_gradient", "loss_intensity")


def vary_tokens(own: Tensor, others: Tensor) -> dict[str, Tensor]:
    """Return the tokens (1, L, N, D) that are given to FINet, by name."""
    return {"own": own, "mean over the image": own.mean(dim=2, keepdim=True).expand_as(own), "another's": others}


@contextmanager
def averaged(model: GFFusionModel, part: str) -> Iterator[None]:
    """Make a model inject the mean of a part over the image: "gate" (its logits) or "features"."""

    def inject(spatial: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
        parts = dict(zip(("gate", "features"), projected.chunk(2, dim=1), strict=True))
        parts[part] = parts[part].mean(dim=(2, 3), keepdim=True).expand_as(parts[part])
        return FINet.inject(spatial, torch.cat([parts["gate"], parts["features"]], dim=1))

    model.finet.inject = inject
    try:
        yield
    finally:
        del model.finet.inject


@torch.inference_mode()
def measure(model: GFFusionModel, pairs: FusionDataset) -> dict[str, dict[str, float]]:
    """Return the mean losses over all pairs, by kind of injection."""
    sums: dict[str, dict[str, float]] = {}
    before = model.encode_semantics(*_images(pairs[len(pairs) - 1]))
    for pair in tqdm(pairs, unit="pair", disable=None):
        images = _images(pair)
        own = model.encode_semantics(*images)
        outputs = {
            name: model(*images, semantic_tokens=tokens, return_loss=True)
            for name, tokens in vary_tokens(own, before).items()
        }
        for part in ("gate", "features"):
            with averaged(model, part):
                outputs[f"own, mean of the {part}"] = model(*images, semantic_tokens=own, return_loss=True)
        for name, output in outputs.items():
            found = sums.setdefault(name, dict.fromkeys(LOSSES, 0.0))
            for loss in LOSSES:
                found[loss] += output[loss].item() / len(pairs)
        before = own
    return sums


@torch.inference_mode()
def draw(model: GFFusionModel, pairs: FusionDataset, indices: Sequence[int], path: Path) -> None:
    """Draw pairs, their fused images, the mean gate, and the contribution of local tokens to the luma."""
    titles = ("visible", "infrared", "fused", "gate, mean of its channels", "own tokens - their mean")
    figure = Figure(figsize=(2.6 * len(titles), 2 * len(indices) + 1.6), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(2 * len(indices), 1.6))
    axes = top.subplots(len(indices), len(titles), squeeze=False)
    for row, index in zip(axes, indices, strict=True):
        visible, infrared = _images(pairs[index])
        own = model.encode_semantics(visible, infrared)
        output = model(visible, infrared, output_features=True)
        without_local = model(visible, infrared, semantic_tokens=vary_tokens(own, own)["mean over the image"])
        added = (output.fused_values - without_local.fused_values)[0, 0]
        row[0].imshow(visible[0].permute(1, 2, 0))
        row[1].imshow(infrared[0, 0], cmap="gray", vmin=0, vmax=1)
        row[2].imshow(replace_luma(visible, output.fused_values)[0].permute(1, 2, 0))
        figure.colorbar(row[3].imshow(output.gate[0].mean(dim=0), vmin=0, vmax=1), ax=row[3])
        figure.colorbar(row[4].imshow(added, cmap="RdBu_r", vmin=-0.2, vmax=0.2), ax=row[4])
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    weights = layer_weights(model)
    bars = bottom.subplots()
    bars.bar(model.config.semantic_layers, weights)
    bars.axhline(1 / len(weights), color="gray", linewidth=0.8)
    bars.set(xlabel="layer", ylabel="weight", xticks=model.config.semantic_layers)
    figure.savefig(path, dpi=70)


def layer_weights(model: GFFusionModel) -> list[float]:
    """Return the share of each merged layer; the line in the figure marks their initial value."""
    weights: list[float] = model.finet.layer_weights.softmax(dim=0).tolist()
    return weights


def _images(pair: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return pair["visible_values"][None], pair["infrared_values"][None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and draw one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name or folder of a model with hybrid paradigm and weighted_sum merging")
    parser.add_argument("--data", required=True, help="folder of pairs")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--images", type=int, default=4, help="number of pairs to draw, evenly spaced")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    model, pairs = create_model(options.model, use_segmenter=False), FusionDataset(options.data)
    if (model.config.paradigm, model.config.merging) != ("hybrid", "weighted_sum"):
        parser.error(
            f"{options.model} has paradigm {model.config.paradigm} and merging {model.config.merging}, not hybrid and weighted_sum"
        )
    options.output.mkdir(parents=True, exist_ok=True)
    report = {"layer_weights": layer_weights(model), "losses": measure(model, pairs)}
    (options.output / "injection.json").write_text(json.dumps(report, indent=2) + "\n")
    print("| injected | " + " | ".join(LOSSES) + " |\n| --- |" + " ---: |" * len(LOSSES))
    for name, losses in report["losses"].items():
        print(f"| {name} | " + " | ".join(f"{losses[loss]:.4f}" for loss in LOSSES) + " |")
    shown = np.linspace(0, len(pairs) - 1, min(options.images, len(pairs))).round().astype(int)
    draw(model, pairs, shown.tolist(), options.output / "injection.png")


if __name__ == "__main__":
    main()
