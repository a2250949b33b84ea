"""The model cards of the repository: complete, valid for the Hub, and up to date."""

import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

import model_cards as script
from gffusion import create_model, list_models
from gffusion.training.recipe import Recipe, read_recipe
from gffusion.zoo import MODELS, ModelEntry, find_entries, locate

ROOT = Path(__file__).parents[2]
CARDS = ROOT / "model_cards"
WITHOUT_WEIGHTS = find_entries(status="recipe-only")
# As printed in the paper, and as our tables print them.
PAPER_FIGURES = ["1.653", "7.140", "7.14", "0.762", "1.729", "7.351", "0.821", "1.872", "7.641", "0.852"]

each_card = pytest.mark.parametrize("entry", MODELS, ids=lambda entry: entry.name)
each_recipe = pytest.mark.parametrize("entry", WITHOUT_WEIGHTS, ids=lambda entry: entry.name)


@pytest.fixture
def copied_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the cards, and restrict the generator to two of them: one is generated, and one is a copy."""
    cards = shutil.copytree(CARDS, tmp_path / "model_cards")
    monkeypatch.setattr(script, "CARDS", cards)
    monkeypatch.setattr(script, "find_entries", lambda status: find_entries("gffusion-[cf]*", status))
    return cards


def text_of(entry: ModelEntry) -> str:
    return (CARDS / f"{entry.name}.md").read_text(encoding="utf-8")


def sections(entry: ModelEntry) -> dict[str, str]:
    return dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text_of(entry), re.MULTILINE | re.DOTALL))


def test_every_model_has_a_card() -> None:
    wrong = {card.stem for card in CARDS.iterdir()} ^ set(list_models())
    assert not wrong, f"write the cards of {wrong} with `python tools/model_cards.py`, and delete those of other names"


def test_cards_are_up_to_date() -> None:
    assert script.main(["--check"]) == 0


@each_card
def test_metadata_is_valid(entry: ModelEntry) -> None:
    card = ModelCard.load(CARDS / f"{entry.name}.md")  # raises for an invalid model index
    assert (card.data.library_name, card.data.pipeline_tag) == ("gffusion", "image-to-image")
    assert set(card.data.get("base_model") or []) <= {"openai/clip-vit-base-patch16", "facebook/dinov2-base"}


@each_recipe
def test_cards_without_weights_say_so(entry: ModelEntry) -> None:
    card = ModelCard.load(CARDS / f"{entry.name}.md")
    assert card.data.eval_results is None and card.data.license is None
    assert "No weights of this model are available" in card.text
    assert "locate(" not in card.text and "from_pretrained" not in card.text and "Results" not in sections(entry)


@each_recipe
def test_results_of_the_paper_are_in_their_section_only(entry: ModelEntry) -> None:
    rest = text_of(entry).replace(sections(entry).get("Results reported in the paper", ""), "")
    assert not [figure for figure in PAPER_FIGURES if figure in rest]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("gffusion-m3fd", "| M3FD | 1.872 | 7.641 | 0.852 |"),
        ("gffusion-hybrid", "| M3FD | 1.872 | 7.641 | 0.852 |"),
        ("gffusion-weighted-sum", "| M3FD | 1.872 | 7.641 | 0.852 |"),
        ("gffusion-group-conv", "| M3FD | 1.729 | 7.351 | 0.821 |"),
        ("gffusion-mean", "| M3FD | 1.653 | 7.14 | 0.762 |"),
        ("gffusion-mfnet", None),
        ("gffusion-cascading", None),  # other methods in the table of the paper
        ("gffusion-parallel", None),
    ],
)
def test_results_of_the_paper(name: str, row: str | None) -> None:
    (entry,) = find_entries(name)
    found = re.findall(r"^\| M3FD .*", sections(entry).get("Results reported in the paper", ""), re.MULTILINE)
    assert found == ([row] if row else [])


@each_recipe
def test_command_trains_with_the_recipe(entry: ModelEntry) -> None:
    (block,) = re.findall(r"```bash\n(.*?)```", sections(entry)["Training"], re.DOTALL)
    words = shlex.split(block.replace("\\\n", "").strip().splitlines()[-1])
    assert words[:5] == ["accelerate", "launch", "-m", "gffusion", "train"]
    assert words[words.index("--config") + 1] == entry.recipe
    recipe = Recipe.parse(words[5:])
    assert recipe.data.layout == read_recipe(entry.recipe).get("layout", "folders")
    assert recipe.data.train_data == recipe.data.eval_data == [f"data/{recipe.data.layout}"]
    assert ("gffusion masks" in block) == (recipe.data.layout == "m3fd")
    assert f"](../gffusion/training/recipes/{entry.recipe}.yaml)" in text_of(entry)


def test_recipe_without_a_layout() -> None:
    """The data lies in the folders of the default layout."""
    (entry,) = find_entries("gffusion-cascading")
    command = script.training_command(replace(entry, recipe="finetune"))
    data = Recipe.parse(shlex.split(command.replace("\\\n", ""))[5:]).data
    assert (data.layout, data.train_data, data.train_split) == ("folders", ["data/folders"], "train")


def test_code_example_starts_a_training(
    monkeypatch: pytest.MonkeyPatch, backbone_folders: dict[str, str], tiny_config: Callable[..., Any]
) -> None:
    """Small encoders replace those of the Hub."""
    (entry,) = find_entries("gffusion-mean")
    (code,) = re.findall(r"```python\n(.*?)```", text_of(entry), re.DOTALL)
    small = {**backbone_folders, "segmenter_image_size": [32, 32]}
    monkeypatch.setattr("gffusion.create_model", lambda *names, **options: create_model(*names, **options, **small))
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    assert namespace["model"].config.merging == "mean" and namespace["model"].training


class TestGenerator:
    def test_outdated_and_missing_cards_are_written(
        self, copied_cards: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        path = copied_cards / "gffusion-cascading.md"
        before = path.read_bytes()
        monkeypatch.setitem(script.REMARKS, "gffusion-cascading", "Something else.")
        assert script.main(["--check"]) == 1
        assert f"{path} is outdated" in capsys.readouterr().out
        assert path.read_bytes() == before
        assert script.main([]) == 0
        assert "Something else." in path.read_text(encoding="utf-8")
        assert script.main(["--check"]) == 0
        path.unlink()
        assert script.main(["--check"]) == 1
        assert script.main([]) == 0 and path.exists()

    def test_edited_card_is_kept(self, copied_cards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = copied_cards / "gffusion-cascading.md"
        path.write_text(path.read_text(encoding="utf-8") + "\nTrained in our laboratory.\n", encoding="utf-8")
        before = {file: file.read_bytes() for file in copied_cards.iterdir()}
        monkeypatch.setitem(script.REMARKS, "gffusion-cascading", "Something else.")
        assert script.main(["--check"]) == script.main([]) == 0
        assert {file: file.read_bytes() for file in copied_cards.iterdir()} == before

    def test_cards_of_bundled_models_are_copied(self, copied_cards: Path) -> None:
        path = copied_cards / "gffusion-funet.md"
        content = Path(locate("gffusion-funet"), "README.md").read_bytes()
        path.write_bytes(content + b"Edited in the wrong place.\n")
        assert script.main(["--check"]) == 1
        assert script.main([]) == 0 and path.read_bytes() == content
        path.unlink()
        assert script.main(["--check"]) == 1
        assert script.main([]) == 0 and path.read_bytes() == content

    @pytest.mark.parametrize("name", ["README.md", "config.json", "model.safetensors", "preprocessor_config.json"])
    def test_missing_files_of_bundled_models_are_named(
        self, name: str, copied_cards: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
    ) -> None:
        folder = shutil.copytree(locate("gffusion-funet"), copied_cards.parent / "weights")
        (folder / name).unlink()
        monkeypatch.setattr(script, "locate", lambda model: str(folder))
        assert script.main(["--check"]) == script.main([]) == 1
        assert f"{folder / name} is missing" in capsys.readouterr().out
