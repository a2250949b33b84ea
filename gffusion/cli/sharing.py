"""Share the pairs of `gffusion fuse` out among the processes that `accelerate launch` starts."""

import datetime
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")


class Outcome(NamedTuple):
    """What a process did with its pairs.

    Attributes:
        done: Number of pairs that were fused.
        skipped: Number of pairs whose files existed.
        failures: Names of pairs that failed, and reasons.
        notes: Names of pairs, and a note about each.
        seconds: Duration.
        not_tried: Number of pairs that were left when the disk was full or the user interrupted.
        warnings: Warnings that were printed.
        is_interrupted: Whether the user interrupted.
    """

    done: int = 0
    skipped: int = 0
    failures: Sequence[tuple[str, str]] = ()
    notes: Sequence[tuple[str, str]] = ()
    seconds: float = 0
    not_tried: int = 0
    warnings: Sequence[str] = ()
    is_interrupted: bool = False


class Share(NamedTuple):
    """The part of this process: every `size`-th pair, from `rank`."""

    rank: int = 0
    size: int = 1

    @classmethod
    def find(cls) -> "Share":
        """Return the part of this process, from the variables of its launcher.

        Raises:
            ValueError: If one of them is wrong or missing, which would show only after the part was fused.

        Example:
            >>> Share.find()
            Share(rank=0, size=1)
        """
        given = {name: os.environ.get(name, "") for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT")}
        size, rank = given["WORLD_SIZE"] or "1", given["RANK"]
        advice = "start several processes with accelerate launch -m gffusion fuse, or unset WORLD_SIZE"
        if not size.isdecimal():
            raise ValueError(f"the variable WORLD_SIZE must be a number of processes, got {size!r}: {advice}")
        if int(size) <= 1:
            return cls()
        if missing := [name for name, value in given.items() if not value]:
            raise ValueError(f"WORLD_SIZE is {size}, but these variables are not set: {', '.join(missing)}; {advice}")
        if not rank.isdecimal() or int(rank) >= int(size):
            raise ValueError(f"the variable RANK must be less than WORLD_SIZE {size}, got {rank!r}: {advice}")
        return cls(int(rank), int(size))

    def pick(self, items: Sequence[Item]) -> list[Item]:
        """Return this process's part. It must not depend on which files exist, because the others write some meanwhile.

        Example:
            >>> Share(1, 2).pick("abcde")
            ['b', 'd']
        """
        return list(items[self.rank :: self.size])

    def mute(self) -> None:
        """Print only errors in other processes than the first one, so that messages appear once."""
        if self.rank:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
            sys.stderr = sys.__stderr__

    def gather(self, outcome: Outcome) -> Outcome | None:
        """Wait for all processes, and return the sum of their outcomes in the first one; `None` in the others."""
        if self.size == 1:
            return outcome
        import torch.distributed as distributed  # takes long to import

        # Processes can differ in their devices and in the sizes of their images.
        distributed.init_process_group("gloo", timeout=datetime.timedelta(days=30))
        outcomes: list[Outcome] = [outcome] * self.size
        distributed.gather_object(outcome, outcomes if self.rank == 0 else None)
        distributed.destroy_process_group()
        return _add(outcomes) if self.rank == 0 else None


def _add(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        sum(outcome.done for outcome in outcomes),
        sum(outcome.skipped for outcome in outcomes),
        [failure for outcome in outcomes for failure in outcome.failures],
        list(dict.fromkeys(note for outcome in outcomes for note in outcome.notes)),
        max(outcome.seconds for outcome in outcomes),
        sum(outcome.not_tried for outcome in outcomes),
        [warning for outcome in outcomes for warning in outcome.warnings],
    )
