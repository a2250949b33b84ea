"""Names to weights: what is bundled, that it fuses well, and what is said to names that lead nowhere."""

import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hub_server import HubServer
from numpy.typing import NDArray
from PIL import Image

from gffusion import GFFusionConfig, GFFusionImageProcessor, GFFusionModel, create_model, list_models
from gffusion.data.layouts.mfnet import MFNET_CLASSES
from gffusion.models.gffusion.configuration_gffusion import M3FD_CLASSES
from gffusion.synthetic.rendering import CLASS_NAMES, render_scene
from gffusion.zoo import MODELS, ModelEntry, find_entries, load_image_processor, locate

REPOSITORY = Path(__file__).parents[2]
RECIPES = REPOSITORY / "gffusion" / "training" / "recipes"


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe and those that it is based on."""
    options = yaml.safe_load(path.read_text())
    base = read_recipe(path.parent / options.pop("base")) if "base" in options else {"model_config": {}}
    return base | options | {"model_config": base["model_config"] | options.get("model_config", {})}


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).convert("L"))


class TestNames:
    def test_list(self) -> None:
        assert {"gffusion-funet", "gffusion-m3fd", "gffusion-mfnet"} <= set(list_models())
        assert list_models("*funet*") == ["gffusion-funet"]
        assert list_models("unknown-*") == []
        assert len(set(list_models())) == len(MODELS)

    def test_list_by_status(self) -> None:
        assert list_models(status="bundled") == ["gffusion-funet", "gffusion-tiny"]
        assert list_models("*-m*", status="recipe-only") == ["gffusion-m3fd", "gffusion-mfnet", "gffusion-mean"]
        assert list_models(status="published") == []
        with pytest.raises(ValueError, match="bundled, published, recipe-only, got 'lost'"):
            list_models(status="lost")

    @pytest.mark.parametrize("entry", MODELS, ids=lambda entry: entry.name)
    def test_entries_are_complete(self, entry: ModelEntry) -> None:
        assert entry.description and entry.training_data
        if entry.status == "bundled":
            folder = Path(locate(entry.name))
            files = {"config.json", "preprocessor_config.json", "model.safetensors"}
            assert files <= {file.name for file in folder.iterdir()}
            assert entry.license and entry.measurements
        elif entry.status == "published":
            assert entry.license and entry.measurements and entry.repo_id
            assert re.fullmatch("[0-9a-f]{40}", entry.revision or "")
        else:
            assert (entry.repo_id, entry.revision, entry.measurements) == (None, None, ())

    @pytest.mark.parametrize("entry", MODELS, ids=lambda entry: entry.name)
    def test_recipe_trains_this_architecture(self, entry: ModelEntry) -> None:
        options = read_recipe(
            REPOSITORY / entry.recipe if entry.recipe.endswith(".yaml") else RECIPES / f"{entry.recipe}.yaml"
        )
        architecture = dict(options["model_config"])
        if "layout" in options:
            names = {"m3fd": M3FD_CLASSES, "mfnet": ("background", *MFNET_CLASSES)}[options["layout"]]
            architecture["id2label"] = dict(enumerate(names))
        assert GFFusionConfig(**entry.architecture).to_dict() == GFFusionConfig(**architecture).to_dict()

    @pytest.mark.parametrize("entry", find_entries(status="bundled"), ids=lambda entry: entry.name)
    def test_architecture_of_bundled_weights(self, entry: ModelEntry) -> None:
        config = GFFusionConfig.from_pretrained(locate(entry.name))
        expected = GFFusionConfig(**entry.architecture)
        assert {name: getattr(config, name) for name in entry.architecture} == entry.architecture
        assert config.decoder_channels == expected.decoder_channels

    @pytest.mark.parametrize("entry", find_entries(status="bundled"), ids=lambda entry: entry.name)
    def test_measured_figures_are_those_of_the_card(self, entry: ModelEntry) -> None:
        card = (Path(locate(entry.name)) / "README.md").read_text()
        rows = re.findall(rf"^\| (?:\*\*)?{entry.name}\b.*?\|(.*)\|.*\|$", card, re.MULTILINE)
        shown = [[float(number) for number in re.findall(r"\d+\.\d+", row)] for row in rows]
        assert shown == [list(measured.metrics.values()) for measured in entry.measurements]

    def test_bundled_weights_travel_with_the_package(self) -> None:
        assert Path(locate("gffusion-funet")).is_relative_to(Path(str(files("gffusion"))))

    def test_package_in_an_archive(
        self, run_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
    ) -> None:
        package = Path(str(files("gffusion")))
        with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
            for file in package.rglob("*.*"):
                if "__pycache__" not in file.parts:
                    archive.write(file, Path("gffusion") / file.relative_to(package))
        script = """
import gffusion
from gffusion import create_model
from gffusion.zoo import load_image_processor
assert ".zip" in gffusion.__file__
for name in gffusion.list_models(status="bundled"):
    create_model(name), load_image_processor(name)
"""
        environment = {"PYTHONPATH": str(tmp_path / "archive.zip"), "HF_HOME": str(tmp_path)}
        done = run_script(script, environment=environment, folder=tmp_path)
        assert done.returncode == 0, done.stderr

    def test_package_that_must_not_be_written(
        self, run_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
    ) -> None:
        """Nothing is even tried: root may write where others may not, so that the files are compared."""
        site = tmp_path / "site"
        shutil.copytree(Path(str(files("gffusion"))), site / "gffusion", ignore=shutil.ignore_patterns("__pycache__"))
        paths = sorted(site.rglob("*"), reverse=True)
        for path in [*paths, site]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = {path: path.stat().st_mtime_ns for path in [*paths, site]}
        script = """
import gffusion
from gffusion import create_model, list_models
from gffusion.zoo import load_image_processor
for name in list_models(status="bundled"):
    create_model(name), load_image_processor(name)
print(gffusion.__file__)
"""
        environment = {"PYTHONPATH": str(site), "HF_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        done = run_script(script, environment=environment, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(site / "gffusion" / "__init__.py")
        assert {path: path.stat().st_mtime_ns for path in [site, *site.rglob("*")]} == before
        for path in [*paths, site]:
            path.chmod(0o755)

    def test_folders_and_hub_ids_are_passed_on(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        assert locate(tmp_path) == locate(str(tmp_path)) == str(tmp_path)
        assert locate("organization/name") == "organization/name"

    @pytest.mark.parametrize(
        "name", ["unknown", "a/b/c", "/no/where", "./nowhere", "~/nowhere", "../up", "org/..", "org/a b", "org\\name"]
    )
    def test_unknown_name(self, name: str) -> None:
        for function in (locate, create_model, load_image_processor):
            with pytest.raises(OSError, match=r"(?s)Unknown model .*gffusion-funet") as error:
                function(name)
            assert repr(name) in str(error.value)

    def test_folder_without_model(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="contains no model"):
            create_model(tmp_path)

    def test_hub_id_without_network(self) -> None:
        with pytest.raises(OSError, match="Cannot load the model 'organization/name'"):
            create_model("organization/name")

    def test_file_instead_of_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(b"")
        with pytest.raises(OSError, match="Unknown model"):
            create_model(tmp_path / "model.safetensors")

    def test_damaged_weights(self, tmp_path: Path) -> None:
        shutil.copytree(locate("gffusion-funet"), tmp_path / "model")
        weights = tmp_path / "model" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(OSError, match="Cannot load the model"):
            create_model(tmp_path / "model")

    def test_without_weights_says_so_and_names_the_recipe(self) -> None:
        """Never random weights in place of those that nobody has trained."""
        for name in list_models(status="recipe-only"):
            for function in (locate, create_model, load_image_processor):
                with pytest.raises(OSError, match=f"No weights of {name} are published.*--config "):
                    function(name)

    def test_published_weights_are_pinned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loaded = []
        monkeypatch.setattr(
            GFFusionModel, "from_pretrained", lambda *arguments, **options: loaded.append((arguments, options))
        )
        entry = replace(find_entries("gffusion-m3fd")[0], status="published", repo_id="lab/m3fd", revision="a" * 40)
        monkeypatch.setattr("gffusion.zoo.registry.MODELS", (entry,))
        assert locate("gffusion-m3fd") == "lab/m3fd"
        create_model("gffusion-m3fd")
        create_model("gffusion-m3fd", revision="main")
        assert loaded == [(("lab/m3fd",), {"revision": "a" * 40}), (("lab/m3fd",), {"revision": "main"})]

    def test_refused_argument(self) -> None:
        with pytest.raises(ValueError, match="paradigm"):
            create_model("gffusion-funet", paradigm="sequential")


class TestNewModels:
    def test_keeps_the_encoders_and_starts_the_rest_anew(self, backbone_folders: dict[str, str]) -> None:
        options = {"segmenter_image_size": [32, 32], "semantic_layers": [1, 2]}
        first, second = (
            create_model("gffusion-mfnet", pretrained=False, **backbone_folders, **options) for _ in range(2)
        )
        assert first.config.id2label[6] == "guardrail" and first.training
        equal = {name: torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items()}
        assert all(same for name, same in equal.items() if name.startswith(("clip.", "dinov2.")))
        assert not any(same for name, same in equal.items() if name.startswith("funet.") and name.endswith("0.weight"))

    def test_without_encoders(self) -> None:
        model = create_model("gffusion-funet", pretrained=False)
        bundled = create_model("gffusion-funet")
        assert model.state_dict().keys() == bundled.state_dict().keys()
        assert not torch.equal(next(model.parameters()), next(bundled.parameters()))

    def test_bundled_encoders_stay(self) -> None:
        model, bundled = create_model("gffusion-tiny", pretrained=False), create_model("gffusion-tiny")
        equal = {name: torch.equal(value, bundled.state_dict()[name]) for name, value in model.state_dict().items()}
        assert all(same for name, same in equal.items() if name.startswith(("clip.", "dinov2.")))
        assert not equal["funet.visible_encoder.stem.weight"] and not equal["ssnet.classifier.weight"]
        assert model.training and model.config.id2label == bundled.config.id2label

    def test_encoders_of_the_paper_are_looked_for(self) -> None:
        with pytest.raises(OSError, match=r"Cannot load .*'openai/clip-vit-base-patch16'.*HF_HUB_OFFLINE"):
            create_model("gffusion-m3fd", pretrained=False)

    def test_bundled_weights_have_no_revisions(self) -> None:
        with pytest.raises(
            ValueError, match="gffusion-funet is in the package and has no revisions, got revision='v1'"
        ):
            create_model("gffusion-funet", revision="v1")

    def test_encoders_by_the_name_of_their_source(self, backbone_folders: dict[str, str]) -> None:
        names = {f"{encoder}_name_or_path": folder for encoder, folder in backbone_folders.items()}
        options = {"segmenter_image_size": [32, 32], **names}
        model = create_model("gffusion-mfnet", pretrained=False, **options)
        assert {name: getattr(model.config, name) for name in names} == names

    @pytest.mark.parametrize("name", ["org/name", "unknown"])
    def test_only_the_zoo_knows_architectures(self, name: str) -> None:
        with pytest.raises(ValueError, match="pretrained=False needs a model of the zoo"):
            create_model(name, pretrained=False)


class TestImageProcessor:
    def test_options_of_the_folder_and_overrides(self, tmp_path: Path) -> None:
        shutil.copytree(locate("gffusion-funet"), tmp_path / "model")
        GFFusionImageProcessor(size_divisor=8, infrared_range=[10, 20]).save_pretrained(tmp_path / "model")
        processor = load_image_processor(tmp_path / "model")
        assert (processor.size_divisor, list(processor.infrared_range)) == (8, [10, 20])
        assert load_image_processor(tmp_path / "model", size_divisor=4).size_divisor == 4

    def test_model_saved_without_one_gets_the_default(self, tiny_model: Callable, tmp_path: Path) -> None:
        tiny_model(paradigm="cascading", use_segmenter=False).save_pretrained(tmp_path)
        assert load_image_processor(tmp_path).to_dict() == GFFusionImageProcessor().to_dict()

    def test_nothing_is_guessed_of_a_repository_that_may_not_be_asked(
        self, hub: HubServer, run_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
    ) -> None:
        """The default is for repositories without one, not for what the cache happens to lack."""
        hub.add_repository("lab/net", {"config.json": b"{}"})
        script = """
from gffusion.zoo import load_image_processor
print(load_image_processor("lab/net", size_divisor=4).size_divisor)
"""
        offline = {"HF_HUB_OFFLINE": "1"}
        for name, options, answer in (
            ("cold", {"HF_ENDPOINT": "http://127.0.0.1:9"}, ""),
            ("cold", offline, ""),
            ("warm", {}, "4\n"),
            ("warm", offline, "4\n"),  # the cache knows that there is none
        ):
            environment = hub.environment(tmp_path / name) | options
            done = run_script(script, environment=environment, folder=tmp_path)
            assert done.stdout == answer, done.stderr
            assert ("image processor from 'lab/net': it is not in the cache" in done.stderr) == (not answer)

    def test_damaged_one_is_not_passed_over(self, tmp_path: Path) -> None:
        shutil.copytree(locate("gffusion-funet"), tmp_path / "model")
        (tmp_path / "model" / "preprocessor_config.json").write_text('{"size_divisor": 8')
        with pytest.raises(OSError, match=r"preprocessor_config.json"):
            load_image_processor(tmp_path / "model")


class TestBundledModels:
    @pytest.fixture(scope="class", params=list_models(status="bundled"))
    def name(self, request: pytest.FixtureRequest) -> str:
        return request.param

    @pytest.fixture(scope="class")
    def model(self, name: str) -> GFFusionModel:
        return create_model(name)

    def test_is_ready_for_inference(self, name: str, model: GFFusionModel) -> None:
        assert not model.training
        assert set(model.backbones) == (set() if name == "gffusion-funet" else {"clip", "dinov2"})
        assert next(model.parameters()).dtype == torch.float32
        assert all(torch.isfinite(value).all() for value in model.state_dict().values())

    def test_tiny_is_the_default(self) -> None:
        assert create_model().state_dict().keys() == create_model("gffusion-tiny").state_dict().keys()

    def test_fit_into_a_wheel(self) -> None:
        sizes = [file.stat().st_size for name in list_models(status="bundled") for file in Path(locate(name)).iterdir()]
        assert sum(sizes) < 30e6

    @pytest.mark.parametrize("seed", range(3))
    def test_shows_the_hidden_person_and_keeps_colour(self, name: str, model: GFFusionModel, seed: int) -> None:
        """People in dark clothes at night: darker than what surrounds them, and warmer."""
        scene = render_scene(seed, height=240, width=320)
        images, processor = (scene.visible, scene.infrared), load_image_processor(name)
        with torch.no_grad():
            outputs = model(**processor(images, return_tensors="pt"))
        (fused,) = processor.post_process_fusion(outputs, images, output_type="np")
        assert (fused.shape, fused.dtype) == (scene.visible.shape, np.uint8)

        person, surroundings = self.person_and_surroundings(scene)
        contrast = {
            name: float(picture[person].mean()) - float(picture[surroundings].mean())
            for name, picture in (("visible", luma(scene.visible)), ("fused", luma(fused)))
        }
        assert contrast["visible"] < -20
        assert contrast["fused"] > 10

        chroma = [np.asarray(Image.fromarray(image).convert("YCbCr"), int)[..., 1:] for image in (scene.visible, fused)]
        holds_colour = luma(fused) > 24  # what is almost black, such as the sky, has room for little
        assert (np.abs(chroma[1] - chroma[0]).max(axis=-1) > 3)[holds_colour].mean() < 0.01

    def person_and_surroundings(self, scene: object) -> tuple[NDArray[np.bool], NDArray[np.bool]]:
        """Masks of the largest of the people whom the dark hides, and of the background around them."""
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
