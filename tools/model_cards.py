"""Write the cards of models without weights: `python tools/model_cards.py`; with `--check`, only compare them.

Everything comes from the registry and the recipes, but for the paper's figures. Cards that a person has written or edited
stay as they are: delete one to have it written anew.
"""

import argparse
from pathlib import Path

import torch

from gffusion import GFFusionConfig, GFFusionModel
from gffusion.hub import FusionCard
from gffusion.hub.rendering import is_untouched
from gffusion.training.recipe import read_recipe
from gffusion.zoo import ModelEntry, find_entries

ROOT = Path(__file__).parents[1]
CARDS = ROOT / "model_cards"
RECIPES = "gffusion/training/recipes"

# Luo, Wang, Liu (IEEE Access 12, 2024), on M3FD. The paper's own model stands in three of its comparisons.
GFFUSION = {"SCD": 1.872, "EN": 7.641, "VIF": 0.852}
PAPER_FIGURES = {
    "gffusion-m3fd": GFFUSION,
    "gffusion-hybrid": GFFUSION,
    "gffusion-weighted-sum": GFFUSION,
    "gffusion-mean": {"SCD": 1.653, "EN": 7.140, "VIF": 0.762},
    "gffusion-group-conv": {"SCD": 1.729, "EN": 7.351, "VIF": 0.821},
}

REMARKS = {
    "gffusion-cascading": "The paper compares with SeAFusion as the cascading method, and has no figures of this network.",
    "gffusion-parallel": "The paper compares with PSFusion as the parallel method, and has no figures of this network.",
    "gffusion-mfnet": "The figures that our cards quote from the paper are of M3FD, none is of MFNet.",
}


def training_command(entry: ModelEntry) -> str:
    """What trains a model, as one would type it in a clone of the repository."""
    layout = read_recipe(entry.recipe)["layout"]
    data = f"data/{layout}"
    lines = [
        f"accelerate launch examples/train.py --config {entry.recipe} \\",
        f"    --train_data {data} --train_split train --eval_data {data} --eval_split val",
    ]
    if layout == "m3fd":  # it has boxes only
        lines.insert(0, f"gffusion masks {data} --layout {layout} -o {data}/masks")
    return "\n".join(lines)


def make_card(entry: ModelEntry) -> FusionCard:
    """The card of a model that a recipe trains."""
    config = GFFusionConfig(**entry.architecture)
    with torch.device("meta"):
        model = GFFusionModel(config)
    recipe = f"[{entry.recipe}](../{RECIPES}/{entry.recipe}.yaml)"
    sentences = [f"{entry.description}.", f"{recipe} trains it on {entry.training_data}.", REMARKS.get(entry.name, "")]
    figures = PAPER_FIGURES.get(entry.name)
    return FusionCard(
        model_name=entry.name,
        config=config,
        parameters=model.num_parameters(),
        trainable_parameters=model.num_parameters(only_trainable=True),
        has_weights=False,
        description=" ".join(sentences).strip(),
        command=training_command(entry),
        paper_figures={"M3FD": figures} if figures else {},
        intended_use="Repeating the paper's training; research into image fusion.",
        limits=[
            "What the paper leaves open is our choice, which the recipe marks: its figures may not come out again.",
            "The data come with terms of their authors, which this card does not know: read them before you publish weights.",
        ],
    )


def is_outdated(path: Path, card: FusionCard) -> bool:
    """Tell whether a card is missing, or was generated and would now be another."""
    if not path.exists():
        return True
    content = path.read_bytes()
    return is_untouched(content) and content != card.render().encode()


def main(arguments: list[str] | None = None) -> int:
    """Write the cards, or compare them; 1 if one of them was found out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something is out of date")
    check = parser.parse_args(arguments).check
    cards = {CARDS / f"{entry.name}.md": make_card(entry) for entry in find_entries(status="recipe-only")}
    outdated = [path for path, card in cards.items() if is_outdated(path, card)]
    for path in outdated:
        print(f"{path} {'is out of date: run `python tools/model_cards.py`' if check else 'rewritten'}")
        if not check:
            cards[path].save(path.parent, path.name)
    return int(check and bool(outdated))


if __name__ == "__main__":
    raise SystemExit(main())
