"""Digests of weights and source code (BLAKE2b), and of files (SHA-256, which users compare with those of `sha256sum`)."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gffusion.models.gffusion.weight_checks import is_quantized
from gffusion.models.gffusion.wrappers import without_wrappers


def digest_weights(module: nn.Module, *settings: str) -> str:
    """Return a digest of the parameters and buffers of a module and of settings as text, 32 hexadecimal digits.

    That of a compiled module, or of one with compiled parts, is the same. 100 million parameters take half a second.

    Examples:
        >>> digest_weights(nn.ReLU()) == digest_weights(nn.ReLU(), "other settings")
        False
    """
    digest = hashlib.blake2b("\0".join(settings).encode(), digest_size=16)
    module = without_wrappers(module)
    values = module.state_dict()
    if any(value.is_meta for value in module.parameters()):
        from accelerate.utils.modeling import get_state_dict_offloaded_model  # here to save start-up time

        values = get_state_dict_offloaded_model(module)
    for name, value in sorted(values.items()):
        digest.update(name.encode())
        for part in value if isinstance(value, tuple) else [value]:  # quantized layers pack weight and bias
            digest.update(_to_bytes(part))
    return digest.hexdigest()


def _to_bytes(value: Any) -> Any:
    """Return the bytes of a value of a state dict. Quantized layers also have types and `None` there."""
    if not isinstance(value, torch.Tensor):
        return repr(value).encode()
    plain = value.dequantize() if is_quantized(value) else value
    return plain.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits, as `sha256sum` prints it.

    Raises:
        OSError: If the file cannot be read.

    Examples:
        >>> len(hash_file(Path(__file__)))
        64
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(paths: Iterable[Path], hash_file: Callable[[Path], str] = hash_file) -> str:
    """Return the SHA-256 of files, as `sha256sum * | LC_ALL=C sort | sha256sum` prints it in their folder.

    `hash_file` returns that of one file. Files can be in several folders.

    Raises:
        OSError: If a file cannot be read.

    Examples:
        >>> hash_files([Path(__file__)]) == hash_file(Path(__file__))  # of the line of `sha256sum`, not of the file
        False
    """
    lines = [os.fsencode(f"{hash_file(path)}  {path.name}\n") for path in dict.fromkeys(paths)]
    return hashlib.sha256(b"".join(sorted(lines))).hexdigest()


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
