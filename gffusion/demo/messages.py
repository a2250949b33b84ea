"""Errors and notes of the library as one line for the page."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

_HERE_ALIGN = {"--align auto": 'tick "Align the images"'}

IMAGE_HINTS = {
    **_HERE_ALIGN,
    "--infrared-range": "More options > Infrared range",
    "--invert": "More options > Invert the infrared image",
    "--visible-range": "More options > Visible range",
    "--infrared-luma": "swap the images if they are swapped, or save the infrared one in gray",
    "--max-pixels": "make the image smaller",
}
"""What to do on the tab of images instead of passing an option of the command."""

VIDEO_HINTS = {**_HERE_ALIGN, "--max-pixels": "make the video smaller"}
"""What to do on the tab of videos instead of passing an option of the command."""


def describe_error(error: Exception, folders: Iterable[str | Path], hints: Mapping[str, str]) -> str:
    """Return the message of an error in one line, with what to do on the page, and names of files instead of their paths.

    Args:
        error: The error.
        folders: Folders of the files.
        hints: What to do on the page instead of passing an option.

    Examples:
        >>> describe_error(ValueError("/tmp/a/b.png has another size: use --align auto"), ["/tmp/a"], VIDEO_HINTS)
        'Here: tick "Align the images". b.png has another size: use --align auto'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    for folder in folders:
        text = text.replace(f"{folder}{os.sep}", "")
    found = _find_hints(text, hints)
    return f"Here: {found}. {text}" if found else text


def add_hint(note: str, hints: Mapping[str, str]) -> str:
    """Return a note with what to do on the page instead of passing the options in it.

    Examples:
        >>> add_hint("colors taken as values; --invert if black is hot", IMAGE_HINTS)
        'colors taken as values; --invert if black is hot (here: More options > Invert the infrared image)'
    """
    found = _find_hints(note, hints)
    return f"{note} (here: {found})" if found else note


def _find_hints(text: str, hints: Mapping[str, str]) -> str:
    return ", or ".join(hint for option, hint in hints.items() if option in text)
