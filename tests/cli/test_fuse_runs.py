"""Runs of `gffusion fuse` that write into one folder at the same time share the pairs."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gffusion.cli.fuse_runs import run_jobs, start_processes
from gffusion.data import ImagePair, read_image
from gffusion.inference.file_jobs import FusionJob, FusionResult, WriteJob, write_job


@pytest.mark.parametrize("overwrite", [False, True])
def test_pairs_of_another_run_are_skipped(tmp_path: Path, overwrite: bool) -> None:
    """Another run is a little faster with the first pair, and writes the second half, one file after each of ours."""
    pairs = [ImagePair(str(n), tmp_path / f"v{n}.png", tmp_path / f"i{n}.png") for n in range(10)]
    jobs = [FusionJob(pair, tmp_path / f"{pair.name}.png", overwrite=overwrite) for pair in pairs]
    others = [jobs[0], *jobs[5:]]
    fused: list[FusionJob] = []

    def fuse(taken: Iterable[FusionJob]) -> Iterator[FusionResult]:
        for job in taken:
            fused.append(job)
            if others:
                write_job(WriteJob(replace(others.pop(0), overwrite=False), np.full((4, 6), 9, np.uint8)))
            yield write_job(WriteJob(job, np.zeros((4, 6), np.uint8)))

    outcome = run_jobs(jobs, fuse)
    ours = [job for job in jobs if not read_image(job.fused).any()]
    assert outcome.done == (10 if overwrite else len(ours)) and outcome.skipped == 10 - outcome.done
    assert (outcome.failures, outcome.notes, outcome.not_tried) == ([], [], 0)
    assert (fused == jobs) is overwrite
    assert overwrite or {job.pair.name for job in ours} >= set("1234")


def test_runs_do_not_stay_side_by_side(tmp_path: Path) -> None:
    """The other run writes each file just before this one, in the order of the pairs, as long as this one keeps it, too."""
    pairs = [ImagePair(str(n), tmp_path / f"v{n}.png", tmp_path / f"i{n}.png") for n in range(60)]
    jobs = [FusionJob(pair, tmp_path / f"{pair.name}.png", overwrite=False) for pair in pairs]
    others = iter(jobs)
    count = 0

    def fuse(taken: Iterable[FusionJob]) -> Iterator[FusionResult]:
        nonlocal count
        for job in taken:
            count += 1
            other = next((other for other in others if other.needs_fusing), None)
            if other is not None:
                write_job(WriteJob(other, np.full((4, 6), 9, np.uint8)))
            yield write_job(WriteJob(job, np.zeros((4, 6), np.uint8)))

    outcome = run_jobs(jobs, fuse)
    assert count < 45 and outcome.done > 15 and outcome.done + outcome.skipped == 60


@pytest.mark.parametrize(
    ("device", "pairs", "started"), [("cuda", 100, True), ("cuda", 10, False), ("cpu", 100, False)]
)
def test_processes_are_for_many_pairs_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, device: str, pairs: int, started: bool
) -> None:
    monkeypatch.setattr("gffusion.cli.fuse_runs.choose_device", lambda name: name)
    monkeypatch.setattr("gffusion.inference.file_jobs.start_workers", lambda count, processes: (count, processes))
    monkeypatch.setattr("gffusion.inference.file_jobs.count_cores", lambda: 16)
    assert start_processes(device, pairs) == ((14, True) if started else None)
