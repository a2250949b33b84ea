"""Choices of an export, and checks that need no torch."""

import os
from pathlib import Path
from typing import Any

from gffusion.utils.extras import check_extra, find_version

SUFFIXES = (".onnx", ".pt2")
DTYPES = ("fp32", "fp16", "int8")
_PACKAGES = {"export": ("onnx", "onnxscript", "onnxruntime"), "run": ("onnxruntime",)}


def is_onnx(model: str | os.PathLike[str]) -> bool:
    """Return whether a model is named as an .onnx file.

    Examples:
        >>> is_onnx("model.ONNX"), is_onnx("gffusion-tiny")
        (True, False)
    """
    return os.fspath(model).lower().endswith(".onnx")


def check_file(path: str | os.PathLike[str]) -> None:
    """Check that an exported file exists, and that its packages are installed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a package is missing.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist: write it with `gffusion export`")
    try:
        check_packages("run")
    except ImportError as error:
        raise ValueError(str(error)) from None


def check_packages(purpose: str) -> None:
    """Raise ImportError if a package is missing; `purpose` is "export" or "run".

    Examples:
        >>> check_packages("export")  # doctest: +SKIP
    """
    check_extra("onnx", "ONNX files need {}", *_PACKAGES[purpose])


def load_onnxruntime() -> Any:
    """Import ONNX Runtime without its telemetry, which releases since 1.29 would begin with the import.

    A variable `ORT_DISABLE_TELEMETRY` of the user stays as it is.

    Raises:
        ImportError: If it is missing or damaged, or was built for other versions of Python or NumPy.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime  # an extra
    except ImportError as error:
        found = find_version("onnxruntime") or "of unknown version"
        raise ImportError(f"onnxruntime {found} cannot be imported ({error}): install another version") from error
    return onnxruntime


def check_export(output: Path, dtype: str, overwrite: bool = False) -> None:
    """Raise an error if a file cannot be written, or not with this precision, before anything is loaded.

    Raises:
        ValueError: If suffix or dtype are unknown or do not fit together, or the file exists.
        OSError: If the folder does not exist, or the output is one.
        ImportError: If a package for ONNX files is missing.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--output must be one of {', '.join(SUFFIXES)}, got {output}")
    if dtype not in DTYPES:
        raise ValueError(f"--dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    if dtype == "int8" and output.suffix.lower() != ".onnx":
        raise ValueError(f"--dtype int8 needs an .onnx file, got {output}: ONNX Runtime quantizes the weights")
    if output.is_dir():
        raise IsADirectoryError(f"{output} is a folder: --output must be a file")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"the folder {output.parent} does not exist")
    if output.exists() and not overwrite:
        raise ValueError(f"{output} exists: choose another file, or pass --overwrite")
    if output.suffix.lower() == ".onnx":
        check_packages("export")
