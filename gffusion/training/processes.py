"""What the processes of a training, which `accelerate launch` starts, check and decide together."""

import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object, parse_flag_from_env, set_seed

from gffusion.utils.atomic import replace_file
from gffusion.utils.peers import PeerError, is_lost_peer
from gffusion.utils.signals import ended_by_signals

_INTERRUPTED = "interrupted"
_SECONDS_TO_APPEAR = 60


def is_alone() -> bool:
    """Return whether there is one process. Several are connected first, if they are not yet."""
    is_connected = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not is_connected and int(os.environ.get("WORLD_SIZE") or 1) < 2:
        return True
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU")).num_processes == 1


@contextmanager
def lost_peers() -> Iterator[None]:
    """Turn the errors of torch about another process that has ended into ConnectionError.

    Examples:
        >>> with lost_peers():
        ...     raise RuntimeError("[.../gloo/transport/tcp/pair.cc:537] Connection closed by peer [127.0.0.1]:4711")
        Traceback (most recent call last):
        ConnectionError: Another process ended, see its message, or the connection to it broke. ...
    """
    try:
        yield
    except RuntimeError as error:
        if not is_lost_peer(error):
            raise
        raise ConnectionError(
            "Another process ended, see its message, or the connection to it broke. `resume_from_checkpoint` continues from the last "
            "checkpoint."
        ) from None


@contextmanager
def raised_together() -> Iterator[None]:
    """Raise an error inside the `with` block in all processes: as it is in the first process that has one, as PeerError in the others.

    All processes must enter and leave the block, in which none waits for another one. If one is interrupted, as by Ctrl-C, the others raise
    KeyboardInterrupt; a second signal ends it at once, while it waits for them.

    Examples:
        >>> with raised_together():
        ...     raise OSError("No space left")
        Traceback (most recent call last):
        OSError: No space left
    """
    if is_alone():
        yield
        return
    error: Exception | None = None
    try:
        yield
    except Exception as caught:
        error = caught
    except BaseException:
        with ended_by_signals(), suppress(RuntimeError):  # of a process that ended
            gather_object([_INTERRUPTED])
        raise
    with lost_peers():
        texts = gather_object([None if error is None else str(error) or type(error).__name__])
    failed = [rank for rank, text in enumerate(texts) if text is not None]
    if failed and error is not None and failed[0] == PartialState().process_index:
        raise error
    if failed:
        kind = KeyboardInterrupt if texts[failed[0]] == _INTERRUPTED else PeerError
        raise kind(f"{texts[failed[0]]} (process {failed[0]})") from error


def seed_process(seed: int) -> None:
    """Seed Python, NumPy and torch, whose numbers datasets may draw, differently in each process."""
    rank = 0 if is_alone() else PartialState().process_index
    set_seed(int(np.random.SeedSequence((seed, rank)).generate_state(1)[0]) if rank else seed)


def check_shared_folder(folder: Path) -> None:
    """Raise ValueError unless all processes have the same output folder, which exists.

    Other machines can see new files late, as with NFS, and only after they are closed, as with object stores.
    """
    if is_alone():
        return
    is_main = PartialState().is_main_process
    (name,) = broadcast_object_list([f".probe-{secrets.token_hex(8)}"])
    token = folder / name
    with raised_together():
        if is_main:
            replace_file(token, b"shared")
    try:
        with raised_together():
            is_found = _appears(token)
        found = gather_object([is_found])
    finally:
        if is_main:
            with suppress(OSError):
                token.unlink()
    with raised_together():
        if is_main and not all(found):
            raise ValueError(
                f"Process {found.index(False)} does not find what process 0 writes to `output_dir` {folder}: give all processes the same "
                "folder, on a disk that all machines share."
            )


def _appears(path: Path) -> bool:
    """Return whether a file exists within a minute."""
    for _ in range(_SECONDS_TO_APPEAR):
        with suppress(OSError):
            os.listdir(path.parent)  # network disks then look for new files
        if os.path.exists(path):
            return True
        time.sleep(1)
    return False


def check_equal(values: Mapping[str, Any]) -> None:
    """Raise ValueError unless options and facts about model and data, by their names, are the same in all processes."""
    if is_alone():
        return
    first, *others = gather_object([dict(values)])
    with raised_together():
        for rank, other in enumerate(others if PartialState().is_main_process else (), start=1):
            if names := [name for name in first | other if first.get(name) != other.get(name)]:
                differences = ", ".join(_describe(name, first.get(name), other.get(name)) for name in names)
                raise ValueError(
                    f"Process {rank} has other options, data or another model than process 0: {differences}. Give all processes the same."
                )


def _describe(name: str, first: Any, other: Any) -> str:
    """Return the name of a difference, with the values if they are numbers."""
    return f"{name} ({other} instead of {first})" if {type(first), type(other)} <= {int, float, bool} else name
