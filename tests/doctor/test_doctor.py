"""`gffusion doctor`: what it reports, and what it says about installations and machines with problems."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from outcomes import Outcome

from gffusion.doctor import folders, packages
from gffusion.doctor.problems import Problem
from gffusion.zoo import locate


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Replace the versions of packages by those that a test sets; other packages keep theirs."""
    versions: dict[str, str] = {}
    find = packages.find_version
    monkeypatch.setattr(packages, "find_version", lambda name: versions.get(name, find(name)) or None)
    return versions


def examine_packages() -> list[Problem]:
    problems: list[Problem] = []
    packages.examine_packages(problems)
    return problems


def test_report_and_json(gffusion: Callable[..., Outcome]) -> None:
    text, report = gffusion("doctor"), json.loads(gffusion("doctor", "--json").out)
    assert text.exit_code == 0 and report["is_usable"]
    for name in ("torch", "transformers", "machine", "threads", "hub", "has token", "temporary", "extras"):
        assert name in text.out
    assert report["machine"]["devices"][0] == "cpu" and report["folders"]["temporary"]["is_writable"]
    assert "gffusion-tiny" in report["folders"]["bundled_models"] and report["packages"]["torch"]


def test_no_secrets(gffusion: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://ann:password@hub.example/api")
    out = gffusion("doctor", "--json").out
    hub = json.loads(out)["hub"]
    assert hub["has_token"] is True and hub["endpoint"] == "hub.example"
    assert not any(secret in out for secret in ("hf_secret", "password", "ann:"))


def test_no_names_of_users(gffusion: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where the home folder is a link, as on clusters, and in messages of other packages."""
    real, home = tmp_path / "data" / "alice", tmp_path / "alice"
    real.mkdir(parents=True)
    home.symlink_to(real, target_is_directory=True)
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.chdir(real)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(real))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    outcome = gffusion("doctor")
    assert outcome.exit_code == 0 and "alice" not in outcome.out
    assert os.path.join("~", "hub") in outcome.out and "has token       unknown" in outcome.out
    assert "warning: the token of the Hub cannot be read: [Errno" in outcome.out
    error = ImportError(f"{home}/libtorch.so,\n{real}/b.so, {home}2/c.so, /mnt{home}/d.so")
    assert folders.describe_error(error) == f"~/libtorch.so, ~/b.so, {home}2/c.so, /mnt{home}/d.so"
    monkeypatch.setattr(Path, "home", lambda: Path("/"))  # as in containers
    assert folders.describe_path(real) == str(real)


@pytest.mark.parametrize(
    ("versions", "what", "advice"),
    [
        ({"torch": "2.1.0"}, "torch 2.1.0 is installed, but gffusion needs >=2.8", 'pip install "torch>=2.8"'),
        ({"einops": ""}, "einops is not installed", 'pip install "einops'),
        (
            {"torch": "2.13.0", "torchvision": "0.20.0"},
            "torchvision 0.20.0 was built for torch ==2.5.0",
            "pip uninstall torchvision",
        ),
        ({"torch": "2.5.0+cpu", "torchvision": "0.20.0+cu124"}, "are builds for different devices", "pytorch.org"),
    ],
)
def test_wrong_packages(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], what: str, advice: str
) -> None:
    read = packages.requires
    monkeypatch.setattr(packages, "requires", lambda name: ["torch==2.5.0"] if name == "torchvision" else read(name))
    installed.update(versions)
    (problem,) = (problem for problem in examine_packages() if what in problem.what)
    assert problem.prevents and advice in problem.advice


def test_extras_name_what_is_missing(installed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "requires", lambda name: ['av>=18; extra == "video"', 'ruff>=1; extra == "dev"'])
    for version, missing in (("", ("av",)), ("17.0", ("av",)), ("18.1", ())):
        installed["av"] = version
        assert packages.examine_packages([])[1] == {"video": missing}


@pytest.mark.parametrize(
    ("cuda", "variables", "what"),
    [
        (None, {}, "was built without CUDA"),
        ("13.0", {}, "finds no NVIDIA GPU with a working driver for CUDA 13.0"),
        ("13.0", {"CUDA_VISIBLE_DEVICES": ""}, "the NVIDIA GPU is hidden"),
    ],
)
def test_gpu_that_is_not_used(
    gffusion: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
    cuda: str | None,
    variables: dict[str, str],
    what: str,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("gffusion.doctor.machine.shutil.which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr("torch.version.cuda", cuda)
    outcome = gffusion("doctor")
    assert outcome.exit_code == 0 and what in outcome.out and "    -> " in outcome.out


def test_folders_that_cannot_be_written(gffusion: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/proc/none/hub")
    monkeypatch.setattr(folders.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e6))
    outcome = gffusion("doctor")
    assert outcome.exit_code == 0
    assert "the cache of the Hub, /proc/none/hub, cannot be written" in outcome.out and "set HF_HOME" in outcome.out
    assert "has 0.0 GB of free space" in outcome.out


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no folder that a process is in")
def test_deleted_current_folder(
    gffusion: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, torch is not imported, because its libraries would end the process."""
    monkeypatch.setattr(packages, "find_clone", lambda: tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    outcome = gffusion("doctor", "--json")
    report = json.loads(outcome.out)
    assert (outcome.exit_code, report["machine"], report["hub"]) == (1, {}, {})
    assert "the current folder was deleted" in [problem["what"] for problem in report["problems"]]
    assert packages.get_pip_target().startswith('-e "." (in ')


@pytest.mark.parametrize("endpoint", ["https://[x", "nonsense", "https://ann:secret@", "http://hub:port"])
def test_malformed_address_of_the_hub(
    gffusion: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    outcome = gffusion("doctor")
    assert outcome.exit_code == 1 and "ERROR: the address of the Hub in HF_ENDPOINT is malformed" in outcome.out
    assert "secret" not in outcome.out


def test_missing_weights_and_temporary_folder(
    gffusion: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail() -> str:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr(folders.tempfile, "gettempdir", fail)
    monkeypatch.setattr("gffusion.zoo.registry.locate", lambda name: str(tmp_path))
    outcome = gffusion("doctor")
    assert outcome.exit_code == 1
    assert "ERROR: no folder for temporary files can be written" in outcome.out and "set TMPDIR" in outcome.out
    assert "ERROR: the weights of gffusion-tiny are not in" in outcome.out


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("share", [0, 0.5])
def test_damaged_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, share: float) -> None:
    folder = shutil.copytree(locate("gffusion-live"), tmp_path / "model")
    monkeypatch.setattr("gffusion.zoo.registry.locate", lambda name: str(folder))
    problems: list[Problem] = []
    folders.examine_weights(problems)
    assert problems == []
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(share * len(content))])
    folders.examine_weights(problems)
    assert all(problem.prevents and f"{name} of gffusion-" in problem.what for problem in problems) and problems
    assert "again" in problems[0].advice or "git checkout" in problems[0].advice


def test_old_torch(
    gffusion: Callable[..., Outcome], installed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("torch.accelerator")
    installed["torch"] = "2.5.0"
    outcome = gffusion("doctor")
    assert outcome.exit_code == 1 and "ERROR: torch 2.5.0 is installed, but gffusion needs >=2.8" in outcome.out


def test_broken_torch(run_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libtorch.so: cannot open shared object file')")
    environment: dict[str, Any] = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    done = run_script("from gffusion.cli import main; main(['doctor'])", environment=environment)
    assert done.returncode == 1 and done.stderr == ""
    assert "ERROR: torch cannot be imported: libtorch.so: cannot open shared object file" in done.stdout


def test_clone_is_found_behind_its_build_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the folder of a clone, where `*.egg-info` of the last build comes first on the path."""
    clone, installed, built = (tmp_path / name for name in ("clone", "installed", "built"))
    for folder, file in (
        (installed / "gffusion-0.1.0.dist-info", "METADATA"),
        (built / "gffusion.egg-info", "PKG-INFO"),
    ):
        folder.mkdir(parents=True)
        (folder / file).write_text("Metadata-Version: 2.1\nName: gffusion\nVersion: 0.1.0\n")
        monkeypatch.syspath_prepend(folder.parent)
    address = {"url": clone.as_uri(), "dir_info": {"editable": True}}
    (installed / "gffusion-0.1.0.dist-info" / "direct_url.json").write_text(json.dumps(address))
    assert folders.find_clone() == clone
