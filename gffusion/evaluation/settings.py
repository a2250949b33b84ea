"""What an evaluation measured, for `summary.json`, and what differs from a former one in the same folder."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch

from gffusion._version import __version__
from gffusion.data import ReadOptions
from gffusion.data.infrared_range import format_options
from gffusion.data.visible_range import format_visible_range
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.utils.escaping import to_line

from .inputs import StrPath, name_model


def describe_settings(
    sources: Mapping[str, StrPath | None],
    *,
    fused: Mapping[str, StrPath],
    models: Sequence[StrPath],
    predicted_labels: Mapping[str, StrPath],
    metrics: Sequence[str],
    infrared_options: InfraredOptions,
    read_options: ReadOptions,
    label_map: Mapping[int, int],
) -> dict[str, Any]:
    """Return versions, paths as they were given, metrics of the mean rank, and options of infrared values and of reading.

    Examples:
        >>> settings = describe_settings(
        ...     {"visible": "vi"}, fused={"ours": "f"}, models=["runs/m"], predicted_labels={}, metrics=["EN"],
        ...     infrared_options=InfraredOptions(), read_options=ReadOptions(), label_map={},
        ... )
        >>> settings["visible"], settings["methods"]
        ('vi', {'ours': 'f', 'm': 'runs/m'})
    """
    methods = {**fused, **{name_model(model): model for model in models}}
    return {
        "versions": {"gffusion": __version__, "torch": str(torch.__version__)},
        **{kind: None if path is None else os.fspath(path) for kind, path in sources.items()},
        "methods": {name: os.fspath(path) for name, path in methods.items()},
        "predicted_labels": {name: os.fspath(path) for name, path in predicted_labels.items()},
        "metrics": list(metrics),
        "infrared_options": format_options(infrared_options),
        "label_map": {str(value): label for value, label in label_map.items()},
        "read_options": {item.name: _to_json(getattr(read_options, item.name)) for item in fields(read_options)},
    }


def _to_json(option: Any) -> str | int | None:
    """Return an option as it is, a range as it is typed, and a rig or a format of raw frames in words."""
    if isinstance(option, tuple):
        return format_visible_range(option)
    return option if isinstance(option, str | int | None) else repr(option)


def describe_replaced(former: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return a note on settings of the former table in the output that the new one does not have, or an empty text.

    Examples:
        >>> describe_replaced({"methods": {"x": "f"}, "metrics": ["EN", "SD"]}, {"methods": {"x": "g"}, "metrics": ["EN"]})
        'note: replacing the table with x = f (now g); metrics = EN, SD (now EN)'
    """
    settings = _flatten(new)
    changes = [
        f"{name} = {_format(value)} (now {_format(settings.get(name))})"
        for name, value in _flatten(former).items()
        if not _is_kept(value, settings.get(name))
    ]
    return to_line(f"note: replacing the table with {'; '.join(changes)}") if changes else ""


def _flatten(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without versions, and those of each method under its name."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if key == "read_options":  # as they are typed
            flat |= {f"--{name.replace('_', '-')}": option for name, option in value.items()}
        elif isinstance(value, Mapping):
            prefix = "" if key == "methods" else f"{key} of "
            flat |= {f"{prefix}{name}": path for name, path in value.items() if key != "versions"}
        else:
            flat[key] = value
    return flat


def _is_kept(former: Any, new: Any) -> bool:
    if isinstance(former, list) and isinstance(new, list):
        return all(item in new for item in former)
    if isinstance(former, str) and isinstance(new, str):  # the same path can be given in two forms
        return former == new or os.path.abspath(former) == os.path.abspath(new)
    return former is None or former == new


def _format(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "none" if value in (None, "") else str(value)
