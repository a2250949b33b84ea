"""Files in the cache of the Hub's client."""

import hashlib
from pathlib import Path

import pytest


def share(blob: Path) -> Path:
    """Move a file of a repository to the shared store, as the client does with files of Xet storage, and return its path there."""
    module = pytest.importorskip("huggingface_hub.utils._shared_blobs", reason="the client has no shared store")
    xet_hash, cache = hashlib.sha256(b"Xet" + blob.read_bytes()).hexdigest(), blob.parents[2]
    assert module.publish_blob_to_shared_store(
        blob_path=str(blob), xet_hash=xet_hash, cache_dir=cache, expected_size=blob.stat().st_size
    )
    return module.shared_blob_path(cache, xet_hash)
