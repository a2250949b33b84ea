"""Loading models from the Hub over HTTP, and the errors if that fails."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import HubServer
from read_back import read_files

from gffusion import GFFusionImageProcessor, GFFusionModel

# Loads the model of every case, and saves its weights or reports the error.
LOAD = """
import json, sys
from pathlib import Path
import torch
from gffusion import GFFusionModel, create_model
from transformers import AutoModel

outcomes = {}
for case, (loader, name, options) in json.loads(Path(sys.argv[1]).read_text()).items():
    load = {"model": GFFusionModel.from_pretrained, "auto": AutoModel.from_pretrained, "zoo": create_model}[loader]
    try:
        model = load(name, **options)
    except Exception as error:
        outcomes[case] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    else:
        torch.save(model.state_dict(), Path(sys.argv[2]) / f"{case}.pt")
        outcomes[case] = "loaded"
print(json.dumps(outcomes))
"""

pytestmark = pytest.mark.hub

ONLINE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "slim": ("model", "lab/slim", {}),
    "full": ("model", "lab/full", {}),
    "auto": ("auto", "lab/slim", {}),
    "sharded": ("model", "lab/sharded", {}),
    "tag": ("zoo", "lab/slim", {"revision": "v1"}),
    "branch": ("model", "lab/slim", {"revision": "feature/other"}),
    "private": ("model", "lab/private", {"token": "member", "cache_dir": "members"}),
    "gated": ("model", "lab/gated", {"token": "member", "cache_dir": "members"}),
    "interrupted": ("model", "lab/interrupted", {}),
    "wrong_token": ("model", "lab/slim", {"token": "wrong", "cache_dir": "cold"}),
    "stranger": ("model", "lab/private", {"token": "stranger"}),
    "anonymous": ("model", "lab/private", {}),
    "missing": ("model", "lab/nothing", {}),
    "missing_in_the_zoo": ("zoo", "lab/nothing", {}),
    "missing_revision": ("model", "lab/slim", {"revision": "v9"}),
    "closed_gate": ("model", "lab/gated", {}),
    "gated_encoder": ("model", "lab/needs-gated", {"token": "stranger"}),
    "missing_encoder": ("model", "lab/needs-missing", {}),
    "encoder_revision": ("model", "lab/needs-revision", {}),
    "no_weights": ("model", "lab/no-weights", {}),
    "cold_cache": ("model", "lab/slim", {"cache_dir": "cold", "local_files_only": True}),
    "folder_in_config": ("model", "lab/folder", {}),
    "folder_in_config_auto": ("auto", "lab/folder", {}),
    "climbing_path": ("model", "lab/climbing", {}),
    "folder_that_is_here": ("model", "lab/shadow", {}),
    "trusted_folder": ("model", "lab/folder", {"clip_name_or_path": "here/clip"}),
    "trusted_folder_auto": ("auto", "lab/folder", {"clip_name_or_path": "here/clip"}),
    "code": ("model", "lab/kernel", {}),
    "absurd": ("model", "lab/absurd", {}),
    "pickle": ("model", "lab/pickle", {}),
    "full_pickle": ("model", "lab/full-pickle", {}),
    "pickled_encoder": ("model", "lab/needs-pickle", {}),
    "foreign_shard": ("model", "lab/foreign-shard", {}),
    "adapter": ("model", "lab/adapter", {}),
}
OFFLINE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "warm": ("model", "lab/slim", {}),
    "warm_auto": ("auto", "lab/full", {}),
    "cold": ("model", "lab/slim", {"cache_dir": "cold"}),
    "half_warm": ("model", "lab/needs-missing", {}),
}

MESSAGES = {
    "wrong_token": r"configuration from 'lab/slim': the Hub rejects the token.*`hf auth login`",
    "stranger": "'lab/private': it is neither a local folder nor a visible repository.*for a private repository.*`token`",
    "anonymous": "'lab/private': it is neither a local folder nor a visible repository.*for a private repository.*`hf auth login`",
    "missing": "'lab/nothing': it is neither a local folder nor a visible repository.*Check the name",
    "missing_in_the_zoo": "Cannot load .* from 'lab/nothing'.*Check the name",
    "missing_revision": "'lab/slim': this revision does not exist.*lab/slim/tree/main",
    "closed_gate": "'lab/gated': access to it is restricted. Request access on .*lab/gated, then log in",
    "gated_encoder": "frozen clip encoder from 'lab/gated-clip': access to it is restricted.*pass clip_name_or_path",
    "missing_encoder": "frozen clip encoder from 'lab/nothing': it is neither.*If it has moved, pass clip_name_or_path",
    "encoder_revision": "frozen dinov2 encoder from 'lab/dinov2': this revision does not exist.*dinov2_revision",
    "no_weights": "'lab/no-weights': it contains no model.safetensors",
    "cold_cache": "'lab/slim': it is not in the cache.*local_files_only.*gffusion pull",
    "folder_in_config": "sets `clip_name_or_path` to '/etc'.*If you trust it, pass clip_name_or_path",
    "folder_in_config_auto": "sets `clip_name_or_path` to '/etc'",
    "climbing_path": r"sets `dinov2_name_or_path` to '\.\./\.\./etc'",
    "folder_that_is_here": "sets `clip_name_or_path` to 'here/clip', which is a local path",
    "code": r"may not set \['attn_implementation'\]",
    "absurd": "`stem_channels` must be between 1 and 4096",
    "pickle": "'lab/pickle': it contains no model.safetensors. Pickled weights .* not read: convert them",
    "full_pickle": "'lab/full-pickle': it contains no model.safetensors. Pickled weights .* not read: convert them",
    "pickled_encoder": "frozen clip encoder from 'lab/pickled-clip'.* not read: convert them",
    "foreign_shard": r"lists '\.\./secret\.safetensors' for .*, but weight files",
    "cold": "'lab/slim': it is not in the cache.*HF_HUB_OFFLINE.*gffusion pull",
    "half_warm": "frozen clip encoder from 'lab/nothing': it is not in the cache.*HF_HUB_OFFLINE",
}
LOADED = sorted({*ONLINE, *OFFLINE} - MESSAGES.keys())


def add_repositories(hub: HubServer, models: Path, encoders: dict[str, str]) -> None:
    """Add the repositories of all cases to the server."""
    slim, full = read_files(models / "slim"), read_files(models / "full")

    def add(
        name: str, files: dict[str, bytes] = slim, private: bool = False, gated: bool = False, **entries: Any
    ) -> None:
        config = json.dumps(json.loads(files["config.json"]) | entries).encode()
        hub.add_repository(f"lab/{name}", files | {"config.json": config}, private, gated)

    def pickled(files: dict[str, bytes]) -> dict[str, bytes]:
        return {name.replace("model.safetensors", "pytorch_model.bin"): content for name, content in files.items()}

    for name in ("clip", "dinov2"):
        add(name, read_files(Path(encoders[name])))
    add("slim")
    hub.repositories["lab/slim"].tags["v1"] = hub.repositories["lab/slim"].branches["main"]
    hub.repositories["lab/slim"].commit(read_files(models / "other"), "feature/other")
    add("full", full)
    add("sharded", read_files(models / "sharded"))
    add("interrupted")
    hub.cut_downloads("lab/interrupted/model.safetensors", 1000)
    add("private", private=True)
    add("gated", gated=True)
    add("gated-clip", read_files(Path(encoders["clip"])), gated=True)
    add("needs-gated", clip_name_or_path="lab/gated-clip")
    add("needs-missing", clip_name_or_path="lab/nothing")
    add("needs-revision", dinov2_revision="v9")
    add("no-weights", {name: content for name, content in slim.items() if not name.endswith("safetensors")})
    add("folder", clip_name_or_path="/etc")
    add("climbing", dinov2_name_or_path="../../etc")
    add("shadow", clip_name_or_path="here/clip")
    add("kernel", attn_implementation="someone/kernel")
    add("absurd", stem_channels=10**9)
    add("pickle", pickled(slim))
    add("full-pickle", pickled(full))
    add("pickled-clip", pickled(read_files(Path(encoders["clip"]))))
    add("needs-pickle", clip_name_or_path="lab/pickled-clip")
    index = json.dumps({"metadata": {}, "weight_map": {"funet.w": "../secret.safetensors"}}).encode()
    add("foreign-shard", {"config.json": slim["config.json"], "model.safetensors.index.json": index})
    add("adapter", full | {"adapter_config.json": b'{"base_model_name_or_path": "/etc"}'})


@pytest.fixture(scope="module")
def state_dict(tiny_model: Callable[..., GFFusionModel]) -> dict[str, torch.Tensor]:
    """Return the weights of the model in all repositories."""
    return tiny_model().state_dict()


@pytest.fixture(scope="module")
def outcomes(
    tiny_model: Callable[..., GFFusionModel],
    backbone_folders: dict[str, str],
    fork_script: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Any]]:
    """Run all cases in one process with a network and one without, in a folder that has `here/clip`."""
    root = tmp_path_factory.mktemp("transfer")
    model = tiny_model()
    model.config.clip_name_or_path, model.config.dinov2_name_or_path = "lab/clip", "lab/dinov2"
    model.save_pretrained(root / "slim")
    model.save_pretrained(root / "sharded", max_shard_size="4KB")
    model.save_pretrained(root / "full", include_backbones=True)
    for parameter in model.funet.parameters():
        parameter.data += 1
    model.save_pretrained(root / "other")
    for name in ("slim", "full"):
        GFFusionImageProcessor().save_pretrained(root / name)
    (root / "here").mkdir()
    os.symlink(backbone_folders["clip"], root / "here" / "clip")

    with HubServer() as hub:
        hub.add_account("member", "ann", "lab")
        hub.add_account("stranger", "bob")
        add_repositories(hub, root, backbone_folders)
        results: dict[str, Any] = {"root": root, "requests": hub.requests}
        for kind, cases in (("online", ONLINE), ("offline", OFFLINE)):
            (root / f"{kind}.json").write_text(json.dumps(cases))
            environment = hub.environment(root / "home", HF_HUB_OFFLINE=str(int(kind == "offline")))
            done = fork_script(LOAD, root / f"{kind}.json", root, environment=environment, folder=root)
            assert done.returncode == 0, done.stderr
            results |= json.loads(done.stdout.splitlines()[-1])
            if kind == "online":
                results["online requests"] = len(hub.requests)
        yield results


@pytest.mark.parametrize("case", LOADED)
def test_loads(outcomes: dict[str, Any], state_dict: dict[str, torch.Tensor], case: str) -> None:
    assert outcomes[case] == "loaded"
    weights = torch.load(outcomes["root"] / f"{case}.pt")
    assert weights.keys() == state_dict.keys()
    differing = {name for name in weights if not torch.equal(weights[name], state_dict[name])}
    assert bool(differing) == (case == "branch")  # with other trained weights
    assert all(name.startswith("funet.") for name in differing)


@pytest.mark.parametrize("case", MESSAGES)
def test_errors_say_what_to_do(outcomes: dict[str, Any], case: str) -> None:
    assert re.search(f"^(OSError|ValueError): .*{MESSAGES[case]}", outcomes[case]), outcomes[case]


def test_no_request_without_network(outcomes: dict[str, Any]) -> None:
    assert len(outcomes["requests"]) == outcomes["online requests"]


def test_harmful_files_are_not_downloaded(outcomes: dict[str, Any]) -> None:
    """No pickles, no adapters, and no other files of repositories with a refused configuration."""
    downloaded = [request.path for request in outcomes["requests"] if request.method == "GET"]
    assert not [path for path in downloaded if path.endswith(".bin") or "adapter_config" in path]
    assert not [path for path in downloaded if "someone/kernel" in path or "/etc" in path or "secret" in path]


def test_interrupted_download_is_resumed(outcomes: dict[str, Any]) -> None:
    paths = [request.path for request in outcomes["requests"] if request.method == "GET"]
    assert sum(path.endswith("/lab/interrupted/model.safetensors") for path in paths) == 2
    assert sum(path.endswith("/lab/needs-gated/model.safetensors") for path in paths) == 1
