"""Convert DINOv2's published linear ADE20K segmenters to safetensors files that `load_head` reads."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from gffusion.utils.atomic import replace_file

# BNHead in facebookresearch/dinov2: a SyncBatchNorm over the inputs, with PyTorch's epsilon, and a 1x1 convolution.
_PREFIX = "decode_head."
_CONVOLUTION = ("conv_seg.weight", "conv_seg.bias")
_NORMALIZATION = ("bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
_EPSILON = 1e-5


def convert_ade20k_head(source: str | os.PathLike[str], target: str | os.PathLike[str], hidden_size: int = 768) -> None:
    """Write a linear segmenter of DINOv2 (`dinov2_vitb14_ade20k_linear_head.pth`, `..._ms_head.pth`) as safetensors.

    The published head is a batch normalization and a 1x1 convolution (mmsegmentation's BNHead). In evaluation mode, they are
    one linear map, which is computed in float64. The target contains `weight` (150, inputs) and `bias` (150,), float32. Its
    metadata are `classes` (JSON), `source` (the file name of the source) and `layers`, the number of DINOv2's last layers
    whose concatenated, normalized patch tokens the head reads: 1 for linear heads, 4 for multi-scale ("ms") heads.

    Only tensors are read from `source`; a pickle that would run code is rejected.

    Args:
        source: A file saved by PyTorch: a state dict, or a dict that contains one as `"state_dict"`.
        target: The safetensors file, written atomically; an existing one is replaced.
        hidden_size: Width of the DINOv2 that the head belongs to (ViT-B: 768).

    Raises:
        OSError: If `source` cannot be read or `target` cannot be written.
        ValueError: If `source` is not a linear segmenter with 150 classes and `hidden_size` or 4 x `hidden_size` inputs.

    Examples:
        >>> import tempfile
        >>> head = {f"decode_head.{name}": torch.ones(8) for name in _NORMALIZATION}
        >>> head |= {"decode_head.conv_seg.weight": torch.ones(150, 8, 1, 1), "decode_head.conv_seg.bias": torch.ones(150)}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(head, f"{folder}/head.pth")
        ...     convert_ade20k_head(f"{folder}/head.pth", f"{folder}/head.safetensors", hidden_size=8)
    """
    source = Path(source)
    state = _read_head(source)
    inputs = _check_shapes(state, source)
    if inputs not in (hidden_size, 4 * hidden_size):
        raise ValueError(
            f"{source} has {inputs} inputs, but hidden_size={hidden_size} allows {hidden_size} or {4 * hidden_size}: pass the "
            "width of the DINOv2 that the head belongs to (ViT-S: 384, ViT-B: 768, ViT-L: 1024, ViT-g: 1536)"
        )
    weight, bias = _fold(state)
    if not (weight.isfinite().all() and bias.isfinite().all()):
        raise ValueError(f"{source} contains weights that are not finite or a negative variance: download it again")
    metadata = {"format": "pt", "classes": json.dumps(ADE20K_CLASSES), "source": source.name}
    metadata["layers"] = str(inputs // hidden_size)
    tensors = {"weight": weight.float(), "bias": bias.float()}
    replace_file(Path(target), safetensors.torch.save(tensors, metadata))


def _read_head(source: Path) -> dict[str, Tensor]:
    """Read the tensors of the head by their names in BNHead."""
    try:
        content: Any = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, if bytes differ
        if isinstance(error, OSError) and error.filename is not None:
            raise
        # PyTorch's own message is dropped: it recommends weights_only=False, which would run the code in the file.
        raise ValueError(
            f"{source} is damaged or contains objects that would run code when loaded: download the published file again"
        ) from error
    if isinstance(content, Mapping):
        content = content.get("state_dict", content)
    if not isinstance(content, Mapping):
        raise ValueError(f"{source} contains {type(content).__name__} instead of a state dict")
    named = {
        str(key): value
        for key, value in content.items()
        if isinstance(value, Tensor) and value.layout is torch.strided and not value.is_complex()
    }
    head = {key.removeprefix(_PREFIX): value for key, value in named.items() if key.startswith(_PREFIX)}
    head.pop("bn.num_batches_tracked", None)
    known = {*_CONVOLUTION, *_NORMALIZATION}
    if set(head) != known:
        raise ValueError(
            f"{source} is not a linear segmenter of DINOv2: under {_PREFIX!r}, missing {sorted(known - set(head))}, "
            f"unexpected {sorted(set(head) - known)}"
        )
    return head


def _check_shapes(head: dict[str, Tensor], source: Path) -> int:
    """Return the number of inputs, or raise ValueError if a shape is wrong."""
    classes, inputs = len(ADE20K_CLASSES), head["bn.weight"].numel()
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(_NORMALIZATION, (inputs,))
    expected |= {"conv_seg.weight": (classes, inputs, 1, 1), "conv_seg.bias": (classes,)}
    for key, shape in expected.items():
        if head[key].shape != shape:
            raise ValueError(
                f"{source} is not an ADE20K segmenter of DINOv2: {_PREFIX}{key} has shape {tuple(head[key].shape)}, expected {shape}"
            )
    return inputs


def _fold(head: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return weight and bias of conv(bn(x)) in evaluation mode, in float64."""
    convolution, offset, gain, shift, mean, variance = (head[key].double() for key in (*_CONVOLUTION, *_NORMALIZATION))
    scale = gain / (variance + _EPSILON).sqrt()
    weight = convolution.flatten(1)
    return weight * scale, offset + weight @ (shift - mean * scale)


# Column "Name" of objectInfo150.txt in CSAILVision/sceneparsing (Zhou et al., Scene Parsing through ADE20K Dataset, CVPR
# 2017), with synonyms after commas. DINOv2's heads number the classes from 0.
_CLASSES = """
wall; building, edifice; sky; floor, flooring; tree; ceiling; road, route; bed; windowpane, window; grass; cabinet;
sidewalk, pavement; person, individual, someone, somebody, mortal, soul; earth, ground; door, double door; table;
mountain, mount; plant, flora, plant life; curtain, drape, drapery, mantle, pall; chair; car, auto, automobile,
machine, motorcar; water; painting, picture; sofa, couch, lounge; shelf; house; sea; mirror; rug, carpet, carpeting;
field; armchair; seat; fence, fencing; desk; rock, stone; wardrobe, closet, press; lamp; bathtub, bathing tub, bath,
tub; railing, rail; cushion; base, pedestal, stand; box; column, pillar; signboard, sign; chest of drawers, chest,
bureau, dresser; counter; sand; sink; skyscraper; fireplace, hearth, open fireplace; refrigerator, icebox; grandstand,
covered stand; path; stairs, steps; runway; case, display case, showcase, vitrine; pool table, billiard table, snooker
table; pillow; screen door, screen; stairway, staircase; river; bridge, span; bookcase; blind, screen; coffee table,
cocktail table; toilet, can, commode, crapper, pot, potty, stool, throne; flower; book; hill; bench; countertop;
stove, kitchen stove, range, kitchen range, cooking stove; palm, palm tree; kitchen island; computer, computing
machine, computing device, data processor, electronic computer, information processing system; swivel chair; boat;
bar; arcade machine; hovel, hut, hutch, shack, shanty; bus, autobus, coach, charabanc, double-decker, jitney,
motorbus, motorcoach, omnibus, passenger vehicle; towel; light, light source; truck, motortruck; tower; chandelier,
pendant, pendent; awning, sunshade, sunblind; streetlight, street lamp; booth, cubicle, stall, kiosk; television,
television receiver, television set, tv, tv set, idiot box, boob tube, telly, goggle box; airplane, aeroplane, plane;
dirt track; apparel, wearing apparel, dress, clothes; pole; land, ground, soil; bannister, banister, balustrade,
balusters, handrail; escalator, moving staircase, moving stairway; ottoman, pouf, pouffe, puff, hassock; bottle;
buffet, counter, sideboard; poster, posting, placard, notice, bill, card; stage; van; ship; fountain; conveyer belt,
conveyor belt, conveyer, conveyor, transporter; canopy; washer, automatic washer, washing machine; plaything, toy;
swimming pool, swimming bath, natatorium; stool; barrel, cask; basket, handbasket; waterfall, falls; tent, collapsible
shelter; bag; minibike, motorbike; cradle; oven; ball; food, solid food; step, stair; tank, storage tank; trade name,
brand name, brand, marque; microwave, microwave oven; pot, flowerpot; animal, animate being, beast, brute, creature,
fauna; bicycle, bike, wheel, cycle; lake; dishwasher, dish washer, dishwashing machine; screen, silver screen,
projection screen; blanket, cover; sculpture; hood, exhaust hood; sconce; vase; traffic light, traffic signal,
stoplight; tray; ashcan, trash can, garbage can, wastebin, ash bin, ash-bin, ashbin, dustbin, trash barrel, trash bin;
fan; pier, wharf, wharfage, dock; crt screen; plate; monitor, monitoring device; bulletin board, notice board; shower;
radiator; glass, drinking glass; clock; flag
"""
ADE20K_CLASSES = tuple(" ".join(_CLASSES.split()).split("; "))
