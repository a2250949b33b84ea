"""`gffusion benchmark`: print where the time of a pair goes on this machine."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gffusion._version import __version__

from .errors import user_errors
from .library_logging import quiet_libraries
from .models import complete_model, locate_model
from .printing import print_json

if TYPE_CHECKING:
    from gffusion.inference.measuring import Measurement


def benchmark(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="Name of a bundled model, folder, or Hub id.",
            autocompletion=complete_model,
        ),
    ] = "gffusion-tiny",
    size: Annotated[
        str,
        typer.Option(
            metavar="HxW",
            help="Height and width of the pair in pixels, each at least 32; together fewer than 8,388,608 pixels, because `fuse` "
            "splits larger images into tiles.",
        ),
    ] = "480x640",
    repeats: Annotated[
        int,
        typer.Option(
            "--repeats", min=1, metavar="COUNT", help="Number of passes; the medians of their times are printed."
        ),
    ] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure the time of each step of a pair on the CPU, from reading its files to writing the fused image.

    Parameters and GFLOP are those of the networks without the segmenter; a multiply-add counts as two.
    The time of each step is compared with a limit. The limit of the networks is the time of their convolutions and matrix products
    at the rates that this processor reaches for large ones, which are measured between the passes. The limit of other steps is
    the time of copying their data. Close other programs: they slow down steps and rates at different moments.
    """
    with user_errors():
        shape = _parse_size(size)
        locate_model(model)
        from gffusion.inference.measuring import measure_pair
        from gffusion.zoo import create_model, load_image_processor

        quiet_libraries()
        measured = measure_pair(create_model(model, use_segmenter=False), load_image_processor(model), shape, repeats)
    if as_json:
        print_json(_describe(measured, model, shape))
    else:
        _print_table(measured, model, shape)


def _parse_size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and min(int(height), int(width)) >= 32):
        raise ValueError(f"--size must be height and width, at least 32, such as 480x640, got {text!r}")
    return int(height), int(width)


def _describe(measured: "Measurement", model: str, size: tuple[int, int]) -> dict[str, Any]:
    import platform

    import torch
    import transformers

    return {
        "model": model,
        "size": list(size),
        "threads": torch.get_num_threads(),
        "versions": {"gffusion": __version__, "torch": torch.__version__, "transformers": transformers.__version__},
        "python": platform.python_version(),
        "processor": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "rates": vars(measured.rates),
        "parameters": measured.parameters,
        "gflop": measured.flop / 1e9,
        "steps": {
            step.name: {
                "seconds": step.seconds,
                "limit": step.limit,
                "gflop": None if step.flop is None else step.flop / 1e9,
            }
            for step in measured.steps
        },
    }


def _print_table(measured: "Measurement", model: str, size: tuple[int, int]) -> None:
    facts, rates, parameters = _describe(measured, model, size), measured.rates, measured.parameters
    total = sum(step.seconds for step in measured.steps)
    typer.echo(
        f"{model}, {size[0]}x{size[1]}, {facts['threads']} threads, {facts['processor']}, torch {facts['versions']['torch']}\n"
        f"{parameters['trained']:,} trained and {parameters['frozen']:,} frozen parameters, {facts['gflop']:.1f} GFLOP per pair\n"
        f"convolutions {rates.convolution / 1e9:.0f} GFLOP/s ({rates.narrow / 1e9:.0f} with 16 channels), matrix products "
        f"{rates.matmul / 1e9:.0f} GFLOP/s, copies {rates.copy / 1e9:.1f} GB/s\n\n{'step':10}{'ms':>9}{'share':>8}{'limit':>9}{'times':>8}"
    )
    networks = [step for step in measured.steps if step.name in ("encoder", "FuNet", "decode")]
    rows = [(step.name, step.seconds, step.limit) for step in measured.steps]
    rows += [("networks", sum(step.seconds for step in networks), sum(step.limit or 0 for step in networks))]
    rows += [("all", total, None)]
    for name, seconds, limit in rows:
        bound = "" if limit is None else f"{1e3 * limit:9.1f}{seconds / limit:8.1f}"
        typer.echo(f"{name:10}{1e3 * seconds:9.1f}{100 * seconds / total:7.0f}%{bound}")
