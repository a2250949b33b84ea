"""What is wrong, and what to do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Attributes:
        what: What was found.
        advice: What to do.
        prevents: Whether it prevents fusing images.
    """

    what: str
    advice: str
    prevents: bool = False
