"""`gffusion models`: what models there are."""

from typing import Annotated, Any

import typer

from .errors import user_errors


def models(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help='Names to show, such as "*funet*".')] = "*",
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help='Only models that are "bundled", "published" or "recipe-only".')
    ] = None,
) -> None:
    """Show the models of the zoo: where their weights are, their licence and data, and what was measured with them.

    "recipe-only" means that no weights are published; the recipe trains them.
    """
    from gffusion.zoo.registry import find_entries

    with user_errors():
        choice: Any = status
        entries = find_entries(pattern, choice)
        if not entries:
            raise ValueError(f"no model matches {pattern!r}{f' and is {status}' if status else ''}")
    rows = [("name", "status", "licence", "training data", "recipe")]
    rows += [
        (
            entry.name,
            entry.status,
            entry.licence or "-",
            entry.training_data,
            entry.recipe,
        )
        for entry in entries
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    typer.echo()
    for entry in entries:
        typer.echo(f"{entry.name}: {entry.description}")
        if entry.repo_id is not None:
            typer.echo(f"  on the Hub: {entry.repo_id}, revision {entry.revision}")
        for measured in entry.measurements:
            figures = ", ".join(f"{name} {value:.3f}" for name, value in measured.metrics.items())
            typer.echo(f"  {measured.data_set}: {figures}\n    {measured.command}")
