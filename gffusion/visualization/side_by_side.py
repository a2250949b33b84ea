"""Figures of one scene for papers, whose names, frames and legends are vectors; needs matplotlib, the extra `plots`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from gffusion.metrics import to_luma8
from gffusion.models.gffusion.image_arrays import Image as AnyImage

from .comparison import Box, check_box, choose_columns, find_differing_part, to_bytes
from .drawing import ACCENT
from .overlay import check_label_map, overlay
from .palette import color_classes
from .plotting import break_text, count_lines, default_style, make_figure, measure_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

TILE_WIDTH = 1.75
"""Width of an image in inches: four fill a page of two columns."""
_NAME_SIZE, _CLASS_SIZE = 8, 6  # points
_NAME_HEIGHT, _LINE_HEIGHT, _LEGEND_HEIGHT, _GAP = 0.19, 0.155, 0.25, 0.04  # inches
_ENTRY_SPACE = 5 * _NAME_SIZE  # points of an entry of the legend beside its name: the color and gaps
_ENLARGED_WIDTH = 800  # pixels of an enlarged part
_MIN_NAMED = 0.002  # share of the image of a region with its name in it
_MAX_CLASSES = 12  # of a legend that also shows classes without pixels


@default_style()
def draw_side_by_side(
    images: Mapping[str, AnyImage],
    zoom: Box | None = None,
    *,
    enlarge: bool = True,
    labels: Mapping[str, Any] | None = None,
    class_names: Sequence[str] | Mapping[int, str] = (),
) -> "Figure":
    """Draw images of a scene side by side, each above an enlarged part, and label maps with a legend (Figs. 8 to 10).

    Args:
        images: Images by name, at least one, of one size: (H, W) or (H, W, 3), uint8, uint16 or floating point in [0, 1]; or PIL
            images.
        zoom: The enlarged part: left, top, right and bottom in pixels. By default, a quarter of each side, where the details of
            the images differ most.
        enlarge: Whether to show the part.
        labels: Label maps (H, W) by the name of the image over which they are drawn.
        class_names: Names of the classes by id, the background first: a sequence, or a dict such as `model.config.id2label`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no image, sizes differ, values are out of range, the part does not lie in the images, or a label
            map has no image or other values than class ids.

    Examples:
        >>> scene = np.eye(48, 64)
        >>> figure = draw_side_by_side({"visible": scene, "infrared": 1 - scene, "fused": scene / 2})
        >>> [axes.get_title() for axes in figure.axes]
        ['visible', 'infrared', 'fused', '', '', '']
    """
    shown = to_bytes(images)
    items = class_names.items() if isinstance(class_names, Mapping) else enumerate(class_names)
    names = {int(label): name for label, name in items}
    label_maps = _check_labels(labels or {}, shown)
    height, width = next(iter(shown.values())).shape[:2]
    box = None
    if enlarge:
        if zoom is None:
            zoom = find_differing_part([to_luma8(image).numpy() for image in shown.values()])
        box = check_box(zoom, (height, width), "the image")
    tiles: list[tuple[str, NDArray[np.uint8], NDArray[Any] | None]]
    tiles = [(name, image, None) for name, image in shown.items()]
    tiles += [
        (f"{name}: segmentation", overlay(images[name], label_map), label_map) for name, label_map in label_maps.items()
    ]
    titles = [break_text(name, 72 * TILE_WIDTH, _NAME_SIZE) for name, *_ in tiles]
    title_height = _NAME_HEIGHT + (count_lines(titles) - 1) * _LINE_HEIGHT
    legend = _list_classes(label_maps, names)
    legend_height = _LEGEND_HEIGHT + (count_lines(str(entry.get_label()) for entry in legend) - 1) * _LINE_HEIGHT
    columns = choose_columns(len(tiles))
    longest = max((measure_text(str(entry.get_label()), _NAME_SIZE) for entry in legend), default=0)
    entries = max(1, int(72 * columns * TILE_WIDTH / (longest + _ENTRY_SPACE)))  # of the legend in a row
    rows, parts = -(-len(tiles) // columns), 1 + bool(box)
    tile_height = TILE_WIDTH * height / width
    figure = make_figure(
        columns * (TILE_WIDTH + _GAP),
        rows * (title_height + parts * (tile_height + _GAP)) + legend_height * -(-len(legend) // entries),
    )
    figure.set_layout_engine("constrained", w_pad=_GAP / 2, h_pad=_GAP / 2, wspace=0, hspace=0)
    axes = figure.subplots(rows * parts, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for index, (_, tile, label_map) in enumerate(tiles):
        row, column = divmod(index, columns)
        axis = axes[row * parts, column]
        _show(axis, tile)
        axis.set_title(titles[index], fontsize=_NAME_SIZE, pad=3)
        if label_map is not None:
            _name_regions(axis, label_map, names)
        if box:
            _frame(axis, (box[0] - 0.5, box[1] - 0.5, box[2] - 0.5, box[3] - 0.5))
            part = _enlarge(tile, box)
            _show(axes[row * parts + 1, column], part)
            _frame(axes[row * parts + 1, column], (-0.5, -0.5, part.shape[1] - 0.5, part.shape[0] - 0.5))
    for index in range(len(tiles), rows * columns):
        for part_row in range(parts):
            axes[index // columns * parts + part_row, index % columns].remove()
    if legend:
        figure.legend(
            handles=legend,
            loc="outside lower left",
            ncols=min(entries, len(legend)),
            fontsize=_NAME_SIZE,
            frameon=False,
            borderpad=0,
        )
    return figure


def _check_labels(labels: Mapping[str, Any], images: Mapping[str, NDArray[np.uint8]]) -> dict[str, NDArray[Any]]:
    """Return label maps by the names of their images as arrays; raise ValueError if one has no image, or does not fit it."""
    for name in labels:
        if name not in images:
            raise ValueError(
                f"`labels` has {name!r}, but there is no image of this name; choose from {', '.join(images)}"
            )
    return {name: check_label_map(label_map, images[name].shape[:2]) for name, label_map in labels.items()}


def _show(axis: "Axes", image: NDArray[np.uint8]) -> None:
    axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="none")


def _frame(axis: "Axes", sides: tuple[float, float, float, float]) -> None:
    """Draw a frame that is seen on every image, also in gray: a line of color between two of white."""
    from matplotlib.patches import Rectangle  # optional dependency: the extra `plots`

    left, top, right, bottom = sides
    for color, width in ((np.ones(3), 2.0), (np.array(ACCENT) / 255, 1.0)):
        axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=color, linewidth=width))


def _enlarge(image: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    scale = max(1.0, _ENLARGED_WIDTH / (box[2] - box[0]))
    size = round(scale * (box[2] - box[0])), max(1, round(scale * (box[3] - box[1])))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, box=box))


def _list_classes(labels: Mapping[str, NDArray[Any]], class_names: Mapping[int, str]) -> list["Patch"]:
    """Return the entries of the legend: all classes, or those that occur if there are many."""
    from matplotlib.patches import Patch  # optional dependency: the extra `plots`

    occurring = {int(label) for label_map in labels.values() for label in np.unique(label_map)}
    shown = [
        (label, name)
        for label, name in class_names.items()
        if labels and label and (len(class_names) <= _MAX_CLASSES or label in occurring)
    ]
    return [
        Patch(color=tuple((color_classes(label) / 255).tolist()), label=break_text(name, 100, _NAME_SIZE))
        for label, name in shown
    ]


def _name_regions(axis: "Axes", label_map: NDArray[Any], class_names: Mapping[int, str]) -> None:
    """Write the name of each class into its largest region, for readers who do not distinguish the colors."""
    from matplotlib.patheffects import withStroke  # optional dependency: the extra `plots`

    for label, name in class_names.items():
        if label == 0:
            continue
        regions, count = ndimage.label(label_map == label)
        if not count:
            continue
        largest = regions == 1 + np.bincount(regions.ravel())[1:].argmax()
        if largest.mean() < _MIN_NAMED:
            continue
        depth = ndimage.distance_transform_edt(np.pad(largest, 1))[1:-1, 1:-1]
        y, x = divmod(int(depth.argmax()), depth.shape[1])
        side = "left" if x < 0.15 * depth.shape[1] else "right" if x > 0.85 * depth.shape[1] else "center"
        axis.text(
            x, y, break_text(name, 60, _CLASS_SIZE), size=_CLASS_SIZE, color="white", ha=side, va="center", clip_on=True,
            path_effects=[withStroke(linewidth=1.2, foreground="black")],
        )  # fmt: skip
