"""Infrared ranges as text."""

import pytest

from gffusion.data.infrared_range import parse_infrared_range


@pytest.mark.parametrize("text", ["-5,7.5", "-5 7.5", "-5, 7.5", ["-5", "7.5"], ["-5,7.5"]])
def test_numbers(text: str | list[str]) -> None:
    assert parse_infrared_range(text) == [-5.0, 7.5]


@pytest.mark.parametrize("name", ["type", "percentile", "folder", "dtype"])
def test_names(name: str) -> None:
    assert parse_infrared_range(name) == parse_infrared_range([name]) == name.removeprefix("d")


@pytest.mark.parametrize("text", ["", "celsius", "1", "1,2,3", "1,1", "0,inf", "nan,1", "dtype,percentile"])
def test_errors_name_the_option(text: str) -> None:
    with pytest.raises(ValueError, match=f"^--range .*got '{text}'"):
        parse_infrared_range(text, "--range")
