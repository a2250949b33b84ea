"""The ablations that the guide lists are those that its options make."""

import re
import shlex
from pathlib import Path

import pytest

from gffusion.training.building import build_model
from gffusion.training.recipe import Recipe

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "training-research.md"
SECTION = GUIDE.read_text(encoding="utf-8").partition("\n## Ablations\n")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| (.+?) \| `(--config .+?)` \| (needed|not used) \|$", SECTION, re.MULTILINE)


def test_table_is_read() -> None:
    assert len(ROWS) == SECTION.count("\n|") - 2 >= 15


@pytest.mark.parametrize(("words", "labels"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_row(words: str, labels: str, backbone_folders: dict[str, str], tmp_path: Path) -> None:
    """The recipe and the options exist, and the model is built with small encoders."""
    _, recipe, *options = shlex.split(words)
    encoders = [f"{name}_name_or_path: {folder}" for name, folder in backbone_folders.items()]
    lines = [f"base: {recipe}", *encoders, "model_config: {segmenter_image_size: [32, 32]}"]
    (tmp_path / "small.yaml").write_text("\n".join(lines))
    parsed = Recipe.parse(["--config", str(tmp_path / "small.yaml"), *options])
    config = build_model(parsed.model, ["person"], parsed.typed).config
    assert config.use_segmenter == (labels == "needed")
    assert "ablations/hybrid" in words or config.paradigm in words or config.merging in words
    for name, value in (parsed.model.model_config or {}).items():
        assert getattr(config, name) == value
