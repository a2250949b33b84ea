"""Numbers of parameters in files of weights. Does not import torch."""

from math import prod
from pathlib import Path

from safetensors import safe_open

from .registry import ModelEntry, locate

_FROZEN = ("clip.", "dinov2.")  # the encoders
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")  # of batch norms


def count_bundled_parameters(entry: ModelEntry) -> dict[str, int] | None:
    """Return the numbers of "trained" and "frozen" parameters of a bundled model, `None` of others, which need a download.

    Examples:
        >>> from gffusion.zoo import MODELS
        >>> count_bundled_parameters(MODELS[0])
        {'trained': 13489, 'frozen': 0}
    """
    if entry.status != "bundled":
        return None
    counts = {"trained": 0, "frozen": 0}
    with safe_open(Path(locate(entry.name)) / "model.safetensors", framework="np") as weights:
        for name in weights.keys():  # noqa: SIM118, it is no dictionary
            if not name.endswith(_BUFFERS):
                counts["frozen" if name.startswith(_FROZEN) else "trained"] += prod(weights.get_slice(name).get_shape())
    return counts
