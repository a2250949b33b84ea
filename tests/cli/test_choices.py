"""Options with a fixed set of values: the help names all that the code accepts."""

import re
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import get_args

import pytest

from gffusion.cameras import Align, Reference
from gffusion.cameras.orientation import TURNS
from gffusion.cameras.refinement import Transform
from gffusion.cli import choices, read_options
from gffusion.cli.fuse_settings import BACKENDS
from gffusion.data import IMAGE_SUFFIXES, LAYOUTS
from gffusion.data.reading import Truncated
from gffusion.evaluation.baselines import BASELINES
from gffusion.export.requirements import DTYPES
from gffusion.labeling.options import FALLBACKS, METHODS, SOURCES
from gffusion.metrics import PROTOCOLS, list_metrics
from gffusion.models.gffusion.infrared_options import AGCS, NAMED_RANGES
from gffusion.zoo.registry import Status

ALIGNMENTS = get_args(get_args(Align)[0])
SHARED = {"--agc": AGCS, "--truncated": get_args(Truncated), "--align": (*ALIGNMENTS, "RIG.json")}
IN_FRAME = {**SHARED, "--reference": get_args(Reference)}


@pytest.mark.parametrize(
    ("module", "name", "original"),
    [
        (choices, "IMAGE_SUFFIXES", IMAGE_SUFFIXES),
        (choices, "LAYOUTS", LAYOUTS),
        (choices, "METRICS", list_metrics()),
        (choices, "PROTOCOLS", PROTOCOLS),
        (choices, "REFERENCES", get_args(Reference)),
        (choices, "STATUSES", get_args(Status)),
        (choices, "TURNS", TURNS),
        (read_options, "TRUNCATED", get_args(Truncated)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_copies_are_complete(module: ModuleType, name: str, original: Iterable[object]) -> None:
    assert [*getattr(module, name)] == [*original], f"set {name} in {module.__file__} to {tuple(original)}"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("fuse", {**IN_FRAME, "--backend": BACKENDS, "--dtype": ("float32", "bfloat16", "float16"), "--suffix": IMAGE_SUFFIXES}),
        ("align", {"--transform": get_args(Transform), "--infrared-turn": TURNS, "--truncated": get_args(Truncated)}),
        ("masks", {**SHARED, "--method": METHODS, "--source": SOURCES, "--layout": LAYOUTS, "--fallback": FALLBACKS}),
        ("evaluate", {**IN_FRAME, "--protocol": PROTOCOLS}),
        ("show", IN_FRAME),
        ("export", {**SHARED, "--dtype": DTYPES}),
        ("models", {"--status": get_args(Status)}),
    ],
)  # fmt: skip
def test_help_shows_the_values_of_options(
    gffusion: Callable, command: str, expected: dict[str, Iterable[object]]
) -> None:
    shown = dict(re.findall(r"^  (--[\w-]+) \{(.+)\}", gffusion(command, "--help").out, re.MULTILINE))
    assert shown == {option: ",".join(map(str, values)) for option, values in expected.items()}


@pytest.mark.parametrize(
    ("command", "option", "expected"),
    [
        *((command, "--infrared-range", NAMED_RANGES) for command in ("fuse", "masks", "evaluate", "show", "export")),
        ("evaluate", "--metrics", list_metrics()),
        ("evaluate", "--baselines", BASELINES),
        ("train", "--layout", LAYOUTS),
        ("train", "--infrared_range", NAMED_RANGES),
        ("train", "--agc", AGCS),
        ("train", "--align", ALIGNMENTS),
        ("train", "--truncated", get_args(Truncated)),
        ("train", "--eval_metrics", list_metrics()),
    ],
)
def test_help_names_the_values_of_options_that_take_others_too(
    gffusion: Callable, command: str, option: str, expected: Iterable[str]
) -> None:
    text = re.split(r"^  (?=-)", gffusion(command, "--help").out, flags=re.MULTILINE)
    words = {word for part in text if part.startswith(f"{option} ") for word in re.findall(r"[\w-]+", part)}
    missing = {*expected} - words
    place = "the docstring of its field in gffusion/training/" if command == "train" else "gffusion/cli/"
    assert not missing, f"the help of `gffusion {command} {option}` lacks {missing}: add them to {place}"
