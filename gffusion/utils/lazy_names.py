"""Names of a package that are loaded on first use, so that the package is imported without torch."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def load_on_use(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package: `dir()` has its public names and modules.

    They are for `if not TYPE_CHECKING:`, so that type checkers know the names of the package, and report others.

    Args:
        package: `__name__` of the package.
        modules: Module of every name, within the package.
    """

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f".{modules[name]}", package), name)

    def list_names() -> list[str]:
        names = vars(sys.modules[package])
        submodules = (
            name for name, value in names.items() if isinstance(value, ModuleType) and not name.startswith("_")
        )
        return sorted({*names["__all__"], *submodules})

    return find, list_names
