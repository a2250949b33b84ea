"""How much of the reliability tests runs: a sample, or all of it with GFFUSION_RELIABILITY=all; and a server of commands to kill."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from crash_cases import IS_WHOLE, Lab
from crash_runs import CrashServer
from hub_server import HubServer
from hypothesis import settings
from video_files import write_pair

from gffusion import GFFusionImageProcessor, GFFusionModel
from gffusion.synthetic.samples import write_scenes

settings.register_profile("sample", max_examples=40, deadline=None, derandomize=True)
settings.register_profile("all", max_examples=2000, deadline=None)
settings.load_profile("all" if IS_WHOLE else "sample")


@pytest.fixture(scope="session")
def sample() -> Callable[[Sequence[Any], int], list[Any]]:
    """Return all items, or every n-th one so that about `count` are left."""

    def choose(items: Sequence[Any], count: int) -> list[Any]:
        return list(items) if IS_WHOLE else list(items)[:: max(1, len(items) // count)]

    return choose


@pytest.fixture(scope="session")
def crash_inputs(
    tiny_model: Callable[..., GFFusionModel], backbone_folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Write pairs, videos and models: with encoders, with encoders on the Hub, and without."""
    folder = tmp_path_factory.mktemp("inputs")
    write_scenes(folder, 3, height=64, width=96)
    write_pair(folder, 20, audio_seconds=0.5)
    model = tiny_model()
    model.save_pretrained(folder / "model", include_backbones=True)
    tiny_model(paradigm="cascading", use_segmenter=False).save_pretrained(folder / "funet")
    for name in backbone_folders:
        setattr(model.config, f"{name}_name_or_path", f"lab/{name}")
    model._remember_sources(backbone_folders)
    model.save_pretrained(folder / "slim", include_backbones=False)
    for name in ("model", "funet", "slim"):
        GFFusionImageProcessor().save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="session")
def lab(
    crash_inputs: Path, backbone_folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    """Start a server of commands to kill, with a Hub."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("crashes")
    with HubServer() as hub:
        hub.add_account("member", "ann", "lab")
        for name, source in {"slim": crash_inputs / "slim", **backbone_folders}.items():
            hub.add_repository(f"lab/{name}", {file.name: file.read_bytes() for file in Path(source).iterdir()})
        environment = hub.environment(folder / "box" / "home", HF_TOKEN="member")
        with CrashServer(folder, environment) as server:
            yield Lab(server, hub, crash_inputs)
