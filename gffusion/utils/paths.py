"""Take texts as paths."""

from pathlib import Path
from typing import Any


def texts_to_paths(instance: Any, *names: str) -> None:
    """Replace texts in fields of a frozen dataclass by paths.

    Args:
        instance: The dataclass, in its `__post_init__`.
        names: The fields; other values than texts stay.
    """
    for name in names:
        value = getattr(instance, name)
        if isinstance(value, str):
            object.__setattr__(instance, name, Path(value))
