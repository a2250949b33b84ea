"""Every recipe of the repository describes a model that can be built, with the encoders that it is for."""

from pathlib import Path

import pytest

from gffusion import GFFusionConfig
from gffusion.training.recipe import BUNDLED_RECIPES, Recipe, read_recipe
from gffusion.zoo import locate

ROOT = Path(__file__).parents[2]
RECIPES = sorted([*BUNDLED_RECIPES.rglob("*.yaml"), *(ROOT / "projects").rglob("*.yaml")])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: "/".join(path.parts[-2:]))
def test_models_of_recipes(recipe: Path) -> None:
    """tests/training/test_building.py trains the bundled ones with small encoders, which hides sizes that do not fit."""
    chosen = Recipe.parse(["--config", str(recipe), "--train_data", "data"]).model
    fields = chosen.model_config or {}
    if recipe.is_relative_to(ROOT / "projects"):  # their encoders are those of the bundled model
        bundled = GFFusionConfig.from_pretrained(locate("gffusion-tiny"))
        fields = {"clip_config": bundled.clip_config, "dinov2_config": bundled.dinov2_config} | fields
    config = GFFusionConfig(**fields)
    assert all(
        getattr(config, name) == value for name, value in (read_recipe(recipe).get("model_config") or {}).items()
    )
