"""Downloaded files whose hashes are not their names."""

import hashlib
from pathlib import Path

import pytest
from hub_cache import share
from huggingface_hub import constants

from gffusion.hub.downloads import check_downloads

NAME = "a" * 64  # of a file with another hash
CHANGED = r"model\.safetensors of 'lab/net' was changed on the way"


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    repository = tmp_path / "cache" / "models--lab--net"
    snapshot = repository / "snapshots" / "c0ffee"
    for folder in (snapshot, repository / "refs", repository / "blobs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text("c0ffee")
    (snapshot / "config.json").write_text("{}")
    return snapshot


@pytest.mark.parametrize("place", ["blobs", "../../victim", "blobs/inner", "../blobs/aa"])
def test_only_files_of_the_repository_are_deleted(snapshot: Path, place: str) -> None:
    """Links to other files, as the client makes for names such as `../../victim/aa...`, are deleted alone."""
    target = snapshot.parents[1] / place / NAME
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("changed")
    (target.parents[1] / ".huggingface-shared-blobs").write_text("1\n")
    (snapshot / "model.safetensors").symlink_to(target)
    with pytest.raises(OSError, match=CHANGED):
        check_downloads([("lab/net", None)])
    assert target.exists() == (place != "blobs")
    assert [path.name for path in snapshot.iterdir()] == ["config.json"]
    check_downloads([("lab/net", None)])


@pytest.mark.parametrize("place", ["shared store", "another disk"])
def test_files_that_are_links(snapshot: Path, tmp_path: Path, place: str) -> None:
    """The client shares files between repositories, and users move files to other disks: their names there are not the hashes."""
    blob = snapshot.parents[1] / "blobs" / hashlib.sha256(b"announced").hexdigest()
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{blob.name}")
    blob.write_text("announced")
    if place == "shared store":
        target = share(blob)
    else:
        target = blob.rename(tmp_path / NAME)
        blob.symlink_to(target)
    check_downloads([("lab/net", None)])
    assert (snapshot / "model.safetensors").read_text() == "announced"

    target.chmod(0o644)
    target.write_text("changed")
    with pytest.raises(OSError, match=CHANGED):
        check_downloads([("lab/net", None)])
    assert target.exists() == (place == "another disk")
    assert not blob.is_symlink()
    assert [path.name for path in snapshot.iterdir()] == ["config.json"]
