"""`gffusion models`: the listed models."""

import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gffusion.models.gffusion.json_files import read_json_object

from .choices import STATUSES, show_choices
from .errors import user_errors
from .printing import make_console, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from gffusion.zoo.registry import ModelEntry

_COLUMNS = ("name", "status", "license", "training data", "recipe")
NO_SEGMENTER = "the model {} has no segmenter: omit --segment or choose a model with a segmenter"
_MIN_TABLE_WIDTH = 74  # narrower tables break words and cut names


def models(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help='Pattern of names, such as "*funet*".')] = "*",
    status: Annotated[
        str | None,
        typer.Option(
            "--status",
            metavar=show_choices(STATUSES),
            help="Only models with this status: weights in the package, weights on the Hub, or a recipe only. [default: all]",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with descriptions, parameters and results.")
    ] = False,
) -> None:
    """List the models that have a name, with status, license, training data and recipe; for the name of one, also its parameters and results.

    Models with the status recipe-only have no weights yet: train them with `gffusion train --config RECIPE`.
    """
    from gffusion.zoo.parameters import count_bundled_parameters  # saves start-up time of the other commands
    from gffusion.zoo.registry import find_entries

    with user_errors():
        entries = find_entries(pattern, status)  # type: ignore[arg-type] # it checks the status
        if not entries:
            raise ValueError(f"No model matches {pattern!r}{f' with the status {status!r}' if status else ''}.")
    if as_json:
        print_json([asdict(entry) | {"parameters": count_bundled_parameters(entry)} for entry in entries])
        return
    console = make_console()
    if console.width < _MIN_TABLE_WIDTH:
        _print_blocks(entries, console)
    else:
        _print_table(entries, console)
    if pattern != entries[0].name:
        console.print("\n`gffusion models NAME` shows the description, the parameters and the results of a model.")
        return
    for entry in entries:
        console.print(f"\n{entry.name}: {entry.description}")
        if parameters := count_bundled_parameters(entry):
            typer.echo(f"  {parameters['trained']:,} trained and {parameters['frozen']:,} frozen parameters")
        if entry.repo_id is not None:
            typer.echo(f"  on the Hub: {entry.repo_id}, revision {entry.revision}")
        for dataset, means in entry.measurements.items():
            metrics = ", ".join(f"{name} {value:.3f}" for name, value in means.items())
            console.print(f"  {dataset}: {metrics}")
            typer.echo(f"    {entry.evaluation_command(dataset)}")  # whole, to be copied


def locate_model(name: str) -> str:
    """Return the folder or Hub id of a model; if the name is unknown, but that of a baseline, the error says so."""
    from gffusion.zoo import locate

    try:
        return locate(name)
    except OSError:
        from gffusion.evaluation.inputs import check_no_baseline

        check_no_baseline(name)
        raise


def check_segmenter(name: str, folder: str) -> None:
    """Raise ValueError if the configuration in the folder of a model shows that it has no segmenter; does not import torch."""
    settings: dict[str, Any] = {}
    with contextlib.suppress(OSError):  # a missing or damaged one is reported when the model is loaded
        settings = read_json_object(Path(folder, "config.json"))
    if settings.get("use_segmenter") is False:
        raise ValueError(NO_SEGMENTER.format(name))


def _print_table(entries: "Sequence[ModelEntry]", console: "Console") -> None:
    from rich import box
    from rich.table import Column, Table

    columns = [Column(name, no_wrap=True) for name in _COLUMNS[:3]]
    columns += [Column(name, overflow="fold") for name in _COLUMNS[3:]]
    table = Table(*columns, box=box.SIMPLE if console.is_terminal else None, pad_edge=False)
    for entry in entries:
        table.add_row(*_list_values(entry))
    console.print(table)


def _print_blocks(entries: "Sequence[ModelEntry]", console: "Console") -> None:
    from rich.padding import Padding

    for entry in entries:
        name, *values = _list_values(entry)
        console.print(name, style="bold", soft_wrap=True)
        for column, value in zip(_COLUMNS[1:], values, strict=True):
            console.print(Padding(f"{column}: {value}", (0, 0, 0, 2), expand=False), overflow="fold")


def _list_values(entry: "ModelEntry") -> tuple[str, ...]:
    recipe = f"{entry.recipe} (in the repository)" if entry.recipe.endswith(".yaml") else entry.recipe
    return entry.name, entry.status, entry.license or "-", entry.training_data, recipe


def complete_model(incomplete: str) -> list[str]:
    """Return the names of models with weights that begin so, for the completion of shells."""
    from gffusion.zoo.registry import find_entries

    return [
        entry.name for entry in find_entries("*") if entry.status != "recipe-only" and entry.name.startswith(incomplete)
    ]
