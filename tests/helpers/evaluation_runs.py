"""Evaluations of the pairs and methods that the fixture `pairs` writes."""

from pathlib import Path
from typing import Any

from gffusion.evaluation import EvaluationTable, evaluate

NAMES = ("a", "b", "c", "d")
METRICS = ["EN", "SCD", "SSIM"]


def run(pairs: Path, **options: Any) -> EvaluationTable:
    """Evaluate the two methods of the fixture with few metrics."""
    fused = {name: pairs / name for name in ("sharp", "flat")}
    return evaluate(
        pairs / "visible", pairs / "infrared", **{"fused": fused, "metrics": METRICS, "baselines": ()} | options
    )
