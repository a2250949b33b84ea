"""Digests of weights, files and source code."""

import hashlib
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path

import torch
from torch import nn


def digest_weights(module: nn.Module, *settings: str) -> str:
    """Return a digest of the parameters and buffers of a module and of settings as text, 32 hexadecimal digits.

    That of a compiled module is the same. 100 million parameters take half a second.

    Examples:
        >>> digest_weights(nn.ReLU()) == digest_weights(nn.ReLU(), "other settings")
        False
    """
    digest = hashlib.blake2b("\0".join(settings).encode(), digest_size=16)
    module = getattr(module, "_orig_mod", module)
    values = module.state_dict()
    if any(value.is_meta for value in module.parameters()):
        from accelerate.utils.modeling import get_state_dict_offloaded_model  # here to save start-up time

        values = get_state_dict_offloaded_model(module)
    for name, value in sorted(values.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def digest_file(path: Path) -> str:
    """Return a digest of the content of a file, 32 hexadecimal digits.

    Raises:
        OSError: If the file cannot be read.

    Examples:
        >>> len(digest_file(Path(__file__)))
        32
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def digest_sources(folder: Traversable) -> str:
    """Return a digest of the names and contents of all Python files in a folder, 32 hexadecimal digits.

    Examples:
        >>> len(digest_sources(Path(__file__).parent))
        32
    """
    digest = hashlib.blake2b(digest_size=16)
    for path, content in sorted(_read_sources(folder, "")):
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _read_sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read_sources(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".py"):
            yield prefix + entry.name, entry.read_bytes()
