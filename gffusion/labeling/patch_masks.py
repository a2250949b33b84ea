"""Find objects in boxes by principal components of the patch features of a frozen encoder (the paper's Fig. 5)."""

import os
from typing import TypeAlias

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from skimage.filters import threshold_otsu
from skimage.transform import resize
from torch import Tensor
from transformers import AutoConfig, CLIPVisionModel, Dinov2Model

from gffusion.data.boxes import Boxes
from gffusion.models.gffusion.image_ops import CLIP_MEAN, CLIP_STD, DINOV2_MEAN, DINOV2_STD, prepare_images
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.models.gffusion.weight_files import explained, limit_to_cache
from gffusion.zoo import locate

from .masks import MARGIN, ROUNDING, Floats, Mask, clean_mask, draw_ellipse, find_window, select_images, sort_by_area
from .options import SOURCES, Source, check_choice

Encoder: TypeAlias = Dinov2Model | CLIPVisionModel

_ADVICE = "Name a folder (--encoder FOLDER), or use `ThresholdMasks` (--method threshold), which needs no encoder."
_OBJECT_COMPONENTS = 3  # in the second analysis, as in the colors of DINOv2's figures (Oquab et al., 2023, Fig. 1)


class PatchMasks:
    """Find objects by two principal component analyses of patch features, see [`find_objects`].

    With both images, the features of a patch in the visible and the infrared image are concatenated. The analysis weights
    them by their variance, so the infrared image dominates at night. (The element-wise maximum of Eq. (6) would depend on
    the axes of the feature space; principal components do not.)

    Features are the last hidden state of DINOv2 after its final norm, or the output of CLIP's second to last layer, because
    the paper does not use the last one.

    Args:
        encoder: A frozen encoder on its device.
        image_size: Height and width of the encoder's input, in multiples of its patch size; position embeddings are
            interpolated. Defaults to the multiples nearest to the size of each image. Larger inputs show smaller objects,
            but time and memory grow with the square of the number of patches.
        source: The image that the encoder reads: `"visible"`, `"infrared"` or `"both"`.

    Raises:
        TypeError: If the encoder is neither a `Dinov2Model` nor a `CLIPVisionModel`.
        ValueError: If `image_size` is not a multiple of the patch size, or `source` is unknown.
    """

    def __init__(self, encoder: Encoder, image_size: tuple[int, int] | None = None, source: Source = "both") -> None:
        if not isinstance(encoder, Encoder):
            raise TypeError(f"the encoder must be a Dinov2Model or a CLIPVisionModel, got {type(encoder).__name__}")
        patch_size: int = encoder.config.patch_size
        if image_size is not None and any(side < patch_size or side % patch_size for side in image_size):
            raise ValueError(
                f"the image size must be a height and a width in multiples of the encoder's patch size {patch_size}, "
                f"got {image_size[0]} x {image_size[1]}"
            )
        self.encoder, self.image_size = encoder, image_size
        self.source = check_choice("`source`", source, SOURCES)

    def __call__(self, visible_values: Floats, infrared_values: Floats, boxes: Boxes) -> list[Mask | None]:
        """Find the objects of one pair, see [`MaskMethod`]."""
        if not len(boxes.classes):
            return []
        seen = select_images(visible_values, np.repeat(infrared_values, 3, axis=0), self.source)
        features = self.patch_features(torch.from_numpy(np.stack(seen)))
        joined = features.permute(1, 2, 0, 3).flatten(2)  # (B, h, w, D) -> (h, w, B * D)
        return find_objects(joined.numpy(), boxes.coordinates, visible_values.shape[1:])

    @torch.inference_mode()
    def patch_features(self, images: Tensor) -> Tensor:
        """Return the features of all patches: (B, 3, H, W) in [0, 1] -> (B, h, w, D), float32 on the CPU."""
        images, patch_size = images.to(self.encoder.device), self.encoder.config.patch_size
        height, width = self.image_size or (
            max(patch_size, round(side / patch_size) * patch_size) for side in images.shape[2:]
        )
        if isinstance(self.encoder, Dinov2Model):
            pixels = prepare_images(images, [height, width], DINOV2_MEAN, DINOV2_STD, self.encoder.dtype)
            tokens = self.encoder(pixels).last_hidden_state
        else:
            pixels = prepare_images(images, [height, width], CLIP_MEAN, CLIP_STD, self.encoder.dtype)
            tokens = self.encoder(pixels, interpolate_pos_encoding=True, output_hidden_states=True).hidden_states[-2]
        grid = height // patch_size, width // patch_size
        return tokens[:, 1:].unflatten(1, grid).float().cpu()  # without the class token


def load_encoder(name: str | os.PathLike[str], revision: str | None = None) -> Encoder:
    """Load a frozen encoder for [`PatchMasks`] in evaluation mode.

    Args:
        name: Folder or Hub id of a DINOv2 or CLIP model, or of a saved [`GFFusionModel`], or the name of a listed model.
            If a model has both encoders, DINOv2 is returned.
        revision: Branch, tag or commit on the Hub.

    Raises:
        OSError: If the model cannot be found or read.
        ValueError: If the model is of another kind, or a GFFusionModel without encoders.
    """
    name = locate(name)
    with explained("the frozen encoder", name, _ADVICE):
        config = AutoConfig.from_pretrained(name, **limit_to_cache(name, {"revision": revision or "main"}))
    kind = config.model_type
    # Through GFFusionModel, which rejects checkpoints that lack weights of an encoder.
    if kind == "gffusion":
        model = GFFusionModel.from_pretrained(name, revision=revision or "main")
    elif kind == "dinov2":
        size = [config.patch_size] * 2  # the default is no multiple of every patch size
        model = GFFusionModel.from_backbones(
            dinov2=name, dinov2_revision=revision, paradigm="cascading", segmenter_image_size=size
        )
    elif kind in ("clip", "clip_vision_model"):
        model = GFFusionModel.from_backbones(clip=name, clip_revision=revision, use_segmenter=False)
    else:
        raise ValueError(f"{name} is a {kind} model, but the encoder must be a DINOv2, CLIP or GFFusion model")
    if not model.backbones:
        raise ValueError(f"the GFFusion model {name} has no encoder; name one with a segmenter, or a DINOv2 model")
    return model.backbones.get("dinov2", model.backbones.get("clip"))


def find_objects(features: Floats, boxes: Floats, size: tuple[int, int]) -> list[Mask | None]:
    """Find the objects in boxes by two principal component analyses (Fig. 5; the paper only outlines these two steps).

    1. The first component over all patches is upsampled to pixels and split at Otsu's threshold. The sign of a component is
       arbitrary: the foreground is the side with the higher mean inside the boxes.
    2. The first three components over the foreground patches are upsampled too. Each foreground pixel is compared with the
       means of the objects whose boxes contain it, over the inscribed ellipses, and with the means of the foreground around
       these boxes. It is assigned to the nearest mean, and to no object if that is a mean of the surroundings. Between
       equally near objects, the smaller box wins.

    Args:
        features: (h, w, D), finite.
        boxes: (N, 4) in pixels.
        size: Height and width of the image in pixels.

    Returns:
        For each box the mask of its window, or `None` if nothing was found or a side of the box is shorter than a patch.
    """
    grid = features.shape[:2]
    patch = size[0] / grid[0], size[1] / grid[1]
    masks: list[Mask | None] = [None] * len(boxes)
    sides = boxes[:, [3, 2]] - boxes[:, [1, 0]]
    large = [int(index) for index in sort_by_area(boxes) if (sides[index] + ROUNDING >= patch).all()]
    inside = np.zeros(size, dtype=bool)
    for box in boxes:
        inside[find_window(box, size)] = True
    if not large or inside.all():
        return masks
    patches = features.reshape(-1, features.shape[-1]).astype(np.float64)
    foreground = _split_foreground(_project(patches, patches, 1).reshape(*grid, 1), inside)
    of_patches = resize(foreground.astype(np.float64), grid, order=1, mode="edge", anti_aliasing=True) > 0.5
    if not of_patches.any():
        return masks
    components = _project(patches, patches[of_patches.ravel()], _OBJECT_COMPONENTS).reshape(*grid, -1)
    owners = _share_pixels(_upsample(components, size), foreground, inside, boxes[large], patch)
    for rank, index in enumerate(large):
        masks[index] = clean_mask(owners[find_window(boxes[index], size)] == rank)
    return masks


def _project(patches: Floats, sample: Floats, count: int) -> Floats:
    """Project patches on the first principal components of a sample, in ascending order: (N, D), (M, D) -> (N, count)."""
    mean, dimensions = sample.mean(axis=0), sample.shape[1]
    centered = sample - mean
    wanted = [max(0, dimensions - count), dimensions - 1]
    # Deterministic, unlike truncated solvers.
    _, axes = scipy.linalg.eigh(centered.T @ centered, subset_by_index=wanted)
    return (patches - mean) @ axes


def _upsample(maps: Floats, size: tuple[int, int]) -> Floats:
    """Upsample (h, w, C) bilinearly to (H, W, C)."""
    return resize(maps, (*size, maps.shape[-1]), order=1, mode="edge", anti_aliasing=False)


def _split_foreground(component: Floats, inside: Mask) -> Mask:
    """Return which pixels (H, W) are foreground, from the first component (h, w, 1) and the pixels inside boxes."""
    score = _upsample(component, inside.shape)[..., 0]
    if score[inside].mean() < score[~inside].mean():
        score = -score
    return score > threshold_otsu(score)  # a constant score does not exceed it


def _share_pixels(
    components: Floats, foreground: Mask, inside: Mask, boxes: Floats, patch: tuple[float, float]
) -> NDArray[np.intp]:
    """Return for each pixel (H, W) the index of the box that it belongs to, or -1; boxes (N, 4) start with the smallest."""
    size = inside.shape
    claims = []  # (window, owner, pixels whose mean stands for the owner)
    for index, box in enumerate(boxes):
        window = find_window(box, size)
        claims.append((window, index, components[window][foreground[window] & draw_ellipse(box, size)]))
    for box in boxes:
        margin = max(patch[0], MARGIN * (box[3] - box[1])), max(patch[1], MARGIN * (box[2] - box[0]))
        outer = find_window(box, size, margin)
        claims.append((find_window(box, size), -1, components[outer][foreground[outer] & ~inside[outer]]))
    owners = np.full(size, -1)
    nearest = np.full(size, np.inf)
    for window, owner, sample in claims:
        if not len(sample):
            continue
        distances = np.square(components[window] - sample.mean(axis=0)).sum(axis=-1)
        nearer = distances < nearest[window]
        nearest[window][nearer] = distances[nearer]
        owners[window][nearer] = owner
    owners[~foreground] = -1
    return owners
