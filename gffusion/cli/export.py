"""`gffusion export`: write a model as an ONNX or a torch.export file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gffusion.export.requirements import DTYPES, check_export

from . import infrared_options as mapping
from . import read_options as reading
from .choices import show_choices
from .errors import user_errors
from .fuse_plans import check_pairs, find_match
from .library_logging import quiet_libraries
from .messages import print_note
from .models import check_segmenter, locate_model
from .options import JsonOption, OverwriteFileOption
from .outputs import check_writable, new_output
from .printing import print_json, print_line

if TYPE_CHECKING:
    from gffusion.data import PairImages, ReadOptions

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
            metavar="IMAGES",
            help=f"Visible images for the comparison with PyTorch, of which up to {_MAX_PAIRS} pairs are read: a folder, or what else "
            "`gffusion fuse` takes. [default: rendered images]",
        ),
    ] = None,
    infrared: Annotated[
        Path | None,
        typer.Option(
            metavar="IMAGES",
            help="Infrared images for the comparison; leave it out if --visible has both images or is a CSV file. [default: rendered images]",
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
    overwrite: OverwriteFileOption = False,
    as_json: JsonOption = False,
) -> None:
    """Export a model for ONNX Runtime or torch.export, and compare the file with PyTorch.

    Height, width and batch size stay free. Normalization, resizing for the encoders and colors are part of the file.
    The mapping of infrared values (--infrared-range to --smooth-range) is not, but its options are saved in the file:
    `gffusion fuse` applies them with an .onnx file without --uint8, and programs of your own must. The other options for
    reading images need --visible and --infrared.
    Exit code: 0 if the file was written, 2 if not.
    """
    with user_errors(), new_output(output):
        check_export(output, dtype, overwrite)
        check_writable(output)
        infrared_options = mapping.parse_infrared_options(infrared_range, invert, agc, plateau_limit, smooth_range)
        flags: dict[str, Any] = {"infrared_luma": infrared_luma, "keep_borders": keep_borders, "max_pixels": max_pixels}
        read_options = reading.parse_reading(raw_frame, truncated, visible_range, align, **flags)
        folder = locate_model(model)
        if segment:
            check_segmenter(model, folder)
        mapping.check_saved_options(folder, infrared_options)
        pairs = _read_pairs(visible, infrared, output, read_options)
        license = _find_license(model, folder)
        quiet_libraries()
        import torch

        from gffusion.export.exporting import check_model, export_model
        from gffusion.export.metadata import name_saved_options
        from gffusion.zoo import create_model, load_image_processor

        options = {} if segment else {"use_segmenter": False}
        image_processor = load_image_processor(model, **infrared_options)
        loaded = create_model(model, dtype=torch.float32, **options)  # --dtype is that of the file
        check_model(loaded, model, segment, dtype)
        print_line(
            f"exporting {model}: this takes half a minute, and minutes with --segment or on a busy machine", err=True
        )
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
        print_line(parity.describe())
        if parity.largest > 1:
            print_note(f"--dtype {dtype} is more than one gray level from PyTorch")
        if saved := name_saved_options(image_processor):
            advice = "your program must apply them"
            if output.suffix.lower() == ".onnx" and not uint8:
                advice = "gffusion fuse applies them, and programs of your own must, too"
            print_note(f"options that are saved in the file, but are not part of its graph: {saved}; {advice}")
    print_line(f"{model} ({dtype}) -> {output} ({output.stat().st_size / 1e6:.1f} MB)")
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


def _read_pairs(
    visible: Path | None, infrared: Path | None, output: Path, read_options: "ReadOptions"
) -> "list[PairImages] | None":
    """Return the pairs for the comparison; None for rendered ones."""
    from gffusion.data import ReadOptions, read_pair  # saves start-up time
    from gffusion.data.rigs import find_rig

    if visible is None:
        if infrared is not None:
            raise ValueError("--infrared needs --visible: give both")
        if read_options != ReadOptions():
            raise ValueError("options for reading images, such as --align, need --visible and --infrared")
        return None
    pairs = find_match(visible, infrared, output, read_options).pairs[:_MAX_PAIRS]
    check_pairs(pairs, read_options)
    read_options, found = find_rig(pairs, read_options)
    if found is not None:
        print_line(found, err=True)
    return [read_pair(pair.visible, pair.infrared, read_options) for pair in pairs]


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
