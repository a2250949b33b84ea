"""The pairs of `gffusion fuse`, and the files to write for each."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gffusion.utils.atomic import check_replaceable
from gffusion.utils.regular_files import check_regular

from .choices import IMAGE_SUFFIXES
from .messages import print_note, print_warning
from .outputs import check_not_inputs
from .printing import list_names, print_line

if TYPE_CHECKING:
    from gffusion.data import ImagePair, PairMatch, ReadOptions
    from gffusion.inference.file_jobs import FusionJob

    from .fuse_settings import FuseSettings


def plan_pairs(visible: Path, infrared: Path | None, settings: "FuseSettings") -> "tuple[list[FusionJob], PairMatch]":
    """Return the pairs to fuse with the files to write, after all checks that are possible without reading images, and the match."""
    output, suffix, segment = settings.output, settings.suffix, settings.segment
    match = find_match(visible, infrared, output, settings.read_options)
    are_lists = _are_lists(visible, infrared)
    if not are_lists and not visible.is_dir():
        jobs = [_plan_single(match.pairs[0], output, suffix, segment)]
    else:
        jobs = _plan_folder(match.pairs, output, suffix, segment)
        _check_sources(match.pairs, output)
        _check_labels(match.pairs, output, segment)
        if not are_lists:
            _note_videos(visible, infrared)
    jobs = [replace(job, overwrite=settings.overwrite, keep_metadata=settings.metadata) for job in jobs]
    if settings.keep_thermal:
        jobs = [replace(job, thermal=_name_thermal(job.fused)) for job in jobs]
    return jobs, match


def _name_thermal(fused: Path) -> Path:
    """Return the file of the infrared values: the fused file itself if it can have a second page."""
    return fused if fused.suffix.lower() in (".tif", ".tiff") else fused.with_name(f"{fused.stem}_thermal.tif")


def find_match(visible: Path, infrared: Path | None, output: Path, options: "ReadOptions") -> "PairMatch":
    """Match two files, folders or lists, or one that holds both kinds, and print notes and files without a partner."""
    from gffusion.data import ImagePair, PairMatch  # these imports take time that `gffusion --help` need not spend
    from gffusion.data.modalities import check_holds_both
    from gffusion.data.nested import match_nested
    from gffusion.data.pair_lists import list_pairs
    from gffusion.data.wrong_pairs import check_different_files

    if _are_lists(visible, infrared):
        match = report_match(list_pairs(visible, infrared, options.raw_suffixes))
    else:
        _check_paths(visible, infrared, output, options)
        if not visible.is_dir():
            if infrared is None or infrared.samefile(visible):
                check_holds_both(visible, is_given_twice=infrared is not None, options=options.decoding)
            return PairMatch((ImagePair(visible.stem, visible, infrared or visible),), (), ())
        visible, infrared = split_folder(visible, infrared)
        if infrared is None:
            return _match_one_folder(visible, options)
        match = report_match(match_nested(visible, infrared, options.raw_suffixes, [output]))
    check_different_files(match.pairs, options=options)
    return match


def split_folder(visible: Path, infrared: Path | None) -> tuple[Path, Path | None]:
    """Return the visible and the infrared folder in a single folder that holds nothing else to fuse; other paths are unchanged."""
    from gffusion.data.pairs import find_subfolders  # these imports take time that `gffusion --help` need not spend
    from gffusion.video.pairs import are_video_folders

    if infrared is not None or not visible.is_dir() or are_video_folders(visible):
        return visible, infrared
    return find_subfolders(visible) or (visible, None)


def _are_lists(visible: Path, infrared: Path | None) -> bool:
    from gffusion.data.pair_lists import is_list  # saves start-up time

    return is_list(visible) or (infrared is not None and is_list(infrared))


def _note_videos(*folders: Path | None) -> None:
    """Print a note if folders of images also hold videos."""
    from gffusion.data.other_files import is_video

    files = [file for folder in set(folders) if folder is not None for file in folder.iterdir()]
    if videos := sorted(filter(is_video, files)):
        counted = f"{len(videos)} videos beside the images are" if len(videos) > 1 else "1 video beside the images is"
        print_note(f"{counted} not fused, such as {videos[0]}: move videos to folders of their own")


def _check_paths(visible: Path, infrared: Path | None, output: Path, options: "ReadOptions") -> None:
    """Raise errors about files and folders that show before anything is read."""
    from gffusion.zoo.registry import PICKLE_SUFFIXES  # saves start-up time

    for path in filter(None, (visible, infrared, output)):
        if path.name.startswith(".") and f".{path.name.lstrip('.').lower()}" in IMAGE_SUFFIXES and not path.is_dir():
            raise ValueError(f"the file {path} has no name before its suffix, and is hidden: rename it")
    for path in filter(None, (visible, infrared)):
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        if path.is_dir():
            continue
        check_regular(path)
        is_raw = path is infrared and path.suffix.lower() in options.raw_suffixes
        if path.suffix.lower() in (*PICKLE_SUFFIXES, ".safetensors") and not is_raw:
            raise ValueError(
                f"{path} is named as a file of weights, not as an image: give images here, and the folder of a model to "
                "--model; a raw infrared frame needs --raw-frame"
            )
    if infrared is not None and visible.is_dir() != infrared.is_dir():
        folder, file = (visible, infrared) if visible.is_dir() else (infrared, visible)
        raise ValueError(f"{folder} is a folder but {file} is a file: give two files or two folders")


def check_pairs(pairs: "Sequence[ImagePair]", options: "ReadOptions") -> None:
    """Raise ValueError if the images of several pairs were swapped, or a format of raw frames is given for no raw frame."""
    options.check_raw_frames(pair.infrared for pair in pairs)
    if len(pairs) < 2:
        return
    from gffusion.data.wrong_pairs import check_not_swapped  # saves start-up time

    check_not_swapped(pairs, options)


def warn_of_thermal_visible(pairs: "Sequence[ImagePair]", options: "ReadOptions") -> None:
    """Print a warning if the visible images are thermal images."""
    from gffusion.data.wrong_pairs import describe_thermal_visible  # saves start-up time

    if warning := describe_thermal_visible(pairs, options):
        print_warning(warning)


def check_outputs(jobs: "list[FusionJob]") -> None:
    """Raise ValueError if an output would replace an input or the output of another pair, and OSError if it is no file."""
    from gffusion.data.file_names import name_file  # saves start-up time

    outputs = [(path, job) for job in jobs for path in job.outputs]
    for path, job in outputs:
        if not job.overwrite:
            check_replaceable(path)
    sources = [path for job in jobs for path in (job.pair.visible, job.pair.infrared)]
    check_not_inputs((path for path, _ in outputs), sources)
    written: dict[str, FusionJob] = {}
    for path, job in outputs:
        earlier = written.setdefault(name_file(path), job)
        if earlier is job:
            continue
        first, second = earlier.pair.visible, job.pair.visible
        if first == second:
            raise ValueError(
                f"{first} is listed twice, and both outputs would be {path}: remove one, or name the two in CSV"
            )
        raise ValueError(
            f"the outputs of {first} and {second} would both be {path}: rename one of them, or fuse them to separate "
            "folders"
        )


def _match_one_folder(folder: Path, options: "ReadOptions") -> "PairMatch":
    """Match the images of one folder that holds both kinds, and print notes and files that hold one image."""
    from gffusion.data.combined_folders import find_combined

    found = find_combined(folder, options)
    for note in found.notes:
        print_note(note)
    if found.visible_only:
        names = list_names(found.visible_only)
        print_line(f"left out {len(found.visible_only)} that hold one image and have no partner: {names}", err=True)
    return found


def report_match(match: "PairMatch") -> "PairMatch":
    """Print notes and files without a partner, and return the match."""
    for note in match.notes:
        print_note(note)
    for kind, files in (("infrared", match.visible_only), ("visible", match.infrared_only)):
        if files:
            print_line(f"left out {len(files)} without {kind} partner: {list_names(files)}", err=True)
    return match


def _plan_single(pair: "ImagePair", output: Path, suffix: str | None, segment: bool) -> "FusionJob":
    """Return the files to write for the only pair: one of the name of the output, or those in its folder."""
    is_file = bool(output.suffix) and not output.is_dir()
    if is_file and suffix not in (None, output.suffix.lower()):
        raise ValueError(f"--suffix {suffix} is for an output folder, but --output {output} is a file: leave it out")
    [job] = [_plan_file(pair, output, segment)] if is_file else _plan_folder((pair,), output, suffix, segment)
    _check_labels((pair,), output.parent if is_file else output, segment and not is_file)
    _check_stem(job)
    return job


def _plan_file(pair: "ImagePair", output: Path, segment: bool) -> "FusionJob":
    from gffusion.inference.file_jobs import FusionJob

    if output.suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(f"cannot write {output}: its suffix must be one of {', '.join(IMAGE_SUFFIXES)}")
    labels, overlay = (output.with_name(f"{output.stem}_{kind}.png") for kind in ("labels", "overlay"))
    return FusionJob(pair, output, labels, overlay) if segment else FusionJob(pair, output)


def _plan_folder(pairs: "Sequence[ImagePair]", output: Path, suffix: str | None, segment: bool) -> "list[FusionJob]":
    from gffusion.data.other_files import is_video
    from gffusion.inference.file_jobs import FusionJob

    if output.is_file():
        raise NotADirectoryError(f"{output} is a file: --output must be a folder here")
    kind = output.suffix.lower()
    if kind in (*IMAGE_SUFFIXES, ".csv", ".html", ".json", ".npy", ".txt", ".zip") and not output.is_dir():
        advice = f"; --suffix {kind} gives the format of its files" if kind in IMAGE_SUFFIXES else ""
        raise ValueError(
            f"--output {output} is named as a file, but several images are written: give a folder, such as -o "
            f"{output.with_suffix('')}{advice}"
        )
    if is_video(output) and not output.is_dir():
        raise ValueError(
            f"--output {output} is named as a video, which is made of two folders of frames: give both, or a folder as --output"
        )
    for file in (pair.visible for pair in pairs if suffix is None):
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            raise ValueError(
                f"cannot write {output / file.name}, named as the visible file: give the format with --suffix, one of "
                f"{', '.join(IMAGE_SUFFIXES)}"
            )
    return [
        FusionJob(
            pair,
            output / f"{pair.name}{suffix or pair.visible.suffix}",
            labels=output / "labels" / f"{pair.name}.png" if segment else None,
            overlay=output / "overlays" / f"{pair.name}.png" if segment else None,
        )
        for pair in pairs
    ]


def _list_folders(pairs: "Sequence[ImagePair]") -> set[Path]:
    return {folder.resolve() for folder in {file.parent for pair in pairs for file in (pair.visible, pair.infrared)}}


def _check_sources(pairs: "Sequence[ImagePair]", output: Path) -> None:
    """Raise ValueError if the fused images would be read as images of the dataset."""
    folders = _list_folders(pairs)
    for folder in {output, *((output / pair.name).parent for pair in pairs)}:
        if folder.resolve() in folders:
            raise ValueError(
                f"--output {folder} is a folder of the images to fuse, where results would be read as images: choose another one"
            )


def _check_labels(pairs: "Sequence[ImagePair]", output: Path, segment: bool) -> None:
    """Raise ValueError if the fused images would be read as label maps of the dataset, or their label maps be written there."""
    from gffusion.data.file_names import LABELS_WORDS, Words, is_named  # saves start-up time

    parents, resolved = {folder.parent for folder in _list_folders(pairs)}, output.resolve()
    if segment and resolved in parents:
        raise ValueError(
            f"{output / 'labels'} is the folder for the label maps of the dataset, not for those of --segment: choose another "
            "--output"
        )
    if resolved.parent in parents and is_named(resolved.name, Words(LABELS_WORDS)):
        raise ValueError(
            f"a folder named {resolved.name} beside the images is read as their label maps or boxes by gffusion train and "
            "evaluate: give --output another name, such as fused"
        )


def _check_stem(job: "FusionJob") -> None:
    """Raise ValueError if the fused image would have the stem of an input in its folder, whose pairs would be ambiguous.

    It may if the folder holds both images, as that of a camera does.
    """
    from gffusion.data.file_names import normalize_name

    output = job.fused
    if job.pair.visible.parent.resolve() == job.pair.infrared.parent.resolve():
        return
    for source in (job.pair.visible, job.pair.infrared):
        is_alike = normalize_name(source.stem) == normalize_name(output.stem) and source.name != output.name
        if is_alike and source.parent.resolve() == output.parent.resolve():
            raise ValueError(
                f"{output} would have the same stem as {source} in the same folder, whose pairs would then be ambiguous: "
                "choose another --output"
            )
