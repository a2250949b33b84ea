"""Match the videos of two folders, or of one folder that holds both kinds."""

from dataclasses import replace
from pathlib import Path

from gffusion.data.file_names import is_listed
from gffusion.data.io import IMAGE_SUFFIXES
from gffusion.data.mixed_folders import separate_kinds
from gffusion.data.other_files import FLIR_SUFFIXES, VIDEO_SUFFIXES
from gffusion.data.pairs import NoMatchError, PairMatch, match_pairs
from gffusion.utils.notes import name_first


def are_video_folders(visible: Path, infrared: Path | None = None) -> bool:
    """Return whether the given paths are folders that hold videos and no images.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     Path(root, "1.mp4").touch()
        ...     are_video_folders(Path(root)), are_video_folders(Path(root), Path(root, "1.mp4"))
        (True, False)
    """
    return all(map(_holds_videos, {visible, infrared or visible}))


def match_videos(visible: Path, infrared: Path | None = None) -> PairMatch:
    """Match the videos of two folders by name, as [`match_pairs`] does, or those of one folder, such as a camera's memory card.

    Raises:
        ValueError: If no names match, several videos could match, or a format is not read.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("DJI_0001_V.MP4", "DJI_0001_T.MP4"):
        ...         Path(root, name).touch()
        ...     pair = match_videos(Path(root)).pairs[0]
        >>> pair.visible.name, pair.infrared.name
        ('DJI_0001_V.MP4', 'DJI_0001_T.MP4')
    """
    infrared = infrared or visible
    if visible.samefile(infrared):
        visible_files, infrared_files = separate_kinds(_list_videos(visible))
        where = f"no video in {visible} is named as the visible one of an infrared one"
    else:
        visible_files, infrared_files = _list_videos(visible), _list_videos(infrared)
        where = f"no video in {visible} has the name of one in {infrared}"
    advice = "the videos of a pair must have the same name, except for suffix and words such as vis and ir"
    try:
        match = match_pairs(visible_files, infrared_files)
    except NoMatchError as error:
        example = f"{visible_files[0].name} and {infrared_files[-1].name}"
        raise ValueError(f"{where} (for example {example}); {advice}") from error
    pairs = tuple(pair for pair in match.pairs if pair.visible != pair.infrared)
    if not pairs:
        raise ValueError(f"{where} ({name_first([file.name for file in visible_files])}); {advice}")
    alone = [pair.visible for pair in match.pairs if pair not in pairs]
    return replace(match, pairs=pairs, visible_only=(*match.visible_only, *alone))


def _holds_videos(folder: Path) -> bool:
    return (
        folder.is_dir()
        and bool(_list_videos(folder))
        and not any(is_listed(file, IMAGE_SUFFIXES) for file in folder.iterdir())
    )


def _list_videos(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if is_listed(file, (*VIDEO_SUFFIXES, *FLIR_SUFFIXES)))
