"""Measure models, folders of fused images and classical baselines on pairs of images; write tables and figures.

Importing this package does not import torch: public names are loaded on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runner import evaluate
    from .table import EvaluationTable

__all__ = ["EvaluationTable", "evaluate"]

_MODULES = {"EvaluationTable": ".table", "evaluate": ".runner"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)
