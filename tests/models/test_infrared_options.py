"""Options of the mapping of infrared values: errors, combinations and overrides."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.infrared_options import InfraredOptions

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"infrared_range": "minmax"}, '`infrared_range` must be "auto", "type", "percentile", "folder".*minmax'),
    ({"infrared_range": [1, 2, 3]}, "`infrared_range` must be"),
    ({"infrared_range": [5, 5]}, "`infrared_range` must be"),
    ({"infrared_range": ["1", "2"]}, "`infrared_range` must be"),
    ({"infrared_range": [False, True]}, r"`infrared_range` must be .*, got \[False, True\]"),
    ({"infrared_range": np.arange(3)}, r"`infrared_range` must be .*, got \[0, 1, 2\]"),
    ({"invert": "yes"}, "`invert` must be True or False"),
    ({"agc": "auto"}, r"`agc` \(--agc\) must be one of linear, plateau, clahe, got 'auto'"),
    (
        {"agc": "plateau", "plateau_limit": 0},
        r"`plateau_limit` \(--plateau-limit\) must be a finite number greater than",
    ),
    ({"agc": "plateau", "plateau_limit": True}, "--plateau-limit.*got True"),
    ({"agc": "plateau", "plateau_limit": float("inf")}, "--plateau-limit.*finite.*got inf"),
    ({"plateau_limit": 2}, "--plateau-limit.*needs .*--agc plateau"),
    ({"infrared_range": "percentile", "smooth_range": 0.5}, "--smooth-range.*at least 1.*got 0.5"),
    ({"infrared_range": "percentile", "smooth_range": -1}, "--smooth-range.*at least 1.*got -1"),
    ({"infrared_range": "percentile", "smooth_range": float("nan")}, "--smooth-range.*got nan"),
    ({"smooth_range": 5}, "--smooth-range.*--infrared-range percentile.*instead of 'auto'"),
    ({"infrared_range": "folder", "smooth_range": 5}, "--smooth-range.*instead of 'folder'"),
    ({"infrared_range": [1, 2], "smooth_range": 5}, r"--smooth-range.*instead of \[1, 2\]"),
    ({"infrared_range": [255, 0], "invert": True}, r"255,0 inverts already: give 0,255 .*`invert=False`"),
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
        ({"infrared_range": [2, 1]}, *2 * ({"infrared_range": [1, 2], "invert": True},)),
        ({"invert": True}, {"invert": False}, {}),
    ],
)
def test_override(saved: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert InfraredOptions(**saved).override(**given) == InfraredOptions(**expected)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"infrared_range": np.percentile([7.0, 9.0], [0, 100])}, {"infrared_range": [7.0, 9.0]}),
        ({"infrared_range": [np.uint16(9), np.float32(7)]}, {"infrared_range": [9, 7]}),
        ({"infrared_range": (np.int64(7), 9)}, {"infrared_range": [7, 9]}),
        ({"infrared_range": torch.tensor([7, 9])}, {"infrared_range": [7, 9]}),
        ({"agc": "plateau", "plateau_limit": np.float32(2)}, {"agc": "plateau", "plateau_limit": 2}),
        (
            {"infrared_range": "percentile", "smooth_range": np.int64(5)},
            {"infrared_range": "percentile", "smooth_range": 5},
        ),
        ({"invert": np.bool_(True)}, {"invert": True}),
    ],
)
def test_numbers_of_numpy_are_those_of_python(given: dict[str, Any], expected: dict[str, Any]) -> None:
    """As JSON has them, whether they are given at first or as overrides."""
    for options in (InfraredOptions(**given), InfraredOptions().override(**given)):
        assert json.loads(json.dumps(options.to_diff_dict())) == expected
    processor = GFFusionImageProcessor(np.int64(8), **given)
    assert json.loads(processor.to_json_string()).items() >= {"size_divisor": 8, **expected}.items()
