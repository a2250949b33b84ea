"""Publishing and downloading over HTTP: uploaded and deleted files, errors, and loading on other machines."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import HubServer
from safetensors.torch import load_file, save_file
from transformers.dynamic_module_utils import custom_object_save
from without_gffusion import WITHOUT_GFFUSION

from gffusion import GFFusionConfig, GFFusionImageProcessor, GFFusionModel, __version__
from gffusion.hub import FusionCard
from gffusion.hub.publishing import TRAVELING_FILES, find_outdated_files, find_published_files
from gffusion.zoo import create_model, locate

pytestmark = pytest.mark.hub

RUN = """
import json, sys
from pathlib import Path
from gffusion import GFFusionImageProcessor, GFFusionModel
from gffusion.hub import pull, push, push_model

outcomes = {}
for case, (action, arguments, options) in json.loads(Path(sys.argv[1]).read_text()):
    try:
        if action == "push_model":
            arguments[0] = GFFusionModel.from_pretrained(arguments[0], token="member")
            options["image_processor"] = GFFusionImageProcessor(size_divisor=4) if options.get("full") else None
        outcomes[case] = str({"push": push, "pull": pull, "push_model": push_model}[action](*arguments, **options))
    except Exception as error:
        outcomes[case] = f"{type(error).__name__}: {' '.join(str(error).split())}"
print(json.dumps(outcomes))
"""

MEMBER = {"token": "member"}
STEPS: list[tuple[str, str, list[str], dict[str, Any]]] = [
    ("slim", "push", ["slim", "lab/slim"], MEMBER),
    ("again", "push", ["slim", "lab/slim"], MEMBER),
    ("full from slim", "push", ["slim", "lab/full"], {"full": True, **MEMBER}),
    ("full", "push", ["full", "lab/full-2"], {"full": True, **MEMBER}),
    ("private", "push", ["slim", "lab/private"], {"private": True, **MEMBER}),
    ("public already", "push", ["slim", "lab/slim"], {"private": True, **MEMBER}),
    ("branch", "push", ["slim", "lab/branches"], {"revision": "try/1", "commit_message": "Try one", **MEMBER}),
    ("shards", "push", ["sharded", "lab/replaced"], {"with_code": True, **MEMBER}),
    ("single file", "push", ["slim", "lab/replaced"], MEMBER),
    ("own card", "push", ["trained", "lab/trained"], MEMBER),
    ("without segmenter", "push", ["partial", "lab/partial"], MEMBER),
    ("card on the hub", "push", ["slim", "lab/trained"], MEMBER),
    ("generated card", "push", ["generated", "lab/trained"], MEMBER),
    ("unfinished", "push", ["unfinished", "lab/unfinished"], MEMBER),
    ("forced", "push", ["unfinished", "lab/forced"], {"force": True, **MEMBER}),
    ("interrupted", "push", ["other", "lab/interrupted"], MEMBER),
    ("resumed", "push", ["other", "lab/interrupted"], MEMBER),
    ("slim of full", "push", ["full", "lab/refused"], {"full": False, **MEMBER}),
    ("as saved", "push", ["full", "lab/full-4"], MEMBER),
    ("local encoder", "push", ["local", "lab/refused"], MEMBER),
    ("local encoder, full", "push", ["local", "lab/full-3"], {"full": True, **MEMBER}),
    ("broken card", "push", ["broken", "lab/refused"], MEMBER),
    ("no login", "push", ["slim", "lab/refused"], {}),
    ("wrong token", "push", ["slim", "lab/refused"], {"token": "wrong"}),
    ("stranger", "push", ["slim", "lab/refused"], {"token": "stranger"}),
    ("own", "push", ["slim", "mine"], MEMBER),
    ("model", "push_model", ["slim", "lab/model"], MEMBER),
    ("model in full", "push_model", ["slim", "lab/model-full"], {"full": True, "commit_message": "All", **MEMBER}),
    ("bundled", "push_model", [locate("gffusion-tiny"), "lab/bundled"], MEMBER),
    ("bundled, by name", "push", ["gffusion-tiny", "lab/bundled"], MEMBER),
    ("bundled, changed", "push_model", ["changed", "lab/changed"], MEMBER),
    ("bundled, renamed", "push_model", ["renamed", "lab/renamed"], MEMBER),
    ("code, slim", "push", ["slim", "lab/code-slim"], {"with_code": True, **MEMBER}),
    ("code, full", "push", ["slim", "lab/code-full"], {"with_code": True, "full": True, **MEMBER}),
    ("code no more", "push", ["slim", "lab/code-gone"], {"with_code": True, **MEMBER}),
    ("code gone", "push", ["slim", "lab/code-gone"], MEMBER),
    ("pull", "pull", ["lab/slim", "pulled/slim"], MEMBER),
    ("pull private", "pull", ["lab/private", "pulled/private"], MEMBER),
    ("pull bundled", "pull", ["gffusion-funet", "pulled/funet"], {}),
]

# Runs without network, cache and server.
OFFLINE = """
import sys
from pathlib import Path
import torch
from transformers import AutoImageProcessor, pipeline
from gffusion import GFFusionModel

for folder in map(Path, sys.argv[1:]):
    model, report = GFFusionModel.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    torch.save(model.state_dict(), folder.with_suffix(".pt"))
    AutoImageProcessor.from_pretrained(folder)
    pipeline("image-fusion", model=str(folder))
"""

REMOTE = (
    WITHOUT_GFFUSION
    + """
from pathlib import Path

import torch
from transformers import AutoImageProcessor, AutoModel

inputs = torch.load(sys.argv[1])
for name in ("slim", "full"):
    model = AutoModel.from_pretrained(f"lab/code-{name}", trust_remote_code=True)
    assert type(model).__module__.startswith("transformers_modules."), type(model)
    processor = AutoImageProcessor.from_pretrained(f"lab/code-{name}", trust_remote_code=True)
    assert type(processor).__module__.startswith("transformers_modules."), type(processor)
    with torch.no_grad():
        torch.save(model(**inputs, segment=True).to_tuple(), Path(sys.argv[1]).with_name(f"outputs-{name}.pt"))
"""
)


@pytest.fixture(scope="module")
def model(tiny_model: Callable[..., GFFusionModel]) -> GFFusionModel:
    """Return a model whose encoders are on the Hub."""
    model = tiny_model().eval()
    model.config.clip_name_or_path, model.config.dinov2_name_or_path = "lab/clip", "lab/dinov2"
    return model


def write_folders(root: Path, model: GFFusionModel, tiny_model: Callable[..., GFFusionModel]) -> None:
    """Write the folders to publish."""
    model.save_pretrained(root / "slim")
    model.save_pretrained(root / "sharded", max_shard_size="4KB")
    model.save_pretrained(root / "full", include_backbones=True)
    tiny_model().save_pretrained(root / "local")  # its configuration names local encoders
    partial = tiny_model(use_segmenter=False)
    partial.config.clip_name_or_path, partial.config.dinov2_name_or_path = "lab/clip", str(root / "mine")
    partial.save_pretrained(root / "partial")
    for name in ("slim", "sharded", "full", "local", "partial"):
        GFFusionImageProcessor(size_divisor=8).save_pretrained(root / name)
    for name in ("trained", "unfinished", "other", "generated", "broken"):
        shutil.copytree(root / "slim", root / name)
    weights = load_file(root / "other" / "model.safetensors")
    save_file(
        {key: value + 1 for key, value in weights.items()}, root / "other" / "model.safetensors", {"format": "pt"}
    )
    for name, finished in (("trained", True), ("unfinished", False)):
        state = {"finished": finished, "step": 30, "total_steps": 40}
        (root / name / "training_state.json").write_text(json.dumps(state))
    (root / "trained" / "README.md").write_text(
        '---\nlicense: mit\n---\n\n# A card\n\n![](scene.png)\n<img src="./my%20scene.png">\n![](sheets/NIGHT.PNG)\n'
    )
    (root / "trained" / "sheets").mkdir()
    (root / "trained" / "sheets" / "NIGHT.PNG").write_bytes(b"sheet")
    changed, renamed = create_model("gffusion-live"), create_model("gffusion-live")
    next(changed.funet.parameters()).data += 1e-3
    renamed.config.gradient_weight += 1
    changed.save_pretrained(root / "changed")
    renamed.save_pretrained(root / "renamed")
    (root / "broken" / "README.md").write_text("---\nlicense: [mit\n---\n\n# A card\n")
    config = GFFusionConfig.from_pretrained(root / "slim")
    FusionCard(model_name="generated", config=config).save(root / "generated")
    (root / "trained" / "scene.png").write_bytes(b"image")
    (root / "trained" / "my scene.png").write_bytes(b"another image")
    (root / "trained" / "unrelated.png").write_bytes(b"private")
    (root / "trained" / "secret.txt").write_text("private")


@pytest.fixture(scope="module")
def world(
    model: GFFusionModel,
    tiny_model: Callable[..., GFFusionModel],
    backbone_folders: dict[str, str],
    make_inputs: Callable[..., dict[str, torch.Tensor]],
    fork_script: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Any]]:
    """Run all steps in one process, then load what was published in another one."""
    root = tmp_path_factory.mktemp("publishing")
    write_folders(root, model, tiny_model)
    (root / "steps.json").write_text(json.dumps([(step[0], step[1:]) for step in STEPS]))
    torch.save(make_inputs(), root / "inputs.pt")
    with HubServer() as hub:
        hub.add_account("member", "ann", "lab")
        hub.add_account("stranger", "bob")
        hub.refused_commits["lab/interrupted"] = 1
        former = {"modeling_gffusion.py", "adapter_config.json", "adapter_model.safetensors"}
        hub.add_repository("lab/replaced", dict.fromkeys(FOREIGN | former, b"old"))
        for name, folder in backbone_folders.items():
            hub.add_repository(f"lab/{name}", {path.name: path.read_bytes() for path in Path(folder).iterdir()})
        done = fork_script(RUN, root / "steps.json", environment=hub.environment(root / "home"), folder=root)
        assert done.returncode == 0, done.stderr
        world: dict[str, Any] = {
            "root": root,
            "hub": hub,
            "log": done.stderr,
            **json.loads(done.stdout.splitlines()[-1]),
        }
        environment = hub.environment(root / "other-home", PYTHONPATH="", HF_MODULES_CACHE=str(root / "modules"))
        done = fork_script(REMOTE, root / "inputs.pt", environment=environment, folder=root)
        assert done.returncode == 0, done.stderr
        yield world


def published(world: dict[str, Any], name: str, revision: str = "main") -> dict[str, bytes]:
    return world["hub"].files(name, revision)


def parts_of(content: bytes, tmp_path: Path) -> set[str]:
    (tmp_path / "weights").write_bytes(content)
    return {name.split(".")[0] for name in load_file(tmp_path / "weights")}


# Files of other people, also where modules of gffusion once had the same name.
FOREIGN = {".gitattributes", "inference.py", "files.py", "utils.py", "pipeline_gffusion.py", "clip/losses.py"}
FOREIGN |= {"theirs.safetensors", "model.fp16.safetensors", "model-old.safetensors"}
SETTINGS = {"config.json", "preprocessor_config.json", "README.md", ".gitattributes"}


class NightModel(GFFusionModel):
    pass


def test_code_of_a_subclass_is_not_published(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = GFFusionConfig(paradigm="cascading", use_segmenter=False, stem_channels=8)
    for kind in (GFFusionModel, NightModel):
        assert "NightModel" not in caplog.text
        kind(config).save_pretrained(tmp_path / kind.__name__)
        GFFusionImageProcessor().save_pretrained(tmp_path / kind.__name__)
        find_published_files(tmp_path / kind.__name__, "lab/night")
    assert "The model was saved by NightModel, whose code is not published" in caplog.text


def test_traveling_files_are_all_modules_of_the_model(tmp_path: Path) -> None:
    model = GFFusionModel(GFFusionConfig(paradigm="cascading", use_segmenter=False))
    saved = [path for part in (model, GFFusionImageProcessor()) for path in custom_object_save(part, tmp_path)]
    assert {path.name for path in saved} == TRAVELING_FILES


def test_modules_of_the_same_name_in_other_repositories_are_kept() -> None:
    assert find_outdated_files(["losses.py", "safety.py", "inference.py"], ["config.json"]) == []


def test_published_files_are_not_outdated() -> None:
    present = ["model-00001-of-00002.safetensors", "model.safetensors", "adapter_config.json"]
    assert find_outdated_files(present, ["config.json", "model.safetensors"]) == [present[0], present[2]]


class TestPush:
    def test_slim(self, world: dict[str, Any]) -> None:
        assert world["slim"].startswith(f"{world['hub'].url}/lab/slim/commit/")
        files = published(world, "lab/slim")
        assert files.keys() == SETTINGS | {"model.safetensors"}
        assert files["model.safetensors"] == (world["root"] / "slim" / "model.safetensors").read_bytes()
        assert json.loads(files["preprocessor_config.json"])["size_divisor"] == 8
        assert "auto_map" not in json.loads(files["config.json"])
        card = files["README.md"].decode()
        assert "library_name: gffusion" in card and "- lab/clip" in card and 'locate("lab/slim")' in card

    def test_name_alone_is_one_of_the_account(self, world: dict[str, Any]) -> None:
        assert world["own"].startswith(f"{world['hub'].url}/ann/mine/commit/")

    def test_again_makes_no_commit(self, world: dict[str, Any]) -> None:
        assert world["again"] == world["slim"]

    @pytest.mark.parametrize("name", ["full", "full-2", "full-3", "full-4", "model-full", "code-full"])
    def test_full(self, world: dict[str, Any], tmp_path: Path, name: str) -> None:
        files = published(world, f"lab/{name}")
        assert parts_of(files["model.safetensors"], tmp_path) == {"funet", "finet", "ssnet", "clip", "dinov2"}
        config = json.loads(files["config.json"])
        assert config["backbone_weights"] == "included"
        assert config["clip_name_or_path"] == (None if name == "full-3" else "lab/clip")
        assert "/" not in files["config.json"].decode().replace("lab/", "")  # no local path

    def test_encoders_that_the_model_does_not_need(self, world: dict[str, Any]) -> None:
        """A local path, which the loader refuses in a configuration from the Hub."""
        config = json.loads(published(world, "lab/partial")["config.json"])
        assert (config["clip_name_or_path"], config["dinov2_name_or_path"]) == ("lab/clip", None)

    def test_private(self, world: dict[str, Any]) -> None:
        assert {name for name, repository in world["hub"].repositories.items() if repository.private} == {"lab/private"}
        assert "lab/slim exists and is public" in world["public already"]

    def test_branch(self, world: dict[str, Any]) -> None:
        assert "model.safetensors" in published(world, "lab/branches", "try/1")
        assert "model.safetensors" not in published(world, "lab/branches")

    def test_message_of_the_commit(self, world: dict[str, Any]) -> None:
        for case, name, message in (("branch", "branches", "Try one"), ("model in full", "model-full", "All")):
            assert world["hub"].repositories[f"lab/{name}"].messages[world[case].rpartition("/")[2]] == message
        (message,) = world["hub"].repositories["lab/slim"].messages.values()
        assert message == f"Upload model with gffusion {__version__}"

    def test_deletes_outdated_files_and_keeps_all_others(self, world: dict[str, Any]) -> None:
        _, with_code, without_code = world["hub"].repositories["lab/replaced"].commits.values()
        shards = {path.name for path in (world["root"] / "sharded").glob("model*")}
        assert "model.safetensors.index.json" in shards
        assert with_code.keys() == SETTINGS | FOREIGN | TRAVELING_FILES | shards
        assert without_code.keys() == SETTINGS | FOREIGN | {"model.safetensors"}
        assert {with_code[name] for name in FOREIGN} == {without_code[name] for name in FOREIGN} == {b"old"}
        messages = re.findall("lab/replaced: deleted files of an earlier model: (.*)\\.\n", world["log"])
        assert ["adapter_config.json" in message for message in messages] == [True, False]
        assert shards <= set(messages[1].split(", "))

    def test_cards(self, world: dict[str, Any]) -> None:
        """An edited card is kept by pushes from a folder without card and from one with a generated card."""
        assert (world["root"] / "generated" / "README.md").is_file()
        files = published(world, "lab/trained")
        assert files["README.md"] == (world["root"] / "trained" / "README.md").read_bytes()
        assert files.keys() == SETTINGS | {"model.safetensors", "scene.png", "my scene.png", "sheets/NIGHT.PNG"}

    def test_unfinished_training(self, world: dict[str, Any]) -> None:
        assert world["unfinished"].startswith("ValueError: The model was not published: its training is not finished")
        assert "step 30 of 40" in world["unfinished"] and "force" in world["unfinished"]
        assert "lab/unfinished" not in world["hub"].repositories
        assert "model.safetensors" in published(world, "lab/forced")

    def test_interrupted(self, world: dict[str, Any]) -> None:
        assert "OSError: Cannot publish lab/interrupted: try again" in world["interrupted"]
        weights = (world["root"] / "other" / "model.safetensors").read_bytes()
        assert published(world, "lab/interrupted")["model.safetensors"] == weights
        bodies = [request.path for request in world["hub"].requests if request.method == "PUT"]
        assert len(bodies) == len(set(bodies))  # no file was sent twice

    @pytest.mark.parametrize(
        ("case", "message"),
        [
            (
                "slim of full",
                "ValueError: .* it includes the frozen encoders: publish them as well .`full=True`, `--full`",
            ),
            (
                "local encoder",
                "ValueError: .* clip encoder comes from '.*clip', which is not on the Hub: .*clip_name_or_path",
            ),
            ("broken card", "ValueError: .*README.md .*between the lines '---', is not valid YAML .*line 1, column 10"),
            ("no login", "OSError: Cannot publish lab/refused: log in with `hf auth login`"),
            (
                "wrong token",
                "OSError: Cannot publish lab/refused: log in with `hf auth login`, or pass a valid token as HF_TOKEN or `token`. ",
            ),
            ("stranger", "OSError: Cannot publish lab/refused: the token needs write access to 'lab'"),
        ],
    )
    def test_errors(self, world: dict[str, Any], case: str, message: str) -> None:
        assert re.match(message, world[case]), world[case]
        assert "lab/refused" not in world["hub"].repositories

    def test_model_in_memory(self, world: dict[str, Any], tmp_path: Path) -> None:
        files = published(world, "lab/model")
        assert files.keys() == SETTINGS | {"model.safetensors"}
        assert parts_of(files["model.safetensors"], tmp_path) == {"funet", "finet", "ssnet"}
        processors = [published(world, f"lab/{name}")["preprocessor_config.json"] for name in ("model", "model-full")]
        assert [json.loads(processor)["size_divisor"] for processor in processors] == [1, 4]

    def test_bundled_model_in_memory(self, world: dict[str, Any]) -> None:
        """It has its own card, with license and results, and encoders in half precision; other models do not."""
        files, folder = published(world, "lab/bundled"), Path(locate("gffusion-tiny"))
        for name in ("README.md", "model.safetensors"):
            assert files[name] == (folder / name).read_bytes()
        assert world["bundled, by name"] == world["bundled"]  # nothing is left to be published
        for name in ("changed", "renamed"):
            assert "license of the weights | not stated" in published(world, f"lab/{name}")["README.md"].decode()


class TestCode:
    def test_loads_where_the_package_is_missing(self, world: dict[str, Any], model: GFFusionModel) -> None:
        with torch.no_grad():
            expected = model(**torch.load(world["root"] / "inputs.pt"), segment=True).to_tuple()
        for name in ("slim", "full"):
            torch.testing.assert_close(torch.load(world["root"] / f"outputs-{name}.pt"), expected)

    def test_travels_on_request(self, world: dict[str, Any]) -> None:
        assert json.loads(published(world, "lab/code-slim")["config.json"])["auto_map"].keys() == {
            "AutoConfig",
            "AutoModel",
        }
        assert published(world, "lab/code-gone").keys() == SETTINGS | {"model.safetensors"}
        assert "auto_map" not in json.loads(published(world, "lab/code-gone")["config.json"])


class TestPull:
    def test_loads_offline_on_another_machine(
        self, world: dict[str, Any], model: GFFusionModel, fork_script: Callable[..., Any], tmp_path: Path
    ) -> None:
        names = ("slim", "private", "funet")
        shutil.copytree(world["root"] / "pulled", tmp_path / "moved")
        environment = {"HF_HOME": str(tmp_path / "empty"), "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
        done = fork_script(
            OFFLINE, *(tmp_path / "moved" / name for name in names), environment=environment, folder=tmp_path
        )
        assert done.returncode == 0, done.stderr
        for name in ("slim", "private"):
            weights = torch.load(tmp_path / "moved" / f"{name}.pt")
            torch.testing.assert_close(weights, model.state_dict(), rtol=0, atol=0)

    def test_brings_card_and_image_processor(self, world: dict[str, Any]) -> None:
        folder = world["root"] / "pulled" / "slim"
        assert (folder / "README.md").read_bytes() == published(world, "lab/slim")["README.md"]
        assert GFFusionImageProcessor.from_pretrained(folder).size_divisor == 8
        assert "gffusion-funet" in (world["root"] / "pulled" / "funet" / "README.md").read_text()
