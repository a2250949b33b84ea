"""Every public name is in the API reference."""

import importlib
import pkgutil
import re
import typing
from collections.abc import Iterator
from contextlib import suppress
from inspect import isfunction
from pathlib import Path
from typing import Any

import pytest

import gffusion

API = Path(__file__).parents[2] / "docs" / "api"
DOCUMENTED = [
    name
    for page in sorted(API.glob("*.md"))
    for name in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.MULTILINE)
]


def find_packages() -> list[str]:
    """Return the packages, and other modules for users, that declare their public names."""
    packages = [module.name for module in pkgutil.walk_packages(gffusion.__path__, "gffusion.") if module.ispkg]
    return [
        "gffusion",
        "gffusion.metrics.functional",
        *(name for name in packages if hasattr(importlib.import_module(name), "__all__")),
    ]


def find(name: str) -> Any:
    """Return the object with a dotted name."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def test_names_exist_and_are_documented_once() -> None:
    objects = [find(name) for name in DOCUMENTED]
    classes = [thing for thing in objects if callable(thing)]
    assert len({id(thing) for thing in classes}) == len(classes)


@pytest.mark.parametrize("package", find_packages())
def test_public_names_are_documented(package: str) -> None:
    documented = {id(find(name)) for name in DOCUMENTED}
    names = [
        name for name in importlib.import_module(package).__all__ if name != "__version__"
    ]  # in the text of index.md
    missing = [name for name in names if id(find(f"{package}.{name}")) not in documented]
    assert not missing, f"add {missing} of `{package}.__all__` to a page of docs/api, as `::: {package}.{missing[0]}`"


def find_classes(annotation: Any) -> Iterator[type]:
    """Return the classes of gffusion in an annotation."""
    if getattr(annotation, "__module__", "").startswith("gffusion.") and isinstance(annotation, type):
        yield annotation
    for part in typing.get_args(annotation):
        yield from find_classes(part)


def test_classes_in_signatures_are_documented() -> None:
    documented = [thing for thing in map(find, DOCUMENTED) if callable(thing)]
    used: set[type] = set()
    for function in filter(isfunction, documented):
        with suppress(NameError):  # of classes that are imported for type checkers only
            for annotation in typing.get_type_hints(function).values():
                used.update(find_classes(annotation))
    assert used - set(documented) == set()


def test_names_of_the_package_are_listed() -> None:
    listed = set(re.findall(r"`(\w+)`", (API / "index.md").read_text("utf-8")))
    assert set(gffusion.__all__) - listed == set()


def test_examples_are_shown_as_code() -> None:
    """Other headings, such as `Example:`, are admonitions, whose text is Markdown: `>>>` would be nested quotes."""
    files = Path(gffusion.__file__).parent.rglob("*.py")
    wrong = [file.name for file in files if re.search(r"^ *Example:$", file.read_text("utf-8"), re.MULTILINE)]
    assert not wrong, f"head the examples in {wrong} with `Examples:`"
