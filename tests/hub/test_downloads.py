"""Downloaded files whose hashes are not their names."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from gffusion.hub.downloads import check_downloads

NAME = "a" * 64  # of a file with another hash


@pytest.mark.parametrize("place", ["blobs", "../../victim", "blobs/inner"])
def test_only_files_of_the_repository_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Links to other files, as the client makes for names such as `../../victim/aa...`, are deleted alone."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    repository = tmp_path / "cache" / "models--lab--net"
    snapshot, target = repository / "snapshots" / "c0ffee", repository / place / NAME
    for folder in (snapshot, repository / "refs", target.parent):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text("c0ffee")
    (snapshot / "config.json").write_text("{}")
    target.write_text("changed")
    (snapshot / "model.safetensors").symlink_to(target)
    with pytest.raises(OSError, match=r"model\.safetensors of 'lab/net' was changed on the way"):
        check_downloads([("lab/net", None)])
    assert target.exists() == (place != "blobs")
    assert [path.name for path in snapshot.iterdir()] == ["config.json"]
    check_downloads([("lab/net", None)])
