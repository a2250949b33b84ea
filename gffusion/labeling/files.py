"""Where label maps are written. Does not import torch."""

from pathlib import Path

from gffusion.data.pairs import ImagePair


def choose_label_file(pair: ImagePair, folder: Path) -> Path:
    """Return the label map that a pair has in a folder, whatever its name, or `folder/<name>.png`.

    Example:
        >>> pair = ImagePair("1_vis", Path("v", "1_vis.png"), Path("i", "1_ir.png"), labels=Path("labels", "1.png"))
        >>> choose_label_file(pair, Path("labels")).name, choose_label_file(pair, Path("other")).name
        ('1.png', '1_vis.png')
    """
    if pair.labels is not None and pair.labels.parent.resolve() == folder.resolve():
        return pair.labels
    return folder / f"{pair.name}.png"
