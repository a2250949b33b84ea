"""`gffusion fuse`: fuse two files or two folders, or files that hold both images."""

from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from . import infrared_options as mapping
from . import read_options as reading
from .choices import IMAGE_SUFFIXES, show_choices
from .distributed import Share
from .errors import user_errors
from .fuse_plans import split_folder
from .fuse_runs import fuse_pairs
from .fuse_settings import BACKENDS, DTYPES, FuseSettings, check_options
from .fuse_videos import fuse_videos, has_video
from .models import complete_model
from .options import DEVICES, OverwriteFilesOption, QuietOption
from .outputs import new_output


def _parse_rate(text: str) -> float | Fraction:
    """Return a number, or a fraction as FFmpeg prints it."""
    try:
        number = Fraction(text) if "/" in text else float(text)
        float(number)  # raises if it is too large
    except (ValueError, ZeroDivisionError, OverflowError):
        message = f"must be a number or a fraction, such as 25 or 30000/1001, got {text!r:.40}"
        raise typer.BadParameter(message) from None
    return number


def fuse(
    visible: Annotated[
        Path,
        typer.Argument(
            metavar="VISIBLE",
            help="Visible image or video, or folder of either; or, alone, a file that holds both images, such as a radiometric "
            'JPEG or a four-channel PNG, or a folder of such files. Also a pattern in quotes ("night/*.png"), a list with one '
            "name per line (@visible.txt, or @- from standard input), or, alone, a CSV file with the columns visible, infrared and optionally name.",
        ),
    ],
    infrared: Annotated[
        Path | None,
        typer.Argument(
            metavar="INFRARED",
            help="Infrared image or video, folder, pattern or list. The n-th lines of two lists are a pair.",
            show_default=False,
        ),
    ] = None,
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT", help="File to write, in the format of its suffix, or folder."),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="Name of a bundled model, folder, Hub id, or .onnx file of `gffusion export`.",
            autocompletion=complete_model,
        ),
    ] = "gffusion-tiny",
    backend: Annotated[
        str,
        typer.Option(
            "--backend",
            metavar=show_choices(BACKENDS),
            help="What runs the model: auto means onnx for --model FILE.onnx, and torch for other models.",
        ),
    ] = "auto",
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help=f'{DEVICES}; for .onnx files also "tensorrt".')
    ] = "auto",
    dtype: Annotated[
        str | None,
        typer.Option(
            "--dtype",
            metavar=show_choices(DTYPES),
            help="Precision. [default: float16 on NVIDIA GPUs, float32 elsewhere; an .onnx file has its own]",
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size", min=1, metavar="COUNT", help="Largest number of pairs, all of one size, per forward pass."
        ),
    ] = 1,
    segment: Annotated[
        bool,
        typer.Option(
            "--segment",
            help="Also write label maps and colored overlays, to OUT/labels and OUT/overlays or next to the file OUT. Needs a "
            "model with a segmenter, such as the default one; gffusion-live and gffusion-funet have none.",
        ),
    ] = False,
    infrared_range: mapping.InfraredRangeOption = None,
    invert: mapping.InvertOption = None,
    agc: mapping.AgcOption = None,
    plateau_limit: mapping.PlateauLimitOption = None,
    smooth_range: mapping.SmoothRangeOption = None,
    raw_frame: reading.RawFrameOption = None,
    infrared_luma: reading.InfraredLumaOption = False,
    keep_borders: reading.KeepBordersOption = False,
    visible_range: reading.VisibleRangeOption = None,
    max_pixels: reading.MaxPixelsOption = reading.MAX_PIXELS,
    truncated: reading.TruncatedOption = "refuse",
    align: reading.AlignOption = "none",
    reference: reading.ReferenceOption = "visible",
    crop: reading.CropOption = False,
    keep_thermal: Annotated[
        bool,
        typer.Option(
            "--keep-thermal",
            help="Also keep the aligned infrared values, in degrees Celsius if the file has their scale: in a second page of a "
            "TIFF output, or in OUT_thermal.tif next to other outputs.",
        ),
    ] = False,
    metadata: Annotated[
        bool,
        typer.Option(
            "--metadata/--no-metadata",
            help="Keep EXIF, GPS, XMP, color profile and georeference of the visible image, as far as the format can hold them.",
        ),
    ] = True,
    suffix: Annotated[
        str | None,
        typer.Option(
            "--suffix",
            metavar=show_choices(IMAGE_SUFFIXES),
            help="Format of the files in an output folder. [default: as the visible file]",
        ),
    ] = None,
    overwrite: OverwriteFilesOption = False,
    semantic_every: Annotated[
        int | None,
        typer.Option(
            "--semantic-every",
            metavar="N",
            min=1,
            help="For videos: compute CLIP's features for every N-th frame only, and after a scene cut. [default: 1]",
        ),
    ] = None,
    time_offset: Annotated[
        float | None,
        typer.Option(
            "--time-offset",
            metavar="SECONDS",
            help="For videos: seconds that are added to the time stamps of the infrared video. [default: 0]",
        ),
    ] = None,
    visible_fps: Annotated[
        float | None,
        typer.Option(
            "--visible-fps",
            metavar="RATE",
            parser=_parse_rate,
            help="If VISIBLE is a folder of frames of a video: frames per second, such as 25 or 30000/1001. [default: by the times in their names]",
        ),
    ] = None,
    infrared_fps: Annotated[
        float | None,
        typer.Option(
            "--infrared-fps",
            metavar="RATE",
            parser=_parse_rate,
            help="The same for INFRARED, such as a folder of files of a thermal camera.",
        ),
    ] = None,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="For videos: do not copy the audio of VISIBLE.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the pairs and the files that would be written, and write nothing.")
    ] = False,
    show: Annotated[
        bool,
        typer.Option("--show", help="Open the result; in a terminal without a display, draw a small version there."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report, the pairs of --dry-run, or an error as JSON.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="After all is fused, exit with code 1 if there are files or video frames without a partner, notes or warnings, but "
            "not for notes about outputs that are kept, or about ranges and rigs that were measured.",
        ),
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Fuse two images or videos, or those of two folders, or files that hold both images.

    Files of two folders are matched by name. A video can also be a folder of frames. The fused image has the size, color and bit depth of the visible image.
    `accelerate launch -m gffusion fuse ...` shares the pairs of two folders out among processes.
    Exit code: 0 if all pairs were fused, 1 if some pairs failed, 2 if all failed or nothing could be done. Files and video frames
    without a partner are no failures: they are printed, and change the exit code with --strict only.
    """
    suffix = suffix and f".{suffix.lstrip('.').lower()}"
    with user_errors(), new_output(output):
        share = Share.find()
        share.mute()
        check_options(dtype, backend, model)
        if show and (dry_run or as_json):
            raise ValueError(f"--show cannot be combined with {'--dry-run' if dry_run else '--json'}: leave one out")
        flags = {"infrared_luma": infrared_luma, "keep_borders": keep_borders, "max_pixels": max_pixels}
        settings = FuseSettings(
            output=output,
            model=model,
            device=device,
            dtype=dtype,
            batch_size=batch_size,
            segment=segment,
            overwrite=overwrite,
            metadata=metadata,
            dry_run=dry_run,
            show=show,
            as_json=as_json,
            strict=strict,
            infrared_options=mapping.parse_infrared_options(infrared_range, invert, agc, plateau_limit, smooth_range),
            read_options=reading.parse_reading(raw_frame, truncated, visible_range, align, reference, crop, **flags),
            suffix=suffix,
            keep_thermal=keep_thermal,
            timing={
                "semantic_every": semantic_every or 1,
                "time_offset": time_offset or 0,
                "visible_fps": visible_fps,
                "infrared_fps": infrared_fps,
                "keep_audio": not no_audio,
            },
        )
        video = {"--semantic-every": semantic_every, "--time-offset": time_offset}
        video |= {"--visible-fps": visible_fps, "--infrared-fps": infrared_fps, "--no-audio": no_audio or None}
        visible, infrared = split_folder(visible, infrared)
        if has_video(visible, infrared, output, video):
            if share.size > 1:
                raise ValueError("a video is fused by one process: run gffusion fuse without accelerate launch")
            fuse_videos(visible, infrared, settings)
            return
        if suffix not in (None, *IMAGE_SUFFIXES):
            raise ValueError(f"--suffix must be one of {', '.join(IMAGE_SUFFIXES)}, got {suffix!r}")
        fuse_pairs(visible, infrared, settings, share)
