"""Names of metrics as they are given, and hints at similar ones."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .catalog import METRICS, list_metrics

DEFAULT_METRICS = ("EN", "SCD", "VIF", "Qabf", "SSIM")
"""Metrics of evaluations by default. Modules that do not import torch repeat them: the arguments of a training, and the help of `gffusion evaluate`."""

ALL = "all"
"""Stands for all metrics of a protocol."""


def list_given(names: Any, argument: str, kinds: tuple[type, ...] = (str,), advice: str = "") -> tuple[Any, ...]:
    """Return names, of certain types, that are an iterable or a single name; raise TypeError, with the advice, for others.

    Examples:
        >>> list_given("EN", "metrics"), list_given(["EN", "SD"], "metrics")
        (('EN',), ('EN', 'SD'))
    """
    if isinstance(names, kinds):
        return (names,)
    given = (names,) if not isinstance(names, Iterable) or isinstance(names, Mapping) else tuple(names)
    for name in given:
        if not isinstance(name, kinds):
            got = type(name).__name__ if callable(name) else repr(name)
            raise TypeError(f"`{argument}` must be a name or a list of names, got {got}{advice}")
    return given


def suggest(name: str, allowed: Iterable[str]) -> str:
    """Return a sentence, after a space, on why there is no fusion metric of a name or which one is similar, or an empty text.

    Examples:
        >>> suggest("Q_abf", ["EN", "Qabf"]), suggest("average gradient", ["AG"]), suggest("XY", ["EN"])
        (' Did you mean Qabf?', ' Did you mean AG?', '')
    """
    wanted = _simplify(name)
    spellings = {_simplify(getattr(info.functional, "__name__", key)): key for key, info in METRICS.items()}
    spellings |= {_simplify(key): key for key in METRICS}
    if wanted.startswith("fmi") and not any(spelling.startswith("fmi") for spelling in spellings):
        return " FMI is missing, because published programs use different features for it; MI and NMI are similar."
    near = difflib.get_close_matches(wanted, spellings, n=1, cutoff=0.7)
    similar = spellings[near[0]] if near else ""
    if similar in list_metrics("segmentation"):
        return (
            f" {similar} is a metric of label maps, which `evaluate` measures with `labels` (--labels), and "
            f'`get_metric("{similar}", num_classes=...)` creates.'
        )
    return f" Did you mean {similar}?" if similar in allowed else ""


def _simplify(name: str) -> str:
    """Return a name without upper case and signs."""
    return re.sub(r"[\W_]", "", name).casefold()
