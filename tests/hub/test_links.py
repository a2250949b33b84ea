"""Symbolic links in the folders of models: files outside are neither published nor copied; those of the Hub cache are."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_cache import share

import gffusion as package
from gffusion.zoo import locate

CARD = "\n![](night.png) ![](figures/day.png)\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copy a model without encoders, with a card that shows two images."""
    folder = shutil.copytree(locate("gffusion-funet"), tmp_path / "model")
    with (folder / "README.md").open("a") as card:
        card.write(CARD)
    (folder / "figures").mkdir()
    for name in ("night.png", "figures/day.png", "LICENSE"):
        (folder / name).write_text(name)
    return folder


def move(folder: Path, name: str, target: Path) -> Path:
    """Replace a file or folder by a link to it elsewhere."""
    target.parent.mkdir(parents=True, exist_ok=True)
    (folder / name).rename(target)
    (folder / name).symlink_to(target)
    return target


def cache(folder: Path) -> Path:
    """Make a snapshot of the Hub cache of a folder."""
    repository = folder.parent / "models--lab--net"
    (repository / "snapshots").mkdir(parents=True)
    snapshot = folder.rename(repository / "snapshots" / "1a2b")
    for index, file in enumerate(sorted(snapshot.rglob("*.*"))):
        move(snapshot, str(file.relative_to(snapshot)), repository / "blobs" / f"{index:040x}")
    return snapshot


def list_published(gffusion: Callable, folder: Path) -> tuple[set[str], str]:
    outcome = gffusion("push", folder, "lab/net", "--dry-run", "--json")
    assert outcome.exit_code == 0, outcome.err
    return set(json.loads(outcome.out)["files"]), outcome.err


def list_pulled(gffusion: Callable, folder: Path) -> tuple[set[str], str]:
    output = folder.parent / "pulled"
    outcome = gffusion("pull", folder, "-o", output)
    assert outcome.exit_code == 0, outcome.err
    return {file.relative_to(output).as_posix() for file in output.rglob("*") if file.is_file()}, outcome.err


MODEL = {"model.safetensors", "config.json", "preprocessor_config.json"}
IMAGES = {"night.png", "figures/day.png"}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("night.png", {"figures/day.png", "LICENSE", "README.md"}),
        ("figures", {"night.png", "LICENSE", "README.md"}),
        ("LICENSE", {*IMAGES, "README.md"}),
        ("README.md", {"LICENSE"}),
    ],
)
def test_private_files(gffusion: Callable, folder: Path, tmp_path: Path, name: str, kept: set[str]) -> None:
    """A card that is left out is replaced by a generated one in the repository."""
    private = move(folder, name, tmp_path / "private" / "file")
    published, warning = list_published(gffusion, folder)
    assert published == MODEL | (kept - {"LICENSE"}) | {"README.md"}
    assert (f"leads by a symbolic link to {private}" in warning) == (name != "LICENSE")
    pulled, warning = list_pulled(gffusion, folder)
    assert pulled == MODEL | kept
    assert warning.count("\n") == 1 and f"leads by a symbolic link to {private}" in warning


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_files_without_which_there_is_no_model(gffusion: Callable, folder: Path, tmp_path: Path, name: str) -> None:
    private = move(folder, name, tmp_path / "private" / name)
    outcome = gffusion("push", folder, "lab/net", "--dry-run")
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert f"{name} leads by a symbolic link to {private}, outside" in outcome.err and "--force" in outcome.err
    assert gffusion("push", folder, "lab/net", "--dry-run", "--force").exit_code == 0
    assert list_pulled(gffusion, folder)[0] >= MODEL


@pytest.mark.parametrize("kind", ["link to the folder", "links inside the folder", "Hub cache", "shared store"])
def test_links_of_a_model(gffusion: Callable, folder: Path, tmp_path: Path, kind: str) -> None:
    """Kubernetes mounts folders with links to folders inside."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    if kind == "link to the folder":
        folder = tmp_path / "link"
        folder.symlink_to(tmp_path / "model")
    elif kind == "links inside the folder":
        for file in files:
            move(folder, str(file.relative_to(folder)), folder / "..data" / file.name)
    else:
        folder = cache(folder)
        for file in folder.rglob("*.*") if kind == "shared store" else ():
            share(Path(os.readlink(file)))
    published, warning = list_published(gffusion, folder)
    assert (published, warning) == (MODEL | IMAGES | {"README.md"}, "")
    pulled, warning = list_pulled(gffusion, folder)
    assert (pulled, warning) == (MODEL | IMAGES | {"README.md", "LICENSE"}, "")


@pytest.mark.parametrize(
    "kind",
    [
        "file of another repository",
        "file of another name in the store",
        "folder without the mark of the client",
        "link in the store",
    ],
)
def test_links_of_the_cache_to_other_files(gffusion: Callable, folder: Path, tmp_path: Path, kind: str) -> None:
    snapshot = cache(folder)
    blob = Path(os.readlink(snapshot / "model.safetensors"))
    shared = share(blob)
    assert gffusion("push", snapshot, "lab/net", "--dry-run").exit_code == 0
    if kind == "folder without the mark of the client":
        (tmp_path / "blobs" / ".huggingface-shared-blobs").unlink()
    elif kind == "file of another name in the store":
        shared = shared.rename(shared.with_name(f"{shared.name[:2]}-notes"))
    else:
        move(shared.parent, shared.name, tmp_path / "models--lab--other" / "blobs" / shared.name)
    if kind.startswith("file"):
        blob.unlink()
        blob.symlink_to(shared.resolve())
    outcome = gffusion("push", snapshot, "lab/net", "--dry-run")
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert f"model.safetensors leads by a symbolic link to {shared.resolve()}, outside" in outcome.err


@pytest.mark.processes
def test_a_package_of_links(run_script: Callable, tmp_path: Path) -> None:
    """Some installers make them, such as uv with `--link-mode symlink`."""
    shutil.copytree(Path(package.__file__).parent, tmp_path / "gffusion", copy_function=os.symlink)
    script = "from gffusion.cli import main; main()"
    words = ("push", "gffusion-funet", "lab/net", "--dry-run")
    done = run_script(script, *words, environment={"PYTHONPATH": str(tmp_path)}, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and "README.md" in done.stdout
