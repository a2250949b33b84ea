"""Names of models: entries, their recipes and cards, and the location of weights."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from gffusion import GFFusionConfig, create_model, list_models
from gffusion.data.layouts.known import MFNET_CLASSES
from gffusion.models.gffusion.configuration_gffusion import M3FD_CLASSES
from gffusion.zoo import MODELS, ModelEntry, find_entries, load_image_processor, locate

REPOSITORY = Path(__file__).parents[2]
RECIPES = REPOSITORY / "gffusion" / "training" / "recipes"

CLASSES = {"m3fd": M3FD_CLASSES, "mfnet": ("background", *MFNET_CLASSES)}  # by layout

each_entry = pytest.mark.parametrize("entry", MODELS, ids=lambda entry: entry.name)
each_bundled_entry = pytest.mark.parametrize("entry", find_entries(status="bundled"), ids=lambda entry: entry.name)


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe and its base."""
    options = yaml.safe_load(path.read_text())
    base = read_recipe(path.parent / options.pop("base")) if "base" in options else {"model_config": {}}
    return base | options | {"model_config": base["model_config"] | options.get("model_config", {})}


def test_list() -> None:
    assert {"gffusion-funet", "gffusion-m3fd", "gffusion-mfnet"} <= set(list_models())
    assert list_models("*funet*") == ["gffusion-funet"]
    assert list_models("unknown-*") == list_models(status="published") == []
    assert list_models("*-m*", status="recipe-only") == ["gffusion-m3fd", "gffusion-mfnet", "gffusion-mean"]
    assert len(set(list_models())) == len(MODELS)
    with pytest.raises(ValueError, match="bundled, published, recipe-only, got 'lost'"):
        list_models(status="lost")


@each_entry
def test_entries_are_complete(entry: ModelEntry) -> None:
    assert entry.description and entry.training_data
    if entry.status == "bundled":
        expected = {"README.md", "config.json", "preprocessor_config.json", "model.safetensors"}
        assert {file.name for file in Path(locate(entry.name)).iterdir()} == expected
        assert entry.license and entry.measurements
    elif entry.status == "published":
        assert entry.license and entry.measurements and entry.repo_id
        assert re.fullmatch("[0-9a-f]{40}", entry.revision or "")
    else:
        assert (entry.repo_id, entry.revision, entry.measurements) == (None, None, {})


@each_entry
def test_recipe_trains_this_architecture(entry: ModelEntry) -> None:
    is_path = entry.recipe.endswith(".yaml")
    options = read_recipe(REPOSITORY / entry.recipe if is_path else RECIPES / f"{entry.recipe}.yaml")
    architecture = dict(options["model_config"])
    if names := CLASSES.get(options.get("layout")):
        architecture["id2label"] = dict(enumerate(names))
    wanted = entry.architecture
    if not architecture.get("use_segmenter", True):  # a segmenter that was trained on its own is added afterwards
        wanted = {name: value for name, value in wanted.items() if name in architecture} | {"use_segmenter": False}
    assert GFFusionConfig(**wanted).to_dict() == GFFusionConfig(**architecture).to_dict()


@each_bundled_entry
def test_architecture_of_bundled_weights(entry: ModelEntry) -> None:
    config = GFFusionConfig.from_pretrained(locate(entry.name))
    assert {name: getattr(config, name) for name in entry.architecture} == entry.architecture
    assert config.decoder_channels == GFFusionConfig(**entry.architecture).decoder_channels


@each_bundled_entry
def test_measurements_equal_those_of_the_card(entry: ModelEntry) -> None:
    card = (Path(locate(entry.name)) / "README.md").read_text()
    rows = re.findall(rf"^\| (?:\*\*)?{entry.name}\b.*?\|(.*)\|.*\|$", card, re.MULTILINE)
    shown = [[float(number) for number in re.findall(r"\d+\.\d+", row)] for row in rows]
    assert shown == [list(means.values()) for means in entry.measurements.values()]


def test_bundled_weights_are_in_the_package() -> None:
    folders = [Path(locate(name)) for name in list_models(status="bundled")]
    assert all(folder.is_relative_to(Path(str(files("gffusion")))) for folder in folders)
    assert sum(file.stat().st_size for folder in folders for file in folder.iterdir()) < 30e6  # they fit into a wheel


def test_folders_and_hub_ids_are_returned_unchanged(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert locate(tmp_path) == locate(str(tmp_path)) == str(tmp_path)
    assert locate("organization/name") == "organization/name"


@pytest.mark.parametrize(
    "name", ["unknown", "a/b/c", "/no/where", "./nowhere", "~/nowhere", "../up", "org/..", "org/a b", "org\\name"]
)
def test_unknown_name(name: str) -> None:
    for function in (locate, create_model, load_image_processor):
        with pytest.raises(OSError, match=rf"(?s)Unknown model {re.escape(repr(name))}.*gffusion-funet") as error:
            function(name)
        assert not [model for model in list_models(status="recipe-only") if model in str(error.value)]


def test_file_and_folder_without_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(OSError, match="contains no model"):
        locate(tmp_path)
    (tmp_path / "last.pth").touch()
    with pytest.raises(OSError, match=r"It contains last\.pth: pickled weights .*convert them"):
        locate(tmp_path)


@pytest.mark.parametrize("name", ["seafusion.pth", "runs/best.PT", "a.ckpt", "pytorch_model.bin", "model.safetensors"])
def test_file_of_weights(name: str, tmp_path: Path) -> None:
    file = tmp_path / Path(name).name
    file.touch()
    for path in (name, str(file)):
        with pytest.raises(OSError, match=rf"{re.escape(path)} .*a folder with config\.json.*gffusion-tiny") as error:
            locate(path)
        assert ("can run code" in str(error.value)) == (file.suffix != ".safetensors")


def test_models_without_weights_name_the_recipe() -> None:
    """Random weights never replace missing ones."""
    for name in list_models(status="recipe-only"):
        for function in (locate, create_model, load_image_processor):
            with pytest.raises(OSError, match=f"No weights of {name} are published.*--config "):
                function(name)
