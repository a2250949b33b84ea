"""Masks by principal components: synthetic features with known objects, and the features of encoders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mask_shapes import boxes_of, disc, iou
from numpy.typing import NDArray
from transformers import BertConfig, CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionModel, Dinov2Model

from gffusion.data.boxes import Boxes
from gffusion.labeling.masks import draw_labels
from gffusion.labeling.patch_masks import PatchMasks, find_objects, load_encoder

GRID, PATCH = (30, 40), 8
SIZE = (GRID[0] * PATCH, GRID[1] * PATCH)
# Axes of feature space.
SKY, ROAD, RED, BLUE = 0, 1, 2, 3


def around(mask: NDArray[np.bool_], box_class: int, slack: float = 2) -> tuple[float, ...]:
    """Return a row for `boxes_of` with the box around a mask."""
    rows, columns = np.nonzero(mask)
    return columns.min() - slack, rows.min() - slack, columns.max() + 1 + slack, rows.max() + 1 + slack, box_class


def features_of(*layers: tuple[NDArray[np.bool_], int | tuple[int, int]]) -> NDArray[np.float64]:
    """Return noisy features (h, w, 12): the axes of the sky and of the masks in front of it, by their share of each patch."""
    maps = np.zeros((*SIZE, 12))
    maps[..., SKY] = 1
    for mask, directions in layers:
        maps[mask] = np.eye(12)[np.atleast_1d(directions)].sum(axis=0)
    patches = maps.reshape(GRID[0], PATCH, GRID[1], PATCH, 12).mean(axis=(1, 3))
    return patches + 0.05 * np.random.default_rng(0).standard_normal(patches.shape)


def labels_of(features: NDArray[Any], boxes: Boxes) -> NDArray[np.uint8]:
    """Return the label map of the found objects only."""
    masks = find_objects(features, boxes.coordinates, SIZE)
    return draw_labels(masks, boxes, SIZE, fallback="ignore", ignore_doubtful=False)[0]


LEFT, RIGHT = disc(110, 90, 36, SIZE), disc(120, 230, 30, SIZE)


class TestFeatures:
    def test_two_objects(self) -> None:
        boxes = boxes_of(around(LEFT, 0), around(RIGHT, 1))
        labels = labels_of(features_of((LEFT, RED), (RIGHT, BLUE)), boxes)
        assert iou(labels == 1, LEFT) > 0.9
        assert iou(labels == 2, RIGHT) > 0.9

    def test_edges_are_finer_than_patches(self) -> None:
        labels = labels_of(features_of((LEFT, RED)), boxes_of(around(LEFT, 0)))
        in_blocks = LEFT.reshape(GRID[0], PATCH, GRID[1], PATCH).mean(axis=(1, 3)) > 0.5
        assert iou(labels == 1, LEFT) > iou(np.kron(in_blocks, np.ones((PATCH, PATCH), bool)), LEFT)

    def test_signs_and_axes_of_the_feature_space_do_not_matter(self) -> None:
        features, boxes = features_of((LEFT, RED), (RIGHT, BLUE)), boxes_of(around(LEFT, 0), around(RIGHT, 1))
        rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((12, 12)))[0]
        expected = labels_of(features, boxes)
        np.testing.assert_array_equal(labels_of(features.copy(), boxes), expected)  # deterministic
        for changed in (-features, features @ rotation, features + 3):
            assert (labels_of(changed, boxes) == expected).mean() > 0.999

    @pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
    def test_overlapping_boxes_share_pixels_by_similarity(self, order: slice) -> None:
        """The box of the front object covers part of the other one: area or order alone would cut one of them."""
        back, front = disc(110, 120, 40, SIZE), disc(140, 160, 30, SIZE)
        back &= ~front
        boxes = boxes_of(*[around(back, 0), around(front, 1)][order])
        labels = labels_of(features_of((back, RED), (front, BLUE)), boxes)
        assert iou(labels == 1, back) > 0.85
        assert iou(labels == 2, front) > 0.85

    def test_second_analysis_separates_an_object_from_the_ground(self) -> None:
        """The first component only separates sky from road."""
        road = np.zeros(SIZE, dtype=bool)
        road[80:] = True
        car = disc(150, 160, 35, SIZE)
        labels = labels_of(features_of((road, ROAD), (car, (ROAD, RED))), boxes_of(around(car, 0, slack=8)))
        assert iou(labels == 1, car) > 0.85

    def test_box_without_foreground_is_not_found(self) -> None:
        boxes = boxes_of(around(LEFT, 0), (250, 20, 300, 70, 1))
        first, second = find_objects(features_of((LEFT, RED)), boxes.coordinates, SIZE)
        assert first is not None
        assert second is None

    @pytest.mark.parametrize("box", [(100, 100, 107, 150), (100, 100, 150, 107), (100, 100, 101, 101)])
    def test_box_smaller_than_a_patch(self, box: tuple[float, ...]) -> None:
        boxes = boxes_of(around(LEFT, 0), (*box, 1))
        large, small = find_objects(features_of((LEFT, RED)), boxes.coordinates, SIZE)
        assert large is not None
        assert small is None

    @pytest.mark.parametrize("rounding", [0, 0.0003])
    def test_box_of_the_size_of_a_patch(self, rounding: float) -> None:
        """At the edge of the object; files of boxes hold rounded numbers."""
        boxes = boxes_of((122, 106, 122 + PATCH - rounding, 106 + PATCH, 0))
        assert find_objects(features_of((LEFT, RED)), boxes.coordinates, SIZE)[0] is not None

    @pytest.mark.parametrize(
        ("features", "rows"),
        [
            (features_of((LEFT, RED)), []),
            (np.ones((*GRID, 12)), [around(LEFT, 0)]),
            (features_of((LEFT, RED)), [(0, 0, SIZE[1], SIZE[0], 0)]),
            (np.random.default_rng(0).standard_normal((1, 1, 5)), [(0, 0, SIZE[1] / 2, SIZE[0], 0)]),
            (features_of((LEFT, RED))[..., :1], [around(LEFT, 0)]),
        ],
        ids=["no boxes", "equal features", "box covers the image", "one patch", "one dimension"],
    )
    def test_degenerate_input(self, features: NDArray[Any], rows: list[tuple[float, ...]]) -> None:
        boxes = boxes_of(*rows)
        masks = find_objects(features, boxes.coordinates, SIZE)
        assert len(masks) == len(rows)
        draw_labels(masks, boxes, SIZE)


@pytest.fixture
def dinov2(backbone_folders: dict[str, str]) -> Dinov2Model:
    return Dinov2Model.from_pretrained(backbone_folders["dinov2"])


@pytest.fixture
def clip(backbone_folders: dict[str, str]) -> CLIPVisionModel:
    return CLIPVisionModel.from_pretrained(backbone_folders["clip"])


class TestEncoders:
    """The tiny encoders have patches of 8 x 8 pixels and a native size of 32 x 32."""

    @pytest.mark.parametrize("size", [(32, 32), (40, 56)])
    def test_dinov2_features(self, dinov2: Dinov2Model, size: tuple[int, int]) -> None:
        images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
        mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
        with torch.no_grad():
            tokens = dinov2((images - mean) / std).last_hidden_state
        expected = tokens[:, 1:].reshape(2, size[0] // 8, size[1] // 8, 32)
        torch.testing.assert_close(PatchMasks(dinov2).patch_features(images), expected)

    @pytest.mark.parametrize("size", [(32, 32), (40, 56)])
    def test_clip_features_are_those_of_the_second_to_last_layer(
        self, clip: CLIPVisionModel, size: tuple[int, int]
    ) -> None:
        images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
        mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
        std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
        with torch.no_grad():
            outputs = clip((images - mean) / std, interpolate_pos_encoding=True, output_hidden_states=True)
        expected = outputs.hidden_states[2][:, 1:].reshape(2, size[0] // 8, size[1] // 8, 32)  # of layers 1, 2 and 3
        torch.testing.assert_close(PatchMasks(clip).patch_features(images), expected)

    @pytest.mark.parametrize(
        ("size", "image_size", "grid"),
        [((40, 56), None, (5, 7)), ((43, 53), None, (5, 7)), ((3, 90), None, (1, 11)), ((40, 56), (64, 16), (8, 2))],
    )
    def test_grid(
        self, dinov2: Dinov2Model, size: tuple[int, int], image_size: tuple[int, int] | None, grid: tuple[int, int]
    ) -> None:
        features = PatchMasks(dinov2, image_size).patch_features(torch.rand(1, 3, *size))
        assert features.shape == (1, *grid, 32)

    @pytest.mark.parametrize("source", ["visible", "infrared", "both"])
    def test_source(self, dinov2: Dinov2Model, source: str) -> None:
        rng = np.random.default_rng(0)
        visible, infrared = rng.random((3, 96, 128), dtype=np.float32), rng.random((1, 96, 128), dtype=np.float32)
        boxes, method = boxes_of((16, 16, 64, 80, 0), (60, 24, 120, 90, 1)), PatchMasks(dinov2, source=source)

        def labels(visible: NDArray[Any], infrared: NDArray[Any]) -> NDArray[np.uint8]:
            return draw_labels(method(visible, infrared, boxes), boxes, (96, 128))[0]

        original = labels(visible, infrared)
        other_visible, other_infrared = labels(visible[:, ::-1].copy(), infrared), labels(visible, 1 - infrared)
        assert (original != other_visible).any() == (source != "infrared")
        assert (original != other_infrared).any() == (source != "visible")
        np.testing.assert_array_equal(original, labels(visible, infrared))

    def test_no_boxes(self, dinov2: Dinov2Model) -> None:
        assert PatchMasks(dinov2)(np.zeros((3, 32, 32)), np.zeros((1, 32, 32)), boxes_of()) == []

    def test_errors(self, dinov2: Dinov2Model, clip: CLIPVisionModel) -> None:
        with pytest.raises(ValueError, match="multiples of the encoder's patch size 8, got 30 x 32"):
            PatchMasks(dinov2, (30, 32))
        with pytest.raises(ValueError, match="got 0 x 32"):
            PatchMasks(clip, (0, 32))
        with pytest.raises(ValueError, match="`source` must be one of"):
            PatchMasks(dinov2, source="thermal")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="Dinov2Model or a CLIPVisionModel, got Linear"):
            PatchMasks(torch.nn.Linear(1, 1))


class TestLoadEncoder:
    @pytest.mark.parametrize("kind", ["dinov2", "clip"])
    def test_folders(self, backbone_folders: dict[str, str], request: pytest.FixtureRequest, kind: str) -> None:
        encoder, expected = load_encoder(Path(backbone_folders[kind])), request.getfixturevalue(kind)
        assert type(encoder) is type(expected)
        assert not encoder.training
        for name, value in expected.state_dict().items():
            assert torch.equal(encoder.state_dict()[name], value)

    def test_vision_part_of_a_full_clip(self, clip_config: Callable[..., Any], tmp_path: Path) -> None:
        text = CLIPTextConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1)
        full = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=clip_config().to_dict()))
        full.save_pretrained(tmp_path)
        encoder = load_encoder(tmp_path)
        assert isinstance(encoder, CLIPVisionModel)
        weight = "encoder.layers.1.mlp.fc1.weight"
        assert torch.equal(encoder.get_parameter(weight), full.vision_model.get_parameter(weight))

    @pytest.mark.parametrize(
        ("choices", "kind"),
        [({}, Dinov2Model), ({"use_segmenter": False}, CLIPVisionModel), ({"paradigm": "cascading"}, Dinov2Model)],
    )
    def test_saved_gffusion_model(
        self, tiny_model: Callable[..., Any], tmp_path: Path, choices: dict[str, Any], kind: type
    ) -> None:
        tiny_model(**choices).save_pretrained(tmp_path)
        assert isinstance(load_encoder(tmp_path), kind)

    def test_errors(self, tiny_model: Callable[..., Any], tmp_path: Path) -> None:
        tiny_model(paradigm="cascading", use_segmenter=False).save_pretrained(tmp_path / "funet")
        with pytest.raises(ValueError, match="has no encoder"):
            load_encoder(tmp_path / "funet")
        BertConfig().save_pretrained(tmp_path / "bert")
        with pytest.raises(ValueError, match="is a bert model"):
            load_encoder(tmp_path / "bert")
        with pytest.raises(OSError, match="nowhere"):
            load_encoder(tmp_path / "nowhere")
