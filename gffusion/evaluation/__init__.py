"""Measure models, folders of fused images and classical baselines on pairs of images; write tables and figures.

Importing this package does not import torch: public names are loaded on first use.
"""

from typing import TYPE_CHECKING

from gffusion.utils.lazy_names import load_on_use

if TYPE_CHECKING:
    from .runner import evaluate
    from .table import EvaluationTable

__all__ = ["EvaluationTable", "evaluate"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = load_on_use(__name__, {"EvaluationTable": "table", "evaluate": "runner"})
