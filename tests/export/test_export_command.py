"""`gffusion export` of checkpoints that are not exported as they are, and the licenses that it states."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gffusion import GFFusionModel
from gffusion.cli import main
from gffusion.cli.export import _find_license


def test_half_precision_checkpoints_are_exported(
    tiny_model: Callable[..., GFFusionModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model(paradigm="cascading", use_segmenter=False).half().save_pretrained(tmp_path / "half")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["export", "half", "-o", "m.pt2"])
    assert not stop.value.code and (tmp_path / "m.pt2").is_file()


@pytest.mark.parametrize(
    ("front_matter", "license"),
    [
        ("license: [mit, apache-2.0]", "mit, apache-2.0"),
        ("license: 5", "5"),
        ("license: [mit", "not stated"),
        ("- mit", "not stated"),
        ("language: en", "not stated"),
    ],
)
def test_license_of_a_card(front_matter: str, license: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text(f"---\n{front_matter}\n---\n# Model\n")
    assert _find_license("mine", str(tmp_path)) == license
    is_damaged = front_matter in ("license: [mit", "- mit")
    assert ("README.md cannot be read, so no license is stated" in capsys.readouterr().err) == is_damaged
