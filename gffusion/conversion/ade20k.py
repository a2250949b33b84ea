"""DINOv2's published ADE20K linear segmenter: its classes, and how its file becomes a safetensors file that models can load."""

import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from gffusion.data.atomic import replace_file

# Of BNHead in facebookresearch/dinov2: a SyncBatchNorm over the inputs, with PyTorch's epsilon, and a 1x1 convolution.
_PREFIX = "decode_head."
_CONVOLUTION = ("conv_seg.weight", "conv_seg.bias")
_NORMALISATION = ("bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
_EPSILON = 1e-5


def convert_ade20k_head(source: str | os.PathLike[str], target: str | os.PathLike[str], hidden_size: int = 768) -> None:
    """Converts a linear segmenter of DINOv2 (`dinov2_vitb14_ade20k_linear_head.pth`, `..._ms_head.pth`) for `load_head`.

    The published head is a batch normalisation and a 1x1 convolution (mmsegmentation's BNHead), which in evaluation are one
    linear map; it is computed in float64. The file written holds that map, `weight` (150, inputs) and `bias` (150,), float32,
    and as metadata `classes` (JSON), `source` (the name of the file that was read) and `layers`, the number of DINOv2's last
    layers whose normalised patch tokens it reads, concatenated: 1 in the linear, 4 in the multi-scale ("ms") heads.

    Only weights are read from `source`: a file that wants to run code, as a pickle can, is refused.

    Args:
        source: The file to read, as PyTorch saved it: a state dict, or a dict that holds one as `"state_dict"`.
        target: The safetensors file to write, whole or not at all; an existing one is replaced.
        hidden_size: Width of the DINOv2 that the head belongs to (ViT-B: 768).

    Raises:
        OSError: If `source` cannot be read or `target` cannot be written.
        ValueError: If `source` holds more than weights, or no linear segmenter of 150 classes and `hidden_size` or four times as
            many inputs.
    """
    state = _read_head(Path(source))
    inputs = _check_shapes(state, Path(source))
    if inputs not in (hidden_size, 4 * hidden_size):
        raise ValueError(
            f"{source} reads {inputs} inputs, neither {hidden_size} nor 4 x {hidden_size}: pass as hidden_size the width of the "
            "DINOv2 that it belongs to (ViT-S: 384, ViT-B: 768, ViT-L: 1024, ViT-g: 1536)"
        )
    weight, bias = _fold(state)
    if not (weight.isfinite().all() and bias.isfinite().all()):
        raise ValueError(f"{source} holds weights that are not finite or a negative variance; get it again")
    metadata = {
        "format": "pt",
        "classes": json.dumps(ADE20K_CLASSES),
        "source": Path(source).name,
        "layers": str(inputs // hidden_size),
    }
    tensors = {"weight": weight.float(), "bias": bias.float()}
    replace_file(Path(target), safetensors.torch.save(tensors, metadata))


def _read_head(source: Path) -> dict[str, Tensor]:
    """Returns the tensors of the head by their names in BNHead."""
    try:
        content: Any = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        # Without PyTorch's own message, which advises to let the file run its code.
        raise ValueError(
            f"{source} is no file of plain weights: it is damaged, or it holds objects that run code when loaded, which is "
            "never done here; get the published file again"
        ) from error
    if isinstance(content, Mapping):
        content = content.get("state_dict", content)
    if not isinstance(content, Mapping):
        raise ValueError(f"{source} holds no state dict but {type(content).__name__}")
    named = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    head = {key.removeprefix(_PREFIX): value for key, value in named.items() if key.startswith(_PREFIX)}
    head.pop("bn.num_batches_tracked", None)
    known = {*_CONVOLUTION, *_NORMALISATION}
    if set(head) != known:
        raise ValueError(
            f"{source} is no linear segmenter of DINOv2: under {_PREFIX!r} it lacks {sorted(known - set(head))} "
            f"and has besides {sorted(set(head) - known)}"
        )
    return head


def _check_shapes(head: dict[str, Tensor], source: Path) -> int:
    """Returns the number of inputs."""
    classes, inputs = len(ADE20K_CLASSES), head["bn.weight"].numel()
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(_NORMALISATION, (inputs,))
    expected |= {"conv_seg.weight": (classes, inputs, 1, 1), "conv_seg.bias": (classes,)}
    for key, shape in expected.items():
        if head[key].shape != shape:
            raise ValueError(
                f"{source} is no ADE20K segmenter of DINOv2: {_PREFIX}{key} has the shape {tuple(head[key].shape)}, not {shape}"
            )
    return inputs


def _fold(head: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Returns weight and bias of conv(bn(x)), where bn has its statistics of training, in float64."""
    convolution, offset, gain, shift, mean, variance = (head[key].double() for key in (*_CONVOLUTION, *_NORMALISATION))
    scale = gain / (variance + _EPSILON).sqrt()
    weight = convolution.flatten(1)
    return weight * scale, offset + weight @ (shift - mean * scale)


# Names and order of the ADE20K benchmark: column "Name" of objectInfo150.txt in CSAILVision/sceneparsing (Zhou et al., Scene
# Parsing through ADE20K Dataset, CVPR 2017), synonyms after commas. DINOv2's heads number them from 0.
ADE20K_CLASSES = (
    "wall",
    "building, edifice",
    "sky",
    "floor, flooring",
    "tree",
    "ceiling",
    "road, route",
    "bed",
    "windowpane, window",
    "grass",
    "cabinet",
    "sidewalk, pavement",
    "person, individual, someone, somebody, mortal, soul",
    "earth, ground",
    "door, double door",
    "table",
    "mountain, mount",
    "plant, flora, plant life",
    "curtain, drape, drapery, mantle, pall",
    "chair",
    "car, auto, automobile, machine, motorcar",
    "water",
    "painting, picture",
    "sofa, couch, lounge",
    "shelf",
    "house",
    "sea",
    "mirror",
    "rug, carpet, carpeting",
    "field",
    "armchair",
    "seat",
    "fence, fencing",
    "desk",
    "rock, stone",
    "wardrobe, closet, press",
    "lamp",
    "bathtub, bathing tub, bath, tub",
    "railing, rail",
    "cushion",
    "base, pedestal, stand",
    "box",
    "column, pillar",
    "signboard, sign",
    "chest of drawers, chest, bureau, dresser",
    "counter",
    "sand",
    "sink",
    "skyscraper",
    "fireplace, hearth, open fireplace",
    "refrigerator, icebox",
    "grandstand, covered stand",
    "path",
    "stairs, steps",
    "runway",
    "case, display case, showcase, vitrine",
    "pool table, billiard table, snooker table",
    "pillow",
    "screen door, screen",
    "stairway, staircase",
    "river",
    "bridge, span",
    "bookcase",
    "blind, screen",
    "coffee table, cocktail table",
    "toilet, can, commode, crapper, pot, potty, stool, throne",
    "flower",
    "book",
    "hill",
    "bench",
    "countertop",
    "stove, kitchen stove, range, kitchen range, cooking stove",
    "palm, palm tree",
    "kitchen island",
    "computer, computing machine, computing device, data processor, electronic computer, information processing system",
    "swivel chair",
    "boat",
    "bar",
    "arcade machine",
    "hovel, hut, hutch, shack, shanty",
    "bus, autobus, coach, charabanc, double-decker, jitney, motorbus, motorcoach, omnibus, passenger vehicle",
    "towel",
    "light, light source",
    "truck, motortruck",
    "tower",
    "chandelier, pendant, pendent",
    "awning, sunshade, sunblind",
    "streetlight, street lamp",
    "booth, cubicle, stall, kiosk",
    "television, television receiver, television set, tv, tv set, idiot box, boob tube, telly, goggle box",
    "airplane, aeroplane, plane",
    "dirt track",
    "apparel, wearing apparel, dress, clothes",
    "pole",
    "land, ground, soil",
    "bannister, banister, balustrade, balusters, handrail",
    "escalator, moving staircase, moving stairway",
    "ottoman, pouf, pouffe, puff, hassock",
    "bottle",
    "buffet, counter, sideboard",
    "poster, posting, placard, notice, bill, card",
    "stage",
    "van",
    "ship",
    "fountain",
    "conveyer belt, conveyor belt, conveyer, conveyor, transporter",
    "canopy",
    "washer, automatic washer, washing machine",
    "plaything, toy",
    "swimming pool, swimming bath, natatorium",
    "stool",
    "barrel, cask",
    "basket, handbasket",
    "waterfall, falls",
    "tent, collapsible shelter",
    "bag",
    "minibike, motorbike",
    "cradle",
    "oven",
    "ball",
    "food, solid food",
    "step, stair",
    "tank, storage tank",
    "trade name, brand name, brand, marque",
    "microwave, microwave oven",
    "pot, flowerpot",
    "animal, animate being, beast, brute, creature, fauna",
    "bicycle, bike, wheel, cycle",
    "lake",
    "dishwasher, dish washer, dishwashing machine",
    "screen, silver screen, projection screen",
    "blanket, cover",
    "sculpture",
    "hood, exhaust hood",
    "sconce",
    "vase",
    "traffic light, traffic signal, stoplight",
    "tray",
    "ashcan, trash can, garbage can, wastebin, ash bin, ash-bin, ashbin, dustbin, trash barrel, trash bin",
    "fan",
    "pier, wharf, wharfage, dock",
    "crt screen",
    "plate",
    "monitor, monitoring device",
    "bulletin board, notice board",
    "shower",
    "radiator",
    "glass, drinking glass",
    "clock",
    "flag",
)
