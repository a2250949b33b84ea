"""Evaluate the encoders of gffusion-tiny: linear probes on boxes, and figures of tokens as in the paper's Fig. 3.

    python -m projects.gffusion_tiny.probe runs/tiny/clip/encoder --train data/train/msrs --eval data/val/msrs \
        --output runs/tiny/clip

Tokens are averaged over every box, and over windows of the same sizes that touch no box. A linear classifier learns background,
person, bicycle and car on the training images. Its mean recall over the classes on the other images is the balanced accuracy
(chance: 0.25). Randomly initialized copies are evaluated in the same way. OUTPUT gets `probe.json` and `tokens.png`.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor
from transformers import AutoModel, CLIPVisionModel, PreTrainedModel

from gffusion.data import FusionDataset
from gffusion.visualization.features import find_principal_colors

from .encoders import to_pixel_values
from .views import overlap

CLASS_NAMES = ("background", "person", "bicycle", "car")
SEEDS = (0, 1, 2)
# Modalities for training and for evaluation of the classifier. "both" is what FINet reads, Eq. (6).
SETTINGS = {
    "visible": ("visible", "visible"),
    "infrared": ("infrared", "infrared"),
    "both": ("both", "both"),
    "visible to infrared": ("visible", "infrared"),
    "infrared to visible": ("infrared", "visible"),
}
WINDOW_TRIES = 20
WEIGHT_PENALTY = 1e-2

Pair = dict[str, Any]
TokenMaps = dict[str, Tensor]


def load_encoder(folder: Path) -> PreTrainedModel:
    """Load a `CLIPVisionModel` or `Dinov2Model`."""
    return AutoModel.from_pretrained(folder).eval()


def random_twin(encoder: PreTrainedModel, seed: int) -> PreTrainedModel:
    """Return the same network with random weights."""
    torch.manual_seed(seed)
    return type(encoder)(encoder.config).eval()


@torch.inference_mode()
def encode(encoder: PreTrainedModel, pair: Pair) -> TokenMaps:
    """Return the token maps (D, rows, columns) of both images and, as "both", their element-wise maximum.

    The maps are from the last layer that the model reads: the second to last of CLIP, or the last of DINOv2.
    """
    images = torch.stack([pair["visible_values"], pair["infrared_values"].expand(3, -1, -1)])
    outputs = encoder(to_pixel_values(images, encoder), output_hidden_states=True)
    tokens = outputs.hidden_states[-2] if isinstance(encoder, CLIPVisionModel) else outputs.last_hidden_state
    grid = encoder.config.image_size // encoder.config.patch_size
    visible, infrared = tokens[:, 1:].transpose(1, 2).unflatten(2, (grid, grid))
    return {"visible": visible, "infrared": infrared, "both": torch.maximum(visible, infrared)}


def windows_beside(boxes: Tensor, size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """Return at most N windows of the sizes of `boxes` (N, 4) at random places where they touch no box."""
    height, width = size
    windows = []
    for left, top, right, bottom in boxes.tolist():
        for _ in range(WINDOW_TRIES):
            x, y = rng.uniform(0, width - (right - left)), rng.uniform(0, height - (bottom - top))
            window = torch.tensor([x, y, x + right - left, y + bottom - top])
            apart = (window[:2] >= boxes[:, 2:]) | (window[2:] <= boxes[:, :2])
            if apart.any(dim=1).all():
                windows.append(window)
                break
    return torch.stack(windows) if windows else boxes[:0]


def pool(tokens: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the means (N, D) of tokens (D, rows, columns) over boxes (N, 4) in pixels, weighted by the covered share."""
    height, width = size
    pooled = []
    for left, top, right, bottom in boxes.tolist():
        down = overlap(top / height, bottom / height, tokens.shape[1])
        across = overlap(left / width, right / width, tokens.shape[2])
        weights = torch.outer(down, across)
        pooled.append((tokens * weights).sum(dim=(1, 2)) / weights.sum())
    return torch.stack(pooled) if pooled else tokens.new_zeros(0, len(tokens))


def examples(encoder: PreTrainedModel, pairs: Iterable[Pair], seed: int) -> tuple[TokenMaps, Tensor]:
    """Return pooled tokens (N, D) of each modality, and their classes (N,)."""
    rng = np.random.default_rng(seed)
    pooled: dict[str, list[Tensor]] = {"visible": [], "infrared": [], "both": []}
    classes = []
    for pair in pairs:
        size = tuple(pair["visible_values"].shape[1:])
        beside = windows_beside(pair["boxes"], size, rng)
        boxes = torch.cat([pair["boxes"], beside])
        for name, tokens in encode(encoder, pair).items():
            pooled[name].append(pool(tokens, boxes, size))
        classes += [pair["box_classes"] + 1, torch.zeros(len(beside), dtype=torch.int64)]
    return {name: torch.cat(parts) for name, parts in pooled.items()}, torch.cat(classes)


def fit(features: Tensor, classes: Tensor) -> torch.nn.Linear:
    """Fit a logistic regression with equal total weight for each class."""
    linear = torch.nn.Linear(features.shape[1], len(CLASS_NAMES))
    torch.nn.init.zeros_(linear.weight)
    weights = 1 / torch.bincount(classes, minlength=len(CLASS_NAMES)).clamp(min=1)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(linear(features), classes, weights) + WEIGHT_PENALTY * linear.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return linear


def recalls(
    train: tuple[TokenMaps, Tensor], evaluation: tuple[TokenMaps, Tensor], setting: tuple[str, str]
) -> dict[str, float]:
    """Fit on one modality, evaluate on another, and return the recall of each class."""
    fitted, evaluated = setting
    features, classes = train[0][fitted], train[1]
    deviation, mean = torch.std_mean(features, dim=0)
    linear = fit((features - mean) / deviation.clamp(min=1e-6), classes)
    with torch.inference_mode():
        predictions = linear((evaluation[0][evaluated] - mean) / deviation.clamp(min=1e-6)).argmax(dim=1)
    present = [index for index in range(len(CLASS_NAMES)) if (evaluation[1] == index).any()]
    return {
        CLASS_NAMES[index]: (predictions == index)[evaluation[1] == index].float().mean().item() for index in present
    }


def probe(encoder: PreTrainedModel, train: Sequence[Pair], evaluation: Sequence[Pair]) -> dict[str, Any]:
    """Probe an encoder and random copies; return the balanced accuracies of all seeds and the mean recalls, by setting."""
    report: dict[str, Any] = {name: {setting: [] for setting in SETTINGS} for name in ("trained", "random")}
    for seed in SEEDS:
        for name, network in (("trained", encoder), ("random", random_twin(encoder, seed))):
            found = [examples(network, pairs, seed) for pairs in (train, evaluation)]
            for setting, modalities in SETTINGS.items():
                report[name][setting].append(recalls(found[0], found[1], modalities))
    return {name: {setting: _summarize(runs) for setting, runs in by.items()} for name, by in report.items()}


def _summarize(runs: list[dict[str, float]]) -> dict[str, Any]:
    balanced = [sum(run.values()) / len(run) for run in runs]
    classes = {name: sum(run[name] for run in runs) / len(runs) for name in runs[0]}
    return {"balanced_accuracy": sum(balanced) / len(balanced), "of_seeds": balanced, "classes": classes}


def draw_tokens(encoder: PreTrainedModel, pairs: Sequence[Pair], path: Path) -> None:
    """Draw the images of each pair and their tokens, with the leading principal components as colors."""
    twin = random_twin(encoder, SEEDS[0])
    columns = ("visible", "infrared", "both")
    figure = Figure(figsize=(2.2 * 8, 1.7 * len(pairs)), layout="constrained")
    axes = figure.subplots(len(pairs), 2 + 2 * len(columns), squeeze=False)
    for row, pair in zip(axes, pairs, strict=True):
        row[0].imshow(pair["visible_values"].permute(1, 2, 0))
        row[1].imshow(pair["infrared_values"][0], cmap="gray")
    for start, network in ((2, encoder), (2 + len(columns), twin)):
        maps = torch.stack([torch.stack([encode(network, pair)[name] for name in columns]) for pair in pairs])
        token_maps = list(maps.flatten(0, 1).permute(0, 2, 3, 1).numpy())
        colors = find_principal_colors(token_maps)
        for index, row in enumerate(axes):
            shown = colors[index * len(columns) : (index + 1) * len(columns)]
            for axis, image in zip(row[start:], shown, strict=False):
                axis.imshow(image, aspect=0.75, interpolation="nearest")
    titles = ["visible", "infrared", *columns, *(f"{name}, untrained" for name in columns)]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.savefig(path, dpi=80)


def main(arguments: Sequence[str] | None = None) -> None:
    """Probe one encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", type=Path, help="folder of the encoder")
    parser.add_argument("--train", required=True, help="folder of pairs with boxes to fit the classifier")
    parser.add_argument("--eval", required=True, help="folder of pairs with boxes to evaluate it")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--images", type=int, default=6, help="number of pairs to draw, evenly spaced")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    encoder = load_encoder(options.encoder)
    train, evaluation = FusionDataset(options.train), FusionDataset(options.eval)
    report = probe(encoder, train, evaluation)
    (options.output / "probe.json").write_text(json.dumps(report, indent=2) + "\n")
    for name, settings in report.items():
        for setting, found in settings.items():
            shares = ", ".join(f"{label} {share:.2f}" for label, share in found["classes"].items())
            print(f"{name:8} {setting:20} {found['balanced_accuracy']:.3f}  ({shares})")
    shown = np.linspace(0, len(evaluation) - 1, min(options.images, len(evaluation))).round().astype(int)
    draw_tokens(encoder, [evaluation[int(index)] for index in shown], options.output / "tokens.png")


if __name__ == "__main__":
    main()
