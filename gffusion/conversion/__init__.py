"""Convert checkpoints of other projects."""

from .ade20k import convert_ade20k_head

__all__ = ["convert_ade20k_head"]
