"""Models and image processors by name: bundled weights, untrained models and image processors."""

import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any
from unittest.mock import Mock, call

import numpy as np
import pytest
import torch
from hub_server import HubServer
from numpy.typing import NDArray
from PIL import Image

from gffusion import GFFusionImageProcessor, GFFusionModel, create_model, list_models
from gffusion.hub.pulling import LICENSES, pull
from gffusion.synthetic.rendering import CLASS_NAMES, render_scene
from gffusion.zoo import find_entries, load_image_processor, locate

LOAD = """
import gffusion
from gffusion import create_model, list_models
from gffusion.zoo import load_image_processor
for name in list_models(status="bundled"):
    create_model(name), load_image_processor(name)
print(gffusion.__file__)
"""


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).convert("L"))


def is_encoder(name: str) -> bool:
    return name.startswith(("clip.", "dinov2."))


def equal_weights(first: GFFusionModel, second: GFFusionModel) -> dict[str, bool]:
    return {name: torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items()}


class TestPretrained:
    def test_package_in_an_archive(
        self, fork_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
    ) -> None:
        package = Path(str(files("gffusion")))
        with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
            for file in package.rglob("*.*"):
                if "__pycache__" not in file.parts:
                    archive.write(file, Path("gffusion") / file.relative_to(package))
        environment = {"PYTHONPATH": str(tmp_path / "archive.zip"), "HF_HOME": str(tmp_path)}
        done = fork_script(LOAD, environment=environment, folder=tmp_path)
        assert done.returncode == 0 and "archive.zip" in done.stdout, done.stderr

    def test_read_only_package(
        self, fork_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
    ) -> None:
        """The files are compared as well, because root may write to read-only files."""
        site = tmp_path / "site"
        shutil.copytree(Path(str(files("gffusion"))), site / "gffusion", ignore=shutil.ignore_patterns("__pycache__"))
        paths = [*sorted(site.rglob("*"), reverse=True), site]
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = {path: path.stat().st_mtime_ns for path in paths}
        environment = {"PYTHONPATH": str(site), "HF_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        done = fork_script(LOAD, environment=environment, folder=tmp_path)
        after = {path: path.stat().st_mtime_ns for path in [site, *site.rglob("*")]}
        for path in paths:
            path.chmod(0o755)
        assert done.stdout.strip() == str(site / "gffusion" / "__init__.py"), done.stderr
        assert after == before

    def test_hub_id_without_network(self) -> None:
        with pytest.raises(OSError, match=r"^Cannot load the configuration from 'organization/name'"):
            create_model("organization/name")

    @pytest.mark.parametrize("length", [0, 1000, 10_000])
    @pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
    def test_damaged_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, length: int) -> None:
        """Those of a bundled model come back with the package."""
        shutil.copytree(locate("gffusion-funet"), tmp_path / "model")
        damaged = tmp_path / "model" / name
        damaged.write_bytes(damaged.read_bytes()[: length // (1 if name == "model.safetensors" else 100)])
        for package, advice in (
            (tmp_path / "other", r"are damaged, download|is not JSON"),
            (tmp_path, "gffusion again"),
        ):
            monkeypatch.setattr("gffusion.models.gffusion.weight_files._PACKAGE", package)
            with pytest.raises(OSError, match=advice):
                create_model(tmp_path / "model")

    def test_published_weights_are_pinned(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        load = Mock()
        monkeypatch.setattr(GFFusionModel, "from_pretrained", load)
        entry = replace(find_entries("gffusion-m3fd")[0], status="published", repo_id="lab/m3fd", revision="a" * 40)
        monkeypatch.setattr("gffusion.zoo.registry.MODELS", (entry,))
        create_model("gffusion-m3fd")
        create_model("gffusion-m3fd", revision="main")
        assert load.mock_calls == [call("lab/m3fd", revision="a" * 40), call("lab/m3fd", revision="main")]
        find = Mock(return_value=None)
        monkeypatch.setattr("gffusion.zoo.loading.find_file", find)
        monkeypatch.setattr("gffusion.hub.pulling.find_file", find)
        monkeypatch.setattr("gffusion.hub.pulling.create_model", Mock(return_value=Mock(backbones={})))
        pull("gffusion-m3fd", tmp_path / "new")
        assert {(called.args[1], called.kwargs["revision"]) for called in find.mock_calls} == {
            (name, "a" * 40) for name in ("preprocessor_config.json", "README.md", *LICENSES)
        }
        monkeypatch.chdir(tmp_path)
        Path("lab/m3fd").mkdir(parents=True)
        for load in (create_model, load_image_processor):
            with pytest.raises(OSError, match=r"lab/m3fd is a path here.*write \./lab/m3fd"):
                load("gffusion-m3fd")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"paradigm": "sequential"}, "paradigm"),
            ({"revision": "v1"}, r"gffusion-funet is a folder and has no revisions, got revision='v1': omit it"),
        ],
    )
    def test_invalid_arguments(self, arguments: dict[str, str], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            create_model("gffusion-funet", **arguments)

    def test_folders_have_no_revisions(self) -> None:
        for load in (create_model, load_image_processor):
            with pytest.raises(ValueError, match="is a folder and has no revisions"):
                load(Path(locate("gffusion-funet")), revision="v1")

    def test_subfolder(self, tmp_path: Path) -> None:
        """A part of a local folder that is no model itself, as `from_pretrained` takes it."""
        model = create_model("gffusion-funet")
        model.save_pretrained(tmp_path / "runs/street")
        GFFusionImageProcessor(size_divisor=8).save_pretrained(tmp_path / "runs/street")
        for folder, subfolder in (
            (tmp_path, "runs/street"),
            (tmp_path / "runs", "street"),
            (tmp_path / "runs/street", ""),
        ):
            loaded = create_model(folder, subfolder=subfolder)
            torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
            assert load_image_processor(folder, subfolder=subfolder).size_divisor == 8
        for load in (create_model, load_image_processor):
            with pytest.raises(OSError, match=r"nowhere"):
                load(tmp_path, subfolder="nowhere")

    def test_folder_with_the_name_of_a_model(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.copytree(locate("gffusion-funet"), tmp_path / "gffusion-mfnet")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(
            OSError, match=r"No weights of gffusion-mfnet .*folder of this name, write ./gffusion-mfnet"
        ):
            create_model("gffusion-mfnet")
        for folder in ("./gffusion-mfnet", Path("gffusion-mfnet")):
            assert create_model(folder).config.paradigm == "cascading"


class TestUntrained:
    def test_encoders_are_loaded_and_all_other_weights_are_new(self, backbone_folders: dict[str, str]) -> None:
        options = {"segmenter_image_size": [32, 32], "semantic_layers": [1, 2], **backbone_folders}
        first, second = (create_model("gffusion-mfnet", pretrained=False, **options) for _ in range(2))
        assert first.config.id2label[6] == "guardrail" and first.training
        equal = equal_weights(first, second)
        assert all(same for name, same in equal.items() if is_encoder(name))
        assert not any(same for name, same in equal.items() if name.startswith("funet.") and name.endswith("0.weight"))

    @pytest.mark.parametrize("name", list_models(status="bundled"))
    def test_bundled_models_keep_their_encoders(self, name: str) -> None:
        model, bundled = create_model(name, pretrained=False), create_model(name)
        equal = equal_weights(model, bundled)
        assert equal.keys() == bundled.state_dict().keys()
        assert all(same for key, same in equal.items() if is_encoder(key))
        assert not any(equal.get(key) for key in ("funet.visible_encoder.stem.weight", "ssnet.classifier.weight"))
        assert model.training and model.config.id2label == bundled.config.id2label

    @pytest.mark.parametrize("classes", [{"num_labels": 2}, {"id2label": {0: "ground", 1: "deer"}}])
    def test_other_classes(self, backbone_folders: dict[str, str], classes: dict[str, Any]) -> None:
        options = {"segmenter_image_size": [32, 32], "semantic_layers": [1, 2], **backbone_folders}
        assert create_model("gffusion-mfnet", pretrained=False, **options, **classes).config.num_labels == 2

    @pytest.mark.parametrize(
        "classes",
        [
            {"num_labels": 7},
            {"id2label": {0: "ground", 1: "deer"}},
            {"id2label": dict(enumerate(["background", "deer", "fox", "boar"]))},  # as many as before
            {"segmenter_layers": 2},
        ],
    )
    def test_other_classes_or_layers_need_a_new_head(
        self, classes: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        config = GFFusionModel.config_class.from_pretrained(locate("gffusion-tiny"), **classes)
        for asked_by, options in ((*classes, classes), ("config", {"config": config})):
            with pytest.raises(ValueError, match=f"the segmentation head that {asked_by} asks for: pass ignore_mism"):
                create_model("gffusion-tiny", **options)
            head = create_model("gffusion-tiny", ignore_mismatched_sizes=True, **options).ssnet.classifier
            assert len(head.weight) == config.num_labels and head.weight.std() > 0
            trained = create_model("gffusion-tiny").ssnet.classifier.weight
            assert head.weight.shape != trained.shape or not torch.equal(head.weight, trained)
        weights = create_model("gffusion-tiny").state_dict()
        if "id2label" not in classes or len(classes["id2label"]) != 4:
            with pytest.raises(OSError, match="do not fit the configuration"):
                GFFusionModel.from_pretrained(None, config=config, state_dict=weights)
            GFFusionModel.from_pretrained(None, config=config, state_dict=weights, ignore_mismatched_sizes=True)
        assert caplog.text.count("does not contain them: the segmentation head") >= 2

    def test_same_classes_keep_the_head(self) -> None:
        model = create_model("gffusion-tiny")
        names = {number: name.upper() for number, name in model.config.id2label.items()}
        same = create_model("gffusion-tiny", id2label=names)
        assert torch.equal(same.ssnet.classifier.weight, model.ssnet.classifier.weight)
        assert same.config.id2label == names

    def test_number_of_classes_without_a_segmenter(self, caplog: pytest.LogCaptureFixture) -> None:
        create_model("gffusion-live", num_labels=7)
        assert "`num_labels` has no effect: the model has no segmenter" in caplog.text

    def test_encoders_of_the_paper_are_the_default(self) -> None:
        with pytest.raises(OSError, match=r"Cannot load .*'openai/clip-vit-base-patch16'.*HF_HUB_OFFLINE"):
            create_model("gffusion-m3fd", pretrained=False)

    def test_encoders_by_the_name_of_their_source(self, backbone_folders: dict[str, str]) -> None:
        names = {f"{encoder}_name_or_path": folder for encoder, folder in backbone_folders.items()}
        model = create_model("gffusion-mfnet", pretrained=False, segmenter_image_size=[32, 32], **names)
        assert {name: getattr(model.config, name) for name in names} == names

    @pytest.mark.parametrize("name", ["org/name", "unknown"])
    def test_other_models_have_no_architecture(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"pretrained=False needs a listed model.*'gffusion-live' as text, not"):
            create_model(Path("gffusion-live"), pretrained=False)
        with pytest.raises(
            OSError, match=r"Unknown model 'gffusion-live'.* pass 'gffusion-live' as text, not as a path"
        ):
            create_model(Path("gffusion-live"))
        with pytest.raises(ValueError, match="pretrained=False needs a listed model"):
            create_model(name, pretrained=False)


class TestImageProcessor:
    def test_saved_options_and_overrides(self, tmp_path: Path) -> None:
        GFFusionImageProcessor(size_divisor=8, infrared_range=[10, 20]).save_pretrained(tmp_path)
        (tmp_path / "config.json").write_text("{}")
        processor = load_image_processor(tmp_path)
        assert (processor.size_divisor, list(processor.infrared_range)) == (8, [10, 20])
        assert load_image_processor(tmp_path, size_divisor=4).size_divisor == 4
        assert load_image_processor(tmp_path, infrared_range="type", invert=True).invert
        GFFusionImageProcessor(agc="plateau", plateau_limit=2).save_pretrained(tmp_path)
        assert load_image_processor(tmp_path, agc="linear").plateau_limit is None
        with pytest.raises(
            ValueError, match=r"Unknown options \['invrt'\]. Allowed: size_divisor, infrared_range, invert,.* revision"
        ):
            load_image_processor(tmp_path, invrt=True)

    def test_default_for_models_saved_without(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        assert load_image_processor(tmp_path).to_dict() == GFFusionImageProcessor().to_dict()

    def test_damaged(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "preprocessor_config.json").write_text('{"size_divisor": 8')
        with pytest.raises(OSError, match=r"preprocessor_config.json"):
            load_image_processor(tmp_path)

    def test_default_only_if_the_repository_has_none(
        self, hub: HubServer, fork_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
    ) -> None:
        """An unreachable Hub is an error, unless the cache knows that the file does not exist."""
        hub.add_repository("lab/net", {"config.json": b"{}"})
        script = """
from gffusion.zoo import load_image_processor
print(load_image_processor("lab/net", size_divisor=4).size_divisor)
"""
        offline, unreachable = {"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}
        for name, options, answer in (
            ("cold", unreachable, ""),
            ("cold", offline, ""),
            ("warm", {}, "4\n"),
            ("warm", unreachable, "4\n"),
            ("warm", offline, "4\n"),
        ):
            environment = hub.environment(tmp_path / name) | options
            done = fork_script(script, environment=environment, folder=tmp_path)
            assert done.stdout == answer, done.stderr
            assert ("image processor from 'lab/net': it is not in the cache" in done.stderr) == (not answer)
            note = "http://127.0.0.1:9 does not answer: lab/net is looked for in the cache, which may be older"
            assert done.stderr.count(note) == (options is unreachable)


class TestBundledModels:
    @pytest.fixture(scope="class", params=list_models(status="bundled"))
    def name(self, request: pytest.FixtureRequest) -> str:
        return request.param

    @pytest.fixture(scope="class")
    def model(self, name: str) -> GFFusionModel:
        return create_model(name)

    def test_is_ready_for_inference(self, name: str, model: GFFusionModel) -> None:
        assert not model.training
        paradigm, segments = model.config.paradigm, model.config.use_segmenter
        needed = {"clip": paradigm == "hybrid", "dinov2": segments or paradigm == "parallel"}
        assert set(model.backbones) == {encoder for encoder, is_needed in needed.items() if is_needed}
        assert next(model.parameters()).dtype == torch.float32
        assert all(torch.isfinite(value).all() for value in model.state_dict().values())

    @pytest.mark.parametrize("seed", range(3))
    def test_shows_hidden_people_and_keeps_color(self, name: str, model: GFFusionModel, seed: int) -> None:
        """People in dark clothes at night are darker than their surroundings, and warmer."""
        scene = render_scene(seed, height=240, width=320)
        images, processor = (scene.visible, scene.infrared), load_image_processor(name)
        with torch.no_grad():
            outputs = model(**processor(images, return_tensors="pt"))
        (fused,) = processor.post_process_fusion(outputs, images, output_type="np")
        assert (fused.shape, fused.dtype) == (scene.visible.shape, np.uint8)

        person, surroundings = self.person_and_surroundings(scene)
        contrast = [
            float(image[person].mean()) - float(image[surroundings].mean())
            for image in (luma(scene.visible), luma(fused))
        ]
        assert contrast[0] < -20 and contrast[1] > 10

        chroma = [np.asarray(Image.fromarray(image).convert("YCbCr"), int)[..., 1:] for image in (scene.visible, fused)]
        has_color = luma(fused) > 24  # almost black pixels have little room for chroma
        assert (np.abs(chroma[1] - chroma[0]).max(axis=-1) > 3)[has_color].mean() < 0.01

    def person_and_surroundings(self, scene: object) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return masks of the largest person darker than the surroundings, and of the background around this person."""
        people = []
        for box in scene.boxes:
            height, width = box.bottom - box.top, box.right - box.left
            if CLASS_NAMES[box.class_id] != "person":
                continue
            person, surroundings = np.zeros((2, *scene.labels.shape), bool)
            person[box.top : box.bottom, box.left : box.right] = True
            rows = slice(max(0, box.top - height // 2), box.bottom + height // 2)
            surroundings[rows, max(0, box.left - width) : box.right + width] = True
            person &= scene.labels == box.class_id
            surroundings &= scene.labels == 0
            visible = luma(scene.visible)
            if visible[person].mean() < visible[surroundings].mean() - 20:
                people.append((person, surroundings))
        return max(people, key=lambda masks: masks[0].sum())
