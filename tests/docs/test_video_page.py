"""The examples of docs/video.md run."""

import doctest
from pathlib import Path

import pytest

pytest.importorskip("av", reason='videos need PyAV: pip install "gffusion[video]"')

from video_files import write_pair

PAGE = Path(__file__).parents[2] / "docs" / "video.md"


def test_sessions() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False)
    assert result.attempted > 8
    assert result.failed == 0


def test_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_pair(tmp_path, 3)
    monkeypatch.chdir(tmp_path)
    section = PAGE.read_text(encoding="utf-8").split("## In Python")[1]
    exec(section.split("```python\n")[1].split("```")[0], {})
    assert capsys.readouterr().out.startswith("3 [")
    assert (tmp_path / "fused.mp4").is_file()
