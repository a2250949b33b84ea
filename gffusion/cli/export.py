"""`gffusion export`: write a model as an ONNX or a torch.export file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gffusion.export.requirements import DTYPES

from .choices import show_choices
from .errors import user_errors
from .library_logging import quiet_libraries
from .messages import print_note
from .models import locate_model
from .options import JsonOption, OverwriteFileOption
from .outputs import check_writable, new_output
from .printing import print_json, print_line

# Pairs that a comparison reads at most.
_MAX_PAIRS = 10


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of a bundled model, folder, or Hub id.")],
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="File to write: .onnx, or .pt2 for torch.export.load."),
    ],
    segment: Annotated[bool, typer.Option("--segment", help="The file also computes label maps.")] = False,
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype",
            metavar=show_choices(DTYPES),
            help="Precision: fp16 computes in half precision, for GPUs; int8 has encoders with 8-bit weights, for CPUs. Inputs and "
            "outputs do not change.",
        ),
    ] = "fp32",
    uint8: Annotated[
        bool,
        typer.Option(
            "--uint8",
            help="The file takes and returns bytes (uint8), channels last, for programs of your own. `gffusion fuse` needs a file without this option.",
        ),
    ] = False,
    visible: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help=f"Folder of visible images for the comparison with PyTorch, of which up to {_MAX_PAIRS} are read. [default: rendered images]",
        ),
    ] = None,
    infrared: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of infrared images for the comparison. [default: rendered images]"),
    ] = None,
    overwrite: OverwriteFileOption = False,
    as_json: JsonOption = False,
) -> None:
    """Export a model for ONNX Runtime or torch.export, and compare the file with PyTorch.

    Height, width and batch size stay free. Normalization, resizing for the encoders and colors are part of the file.
    Exit code: 0 if the file was written, 2 if not.
    """
    with user_errors(), new_output(output):
        from gffusion.export.requirements import check_export

        check_export(output, dtype, overwrite)
        check_writable(output)
        if (visible is None) != (infrared is None):
            raise ValueError("--visible and --infrared must be given together")
        folder = locate_model(model)
        pairs = _read_pairs(visible, infrared) if visible is not None and infrared is not None else None
        license = _find_license(model, folder)
        quiet_libraries()
        import torch

        from gffusion.export.exporting import export_model
        from gffusion.export.metadata import name_saved_options
        from gffusion.zoo import create_model, load_image_processor

        print_line(
            f"exporting {model}: this takes half a minute, and minutes with --segment or on a busy machine", err=True
        )
        options = {} if segment else {"use_segmenter": False}
        loaded = create_model(model, dtype=torch.float32, **options)  # --dtype is that of the file
        image_processor = load_image_processor(model)
        parity = export_model(
            loaded,
            image_processor,
            output,
            name=model,
            license=license,
            segment=segment,
            dtype=dtype,
            uint8=uint8,
            pairs=pairs,
            overwrite=overwrite,
        )
        print_line(parity.describe(), err=as_json)
        if parity.largest > 1:
            print_note(f"--dtype {dtype} is more than one gray level from PyTorch")
        if saved := name_saved_options(image_processor):
            print_note(
                f"the options of the model are saved in the file, but are not part of its graph: {saved}; gffusion fuse applies "
                "them, and programs of your own must, too"
            )
    print_line(f"{model} ({dtype}) -> {output} ({output.stat().st_size / 1e6:.1f} MB)", err=as_json)
    if as_json:
        print_json(
            {
                "model": model,
                "dtype": dtype,
                "parity": vars(parity),
                "bytes": output.stat().st_size,
                "output": str(output),
            }
        )


def _read_pairs(visible: Path, infrared: Path) -> list[Any]:
    from gffusion.data import ReadOptions, match_pairs, read_pair

    pairs = match_pairs(visible, infrared).pairs[:_MAX_PAIRS]
    return [read_pair(pair.visible, pair.infrared, ReadOptions())[:2] for pair in pairs]


def _find_license(name: str, folder: str) -> str:
    """Return the license of a listed model, or those of the card in its folder."""
    from gffusion.utils.yaml_text import read_front_matter
    from gffusion.zoo.registry import find_entry

    entry, card = find_entry(name), Path(folder, "README.md")
    if entry is not None and entry.license is not None:
        return entry.license
    found: Any = None
    if card.is_file():
        try:
            found = read_front_matter(card).get("license")
        except (OSError, ValueError) as error:
            print_note(f"{card} cannot be read, so no license is stated in the file: {error}")
    licenses = found if isinstance(found, list) else [found]
    return ", ".join(str(license) for license in licenses if license) or "not stated"
