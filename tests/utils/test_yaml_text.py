"""Test YAML of strangers: values, errors, and texts that would cost much."""

import time
from pathlib import Path

import pytest

from gffusion.utils.yaml_text import load_yaml, read_front_matter


@pytest.mark.parametrize(
    ("text", "value"),
    [("0x1F", 31), ("1_000", 1000), ("0.5", 0.5), ("1e3", "1e3"), ("1:30:00", "1:30:00"), ("!!float 1:30.5", "1:30.5")],
)
def test_numbers(text: str, value: object) -> None:
    assert load_yaml(f"x: {text}") == {"x": value}


@pytest.mark.parametrize(
    "text",
    [
        "!!int ''",
        "!!float ''",
        "!!bool x",
        "!!timestamp x",
        "!!python/name:os.system",
        "2020-99-99",
        "[",
        "[" * 100_000,
    ],
)
def test_errors_are_value_errors(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        load_yaml(f"x: {text}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1" + ":1" * 500_000, ""),
        ("1" + ":1" * 500_000 + ".5", ""),
        ("9" * 1_000_000, "a number has 1,000,000 characters"),
        ("0x" + "f" * 1_000_000, "a number has 1,000,002 characters"),
        ("[" + "1," * 500_000 + "]", "more than 30,000 keys and values"),
        ("&a [" + "*a," * 300_000 + "]", "more than 30,000 keys and values"),
        ("a" * (1 << 21), "2,097,155 characters, at most 1,048,576"),
    ],
    ids=lambda text: text[:20],
)
def test_texts_that_would_cost_much(text: str, message: str) -> None:
    started = time.process_time()
    if message:
        with pytest.raises(ValueError, match=message):
            load_yaml(f"x: {text}")
    else:
        assert load_yaml(f"x: {text}") == {"x": text}
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("card", "metadata"),
    [
        ("---\r\nlicense: mit\r\n---\r\ntext", {"license": "mit"}),
        ("\ufeff\n---\nlicense: mit\n---", {"license": "mit"}),
        ("---\n---\ntext", {}),
        ("text\n---\nlicense: mit\n---\n", {}),
    ],
)
def test_front_matter(tmp_path: Path, card: str, metadata: dict[str, str]) -> None:
    (tmp_path / "README.md").write_bytes(card.encode())
    assert read_front_matter(tmp_path / "README.md") == metadata
