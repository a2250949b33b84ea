"""`gffusion pull`: a folder that fuses without network, and what cannot be fetched."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hub_server import HubServer
from PIL import Image

from gffusion.zoo import locate


def test_fetches_from_the_hub(
    hub: HubServer, gffusion: Callable, run_script: Callable, scenes: Path, tmp_path: Path
) -> None:
    bundled = Path(locate("gffusion-funet"))
    revision = hub.add_repository("lab/net", {path.name: path.read_bytes() for path in bundled.iterdir()})
    command = "from gffusion.cli import main; main()"
    arguments = ("pull", "lab/net", "-o", tmp_path / "net", "--revision", revision)
    done = run_script(command, *arguments, environment=hub.environment(tmp_path / "home"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1 and str(tmp_path / "net") in done.stdout

    pair = [scenes / kind / "rendered_0000.png" for kind in ("visible", "infrared")]
    for name, model in (("pulled", tmp_path / "net"), ("bundled", "gffusion-funet")):
        assert gffusion("fuse", *pair, "-o", tmp_path / f"{name}.png", "--model", model).exit_code == 0
    pictures = [np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("pulled", "bundled")]
    np.testing.assert_array_equal(*pictures)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lab/net", "HF_HUB_OFFLINE"),
        ("unknown", "Unknown model 'unknown'"),
        ("gffusion-m3fd", "--config paper_m3fd"),
    ],
)
def test_nothing_is_fetched(gffusion: Callable, tmp_path: Path, name: str, message: str) -> None:
    outcome = gffusion("pull", name, "-o", tmp_path / "new" / "folder")
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1 and message in outcome.err
    assert not list(tmp_path.iterdir())


def test_spares_what_is_there(gffusion: Callable, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    outcome = gffusion("pull", "gffusion-funet", "-o", tmp_path)
    assert (outcome.exit_code, outcome.out) == (2, "") and "not an empty folder" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_file_in_the_way_is_named(gffusion: Callable, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome = gffusion("pull", "gffusion-funet", "-o", tmp_path / "file" / "net")
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1 and f"Cannot write {tmp_path}/file/net: " in outcome.err


@pytest.mark.parametrize(("token", "advice"), [("", "hf auth login"), ("wrong", "does not know the token.*HF_TOKEN")])
def test_what_others_have_cached_of_a_private_repository_is_no_model(
    hub: HubServer, run_script: Callable, tmp_path: Path, token: str, advice: str
) -> None:
    """The client hands out cached files without asking who wants them; what else is needed, it asks for."""
    bundled = Path(locate("gffusion-funet"))
    hub.add_repository("lab/net", {path.name: path.read_bytes() for path in bundled.iterdir()}, private=True)
    command = "from gffusion.cli import main; main()"
    for name, who, code in (("first", "member", 0), ("second", token, 2)):
        environment = hub.environment(tmp_path / "home", HF_TOKEN=who)
        done = run_script(command, "pull", "lab/net", "-o", tmp_path / name, environment=environment)
        assert (done.returncode, (tmp_path / name).exists()) == (code, not code), done.stderr
    assert re.search(f"^gffusion: error: Cannot load .* from 'lab/net'.*{advice}.*\n$", done.stderr), done.stderr
