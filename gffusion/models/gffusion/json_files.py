"""Read JSON files, with errors that name the file."""

import contextlib
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

MAX_JSON_BYTES = 1 << 22  # larger files are rejected before they are read


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file that holds a JSON object; raise OSError if it cannot be read, or holds something else."""
    if (size := os.path.getsize(path)) > MAX_JSON_BYTES:
        raise OSError(f"{os.fspath(path)} has {size:,} bytes, more than {MAX_JSON_BYTES:,}")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise OSError(f"{os.fspath(path)} is damaged: it is not JSON ({error})") from error
    except RecursionError as error:
        raise OSError(f"{os.fspath(path)} is damaged: it is nested too deep") from error
    if not isinstance(content, dict):
        raise OSError(f"{os.fspath(path)} must hold a JSON object, got {describe_type(content)}")
    return content


def describe_type(value: Any) -> str:
    """Return the type of a JSON value in words, with the value if it is short."""
    kinds = {dict: "an object", list: "a list", str: "the text", bool: "the boolean", type(None): "null"}
    kind = kinds.get(type(value), "the number")
    return kind if isinstance(value, dict | list | None) else f"{kind} {str(value)[:40]!r}"


@contextlib.contextmanager
def name_file_in_errors(file: str, given: Collection[str] = ()) -> Iterator[None]:
    """Turn errors about the content of a JSON file into a ValueError of one line that names it.

    Errors that name a field in `given`, which the caller overrides, are not about the file.
    """
    try:
        yield
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError, OverflowError) as error:
        text = " ".join(str(error).split())
        text = text if len(text) <= 500 else f"{text[:350]} ... {text[-100:]}"  # the middle can repeat whole lists
        if isinstance(error, ValueError) and (file in text or any(name in text for name in given)):
            raise ValueError(text) from error
        cause = text if isinstance(error, ValueError) else f"a field has a wrong type ({text})"
        if isinstance(error, RecursionError):
            cause = "it is nested too deep"
        raise ValueError(f"{file}: {cause}") from error
