"""Digests differ if anything differs that they stand for."""

from pathlib import Path

import pytest
import torch
from torch import nn

from gffusion.zoo.digest import digest_sources, digest_weights


def test_weights_and_their_names() -> None:
    first, second = nn.Linear(2, 3), nn.Linear(2, 3)
    modules = [nn.ModuleDict(parts) for parts in ({"a": first, "b": second}, {"a": second, "b": first})]
    modules.append(nn.ModuleDict({"a": first, "c": second}))
    assert len({digest_weights(module) for module in modules}) == 3
    compiled: nn.Module = torch.compile(modules[0])  # type: ignore[assignment]
    assert digest_weights(compiled) == digest_weights(modules[0])
    parts = {name: torch.compile(part) for name, part in modules[0].items()}
    assert digest_weights(nn.ModuleDict(parts)) == digest_weights(modules[0])  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantized_weights() -> None:
    module = nn.Sequential(nn.Linear(2, 3))
    changed = nn.Sequential(nn.Linear(2, 3))
    digests = [
        digest_weights(torch.ao.quantization.quantize_dynamic(part, {nn.Linear})) for part in (module, module, changed)
    ]
    assert digests[0] == digests[1] != digests[2]
    assert digests[0] != digest_weights(module)


def test_sources_in_other_folders(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.py").write_text("pass")
    before = digest_sources(tmp_path)
    (tmp_path / "a" / "x.txt").touch()
    assert digest_sources(tmp_path) == before
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest_sources(tmp_path) != before
