"""SIGKILL and power failures at any moment of every command that writes: the same command finishes, with the same bytes.

`GFFUSION_RELIABILITY=all pytest tests/reliability/test_kills.py` runs all kills, and writes the table of docs/benchmarks/reliability.md.
"""

import fcntl
import itertools
import random
import signal
from pathlib import Path

import pytest
from crash_cases import CASES, IS_WHOLE, Lab
from crash_runs import KILL_AFTER, KILL_BEFORE, KILL_INSIDE, Done, lose_unsynced

pytestmark = [pytest.mark.processes, pytest.mark.slow]

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks" / "reliability.md"
AT_CHANGES, AT_TIMES, POWER_FAILURES = (32, 12, 8) if IS_WHOLE else (2, 0, 1)
SLOW = ("evaluate", "export")  # without power failures in the sample


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    """Run a test for every command."""
    return request.param


def spread(count: int, total: int, generator: random.Random) -> list[int]:
    """Return numbers from 1 to `total`, one in each of `count` equal parts; the last one is `total`."""
    bounds = itertools.pairwise(round(part * total / count) for part in range(count + 1))
    return [*(generator.randint(low + 1, max(low + 1, high)) for low, high in bounds)][:-1] + [total]


def test_kills(lab: Lab, name: str) -> None:
    """Before, inside and after changes over the whole duration, the last one among them, and at random times."""
    generator = random.Random(name)
    done, _ = lab.undisturbed(name)
    kills = 0
    for index, at in enumerate(spread(AT_CHANGES, len(done.changes), generator)):
        mode = (KILL_INSIDE, KILL_BEFORE, KILL_AFTER)[index % 3]
        while (status := lab.start(name, mode=mode, at=at).status) == 0 and at > 1:  # libraries made fewer changes
            at -= 1
        assert status == -signal.SIGKILL, (mode, at)
        lab.check_and_finish(name)
        kills += 1
    killed, longest = 0, done.seconds
    while killed < AT_TIMES:
        ended = lab.start(name, kill_after=generator.uniform(0, longest))
        if ended.status == 0:  # it was faster this time
            longest *= 0.9
            continue
        killed += 1
        lab.check_and_finish(name)
    lost = check_power_failures(lab, name, done, generator) if IS_WHOLE or name not in SLOW else 0
    if IS_WHOLE:
        write_row(name, [len(done.changes), kills, killed, POWER_FAILURES, lost])


def check_power_failures(lab: Lab, name: str, undisturbed: Done, generator: random.Random) -> int:
    """Files that were written but not synchronized lose their second half; return how many."""
    lost = 0
    for at in spread(POWER_FAILURES, len(undisturbed.changes), generator):
        killed = lab.start(name, mode=KILL_AFTER, at=at)
        lost += len(lose_unsynced([change for change in killed.changes if "/home/" not in change.path]))
        lab.check_and_finish(name)
    return lost


def write_row(name: str, numbers: list[int]) -> None:
    """Replace the row of a command in the table of the documentation."""
    row = f"| {name} | {' | '.join(map(str, numbers))} |"
    with DOCUMENT.open("r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lines = file.read().split("\n")
        places = [index for index, line in enumerate(lines) if line.startswith(f"| {name} |")]
        lines[places[0]] = row
        file.seek(0)
        file.write("\n".join(lines))
        file.truncate()
