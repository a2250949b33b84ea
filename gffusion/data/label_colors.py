"""Compare the palettes of label maps: programs that reduce images to a few colors number these anew in every file."""

import contextlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from .decoding import open_header

Color: TypeAlias = tuple[int, ...]

_BLACK = (0, 0, 0)
_REMEDY = 'give each color its class, and store the classes as gray values (see "Color masks" in the guide "Data for training")'


class LabelColors:
    """Colors of the indices in the label maps of each folder.

    Files without a palette, or whose palette does not tell the indices apart, are left out, and so are palettes of grays that
    equal their indices.
    """

    def __init__(self) -> None:
        self._indices: dict[tuple[Path, Color], tuple[int, Path]] = {}  # each with the first file
        self._colors: dict[tuple[Path, int], list[Color]] = defaultdict(list)

    def add(self, file: Path | None, indices: Iterable[int]) -> None:
        """Add a label map, if there is one, and the indices in it.

        Raises:
            ValueError: If a color has another index in an earlier file.
        """
        if file is None:
            return
        palette = _read_palette(file)
        for index, color in _find_colors(palette, indices).items():
            known, first = self._indices.setdefault((file.parent, color), (index, file))
            if palette[known : known + 1] != [color]:
                raise ValueError(
                    f"the palette of {file} gives the color {color} the index {index}, but that of {first} the index {known}: indices "
                    f"that change from file to file are no classes. In all label maps, {_REMEDY}; if the indices are the classes, store "
                    "them without the palettes"
                )
            if color not in self._colors[file.parent, index]:
                self._colors[file.parent, index].append(color)

    def describe(self) -> list[str]:
        """Return notes on colors that make other numbers likely."""
        notes = []
        for (folder, index), colors in self._colors.items():
            black, _ = self._indices.get((folder, _BLACK), (0, folder))
            if len(colors) > 1:
                notes.append(
                    f"{folder}: the palettes of the label maps give the index {index} the colors {colors[0]} and {colors[1]}. If the "
                    f"colors are the classes, {_REMEDY}"
                )
            elif index == 0 and black and colors != [_BLACK]:
                notes.append(
                    f"{folder}: 0, the background, has the color {colors[0]} in the palettes of the label maps, and black has the index "
                    f"{black}. If black is the background, {_REMEDY}"
                )
        return notes


def _find_colors(palette: list[Color], indices: Iterable[int]) -> dict[int, Color]:
    """Return the colors of indices, if a palette gives each one of its own; none for grays that equal their indices."""
    colors = {index: (palette[index : index + 1] or [()])[0] for index in indices}
    is_distinct = len(set(colors.values())) == len(colors) and () not in colors.values()
    is_gray = all(color == (index,) * 3 for index, color in colors.items())
    return colors if is_distinct and not is_gray else {}


def _read_palette(file: Path) -> list[Color]:
    """Return the colors of the palette of an image file, none if it has no palette."""
    with contextlib.suppress(Exception), open_header(file) as image:  # files that Pillow cannot open
        if image.mode == "P":
            values = image.getpalette("RGB") or []
            return [tuple(values[start : start + 3]) for start in range(0, len(values), 3)]
    return []
