"""The images that a model card shows, as files beside it."""

import os
import re
from pathlib import PurePosixPath
from urllib.parse import unquote

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".svg")
# Bounded, and without further brackets, so that the time is linear in the length of strangers' cards.
_SHOWN = re.compile(
    r"""!\[[^\[\]]{0,1000}\]\(\s{0,100}<?([^)\s>]+)|<img\b[^<>]{0,1000}?\ssrc\s{0,100}=\s{0,100}["']?([^"'\s>]+)""",
    re.IGNORECASE,
)


def find_shown_images(card: str) -> list[str]:
    """Return the paths of the images that a card shows from its own folder, in Markdown or HTML.

    Examples:
        >>> find_shown_images('![night](figures/a%20b.PNG) <img src="./c.jpg"> ![](https://example.org/d.png)')
        ['c.jpg', 'figures/a b.PNG']
    """
    shown = (markdown or html for markdown, html in _SHOWN.findall(card))
    return sorted({path for link in shown if (path := to_local_path(link)) is not None})


def find_mentioned_images(card: str, folder: str | os.PathLike[str]) -> list[str]:
    """Return the paths of the images in a folder that a card mentions in any way, also by an address that ends with their name.

    Examples:
        >>> find_mentioned_images("see night.png", "nowhere")
        []
    """
    found = {path for path in find_shown_images(card) if os.path.isfile(os.path.join(folder, path))}
    for word in re.findall(r"[^\s()\[\]<>\"']+", card):  # links in Markdown or HTML
        for path in (to_local_path(word), to_local_path(word.rpartition("/")[2])):
            if path is not None and os.path.isfile(os.path.join(folder, path)):
                found.add(path)
                break
    return sorted(found)


def to_local_path(link: str) -> str | None:
    """Return the path of an image inside the card's folder, or `None` for other links.

    Examples:
        >>> to_local_path("./night.png"), to_local_path("../night.png"), to_local_path("https://example.org/night.png")
        ('night.png', None, None)
    """
    path = PurePosixPath(unquote(link))
    is_inside = not path.is_absolute() and ".." not in path.parts and not set(r"\:") & set(str(path))
    return str(path) if is_inside and path.suffix.lower() in IMAGE_SUFFIXES else None
