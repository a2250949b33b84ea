"""SetEpochCallback: each epoch has its own random crops, which are those of the dataset in this epoch."""

import json
from pathlib import Path

import pytest
import transformers_runs as runs
from torch.utils.data import ConcatDataset, Subset
from two_processes import launch_two


def read_epoch(data: Path, epoch: int) -> list[tuple[int, float]]:
    """What is read of all pairs in an epoch."""
    pairs = runs.make_pairs(data)
    pairs.set_epoch(epoch)
    _ = [pairs[index] for index in range(len(pairs))]
    return pairs.reads


@pytest.mark.processes
@pytest.mark.slow
def test_two_processes(pairs: Path, tmp_path: Path) -> None:
    finished = launch_two(runs.__file__, pairs, tmp_path / "run")
    assert finished.returncode == 0, finished.stderr[-5000:]
    reads = [json.loads((tmp_path / f"run-{rank}.json").read_text()) for rank in range(2)]
    for epoch in range(3):
        found = sorted(tuple(read) for own in reads for read in own[2 * epoch : 2 * epoch + 2])
        assert found == read_epoch(pairs, epoch)


def test_resumed_inside_an_epoch(pairs: Path, tmp_path: Path) -> None:
    whole = runs.train(pairs, tmp_path)
    for epoch in range(3):
        assert sorted(whole[4 * epoch : 4 * epoch + 4]) == read_epoch(pairs, epoch)
    for step in (3, 6):
        assert runs.train(pairs, tmp_path, str(tmp_path / f"checkpoint-{step}")) == whole[step:]


def test_joined_datasets(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also nested ones, a subset, and beside a dataset without epochs."""
    parts = [runs.make_pairs(pairs), runs.make_pairs(pairs)]
    subset = Subset(parts[1], range(len(parts[1])))
    joined = ConcatDataset([ConcatDataset([parts[0], subset]), [runs.make_pairs(pairs)[0]]])
    joined.reads = []
    monkeypatch.setattr(runs, "make_pairs", lambda data: joined)
    runs.train(pairs, tmp_path)
    monkeypatch.undo()
    for part in parts:
        for epoch in range(3):
            assert sorted(part.reads[4 * epoch : 4 * epoch + 4]) == read_epoch(pairs, epoch)


def test_datasets_without_epochs(pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [runs.make_pairs(pairs)[0]]
    monkeypatch.setattr(runs, "make_pairs", lambda data: items)
    with pytest.raises(ValueError, match=r"a list, has no `set_epoch`: leave SetEpochCallback out, or give it one"):
        runs.train(pairs, tmp_path)
