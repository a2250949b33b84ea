"""What an evaluation measured, for `summary.json`, and what differs from a former one in the same folder."""

import os
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy
import PIL
import scipy
import torch
import transformers

from gffusion._version import __version__
from gffusion.data import ImagePair, ReadOptions
from gffusion.data.infrared_range import format_options, format_value
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.utils.escaping import to_line
from gffusion.zoo.digest import hash_files

from .matching import StrPath
from .methods import Model
from .scoring import Plan

_NOT_COMPARED = {"versions", "device", "compared", "sha256"}  # with the settings of a former table
_SHORT_DIGEST = 12  # digits


def describe_settings(
    sources: Mapping[str, StrPath | None],
    *,
    fused: Mapping[str, StrPath],
    models: Mapping[str, StrPath],
    predicted_labels: Mapping[str, StrPath],
    metrics: Sequence[str],
    infrared_options: InfraredOptions,
    read_options: ReadOptions,
    label_map: Mapping[int, int],
    compared: str | None,
) -> dict[str, Any]:
    """Return versions, paths as they were given, metrics of the mean rank, and options of infrared values and of reading.

    Examples:
        >>> settings = describe_settings(
        ...     {"visible": "vi"}, fused={"ours": "f"}, models={"m": "runs/m"}, predicted_labels={}, metrics=["EN"],
        ...     infrared_options=InfraredOptions(), read_options=ReadOptions(), label_map={}, compared=None,
        ... )
        >>> settings["visible"], settings["methods"]
        ('vi', {'ours': 'f', 'm': 'runs/m'})
    """
    return {
        "versions": _list_versions(),
        **{kind: None if path is None else os.fspath(path) for kind, path in sources.items()},
        "methods": {name: os.fspath(path) for name, path in {**fused, **models}.items()},
        "predicted_labels": {name: os.fspath(path) for name, path in predicted_labels.items()},
        "metrics": list(metrics),
        "compared": compared,
        "infrared_options": format_options(infrared_options),
        "label_map": {str(value): label for value, label in label_map.items()},
        "read_options": {item.name: _to_json(getattr(read_options, item.name)) for item in fields(read_options)},
    }


def describe_device(plan: Plan) -> str:
    """Return where the models compute; metrics and baselines are computed on the CPU."""
    models = (model for model in (*plan.methods, plan.segmenter) if isinstance(model, Model))
    return ", ".join(dict.fromkeys(model.device for model in models)) or "cpu"


def hash_inputs(plan: Plan, pairs: Sequence[ImagePair], segmented: Collection[str]) -> dict[str, Any]:
    """Return the SHA-256 of the sources, of each method that has files, and of the label maps of the `segmented` pairs."""
    labeled = [pair for pair in pairs if pair.name in segmented]
    methods = {method.name: method.hash_files(pairs) for method in plan.methods}
    digests: dict[str, Any] = {
        "visible": hash_files((pair.visible for pair in pairs), plan.hash_file),
        "infrared": hash_files((pair.infrared for pair in pairs), plan.hash_file),
        "methods": {name: digest for name, digest in methods.items() if digest},
    }
    if labeled:
        digests["labels"] = hash_files((pair.labels for pair in labeled if pair.labels), plan.hash_file)
        digests["predicted_labels"] = {
            name: hash_files((files[pair.name] for pair in labeled), plan.hash_file)
            for name, files in plan.label_files.items()
        }
    if plan.segmenter is not None:
        digests["segment_with"] = plan.segmenter.hash_files(pairs)
    return digests


def summarize_settings(settings: Mapping[str, Any]) -> str:
    """Return versions, device, compared method and the first digits of the SHA-256 in a line, for the report.

    Examples:
        >>> summarize_settings({"versions": {"torch": "2.8.0"}, "sha256": {"visible": "0123456789abcdef"}})
        'torch 2.8.0. SHA-256: visible 0123456789ab.'
    """
    parts = [", ".join(f"{name} {version}" for name, version in settings.get("versions", {}).items())]
    parts += [f"{key} {settings[key]}" for key in ("device", "compared") if settings.get(key)]
    digests = settings.get("sha256", {})
    named = [*((kind, digests.get(kind)) for kind in ("visible", "infrared")), *digests.get("methods", {}).items()]
    listed = ", ".join(f"{name} {digest[:_SHORT_DIGEST]}" for name, digest in named if digest)
    parts += [f"SHA-256: {listed}"] if listed else []
    return " ".join(f"{part}." for part in parts if part)


def _list_versions() -> dict[str, str]:
    modules = {"torch": torch, "transformers": transformers, "numpy": numpy, "scipy": scipy, "pillow": PIL}
    versions = {name: str(module.__version__) for name, module in modules.items()}
    return {"gffusion": __version__, **versions, "Python": platform.python_version()}


def _to_json(option: Any) -> str | int | None:
    """Return an option as it is, a range as it is typed, and a rig or a format of raw frames in words."""
    if isinstance(option, tuple):
        return format_value(option)
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
    """Return the settings of the table, and those of each method under its name."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if key in _NOT_COMPARED:
            continue
        if key == "read_options":  # as they are typed
            flat |= {f"--{name.replace('_', '-')}": option for name, option in value.items()}
        elif isinstance(value, Mapping):
            prefix = "" if key == "methods" else f"{key} of "
            flat |= {f"{prefix}{name}": path for name, path in value.items()}
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
