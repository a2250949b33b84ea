"""`evaluate` continues: only what is new is measured."""

import shutil
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_runs import METRICS, NAMES, run
from torch import Tensor

from gffusion.evaluation import scoring
from gffusion.evaluation.baselines import BASELINES
from gffusion.evaluation.methods import FusedFolder
from gffusion.evaluation.records import Records
from gffusion.metrics import register_metric
from gffusion.zoo.digest import digest_sources


def measure(fused: Tensor, visible: Tensor, infrared: Tensor, value: int = 3) -> Tensor:
    return torch.full((len(fused),), value)


class TestResuming:
    def test_measures_only_what_is_new(self, pairs: Path, tmp_path: Path, fusions: list[tuple[str, str]]) -> None:
        output, everything = tmp_path / "out", [(method, name) for name in NAMES for method in ("sharp", "flat")]
        first = run(pairs, output=output, workers=1, sheet=[])
        assert fusions == everything
        fusions.clear()
        again = run(pairs, output=output, workers=1, sheet=[])
        assert fusions == []
        assert again.to_csv() == first.to_csv()
        run(pairs, output=output, workers=1, sheet=[], metrics=[*METRICS, "SD"])
        assert fusions == everything
        fusions.clear()
        (output / "summary.json").unlink()  # a table with another protocol is not replaced
        run(pairs, output=output, workers=1, sheet=[], protocol="cddfuse")
        assert fusions == everything
        fusions.clear()
        (output / "summary.json").unlink()
        shutil.copy(pairs / "flat" / "a.png", pairs / "flat" / "c.png")
        changed = run(pairs, output=output, workers=1, sheet=[])
        assert fusions == [("flat", "c")]
        assert np.array_equal(changed.values[0], first.values[0])
        assert not np.array_equal(changed.values[1, 2], first.values[1, 2])

    def test_measures_anew_after_a_change_of_the_source_code(
        self, pairs: Path, tmp_path: Path, fusions: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options: dict[str, Any] = {"fused": {}, "baselines": ["average"], "output": tmp_path / "out", "sheet": []}
        before = run(pairs, **options).values
        package = tmp_path / "gffusion"
        shutil.copytree(files("gffusion"), package, ignore=shutil.ignore_patterns("weights", "__pycache__"))  # type: ignore[call-overload]
        assert digest_sources(package) == scoring.SOURCES
        baselines = package / "evaluation" / "baselines.py"
        baselines.write_text(baselines.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        monkeypatch.setattr(scoring, "SOURCES", digest_sources(package))
        monkeypatch.setitem(BASELINES, "average", BASELINES["maximum"])
        fusions.clear()
        changed = run(pairs, **options).values
        assert fusions == [("average", name) for name in NAMES] and not np.array_equal(changed, before)
        fusions.clear()
        assert np.array_equal(run(pairs, **options).values, changed) and fusions == []

    def test_after_an_interruption(
        self, pairs: Path, tmp_path: Path, fusions: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        uninterrupted = run(pairs)
        fusions.clear()
        counted = FusedFolder.fuse

        def interrupt(self: Any, sources: Any, segment: bool = False) -> Any:
            if sources.pair.name == "c":
                raise KeyboardInterrupt
            return counted(self, sources, segment)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(FusedFolder, "fuse", interrupt)
            run(pairs, output=tmp_path / "out", workers=1)
        before = set(fusions)
        assert {("sharp", "a"), ("flat", "a"), ("sharp", "b"), ("flat", "b")} <= before
        fusions.clear()
        assert run(pairs, output=tmp_path / "out", sheet=[]).to_csv() == uninterrupted.to_csv()
        assert not before & set(fusions)

    def test_memory_that_runs_out_for_one_pair(self, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fuse = FusedFolder.fuse

        def run_out(self: Any, sources: Any, segment: bool = False) -> Any:
            if sources.pair.name == "c":
                raise MemoryError
            return fuse(self, sources, segment)

        monkeypatch.setattr(FusedFolder, "fuse", run_out)
        assert run(pairs).skipped.keys() == {"c"}

    @pytest.mark.parametrize("workers", [1, 3])
    def test_records_that_cannot_be_written_end_the_evaluation(
        self, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
    ) -> None:
        """No pair is left out for it; what was recorded is not measured again."""
        expected, write, count = run(pairs), Records.add, 0

        def add(self: Records, *values: Any) -> None:
            nonlocal count
            count += 1
            if count == 4:
                raise OSError(28, "No space left on device", "records.jsonl")
            write(self, *values)

        monkeypatch.setattr(Records, "add", add)
        with pytest.raises(OSError, match=r"No space left on device.*records\.jsonl"):
            run(pairs, output=tmp_path / "out", workers=workers)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["records.jsonl"]
        table = run(pairs, output=tmp_path / "out")
        assert np.array_equal(table.values, expected.values) and not table.skipped

    @pytest.mark.parametrize("version", [None, "1"])
    def test_takes_values_of_a_registered_metric_only_of_the_same_version(
        self, pairs: Path, tmp_path: Path, fusions: list[tuple[str, str]], version: str | None
    ) -> None:
        def evaluate(version: str | None) -> int:
            """Return the number of fused images."""
            register_metric("own", measure, higher_is_better=True, version=version)
            fusions.clear()
            run(pairs, output=tmp_path / "out", workers=1, sheet=[], metrics=["EN", "own"])
            return len(fusions)

        everything = 2 * len(NAMES)
        run(pairs, output=tmp_path / "out", workers=1, sheet=[], metrics=["EN"])
        assert evaluate(version) == everything
        assert evaluate(version) == (0 if version else everything)
        assert evaluate(version and "2") == everything
        assert evaluate(version) == (0 if version else everything)
        fusions.clear()
        run(pairs, output=tmp_path / "out", workers=1, sheet=[], metrics=["EN"])
        assert fusions == []

    @pytest.mark.filterwarnings("ignore:`version` of own has no effect")
    def test_takes_no_values_of_another_function_of_the_same_name(self, pairs: Path, tmp_path: Path) -> None:
        functions = [partial(measure, value=1), partial(measure, value=2), measure]
        means = []
        for function in functions:
            register_metric("own", function, higher_is_better=True, version="1")
            means.append(run(pairs, output=tmp_path / "out", sheet=[], metrics=["own"]).means[0, 0].item())
        assert means == [1, 2, 3]
