"""`gffusion evaluate`: measures methods side by side over folders of pairs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .device import choose_device
from .errors import one_line, user_errors
from .quiet import quiet_libraries

_SHOWN_REASONS = 20


def evaluate(
    visible: Annotated[Path, typer.Option(metavar="DIR", help="Folder of visible images.")],
    infrared: Annotated[Path, typer.Option(metavar="DIR", help="Folder of infrared images.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Folder for tables and figures.")],
    fused: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="A method and the folder of what it fused. May be given several times."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", metavar="NAME", help="Bundled model, folder, or Hub id. May be given several times."
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="EN,SCD,...", help="Metrics that the mean rank is over. [default: EN,SCD,VIF,Qabf,SSIM]"),
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="Whose conventions to follow: standard, tang2022, tang2023 or cddfuse.")
    ] = "standard",
    segmentation: Annotated[
        Path | None, typer.Option(metavar="LABELS", help="Folder of label maps, to measure mIoU, too.")
    ] = None,
    labels_pred: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]DIR",
            help="Folder of predicted label maps, and the method they are of, which may be left out if there is only one. "
            "Else models predict their own.",
        ),
    ] = None,
    class_names: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Classes by id, the background first. Else those of the model."),
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Measure fusion without learning beside the methods.")
    ] = True,
    pictures: Annotated[
        str, typer.Option(metavar="NAMES|COUNT", help="Pairs to show in pictures.png: names, or how many.")
    ] = "3",
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that measure. [default: one a core]")] = None,
    device: Annotated[str, typer.Option(help='Where models run: "auto", "cpu", "cuda", "cuda:1", "mps", ...')] = "auto",
) -> None:
    """Measure fusion methods side by side, from folders of fused images or by running models.

    Files belong together by name. OUT gets table.md, table.tex, summary.json, per_image.csv, pictures.png and boxplots.png;
    records.jsonl, with which a further run measures only what is new. Images that cannot be measured are left out, for
    all methods, and listed. Exit code: 0 if all went well, 1 if images were left out, 2 if nothing could be done.
    """
    with user_errors():
        folders = dict(_split("--fused", text) for text in fused or [])
        if len(folders) < len(fused or []):
            raise ValueError("--fused names a method twice: give every folder a name of its own")
        learned = [*folders, *(Path(name).name for name in model or [])]
        predicted_labels = dict(_of_method(text, learned) for text in labels_pred or [])
        from gffusion.evaluation import evaluate as run  # imports torch: not before the arguments make sense

        quiet_libraries()
        options: dict[str, Any] = {} if baselines else {"baselines": ()}
        table = run(
            visible,
            infrared,
            fused=folders,
            models=model or [],
            metrics=metrics.split(",") if metrics else None,
            protocol=protocol,
            labels=segmentation,
            predicted_labels=predicted_labels,
            class_names=class_names.split(",") if class_names else None,
            output=output,
            pictures=int(pictures) if pictures.isdecimal() else pictures.split(","),
            workers=workers,
            device=choose_device(device),
            progress=True,
            **options,
        )
    typer.echo(table)
    typer.echo(f"tables and figures -> {output}")
    if table.skipped:
        _report(table.skipped)
        raise typer.Exit(1)


def _split(option: str, text: str) -> tuple[str, Path]:
    name, sign, folder = text.partition("=")
    if not (name and sign and folder):
        raise ValueError(f"{option} takes NAME=DIR, such as SeAFusion=results/seafusion, got {text!r}")
    return name, Path(folder)


def _of_method(text: str, learned: list[str]) -> tuple[str, Path]:
    if "=" in text:
        return _split("--labels-pred", text)
    if len(learned) != 1:
        raise ValueError(f"--labels-pred must say which of {len(learned)} methods it is of: give NAME={text}")
    return learned[0], Path(text)


def _report(skipped: Mapping[str, str]) -> None:
    typer.echo(f"{len(skipped)} left out, for all methods:", err=True)
    for name, reason in list(skipped.items())[:_SHOWN_REASONS]:
        typer.echo(f"  {name}: {one_line(reason)}", err=True)
    if len(skipped) > _SHOWN_REASONS:
        typer.echo(f"  and {len(skipped) - _SHOWN_REASONS} more", err=True)
