"""Compare paradigms and mergings at the scale of gffusion-tiny, with three seeds each and all other settings equal.

    python -m projects.gffusion_tiny.ablation --data runs/tiny/data --stages runs/tiny --output runs/tiny/ablation

All runs start from the same FuNet (stage 2), and the seed determines the order of images. The cascading paradigm has no
injection. OUTPUT gets a folder per run and `table.md`. Finished runs are not repeated.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from gffusion.training.building import build_trainer
from gffusion.training.recipe import Recipe, read_recipe

RECIPE = Path(__file__).with_name("ablation.yaml")
VARIANTS = {
    "cascading (no injection)": {"paradigm": "cascading"},
    "parallel, weighted_sum": {"paradigm": "parallel", "merging": "weighted_sum"},
    "hybrid, mean": {"paradigm": "hybrid", "merging": "mean"},
    "hybrid, group_conv": {"paradigm": "hybrid", "merging": "group_conv"},
    "hybrid, weighted_sum": {"paradigm": "hybrid", "merging": "weighted_sum"},
}
METRICS = ("EN", "SCD", "VIF", "Qabf", "SSIM", "mIoU")


def make_command(variant: dict[str, str], seed: int, options: argparse.Namespace, output: Path) -> list[str]:
    """Return the arguments of `gffusion train` for one run."""
    model_config = read_recipe(RECIPE)["model_config"] | variant
    words = ["--config", RECIPE, "--model_config", json.dumps(model_config), "--seed", seed, "--output_dir", output]
    words += ["--train_data", *sorted((options.data / "train").iterdir())]
    words += ["--eval_data", *sorted((options.data / "val").iterdir())]
    words += ["--model_name_or_path", options.stages / "funet" / "last"]
    words += ["--dinov2_name_or_path", options.stages / "dinov2" / "encoder"]
    if variant["paradigm"] == "hybrid":
        words += ["--clip_name_or_path", options.stages / "clip" / "encoder"]
    return [*map(str, words), *options.rest]


def run(variant: dict[str, str], seed: int, options: argparse.Namespace, output: Path) -> dict[str, float]:
    """Train one variant unless its run is finished, and return the metrics of the last evaluation."""
    state = output / "last" / "training_state.json"  # written after every epoch
    if not (state.is_file() and json.loads(state.read_text())["finished"]):
        build_trainer(Recipe.parse(make_command(variant, seed, options, output))).train(resume_from_checkpoint=True)
    records = map(json.loads, (output / "log.jsonl").read_text().splitlines())
    measured = [record for record in records if f"eval_{METRICS[0]}" in record][-1]
    return {name: measured[f"eval_{name}"] for name in METRICS}


def format_table(results: dict[str, list[dict[str, float]]]) -> str:
    """Return a Markdown table with one row per variant: means and standard deviations over its seeds."""
    lines = ["| variant | " + " | ".join(METRICS) + " |", "| --- |" + " ---: |" * len(METRICS)]
    for name, runs in results.items():
        cells = []
        for metric in METRICS:
            values = [found[metric] for found in runs]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the missing variants, and write the table; unknown options are passed to `gffusion train`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with the output of prepare.py in train/ and val/"
    )
    parser.add_argument("--stages", type=Path, required=True, help="folder with the encoders and the output of stage 2")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options, options.rest = parser.parse_known_args(arguments)
    results: dict[str, list[dict[str, float]]] = {}
    for seed in options.seeds:
        for name, variant in VARIANTS.items():
            folder = options.output / f"{name.partition(' (')[0].replace(', ', '-')}-{seed}"
            results.setdefault(name, []).append(run(variant, seed, options, folder))
            (options.output / "table.md").write_text(format_table(results))
    print(format_table(results), end="")


if __name__ == "__main__":
    main()
