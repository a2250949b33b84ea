"""Packages of extras: what is missing, left over or too old is named before it is imported."""

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from gffusion.utils import extras
from gffusion.utils.extras import check_extra, find_version


@pytest.mark.parametrize("content", [None, "libonnxruntime_providers_cuda.so"])
def test_folder_without_code_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    """A folder of the user in the current one, or what remains of onnxruntime-gpu after `pip uninstall onnxruntime`."""
    (folder := tmp_path / "gffusion_extra_package").mkdir()
    if content:
        (folder / content).touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r'files need gffusion_extra_package: pip install "gffusion\[onnx\]"'):
        check_extra("onnx", "files need {}", "gffusion_extra_package")
    (folder / "__init__.py").touch()
    check_extra("onnx", "files need {}", "gffusion_extra_package")


@pytest.mark.parametrize(
    ("version", "is_refused"),
    [
        ("17.0.0", True),
        ("17.1rc1", True),
        ("18.0.0", False),
        ("19.0.0rc1", False),
        ("20.1+local", False),
        (None, False),
    ],
)
def test_older_versions_than_an_extra_needs(
    monkeypatch: pytest.MonkeyPatch, version: str | None, is_refused: bool
) -> None:
    """Builds of one's own may have no metadata."""
    monkeypatch.setitem(sys.modules, "av", extras)  # a module with a file
    monkeypatch.setattr(extras, "find_version", lambda name: version)
    check_extra("video", "videos need {}", "av")
    if is_refused:
        with pytest.raises(ImportError, match=rf'videos need av >=18, but {version} is installed: pip install "gff'):
            check_extra("video", "videos need {}", "av", is_version_needed=True)
    else:
        check_extra("video", "videos need {}", "av", is_version_needed=True)


def test_other_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"onnxruntime-gpu": "1.31.1"}

    def find(name: str) -> str:
        if name in versions:
            return versions[name]
        raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "version", find)
    assert (find_version("onnxruntime"), find_version("av")) == ("1.31.1", None)
    versions["onnxruntime"] = "1.32.0"
    assert find_version("onnxruntime") == "1.32.0"
