"""Which of several processes this one is."""

import os

from torch import distributed


def is_main_process() -> bool:
    """Return whether this is the only process, or the first of several.

    Before torch.distributed connects them, the variables of `accelerate launch` tell which one is the first.
    """
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank() == 0
    return (os.environ.get("RANK") or "0") == "0"
