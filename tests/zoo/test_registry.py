"""Names to weights: what is bundled, that it fuses well, and what is said to names that lead nowhere."""

import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from gffusion import GFFusionImageProcessor, GFFusionModel, create_model, list_models
from gffusion.data.rendering import CLASS_NAMES, render_scene
from gffusion.zoo import MODELS, load_image_processor, locate

RECIPES = Path(__file__).parents[2] / "examples" / "recipes"


def luma(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).convert("L"))


class TestNames:
    def test_list(self) -> None:
        assert "gffusion-funet" in list_models()
        assert list_models("*funet*") == ["gffusion-funet"]
        assert list_models("unknown-*") == []
        assert len(set(list_models())) == len(MODELS)

    @pytest.mark.parametrize("entry", MODELS, ids=lambda entry: entry.name)
    def test_entries_are_complete(self, entry: object) -> None:
        folder = Path(locate(entry.name))
        assert {"config.json", "preprocessor_config.json", "model.safetensors"} <= {f.name for f in folder.iterdir()}
        assert (RECIPES / entry.recipe).is_file()
        assert entry.licence and entry.description

    def test_bundled_weights_travel_with_the_package(self) -> None:
        assert Path(locate("gffusion-funet")).is_relative_to(Path(str(files("gffusion"))))

    def test_folders_and_hub_ids_are_passed_on(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        assert locate(tmp_path) == locate(str(tmp_path)) == str(tmp_path)
        assert locate("organisation/name") == "organisation/name"

    @pytest.mark.parametrize("name", ["unknown", "a/b/c", "/no/where", "./nowhere", "~/nowhere", "../up"])
    def test_unknown_name(self, name: str) -> None:
        for function in (locate, create_model, load_image_processor):
            with pytest.raises(OSError, match="(?s)Unknown model .*gffusion-funet") as error:
                function(name)
            assert repr(name) in str(error.value)

    def test_folder_without_model(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="holds no model"):
            create_model(tmp_path)

    def test_hub_id_without_network(self) -> None:
        with pytest.raises(OSError, match="Cannot load the model 'organisation/name'"):
            create_model("organisation/name")

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

    def test_refused_argument(self) -> None:
        with pytest.raises(ValueError, match="paradigm"):
            create_model("gffusion-funet", paradigm="sequential")


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

    def test_damaged_one_is_not_passed_over(self, tmp_path: Path) -> None:
        shutil.copytree(locate("gffusion-funet"), tmp_path / "model")
        (tmp_path / "model" / "preprocessor_config.json").write_text('{"size_divisor": 8')
        with pytest.raises(OSError, match="preprocessor_config.json"):
            load_image_processor(tmp_path / "model")


class TestBundledModel:
    @pytest.fixture(scope="class")
    def model(self) -> GFFusionModel:
        return create_model("gffusion-funet")

    def test_is_ready_for_inference_and_needs_no_encoder(self, model: GFFusionModel) -> None:
        assert not model.training
        assert not model.backbones
        assert next(model.parameters()).dtype == torch.float32
        assert create_model().state_dict().keys() == model.state_dict().keys()
        assert all(torch.isfinite(value).all() for value in model.state_dict().values())

    @pytest.mark.parametrize("seed", range(3))
    def test_shows_the_hidden_person_and_keeps_colour(self, model: GFFusionModel, seed: int) -> None:
        """People in dark clothes at night: darker than what surrounds them, and warmer."""
        scene = render_scene(seed, height=240, width=320)
        images, processor = (scene.visible, scene.infrared), load_image_processor("gffusion-funet")
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
        assert (np.abs(chroma[1] - chroma[0]).max(axis=-1) > 3).mean() < 0.01

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
