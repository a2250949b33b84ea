"""Runs that end on the Hub: what arrives there, and what is refused, at the beginning and at the end."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import HubServer
from safetensors.torch import load_file

from gffusion import GFFusionModel
from gffusion.synthetic.samples import write_scenes

pytestmark = [pytest.mark.hub, pytest.mark.slow]

# The Hub's address is read but once, so that all runs are made in a process of their own.
RUNS = """
import json, os
from pathlib import Path
import torch
from transformers import CLIPVisionModel, Dinov2Model
from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionModel
from gffusion.cli import app
from gffusion.data import FusionDataset
from gffusion.data.transforms import RandomCrop

WIDTHS = {"stem_channels": 4, "feature_channels": 8, "decoder_channels": [8, 4]}
outcomes = {}

def trainer(name, token="member", clip=None, **options):
    os.environ["HF_TOKEN"] = token
    torch.manual_seed(0)
    paradigm = "hybrid" if clip else "cascading"
    model = GFFusionModel.from_backbones(clip, paradigm=paradigm, use_segmenter=False, **WIDTHS)
    given = {"num_train_epochs": 1, "per_device_train_batch_size": 2, "num_eval_images": 0, "eval_metrics": ["SSIM"], "push_to_hub": True} | options
    return FusionTrainer(
        model,
        FusionTrainingArguments(f"runs/{name}", **given),
        FusionDataset("data", RandomCrop(32)),
        FusionDataset("data"),
    )

def refused(case, action):
    try:
        action()
    except (OSError, ValueError) as error:
        outcomes[case] = f"{type(error).__name__}: {' '.join(str(error).split())}"

trainer("street", hub_model_id="lab/street").train()
GFFusionModel.from_pretrained("lab/street").save_pretrained("pulled")
trainer("own", hub_model_id="mine").train()
later = trainer("later", push_to_hub=False)
later.train()
outcomes["later"] = later.push_to_hub("lab/later")
refused("no name", later.push_to_hub)

for token in ("wrong", "reader", "stranger"):
    refused(token, lambda: trainer(f"refused-{token}", token, hub_model_id="lab/street"))
refused("reader, new repository", lambda: trainer("refused-new", "reader", hub_model_id="lab/new"))
refused("no repository", lambda: trainer("refused-name", hub_model_id="lab/n e w"))
refused("local encoder", lambda: trainer("refused-encoder", clip="clip", hub_model_id="lab/new"))
refused("not asked for", lambda: trainer("unpublished", "wrong", push_to_hub=False))

clip = CLIPVisionModel.from_pretrained("clip")
clip.config.name_or_path = clip.name_or_path = ""
trainer("memory", clip=clip, hub_model_id="lab/memory").train()
GFFusionModel.from_pretrained("lab/memory")

run = trainer("expired", hub_model_id="lab/expired")
os.environ["HF_TOKEN"] = "wrong"
refused("expired", run.train)
outcomes["expired, files"] = sorted(path.name for path in Path("runs/expired/best").iterdir())
os.environ["HF_TOKEN"] = "member"
try:
    app(["push", "runs/expired/best", "lab/expired"])
except SystemExit as stop:
    outcomes["expired, later"] = stop.code
trainer("expired", hub_model_id="lab/resumed").train(resume_from_checkpoint=True)
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def world(
    backbone_folders: dict[str, str],
    fork_script: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Any]]:
    root = tmp_path_factory.mktemp("runs")
    write_scenes(root / "data", 4, height=40, width=48)
    (root / "clip").symlink_to(backbone_folders["clip"])
    with HubServer() as hub:
        hub.add_account("member", "ann", "lab")
        hub.add_account("reader", "rob", "lab", may_write=False)
        hub.add_account("stranger", "bob")
        environment = hub.environment(root / "home", ACCELERATE_USE_CPU="true", OMP_NUM_THREADS="1")
        done = fork_script(RUNS, environment=environment, folder=root)
        assert done.returncode == 0, done.stderr
        yield {"root": root, "hub": hub, **json.loads(done.stdout.splitlines()[-1])}


def sources(card: bytes) -> list[str]:
    """What the snippet of a card loads."""
    return re.findall(r"locate\((.*?)\)", card.decode())


def test_the_best_weights_arrive_and_load(world: dict[str, Any]) -> None:
    best, pulled = (GFFusionModel.from_pretrained(world["root"] / name) for name in ("runs/street/best", "pulled"))
    torch.testing.assert_close(pulled.state_dict(), best.state_dict(), rtol=0, atol=0)
    files = {"config.json", "model.safetensors", "preprocessor_config.json", "README.md", ".gitattributes"}
    assert world["hub"].files("lab/street").keys() == files


def test_the_card_is_that_of_the_run(world: dict[str, Any]) -> None:
    card = world["hub"].files("lab/street")["README.md"]
    assert sources(card) == ['"lab/street"']
    assert b"| `per_device_train_batch_size` | `2` |" in card and b"name: SSIM" in card
    assert card == (world["root"] / "runs/street/best/README.md").read_bytes()


@pytest.mark.parametrize("name", ["ann/mine", "lab/later", "lab/expired"])
def test_the_snippet_names_the_repository(world: dict[str, Any], name: str) -> None:
    assert sources(world["hub"].files(name)["README.md"]) == [f'"{name}"']


def test_a_finished_run_can_be_published_later(world: dict[str, Any]) -> None:
    assert world["later"].startswith(f"{world['hub'].url}/lab/later/commit/")
    assert world["no name"].startswith("ValueError: Name a repository")


def test_encoders_of_no_known_source_travel_with_the_weights(world: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(world["hub"].files("lab/memory")["model.safetensors"])
    assert {name.split(".")[0] for name in load_file(tmp_path / "weights")} == {"clip", "funet", "finet"}


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            "wrong",
            "OSError: Cannot publish lab/street: log in with `hf auth login`, or pass a valid token as HF_TOKEN or `token`",
        ),
        ("reader", "OSError: Cannot publish lab/street: the token needs write access to 'lab'"),
        ("stranger", "OSError: Cannot publish lab/street: the token needs write access to 'lab'"),
        ("reader, new repository", "OSError: Cannot publish lab/new: the token needs write access to 'lab'"),
        ("no repository", "ValueError: 'lab/n e w' is not a repository name"),
        (
            "local encoder",
            "ValueError: `push_to_hub` would fail at the end: its clip encoder comes from '/.*/clip'.*"
            "`gffusion push runs/refused-encoder/best lab/new --full`",
        ),
    ],
)
def test_refused_before_the_first_step(world: dict[str, Any], case: str, message: str) -> None:
    assert re.match(message, world[case]), world[case]
    assert "lab/new" not in world["hub"].repositories
    assert not [path for path in (world["root"] / "runs").glob("refused-*/*")]


def test_training_needs_no_token(world: dict[str, Any]) -> None:
    assert "not asked for" not in world


def test_refused_at_the_end(world: dict[str, Any]) -> None:
    message = (
        "OSError: The training is finished and its weights are in runs/expired, but they were not published: .*hf auth"
    )
    assert re.match(message, world["expired"]), world["expired"]
    assert world["expired"].endswith("To publish them later: `gffusion push runs/expired/best lab/expired`.")
    assert {"README.md", "model.safetensors", "training_state.json"} <= set(world["expired, files"])
    assert world["expired, later"] == 0
    weights = (world["root"] / "runs/expired/best/model.safetensors").read_bytes()
    for name in ("lab/expired", "lab/resumed"):
        assert world["hub"].files(name)["model.safetensors"] == weights
