"""Parse infrared ranges."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line parses ranges before it imports torch
    from gffusion.models.gffusion.image_processing_gffusion import InfraredRange


def parse_infrared_range(text: str | Sequence[str], option: str = "--infrared-range") -> "InfraredRange":
    """Parse a text or a list of words: `dtype`, `percentile`, or LOW and HIGH separated by a comma or spaces.

    Raises:
        ValueError: If the text is anything else; the message names `option`, as the user typed it.

    Example:
        >>> parse_infrared_range("7000,9500")
        [7000.0, 9500.0]
    """
    text = text if isinstance(text, str) else " ".join(text)
    words = text.replace(",", " ").split()
    if words == ["dtype"]:
        return "dtype"
    if words == ["percentile"]:
        return "percentile"
    try:
        low, high = map(float, words)
    except ValueError:
        raise ValueError(f"{option} must be dtype, percentile or LOW,HIGH, got {text!r}") from None
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"{option} needs finite LOW < HIGH, got {text!r}")
    return [low, high]
