"""`gffusion masks`: make label maps of the objects in boxes."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gffusion.labeling.options import FALLBACKS, METHODS, SOURCES, check_choice
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.utils.notes import format_count, group_notes

from . import infrared_options as mapping
from . import read_options as reading
from .choices import IMAGE_SUFFIXES, LAYOUTS, show_choices
from .device import choose_device
from .errors import exit_with_failures, user_errors
from .fuse_reports import count_pairs
from .library_logging import quiet_libraries
from .masks_classes import check_classes, find_classes_file, name_existing, note_unnamed, write_classes
from .masks_sheet import SHEET_PAIRS, check_contact_sheet, is_labeled, write_contact_sheet
from .messages import print_note, print_warning
from .option_values import split_list
from .options import DEVICES, OverwriteFilesOption, QuietOption
from .outputs import check_new, check_not_inputs, check_parent, check_writable, new_output
from .printing import list_names, print_line

if TYPE_CHECKING:
    from gffusion.data import FoundPairs, ImagePair, PairMatch, ReadOptions
    from gffusion.data.infrared_range import PairRanges
    from gffusion.labeling.labels import LabelResult
    from gffusion.labeling.masks import MaskMethod

_ENCODER = "facebook/dinov2-base"
_NOT_COMPARED = "(method and options are not compared)"


def masks(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder of a dataset with boxes, or CSV file of pairs.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder for the label maps. [default: where the layout has them]"
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar=show_choices(METHODS),
            help="What separates objects from background: principal components of an encoder's features (pca), or temperature "
            "and color (threshold).",
        ),
    ] = "pca",
    encoder: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="For pca: folder or Hub id of a DINOv2, CLIP or GFFusion model whose features are used.",
        ),
    ] = _ENCODER,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="REVISION", help="Of the encoder on the Hub. [default: main]")
    ] = None,
    image_size: Annotated[
        tuple[int, int] | None,
        typer.Option(
            metavar="HEIGHT WIDTH",
            min=1,
            help="For pca: size of the encoder's input in pixels, multiples of its patch size; larger inputs find smaller objects. "
            "[default: multiples nearest to the size of each image]",
        ),
    ] = None,
    source: Annotated[
        str, typer.Option("--source", metavar=show_choices(SOURCES), help="Images to find the objects in.")
    ] = "both",
    layout: Annotated[
        str,
        typer.Option(
            "--layout",
            metavar=show_choices(LAYOUTS),
            help="Layout of DATA. folders (visible/, infrared/, boxes/), m3fd and llvip have boxes.",
        ),
    ] = "folders",
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="NAME",
            help="Split, such as train. [default: all pairs; layouts with one folder per split need one]",
        ),
    ] = None,
    class_names: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...", help="Class names of the boxes, in order. [default: as in the dataset's classes.txt]"
        ),
    ] = None,
    fallback: Annotated[
        str,
        typer.Option(
            "--fallback",
            metavar=show_choices(FALLBACKS),
            help="How a box in which no object is found is labeled: its ellipse or the whole box as the object, or as 255 (ignored).",
        ),
    ] = "ellipse",
    ignore_doubtful: Annotated[
        bool,
        typer.Option(
            "--ignore-doubtful/--no-ignore-doubtful",
            help="Label pixels that may belong to an object as 255 (ignored) instead of background.",
        ),
    ] = True,
    infrared_range: Annotated[str | None, mapping.without_model(mapping.InfraredRangeOption)] = None,
    invert: Annotated[bool | None, mapping.without_model(mapping.InvertOption)] = None,
    agc: Annotated[str | None, mapping.without_model(mapping.AgcOption)] = None,
    plateau_limit: Annotated[float | None, mapping.without_model(mapping.PlateauLimitOption)] = None,
    smooth_range: Annotated[float | None, mapping.without_model(mapping.SmoothRangeOption)] = None,
    infrared_luma: reading.InfraredLumaOption = False,
    keep_borders: reading.KeepBordersOption = False,
    visible_range: reading.VisibleRangeOption = None,
    max_pixels: reading.MaxPixelsOption = reading.MAX_PIXELS,
    truncated: reading.TruncatedOption = "refuse",
    align: reading.AlignOption = "none",
    contact_sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"Also write an image that shows the label maps of up to {SHEET_PAIRS} pairs. An existing one is replaced with --overwrite only.",
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help=f"For pca: {DEVICES}")] = "auto",
    overwrite: OverwriteFilesOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make label maps for segmentation from boxes: 0 is background, an object has the class of its box plus 1, 255 is ignored.

    Infrared images are read as the options say, not as saved with a model. Label maps are 8-bit PNG files. The class names are
    written to classes.txt next to their folder. Exit code: 0 on success, 1 if some pairs failed, 2 if all failed or nothing could
    be done.
    """
    from gffusion.labeling.files import choose_label_files  # imports NumPy, which would delay `gffusion --help`

    with user_errors(), contextlib.ExitStack() as stack:
        _check_options(data, method, source, fallback, contact_sheet)
        if method != "pca":
            options_of_pca = {"--encoder": encoder != _ENCODER, "--revision": revision, "--image-size": image_size}
            _refuse_options(options_of_pca | {"--device": device != "auto"})
        given = mapping.parse_infrared_options(infrared_range, invert, agc, plateau_limit, smooth_range)
        options = InfraredOptions().override(**given)  # raises if they exclude the defaults
        if source == "visible" and contact_sheet is None:
            options = _leave_out_infrared(given)
        flags: dict[str, Any] = {"infrared_luma": infrared_luma, "keep_borders": keep_borders, "max_pixels": max_pixels}
        read_options = reading.parse_reading(None, truncated, visible_range, align, **flags)
        pairs, names, found = _find_pairs(data, layout, split, split_list(class_names))
        data_labels, match = found.labels or data / "labels", found.match
        output = output or data_labels
        _check_output(output, match)
        _check_order(names, found, layout, output)
        stack.enter_context(new_output(output))
        label_maps = choose_label_files(pairs, output)
        pairs = [replace(pair, labels=file) for pair, file in zip(pairs, label_maps, strict=True)]
        check_not_inputs(label_maps, _list_sources(match))
        if contact_sheet is not None:
            given_maps = (pair.labels for pair in match.pairs if pair.labels is not None)
            data_files = [*_list_sources(match), *match.labels_only, *given_maps]
            check_contact_sheet(contact_sheet, data_files, data_labels, label_maps)
        todo = [pair for pair in pairs if overwrite or not is_labeled(pair)]
        if contact_sheet is not None and len(todo) == len(pairs):  # otherwise, it can be of this command, interrupted
            check_new(contact_sheet, overwrite)
        ranges = _measure(pairs, options, read_options) if todo or contact_sheet else None
        failed: list[LabelResult] = []
        count = 0
        if todo:
            check_writable(output)
            check_classes(output, names)
            mask_method = _load_method(method, encoder, revision, image_size, source, device)
            failed, count, summary = _label(todo, output, mask_method, names, fallback, ignore_doubtful, ranges)
            skipped = (
                f", skipped {len(pairs) - len(todo)} that existed {_NOT_COMPARED}" if len(todo) < len(pairs) else ""
            )
            print_line(f"{summary}{skipped} -> {output}")
        else:
            print_line(f"nothing to do: all {len(pairs)} label maps exist {_NOT_COMPARED}; --overwrite replaces them")
            if names is not None:
                name_existing(pairs, output, names, is_listed=class_names is not None or found.are_names_listed)
        if names is None:
            note_unnamed(output, find_classes_file(data_labels))
        if contact_sheet is not None:
            write_contact_sheet(pairs, names, contact_sheet, ranges, overwrite, max_pixels)
    if failed:
        failures = [(result.pair.name, result.error) for result in failed]
        exit_with_failures("failed", failures, is_partial=count + len(pairs) > len(todo))


def _check_options(data: Path, method: str, source: str, fallback: str, contact_sheet: Path | None) -> None:
    """Check everything that needs no image and no heavy import."""
    if not data.exists():
        raise FileNotFoundError(f"the folder {data} does not exist")
    check_choice("--method", method, METHODS)
    check_choice("--source", source, SOURCES)
    check_choice("--fallback", fallback, FALLBACKS)
    if contact_sheet is not None:
        check_parent(contact_sheet, "--contact-sheet")
        if contact_sheet.suffix.lower() not in IMAGE_SUFFIXES:
            raise ValueError(f"--contact-sheet must end in one of {', '.join(IMAGE_SUFFIXES)}, got {contact_sheet}")


def _refuse_options(options: Mapping[str, Any]) -> None:
    """Raise ValueError if options of another method are given."""
    if given := [name for name, value in options.items() if value]:
        raise ValueError(
            f"{_join(given)} can be used with --method pca only: leave {'them' if len(given) > 1 else 'it'} out"
        )


def _leave_out_infrared(given: Mapping[str, Any]) -> InfraredOptions:
    """Return options that map infrared values of any kind, which nothing shows, and tell which ones are not used."""
    if given:
        names = [f"--{'no-' * (value is False)}{name.replace('_', '-')}" for name, value in given.items()]
        print_note(f"{_join(names)} change{'s' * (len(names) == 1)} only the --contact-sheet with --source visible")
    return InfraredOptions("percentile")


def _join(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _find_pairs(
    data: Path, layout: str, split: str | None, given_names: list[str] | None
) -> tuple[list["ImagePair"], Sequence[str] | None, "FoundPairs"]:
    """Return the pairs with boxes, the class names of the boxes, and all that was found."""
    from gffusion.data.boxes import has_class_names
    from gffusion.data.boxes.checks import check_boxes, note_unused
    from gffusion.data.class_names import check_typed_names
    from gffusion.data.layouts import find_pairs
    from gffusion.data.layouts.unread import describe_unread
    from gffusion.data.other_files import describe_json  # saves start-up time

    found = find_pairs(data, layout, split)
    pairs = [pair for pair in found.pairs if pair.boxes is not None]
    if not pairs:
        unread = describe_unread(found.pairs, "boxes") + describe_json(data)
        raise ValueError(f"no pair of {data} has boxes to make label maps from{unread}")
    if unboxed := [pair.name for pair in found.pairs if pair.boxes is None]:
        print_line(f"left out {len(unboxed)} without boxes: {list_names(unboxed)}", err=True)
    class_names = found.check_class_names() if given_names is None else check_typed_names(given_names, "--class-names")
    named = (pair.boxes for pair in pairs if isinstance(pair.boxes, Path) and has_class_names(pair.boxes))
    if class_names is None and (file := next(named, None)):
        names_file = find_classes_file(found.labels or data / "labels")
        raise ValueError(
            f"{file} contains class names: list all names in order in {names_file}, or pass --class-names A,B"
        )
    boxes = {pair.visible: pair.boxes for pair in pairs}
    boxed = replace(found.match, pairs=tuple(replace(pair, labels=None) for pair in pairs))  # label maps are made anew
    if warning := replace(found, match=boxed).find_moved_names(given_names or ()):
        print_warning(warning)
    for note in (check_boxes(boxes, class_names, for_labels=True), *note_unused(boxes.values())):
        if note:
            print_note(note)
    return pairs, class_names, found


def _check_output(output: Path, match: "PairMatch") -> None:
    """Raise an error if the output is a file, or a folder of images, whose names label maps would repeat."""
    if output.exists() and not output.is_dir():
        raise NotADirectoryError(f"--output must be a folder, but {output} is a file")
    images = {file.parent.resolve() for pair in match.pairs for file in (pair.visible, pair.infrared)}
    if output.resolve() in images:
        raise ValueError(f"--output {output} is a folder of images, not of label maps: choose another folder")


def _check_order(names: Sequence[str] | None, found: "FoundPairs", layout: str, output: Path) -> None:
    """Raise ValueError if label maps that a layout reads by its own numbers would have others."""
    from gffusion.data.class_names import check_order  # saves start-up time

    if layout != "folders" and found.labels is not None and output.resolve() == found.labels.resolve():
        check_order(names or (), found.class_names or (), layout)


def _list_sources(match: "PairMatch") -> list[Path]:
    """Return the files with images and boxes."""
    files = [path for pair in match.pairs for path in (pair.visible, pair.infrared, pair.boxes)]
    files += (*match.visible_only, *match.infrared_only, *match.boxes_only)
    return [path for path in files if isinstance(path, Path)]


def _measure(pairs: list["ImagePair"], options: InfraredOptions, read_options: "ReadOptions") -> "PairRanges":
    """Find the rig and the range of the pairs, and print them."""
    from gffusion.data.infrared_range import measure_pairs
    from gffusion.data.rigs import find_rig  # these imports take time that `gffusion --help` need not spend
    from gffusion.data.wrong_pairs import check_not_swapped

    check_not_swapped(pairs, read_options)
    read_options, found = find_rig(pairs, read_options)
    ranges = measure_pairs(pairs, options, read_options)
    for text in filter(None, (found, ranges.description)):
        print_line(text)
    if ranges.warning:
        print_warning(ranges.warning)
    return ranges


def _load_method(
    method: str, encoder: str, revision: str | None, image_size: tuple[int, int] | None, source: Any, device: str
) -> "MaskMethod":
    if method == "threshold":
        from gffusion.labeling.masks import ThresholdMasks  # saves start-up time

        return ThresholdMasks(source)
    from gffusion.labeling.patch_masks import PatchMasks, load_encoder  # imports torch

    quiet_libraries()
    device = choose_device(device)
    return PatchMasks(load_encoder(encoder, revision).to(device), image_size, source)


def _label(
    pairs: list["ImagePair"],
    output: Path,
    method: "MaskMethod",
    class_names: Sequence[str] | None,
    fallback: Any,
    ignore_doubtful: bool,
    ranges: "PairRanges | None",
) -> tuple[list["LabelResult"], int, str]:
    """Label all pairs with a progress bar; return the failed ones, the number of others, and a summary."""
    from gffusion.cameras.narrow_ranges import note_narrow
    from gffusion.labeling.labels import write_labels  # imports torch
    from gffusion.labeling.masks import MaskReport
    from gffusion.utils.progress import show_progress

    started = time.perf_counter()
    results = write_labels(pairs, output, method, class_names, fallback, ignore_doubtful, ranges, is_checked=True)
    results = write_classes(results, output, class_names)
    done = list(show_progress(results, total=len(pairs), unit="pair"))
    notes = [(result.pair.name, note) for result in done for note in result.notes]
    notes += note_narrow([(result.pair.name, *result.range_width) for result in done if result.range_width])
    for note, names in group_notes(notes):
        print_note(note + count_pairs(len(names), names, len(done)))
    report = sum((result.report for result in done), MaskReport())
    if report.ignored and not report.objects:
        print_warning("no object was labeled: all boxes are marked as groups or doubtful objects, which become 255")
    failed = [result for result in done if result.error is not None]
    if len(done) < len(pairs):
        print_line(
            f"stopped, because nothing can be written: {len(pairs) - len(done)} more not tried; the same command labels what is "
            "missing when there is room",
            err=True,
        )
    count = len(done) - len(failed)
    seconds = time.perf_counter() - started
    return failed, count, f"labeled {format_count(count, 'pair')} in {seconds:.1f} s: {report.describe(count)}"
