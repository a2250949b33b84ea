"""Parse an infrared range as the command line and recipes spell it."""

import math
from collections.abc import Sequence
from typing import Literal

InfraredRange = Literal["dtype", "percentile"] | Sequence[float]


def parse_infrared_range(text: str | Sequence[str], option: str = "--infrared-range") -> InfraredRange:
    """Return the infrared range that a text names.

    Args:
        text: `dtype`, `percentile` or two numbers LOW and HIGH, separated by a comma, by spaces or given as two words.
        option: Name of the option for error messages, as the user typed it.

    Raises:
        ValueError: If the text is none of these.

    Example:
        >>> parse_infrared_range("7000,9500")
        [7000.0, 9500.0]
    """
    words = (text if isinstance(text, str) else " ".join(text)).replace(",", " ").split()
    if words == ["dtype"]:
        return "dtype"
    if words == ["percentile"]:
        return "percentile"
    got = text if isinstance(text, str) else " ".join(text)
    try:
        low, high = map(float, words)
    except ValueError:
        raise ValueError(f"{option} must be dtype, percentile or LOW,HIGH, got {got!r}") from None
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"{option} needs finite LOW < HIGH, got {got!r}")
    return [low, high]
