"""Train gffusion-tiny's FuNet and FINet with several weights of the loss and several seeds, and compare them on validation pairs.

    python -m projects.gffusion_tiny.pareto --config projects/gffusion_tiny/pareto.yaml --steps 350 --white 0.5 \
        --train_data runs/tiny/data/train/* --eval_data runs/tiny/data/val/* --output_dir runs/tiny/pareto --seeds 0 1 2

Takes the options of `fusion.py`. Every setting changes one thing; the weight of the intensity term is given as a factor.
OUTPUT gets `results.jsonl`, a line per run; several processes can share the seeds and write to folders of their own. `--table FILE ...` prints means and standard deviations of such files.
"""

import argparse
import copy
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from .device_views import DeviceViews, load_pairs
from .fusion import METRICS, measure, parse, train

SETTINGS: dict[str, dict[str, Any]] = {
    "all terms": {},
    "no VIF term": {"vif_weight": 0.0},
    "no Qabf term": {"qabf_weight": 0.0},
    "contrast 0.85": {"intensity_contrast": 0.85},
    "no lower limits of the target": {"intensity_floor": 0.0, "intensity_undershoot": 1.0},
    "clean infrared images": {"thermal_artifacts": 0.0},
    "white sky as it is": {"white": 0.0},
    "a third of the intensity term": {"intensity_weight": 1 / 3},
    "no mixed pairs": {"mixed_pairs": 0.0},
}


def find_changes(name: str, changes: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a setting.

    Raises:
        ValueError: If the recipe lacks one of them, or has it already: the setting would be "all terms" under another name.
    """
    changed = dict(changes)
    if "intensity_weight" in changed:
        changed["intensity_weight"] *= current.get("intensity_weight", 0.0)
    for key, value in changed.items():
        if key not in current or current[key] == value:
            raise ValueError(f"{name!r} sets {key} to {value}, which is {current.get(key)} in the recipe and options")
    return changed


def run(words: Sequence[str], seeds: Sequence[int]) -> None:
    """Train and measure every setting with every seed."""
    options, recipe = parse(words)
    config = recipe.model.model_config or {}
    current = {
        **config,
        "thermal_artifacts": recipe.data.thermal_artifacts,
        "mixed_pairs": recipe.training.mixed_pairs,
        "white": options.white,
    }
    settings = {name: find_changes(name, changes, current) for name, changes in SETTINGS.items()}
    pairs = load_pairs(recipe.data.train_data, Accelerator().device)
    options.output.mkdir(parents=True, exist_ok=True)
    with (options.output / "results.jsonl").open("a") as results:
        for seed in seeds:
            for name, changes in settings.items():
                if time.monotonic() - options.started > options.seconds:
                    return
                setting = copy.deepcopy(recipe)
                setting.training.seed = seed
                setting.model.model_config = config | {key: changes[key] for key in changes if key in config}
                setting.data.thermal_artifacts = changes.get("thermal_artifacts", recipe.data.thermal_artifacts)
                setting.training.mixed_pairs = changes.get("mixed_pairs", recipe.training.mixed_pairs)
                views = DeviceViews(pairs, setting, changes.get("white", options.white))
                model = train(setting, views, options)
                if time.monotonic() - options.started > options.seconds:
                    return  # it ended early
                means = {Path(root).name: measure(model, root, options.eval_every) for root in recipe.data.eval_data}
                record = {"setting": name, "seed": seed, "steps": options.steps, **means}
                results.write(json.dumps(record) + "\n")
                results.flush()
                print(f"{time.monotonic() - options.started:.0f} s", record, flush=True)


def print_table(files: Sequence[str]) -> None:
    """Print a table of all runs in some files."""
    runs = [json.loads(line) for file in files for line in Path(file).read_text().splitlines()]
    folders = [name for name, value in runs[0].items() if isinstance(value, dict)]
    for folder in folders:
        print(f"\n{folder}\n\n| setting | {' | '.join(METRICS)} |\n| --- |{' ---: |' * len(METRICS)}")
        for setting in SETTINGS:
            rows = np.array([list(run[folder].values()) for run in runs if run["setting"] == setting])
            if len(rows):
                cells = zip(rows.mean(axis=0), rows.std(axis=0, ddof=min(1, len(rows) - 1)), strict=True)
                print(f"| {setting} | {' | '.join(f'{mean:.3f} ± {spread:.3f}' for mean, spread in cells)} |")


def main(words: Sequence[str] | None = None) -> None:
    """Run the study, or print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--table", nargs="+", metavar="FILE", help="print the table of these results")
    own, rest = parser.parse_known_args(words)
    if own.table:
        print_table(own.table)
    else:
        run(rest, own.seeds)


if __name__ == "__main__":
    main()
