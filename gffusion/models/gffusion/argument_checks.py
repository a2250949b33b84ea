"""Check numbers and flags, also those of NumPy and torch. Imports nothing heavy."""

import math
from typing import Any


def to_plain(value: Any) -> Any:
    """Return numbers and arrays of NumPy and torch as JSON can hold them, also in lists; other values are unchanged.

    Examples:
        >>> import numpy as np
        >>> to_plain([np.uint16(7), 8]), to_plain(np.array([0.5, 2])), to_plain("auto")
        ([7, 8], [0.5, 2.0], 'auto')
    """
    if hasattr(value, "tolist"):
        return value.tolist()
    return type(value)(map(to_plain, value)) if type(value) in (list, tuple) else value


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number of Python, and not `True` or `False`."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_flag(name: str, value: Any) -> bool:
    """Return a flag as a bool of Python; raise ValueError for other values, such as the text "no", which counts as true."""
    plain = to_plain(value)
    if not isinstance(plain, bool):
        raise ValueError(f"{name} must be True or False, got {value!r:.200}.")
    return plain
