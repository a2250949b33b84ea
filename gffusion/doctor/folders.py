"""Examine whether files can be written, and whether the bundled weights are complete."""

import contextlib
import json
import re
import shutil
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from .problems import Problem

_LITTLE_SPACE = 0.5  # gigabytes
_ADVICE = "install gffusion again: pip install --force-reinstall --no-deps gffusion"
_ADVICE_IN_CLONE = "restore the files of the clone: git checkout gffusion/zoo/weights"


def examine_folders(problems: list[Problem]) -> dict[str, Any]:
    """Return whether the folder for temporary files and the current one can be written; add what is wrong to `problems`."""
    try:
        temporary = Path(tempfile.gettempdir())
    except FileNotFoundError:
        problems.append(Problem("no folder for temporary files can be written", "set TMPDIR to one that you can", True))
        return {}
    current = find_current()
    if current is None:
        problems.append(Problem("the current folder was deleted", "change to another folder", prevents=True))
    found: dict[str, Any] = {}
    for name, folder in (("current", current), ("temporary", temporary)):
        if folder is None:
            continue
        path, can_write, free = describe_path(folder), is_writable(folder), find_free_gigabytes(folder)
        if name == "current" and not can_write:
            what = f"the current folder, {path}, cannot be written"
            problems.append(Problem(what, "change to another folder, or write outputs elsewhere by -o"))
        if free is not None and free < _LITTLE_SPACE:
            problems.append(Problem(f"{path} has {free:.1f} GB of free space", f"free some space ({name} folder)"))
        found[name] = {"path": path, "is_writable": can_write, "free_gigabytes": free}
    return found


def examine_weights(problems: list[Problem]) -> dict[str, Any]:
    """Return the bundled models; add a problem for each without weights, and each damaged file."""
    try:
        from safetensors import SafetensorError, safe_open

        from gffusion.zoo.registry import list_models, locate
    except ImportError:  # reported with the packages
        return {}
    advice = _ADVICE_IN_CLONE if find_clone() else _ADVICE
    models = list_models(status="bundled")
    for name in models:
        folder = Path(locate(name))
        weights = list(folder.glob("*.safetensors"))
        if not (folder / "config.json").is_file() or not weights:
            problems.append(Problem(f"the weights of {name} are not in {describe_path(folder)}", advice, True))
        for path in [*folder.glob("*.json"), *weights]:
            try:
                if path.suffix == ".json":
                    json.loads(path.read_text(encoding="utf-8"))
                else:
                    with safe_open(path, framework="numpy"):  # compares its header with its size
                        pass
            except (OSError, ValueError, SafetensorError) as error:
                what = f"{describe_path(path)} of {name} is damaged: {describe_error(error)}"
                problems.append(Problem(what, advice, True))
    return {"bundled_models": models}


def is_writable(folder: Path) -> bool:
    """Return whether a file can be written to a folder, or to the nearest existing folder above it.

    Examples:
        >>> is_writable(Path(tempfile.gettempdir(), "new", "folder"))
        True
    """
    folder = _find_existing(folder)
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def find_free_gigabytes(folder: Path) -> float | None:
    """Return the free space of the disk of a folder, or `None` if it is unknown."""
    try:
        return round(shutil.disk_usage(_find_existing(folder)).free / 1e9, 1)
    except OSError:
        return None


def find_current() -> Path | None:
    """Return the current folder, or `None` if it was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def find_clone() -> Path | None:
    """Return the folder of the clone that gffusion is installed from (`pip install -e .`), or `None`."""
    # In the folder of a clone, the metadata of its last build is found as well, and first.
    for installed in distributions(name="gffusion"):
        with contextlib.suppress(ValueError):
            origin = json.loads(installed.read_text("direct_url.json") or "{}")
            if origin.get("dir_info", {}).get("editable", False):
                return Path(url2pathname(urlsplit(origin["url"]).path))
    return None


def describe_path(path: Path) -> str:
    """Return a path with `~` for the home folder, so that reports do not name the user.

    Examples:
        >>> describe_path(Path.home() / "cache") == str(Path("~", "cache"))
        True
    """
    return _hide_home(str(path))


def describe_error(error: Exception) -> str:
    """Return the message of an error in one line, with `~` for the home folder.

    Examples:
        >>> describe_error(OSError(f"cannot read {Path.home()}"))
        'cannot read ~'
    """
    return _hide_home(" ".join(str(error).split()))


def _hide_home(text: str) -> str:
    """Replace the home folder by `~`, and the folder that it links to, which resolved paths have."""
    try:
        home = Path.home()
    except RuntimeError:
        return text
    for folder in {home, home.resolve()}:
        if folder != folder.parent:
            text = re.sub(rf"(?<![\w.-]){re.escape(str(folder))}(?![\w.-])", "~", text)
    return text


def _find_existing(folder: Path) -> Path:
    return next((path for path in (folder, *folder.parents) if path.is_dir()), Path())
