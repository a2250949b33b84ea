"""Compare downloaded files with the hashes that the Hub announced, which the client does not."""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from transformers.utils import CONFIG_NAME

from .links import find_shared, locate_blobs


def check_downloads(repositories: Iterable[tuple[str | os.PathLike[str] | None, str | None]]) -> None:
    """Check the cached files of repositories, which are given by name and revision; folders and `None` are skipped.

    Files in the cache are links to files that have their announced hashes as names, and these can be links to a shared store.
    Where links are not allowed, as on some Windows machines, nothing is checked.

    Raises:
        OSError: If a file has another hash. It is deleted, so that it is downloaded again.
    """
    for name, revision in repositories:
        if name is None or os.path.isdir(name):
            continue
        config = try_to_load_from_cache(os.fspath(name), CONFIG_NAME, revision=revision)
        if not isinstance(config, str):
            continue
        snapshot = Path(config).parent
        for path in sorted(snapshot.rglob("*")):
            if not path.is_symlink() or not path.is_file() or _has_announced_hash(Path(path.parent, os.readlink(path))):
                continue
            _delete(path, snapshot)
            raise OSError(
                f"{path.name} of {os.fspath(name)!r} was changed on the way: it does not have the hash that the Hub announced. "
                "It was deleted from the cache; repeat the command to download it again."
            )


def _delete(path: Path, snapshot: Path) -> None:
    """Delete a file of a snapshot with what the client would use again, in the repository and in the shared store."""
    blobs, blob = locate_blobs(snapshot), Path(path.parent, os.readlink(path))
    shared = find_shared(path, snapshot)
    path.unlink()
    if blobs and blob.parent.resolve() == blobs.resolve():  # a hostile server can name files elsewhere
        blob.unlink()
    if shared:
        shared.unlink()


def _has_announced_hash(path: Path) -> bool:
    """Return whether the hash of a file is its name: SHA-256 of large files, and SHA-1 as in Git of others."""
    if re.fullmatch(r"[0-9a-f]{64}", path.name):
        digest = hashlib.sha256()
    elif re.fullmatch(r"[0-9a-f]{40}", path.name):
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    else:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: digest).hexdigest() == path.name
