"""Download models with everything that they need offline."""

import contextlib
import filecmp
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError
from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME

from gffusion.models.gffusion.weight_files import find_file, limit_to_cache
from gffusion.utils.atomic import remove_leftovers, synchronize, temporary_folder
from gffusion.zoo import create_model, load_image_processor, locate
from gffusion.zoo.registry import find_revision

from .card_images import find_shown_images
from .downloads import check_downloads
from .publishing import CARD

logger = logging.getLogger(__name__)

_FIRST = IMAGE_PROCESSOR_NAME  # of the files that are moved to the folder
LICENSES = ("LICENSE", "LICENSE.md", "LICENSE.txt")


def pull(
    name: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | None = None,
) -> Path:
    """Save a model with its frozen encoders to one folder that loads on any machine, without network, and return the folder.

    The configuration is written last, so that the folder is a model only when it is complete; after a kill, the same call
    finishes, with the same versions of gffusion and transformers. Model card, its images and the license are saved as well.
    Files in the cache of the Hub client are not downloaded again.

    Args:
        name: Name of a listed model, folder, or Hub id.
        folder: New or empty folder, or one in which the same call was interrupted.
        revision: Branch, tag or commit of a model on the Hub.
        token: Access token. Defaults to the one stored by `hf auth login`.

    Raises:
        FileExistsError: If `folder` has other files.
        OSError: If the model does not exist, cannot be downloaded or written, or a file does not have the announced hash.

    Examples:
        >>> with temporary_folder() as folder:
        ...     sorted(path.name for path in pull("gffusion-funet", folder).iterdir())
        ['README.md', 'config.json', 'model.safetensors', 'preprocessor_config.json']
    """
    folder = Path(folder).resolve()
    remove_leftovers(folder)
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or _may_be_unfinished(folder))):
        raise _refuse(folder)
    revision = find_revision(name) if revision is None else revision
    given: dict[str, Any] = {"revision": revision, "token": token}
    options = {name: value for name, value in given.items() if value is not None}
    try:
        model = create_model(name, **options)
        processor = load_image_processor(name, **options)
    except OSError:
        check_downloads([(locate(name), revision)])  # a changed file would stay in the cache
        raise
    config = model.config
    encoders = [
        (getattr(config, f"{part}_name_or_path"), getattr(config, f"{part}_revision")) for part in model.backbones
    ]
    check_downloads([(locate(name), revision), *(encoders if config.backbone_weights == "external" else ())])
    is_new, hidden = not folder.exists(), str(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary_folder(folder) as staging:
            hidden = str(staging)
            model.save_pretrained(staging, include_backbones=True)
            processor.save_pretrained(staging)
            _save_documents(locate(name), staging, options)
            synchronize(staging)
            if not _holds_parts_of(staging, folder):
                raise _refuse(folder)
            for file in sorted(staging.iterdir(), key=lambda file: (file.name == CONFIG_NAME, file.name != _FIRST)):
                if not (folder / file.name).exists():
                    file.rename(folder / file.name)
    except BaseException as error:
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if not isinstance(error, OSError) or isinstance(error, FileExistsError):
            raise
        reason = str(error).replace(hidden, str(folder))
        raise OSError(f"Cannot write {folder}: {reason}. Choose another folder, or make this one writable.") from error
    return folder


def _refuse(folder: Path) -> FileExistsError:
    return FileExistsError(
        f"{folder} exists and is not an empty folder, nor one that these versions of gffusion and transformers began to write: "
        "choose another one, or remove it."
    )


def _may_be_unfinished(folder: Path) -> bool:
    """Return whether `pull` can have been killed while it moved files to a folder."""
    return (folder / _FIRST).is_file() and not (folder / CONFIG_NAME).exists()


def _holds_parts_of(staging: Path, folder: Path) -> bool:
    """Return whether all files of a folder are equal to those that are to be moved there."""
    files = [path for path in folder.rglob("*") if not path.is_dir() and staging not in path.parents]
    names = [file.relative_to(folder) for file in files]
    return all(
        (staging / name).is_file() and filecmp.cmp(file, staging / name, shallow=False)
        for file, name in zip(files, names, strict=True)
    )


def _save_documents(source: str, folder: Path, options: dict[str, Any]) -> None:
    """Copy the model card, the images that it shows, and the license of a model, as far as they can be found."""
    options = limit_to_cache(source, options)
    names, found = [CARD, *LICENSES], []
    try:
        for name in names:
            if (path := find_file(source, name, **options)) is None:
                continue
            found.append(name)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
            if name == CARD:
                names += find_shown_images(Path(path).read_text(encoding="utf-8", errors="replace"))
    except (LocalEntryNotFoundError, HTTPError):
        missing = ", ".join(name for name in names if name not in found)
        logger.warning("Not in the cache, and the Hub does not send them, so not saved: %s of %s.", missing, source)
