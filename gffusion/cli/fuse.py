"""`gffusion fuse`: fuse two files or two folders, or files that hold both images."""

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .alignment import AlignOption, CropOption, ReferenceOption, parse_alignment
from .device import choose_device, choose_dtype
from .errors import exit_with_failures, user_errors
from .fuse_plans import Plan, check_outputs, name_thermal, plan_pairs
from .fuse_videos import SemanticEveryOption, TimeOffsetOption, fuse_videos, has_video, plan_video
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
from .light_imports import import_transformers, skip_meta_values
from .onnx_backend import check_backend, is_onnx, load_onnx
from .quiet import quiet_libraries
from .reading import MAX_PIXELS, MaxPixelsOption, TruncatedOption, check_truncated
from .sharing import Outcome, Share

if TYPE_CHECKING:
    from gffusion.data import ReadOptions
    from gffusion.data.infrared_range import PairRanges
    from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
    from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

DTYPES = ("float32", "bfloat16", "float16")

_NO_SEGMENTER = "the model {} has no segmenter: omit --segment or choose a model with a segmenter"


def fuse(
    visible: Annotated[
        Path,
        typer.Argument(
            metavar="VISIBLE",
            help="Visible image, or folder of visible images; or, alone, a file that holds both images, such as a radiometric "
            "JPEG or a four-channel PNG, or a folder of such files.",
        ),
    ],
    infrared: Annotated[
        Path | None,
        typer.Argument(metavar="INFRARED", help="Infrared image, or folder of infrared images.", show_default=False),
    ] = None,
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT", help="File to write, in the format of its suffix, or folder."),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="Name of a bundled model, folder, Hub id, or .onnx file of `gffusion export`."
        ),
    ] = "gffusion-tiny",
    backend: Annotated[
        str,
        typer.Option(
            help='"torch", or "onnx" for an .onnx file, which is implied by --model FILE.onnx. [default: auto]'
        ),
    ] = "auto",
    device: Annotated[
        str, typer.Option(help='"auto", "cpu", "cuda", "cuda:1", "mps", ...; for .onnx files also "tensorrt".')
    ] = "auto",
    dtype: Annotated[
        str | None,
        typer.Option(
            help=f"Precision: {', '.join(DTYPES)}. [default: float16 on NVIDIA GPUs, float32 elsewhere, or that of an .onnx file]"
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Number of pairs of one size per forward pass.")] = 1,
    segment: Annotated[
        bool,
        typer.Option(
            "--segment",
            help="Also write label maps and colored overlays, to OUT/labels and OUT/overlays or next to the file OUT.",
        ),
    ] = False,
    infrared_range: InfraredRangeOption = None,
    invert: InvertOption = None,
    agc: AgcOption = None,
    plateau_limit: PlateauLimitOption = None,
    smooth_range: SmoothRangeOption = None,
    raw_frame: Annotated[
        str | None,
        typer.Option(
            metavar="HxW,TYPE",
            help='Shape and type of infrared files without header (.raw, .bin, .dat), such as "512x640,uint16"; ">u2" for '
            "big-endian words; a third number is the size of a header in bytes.",
        ),
    ] = None,
    infrared_luma: InfraredLumaOption = False,
    keep_borders: KeepBordersOption = False,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    truncated: TruncatedOption = "refuse",
    align: AlignOption = "none",
    reference: ReferenceOption = "visible",
    crop: CropOption = False,
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
        typer.Option(help="Format of the files in an output folder, such as .png. [default: as the visible file]"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing files instead of skipping them.")
    ] = False,
    semantic_every: SemanticEveryOption = None,
    time_offset: TimeOffsetOption = None,
) -> None:
    """Fuse two images, or two folders of images, or files that hold both, or two videos.

    Images of two folders are matched by file name. The fused image has the size, color and bit depth of the visible image.
    `accelerate launch -m gffusion fuse ...` shares the pairs of two folders out among processes.
    Exit code: 0 if all pairs were fused, 1 if some pairs failed, 2 if all failed or nothing could be done.
    """
    share = Share.find()
    share.mute(errors=True)
    with user_errors():
        _check_options(suffix, dtype, backend, model)
        options = parse_infrared_options(infrared_range, invert, agc, plateau_limit, smooth_range)
        reading: dict[str, Any] = {"infrared_luma": infrared_luma, "keep_borders": keep_borders}
        reading |= {"max_pixels": max_pixels, "truncated": check_truncated(truncated)}
        read_options = _parse_read_options(raw_frame, reading | parse_alignment(align, reference, crop))
        if has_video(visible, infrared, {"--semantic-every": semantic_every, "--time-offset": time_offset}):
            refused = {
                "--suffix": suffix is not None,
                "--raw-frame": raw_frame is not None,
                "--keep-thermal": keep_thermal,
                f"--model {model}": is_onnx(model),
            }
            job = plan_video(visible, infrared, output, segment, refused)  # type: ignore[arg-type]
            if share.rank:
                return  # one process fuses the frames, in order
            if not overwrite and all(path.is_file() for path, _ in job.outputs.values()):
                typer.echo(f"nothing to do: {job.fused} exists, and --overwrite was not given")
                return
            fuse_videos(
                job,
                *_load(model, device, dtype, segment, options),
                read_options,
                batch_size=batch_size,
                semantic_every=semantic_every or 1,
                time_offset=time_offset or 0,
                keep_metadata=metadata,
            )
            return
        plans = plan_pairs(visible, infrared, output, suffix, segment, read_options)
        if keep_thermal:
            plans = [plan._replace(thermal=name_thermal(plan.fused)) for plan in plans]
        check_outputs(plans, overwrite)
        mine = share.pick(plans)
        todo = [plan for plan in mine if overwrite or not all(path.is_file() for path in plan.outputs)]
        outcome = Outcome(skipped=len(mine) - len(todo))
        if todo:
            _check_model(model, segment)
            from gffusion.data.alignment import find_rig  # saves start-up time
            from gffusion.data.combined_files import find_odd_types
            from gffusion.data.infrared_range import measure_pairs

            # From all pairs, also those fused before: the result of a pair does not depend on which files exist.
            read_options, found = find_rig([plan.pair for plan in plans], read_options)
            if found:
                typer.echo(found)
            loaded, processor = _load(model, device, dtype, segment, options)
            for folder in {path.parent for plan in todo for path in plan.outputs}:
                folder.mkdir(parents=True, exist_ok=True)
            odd = find_odd_types([plan.pair.infrared for plan in plans], read_options.raw_frame)
            # All pairs, also those fused before: the result of a pair does not depend on which files exist.
            measured = [plan.pair for plan in plans if plan.pair.infrared not in odd]
            ranges = measure_pairs(measured, processor.infrared_options, read_options)
            if ranges.description:
                typer.echo(ranges.description)
            outcome = _run(todo, loaded, processor, batch_size, overwrite, ranges, read_options, metadata, odd, outcome)
        together = share.gather(outcome)
        if together is not None:
            _report(together, plans, output)


def _report(outcome: Outcome, plans: list[Plan], output: Path) -> None:
    """Print notes and what was done, and raise or exit if pairs failed."""
    from gffusion.data.notes import summarize_notes

    done, skipped, failures, notes, seconds = outcome
    if skipped == len(plans):
        what = f"{plans[0].fused} exists" if len(plans) == 1 else f"all {len(plans)} outputs exist"
        typer.echo(f"nothing to do: {what} (model and options are not compared); --overwrite replaces them")
        return
    for note, count in summarize_notes(notes):
        typer.echo(f"note: {note}{f' ({count} pairs)' if len(plans) - skipped > 1 else ''}", err=True)
    if failures and len(plans) == 1:
        raise OSError(failures[0][1])
    typer.echo(
        f"fused {done} pair{'s' * (done != 1)} in {seconds:.1f} s{_rate(done, seconds)}"
        f"{f', skipped {skipped} that existed' if skipped else ''} -> {output}"
    )
    if failures:
        exit_with_failures("failed", failures, is_partial=done + skipped > 0)


def _rate(done: int, seconds: float) -> str:
    if not done:
        return ""
    return f" ({done / seconds:.1f} per second)" if done >= seconds else f" ({seconds / done:.1f} s per pair)"


def _check_options(suffix: str | None, dtype: str | None, backend: str, model: str) -> None:
    """Raise errors before torch is imported, which takes seconds."""
    from gffusion.data import IMAGE_SUFFIXES

    if suffix is not None and suffix not in IMAGE_SUFFIXES:
        raise ValueError(f"--suffix must be one of {', '.join(IMAGE_SUFFIXES)}, got {suffix!r}")
    check_backend(backend, model, dtype)
    if dtype not in (None, *DTYPES):
        raise ValueError(f"--dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")


def _check_model(name: str, segment: bool) -> None:
    """Raise errors that name or configuration show before torch is imported."""
    from gffusion.zoo import locate

    if is_onnx(name):
        return
    config = Path(locate(name), "config.json")
    if segment and config.is_file():
        settings: Any = {}
        with contextlib.suppress(ValueError, RecursionError):  # a damaged one is reported when the model is loaded
            settings = json.loads(config.read_bytes())
        if isinstance(settings, dict) and settings.get("use_segmenter") is False:
            raise ValueError(_NO_SEGMENTER.format(name))


def _parse_read_options(raw_frame: str | None, reading: dict[str, Any]) -> "ReadOptions":
    from gffusion.data import ReadOptions
    from gffusion.data.raw_frames import RawFrame

    return ReadOptions(raw_frame=None if raw_frame is None else RawFrame.parse(raw_frame), **reading)


def _load(
    name: str, device: str, dtype: str | None, segment: bool, options: dict[str, Any]
) -> tuple["GFFusionModel", "GFFusionImageProcessor"]:
    if is_onnx(name):
        return load_onnx(name, device, segment, options)  # type: ignore[return-value]
    import_transformers()

    from gffusion.zoo import create_model, load_image_processor

    quiet_libraries()
    device = choose_device(device)
    with skip_meta_values():
        model = create_model(name, dtype=choose_dtype(dtype, device), **({} if segment else {"use_segmenter": False}))
    if segment and not model.config.use_segmenter:  # a model of the Hub
        raise ValueError(_NO_SEGMENTER.format(name))
    return model.to(device), load_image_processor(name, **options)


def _run(
    todo: list[Plan],
    model: "GFFusionModel",
    processor: "GFFusionImageProcessor",
    batch_size: int,
    overwrite: bool,
    ranges: "PairRanges",
    options: "ReadOptions",
    keep_metadata: bool,
    odd: "Mapping[Path, str]",
    outcome: Outcome,
) -> Outcome:
    """Fuse the pairs to do with a progress bar, and return an outcome with what was done.

    `odd` has the reasons why infrared files are not fused.
    """
    from tqdm import tqdm

    from gffusion.inference.files import FusionJob, fuse_files

    started = time.perf_counter()
    jobs = [FusionJob(*plan, overwrite, ranges.options_of(plan.pair), keep_metadata) for plan in todo]
    failures = [(job.pair.name, odd[job.pair.infrared]) for job in jobs if job.pair.infrared in odd]
    jobs = [job for job in jobs if job.pair.infrared not in odd]
    results = list(
        tqdm(
            fuse_files(jobs, model, processor, batch_size, options),
            total=len(jobs),
            unit="pair",
            disable=None,
            leave=False,
        )
    )
    failures += [(result.job.pair.name, result.error) for result in results if result.error is not None]
    return outcome._replace(
        done=len(todo) - len(failures),
        failures=failures,
        notes=[note for result in results for note in result.notes],
        seconds=time.perf_counter() - started,
    )
