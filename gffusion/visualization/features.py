"""Draw tokens, gates, layer weights and training curves; needs matplotlib, the extra `plots`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.models.gffusion.image_ops import to_uint8

from .drawing import BASELINE, LEARNED
from .plotting import break_text, default_style, make_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 3.0  # of an image, in inches
_SHOWN_CHANNELS = 15
_MAX_NAME_LENGTH = 210  # of a run, in points
_LINES = ("-", "--", ":", "-.")  # of the first ten runs, the next ten, ...


class _Curve(NamedTuple):
    """A quantity in `log.jsonl`, and how it is drawn."""

    panel: str
    unit: str
    key: str
    label: str
    style: dict[str, Any]


_SEGMENTATION = "L_ss (Eq. 11) and its weight"
_CURVES = (
    _Curve("Fusion loss", "L_st", "loss_structural", "training crops", {}),
    _Curve("Fusion loss", "L_st", "eval_loss_structural", "validation pairs", {"marker": "o"}),
    _Curve("Segmentation loss", _SEGMENTATION, "loss_segmentation", "L_ss, training crops", {}),
    _Curve("Segmentation loss", _SEGMENTATION, "eval_loss_segmentation", "L_ss, validation pairs", {"marker": "o"}),
    _Curve("Segmentation loss", _SEGMENTATION, "segmentation_weight", "lambda", {"color": "0.5", "linestyle": "--"}),
    _Curve("Validation", "validation pairs", "eval_mIoU", "mIoU", {"marker": "s"}),
    _Curve("Validation", "validation pairs", "eval_SSIM", "SSIM, sum over both sources", {"marker": "o"}),
)


def find_principal_colors(token_maps: Sequence[NDArray[np.floating[Any]]]) -> list[NDArray[np.float64]]:
    """Return three principal components of tokens as colors: maps (h, w, D) -> (h, w, 3) in [0, 1].

    The components are those of all maps together, so that equal colors mean equal content. Every token is normalized first;
    the lowest and highest 2 % of each component are cut off.

    Examples:
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


@default_style()
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


@default_style()
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
    figure.colorbar(shown, ax=axes[: len(panels)].tolist(), shrink=0.6, label="gate, Eq. (7)")
    return figure


@default_style()
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


@default_style()
def draw_training(
    records: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Mapping[str, Any]]],
    title: str = "Training",
    loss_name: str = "L_st",
) -> "Figure":
    """Draw losses, lambda and validation of the records in `log.jsonl`.

    Args:
        records: One mapping per epoch or evaluation, with `epoch` and values. Or such records of several runs by name: each
            quantity then has a panel of its own, with one curve per run.
        title: Title of the figure.
        loss_name: Label of the structural loss.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the records of a run have no losses.
    """
    runs = records if isinstance(records, Mapping) else {"": records}
    if not runs:
        raise ValueError("no run was given to draw: give the records of one or more")
    for name, run in runs.items():
        if not any("loss_structural" in record for record in run):
            subject = f"the records of {name}" if name else "the records"
            raise ValueError(f"{subject} have no losses (loss_structural): give the log.jsonl of a training run")
    keys = {key for run in runs.values() for record in run for key in record}
    panels: dict[str, list[_Curve]] = {}
    for curve in _CURVES:
        if curve.key in keys:
            panels.setdefault(curve.panel if len(runs) == 1 else f"{curve.panel}: {curve.label}", []).append(curve)
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = make_figure(min(5 * columns, 14), 3.8 * rows)
    figure.suptitle(break_text(title, 0.9 * 72 * figure.get_figwidth(), 12))
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis, (heading, curves) in zip(axes, panels.items(), strict=False):
        for curve in curves:
            _plot(axis, curve, runs)
        _label(axis, heading, curves, loss_name)
    for axis in axes[len(panels) :]:
        axis.remove()
    if len(runs) > 1:
        figure.legend(
            axes[0].lines, [_name_in_legend(name) for name in runs], loc="outside lower center", ncols=columns
        )
    return figure


def _plot(axis: "Axes", curve: _Curve, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Draw a quantity of every run that has it: each run in a color of its own or, if there is one, each quantity."""
    for index, run in enumerate(runs.values()):
        points = [(record["epoch"] + 1, record[curve.key]) for record in run if curve.key in record]
        style = curve.style
        if len(runs) > 1:
            style = {
                "marker": curve.style.get("marker"),
                "color": f"C{index % 10}",
                "linestyle": _LINES[index // 10 % 4],
            }
        if points:
            axis.plot(*zip(*points, strict=True), label=curve.label, **style)


def _label(axis: "Axes", heading: str, curves: Sequence[_Curve], loss_name: str) -> None:
    from matplotlib.ticker import MaxNLocator  # optional dependency: the extra `plots`

    is_loss = curves[0].panel == "Fusion loss"
    axis.set(xlabel="epoch", ylabel=loss_name if is_loss else curves[0].unit, title=heading)
    axis.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    if is_loss:
        losses = np.concatenate([line.get_ydata() for line in axis.lines])
        positive = (losses[np.isfinite(losses)] > 0).all()  # the loss of VIF can be negative
        axis.set_yscale("log" if positive else "linear")
        for formatter in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
            formatter("{x:.4g}")  # instead of powers of ten
    if heading == curves[0].panel:
        axis.legend()


def _name_in_legend(name: str) -> str:
    shown = break_text(name, _MAX_NAME_LENGTH, 10)
    return f" {shown}" if shown.startswith("_") else shown  # matplotlib leaves out labels that begin with _


def _show(axis: "Axes", image: NDArray[Any], title: str, size: tuple[int, int] | None = None) -> None:
    """Show an image with square pixels, or stretched to the shape of one of `size` (width, height)."""
    aspect = 1.0 if size is None else size[1] / size[0] * image.shape[1] / image.shape[0]
    axis.imshow(to_uint8(image), cmap="gray", vmin=0, vmax=255, aspect=aspect, interpolation="nearest")
    axis.set_title(title, fontsize="small")
    axis.set_axis_off()
