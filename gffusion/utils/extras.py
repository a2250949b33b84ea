"""Packages of extras: check that they are installed, and new enough, without importing them."""

from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from packaging.requirements import Requirement
from packaging.specifiers import Specifier

# Other distributions of a package. Their files are in the same folder: only one can be installed.
_VARIANTS = {"onnxruntime": ("onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-rocm")}


def find_version(name: str) -> str | None:
    """Return the version of an installed package or of another distribution of it, or `None`.

    Examples:
        >>> find_version("no-such-package") is None
        True
    """
    for distribution in (name, *_VARIANTS.get(name, ())):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def check_extra(extra: str, purpose: str, *names: str, is_version_needed: bool = False) -> None:
    """Raise ImportError if packages of an extra are missing.

    Args:
        extra: Name of the extra.
        purpose: What needs them, such as "figures need {}".
        names: Names of the packages, which are also those of their modules.
        is_version_needed: Whether they must not be older than the extra says, because older ones are known to fail.

    Examples:
        >>> check_extra("plots", "figures need {}", "no_such_module")
        Traceback (most recent call last):
            ...
        ImportError: figures need no_such_module: pip install "gffusion[plots]"
    """
    advice = f'pip install "gffusion[{extra}]"'
    if missing := [name for name in names if not _can_import(name)]:
        raise ImportError(f"{purpose.format(', '.join(missing))}: {advice}")
    lowest = _read_lowest(extra) if is_version_needed else {}
    for name in names:
        found = find_version(name)
        if found and name in lowest and not lowest[name].contains(found, prereleases=True):
            raise ImportError(f"{purpose.format(name)} {lowest[name]}, but {found} is installed: {advice}")


def _can_import(name: str) -> bool:
    """Return whether a module exists; a folder without code is none, such as a user's, or what remains of a removed package."""
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


@cache
def _read_lowest(extra: str) -> dict[str, Specifier]:
    """Return the lowest versions of packages that an extra needs; none if gffusion is only on the path."""
    try:
        found = [Requirement(line) for line in requires("gffusion") or []]
    except PackageNotFoundError:
        return {}
    needed = [
        requirement for requirement in found if requirement.marker and requirement.marker.evaluate({"extra": extra})
    ]
    return {
        requirement.name: limit for requirement in needed for limit in requirement.specifier if limit.operator == ">="
    }
