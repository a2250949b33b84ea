"""The commands of docs/export.md run."""

import shlex
from pathlib import Path

import pytest

from gffusion.cli import main
from gffusion.synthetic.samples import write_scenes

pytest.importorskip("onnxruntime", reason='needs the extra: pip install "gffusion[onnx]"')

PAGE = Path(__file__).parents[2] / "docs" / "export.md"


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scenes(tmp_path, count=2, height=48, width=64)
    monkeypatch.chdir(tmp_path)
    block = PAGE.read_text(encoding="utf-8").split("```bash\n")[1].split("```")[0]
    for line in block.strip().splitlines():
        if "--segment" in line:  # takes a minute; tests/export runs it with small encoders
            continue
        words = shlex.split(line.replace("gffusion-tiny", "gffusion-funet"), comments=True)
        monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code, line
    assert len(list((tmp_path / "fused").iterdir())) == 2
    assert {"model.onnx", "half.onnx", "model.pt2"} <= {path.name for path in tmp_path.iterdir()}
