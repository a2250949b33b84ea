"""`gffusion benchmark`: a table, JSON, and sizes that are refused."""

import json
from collections.abc import Callable

import pytest
from outcomes import Outcome


def test_table_and_json(gffusion: Callable[..., Outcome]) -> None:
    words = ("benchmark", "--model", "gffusion-funet", "--size", "48x64", "--repeats", "1")
    table = gffusion(*words)
    assert table.exit_code == 0
    for name in ("read", "prepare", "FuNet", "decode", "restore", "write", "networks", "all"):
        assert f"\n{name} " in table.out
    result = json.loads(gffusion(*words, "--json").out)
    assert result["parameters"] == {"trained": 13489, "frozen": 0}
    assert f"\n13,489 trained and 0 frozen parameters, {result['gflop']:.1f} GFLOP per pair\n" in table.out
    assert result["gflop"] == sum(step["gflop"] or 0 for step in result["steps"].values()) > 0
    assert result["size"] == [48, 64] and result["steps"]["FuNet"]["seconds"] > 0
    assert {"gffusion", "torch"} < result["versions"].keys() and result["rates"]["convolution"] > 0


@pytest.mark.parametrize("size", ["480", "31x64", "64x", "axb", "64x64x64"])
def test_wrong_size(gffusion: Callable[..., Outcome], size: str) -> None:
    outcome = gffusion("benchmark", "--size", size)
    assert outcome.exit_code == 2
    assert "--size must be height and width, at least 32, such as 480x640" in outcome.err


@pytest.mark.parametrize("size", ["99999x99999", "2048x4096"])
def test_size_that_is_fused_in_tiles(gffusion: Callable[..., Outcome], size: str) -> None:
    outcome = gffusion("benchmark", "--size", size, "--model", "gffusion-funet")
    assert f"A pair of {size} is fused in tiles" in outcome.err
    assert outcome.exit_code == 2
