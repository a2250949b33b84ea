"""Where label maps are written. Does not import torch."""

from pathlib import Path

from gffusion.data.pairs import ImagePair

_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")  # of formats that keep class indices


def choose_label_file(pair: ImagePair, folder: Path) -> Path:
    """Return the label map that a pair has in a folder, whatever its name, or `folder/<name>.png`.

    Raises:
        ValueError: If that label map has a format that does not keep class indices, such as JPEG.

    Examples:
        >>> pair = ImagePair("1_vis", Path("v", "1_vis.png"), Path("i", "1_ir.png"), labels=Path("labels", "1.png"))
        >>> choose_label_file(pair, Path("labels")).name, choose_label_file(pair, Path("other")).name
        ('1.png', '1_vis.png')
    """
    if pair.labels is not None and pair.labels.parent.resolve() == folder.resolve():
        if pair.labels.suffix.lower() not in _SUFFIXES:
            raise ValueError(
                f"the label map {pair.labels} must end in one of {', '.join(_SUFFIXES)}, because other formats do not keep class "
                "indices: convert it, or move it away"
            )
        return pair.labels
    return folder / f"{pair.name}.png"
