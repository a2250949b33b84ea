"""`gffusion export` of checkpoints that are not exported as they are."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gffusion import GFFusionModel
from gffusion.cli import main


def test_half_precision_checkpoints_are_exported(
    tiny_model: Callable[..., GFFusionModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model(paradigm="cascading", use_segmenter=False).half().save_pretrained(tmp_path / "half")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["export", "half", "-o", "m.pt2"])
    assert not stop.value.code and (tmp_path / "m.pt2").is_file()
