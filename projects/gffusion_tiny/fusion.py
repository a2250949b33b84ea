"""Train FuNet and FINet on views made on one device, many times faster than with processes that load images.

    python -m projects.gffusion_tiny.fusion --config projects/gffusion_tiny/fusion.yaml --train_data runs/tiny/data/train/*

Takes the options of `gffusion train`, of which it uses model, data folders, crops, photometry, batch size, rate, warm-up, mixed
pairs and seed, and the options below. Model and losses are those of the package; the images and their degradation are
made by `device_views.py`. `training.fit` averages the weights, and lets the rate fall to 0. The output folder gets
`log.jsonl` and `last`, from which `bundle.py` and `gffusion train` start.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.random import default_rng
from torch import Tensor, nn

from gffusion import GFFusionImageProcessor, GFFusionModel
from gffusion.data import FusionDataset
from gffusion.inference.predict import run_model
from gffusion.metrics import compute_metrics, to_luma8
from gffusion.training.building import build_model
from gffusion.training.recipe import Recipe
from gffusion.training.step import TrainingStep

from .device_views import DeviceViews, load_pairs
from .training import fit

METRICS = ("EN", "SCD", "VIF", "Qabf", "SSIM", "Nabf")
CALIBRATION_BATCHES = 16


class Objective(nn.Module):
    """The losses of a batch, as one tensor: the minimized loss, then the parts in `names`.

    Args:
        model: The model to train.
        teacher_weight: Weight of the L1 distance from images that another model fused.
    """

    def __init__(self, model: GFFusionModel, teacher_weight: float) -> None:
        super().__init__()
        self.model, self.teacher_weight = model, teacher_weight
        weights = {"vif": model.config.vif_weight, "qabf": model.config.qabf_weight}
        extra = [name for name, weight in weights.items() if weight]
        self.names = [f"loss_{name}" for name in ("structural", "ssim", "gradient", "intensity", *extra)]

    def forward(self, visible: Tensor, infrared: Tensor, target: Tensor, *more: Tensor) -> Tensor:
        """Return the losses (1 + names,).

        `target` is the clean infrared image. `more` are the encoder's tokens, if the model injects them, and the other model's images,
        if it has a weight. CUDA graphs allow only tensors as arguments.
        """
        tokens = more[0] if self.model.config.needs_clip else None
        output = self.model(visible, infrared, infrared_targets=target, semantic_tokens=tokens, return_loss=True)
        loss = output.loss_structural
        if self.teacher_weight:
            loss = loss + self.teacher_weight * F.l1_loss(output.fused_values, more[-1])
        return torch.stack([loss, *(output[name] for name in self.names)])


class Losses:
    """Losses of one step after the other, for `training.fit`."""

    def __init__(self, recipe: Recipe, model: GFFusionModel, views: DeviceViews, options: argparse.Namespace) -> None:
        self.model, self.views, self.seed, self.step = model, views, recipe.training.seed, 0
        self.objective = Objective(model, options.teacher_weight if options.teacher else 0)
        self.teacher = load_frozen(options.teacher, views.device) if options.teacher else None
        self._compute: Callable[..., Tensor] = self.objective
        if options.graph:
            # One launch for all kernels of both passes, which are too small to keep a GPU busy.
            self._compute = torch.cuda.make_graphed_callables(self.objective, self.inputs(0))  # type: ignore[assignment]

    def inputs(self, step: int) -> tuple[Tensor, ...]:
        """Return the arguments of `Objective.forward` for a step."""
        torch.manual_seed(1_000_003 * self.seed + step)
        visible, infrared, target = self.views.draw(default_rng((self.seed, step)))
        more = [self.model.encode_semantics(visible, infrared)] if self.model.config.needs_clip else []
        if self.teacher:
            with torch.no_grad():
                more.append(self.teacher(visible, infrared).fused_values)
        return visible, infrared, target, *more

    def __call__(self) -> dict[str, Tensor]:
        """Return the minimized "loss" and its parts of the next step."""
        names = ["loss", *self.objective.names]
        values = self._compute(*self.inputs(self.step)).unbind()
        self.step += 1
        return dict(zip(names, values, strict=True))


def load_frozen(path: str, device: torch.device) -> GFFusionModel:
    """Load weights that are not trained, without their segmenter."""
    return GFFusionModel.from_pretrained(path, use_segmenter=False).eval().requires_grad_(False).to(device)


def train(recipe: Recipe, views: DeviceViews, options: argparse.Namespace) -> GFFusionModel:
    """Train a model, and return it with averaged weights."""
    torch.manual_seed(recipe.training.seed)
    model = build_model(recipe.model)
    step = TrainingStep(model, recipe.training, Accelerator(), labeled=False, token_cache=None)
    if recipe.training.batch_normalization == "calibrated":
        names = ("visible_values", "infrared_values")
        draws = (views.draw(default_rng((1, number)))[:2] for number in range(CALIBRATION_BATCHES))
        step.calibrate(dict(zip(names, draw, strict=True)) for draw in draws)
    step.train()
    losses = Losses(recipe, model, views, options)
    print(f"ready after {time.monotonic() - options.started:.0f} s on {views.device}", flush=True)
    average: GFFusionModel = fit(model, losses, [step.optimizer], options)
    return average


@torch.inference_mode()
def measure(model: GFFusionModel, root: str, every: int, workers: int = 2) -> dict[str, float]:
    """Return the mean metrics over every n-th pair of a folder."""
    dataset = FusionDataset([root], with_boxes=False)

    def images(index: int) -> tuple[Tensor, Tensor, Tensor]:
        visible, infrared = (dataset[index][f"{name}_values"][None] for name in ("visible", "infrared"))
        outputs = run_model(model, visible.to(model.device), infrared.to(model.device))
        return to_luma8(outputs.fused_values.cpu()), to_luma8(visible), to_luma8(infrared)  # type: ignore[union-attr]

    def score(triple: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        fused, visible, infrared = triple
        return torch.cat(list(compute_metrics(fused, visible, infrared, METRICS).values()))

    with ThreadPoolExecutor(workers) as executor:
        means = torch.stack(list(executor.map(score, map(images, range(0, len(dataset), every))))).mean(dim=0)
    return {name: round(mean, 4) for name, mean in zip(METRICS, means.tolist(), strict=True)}


def parse(words: Sequence[str] | None) -> tuple[argparse.Namespace, Recipe]:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--steps", type=int, default=20_000, help="number of optimizer steps")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end earlier, this long after the start")
    parser.add_argument(
        "--decay_share", type=float, default=0.7, help="last share of the training in which the rate falls"
    )
    parser.add_argument("--teacher", help="weights whose fused images are learned, too")
    parser.add_argument("--teacher_weight", type=float, default=20.0, help="weight of the distance from these images")
    parser.add_argument("--white", type=float, default=0.0, help="share by which overexposed areas stay white, 0 to 1")
    parser.add_argument("--graph", action="store_true", help="record the losses and their gradient as a CUDA graph")
    parser.add_argument("--eval_every", type=int, default=2, help="measure every n-th validation pair at the end")
    options, rest = parser.parse_known_args(words)
    recipe = Recipe.parse(rest, "fusion")
    options.started, options.output = time.monotonic(), Path(recipe.training.output_dir)
    return options, recipe


def main(words: Sequence[str] | None = None) -> None:
    """Train and measure a model."""
    options, recipe = parse(words)
    options.output.mkdir(parents=True, exist_ok=True)
    views = DeviceViews(load_pairs(recipe.data.train_data, Accelerator().device), recipe, options.white)
    average = train(recipe, views, options)
    average.save_pretrained(options.output / "last")
    GFFusionImageProcessor().save_pretrained(options.output / "last")
    results = {root: measure(average, root, options.eval_every) for root in recipe.data.eval_data}
    (options.output / "metrics.json").write_text(json.dumps(results) + "\n")
    for root, means in results.items():
        print(root, means, flush=True)


if __name__ == "__main__":
    main()
