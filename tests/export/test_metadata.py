"""What exported files say about themselves."""

import json
from pathlib import Path

import pytest

from gffusion import GFFusionConfig, GFFusionImageProcessor
from gffusion.export.metadata import describe_file
from gffusion.export.parity import Parity


@pytest.mark.parametrize(
    ("source", "stored"),
    [
        ("org/street", "org/street"),
        ("gffusion-tiny", "gffusion-tiny"),
        ("runs/mine", "mine"),
        ("runs/mine/", "mine"),
        ("runs/../runs/mine", "mine"),
        ("/removed/secret/mine", "mine"),
    ],
)
def test_folders_of_the_machine_are_not_stored(
    source: str, stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither as the name of the model nor as the source of its encoders."""
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    config = GFFusionConfig(clip_name_or_path=source, dinov2_name_or_path=source)
    facts = describe_file(
        config,
        GFFusionImageProcessor(),
        Parity(0.0, 0.0, None, 4, "rendered"),
        name=source,
        license="mit",
        dtype="fp32",
        segment=True,
        uint8=False,
    )
    saved = GFFusionConfig.from_dict(json.loads(facts["gffusion.config"]))
    assert facts["gffusion.model"] == saved.clip_name_or_path == saved.dinov2_name_or_path == stored
    config.clip_name_or_path = config.dinov2_name_or_path = stored
    assert saved.to_dict() == config.to_dict()
