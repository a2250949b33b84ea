"""Processes that use this package, and their environment."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def make_environment(**variables: str) -> dict[str, str]:
    """Return the environment of a process that can import gffusion and the helpers of the tests."""
    path = [str(Path(__file__).parents[2]), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)} | variables


@contextmanager
def start(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start Python in this environment. A process that the test does not end is killed, also if the test fails."""
    with subprocess.Popen([sys.executable, *arguments], env=make_environment(), **options) as process:
        try:
            yield process
        finally:
            process.kill()
