"""tools/record_behavior.py: it runs with the options that the commands have, and reports a change."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gffusion.synthetic.samples import write_scenes

SCRIPT = Path(__file__).parents[2] / "tools" / "record_behavior.py"


@pytest.mark.slow
@pytest.mark.processes
def test_record_and_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scenes(tmp_path / "val" / "msrs", count=2, height=64, width=96)
    monkeypatch.setenv("GFFUSION_DATA", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(SCRIPT.parents[1]))
    file = tmp_path / "before.json"
    subprocess.run([sys.executable, SCRIPT, "record", file], check=True, timeout=300)
    before = json.loads(file.read_text())
    assert [len(before[f"{kind} by gffusion-tiny"]) for kind in ("fused", "label maps")] == [2, 2]
    assert {"gffusion-tiny", "gffusion-funet", "average"} < before["means"].keys()

    before["label maps by gffusion-tiny"]["rendered_0001"] = "another"
    file.write_text(json.dumps(before))
    done = subprocess.run([sys.executable, SCRIPT, "check", file], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "label maps by gffusion-tiny: 1 of 2 the same rendered_0001\n" in done.stdout
    assert "fused by gffusion-tiny: 2 of 2 the same\n" in done.stdout
