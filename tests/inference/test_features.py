"""Features of a model: the tokens, gates and weights are those that the model uses."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from gffusion import GFFusionModel, create_model
from gffusion.data import PairImages
from gffusion.inference.features import extract_features, get_layer_weights
from gffusion.inference.predict import predict
from gffusion.synthetic.rendering import render_scene
from gffusion.zoo import load_image_processor


@pytest.fixture(scope="module")
def pair() -> PairImages:
    scene = render_scene(0, 50, 70)
    return PairImages(scene.visible, scene.infrared)


def test_of_a_model_with_both_encoders(pair: PairImages) -> None:
    model, processor = create_model("gffusion-tiny"), load_image_processor("gffusion-tiny")
    features = extract_features(model, processor, pair)
    expected = predict(model, processor, [pair[:2]], segment=True)[0]
    np.testing.assert_array_equal(features.images["fused"], expected.fused)
    np.testing.assert_array_equal(features.labels, expected.labels)
    assert {*features.tokens} == {"clip", "dinov2"}
    inputs = processor([pair[:2]], return_tensors="pt")
    fused = processor([(expected.fused, pair.infrared)], return_tensors="pt")["visible_values"]
    images = {"visible": inputs["visible_values"], "infrared": inputs["infrared_values"].expand(-1, 3, -1, -1)}
    with torch.inference_mode():
        outputs = model(**inputs, output_features=True)
        for name, image in (images | {"fused": fused}).items():
            clip = model.encode_images(image)[-1][0].numpy()
            np.testing.assert_allclose(features.tokens["clip"][name].reshape(clip.shape), clip, atol=1e-4)
    np.testing.assert_allclose(features.gate, outputs.gate[0, :, :50, :70].numpy(), atol=1e-5)
    weights = get_layer_weights(model)
    assert [*weights] == [str(layer) for layer in model.config.semantic_layers]
    assert sum(weights.values()) == pytest.approx(1)


@pytest.mark.parametrize(("factor", "size"), [(1, (50, 70)), (4, (13, 18))])
def test_gate_is_that_of_the_image_without_its_padding(
    pair: PairImages, tiny_model: Callable[..., GFFusionModel], factor: int, size: tuple[int, int]
) -> None:
    features = extract_features(tiny_model(pixel_unshuffle=factor).eval(), load_image_processor("gffusion-tiny"), pair)
    assert features.gate is not None and features.gate.shape[1:] == size


def test_of_a_model_without_encoders(pair: PairImages) -> None:
    model = create_model("gffusion-live")
    features = extract_features(model, load_image_processor("gffusion-live"), pair)
    assert (features.tokens, features.gate, features.labels) == ({}, None, None)
    with pytest.raises(ValueError, match="its paradigm is cascading"):
        get_layer_weights(model)
