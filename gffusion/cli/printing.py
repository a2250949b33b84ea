"""Print results for other programs."""

import json
from typing import Any

import typer


def print_json(facts: Any) -> None:
    """Print JSON; bytes of file names that are no UTF-8 become its escapes, which `json.loads` turns back."""
    typer.echo(json.dumps(facts, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace").decode())
