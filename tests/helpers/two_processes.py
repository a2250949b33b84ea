"""Start two processes on the CPU with `accelerate launch`."""

import os
import subprocess
import sys
from pathlib import Path

_LAUNCH = (
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"),
    *("--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"),
)


def find_path() -> str:
    """Return a `PYTHONPATH` with which processes import this package."""
    return os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])


def launch_two(*arguments: object, timeout: float = 300) -> "subprocess.CompletedProcess[str]":
    """Run a script, or `-m` and a module, with its arguments in two processes."""
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": find_path()}
    command = [sys.executable, *_LAUNCH, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
