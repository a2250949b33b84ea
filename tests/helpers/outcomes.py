"""Outcome of a command."""

from dataclasses import dataclass


@dataclass
class Outcome:
    """Exit code and output of a command."""

    exit_code: int
    out: str
    err: str
