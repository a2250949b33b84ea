"""Names of packages that are loaded on first use."""

import importlib
import sys

import pytest

from gffusion.utils.lazy_names import load_on_use

PACKAGES = [f"gffusion{name}" for name in ("", ".data", ".evaluation", ".hub", ".metrics", ".training", ".zoo")]


@pytest.mark.parametrize("package", PACKAGES)
def test_all_public_names_are_listed_and_found(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))
    assert all(getattr(module, name) is not None for name in dir(module))
    assert [name for name in dir(module) if name.startswith("_")] == ["__version__"] * (package == "gffusion")
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Nothing'"):
        _ = module.Nothing


def test_modules_are_imported_on_use(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "lazy_package"
    folder.mkdir()
    (folder / "__init__.py").write_text('__all__ = ["number"]\n')
    (folder / "module.py").write_text("number = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("lazy_package")
    monkeypatch.setitem(sys.modules, "lazy_package", module)
    vars(module)["__getattr__"], vars(module)["__dir__"] = load_on_use("lazy_package", {"number": "module"})
    assert dir(module) == ["number"]
    assert "lazy_package.module" not in sys.modules
    assert module.number == 3
    assert dir(module) == ["module", "number"]
