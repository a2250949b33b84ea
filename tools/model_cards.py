"""Write the cards of models: `python tools/model_cards.py`; with `--check`, only compare them.

Cards of models without weights are generated from the registry, the recipes and the results of the paper. If you edit one, it is
kept; delete it to generate it again. Cards of bundled models are copies of gffusion/zoo/weights/NAME/README.md: edit that file.
"""

import argparse
from pathlib import Path

from gffusion import GFFusionConfig
from gffusion.hub import FusionCard
from gffusion.hub.rendering import is_unedited
from gffusion.training.recipe import read_recipe
from gffusion.zoo import ModelEntry, find_entries, locate

CARDS = Path(__file__).parents[1] / "model_cards"
BUNDLED_FILES = ("README.md", "config.json", "model.safetensors", "preprocessor_config.json")

# Luo, Wang, Liu (IEEE Access 12, 2024), on M3FD. The model of the paper is part of three of its comparisons.
GFFUSION = {"SCD": 1.872, "EN": 7.641, "VIF": 0.852}
PAPER_FIGURES = {
    "gffusion-m3fd": GFFUSION,
    "gffusion-hybrid": GFFUSION,
    "gffusion-weighted-sum": GFFUSION,
    "gffusion-mean": {"SCD": 1.653, "EN": 7.140, "VIF": 0.762},
    "gffusion-group-conv": {"SCD": 1.729, "EN": 7.351, "VIF": 0.821},
}

REMARKS = {
    "gffusion-cascading": "The paper uses SeAFusion as the cascading method and reports no results for this architecture.",
    "gffusion-parallel": "The paper uses PSFusion as the parallel method and reports no results for this architecture.",
    "gffusion-mfnet": "The results of the paper that our cards quote were measured on M3FD; none was measured on MFNet.",
}


def training_command(entry: ModelEntry) -> str:
    """Return the commands that train a model in a clone of the repository."""
    layout = read_recipe(entry.recipe).get("layout", "folders")
    data = f"data/{layout}"
    lines = [
        f"accelerate launch -m gffusion train --config {entry.recipe} \\",
        f"    --train_data {data} --train_split train --eval_data {data} --eval_split val",
    ]
    if layout == "m3fd":  # it has boxes instead of masks
        splits = f"{data}/train.txt and {data}/val.txt"
        lines = [
            f"# M3FD has no splits: first write the file names into {splits}, one per line",
            f"gffusion masks {data} --layout {layout} -o {data}/masks",
            *lines,
        ]
    return "\n".join(lines)


def make_card(entry: ModelEntry) -> FusionCard:
    """Return the card of a model without weights."""
    recipe = f"[{entry.recipe}](../gffusion/training/recipes/{entry.recipe}.yaml)"
    description = f"{entry.description}. The recipe {recipe} trains it on {entry.training_data}."
    figures = PAPER_FIGURES.get(entry.name)
    return FusionCard(
        model_name=entry.name,
        config=GFFusionConfig(**entry.architecture),
        has_weights=False,
        description=f"{description} {REMARKS.get(entry.name, '')}".strip(),
        command=training_command(entry),
        paper_figures={"M3FD": figures} if figures else {},
        intended_use="Reproducing the training of the paper; research on image fusion.",
        limits=[
            "The recipe marks our choices where the paper gives no value: results may differ from those of the paper.",
            "The authors of the dataset set its terms of use, which this card does not cover: read them before you publish "
            "weights.",
        ],
    )


def read_card(entry: ModelEntry) -> bytes:
    """Return what the card of a model should contain."""
    if entry.status == "recipe-only":
        return make_card(entry).render().encode()
    return Path(locate(entry.name), "README.md").read_bytes()


def is_outdated(path: Path, entry: ModelEntry) -> bool:
    """Return whether a card is missing, or has other content and was not edited."""
    if not path.exists():
        return True
    content = path.read_bytes()
    may_be_edited = entry.status == "recipe-only"
    return content != read_card(entry) and (is_unedited(content) or not may_be_edited)


def main(arguments: list[str] | None = None) -> int:
    """Write or compare the cards; return 1 if a bundled model lacks a file or the comparison finds an outdated card, else 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with code 1 if a card is outdated")
    check = parser.parse_args(arguments).check
    bundled = find_entries(status="bundled")
    files = [Path(locate(entry.name), name) for entry in bundled for name in BUNDLED_FILES]
    if missing := [file for file in files if not file.is_file()]:
        print(*(f"{file} is missing: bundled models have {', '.join(BUNDLED_FILES)}" for file in missing), sep="\n")
        return 1
    cards = {CARDS / f"{entry.name}.md": entry for entry in [*find_entries(status="recipe-only"), *bundled]}
    outdated = [path for path, entry in cards.items() if is_outdated(path, entry)]
    for path in outdated:
        if not check:
            path.write_bytes(read_card(cards[path]))
        print(f"{path} {'is outdated: run `python tools/model_cards.py`' if check else 'written'}")
    return int(check and bool(outdated))


if __name__ == "__main__":
    raise SystemExit(main())
