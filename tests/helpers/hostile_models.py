"""Generate model folders with damaged, incomplete or wrong files, by kind of damage."""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from read_back import read_files
from safetensors.torch import load, save

WEIGHTS, CONFIG, PROCESSOR = "model.safetensors", "config.json", "preprocessor_config.json"
INDEX = f"{WEIGHTS}.index.json"
# JSON values of every type, and those that Python reads as numbers but that are none.
VALUES: list[Any] = [None, True, -1, 0, 7, 10**30, 0.5, float("nan"), "", "text", [], [1], ["a"], [[1]], {}, {"a": 1}]
_NO_OBJECTS = ("", "null", "[]", "3", '"text"', "{", '{"a": 1', "[" * 100_000, "\ufeff{}", "{}x", "nul")

Files = dict[str, bytes]


class HostileModel(NamedTuple):
    """Files of a model that must be refused."""

    kind: str
    files: Files

    def write(self, folder: Path) -> Path:
        """Write the files."""
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder


def generate_models(folder: Path) -> Iterator[HostileModel]:
    """Yield variants of the model in a folder, which has one file of weights."""
    files = read_files(folder)
    for kind, changed in (*damage_weights(files[WEIGHTS]), *damage_header(files[WEIGHTS])):
        yield HostileModel(f"weights: {kind}", {**files, WEIGHTS: changed})
    for kind, added in damage_index(files[WEIGHTS]):
        yield HostileModel(f"index: {kind}", {name: files[name] for name in files if name != WEIGHTS} | added)
    for name in (CONFIG, PROCESSOR):
        for text in _NO_OBJECTS:
            yield HostileModel(f"{name}: no object, {text[:10]!r}", {**files, name: text.encode()})
        yield HostileModel(f"{name}: UTF-16", {**files, name: files[CONFIG].decode().encode("utf-16")})
        yield HostileModel(f"{name}: no text", {**files, name: b"\xff\xfe\x00\x80{}"})
    for name in (CONFIG, PROCESSOR):
        content = json.loads(files[name])
        for field in sorted(content):
            for value in VALUES:
                if value != content[field] or isinstance(value, bool):
                    changed = json.dumps({**content, field: value}).encode()
                    yield HostileModel(f"{name}: {field}={str(value)[:12]!r}", {**files, name: changed})


def damage_weights(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield files of weights in which one tensor is missing, new, of another shape or type, or not finite."""
    names = sorted(name for name, value in load(content).items() if value.is_floating_point())
    changes: dict[str, Callable[[torch.Tensor], torch.Tensor | None]] = {
        "missing": lambda value: None,
        "shape": lambda value: torch.cat([value, value]),
        "empty": lambda value: value[:0],
        "flat": lambda value: value[None],
        "integer": lambda value: value.to(torch.int32),
        "boolean": lambda value: value > 0,
        "NaN": lambda value: torch.full_like(value, float("nan")),
        "one infinity": lambda value: (
            value.flatten().index_fill(0, torch.tensor([0]), float("inf")).reshape(value.shape)
        ),
    }
    for kind, change in changes.items():
        for name in (names[0], names[len(names) // 2], names[-1]):
            weights = load(content)
            changed = change(weights.pop(name))
            yield (
                f"{kind} {name}",
                save(weights if changed is None else {**weights, name: changed.contiguous()}, {"format": "pt"}),
            )
    for name in ("extra", "funet.extra.weight", f"module.{names[0]}", "ssnet.classifier.weight_extra"):
        yield f"unexpected {name}", save({**load(content), name: torch.zeros(3)}, {"format": "pt"})
    yield "all missing", save({}, {"format": "pt"})
    yield "renamed", save({f"model.{name}": value for name, value in load(content).items()}, {"format": "pt"})


def damage_header(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield safetensors files whose header is damaged, or does not fit the data."""
    (length,) = struct.unpack_from("<Q", content)
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]

    def packed(header: Any, data: bytes = data) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data

    first = next(name for name in header if name != "__metadata__")
    for kind, entry in {
        "offsets": {**header[first], "data_offsets": [0, 10**12]},
        "negative": {**header[first], "data_offsets": [-4, 0]},
        "huge shape": {**header[first], "shape": [10**9, 10**9]},
        "dtype": {**header[first], "dtype": "Q7"},
        "no entry": None,
        "list": [],
    }.items():
        yield f"header {kind}", packed({**header, first: entry})
    for kind, text in {"list": b"[]", "empty": b"", "text": b"x" * 50, "nested": b"[" * 5000}.items():
        yield f"header {kind} for all", packed(text)
    yield "header length", struct.pack("<Q", 2**62) + content[8:]
    for share in (0, 4, 100, length + 8, len(content) - 5):
        yield f"cut at {share}", content[:share]
    yield "more bytes", content + bytes(9)
    yield "pickle", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00."


def damage_index(content: bytes) -> Iterator[tuple[str, Files]]:
    """Yield weights in two shards whose index is damaged or names other files."""
    weights = load(content)
    names = sorted(weights)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    shards = {file: save({name: weights[name] for name in part}, {"format": "pt"}) for file, part in parts.items()}
    places = {name: file for file, part in parts.items() for name in part}
    for text in (*_NO_OBJECTS, "{}"):
        yield f"no object, {text[:10]!r}", {INDEX: text.encode(), **shards}
    for value in VALUES:
        yield f"weight_map={str(value)[:12]!r}", {INDEX: json.dumps({"weight_map": value}).encode(), **shards}
        wrong = {**places, names[0]: value}
        yield f"file={str(value)[:12]!r}", {INDEX: json.dumps({"weight_map": wrong}).encode(), **shards}
    for file in ("../model-1.safetensors", "/etc/passwd", "model-1.bin", "missing.safetensors", ".."):
        yield f"file {file}", {INDEX: json.dumps({"weight_map": {**places, names[0]: file}}).encode(), **shards}
    fewer = {file: shards[file] for file in list(shards)[:1]}
    yield "missing shard", {INDEX: json.dumps({"weight_map": places}).encode(), **fewer}
    yield (
        "shard not named",
        {INDEX: json.dumps({"weight_map": dict.fromkeys(names[::2], "model-1.safetensors")}).encode(), **shards},
    )
