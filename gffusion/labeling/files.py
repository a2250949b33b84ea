"""Where label maps are written. Does not import torch."""

from collections.abc import Iterable
from pathlib import Path

from gffusion.data.file_names import name_file
from gffusion.data.pairs import ImagePair

_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")  # of formats that keep class indices


def choose_label_files(pairs: Iterable[ImagePair], folder: Path) -> list[Path]:
    """Return the label map that each pair has in a folder, whatever its name, or `folder/<name>.png`.

    Raises:
        ValueError: If a label map has a format that does not keep class indices, such as JPEG, or two pairs have the same.

    Examples:
        >>> pair = ImagePair("1_vis", Path("v", "1_vis.png"), Path("i", "1_ir.png"), labels=Path("labels", "1.png"))
        >>> [choose_label_files([pair], Path(folder))[0].name for folder in ("labels", "other")]
        ['1.png', '1_vis.png']
    """
    chosen: list[Path] = []
    sources: dict[str, Path] = {}
    for pair in pairs:
        file = folder / f"{pair.name}.png"
        if pair.labels is not None and pair.labels.parent.resolve() == folder.resolve():
            file = pair.labels
            if file.suffix.lower() not in _SUFFIXES:
                raise ValueError(
                    f"the label map {file} must end in one of {', '.join(_SUFFIXES)}, because other formats do not keep class "
                    "indices: convert it, or move it away"
                )
        if (first := sources.setdefault(name_file(file), pair.visible)) is not pair.visible:
            raise ValueError(
                f"{first} and {pair.visible} would have the same label map {file}: name the pairs in the CSV file"
            )
        chosen.append(file)
    return chosen
