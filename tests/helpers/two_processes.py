"""Start two processes on the CPU with `accelerate launch`."""

import subprocess
import sys

from environments import make_environment

_LAUNCH = (
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"),
    *("--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"),
)


def launch_two(*arguments: object, timeout: float = 300) -> "subprocess.CompletedProcess[str]":
    """Run a script, or `-m` and a module, with its arguments in two processes."""
    environment = make_environment(ACCELERATE_USE_CPU="true", OMP_NUM_THREADS="1")
    command = [sys.executable, *_LAUNCH, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
