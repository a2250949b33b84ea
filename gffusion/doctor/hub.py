"""Examine cache, token and settings of the Hugging Face Hub, without a request."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .folders import describe_error, describe_path, find_free_gigabytes, is_writable
from .problems import Problem

_TRUE = ("1", "ON", "YES", "TRUE")


def examine_hub(problems: list[Problem]) -> dict[str, Any]:
    """Return what is set, without secrets; add what is wrong to `problems`."""
    endpoint = os.environ.get("HF_ENDPOINT", "")
    if not _is_address(endpoint):
        what = "the address of the Hub in HF_ENDPOINT is malformed"  # it can hold a password
        problems.append(
            Problem(what, "unset it, or set it to an address such as https://huggingface.co", prevents=True)
        )
        return {}
    try:
        from huggingface_hub import constants, get_token
    except Exception as error:  # a broken installation can raise anything
        what = f"huggingface_hub cannot be imported: {describe_error(error)}"
        problems.append(Problem(what, "pip install --force-reinstall huggingface_hub", prevents=True))
        return {}
    cache = Path(constants.HF_HUB_CACHE)
    can_write = is_writable(cache)
    if not can_write:
        what = f"the cache of the Hub, {describe_path(cache)}, cannot be written"
        problems.append(Problem(what, "change its permissions, or set HF_HOME to a folder that you can write"))
    has_token = None
    try:
        has_token = get_token() is not None  # the token itself is never printed
    except (OSError, UnicodeDecodeError) as error:
        what = f"the token of the Hub cannot be read: {describe_error(error)}"
        problems.append(Problem(what, "set HF_TOKEN_PATH to a file of yours or unset it, and run `hf auth login`"))
    offline = [name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(name, "").upper() in _TRUE]
    return {
        "cache": describe_path(cache),
        "is_writable": can_write,
        "free_gigabytes": find_free_gigabytes(cache),
        "has_token": has_token,
        "endpoint": urlsplit(constants.ENDPOINT).hostname,  # without a user name or password
        "offline_by": offline,
    }


def _is_address(text: str) -> bool:
    """Return whether a text is empty, as if it were not set, or the address of a server."""
    try:
        address = urlsplit(text)
        return not text or (address.scheme in ("http", "https") and bool(address.hostname) and (address.port or 1) > 0)
    except ValueError:
        return False
