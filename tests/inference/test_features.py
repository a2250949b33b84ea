"""Features of a model: the tokens, gates and weights are those that the model uses."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import cpu_offload
from torch import Tensor
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from gffusion import GFFusionModel, create_model
from gffusion.data import PairImages
from gffusion.inference.features import extract_features, get_layer_weights
from gffusion.inference.predict import predict
from gffusion.synthetic.rendering import render_scene
from gffusion.zoo import load_image_processor


def normalize(values: Tensor, size: tuple[int, int], mean: list[float], std: list[float]) -> Tensor:
    resized = F.interpolate(values, size=size, mode="bicubic", antialias=True).clamp(0, 1)
    return (resized - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


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
    weights = get_layer_weights(model)
    assert [*weights] == [str(layer) for layer in model.config.semantic_layers]
    assert sum(weights.values()) == pytest.approx(1)


def test_tokens_are_those_of_the_plain_encoders_and_the_gate_that_of_finet(
    pair: PairImages, tiny_model: Callable[..., GFFusionModel]
) -> None:
    """Of the deepest layer that FINet reads of CLIP, and of the last, normalized, of DINOv2."""
    options = {"segmenter_image_size": [32, 48], "segmenter_layers": 1, "segmenter_windows": [1, 1]}
    model, processor = tiny_model(semantic_layers=[1, 2], **options).eval(), load_image_processor("gffusion-tiny")
    logits: list[Tensor] = []
    model.finet.gate_projection.register_forward_hook(lambda module, inputs, output: logits.append(output))
    features = extract_features(model, processor, pair)
    images = features.images | {"infrared": np.dstack([pair.infrared] * 3)}
    for name, image in images.items():
        values = processor([(image, pair.infrared)], return_tensors="pt")["visible_values"]
        with torch.inference_mode():
            clip = model.clip(
                normalize(values, (32, 32), OPENAI_CLIP_MEAN, OPENAI_CLIP_STD), output_hidden_states=True
            ).hidden_states[2]
            dinov2 = model.dinov2(
                normalize(values, (32, 48), IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD), interpolate_pos_encoding=True
            ).last_hidden_state
        for encoder, tokens, grid in (("clip", clip, (4, 4)), ("dinov2", dinov2, (4, 6))):
            expected = tokens[0, 1:].reshape(*grid, -1)
            np.testing.assert_allclose(features.tokens[encoder][name], expected, atol=1e-4, err_msg=f"{encoder} {name}")
    gate = F.interpolate(logits[0], size=values.shape[-2:], mode="bilinear").sigmoid()
    np.testing.assert_allclose(features.gate, gate[0, :, :50, :70], atol=1e-5)


@pytest.mark.parametrize(("factor", "size"), [(1, (50, 70)), (4, (13, 18))])
def test_gate_is_that_of_the_image_without_its_padding(
    pair: PairImages, tiny_model: Callable[..., GFFusionModel], factor: int, size: tuple[int, int]
) -> None:
    features = extract_features(tiny_model(pixel_unshuffle=factor).eval(), load_image_processor("gffusion-tiny"), pair)
    assert features.gate is not None and features.gate.shape[1:] == size


@pytest.mark.parametrize("merging", ["weighted_sum", "group_conv"])
def test_weights_of_an_offloaded_model(tiny_model: Callable[..., GFFusionModel], merging: str) -> None:
    model = tiny_model(merging=merging)
    torch.nn.init.normal_(model.finet.layer_weights if merging == "weighted_sum" else model.finet.group_weights)
    expected = get_layer_weights(model)
    assert len(set(expected.values())) > 1
    assert get_layer_weights(cpu_offload(model, execution_device="cpu")) == expected


def test_other_pairs_are_refused(pair: PairImages) -> None:
    for other in (pair[:2], [pair]):
        with pytest.raises(
            ValueError, match=rf"`pair` must be one that `read_pair` returns, got a {type(other).__name__}"
        ):
            extract_features(create_model("gffusion-live"), load_image_processor("gffusion-live"), other)  # type: ignore[arg-type]


def test_of_a_model_without_encoders(pair: PairImages) -> None:
    model = create_model("gffusion-live")
    features = extract_features(model, load_image_processor("gffusion-live"), pair)
    assert (features.tokens, features.gate, features.labels) == ({}, None, None)
    with pytest.raises(ValueError, match="its paradigm is cascading"):
        get_layer_weights(model)
