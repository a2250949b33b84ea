"""Converted ADE20K heads of DINOv2 against batch normalization and convolution, and rejected files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pickle_trap import PickleTrap
from safetensors import safe_open
from torch import nn

from gffusion.conversion.ade20k import ADE20K_CLASSES, convert_ade20k_head

PublishedHead = Callable[[int], tuple[Path, nn.Sequential]]


@pytest.mark.parametrize(("inputs", "layers"), [(768, "1"), (4 * 768, "4")])
def test_equals_the_published_head_in_evaluation_mode(
    published_head: PublishedHead, tmp_path: Path, inputs: int, layers: str
) -> None:
    source, network = published_head(inputs)
    convert_ade20k_head(source, tmp_path / "head.safetensors")
    with safe_open(tmp_path / "head.safetensors", framework="pt") as file:
        weight, bias, metadata = file.get_tensor("weight"), file.get_tensor("bias"), file.metadata()
    tokens = 3 * torch.randn(2, inputs, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = torch.einsum("bdhw,cd->bchw", tokens, weight.double()) + bias.double()[:, None, None]
    expected = network(tokens).detach()
    assert (logits - expected).abs().max() < 1e-6 * expected.abs().max()  # rounding to float32
    assert (weight.dtype, bias.dtype) == (torch.float32, torch.float32)
    assert (metadata["layers"], metadata["source"]) == (layers, source.name)
    assert tuple(json.loads(metadata["classes"])) == ADE20K_CLASSES


def test_classes_are_those_of_the_benchmark() -> None:
    """Well-known numbers, from 1, of objectInfo150.txt."""
    assert len(set(ADE20K_CLASSES)) == 150
    numbers = {name.split(",")[0]: number for number, name in enumerate(ADE20K_CLASSES, 1)}
    known = {
        "wall": 1,
        "sky": 3,
        "person": 13,
        "car": 21,
        "bus": 81,
        "truck": 84,
        "minibike": 117,
        "bicycle": 128,
        "flag": 150,
    }
    assert {name: numbers[name] for name in known} == known


def test_state_dict_with_a_backbone(published_head: PublishedHead, tmp_path: Path) -> None:
    source, _ = published_head(8)
    convert_ade20k_head(source, tmp_path / "expected", hidden_size=8)
    state = torch.load(source)["state_dict"] | {"backbone.norm.weight": torch.ones(8)}
    torch.save(state, source)
    convert_ade20k_head(source, tmp_path / "head", hidden_size=8)
    contents = []
    for name in ("expected", "head"):
        with safe_open(tmp_path / name, framework="pt") as file:
            contents.append([file.get_tensor("weight"), file.get_tensor("bias")])
    torch.testing.assert_close(*contents, rtol=0, atol=0)


class TestErrors:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"decode_head.bn.running_mean": None}, r"missing \['bn.running_mean'\], unexpected \[\]"),
            ({"decode_head.conv_seg.weight": None, "decode_head.bn.bias": None}, "missing .*bn.bias.*conv_seg.weight"),
            ({"decode_head.convs.0.conv.weight": torch.ones(1)}, "unexpected .*convs.0.conv.weight"),
            ({"decode_head.conv_seg.bias": "none"}, "missing .*conv_seg.bias"),
            ({"decode_head.conv_seg.weight": torch.ones(21, 8, 1, 1)}, r"\(21, 8, 1, 1\), expected \(150, 8, 1, 1\)"),
            ({"decode_head.conv_seg.weight": torch.ones(150, 8, 3, 3)}, r"\(150, 8, 3, 3\), expected \(150, 8, 1, 1\)"),
            ({"decode_head.bn.weight": torch.ones(4)}, r"bn.bias has shape \(8,\), expected \(4,\)"),
            ({"decode_head.bn.running_var": -torch.ones(8)}, "not finite"),
        ],
    )
    def test_other_heads(
        self, published_head: PublishedHead, tmp_path: Path, changes: dict[str, Any], message: str
    ) -> None:
        source, _ = published_head(8)
        state = torch.load(source)["state_dict"] | changes
        torch.save({"state_dict": {key: value for key, value in state.items() if value is not None}}, source)
        self.assert_rejected(source, message, hidden_size=8)

    def test_width(self, published_head: PublishedHead) -> None:
        self.assert_rejected(
            published_head(1536)[0], "1536 inputs, but hidden_size=768 allows 768 or 3072", hidden_size=768
        )

    def test_files_that_run_code(self, tmp_path: Path) -> None:
        torch.save({"state_dict": PickleTrap(tmp_path / "executed")}, tmp_path / "head.pth")
        self.assert_rejected(tmp_path / "head.pth", "would run code")
        assert not (tmp_path / "executed").exists()

    @pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04 and then nothing"])
    def test_damaged_files(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "head.pth").write_bytes(content)
        self.assert_rejected(tmp_path / "head.pth", "damaged")

    def test_something_else(self, tmp_path: Path) -> None:
        torch.save(torch.ones(3), tmp_path / "head.pth")
        self.assert_rejected(tmp_path / "head.pth", "Tensor instead of a state dict")

    def test_missing_files_and_folders(self, published_head: PublishedHead, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
            convert_ade20k_head(tmp_path / "absent.pth", tmp_path / "head.safetensors")
        with pytest.raises(FileNotFoundError, match="absent"):
            convert_ade20k_head(published_head(768)[0], tmp_path / "absent" / "head.safetensors")

    @staticmethod
    def assert_rejected(source: Path, message: str, **arguments: int) -> None:
        """An existing target is left unchanged, and no other file is left beside it."""
        target = source.parent / "target" / "head.safetensors"
        target.parent.mkdir()
        target.write_text("older")
        with pytest.raises(ValueError, match=message):
            convert_ade20k_head(source, target, **arguments)
        assert [path.read_text() for path in target.parent.iterdir()] == ["older"]
