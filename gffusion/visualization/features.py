"""Draw tokens, gates, layer weights and training curves; needs matplotlib, the extra `plots`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gffusion.models.gffusion.image_ops import to_uint8

from .drawing import BASELINE, LEARNED
from .plotting import fit_text, make_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 3.0  # of an image, in inches
_SHOWN_CHANNELS = 15


def find_principal_colors(token_maps: Sequence[NDArray[np.floating[Any]]]) -> list[NDArray[np.float64]]:
    """Return three principal components of tokens as colors: maps (h, w, D) -> (h, w, 3) in [0, 1].

    The components are those of all maps together, so that equal colors mean equal content. Every token is normalized first;
    the lowest and highest 2 % of each component are cut off.

    Example:
        >>> maps = np.random.default_rng(0).normal(size=(2, 4, 6, 8))
        >>> [colors.shape for colors in find_principal_colors(list(maps))]
        [(4, 6, 3), (4, 6, 3)]
    """
    tokens = np.concatenate([tokens.reshape(-1, tokens.shape[-1]) for tokens in token_maps]).astype(np.float64)
    tokens = (tokens - tokens.mean(axis=1, keepdims=True)) / (tokens.std(axis=1, keepdims=True) + 1e-6)
    tokens -= tokens.mean(axis=0)
    directions = np.linalg.svd(tokens, full_matrices=False)[2][:3]
    directions *= np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)])[:, None]
    components = tokens @ directions.T
    low, high = np.quantile(components, [0.02, 0.98], axis=0)
    colors = np.clip((components - low) / np.maximum(high - low, 1e-12), 0, 1)
    ends = np.cumsum([tokens.shape[0] * tokens.shape[1] for tokens in token_maps])[:-1]
    parts = np.split(colors, ends)
    return [part.reshape(*tokens.shape[:2], 3) for part, tokens in zip(parts, token_maps, strict=True)]


def draw_tokens(
    images: Mapping[str, NDArray[Any]], tokens: Mapping[str, Mapping[str, NDArray[np.floating[Any]]]]
) -> "Figure":
    """Draw images, and below them the tokens of every encoder as colors (Figs. 3 and 6 of the paper).

    Args:
        images: Images by name, (H, W) or (H, W, 3).
        tokens: For every encoder, the tokens (h, w, D) of each of the images.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    height, width = next(iter(images.values())).shape[:2]
    figure = make_figure(_WIDTH * len(images), _WIDTH * height / width * (1 + len(tokens)) + 0.4)
    axes = figure.subplots(1 + len(tokens), len(images), squeeze=False)
    for axis, (name, image) in zip(axes[0], images.items(), strict=True):
        _show(axis, image, name)
    for row, (encoder, maps) in zip(axes[1:], tokens.items(), strict=True):
        colors = find_principal_colors([maps[name] for name in images])
        for axis, shown, name in zip(row, colors, images, strict=True):
            _show(axis, shown, f"{encoder}: {name}", (width, height))
    return figure


def draw_gates(images: Mapping[str, NDArray[Any]], gate: NDArray[np.floating[Any]]) -> "Figure":
    """Draw the gate of Eq. (7): its mean over the channels of each image, and the channels in which it varies most.

    Args:
        images: Images by name, (H, W) or (H, W, 3).
        gate: (C, h, w) in [0, 1]; the first half of the channels holds features of the visible image.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    height, width = gate.shape[1:]
    visible, infrared = np.split(gate, 2)
    means = {
        "mean gate of visible features": visible.mean(axis=0),
        "mean gate of infrared features": infrared.mean(axis=0),
    }
    varied = np.argsort(-gate.std(axis=(1, 2)), kind="stable")[:_SHOWN_CHANNELS]
    panels = [*images.items(), *means.items()]
    panels += [(f"channel {channel}", gate[channel]) for channel in sorted(varied.tolist())]
    columns = len(images) + len(means)
    rows = -(-len(panels) // columns)
    figure = make_figure(_WIDTH * columns, _WIDTH * height / width * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for index, (axis, (name, image)) in enumerate(zip(axes, panels, strict=False)):
        if index < len(images):
            _show(axis, image, name)
        else:
            shown = axis.imshow(image, cmap="viridis", vmin=0, vmax=1)
            axis.set_title(name, fontsize="small")
            axis.set_axis_off()
    for axis in axes[len(panels) :]:
        axis.remove()
    figure.colorbar(shown, ax=axes[: len(panels)].tolist(), shrink=0.6)
    return figure


def draw_layer_weights(weights: Mapping[str, float]) -> "Figure":
    """Draw the share of every merged layer, with a line at equal shares.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    figure = make_figure(max(4.0, 0.5 * len(weights)), 3)
    axis = figure.subplots()
    axis.bar(list(weights), list(weights.values()), color=np.array(LEARNED) / 255)
    axis.axhline(1 / len(weights), color=np.array(BASELINE) / 255, linestyle="--", label="equal shares")
    axis.set(xlabel="layer of the encoder", ylabel="share", title="Weights of the merged layers")
    axis.legend()
    return figure


def draw_training(records: Sequence[Mapping[str, Any]], title: str = "Training") -> "Figure":
    """Draw losses, lambda and validation of the records in `log.jsonl`.

    Args:
        records: One mapping per epoch or evaluation, with `epoch` and values.
        title: Title of the figure.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the records have no losses.
    """
    if not any("loss_structural" in record for record in records):
        raise ValueError("the records have no losses (loss_structural): give the log.jsonl of a training run")
    is_labeled = any("loss_segmentation" in record for record in records)
    figure = make_figure(14 if is_labeled else 10, 3.8)
    figure.suptitle(fit_text(title, 0.9 * 72 * figure.get_figwidth(), 12))
    axes = figure.subplots(1, 3 if is_labeled else 2)

    def plot(axis: "Axes", name: str, label: str, sign: float = 1, offset: float = 0, **style: Any) -> None:
        points = [(record["epoch"] + 1, offset + sign * record[name]) for record in records if name in record]
        if points:
            axis.plot(*zip(*points, strict=True), label=label, **style)

    plot(axes[0], "loss_structural", "training crops")
    plot(axes[0], "eval_loss_structural", "validation pairs", marker="o")
    losses = np.concatenate([line.get_ydata() for line in axes[0].lines])
    positive = (losses[np.isfinite(losses)] > 0).all()  # the loss of VIF can be negative
    scale = "log" if positive else "linear"
    axes[0].set(xlabel="epoch", ylabel="L_st (Eq. 10) with our terms", yscale=scale, title="Fusion loss")
    if is_labeled:
        plot(axes[1], "loss_segmentation", "L_ss, training crops")
        plot(axes[1], "eval_loss_segmentation", "L_ss, validation pairs", marker="o")
        plot(axes[1], "segmentation_weight", "lambda", color="0.5", linestyle="--")
        axes[1].set(xlabel="epoch", ylabel="L_ss (Eq. 11) and its weight", title="Segmentation loss")
        plot(axes[-1], "eval_mIoU", "mIoU", marker="s")
    plot(axes[-1], "eval_loss_ssim", "SSIM, mean of both sources", sign=-1, offset=1, marker="o")
    axes[-1].set(xlabel="epoch", ylabel="validation pairs", title="Validation")
    for formatter in (axes[0].yaxis.set_major_formatter, axes[0].yaxis.set_minor_formatter):
        formatter("{x:.4g}")  # instead of powers of ten
    for axis in axes:
        axis.xaxis.get_major_locator().set_params(integer=True)
        if axis.get_legend_handles_labels()[0]:
            axis.legend()
    return figure


def _show(axis: "Axes", image: NDArray[Any], title: str, size: tuple[int, int] | None = None) -> None:
    """Show an image with square pixels, or stretched to the shape of one of `size` (width, height)."""
    aspect = 1.0 if size is None else size[1] / size[0] * image.shape[1] / image.shape[0]
    axis.imshow(to_uint8(image), cmap="gray", vmin=0, vmax=255, aspect=aspect, interpolation="nearest")
    axis.set_title(title, fontsize="small")
    axis.set_axis_off()
