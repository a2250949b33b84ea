"""Examine the installed packages. Reads their metadata, and imports none of them."""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires

from packaging.requirements import Requirement

from gffusion.utils.extras import find_version

from .folders import describe_path, find_clone, find_current
from .problems import Problem

_SHOWN = (
    "torch",
    "torchvision",
    "transformers",
    "accelerate",
    "huggingface_hub",
    "safetensors",
    "numpy",
    "pillow",
    "scikit-image",
)
_MIN_PYTHON = (3, 11)
_DEVELOPER_EXTRAS = ("dev", "docs")


def examine_packages(problems: list[Problem]) -> tuple[dict[str, str | None], dict[str, tuple[str, ...]]]:
    """Return versions of packages, and the missing packages of every extra; add what is wrong to `problems`."""
    if sys.version_info < _MIN_PYTHON:
        python = ".".join(map(str, _MIN_PYTHON))
        problems.append(Problem(f"Python is older than {python}", f"install Python {python} or newer", prevents=True))
    extras: dict[str, tuple[str, ...]] = {}
    for extra, requirement in _read_requirements(problems):
        name, wanted, found = requirement.name, requirement.specifier, find_version(requirement.name)
        is_met = found is not None and wanted.contains(found, prereleases=True)
        if extra is None and not is_met:
            what = f"{name} {found} is installed, but gffusion needs {wanted}" if found else f"{name} is not installed"
            problems.append(Problem(what, f'pip install "{name}{wanted}"', prevents=True))
        elif extra is not None and extra not in _DEVELOPER_EXTRAS:
            extras[extra] = extras.get(extra, ()) + (() if is_met else (name,))
    _check_torchvision(problems)
    return {name: find_version(name) for name in _SHOWN}, extras


def get_pip_target(extra: str = "") -> str:
    """Return what pip installs to have gffusion with an extra such as "[video]": the clone if it is installed from one.

    Examples:
        >>> '[video]"' in get_pip_target("[video]")
        True
    """
    clone = find_clone()
    if clone is None:
        return f'"gffusion{extra}"'
    return f'-e ".{extra}"' if find_current() == clone else f'-e ".{extra}" (in {describe_path(clone)})'


def _read_requirements(problems: list[Problem]) -> Iterator[tuple[str | None, Requirement]]:
    """Yield the requirements of gffusion with their extras, `None` for those that it always needs."""
    try:
        lines = requires("gffusion") or []
    except PackageNotFoundError:
        what = "gffusion is not installed, only on the path"
        problems.append(Problem(what, "run `pip install .` in its folder, to get what it needs"))
        return
    for line in lines:
        requirement, found = Requirement(line), re.search(r"extra\s*==\s*['\"]([\w-]+)", line)
        extra = found[1] if found else None
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra or ""}):
            yield extra, requirement


def _check_torchvision(problems: list[Problem]) -> None:
    """Compare torchvision, which transformers imports if it is there, with the torch that it was built for."""
    torch, torchvision = find_version("torch"), find_version("torchvision")
    if torch is None or torchvision is None:
        return
    wanted = next((Requirement(line) for line in requires("torchvision") or [] if re.match(r"torch\b", line)), None)
    if wanted is not None and not wanted.specifier.contains(torch, prereleases=True):
        what = f"torchvision {torchvision} was built for torch {wanted.specifier}, but torch {torch} is installed"
    elif torch.partition("+")[2] != torchvision.partition("+")[2] and "+" in torch and "+" in torchvision:
        what = f"torch {torch} and torchvision {torchvision} are builds for different devices"
    else:
        return
    advice = "install both together from https://pytorch.org/get-started/locally/, or run `pip uninstall torchvision`"
    problems.append(Problem(f"{what}: transformers may fail to import", f"{advice}: gffusion does not need it", True))
