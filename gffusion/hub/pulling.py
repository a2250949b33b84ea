"""Download models with everything that they need offline."""

import contextlib
import filecmp
import logging
import os
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError
from huggingface_hub.hf_api import RepoFile
from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME

from gffusion.models.gffusion.weight_files import find_file, limit_to_cache
from gffusion.utils.atomic import remove_leftovers, synchronize, temporary_folder
from gffusion.utils.yaml_text import MAX_CARD_BYTES
from gffusion.zoo import create_model, load_image_processor, locate
from gffusion.zoo.registry import find_revision

from .card_images import find_shown_images
from .downloads import check_downloads
from .links import omit_outside
from .publishing import CARD

logger = logging.getLogger(__name__)

_FIRST = IMAGE_PROCESSOR_NAME  # of the files that are moved to the folder
_MAX_IMAGES, _MAX_IMAGE_BYTES = 100, 1 << 24
_MAX_ENTRIES = 10_000  # of a repository; the Hub lists 1,000 in a request
_NAME_ERRORS = (FileExistsError, NotADirectoryError, IsADirectoryError)
# What the client raises for answers that are no list of files, such as the login page of a proxy.
_ANSWER_ERRORS = (AttributeError, LookupError, TypeError, ValueError, RecursionError)
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
    finishes, with the same versions of gffusion and transformers. Model card, license, and up to 100 images of the card are saved as well.
    Files in the cache of the Hub client are not downloaded again.

    Args:
        name: Name of a listed model, folder, or Hub id.
        folder: New or empty folder, or one in which the same call was interrupted or has finished; lost files are written again.
        revision: Branch, tag or commit of a model on the Hub.
        token: Access token. Defaults to the one stored by `hf auth login`.

    Raises:
        FileExistsError: If `folder` has other files, or another model.
        OSError: If the model does not exist, cannot be downloaded or written, or a file does not have the announced hash.

    Examples:
        >>> with temporary_folder() as folder:
        ...     sorted(path.name for path in pull("gffusion-funet", folder).iterdir())
        ['README.md', 'config.json', 'model.safetensors', 'preprocessor_config.json']
    """
    folder = Path(folder).resolve()
    remove_leftovers(folder)
    is_begun = any((folder / name).is_file() for name in (_FIRST, CONFIG_NAME))
    if folder.exists() and not (folder.is_dir() and (is_begun or not any(folder.iterdir()))):
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
    config.__dict__.pop("auto_map", None)  # the code that it names is not saved
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
            if not _continues(folder, staging):
                raise _refuse(folder)
            for name in sorted(_list_files(staging), key=lambda name: (str(name) == CONFIG_NAME, str(name) != _FIRST)):
                if not (folder / name).exists():
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (staging / name).rename(folder / name)
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
    if (folder / CONFIG_NAME).exists():
        return FileExistsError(
            f"{folder} holds another model ({CONFIG_NAME}), or one that other versions of gffusion and transformers saved: choose "
            "another folder, or remove it."
        )
    return FileExistsError(
        f"{folder} exists and is not an empty folder, nor one that these versions of gffusion and transformers began to write: "
        "choose another one, or remove it."
    )


def _continues(folder: Path, staging: Path) -> bool:
    """Return whether the files of a folder are those of the one in it, with others beside them only if its configuration is there."""
    if (folder / CONFIG_NAME).exists():  # files that were lost are written again
        begun = [name for name in _list_files(staging) if (folder / name).exists()]
    else:
        begun = [name for name in _list_files(folder) if name.parts[0] != staging.name]
    return all(
        (folder / name).is_file()
        and (staging / name).is_file()
        and filecmp.cmp(folder / name, staging / name, shallow=False)
        for name in begun
    )


def _list_files(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()]


def _save_documents(source: str, folder: Path, options: dict[str, Any]) -> None:
    """Copy the model card, the images that it shows, and the license of a model, as far as they can be found."""
    options = limit_to_cache(source, options)
    try:
        sizes = _list_sizes(source, options)
    except (HTTPError, *_ANSWER_ERRORS):
        logger.warning("The Hub does not list the files of %s, so card, images and license are not saved.", source)
        return
    missing = _copy_files(source, folder, dict.fromkeys((CARD, *LICENSES), MAX_CARD_BYTES), sizes, options)
    card = folder / CARD
    if card.is_file():
        missing -= set(LICENSES)  # they were looked for when the card was downloaded
        shown = find_shown_images(card.read_text(encoding="utf-8", errors="replace"))
        images = shown if sizes is None else [name for name in shown if name in sizes]
        if len(images) > _MAX_IMAGES:
            logger.warning("Of %d images in the card of %s, %d are saved.", len(images), source, _MAX_IMAGES)
        limits = dict.fromkeys(images[:_MAX_IMAGES], _MAX_IMAGE_BYTES)
        missing |= _copy_files(source, folder, limits, sizes, options)
    if missing:
        names = ", ".join(sorted(missing))
        logger.warning("Not in the cache, and the Hub does not send them, so not saved: %s of %s.", names, source)


def _list_sizes(source: str, options: dict[str, Any]) -> dict[str, int] | None:
    """Return the sizes of the files of a repository by name, or `None` if the Hub cannot be asked and for folders."""
    if os.path.isdir(source) or constants.HF_HUB_OFFLINE or options.get("local_files_only"):
        return None
    entries = HfApi(token=options.get("token")).list_repo_tree(source, recursive=True, revision=options.get("revision"))
    return {entry.path: int(entry.size) for entry in islice(entries, _MAX_ENTRIES) if isinstance(entry, RepoFile)}


def _copy_files(
    source: str, folder: Path, limits: dict[str, int], sizes: dict[str, int] | None, options: dict[str, Any]
) -> set[str]:
    """Copy files of at most these sizes, those that exist, and return the names of those that cannot be downloaded."""
    missing: set[str] = set()
    for name in omit_outside(limits, source):
        limit = limits[name]
        try:
            size = 0 if sizes is None else sizes.get(name)
            path = find_file(source, name, **options) if size is not None and size <= limit else None
            size = os.path.getsize(path) if path else size
            if size is not None and size > limit:
                logger.warning("Not saved: %s of %s has more than %s bytes.", name, source, f"{limit:,}")
            elif path is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / name)
        except (LocalEntryNotFoundError, HTTPError):
            missing.add(name)
        except _NAME_ERRORS as error:  # such as `a.png` and `a.png/b.png`
            logger.warning("Not saved: %s of %s (%s).", name, source, error.strerror)
    return missing
