"""Errors of the library as one line for the page."""

import os
from collections.abc import Iterable
from pathlib import Path


def describe_error(error: Exception, folders: Iterable[str | Path] = ()) -> str:
    """Return the message of an error in one line, with the names of files instead of their paths on the server.

    Args:
        error: The error.
        folders: Folders of the files.

    Examples:
        >>> describe_error(ValueError("/tmp/a/b.png has another size: use --align"), ["/tmp/a"])
        'b.png has another size: use --align (here: tick "Align the images")'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    for folder in folders:
        text = text.replace(f"{folder}{os.sep}", "")
    return f'{text} (here: tick "Align the images")' if "--align" in text else text
