"""`gffusion evaluate`: compare methods on folders of pairs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gffusion.evaluation.baseline_names import BASELINE_NAMES
from gffusion.export.requirements import is_onnx

from . import infrared_options as mapping
from . import read_options as reading
from .choices import METRICS, PROTOCOLS, show_choices
from .device import choose_device
from .errors import exit_with_failures, user_errors
from .library_logging import quiet_libraries
from .messages import one_line, print_note
from .models import complete_model
from .option_values import collect_fused, collect_labels, collect_models, parse_label_map, parse_zoom, split_list
from .options import DEVICES, QuietOption, ZoomOption
from .outputs import check_writable, new_output
from .printing import make_console, print_json, print_line


def evaluate(
    visible: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help='Folder of visible images, a pattern in quotes ("day/*.png"), or @list.txt; or, without --infrared, a folder with both kinds or a CSV file of pairs.',
        ),
    ],
    infrared: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder, pattern or list of infrared images. The n-th lines of two lists are a pair.",
            show_default=False,
        ),
    ] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Folder for tables and figures.")],
    fused: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="A method and the folder of its fused images. Can be repeated."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="[NAME=]MODEL",
            help="Bundled model, folder, Hub id, or .onnx file of `gffusion export`, and its name in tables. Can be repeated.",
            autocompletion=complete_model,
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="EN,SCD,...",
            help=f"Metrics of the mean rank, or all: {', '.join(METRICS)}. [default: those of EN,SCD,VIF,Qabf,SSIM that the protocol has]",
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            metavar=show_choices(PROTOCOLS),
            help="Conventions of the metrics: ours, or those of another program, to compare with published values.",
        ),
    ] = "standard",
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="LABELS",
            help="Folder of label maps, or the CSV file of pairs with a column labels: also measure mIoU.",
        ),
    ] = None,
    predicted_labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]DIR",
            help="A method and the folder of its predicted label maps; NAME= can be omitted if there is only one method. "
            "By default, models predict label maps themselves. Can be repeated.",
        ),
    ] = None,
    segment_with: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Model that predicts the label maps of all methods from their fused images: bundled model, folder or Hub id.",
            autocompletion=complete_model,
        ),
    ] = None,
    class_names: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Class names by id, the background first. [default: as in classes.txt next to LABELS, else in the model]",
        ),
    ] = None,
    label_map: Annotated[
        str | None,
        typer.Option(
            metavar="LABELMAP=MODEL,...",
            help="For label maps with other numbers than the model, such as 4=1,9=255: 4 in your files is 1 in the model, and "
            "9 is ignored. Predicted label maps must hold the numbers of the model.",
        ),
    ] = None,
    baselines: Annotated[
        str,
        typer.Option(
            "--baselines",
            metavar="NAME,...",
            help=f"Classical baselines to measure, too: all, none, or some of {', '.join(BASELINE_NAMES)}.",
        ),
    ] = "all",
    no_baselines: Annotated[bool, typer.Option("--no-baselines", help="The same as --baselines none.")] = False,
    sheet: Annotated[
        str,
        typer.Option(
            metavar="COUNT|NAME,...",
            help="Pairs to show in sheet.png, sheet-2.png, ...: how many, or their names. For a pair whose name is the number 12, "
            "write `12,`.",
        ),
    ] = "3",
    zoom: ZoomOption = None,
    html: Annotated[
        bool,
        typer.Option(
            "--html", help="Also write report.html: sortable tables, images with a slider, and box plots in one file."
        ),
    ] = False,
    std: Annotated[
        bool, typer.Option("--std", help="Show the standard deviation over the images beside each mean.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Method to test against each of the others by Wilcoxon's signed-rank test; writes significance.csv.",
        ),
    ] = None,
    infrared_range: mapping.InfraredRangeOption = None,
    invert: mapping.InvertOption = None,
    agc: mapping.AgcOption = None,
    plateau_limit: mapping.PlateauLimitOption = None,
    smooth_range: mapping.SmoothRangeOption = None,
    infrared_luma: reading.InfraredLumaOption = False,
    keep_borders: reading.KeepBordersOption = False,
    visible_range: reading.VisibleRangeOption = None,
    max_pixels: reading.MaxPixelsOption = reading.MAX_PIXELS,
    truncated: reading.TruncatedOption = "refuse",
    raw_frame: reading.RawFrameOption = None,
    align: reading.AlignOption = "none",
    reference: reading.ReferenceOption = "visible",
    crop: reading.CropOption = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, metavar="COUNT", help="Number of threads that measure images. [default: one per core]"
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help=f"For models: {DEVICES}")] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the content of summary.json instead of a table.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Compare fusion methods on folders of pairs: folders of fused images, models, and classical baselines.

    Images are matched by file name, or by a CSV file. OUT gets table.md, table.tex, table.csv, summary.json, per_image.csv, per_image_iou.csv (with
    --labels), significance.csv (with --compare), sheet.png (images side by side), boxplots.png, .svg and .pdf (with matplotlib), report.html (with --html), and
    records.jsonl, which lets later runs skip what is already measured. Images that cannot be measured are left out for all methods and listed. If OUT has a table
    of other methods, it is not replaced: choose another folder, or name these methods again to have all in one table. Exit code: 0 on success, 1 if images or label maps were left out, 2 if nothing was
    evaluated.
    """
    with user_errors(), new_output(output):
        check_writable(output)
        folders = collect_fused(fused)
        models = collect_models(model or [])
        chosen = _parse_baselines(baselines, no_baselines)
        if not folders and not models and not chosen:
            raise ValueError("nothing to evaluate: give --fused, --model or --baselines")
        new_labels, box = parse_label_map(label_map), parse_zoom(zoom)
        infrared_options = mapping.parse_infrared_options(infrared_range, invert, agc, plateau_limit, smooth_range)
        flags = {"infrared_luma": infrared_luma, "keep_borders": keep_borders, "max_pixels": max_pixels}
        read_options = reading.parse_reading(raw_frame, truncated, visible_range, align, reference, crop, **flags)
        # Wrong arguments are reported before torch is imported.
        from gffusion.data.pair_lists import is_pipe
        from gffusion.evaluation.inputs import find_inputs

        inputs: dict[str, Any] = {
            "fused": folders,
            "models": models,
            "baselines": chosen,
            "labels": labels,
            "predicted_labels": collect_labels(predicted_labels or [], [*folders, *models]),
            "segment_with": segment_with,
            "class_names": split_list(class_names),
            "label_map": new_labels,
            "output": output,
            "sheet": _parse_sheet(sheet),
            "compare": compare,
            "read_options": read_options,
        }
        if not any(map(is_pipe, filter(None, (visible, infrared)))):
            find_inputs(visible, infrared, **inputs)
        from gffusion.evaluation import evaluate as run  # imports torch

        quiet_libraries()
        table = run(
            visible,
            infrared,
            **inputs,
            metrics=split_list(metrics),
            protocol=protocol,
            zoom=box,
            html=html,
            std=std,
            workers=workers,
            device=device
            if models and all(map(is_onnx, models.values())) and not segment_with
            else choose_device(device),
            progress=True,
            write=lambda text: print_line(one_line(text), err=True),
            infrared_options=infrared_options,
        )
    if as_json:
        print_json(table.summarize())
    else:
        make_console().print(table)
    print_line(f"tables and figures -> {output}")
    if labels is not None and (others := [name for name in table.methods if name not in table.confusion]):
        print_note(
            f"no label maps of {', '.join(others)}: give them with --predicted-labels NAME=DIR, or segment all images with --segment-with MODEL"
        )
    for name, reason in table.unsegmented.items():
        print_line(f"label map of {name} left out: {reason}", err=True)
    if table.skipped:
        exit_with_failures("left out, for all methods", list(table.skipped.items()), shown=20)
    if table.unsegmented:
        raise typer.Exit(1)


def _parse_sheet(text: str) -> int | list[str] | None:
    """Return a number of pairs, or names; 007 is a name."""
    is_number = text.isdecimal() and str(int(text)) == text
    return int(text) if is_number else split_list(text)


def _parse_baselines(text: str, is_none: bool) -> list[str]:
    """Return the names of the baselines."""
    if is_none and text not in ("all", "none"):
        raise ValueError(f"--baselines {text} contradicts --no-baselines: leave one of them out")
    if is_none or text == "none":
        return []
    return list(BASELINE_NAMES) if text == "all" else split_list(text) or []
