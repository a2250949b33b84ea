"""`gffusion fuse`: fuses two files, or two folders."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .device import choose_device
from .errors import one_line, user_errors
from .quiet import quiet_libraries

if TYPE_CHECKING:
    from gffusion.inference.files import FusionJob, FusionResult
    from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor, InfraredRange
    from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

DTYPES = ("float32", "bfloat16", "float16")


def fuse(
    visible: Annotated[Path, typer.Argument(metavar="VISIBLE", help="Visible image, or a folder of them.")],
    infrared: Annotated[Path, typer.Argument(metavar="INFRARED", help="Infrared image, or a folder of them.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT", help="File to write, whose suffix tells the format, or folder."),
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Name of a bundled model, folder, or Hub id.")
    ] = "gffusion-tiny",
    device: Annotated[str, typer.Option(help='"auto", "cpu", "cuda", "cuda:1", "mps", ...')] = "auto",
    dtype: Annotated[str, typer.Option(help=f"Precision: {', '.join(DTYPES)}.")] = "float32",
    batch_size: Annotated[int, typer.Option(min=1, help="Pairs of one size that the model sees together.")] = 1,
    segment: Annotated[
        bool,
        typer.Option(
            "--segment",
            help="Write class numbers and coloured overlays, too: in labels and overlays, or beside the file.",
        ),
    ] = False,
    infrared_range: Annotated[
        str | None,
        typer.Option(
            metavar="RANGE",
            help='What spans black to white in the infrared image: "dtype" (all of 8 or 16 bits), "percentile" (0.1st to '
            "99.9th of each image) or LOW,HIGH in its own unit. [default: what was saved with the model]",
        ),
    ] = None,
    suffix: Annotated[
        str | None, typer.Option(help="Format of the files in an output folder, e.g. .png; else the visible file's.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist; else skip them.")] = False,
) -> None:
    """Fuse a visible and an infrared image, or two folders of them matched by file name.

    The fused picture keeps the size, the colour and the bit depth of the visible one. Exit code: 0 if all went well,
    1 if some pairs of a folder failed, 2 if nothing could be done.
    """
    with user_errors():
        processor_range = None if infrared_range is None else _parse_range(infrared_range)
        jobs = _plan(visible, infrared, output, suffix, segment)
        _spare_inputs(jobs)
        todo = [
            replace(job, overwrite=overwrite)
            for job in jobs
            if overwrite or not all(path.is_file() for path in job.outputs)
        ]
        skipped = len(jobs) - len(todo)
        if not todo:
            what = f"{jobs[0].fused} exists" if len(jobs) == 1 else f"all {len(jobs)} outputs exist"
            typer.echo(f"nothing done: {what}, and --overwrite was not given")
            return
        loaded, processor = _load(model, device, dtype, segment)
        for path in {path.parent for job in todo for path in job.outputs}:
            path.mkdir(parents=True, exist_ok=True)
        if processor_range is not None:
            processor.infrared_range = processor_range
        started = time.perf_counter()
        failed = _run(todo, loaded, processor, batch_size)
        seconds = time.perf_counter() - started
        if failed and len(jobs) == 1:
            raise OSError(failed[0].error)
    done = len(todo) - len(failed)
    typer.echo(
        f"fused {done} pair{'s' * (done != 1)} in {seconds:.1f} s ({_rate(done, seconds)})"
        f"{f', skipped {skipped} that existed' if skipped else ''} -> {output}"
    )
    if failed:
        typer.echo(f"{len(failed)} failed:", err=True)
        for result in failed:
            typer.echo(f"  {result.job.pair.name}: {one_line(result.error or '')}", err=True)
        raise typer.Exit(1)


def _rate(done: int, seconds: float) -> str:
    return f"{done / seconds:.1f} per second" if done >= seconds else f"{seconds / max(done, 1):.1f} s per pair"


def _parse_range(text: str) -> "InfraredRange":
    if text == "dtype":
        return "dtype"
    if text == "percentile":
        return "percentile"
    try:
        low, high = (float(number) for number in text.split(","))
    except ValueError:
        raise ValueError(f'--infrared-range must be "dtype", "percentile" or LOW,HIGH, got {text!r}') from None
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"--infrared-range needs finite LOW < HIGH, got {text}")
    return [low, high]


def _plan(  # noqa: C901
    visible: Path, infrared: Path, output: Path, suffix: str | None, segment: bool
) -> list["FusionJob"]:
    """Return what is to be fused and written, having checked what can be checked without reading images."""
    for path in (visible, infrared):
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
    if visible.is_dir() != infrared.is_dir():
        folder, file = (visible, infrared) if visible.is_dir() else (infrared, visible)
        raise ValueError(f"{folder} is a folder but {file} is a file: give two files or two folders")
    from gffusion.data import IMAGE_SUFFIXES, ImagePair, match_pairs

    if suffix is not None and suffix not in IMAGE_SUFFIXES:
        raise ValueError(f"--suffix must be one of {', '.join(IMAGE_SUFFIXES)}, got {suffix!r}")
    from gffusion.inference.files import FusionJob  # imports torch: not before the arguments make sense

    if visible.is_dir():
        match = match_pairs(visible, infrared)
        for kind, files in (("infrared", match.visible_only), ("visible", match.infrared_only)):
            if files:
                names = ", ".join(file.name for file in files[:5]) + ", ..." * (len(files) > 5)
                typer.echo(f"{len(files)} without {kind} partner, left out: {names}", err=True)
        pairs = match.pairs
    else:
        pairs = (ImagePair(visible.stem, visible, infrared),)
        if output.suffix and not output.is_dir():
            if output.suffix.lower() not in IMAGE_SUFFIXES:
                raise ValueError(f"cannot write {output}: its suffix must be one of {', '.join(IMAGE_SUFFIXES)}")
            labels, overlay = (output.with_name(f"{output.stem}_{kind}.png") for kind in ("labels", "overlay"))
            return [FusionJob(pairs[0], output, labels, overlay) if segment else FusionJob(pairs[0], output)]
    if output.is_file():
        raise NotADirectoryError(f"{output} is a file, but a folder is needed to write to")
    return [
        FusionJob(
            pair,
            output / f"{pair.visible.stem}{suffix or pair.visible.suffix}",
            labels=output / "labels" / f"{pair.visible.stem}.png" if segment else None,
            overlay=output / "overlays" / f"{pair.visible.stem}.png" if segment else None,
        )
        for pair in pairs
    ]


def _spare_inputs(jobs: list["FusionJob"]) -> None:
    sources = {path.resolve() for job in jobs for path in (job.pair.visible, job.pair.infrared)}
    for path in (path for job in jobs for path in job.outputs):
        if path.resolve() in sources:
            raise ValueError(f"the output {path} would overwrite an input: choose another output")


def _load(name: str, device: str, dtype: str, segment: bool) -> tuple["GFFusionModel", "GFFusionImageProcessor"]:
    import torch

    from gffusion.zoo import create_model, load_image_processor

    quiet_libraries()
    if dtype not in DTYPES:
        raise ValueError(f"--dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    device = choose_device(device)
    options = {} if segment else {"use_segmenter": False}
    model = create_model(name, dtype=getattr(torch, dtype), **options)
    if segment and not model.config.use_segmenter:
        raise ValueError(f"the model {name} has no segmenter: leave out --segment, or choose a model that has one")
    return model.to(device), load_image_processor(name)


def _run(
    jobs: list["FusionJob"], model: "GFFusionModel", processor: "GFFusionImageProcessor", batch_size: int
) -> list["FusionResult"]:
    """Fuse all, show progress, and return what failed."""
    from tqdm import tqdm

    from gffusion.inference.files import fuse_files

    failed = []
    with tqdm(total=len(jobs), unit="pair", disable=None, leave=False) as progress:
        for result in fuse_files(jobs, model, processor, batch_size):
            progress.update()
            if result.error is not None:
                failed.append(result)
    return failed
