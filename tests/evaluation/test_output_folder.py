"""Output folders of evaluations: one evaluation at a time, which replaces no table of others."""

import sys
from pathlib import Path

import pytest
from evaluation_runs import NAMES, run

from gffusion.evaluation.output_folder import locked_output
from gffusion.utils.locks import FolderLock


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks of folders")
def test_one_evaluation_at_a_time(pairs: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    with (
        FolderLock(output),
        pytest.raises(ValueError, match=r"^another process writes to .*out: wait for it, or choose"),
    ):
        run(pairs, output=output)
    assert not list(output.iterdir())


def test_table_that_another_evaluation_wrote_before_the_lock(pairs: Path, tmp_path: Path) -> None:
    run(pairs, output=tmp_path / "out")
    refused = pytest.raises(ValueError, match=r"out has a table of sharp, flat, which")
    with refused, locked_output(tmp_path / "out", ["average"], "standard", NAMES):
        pytest.fail("the table can be replaced")
    with locked_output(tmp_path / "out", ["sharp", "flat"], "standard", NAMES):
        pass


def test_failed_writing_removes_nothing(pairs: Path, tmp_path: Path) -> None:
    """The report of a former run is removed by a run without one, but not if that cannot write its table."""
    output = tmp_path / "out"
    run(pairs, output=output, html=True)
    former = {
        file.name: file.read_bytes() for file in output.iterdir() if file.name not in ("records.jsonl", "table.tex")
    }
    (output / "table.tex").unlink()
    (output / "table.tex").mkdir()
    with pytest.raises(IsADirectoryError, match=r"cannot write .*table\.tex: it is a folder; remove it"):
        run(pairs, output=output)
    assert {name: (output / name).read_bytes() for name in former} == former
    (output / "table.tex").rmdir()
    run(pairs, output=output)
    assert (output / "table.tex").is_file() and not (output / "report.html").exists()
