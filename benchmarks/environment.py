"""Record of the machine and the versions that a benchmark ran with."""

import argparse
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("gffusion", "torch", "triton", "transformers", "numpy", "pillow")


def describe_machine(device: str = "cpu") -> dict[str, Any]:
    """Return the processor, the GPU if the device is one, the load of the machine, and versions."""
    machine: dict[str, Any] = {
        "processor": _read_processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _find_version(name)) is not None},
    }
    if (device == "auto" or device.startswith("cuda")) and torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
        machine["cuda"] = torch.version.cuda
        machine["cudnn"] = torch.backends.cudnn.version()
    return machine


def read_count(text: str) -> int:
    """Return a number of runs or files, for `argparse`, which reports the error."""
    if (count := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {count}")
    return count


def write_json(path: Path | None, result: dict[str, Any]) -> None:
    """Write a result, which names the machine and versions, as JSON; do nothing without a path."""
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _find_version(name: str) -> str | None:
    if name == "torch":
        return torch.__version__
    if name == "gffusion":
        import gffusion  # the source, which an installed version can differ from

        return gffusion.__version__
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _read_processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
