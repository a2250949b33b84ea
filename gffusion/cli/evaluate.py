"""`gffusion evaluate`: compare methods on folders of pairs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .alignment import AlignOption, CropOption, ReferenceOption, parse_alignment
from .device import choose_device
from .errors import exit_with_failures, user_errors
from .infrared import (
    AgcOption,
    InfraredLumaOption,
    InfraredRangeOption,
    InvertOption,
    KeepBordersOption,
    PlateauLimitOption,
    SmoothRangeOption,
    parse_infrared_options,
)
from .lists import split_list
from .quiet import quiet_libraries
from .reading import MAX_PIXELS, MaxPixelsOption, TruncatedOption, check_truncated


def evaluate(
    visible: Annotated[Path, typer.Option(metavar="DIR", help="Folder of visible images.")],
    infrared: Annotated[Path, typer.Option(metavar="DIR", help="Folder of infrared images.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Folder for tables and figures.")],
    fused: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="A method and the folder of its fused images. Can be repeated."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", metavar="NAME", help="Bundled model, folder, or Hub id. Can be repeated."),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="EN,SCD,...", help="Metrics of the mean rank. [default: EN,SCD,VIF,Qabf,SSIM]")
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="Conventions of the metrics: standard, tang2022, tang2023 or cddfuse.")
    ] = "standard",
    segmentation: Annotated[
        Path | None, typer.Option(metavar="LABELS", help="Folder of label maps: also measure mIoU.")
    ] = None,
    labels_pred: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]DIR",
            help="A method and the folder of its predicted label maps; NAME= can be omitted if there is only one method. "
            "By default, models predict label maps themselves. Can be repeated.",
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
            metavar="OLD=NEW,...",
            help="Class ids by values of label maps with other numbers, such as 4=1,9=255; 255 is ignored.",
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Also measure the classical baselines.")
    ] = True,
    sheet: Annotated[
        str, typer.Option(metavar="COUNT|NAME,...", help="Pairs to show in sheet.png: their number or their names.")
    ] = "3",
    infrared_range: InfraredRangeOption = None,
    invert: InvertOption = None,
    agc: AgcOption = None,
    plateau_limit: PlateauLimitOption = None,
    smooth_range: SmoothRangeOption = None,
    infrared_luma: InfraredLumaOption = False,
    keep_borders: KeepBordersOption = False,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    truncated: TruncatedOption = "refuse",
    align: AlignOption = "none",
    reference: ReferenceOption = "visible",
    crop: CropOption = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Number of threads. [default: one per core]")] = None,
    device: Annotated[str, typer.Option(help='For models: "auto", "cpu", "cuda", "cuda:1", "mps", ...')] = "auto",
) -> None:
    """Compare fusion methods on folders of pairs: folders of fused images, models, and classical baselines.

    Images are matched by file name. OUT gets table.md, table.tex, summary.json, per_image.csv, sheet.png (images side by
    side), boxplots.png and boxplots.svg (with matplotlib), and records.jsonl, which lets later runs skip what is already
    measured. Images that cannot be measured are left out for all methods and listed. A table of other methods in OUT is not
    replaced: name them again to have all in one. Exit code: 0 on success, 1 if images were left out, 2 if nothing was
    evaluated.
    """
    with user_errors():
        folders = dict(_split("--fused", text) for text in fused or [])
        if len(folders) < len(fused or []):
            raise ValueError("--fused names a method twice: give each folder another name")
        models = model or []
        if not folders and not models and not baselines:
            raise ValueError("nothing to evaluate: give --fused or --model, or omit --no-baselines")
        new_labels = _parse_label_map(label_map)
        infrared_options = parse_infrared_options(infrared_range, invert, agc, plateau_limit, smooth_range)
        reading: dict[str, Any] = {"infrared_luma": infrared_luma, "keep_borders": keep_borders}
        reading |= {"max_pixels": max_pixels, "truncated": check_truncated(truncated)}
        reading |= parse_alignment(align, reference, crop)
        # Wrong arguments are reported before torch is imported.
        from gffusion.data import ReadOptions
        from gffusion.evaluation.inputs import find_inputs, name_model

        methods = [*folders, *map(name_model, models)]
        inputs: dict[str, Any] = {
            "fused": folders,
            "models": models,
            "labels": segmentation,
            "output": output,
            "predicted_labels": dict(_split_labels(text, methods) for text in labels_pred or []),
            "sheet": int(sheet) if sheet.isdecimal() else split_list(sheet),
            **({} if baselines else {"baselines": ()}),
        }
        find_inputs(visible, infrared, **inputs)
        from gffusion.evaluation import evaluate as run  # imports torch

        quiet_libraries()
        table = run(
            visible,
            infrared,
            **inputs,
            metrics=split_list(metrics),
            protocol=protocol,
            class_names=split_list(class_names),
            label_map=new_labels,
            workers=workers,
            device=choose_device(device),
            progress=True,
            infrared_options=infrared_options,
            read_options=ReadOptions(**reading),
        )
    from rich.console import Console  # takes a tenth of a second to import

    from gffusion.evaluation.table import UNLIMITED_WIDTH

    Console(width=UNLIMITED_WIDTH).print(table)
    typer.echo(f"tables and figures -> {output}")
    for name, reason in table.unsegmented.items():
        typer.echo(f"label map of {name} left out: {reason}", err=True)
    if table.skipped:
        exit_with_failures("left out, for all methods", list(table.skipped.items()), shown=20)


def _parse_label_map(text: str | None) -> dict[int, int]:
    parts = [part.split("=") for part in split_list(text) or []]
    if not all(len(part) == 2 and all(number.strip().isdecimal() for number in part) for part in parts):
        raise ValueError(f"--label-map takes OLD=NEW,... with whole numbers, such as 4=1,9=255, got {text!r}")
    return {int(old): int(new) for old, new in parts}


def _split(option: str, text: str) -> tuple[str, Path]:
    name, sign, folder = text.partition("=")
    if not (name and sign and folder):
        raise ValueError(f"{option} takes NAME=DIR, such as SeAFusion=results/seafusion, got {text!r}")
    return name, Path(folder)


def _split_labels(text: str, methods: list[str]) -> tuple[str, Path]:
    if "=" in text:
        return _split("--labels-pred", text)
    if len(methods) != 1:
        raise ValueError(f"--labels-pred {text}: give the name of one of {len(methods)} methods, as in NAME={text}")
    return methods[0], Path(text)
