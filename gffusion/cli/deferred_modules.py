"""Modules that run when one of their attributes is first used, or never."""

import importlib
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


class Location:
    """Where an attribute of a deferred module is found: in another module, which is imported when the attribute is used."""

    def __init__(self, module: str, name: str | None = None) -> None:
        self.module, self.name = module, name

    def find(self) -> Any:
        """Return the attribute, or the module if there is no name."""
        module = importlib.import_module(self.module)
        run_module(module)
        return module if self.name is None else getattr(module, self.name)


class _Stand(type):
    """Lazy proxy of a function or class."""

    location: Location

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.location.find()(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(cls.location.find(), name)

    def __instancecheck__(cls, instance: Any) -> bool:
        could_be = any(base.__name__ == cls.__name__ for base in type(instance).__mro__)  # saves the import
        return could_be and isinstance(instance, cls.location.find())


def stand_for(module: str, names: str) -> dict[str, "_Stand"]:
    """Return stand-ins for functions and classes of a module.

    Examples:
        >>> stand_for("fractions", "Fraction")["Fraction"](1, 2)
        Fraction(1, 2)
    """
    return {name: _Stand(name, (), {"location": Location(module, name)}) for name in names.split()}


class DeferredModule(ModuleType):
    """A module that is found but has not run. Its submodules can be imported; it runs if an attribute is missing."""

    def __getattr__(self, name: str) -> Any:
        # Names such as __wrapped__, for which programs look through all modules, are no reason to run one.
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        location = vars(self).get("_locations", {}).get(name)
        if location is not None:
            return location.find()
        run_module(self)
        module = sys.modules.get(self.__name__, self)  # some modules replace themselves
        return super().__getattribute__(name) if module is self else getattr(module, name)


_LOCK = threading.RLock()
_running: set[str] = set()  # packages with a deferred module that has run
_open: list["_Finder"] = []  # in whose context the program is


def run_module(module: ModuleType) -> None:
    """Run a module that was deferred and has not run yet, after the packages that it is in, as if it was imported now."""
    with _LOCK:
        if "_deferred_loader" not in vars(module):
            return
        _running.add(module.__name__.partition(".")[0])
        if (package := module.__name__.rpartition(".")[0]) in sys.modules:
            run_module(sys.modules[package])
        loader = vars(module).pop("_deferred_loader", None)
        if loader is not None:
            loader.exec_module(module)


@contextmanager
def defer_modules(attributes: Mapping[str, Mapping[str, Any]]) -> Iterator[None]:
    """Defer modules, by name, that are imported in this context. They have some attributes, or their locations.

    Examples:
        >>> with defer_modules({"wave": {"five": 5}}):
        ...     import wave
        >>> wave.five, wave.WAVE_FORMAT_PCM
        (5, 1)
    """
    finder = _Finder(attributes)
    sys.meta_path.insert(0, finder)
    _open.append(finder)
    try:
        yield
    finally:
        _open.remove(finder)


class _Finder(MetaPathFinder):
    """Find deferred modules in its context. Outside of all contexts, run the deferred packages of modules that are imported."""

    def __init__(self, attributes: Mapping[str, Mapping[str, Any]]) -> None:
        self.attributes = attributes

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        package, top = fullname.rpartition(".")[0], fullname.partition(".")[0]
        if package in self.attributes and package in sys.modules and (not _open or top in _running):
            run_module(sys.modules[package])
        if fullname not in self.attributes or self not in _open or top in _running:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self.attributes[fullname])
        return spec


class _Loader(Loader):
    def __init__(self, loader: Any, attributes: Mapping[str, Any]) -> None:
        self.loader = loader
        self.locations = {name: value for name, value in attributes.items() if isinstance(value, Location)}
        self.values = {name: value for name, value in attributes.items() if name not in self.locations}

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return DeferredModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(self.values, _locations=self.locations, _deferred_loader=self.loader)
