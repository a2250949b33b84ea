"""User errors as one line on stderr and exit code 2."""

import contextlib
from collections.abc import Iterator

import typer


def one_line(error: BaseException | str) -> str:
    """Return an error's message without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Turn `ValueError`, `OSError` and a training's loss that is not finite into a message and exit code 2."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError) as error:
        typer.echo(f"gffusion: error: {one_line(error)}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("gffusion: interrupted; files that were written are whole", err=True)
        raise typer.Exit(130) from None
