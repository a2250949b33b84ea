"""Share the pairs of `gffusion fuse` out among the processes that `accelerate launch` starts."""

import contextlib
import datetime
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gffusion.utils.signals import ended_by_signals

from .printing import name_process

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

_SHARED = ("fuse", "train")  # commands whose processes share the work
_LAUNCHER_SECONDS = 10
_TIMEOUT = datetime.timedelta(minutes=5)  # to find each other
_ADVICE = "start several processes with accelerate launch -m gffusion fuse, or unset WORLD_SIZE"


def find_launched() -> tuple[int, int]:
    """Return which process this is, and how many `accelerate launch` or torchrun started: 0 and 1 without them.

    Examples:
        >>> find_launched()
        (0, 1)
    """
    given = [os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")]
    if not all(map(str.isdecimal, given)) or int(given[1]) < 2:
        return 0, 1
    return int(given[0]), int(given[1])


def wait_for_launcher() -> None:
    """Wait before an error that all processes have; not for the first one, which prints it.

    A launcher ends all processes after the first error. Without the wait, it could end the first one before that has printed.
    """
    time.sleep(_LAUNCHER_SECONDS)


def refuse_processes(command: str) -> None:
    """Raise ValueError if a launcher started several processes of a command that would repeat its work in each.

    The others raise it only if no launcher ends them, as in a subprocess that has the variables of a launched process.
    """
    rank, size = find_launched()
    if size == 1 or command in _SHARED:
        return
    if rank:
        wait_for_launcher()
    raise ValueError(
        f"gffusion {command} runs in one process, and the variable WORLD_SIZE is {size}: start it without accelerate launch and "
        "torchrun, or unset WORLD_SIZE"
    )


class Outcome(NamedTuple):
    """What a process did with its pairs.

    Attributes:
        done: Number of pairs that were fused.
        skipped: Number of pairs whose files existed.
        failures: Names of pairs that failed, and reasons.
        notes: Names of pairs, and a note about each.
        seconds: Duration.
        not_tried: Number of pairs that were left when the run was stopped, such as by a full disk, a broken GPU or the user.
        warnings: Warnings that were printed.
        is_interrupted: Whether the user interrupted.
        range_widths: Names of the pairs that were fused, and kinds and widths of their infrared ranges, for `note_narrow`.
    """

    done: int = 0
    skipped: int = 0
    failures: Sequence[tuple[str, str]] = ()
    notes: Sequence[tuple[str, str]] = ()
    seconds: float = 0
    not_tried: int = 0
    warnings: Sequence[str] = ()
    is_interrupted: bool = False
    range_widths: Sequence[tuple[str, str, float]] = ()


class Share(NamedTuple):
    """The part of this process: every `size`-th pair, from `rank`."""

    rank: int = 0
    size: int = 1

    @classmethod
    def find(cls) -> "Share":
        """Return the part of this process, from the variables of its launcher.

        Raises:
            ValueError: If one of them is wrong or missing, which would show only after the part was fused.

        Examples:
            >>> Share.find()
            Share(rank=0, size=1)
        """
        given = {name: os.environ.get(name, "") for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")}
        size, rank = given["WORLD_SIZE"] or "1", given["RANK"]
        if not size.isdecimal():
            raise ValueError(f"the variable WORLD_SIZE must be a number of processes, got {size!r}: {_ADVICE}")
        if int(size) <= 1:
            return cls()
        if missing := [name for name, value in given.items() if not value]:
            raise ValueError(f"WORLD_SIZE is {size}, but these variables are not set: {', '.join(missing)}; {_ADVICE}")
        if not given["MASTER_PORT"].isdecimal():
            raise ValueError(f"the variable MASTER_PORT must be a number, got {given['MASTER_PORT']!r}: {_ADVICE}")
        if not rank.isdecimal() or int(rank) >= int(size):
            raise ValueError(f"the variable RANK must be less than WORLD_SIZE {size}, got {rank!r}: {_ADVICE}")
        return cls(int(rank), int(size))

    def mute(self) -> None:
        """Print only errors and warnings in other processes than the first one, so that messages and progress appear once."""
        if self.size > 1:
            name_process(self.rank, self.size)
        if self.rank:
            from gffusion.utils.progress import hide_progress  # saves start-up time

            hide_progress()
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
            sys.stderr = sys.__stderr__

    def connect(self) -> "Store | None":
        """Connect to the launcher or the first process, or raise ConnectionError; before the work, so that its end is noticed."""
        if self.size == 1:
            return None
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch would print a stack if the launcher ends
        from torch.distributed.rendezvous import rendezvous  # takes long to import

        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        with (
            _lost_connections(f"no connection to the other processes at MASTER_ADDR:MASTER_PORT {address}: {_ADVICE}"),
            ended_by_signals(),
        ):
            store, _, _ = next(rendezvous("env://", timeout=_TIMEOUT))
        return store  # type: ignore[no-any-return]

    def gather(self, outcome: Outcome, store: "Store | None") -> Outcome | None:
        """Return the sum of the outcomes of all processes in the first one, which waits for them; `None` in the others.

        Processes can differ much in their devices and in the sizes of their images: it waits as long as it takes.

        Raises:
            ConnectionError: If the launcher or the first process has ended.
        """
        if store is None:
            return outcome
        keys = [f"gffusion/{rank}" for rank in range(self.size)]
        with _lost_connections("the launcher or the first process has ended"):
            store.set(keys[self.rank], json.dumps(outcome))
            if self.rank:
                return None
            while not store.check(keys):
                time.sleep(0.5)  # in Python, where signals are handled
            return _add([Outcome(*json.loads(store.get(key))) for key in keys])


@contextlib.contextmanager
def _lost_connections(message: str) -> Iterator[None]:
    """Turn errors of torch about connections, which are of several types, into ConnectionError."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(message) from error


def _add(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        sum(outcome.done for outcome in outcomes),
        sum(outcome.skipped for outcome in outcomes),
        [failure for outcome in outcomes for failure in outcome.failures],
        list(dict.fromkeys(note for outcome in outcomes for note in outcome.notes)),
        max(outcome.seconds for outcome in outcomes),
        sum(outcome.not_tried for outcome in outcomes),
        [warning for outcome in outcomes for warning in outcome.warnings],
        range_widths=[width for outcome in outcomes for width in outcome.range_widths],
    )
