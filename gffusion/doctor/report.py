"""Examine the installation and the machine."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from gffusion._version import __version__

from .folders import examine_folders, examine_weights, find_current
from .hub import examine_hub
from .machine import examine_machine
from .packages import examine_packages
from .problems import Problem

_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "CUDA_VISIBLE_DEVICES",
    "HF_HUB_OFFLINE",
    "HF_DATASETS_OFFLINE",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TRANSFORMERS_OFFLINE",
)


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        gffusion: Version of gffusion.
        python: Version of Python.
        platform: Operating system and processor.
        packages: Versions of packages; `None` if one is not installed.
        extras: Packages that are missing, by extra.
        machine: Devices, threads and instructions of the processor.
        hub: Cache, token and settings of the Hugging Face Hub.
        folders: Whether files can be written, and the free space.
        environment: Variables that change how gffusion runs.
        problems: What is wrong, and what to do.
    """

    gffusion: str
    python: str
    platform: str
    packages: Mapping[str, str | None]
    extras: Mapping[str, tuple[str, ...]]
    machine: Mapping[str, Any]
    hub: Mapping[str, Any]
    folders: Mapping[str, Any]
    environment: Mapping[str, str]
    problems: tuple[Problem, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether images can be fused."""
        return not any(problem.prevents for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self) | {"is_usable": self.is_usable}


def examine() -> Report:
    """Examine everything, or packages and folders if the current folder was deleted.

    Imports torch, but neither transformers nor a model, so that it takes about as long as torch does.

    Examples:
        >>> report = examine()
        >>> report.is_usable, report.packages["torch"] is not None
        (True, True)
    """
    problems: list[Problem] = []
    packages, extras = examine_packages(problems)
    folders = examine_folders(problems) | examine_weights(problems)
    is_here = find_current() is not None  # in a deleted folder, libraries of torch end the process
    return Report(
        gffusion=__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.release()}, {platform.machine()}",
        packages=packages,
        extras=extras,
        machine=examine_machine(problems) if is_here else {},
        hub=examine_hub(problems) if is_here else {},
        folders=folders,
        environment={name: os.environ[name] for name in _VARIABLES if name in os.environ},
        problems=tuple(problems),
    )
