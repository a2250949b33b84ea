"""Errors of the other processes of a training that runs in several."""

import re

# Of gloo, NCCL and the store of torch.distributed.
_LOST = re.compile(
    r"gloo.*(?:onnection (?:closed|reset|refused)|Broken pipe|Socket closed)|remote process exited|"
    r"Connection was likely closed|failed to (?:recv|send)",
    re.DOTALL | re.IGNORECASE,
)


class PeerError(ValueError):
    """Raised where another process reports the error: its own, or one that all processes have."""


def is_lost_peer(error: BaseException) -> bool:
    """Return whether torch raised an error because another process has ended.

    Examples:
        >>> is_lost_peer(RuntimeError("[.../gloo/transport/tcp/pair.cc:537] Connection closed by peer [127.0.0.1]:4711"))
        True
        >>> is_lost_peer(RuntimeError("mat1 and mat2 must have the same dtype"))
        False
    """
    return isinstance(error, RuntimeError) and _LOST.search(str(error)) is not None
