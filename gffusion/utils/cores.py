"""Cores of the processor."""

import os


def count_cores() -> int:
    """Return the number of cores that this process may use.

    Examples:
        >>> count_cores() >= 1
        True
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
