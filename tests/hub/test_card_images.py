"""Images that a model card shows: all that are there, in a time that grows with the length of the card."""

import time
from pathlib import Path

import pytest

from gffusion.hub.card_images import find_mentioned_images, find_shown_images


@pytest.mark.parametrize(
    ("card", "is_shown"),
    [("<img src=c.jpg>", True), ('<IMG alt="x" SRC = "./c.jpg">', True), ("![a](<c.jpg>)", True), ("see c.jpg", False)],
)
def test_shown_images_are_found_in_the_folder(card: str, is_shown: bool, tmp_path: Path) -> None:
    assert find_shown_images(card) == ["c.jpg"] * is_shown
    assert find_mentioned_images(card, tmp_path) == []
    (tmp_path / "c.jpg").touch()
    assert find_mentioned_images(card, tmp_path) == ["c.jpg"]


@pytest.mark.parametrize(
    ("link", "shown"),
    [
        ("../c.jpg", []),
        ("%2e%2e/c.jpg", []),
        ("/etc/c.jpg", []),
        ("https://example.org/c.jpg", []),
        ("a%20b.jpg", ["a b.jpg"]),
    ],
)
def test_only_images_beside_the_card(link: str, shown: list[str]) -> None:
    assert find_shown_images(f"![]({link})") == shown


@pytest.mark.parametrize("part", ["<img ", "![", "![](", "<img src ", "![]( ", "<img\t\t"])
def test_hostile_cards_take_no_minutes(part: str) -> None:
    """They would in time quadratic in their length, of which this is far from."""
    start = time.process_time()
    find_shown_images(part * (200_000 // len(part)))
    assert time.process_time() - start < 10
