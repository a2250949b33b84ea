"""Object masks from boxes by principal components of the patch features of a frozen encoder (the paper's Fig. 5)."""

import os
from typing import TypeAlias

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from skimage.transform import resize
from torch import Tensor
from transformers import AutoConfig, CLIPVisionModel, Dinov2Model

from gffusion.data.boxes import Boxes
from gffusion.models.gffusion.image_ops import CLIP_MEAN, CLIP_STD, DINOV2_MEAN, DINOV2_STD, prepare_images
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

from .masks import (
    MARGIN,
    SOURCES,
    Floats,
    Mask,
    Source,
    Window,
    by_area,
    check_choice,
    ellipse,
    keep_object,
    otsu,
    window,
)

Encoder: TypeAlias = Dinov2Model | CLIPVisionModel

# Of the second analysis: as many as DINOv2's authors show as colours (Oquab et al., 2023, Fig. 1).
_OBJECT_COMPONENTS = 3


class PatchMasks:
    """Finds objects by two principal component analyses of patch features, see [`masks_from_features`].

    Of both pictures, each patch has the features of the one and the other, concatenated: the analysis weighs them by how much
    they vary, so that at night it looks at the infrared ones. (The element-wise maximum of Eq. (6) depends on the axes
    of the feature space, which principal components are there to choose.)

    Features are DINOv2's last, after its final norm, or those of CLIP's last layer but one, since the paper leaves out the
    last.

    Args:
        encoder: On its device; stays as it is.
        image_size: Height and width at which the encoder sees pictures, in multiples of its patch size; position
            embeddings are interpolated. Defaults to the multiples next to each picture's own size. Larger ones find smaller
            objects, and cost more: time and memory grow with the square of the number of patches.
        source: Which picture the encoder sees.

    Raises:
        TypeError: If the encoder is neither a `Dinov2Model` nor a `CLIPVisionModel`.
        ValueError: If the size does not suit the encoder, or the source is unknown.
    """

    def __init__(self, encoder: Encoder, image_size: tuple[int, int] | None = None, source: Source = "both") -> None:
        if not isinstance(encoder, Encoder):
            raise TypeError(f"the encoder must be a Dinov2Model or a CLIPVisionModel, got {type(encoder).__name__}")
        patch_size: int = encoder.config.patch_size
        if image_size is not None and any(side < patch_size or side % patch_size for side in image_size):
            raise ValueError(
                f"the image size must be height and width in multiples of the encoder's patch size {patch_size}, "
                f"got {image_size[0]} x {image_size[1]}"
            )
        self.encoder = encoder
        self.image_size = image_size
        self.source = check_choice("source", source, SOURCES)

    def __call__(self, visible_values: Floats, infrared_values: Floats, boxes: Boxes) -> list[Mask | None]:
        """Find the objects of a pair, see [`MaskMethod`]."""
        if not len(boxes.classes):
            return []
        seen = {
            "visible": [visible_values],
            "infrared": [np.repeat(infrared_values, 3, axis=0)],
            "both": [visible_values, np.repeat(infrared_values, 3, axis=0)],
        }[self.source]
        features = self.patch_features(torch.from_numpy(np.stack(seen)))
        joined = features.permute(1, 2, 0, 3).flatten(2)  # (B, h, w, D) -> (h, w, B * D)
        return masks_from_features(joined.numpy(), boxes.coordinates, visible_values.shape[1:])

    @torch.inference_mode()
    def patch_features(self, images: Tensor) -> Tensor:
        """Return the features of every patch: (B, 3, H, W) in [0, 1] -> (B, h, w, D), float32 on the CPU."""
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
        features: Tensor = tokens[:, 1:].unflatten(1, grid).float().cpu()  # without the class token
        return features


def load_encoder(name: str | os.PathLike[str], revision: str | None = None) -> Encoder:
    """Load a frozen encoder for [`PatchMasks`], in evaluation mode.

    Args:
        name: Folder or Hub id of a DINOv2 or CLIP model, or of a saved [`GFFusionModel`], of which DINOv2 is taken if it has
            both.
        revision: Branch, tag or commit on the Hub.

    Raises:
        OSError: If it cannot be found or read.
        ValueError: If it is another kind of model, or a GFFusionModel without encoders.
    """
    name = os.fspath(name)
    config = AutoConfig.from_pretrained(name, revision=revision or "main")
    kind = config.model_type
    # GFFusionModel makes sure that no weight of an encoder is left to chance.
    if kind == "gffusion":
        model = GFFusionModel.from_pretrained(name, revision=revision or "main")
    elif kind == "dinov2":
        model = GFFusionModel.from_backbones(
            dinov2=name,
            dinov2_revision=revision,
            paradigm="cascading",
            segmenter_image_size=[config.patch_size, config.patch_size],  # the default does not suit all patches
        )
    elif kind in ("clip", "clip_vision_model"):
        model = GFFusionModel.from_backbones(clip=name, clip_revision=revision, use_segmenter=False)
    else:
        raise ValueError(f"{name} is a {kind} model; masks need a DINOv2, CLIP or GFFusion model")
    if not model.backbones:
        raise ValueError(
            f"the GFFusion model {name} has no encoder; masks need one that has a segmenter, or DINOv2 itself"
        )
    return model.backbones.get("dinov2", model.backbones.get("clip"))


def masks_from_features(features: Floats, boxes: Floats, size: tuple[int, int]) -> list[Mask | None]:
    """Find the objects in boxes by two principal component analyses (Fig. 5; the paper gives no more than these two steps).

    1. The first component over all patches, enlarged to pixels, is cut at Otsu's threshold. The sign of a component means
       nothing: the foreground is the side whose mean is higher in the boxes.
    2. The first three components over the foreground's patches, enlarged likewise, place every foreground pixel.
       It goes to the nearest of several means: of the objects whose boxes hold it, over the ellipses that fit the boxes; and of
       the foreground around these boxes, which belongs to no object. So overlapping boxes share their pixels by likeness;
       the smaller box takes those of equal distance.

    Args:
        features: (h, w, D), finite.
        boxes: (N, 4) in pixels.
        size: Height and width of the picture in pixels.

    Returns:
        For every box the mask of its window, or `None` where nothing was found, and where a side of the box is shorter
        than a patch.
    """
    grid = features.shape[:2]
    patch = size[0] / grid[0], size[1] / grid[1]
    masks: list[Mask | None] = [None] * len(boxes)
    sides = boxes[:, [3, 2]] - boxes[:, [1, 0]]
    large = [int(index) for index in by_area(boxes) if (sides[index] >= patch).all()]
    inside = np.zeros(size, dtype=bool)
    for box in boxes:
        inside[window(box, size)] = True
    if not large or inside.all():
        return masks
    patches = features.reshape(-1, features.shape[-1]).astype(np.float64)
    foreground = _foreground(_project(patches, patches, 1).reshape(*grid, 1), inside)
    of_patches = resize(foreground.astype(np.float64), grid, order=1, mode="edge", anti_aliasing=True) > 0.5
    if not of_patches.any():
        return masks
    components = _project(patches, patches[of_patches.ravel()], _OBJECT_COMPONENTS).reshape(*grid, -1)
    owners = _share(_to_pixels(components, size), foreground, inside, boxes[large], patch)
    for rank, index in enumerate(large):
        masks[index] = keep_object(owners[window(boxes[index], size)] == rank)
    return masks


def _project(patches: Floats, sample: Floats, count: int) -> Floats:
    """Return the first principal components of a sample for all patches, the last one first: (N, D), (M, D) -> (N, count)."""
    mean = sample.mean(axis=0)
    centred = sample - mean
    dimensions = centred.shape[1]
    wanted = [max(0, dimensions - count), dimensions - 1]
    _, axes = scipy.linalg.eigh(centred.T @ centred, subset_by_index=wanted)  # nothing random, unlike truncated solvers
    projected: Floats = (patches - mean) @ axes
    return projected


def _to_pixels(maps: Floats, size: tuple[int, int]) -> Floats:
    """Enlarge (h, w, C) bilinearly to (H, W, C)."""
    enlarged: Floats = resize(maps, (*size, maps.shape[-1]), order=1, mode="edge", anti_aliasing=False)
    return enlarged


def _foreground(component: Floats, inside: Mask) -> Mask:
    score = _to_pixels(component, inside.shape)[..., 0]
    if score[inside].mean() < score[~inside].mean():
        score = -score
    return score > otsu(score)


def _share(
    components: Floats, foreground: Mask, inside: Mask, boxes: Floats, patch: tuple[float, float]
) -> NDArray[np.intp]:
    """Return to which of the boxes, the smallest first, every pixel belongs, or -1."""
    size = inside.shape
    claims: list[tuple[Window, int, Floats]] = []
    for index, box in enumerate(boxes):
        place = window(box, size)
        claims.append((place, index, components[place][foreground[place] & ellipse(box, size)]))
    for box in boxes:
        outer = window(
            box, size, (max(patch[0], MARGIN * (box[3] - box[1])), max(patch[1], MARGIN * (box[2] - box[0])))
        )
        claims.append((window(box, size), -1, components[outer][foreground[outer] & ~inside[outer]]))
    owners = np.full(size, -1)
    nearest = np.full(size, np.inf)
    for place, owner, sample in claims:
        if not len(sample):
            continue
        distances = np.square(components[place] - sample.mean(axis=0)).sum(axis=-1)
        nearer = distances < nearest[place]
        nearest[place][nearer] = distances[nearer]
        owners[place][nearer] = owner
    owners[~foreground] = -1
    return owners
