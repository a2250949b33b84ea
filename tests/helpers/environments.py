"""Environments of processes that use this package."""

import os
from pathlib import Path


def make_environment(**variables: str) -> dict[str, str]:
    """Return the environment of a process that can import gffusion and the helpers of the tests."""
    path = [str(Path(__file__).parents[2]), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)} | variables
