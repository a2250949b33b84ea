"""Train the dinov2 encoder of gffusion-tiny further, with a linear head, to segment fused images.

    python -m projects.gffusion_tiny.segmenter --data runs/tiny/data/train/* --labeler runs/tiny/labeler*/labeler.safetensors \
        --start runs/tiny/dinov2/encoder --output runs/tiny/segmenter --device cuda --compile

DINOv2 was trained on 142 million images and only needs a linear layer, but this encoder was trained on 436 pairs. Here, it learns
to predict the classes and the features of one or more labelers (`labeler.py`), also on images without boxes, and is frozen
afterwards. It reads random windows of scenes, at a tenth of the cost of whole scenes. Few scenes have bicycles; views that the
labelers read as well, cut from several scenes and blended, keep it from learning them by heart. `--after` starts from an earlier run. OUTPUT
gets `log.jsonl`, `segmenter.safetensors` for `--after`, the `encoder` and `head.safetensors` from which stage 4 starts, and
`iou.json`. All weights are averages over the last steps.
"""

import argparse
import copy
import json
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model, PreTrainedModel

from gffusion import create_model
from gffusion.models.gffusion.image_ops import DINOV2_MEAN, DINOV2_STD, replace_luma
from gffusion.models.gffusion.ssnet import SSNet
from gffusion.models.gffusion.windows import join_windows, split_windows

from .augmentation import blend, cut
from .labeler import FEATURE_CHANNELS, Labeler, load_labeler
from .scenes import MODEL_CONFIG, NUM_CLASSES, SIZE, WINDOW_SIZE, Scenes, constant, fuse, measure, soft_loss
from .training import add_options, build_optimizers, fit, needs_replay, save_halves

CLASS_WEIGHTS = (1.0, 1.3, 1.3, 1.0)
OVERLAP_WEIGHT = 0.3
GUIDED_PART = 2  # every second view may be blended, and is read by the labelers, too
LIVE_SHARE = 0.5  # of their predictions there, relative to that for the whole scene; 1 for blended views
LABELER_SCALES = (1.0, 1.5)
ZOOM = (0.5, 2.0)
NATIVE_ZOOMS = (1.0, 0.5)  # those of the scales 1 and 0.5
SCALES = ([1], [1, 0.5], [1, 0.5, 1.5])


class Segmenter(nn.Module):
    """An encoder and the linear head on its last layers, as `GFFusionModel` has them.

    Its readers, which are used only for training, predict the features of the labeler from the tokens after a quarter, half,
    three quarters and all of the layers.
    """

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.encoder = encoder
        width, count = encoder.config.hidden_size, encoder.config.num_hidden_layers
        rows, columns = (side // encoder.config.patch_size for side in MODEL_CONFIG["segmenter_image_size"])
        self.windows: list[int] = MODEL_CONFIG["segmenter_windows"]
        self.grid, self.window_grid = (rows, columns), (rows // self.windows[0], columns // self.windows[1])
        self.layers: int = MODEL_CONFIG["segmenter_layers"]
        self.levels = [quarter * count // 4 for quarter in (1, 2, 3, 4)]
        self.head = SSNet(self.layers * width, NUM_CLASSES)
        self.readers = nn.ModuleList(nn.Linear(width, channels) for channels in FEATURE_CHANNELS)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, affine=False) for channels in FEATURE_CHANNELS)

    def forward(self, fused: Tensor, places: Tensor | None = None, scale: float = 1) -> tuple[Tensor, list[Tensor]]:
        """Segment images, and predict the features of the labeler.

        Args:
            fused: (B, 3, H, W) in [0, 1], whole scenes, which are read in windows, or windows of scenes.
            places: For windows, their centers and half sizes, see `scenes.Windows`.
            scale: For whole scenes, the factor on their size.

        Returns:
            Logits (B, classes, H, W), of half the size for windows, which is finer than tokens and cheaper, and standardized
            features (B, C_l, rows, columns) of four levels.
        """
        if places is None:
            grid = (round(scale * self.grid[0]), round(scale * self.grid[1]))
            windows, size = [round(scale * count) for count in self.windows], tuple(fused.shape[-2:])
        else:
            grid, windows, size = self.window_grid, [1, 1], (fused.shape[-2] // 2, fused.shape[-1] // 2)
        states = [split_windows(self._embed(fused, grid, places), grid, windows)]
        for layer in self.encoder.encoder.layer:
            states.append(layer(states[-1]))
        last = [self.encoder.layernorm(state) for state in states[-self.layers :]]
        logits = self.head(join_windows(torch.cat(last, dim=-1), grid, windows), grid, size)
        shown = [join_windows(states[level], grid, windows).float() for level in self.levels]
        read = [
            reader(F.layer_norm(tokens, tokens.shape[-1:])).mT.unflatten(-1, grid)
            for tokens, reader in zip(shown, self.readers, strict=True)
        ]
        return logits, read

    def _embed(self, fused: Tensor, grid: tuple[int, int], places: Tensor | None) -> Tensor:
        embeddings, patch_size = self.encoder.embeddings, self.encoder.config.patch_size
        size = [side * patch_size for side in grid]
        # As `prepare_images`, which copies the mean and deviation to the device each time.
        resized = F.interpolate(fused, size, mode="bicubic", antialias=True).clamp(0, 1)
        mean, deviation = (constant(part, str(fused.device)).view(3, 1, 1) for part in (DINOV2_MEAN, DINOV2_STD))
        pixel_values = (resized - mean) / deviation
        if places is None:
            return embeddings(pixel_values)
        patches = embeddings.patch_embeddings(pixel_values)  # (B, N, D)
        first, table = embeddings.position_embeddings[:, :1], embeddings.position_embeddings[:, 1:]
        side = round(table.shape[1] ** 0.5)
        centers, halves = places.flip(-1).unbind(dim=1)  # (B, 2) each, x first
        theta = torch.cat([torch.diag_embed(halves), centers[..., None]], dim=-1)
        maps = table.mT.unflatten(-1, (side, side)).expand(len(patches), -1, -1, -1)
        with torch.autocast(fused.device.type, enabled=False):  # bicubic, as the interpolation for whole scenes
            spots = F.affine_grid(theta, [len(patches), 1, *grid], align_corners=False)
            local = F.grid_sample(maps, spots, mode="bicubic", padding_mode="border", align_corners=False)
        first = (embeddings.cls_token + first).expand(len(patches), -1, -1)
        return torch.cat([first, patches + local.flatten(2).mT], dim=1)

    def standardize(self, features: Sequence[Tensor], grid: Sequence[int]) -> list[Tensor]:
        """Resize the features of the labeler to the grid of tokens, and standardize them."""
        resized = (F.interpolate(level.float(), tuple(grid), mode="bilinear", antialias=True) for level in features)
        return [norm(level) for norm, level in zip(self.norms, resized, strict=True)]


def losses(
    segmenter: Segmenter, labelers: Sequence[Labeler], scenes: Scenes, options: argparse.Namespace
) -> dict[str, Tensor]:
    """Return the minimized "loss" and its parts.

    "classes" and "overlap" compare the classes with those of the labelers, see `soft_loss`. "features" is the mean squared error of
    the standardized features of the first labeler, for half of the views.
    """
    fused, targets, places = scenes.draw(options.batch_size, WINDOW_SIZE, ZOOM, NATIVE_ZOOMS)
    guided = -(-options.batch_size // GUIDED_PART)
    fused, targets = cut(fused, targets)
    varied, is_blended = blend(fused[:guided])
    fused, targets = torch.cat([varied, fused[guided:]]), F.avg_pool2d(targets, 2)
    with torch.autocast(options.device, torch.bfloat16):
        with torch.no_grad():
            seen = [labeler.features(varied.contiguous(memory_format=torch.channels_last)) for labeler in labelers]
            read_classes = [
                labeler.read(maps[-1], targets.shape[-2:]) for labeler, maps in zip(labelers, seen, strict=True)
            ]
            taught = torch.stack(read_classes).float().softmax(dim=2).mean(dim=0)
        logits, read = segmenter(fused, places)
    targets[:guided, :-1] = targets[:guided, :-1].lerp(taught, is_blended.clamp(min=LIVE_SHARE))
    expected = segmenter.standardize(seen[0], read[0].shape[-2:])
    errors = [F.mse_loss(level[:guided].float(), target) for level, target in zip(read, expected, strict=True)]
    parts = soft_loss(logits, targets, CLASS_WEIGHTS) | {"features": torch.stack(errors).mean()}
    loss = parts["classes"] + OVERLAP_WEIGHT * parts["overlap"] + options.features_weight * parts["features"]
    return {"loss": loss, **parts}


@torch.no_grad()
def teach(scenes: Scenes, labelers: Sequence[Labeler]) -> None:
    """Replace the targets of scenes by the mean predictions of labelers at several scales, also mirrored."""
    for index in torch.arange(len(scenes), device=scenes.device).split(8):
        visible, infrared = scenes.sources(index)
        if scenes.ready is None:
            fused = fuse({"visible": visible, "infrared": infrared, "contrast": visible.new_tensor(1.0)})
        else:
            fused = replace_luma(visible, scenes.ready[0, index].float() / 255)
        total = torch.zeros(len(index), NUM_CLASSES, *SIZE, device=scenes.device)
        for scale, mirrored, labeler in product(LABELER_SCALES, (False, True), labelers):
            image = F.interpolate(fused, scale_factor=scale, mode="bicubic").clamp(0, 1)
            image = (image.flip(-1) if mirrored else image).contiguous(memory_format=torch.channels_last)
            with torch.autocast(scenes.device, torch.bfloat16):
                logits = labeler(image).float()
            probabilities = F.interpolate(logits.softmax(dim=1), SIZE, mode="bilinear", antialias=True)
            total += probabilities.flip(-1) if mirrored else probabilities
        scenes.targets[index, :-1] = (255 * total / total.sum(dim=1, keepdim=True)).round().to(torch.uint8)
        scenes.targets[index, -1] = 255
    scenes.locate()


def segment_at_scales(segmenter: Segmenter, scales: Sequence[float], fused: Tensor) -> Tensor:
    """Return the logarithm of the mean probabilities at several scales, as `gffusion.inference.predict_labels`."""
    return torch.stack([segmenter(fused, scale=scale)[0].softmax(dim=1) for scale in scales]).mean(dim=0).log()


def save_head(head: SSNet, path: Path) -> None:
    """Write a head for `gffusion.training.load_head`."""
    names = MODEL_CONFIG["id2label"]
    metadata = {"classes": json.dumps([names[index] for index in sorted(names)])}
    metadata["layers"] = str(MODEL_CONFIG["segmenter_layers"])
    save_file({name: weight.cpu() for name, weight in head.classifier.state_dict().items()}, path, metadata)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train on the predictions of the labeler."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help="folders of pairs with label maps")
    parser.add_argument("--labeler", type=Path, nargs="+", required=True, help="files of the weights of labelers")
    parser.add_argument("--start", type=Path, required=True, help="folder of the dinov2 encoder")
    parser.add_argument("--after", type=Path, help="weights of an earlier run, which are trained further")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--eval", nargs="+", help="folders of pairs with label maps for the final IoU")
    parser.add_argument(
        "--encoder_share", type=float, default=0.3, help="learning rates of the encoder relative to encoders.py"
    )
    parser.add_argument("--features_weight", type=float, default=1.0, help="weight of the features of the labeler")
    parser.add_argument("--compile", action="store_true", help="compile the layers, for GPUs")
    add_options(parser, steps=20000, batch_size=128)
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    options.output.mkdir(parents=True, exist_ok=True)
    labelers = [load_labeler(path).to(options.device) for path in options.labeler]
    scenes = Scenes(options.data, options.device)
    scenes.fuse_by([create_model(name, use_segmenter=False) for name in options.fusers])
    teach(scenes, labelers)
    if options.after:
        segmenter = Segmenter(Dinov2Model(Dinov2Config.from_pretrained(options.start)))
        segmenter.load_state_dict(load_file(options.after))
    else:
        segmenter = Segmenter(Dinov2Model.from_pretrained(options.start, dtype=torch.float32))
    segmenter.to(options.device).train()
    if options.compile:
        for layer in segmenter.encoder.encoder.layer:
            layer.compile()
    optimizers = build_optimizers(segmenter, options.encoder_share)
    average = fit(
        segmenter, partial(losses, segmenter, labelers, scenes, options), optimizers, options, needs_replay(options)
    )
    save_halves(average, options.output / "segmenter.safetensors")
    copy.deepcopy(average.encoder).cpu().half().save_pretrained(options.output / "encoder")
    save_head(average.head, options.output / "head.safetensors")
    if options.eval:
        scores = {
            str(scales): measure(partial(segment_at_scales, average, scales), options.eval, options.device)
            for scales in SCALES
        }
        print(scores, flush=True)
        (options.output / "iou.json").write_text(json.dumps(scores) + "\n")


if __name__ == "__main__":
    main()
