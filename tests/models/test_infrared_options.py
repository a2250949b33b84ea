"""Options of the mapping of infrared values: errors, combinations and overrides."""

from typing import Any

import pytest

from gffusion.models.gffusion.infrared_options import InfraredOptions

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"infrared_range": "minmax"}, '`infrared_range` must be "auto", "type", "percentile", "folder".*minmax'),
    ({"infrared_range": [1, 2, 3]}, "`infrared_range` must be"),
    ({"infrared_range": [5, 5]}, "`infrared_range` must be"),
    ({"infrared_range": ["1", "2"]}, "`infrared_range` must be"),
    ({"invert": "yes"}, "`invert` must be True or False"),
    ({"agc": "auto"}, r"`agc` \(--agc\) must be one of linear, plateau, clahe, got 'auto'"),
    (
        {"agc": "plateau", "plateau_limit": 0},
        r"`plateau_limit` \(--plateau-limit\) must be a finite number greater than 0",
    ),
    ({"agc": "plateau", "plateau_limit": float("inf")}, "--plateau-limit.*finite.*got inf"),
    ({"plateau_limit": 2}, "--plateau-limit.*needs .*--agc plateau"),
    ({"infrared_range": "percentile", "smooth_range": 0.5}, "--smooth-range.*at least 1.*got 0.5"),
    ({"infrared_range": "percentile", "smooth_range": -1}, "--smooth-range.*at least 1.*got -1"),
    ({"infrared_range": "percentile", "smooth_range": float("nan")}, "--smooth-range.*got nan"),
    ({"smooth_range": 5}, "--smooth-range.*--infrared-range percentile.*instead of 'auto'"),
    ({"infrared_range": "folder", "smooth_range": 5}, "--smooth-range.*instead of 'folder'"),
    ({"infrared_range": [1, 2], "smooth_range": 5}, r"--smooth-range.*instead of \[1, 2\]"),
    ({"infrared_range": [255, 0], "invert": True}, r"255,0 inverts already: give 0,255 .*--no-invert"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InfraredOptions(**options)


@pytest.mark.parametrize(
    ("saved", "given", "expected"),
    [
        ({"infrared_range": [1, 2]}, {"agc": "clahe", "invert": None}, {"infrared_range": [1, 2], "agc": "clahe"}),
        ({"agc": "plateau", "plateau_limit": 2}, {"agc": "linear"}, {}),
        ({"agc": "plateau", "plateau_limit": 2}, {"agc": "plateau"}, {"agc": "plateau", "plateau_limit": 2}),
        ({"infrared_range": "percentile", "smooth_range": 9}, {"infrared_range": "auto"}, {}),
        ({"infrared_range": "percentile", "smooth_range": 9}, {"smooth_range": 0}, {"infrared_range": "percentile"}),
        (
            {"infrared_range": [2, 1]},
            {"infrared_range": [1, 2], "invert": True},
            {"infrared_range": [1, 2], "invert": True},
        ),
        ({"invert": True}, {"invert": False}, {}),
    ],
)
def test_override(saved: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert InfraredOptions(**saved).override(**given) == InfraredOptions(**expected)
