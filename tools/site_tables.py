"""Tables of the site that are made while it is built, from the registry of models, the command line and the benchmarks.

A page has them where it contains `<!-- generated: NAME -->` and a line that says so to readers of the file.
`python tools/site_tables.py NAME` prints one.
"""

import argparse
import contextlib
import io
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import typer

from gffusion import GFFusionConfig
from gffusion.cli import app
from gffusion.metrics import METRICS
from gffusion.models.gffusion.configuration_gffusion import OUR_TERMS
from gffusion.training.recipe import Recipe
from gffusion.zoo import ModelEntry, find_entries, locate
from gffusion.zoo.parameters import count_bundled_parameters

ROOT = Path(__file__).parents[1]
BENCHMARKS = (
    ROOT / "docs" / "models" / "tiny" / "forward.json",
    *sorted((ROOT / "docs" / "benchmarks").glob("*.json")),
)
SITE = "https://gffusion.github.io/gffusion/"
WIDTH = 86  # of code blocks, in characters, on a screen of 1280 pixels
MARK = re.compile(
    r"<!-- generated: (\w+) -->\n\*Made when the site is built; `python tools/site_tables\.py \1` prints it\.\*\n"
)


def make_table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a Markdown table, with numbers to the right."""
    head, rows = list(head), [list(row) for row in rows]
    numeric = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(head))]
    lines = [head, ["---:" if right else "---" for right in numeric], *([show(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def show(value: Any) -> str:
    """Return a cell: numbers to four digits, and sizes as in `480 x 640`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " x ".join(map(show, value))
    return str(value)


def link_card(entry: ModelEntry) -> str:
    """Return the name of a model with a link to its card."""
    return f"[`{entry.name}`](../../model_cards/{entry.name}.md)"


def list_bundled_models() -> str:
    """Return the table of models with weights, with their measured means."""
    rows = (
        (link_card(entry), entry.description, entry.training_data, entry.license)
        for entry in find_entries(status="bundled")
    )
    return make_table(("name", "description", "trained on", "license"), rows)


def list_models_of_readme() -> str:
    """Return the table of models in README.md, with absolute links."""
    rows = []
    for entry in find_entries(status="bundled"):
        counts = count_bundled_parameters(entry) or {}
        frozen = f" and {counts['frozen'] / 1e6:.1f} million in frozen encoders" if counts["frozen"] else ""
        parameters = f"{round(counts['trained'] / 1000)} thousand{frozen}"
        link = f"[`{entry.name}`]({SITE}models/{entry.name}.html)"
        rows.append((link, entry.description, parameters, "in the package"))
    of_the_paper = ("paper_", "ablations/")
    recipes = [entry.name for entry in find_entries(status="recipe-only") if entry.recipe.startswith(of_the_paper)]
    text = f"the models of the paper and its comparisons: {len(recipes)} recipes with DINOv2, six of them with CLIP"
    link = f"[`{recipes[0]}`, ...]({SITE}models/index.html#models-without-weights)"
    rows.append((link, text, "86 million with CLIP", "none published"))
    return make_table(("name", "description", "parameters", "weights"), rows)


def list_measurements() -> str:
    """Return the means of the models with weights, a table per dataset, and the command that reproduces them."""
    entries = [entry for entry in find_entries() if entry.measurements]
    parts = []
    for dataset in dict.fromkeys(name for entry in entries for name in entry.measurements):
        measured = [entry for entry in entries if dataset in entry.measurements]
        metrics = list(measured[0].measurements[dataset])
        head = ("name", *(f"{name} {'↑' if METRICS[name].higher_is_better else '↓'}" for name in metrics))
        rows = ([entry.name, *(f"{entry.measurements[dataset][name]:.3f}" for name in metrics)] for entry in measured)
        command = measured[0].evaluation_command(dataset).replace(measured[0].name, "NAME")
        parts.append(f"**{dataset}** (`{command}`):\n\n{make_table(head, rows)}")
    return "\n".join(parts)


def list_recipes() -> str:
    """Return the table of models without weights."""
    rows = (
        (link_card(entry), entry.description, f"`{entry.recipe}`", entry.training_data)
        for entry in find_entries(status="recipe-only")
    )
    return make_table(("name", "description", "recipe", "training data"), rows)


def compare_with_paper() -> str:
    """Return the table of the settings of the paper, the defaults of the configuration, and those of gffusion-tiny."""
    paper, tiny = GFFusionConfig(), GFFusionConfig.from_pretrained(locate("gffusion-tiny"))

    def encoder(config: Any) -> str:
        return f"{config.num_hidden_layers} layers, {config.hidden_size} channels, {config.patch_size} x {config.patch_size} pixels a patch"

    def layers(config: GFFusionConfig) -> str:
        used = config.semantic_layers or ()
        return f"{used[0]} to {used[-1]}" if list(used) == list(range(used[0], used[-1] + 1)) else show(list(used))

    def loss(config: GFFusionConfig) -> str:
        ours = [(term.label, getattr(config, f"{name}_weight")) for name, term in OUR_TERMS.items()]
        return ", ".join(["SSIM, gradients", *(f"{label} x {weight:g}" for label, weight in ours if weight)])

    rows: list[tuple[str, str, Callable[[GFFusionConfig], Any]]] = [
        ("paradigm", "paradigm", lambda config: config.paradigm),
        ("merging of layers", "merging", lambda config: config.merging),
        ("encoder of FINet", "clip_config", lambda config: encoder(config.clip_config)),
        ("merged layers", "semantic_layers", layers),
        ("channels of one image in FuNet", "feature_channels", lambda config: config.feature_channels),
        ("resolution of FuNet", "pixel_unshuffle", lambda config: f"1/{config.pixel_unshuffle}".replace("1/1", "full")),
        ("channels of the wider view", "context_channels", lambda config: config.context_channels or "none"),
        ("output of FuNet", "blend_sources", lambda config: "shares of the sources and an offset" if config.blend_sources else "the fused image"),
        ("widths of the decoder", "decoder_channels", lambda config: ", ".join(map(str, config.decoder_channels))),
        ("encoder of SSNet", "dinov2_config", lambda config: encoder(config.dinov2_config)),
        ("size of its input", "segmenter_image_size", lambda config: show(list(config.segmenter_image_size))),
        ("layers read by the head", "segmenter_layers", lambda config: f"the last {config.segmenter_layers}".replace("last 1", "last")),
        ("windows of its input", "segmenter_windows", lambda config: show(list(config.segmenter_windows))),
        ("scales of its input", "segmenter_scales", lambda config: ", ".join(map(show, config.segmenter_scales))),
        ("edges of label maps aligned", "segmenter_refinement", lambda config: "yes" if config.segmenter_refinement else "no"),
        ("fusion loss", ", ".join(f"{name}_weight" for name in OUR_TERMS), loss),
        ("weight of gradients, beta", "gradient_weight", lambda config: f"{config.gradient_weight:g}"),
    ]  # fmt: skip
    cells = (
        (name, read(paper), read(tiny), ", ".join(f"`{option}`" for option in options.split(", ")))
        for name, options, read in rows
    )
    return make_table(("", "paper", "gffusion-tiny", "option"), cells)


def describe_commands() -> str:
    """Return the help of every command."""
    group = typer.main.get_command(app)
    parts = []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        context = command.make_context(f"gffusion {name}", [], resilient_parsing=True, terminal_width=WIDTH)
        text = describe_training() if name == "train" else context.get_help()
        parts.append(f"## gffusion {name}\n\n```text\n{text.strip()}\n```\n")
    return "\n".join(parts)


def describe_training() -> str:
    """Return the help of `gffusion train`, whose options are the fields of its arguments."""
    output = io.StringIO()
    columns = mock.patch.dict(os.environ, COLUMNS=str(WIDTH + 2))
    with columns, contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        Recipe.parse(["--help"], "gffusion train")
    return output.getvalue()


def describe_benchmarks() -> str:
    """Return the tables of all benchmarks."""
    return "\n".join(describe_benchmark(path) for path in BENCHMARKS)


def describe_benchmark(path: Path) -> str:
    """Return the tables of a file that a script in benchmarks/ wrote."""
    record = json.loads(path.read_text(encoding="utf-8"))
    name = path.relative_to(ROOT).as_posix()
    lines = [
        f"## {record.get('title', path.stem.capitalize())}\n",
        f"[`{name}`](../../{name}): {describe_machine(record)}.\n",
    ]
    lines += [f"{record['note']}\n"] if "note" in record else []
    for key, value in record.items():
        if key in {"machine", "machines", "versions", "parameters"}:
            continue
        if isinstance(value, dict):
            lines += describe_values(key, value)
        elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            head = list(dict.fromkeys(column for row in value for column in row))
            rows = ([row.get(column, "") for column in head] for row in value)
            lines.append(f"**{key}**\n\n{make_table(head, rows)}")
    return "\n".join(lines)


def describe_values(key: str, value: dict[str, Any]) -> list[str]:
    """Return a table of the numbers, one of the groups of numbers, and one for each group of groups."""
    groups = {inner: part for inner, part in value.items() if isinstance(part, dict)}
    deep = {inner: part for inner, part in groups.items() if any(isinstance(cell, dict) for cell in part.values())}
    numbers = [(inner, number) for inner, number in value.items() if inner not in groups]
    rows = {inner: part for inner, part in groups.items() if inner not in deep}
    tables = [(key, make_table(("", ""), numbers))] if numbers else []
    tables += [(key, tabulate(rows))] if rows else []
    tables += [(f"{key}: {inner}", tabulate(part)) for inner, part in deep.items()]
    return [f"**{name}**\n\n{table}" for name, table in tables]


def tabulate(part: dict[str, dict[str, Any]]) -> str:
    """Return a table with a row for each group of numbers, and a column for each name of a number."""
    head = list(dict.fromkeys(column for value in part.values() for column in value))
    rows = ([name, *(value.get(column, "") for column in head)] for name, value in part.items())
    return make_table(("", *(column.replace("_", " ") for column in head)), rows)


def describe_machine(record: dict[str, Any]) -> str:
    """Return one line about machine, settings and versions."""
    machine = {**record, **record.get("machine", {})}
    names = ("gpu", "device", "processor", "cores", "threads", "dtype", "size", "repeats", "load", "python")
    parts = [
        f"{name} {show(machine[name])}" for name in names if name in machine and not isinstance(machine[name], dict)
    ]
    versions = machine.get("versions", {})
    if not parts and "machines" in record:
        return "the file names the machine of each value"
    return ", ".join([*parts, *(f"{name} {versions[name]}" for name in ("torch", "transformers") if name in versions)])


TABLES: dict[str, Callable[[], str]] = {
    "models": list_bundled_models,
    "readme": list_models_of_readme,
    "measurements": list_measurements,
    "recipes": list_recipes,
    "commands": describe_commands,
    "benchmarks": describe_benchmarks,
    "paper": compare_with_paper,
}


def fill(markdown: str) -> str:
    """Return a page with its tables."""
    return MARK.sub(lambda match: TABLES[match[1]](), markdown)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=TABLES)
    print(TABLES[parser.parse_args().name]())
