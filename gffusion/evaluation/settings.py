"""What an evaluation measured, for `summary.json`."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gffusion._version import __version__
from gffusion.data.infrared_range import format_options
from gffusion.models.gffusion.infrared_options import InfraredOptions

from .inputs import StrPath, name_model


def describe_settings(
    sources: Mapping[str, StrPath | None],
    fused: Mapping[str, StrPath],
    models: Sequence[StrPath],
    predicted_labels: Mapping[str, StrPath],
    metrics: Sequence[str],
    infrared_options: InfraredOptions,
) -> dict[str, Any]:
    """Return versions, paths as they were given, metrics of the mean rank, and infrared options as those of the command line.

    Example:
        >>> settings = describe_settings({"visible": "vi"}, {"ours": "f"}, ["runs/m"], {}, ["EN"], InfraredOptions())
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
    }
