"""`gffusion masks`: makes label maps of the objects in boxes."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .device import choose_device
from .errors import one_line, user_errors
from .quiet import quiet_libraries

if TYPE_CHECKING:
    from gffusion.data import ImagePair
    from gffusion.labeling.labels import LabelResult
    from gffusion.labeling.masks import MaskMethod

METHODS = ("pca", "threshold")
_SHOWN_PAIRS = 8


def masks(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of a data set with boxes.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder of the label maps. [default: DATA/labels]"),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help='"pca": principal components of an encoder\'s features; "threshold": temperature and colour.'
        ),
    ] = "pca",
    encoder: Annotated[
        str, typer.Option(metavar="NAME", help="Folder or Hub id of a DINOv2, CLIP or GFFusion model, for pca.")
    ] = "facebook/dinov2-base",
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of the encoder on the Hub. [default: main]")
    ] = None,
    image_size: Annotated[
        tuple[int, int] | None,
        typer.Option(
            metavar="HEIGHT WIDTH",
            help="At which the encoder sees pictures, in multiples of its patch; larger finds smaller objects. "
            "[default: next to each picture's own]",
        ),
    ] = None,
    source: Annotated[str, typer.Option(help="What is looked at: visible, infrared or both.")] = "both",
    layout: Annotated[
        str, typer.Option(help='How DATA is arranged: "folders" (visible/, infrared/, boxes/), "m3fd", "llvip", ...')
    ] = "folders",
    split: Annotated[str | None, typer.Option(help="Part of the data set, where the layout has parts.")] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Classes of the boxes. [default: those of the data set]")
    ] = None,
    fallback: Annotated[
        str, typer.Option(help="What an object gets in whose box nothing is found: ellipse, box or ignore.")
    ] = "ellipse",
    ignore_doubtful: Annotated[
        bool,
        typer.Option(
            "--ignore-doubtful/--no-ignore-doubtful",
            help="Ignore what may be part of an object, 255, rather than call it background.",
        ),
    ] = True,
    contact_sheet: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"Also show the maps of {_SHOWN_PAIRS} pairs in a picture.")
    ] = None,
    device: Annotated[str, typer.Option(help='"auto", "cpu", "cuda", "cuda:1", "mps", ...')] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist; else skip them.")] = False,
) -> None:
    """Make label maps for segmentation out of boxes: 0 is the background, a box's class + 1 its object, 255 is ignored.

    Maps are 8-bit PNG files; classes.txt beside their folder names the classes. Exit code: 0 if all went well, 1 if some
    pairs failed, 2 if nothing could be done.
    """
    with user_errors():
        output = output or data / "labels"
        _check_options(data, output, method, source, fallback, contact_sheet)
        pairs, class_names = _find(data, layout, split, classes)
        pairs = [replace(pair, labels=output / f"{pair.name}.png") for pair in pairs]
        todo = [pair for pair in pairs if overwrite or not _is_labelled(pair)]
        failed: list[LabelResult] = []
        if todo:
            mask_method = _load(method, encoder, revision, image_size, source, device)
            _write_classes(output.parent / "classes.txt", class_names)
            failed, summary = _run(todo, output, mask_method, class_names, fallback, ignore_doubtful)
            skipped = f", skipped {len(pairs) - len(todo)} that existed" if len(todo) < len(pairs) else ""
            typer.echo(f"{summary}{skipped} -> {output}")
        else:
            typer.echo(f"nothing labelled: all {len(pairs)} label maps exist, and --overwrite was not given")
        if contact_sheet is not None:
            _show([pair for pair in pairs if _is_labelled(pair)], class_names, contact_sheet)
    if failed:
        typer.echo(f"{len(failed)} failed:", err=True)
        for result in failed:
            typer.echo(f"  {result.pair.name}: {one_line(result.error or '')}", err=True)
        raise typer.Exit(1)


def _check_options(
    data: Path, output: Path, method: str, source: str, fallback: str, contact_sheet: Path | None
) -> None:
    """Refuse what can be refused without reading files."""
    if not data.exists():
        raise FileNotFoundError(f"the folder {data} does not exist")
    if output.is_file():
        raise NotADirectoryError(f"{output} is a file, but a folder is needed to write to")
    from gffusion.data import IMAGE_SUFFIXES
    from gffusion.labeling.masks import FALLBACKS, SOURCES

    for option, value, allowed in (
        ("--method", method, METHODS),
        ("--source", source, SOURCES),
        ("--fallback", fallback, FALLBACKS),
    ):
        if value not in allowed:
            raise ValueError(f"{option} must be one of {', '.join(allowed)}, got {value!r}")
    if contact_sheet is not None and contact_sheet.suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(f"cannot write {contact_sheet}: its suffix must be one of {', '.join(IMAGE_SUFFIXES)}")


def _find(
    data: Path, layout: str, split: str | None, classes: str | None
) -> tuple[list["ImagePair"], Sequence[str] | None]:
    """Return the pairs with boxes, and the names of the boxes' classes."""
    from gffusion.data.layouts import find_pairs

    found = find_pairs(data, layout, split)
    pairs = [pair for pair in found.match.pairs if pair.boxes is not None]
    if not pairs:
        raise ValueError(f"the pairs of {data} have no boxes, which masks are made from")
    if unboxed := [pair.name for pair in found.match.pairs if pair.boxes is None]:
        names = ", ".join(unboxed[:5]) + ", ..." * (len(unboxed) > 5)
        typer.echo(f"{len(unboxed)} without boxes, left out: {names}", err=True)
    class_names = [name.strip() for name in classes.split(",")] if classes else found.class_names
    named = [pair.boxes for pair in pairs if isinstance(pair.boxes, Path) and pair.boxes.suffix.lower() != ".txt"]
    if named and class_names is None:
        raise ValueError(
            f"{named[0]} names its classes: put them in order, in {data / 'classes.txt'} or by --classes A,B"
        )
    return pairs, class_names


def _is_labelled(pair: "ImagePair") -> bool:
    return pair.labels is not None and pair.labels.is_file()


def _load(
    method: str, encoder: str, revision: str | None, image_size: tuple[int, int] | None, source: Any, device: str
) -> "MaskMethod":
    if method == "threshold":
        from gffusion.labeling.masks import ThresholdMasks

        return ThresholdMasks(source)
    from gffusion.labeling.patch_masks import PatchMasks, load_encoder

    quiet_libraries()
    device = choose_device(device)
    return PatchMasks(load_encoder(encoder, revision).to(device), image_size, source)


def _write_classes(file: Path, class_names: Sequence[str] | None) -> None:
    """Put down the classes, unless they stand there; never leave maps beside a list that says otherwise."""
    if class_names is None:
        return
    lines = "".join(f"{name}\n" for name in class_names)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(lines, encoding="utf-8")
    elif [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()] != [*class_names]:
        raise ValueError(
            f"{file} names other classes than {', '.join(class_names)}: remove it, or choose another --output"
        )


def _run(
    pairs: list["ImagePair"],
    output: Path,
    method: "MaskMethod",
    class_names: Sequence[str] | None,
    fallback: Any,
    ignore_doubtful: bool,
) -> tuple[list["LabelResult"], str]:
    """Label all, show progress, and return what failed and a summary."""
    from tqdm import tqdm

    from gffusion.labeling.labels import write_labels
    from gffusion.labeling.masks import MaskReport

    failed, report = [], MaskReport()
    started = time.perf_counter()
    results = write_labels(pairs, output, method, class_names, fallback, ignore_doubtful)
    for result in tqdm(results, total=len(pairs), unit="pair", disable=None, leave=False):
        report += result.report
        if result.error is not None:
            failed.append(result)
    done = len(pairs) - len(failed)
    hidden = f", {report.hidden} hidden by others" if report.hidden else ""
    return failed, (
        f"labelled {done} pair{'s' * (done != 1)} in {time.perf_counter() - started:.1f} s: {report.objects} "
        f"object{'s' * (report.objects != 1)}, {report.found} found, {report.fallback} with the fallback{hidden}"
    )


def _show(pairs: list["ImagePair"], class_names: Sequence[str] | None, file: Path) -> None:
    import numpy as np

    from gffusion.data import write_image
    from gffusion.labeling.contact_sheet import choose_pairs, draw_contact_sheet

    chosen = choose_pairs(pairs, _SHOWN_PAIRS)
    if not chosen:
        typer.echo(f"no contact sheet: there are no objects to show in {len(pairs)} label maps", err=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    write_image(file, np.asarray(draw_contact_sheet(chosen, class_names)))
    typer.echo(f"{len(chosen)} of {len(pairs)} label maps shown -> {file}")
