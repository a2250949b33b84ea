"""Shared fixtures: tiny seeded models, random inputs, references made without torch, and the folder of real pairs."""

import copy
import functools
import gc
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import estimate_cache  # noqa: F401
import model_cache  # noqa: F401
import numpy as np
import pytest
import scene_cache  # noqa: F401 - before any module imports `render_scene`
import torch
import typer
from environments import make_environment
from hub_server import HubServer
from numpy.typing import NDArray
from outcomes import Outcome
from scipy import ndimage
from script_server import ScriptServer
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, Dinov2Config, Dinov2Model

from gffusion import GFFusionConfig, GFFusionModel
from gffusion.cli import main
from gffusion.synthetic.samples import write_scenes

WIDTHS: dict[str, Any] = {
    "stem_channels": 4,
    "feature_channels": 8,
    "decoder_channels": [8, 4],
    "segmenter_image_size": [32, 32],
    "num_labels": 4,
}

# On a busy machine, any command can take long enough to print its progress. Tests of progress show it.
os.environ["TQDM_DISABLE"] = "1"

# Only a power cut shows what is not on the disk yet, and to wait for the disk takes longer than most tests. This still refuses
# descriptors that are not open.
os.fsync = os.fstat  # type: ignore[assignment]

# Tests that use these fixtures carry these markers.
MARKERS = {"hub": "hub", "run_script": "processes", "fork_script": "processes", "gffusion_process": "processes"}

THREADS = torch.get_num_threads()
PARADIGMS = ("cascading", "parallel", "hybrid")
get_command_once = functools.cache(typer.main.get_command)


@pytest.hookimpl(tryfirst=True)  # before pytest selects tests by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures that they use, and skip tests that need a GPU where there is none."""
    for item in items:
        for fixture in MARKERS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MARKERS[fixture])
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_collection_finish() -> None:
    """Leave out what was imported and collected when Python looks for unused objects, which took a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def keep_threads() -> Iterator[None]:
    """Undo what benchmarks and tests set: parallel workers with two threads each take three times as long."""
    yield
    if torch.get_num_threads() != THREADS:
        torch.set_num_threads(THREADS)


@pytest.fixture(autouse=True)
def fast_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write box plots without drawing them, which takes most of the time of a small evaluation, but for `drawn_plots`."""
    if "drawn_plots" not in request.fixturenames:
        monkeypatch.setattr("gffusion.evaluation.figures.render_figure", lambda figure, suffix: b"<svg></svg>")


@pytest.fixture
def drawn_plots() -> None:
    """Draw box plots."""


@pytest.fixture
def two_threads() -> None:
    """Let torch divide operations among two threads, which `keep_threads` undoes."""
    torch.set_num_threads(2)


@pytest.fixture(params=PARADIGMS)
def paradigm(request: pytest.FixtureRequest) -> str:
    """Run a test for every paradigm."""
    return request.param


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of real image pairs, which is not part of the repository."""
    folder = Path(os.environ.get("GFFUSION_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no image pairs at {folder}; set GFFUSION_DATA to a folder that has them")
    return folder


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """Start an empty Hub with a member of the organization "lab" whose token is "member"."""
    with HubServer() as server:
        server.add_account("member", "ann", "lab")
        yield server


@pytest.fixture(scope="session")
def run_script() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script in a new process that can import gffusion."""

    def run(
        script: str, *arguments: object, environment: dict[str, str] | None = None, folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, *map(str, arguments)]
        variables = make_environment(**environment or {})
        return subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, timeout=300)

    return run


@pytest.fixture(scope="session")
def fork_script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run a script as `run_script` does, in less time: torch is imported already, gffusion and transformers are not."""
    with ScriptServer(tmp_path_factory.mktemp("scripts")) as server:

        def run(
            script: str, *arguments: object, environment: dict[str, str] | None = None, folder: Path | None = None
        ) -> subprocess.CompletedProcess[str]:
            return server.run(script, arguments, make_environment(**environment or {}), folder)

        yield run


@pytest.fixture
def gffusion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run the command in this process, which has imported torch already, on the CPU."""
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    monkeypatch.setattr("typer.main.get_command", get_command_once)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return Outcome(int(stop.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write three rendered pairs of 64 x 96 pixels to visible/, infrared/ and labels/."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, count=3, height=64, width=96)
    return folder


@pytest.fixture(scope="session")
def clip_config() -> Callable[..., CLIPVisionConfig]:
    """Make the configuration of a tiny CLIP encoder, with dropout in training mode."""

    def make(**overrides: Any) -> CLIPVisionConfig:
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2}
        return CLIPVisionConfig(**sizes | {"image_size": 32, "patch_size": 8, "attention_dropout": 0.5} | overrides)

    return make


@pytest.fixture(scope="session")
def dinov2_config() -> Callable[..., Dinov2Config]:
    """Make the configuration of a tiny DINOv2 encoder, with dropout in training mode."""

    def make(**overrides: Any) -> Dinov2Config:
        sizes = {"hidden_size": 32, "mlp_ratio": 2, "num_hidden_layers": 3, "num_attention_heads": 2}
        return Dinov2Config(**sizes | {"image_size": 32, "patch_size": 8, "hidden_dropout_prob": 0.5} | overrides)

    return make


@pytest.fixture(scope="session")
def tiny_config(
    clip_config: Callable[..., CLIPVisionConfig], dinov2_config: Callable[..., Dinov2Config]
) -> Callable[..., GFFusionConfig]:
    """Make the configuration of a tiny model."""

    def make(**overrides: Any) -> GFFusionConfig:
        encoders = {"clip_config": clip_config(), "dinov2_config": dinov2_config()}
        return GFFusionConfig(**encoders | WIDTHS | overrides)

    return make


@pytest.fixture(scope="session")
def backbone_folders(
    tmp_path_factory: pytest.TempPathFactory,
    clip_config: Callable[..., CLIPVisionConfig],
    dinov2_config: Callable[..., Dinov2Config],
) -> dict[str, str]:
    """Return the folders of the tiny encoders, by the names that slim checkpoints use."""
    root = tmp_path_factory.mktemp("backbones")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, encoder in (("clip", CLIPVisionModel(clip_config())), ("dinov2", Dinov2Model(dinov2_config()))):
            for parameter in encoder.parameters():  # large enough for images and layers to differ
                parameter.data += 0.1 * torch.randn_like(parameter)
            encoder.save_pretrained(root / name)
    return {name: str(root / name) for name in ("clip", "dinov2")}


@pytest.fixture(scope="session")
def tiny_model(
    tiny_config: Callable[..., GFFusionConfig], backbone_folders: dict[str, str]
) -> Callable[..., GFFusionModel]:
    """Make a tiny model as if trained: all weights and statistics differ from their initial values."""

    models: dict[str, GFFusionModel] = {}

    def make(**overrides: Any) -> GFFusionModel:
        key = repr(sorted(overrides.items()))
        if key not in models:
            models[key] = build(**overrides)
        return copy.deepcopy(models[key])  # five times faster than building

    def build(**overrides: Any) -> GFFusionModel:
        config = tiny_config(**overrides)
        folders = {name: path for name, path in backbone_folders.items() if getattr(config, f"needs_{name}")}
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = GFFusionModel.from_backbones(**folders, **WIDTHS | overrides)
            for name, value in model.state_dict().items():
                if not name.startswith(("clip.", "dinov2.")) and value.is_floating_point():
                    noise = 0.1 * torch.randn_like(value)
                    value += noise.abs() if name.endswith("running_var") else noise
        return model

    return make


@pytest.fixture(scope="session")
def make_inputs() -> Callable[..., dict[str, torch.Tensor]]:
    """Make random keyword arguments of a model."""

    def make(batch: int = 2, height: int = 40, width: int = 48, labels: bool = False) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(batch * height + width)
        inputs = {
            "visible_values": torch.rand(batch, 3, height, width, generator=generator),
            "infrared_values": torch.rand(batch, 1, height, width, generator=generator),
        }
        if labels:
            inputs["labels"] = torch.randint(0, 4, (batch, height, width), generator=generator)
        return inputs

    return make


@pytest.fixture(scope="session")
def upsample() -> Callable[[NDArray[Any], tuple[int, int]], NDArray[Any]]:
    """Enlarge (..., h, w) -> (..., H, W) bilinearly between pixel centers, with scipy."""

    def enlarge(maps: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
        axes = [(np.arange(new) + 0.5) * old / new - 0.5 for new, old in zip(size, maps.shape[-2:], strict=True)]
        grid = np.meshgrid(*axes, indexing="ij")
        planes = [
            ndimage.map_coordinates(plane, grid, order=1, mode="nearest")
            for plane in maps.reshape(-1, *maps.shape[-2:])
        ]
        return np.stack(planes).reshape(*maps.shape[:-2], *size)

    return enlarge


@pytest.fixture
def published_head(tmp_path: Path) -> Callable[[int], tuple[Path, nn.Sequential]]:
    """Write a file with the keys and shapes of DINOv2's ADE20K heads; return its path and its network, float64, in evaluation mode."""

    def make(inputs: int) -> tuple[Path, nn.Sequential]:
        generator = torch.Generator().manual_seed(inputs)
        network = nn.Sequential(OrderedDict(bn=nn.BatchNorm2d(inputs), conv_seg=nn.Conv2d(inputs, 150, 1)))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator)
                value.copy_(noise.abs() + 0.01 if name.endswith("running_var") else noise)
        state = OrderedDict((f"decode_head.{name}", value.clone()) for name, value in network.state_dict().items())
        path = tmp_path / f"dinov2_{inputs}_ade20k_head.pth"
        torch.save({"meta": {"epoch": 9, "CLASSES": ("wall",)}, "state_dict": state}, path)
        return path, network.double().eval()

    return make
