"""Summaries of notes, whose texts can come from files."""

import pytest

from gffusion.utils.notes import name_in_errors, summarize_notes


@pytest.mark.parametrize("text", ["10 % {boom}", "{} {0", "10-20 %", "1.2.3 % a", "9" * 20000, "1e5 %", "%"])
def test_texts_of_any_content(text: str) -> None:
    notes = [f"counts of {text} (2 %) filled", f"counts of {text} (0.5 %) filled", f"counts of {text} (1e+02 %) filled"]
    assert summarize_notes(notes) == [(f"counts of {text} (0.5 to 1e+02 %) filled", 3)]
    assert summarize_notes([text, text]) == [(text, 2)]


def test_values_of_constant_images_are_one_kind() -> None:
    values = ("29315", "-4", "8.5", "1.5e+04")
    notes = [f"all infrared values are {value}, as behind a closed shutter: nothing" for value in values]
    assert summarize_notes(notes) == [("all infrared values are -4 to 29315, as behind a closed shutter: nothing", 4)]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("the infrared image", "the infrared image is empty"),
        ("The infrared image", "the infrared image is empty"),
        ("the infrared", "the infrared is empty"),
        ("1.png", "1.png: the infrared image is empty"),
        ("the", "the: theme is empty"),
    ],
)
def test_errors_name_a_place_once(where: str, message: str) -> None:
    text = message.removeprefix(f"{where}: ")
    with pytest.raises(ValueError, match="empty") as raised, name_in_errors(where):
        raise ValueError(text)
    assert str(raised.value) == message
