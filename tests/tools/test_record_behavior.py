"""tools/record_behavior.py: it runs with the options that the commands have, and reports a change."""

import json
import sys
from pathlib import Path

import pytest
import record_behavior

from gffusion import list_models
from gffusion.cli import main
from gffusion.synthetic.samples import write_scenes


@pytest.mark.slow
def test_record_and_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_scenes(tmp_path / "msrs", count=2, height=64, width=96)
    file = tmp_path / "before.json"

    def run(*words: object) -> None:  # in this process, which has imported torch
        with pytest.raises(SystemExit) as stop:
            main([*map(str, words)])
        assert not stop.value.code

    def call(action: str) -> int:
        monkeypatch.setattr(sys, "argv", ["record_behavior.py", action, str(file)])
        return record_behavior.main()

    monkeypatch.setattr(record_behavior, "DATA", tmp_path / "msrs")
    monkeypatch.setattr(record_behavior, "run", run)
    assert call("record") == 0
    before = json.loads(file.read_text())
    assert [len(before[f"{kind} by gffusion-tiny"]) for kind in ("fused", "label maps")] == [2, 2]
    assert {*list_models(status="bundled"), "average"} < before["means"].keys()

    before["label maps by gffusion-tiny"]["rendered_0001"] = "another"
    del before["fused by gffusion-live"]  # a model that the other state does not have
    file.write_text(json.dumps(before))
    capsys.readouterr()
    assert call("check") == 1
    printed = capsys.readouterr().out
    assert "label maps by gffusion-tiny: 1 of 2 the same rendered_0001\n" in printed
    for model in list_models(status="bundled"):
        assert f"fused by {model}: {0 if model == 'gffusion-live' else 2} of 2 the same" in printed
