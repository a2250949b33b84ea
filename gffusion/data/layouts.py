"""Finds the pairs of known data sets, arranged as people download them."""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from .boxes import BOX_SUFFIXES, NamedBoxes, read_coco
from .io import IMAGE_SUFFIXES
from .pairs import CLASSES_FILE, PairMatch, entry_name, match_pairs

logger = logging.getLogger(__name__)

_M3FD_CLASSES = ("person", "car", "bus", "motorcycle", "lamp", "truck")  # in the order of GFFusionConfig's labels
_MFNET_CLASSES = ("car", "person", "bike", "curve", "car_stop", "guardrail", "color_cone", "bump")
_FMB_CLASSES = (
    "road",
    "sidewalk",
    "building",
    "lamp",
    "sign",
    "vegetation",
    "sky",
    "person",
    "car",
    "truck",
    "bus",
    "motorcycle",
    "bicycle",
    "pole",
)


@dataclass(frozen=True)
class FoundPairs:
    """What a layout found.

    Attributes:
        match: The pairs, and the files that have no partner.
        class_names: The classes of boxes, and of label maps after the background: class k of a box is label k + 1.
    """

    match: PairMatch
    class_names: tuple[str, ...] | None = None


Layout: TypeAlias = Callable[[Path, str | None], FoundPairs]
"""Takes the folder of a data set and the name of a part of it, such as "train", or None for the whole."""


def find_pairs(root: Path, layout: str = "folders", split: str | None = None) -> FoundPairs:
    """Finds the pairs of a data set, and reports through `logging` what has no partner.

    Args:
        root: Folder of the data set.
        layout: A name of `LAYOUTS`, whose functions say how their data sets are arranged.
        split: The part of the data set, where the layout has parts.

    Raises:
        FileNotFoundError: If a folder, or the list of a split, is missing; the message says what was looked for.
        NotADirectoryError: If a folder is a file.
        ValueError: If the layout is unknown, or `match_pairs` or `read_coco` refuse the files.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"the layout {layout!r} is unknown; known are {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise FileNotFoundError(f"the folder {root} does not exist; it should hold the images of the layout {layout!r}")
    found = LAYOUTS[layout](root, split)
    _report_unmatched(root, found.match)
    return found


def folders(root: Path, split: str | None = None) -> FoundPairs:
    """Finds the pairs of our own layout: `visible/`, `infrared/`, and optionally `labels/` and `boxes/`.

    `boxes/` holds a YOLO or VOC file an image, or one COCO `.json` of all images. `classes.txt`, beside or in `boxes/`,
    names the classes, a name a line. With a split all of this lies in `root/split`.
    """
    root = _part(root, split, "folders")
    boxes = _folder(root, "boxes")
    coco = sorted(file for file in boxes.iterdir() if file.suffix.lower() == ".json") if boxes else []
    if len(coco) > 1:
        raise ValueError(
            f"{boxes} holds {len(coco)} COCO files, {coco[0].name} and others; leave the one that is meant"
        )
    by_stem, class_names = read_coco(coco[0]) if coco else (None, None)
    lists = [folder / CLASSES_FILE for folder in (root, boxes) if folder and (folder / CLASSES_FILE).is_file()]
    match = match_pairs(
        _needed_folder(root, "folders", "visible"),
        _needed_folder(root, "folders", "infrared"),
        _folder(root, "labels"),
        by_stem or boxes,
    )
    return FoundPairs(match, _read_lines(lists[0]) if lists else class_names)


def m3fd(root: Path, split: str | None = None) -> FoundPairs:
    """Finds the pairs of M3FD: `Vis/`, `Ir/` and, in its detection part, `Annotation/` of VOC files; maps of ours in `masks/`.

    Liu et al., "Target-aware Dual Adversarial Learning and a Multi-scenario Multi-Modality Benchmark to Fuse Infrared and
    Visible for Object Detection" (CVPR 2022), https://github.com/JinyuanLiu-CV/TarDAL. The classes are People (here
    person), Car, Bus, Motorcycle, Lamp and Truck, in the order of [`GFFusionConfig`]. The data set comes without splits;
    a split is the list `split.txt` or `meta/split.txt` of file names, as TarDAL has it. TarDAL's YOLO files in `labels/`
    number the classes in another order and are passed over.
    """
    match = _match_folders(root, "m3fd", ("Vis", "vi", "visible"), ("Ir", "infrared"), ("masks",), ("Annotation",))
    return FoundPairs(_listed(root, split, match), _M3FD_CLASSES)


def mfnet(root: Path, split: str | None = None) -> FoundPairs:
    """Finds the pairs of MFNet: `images/` of four channels, red, green, blue and thermal, and `labels/`.

    Ha et al., "MFNet: Towards real-time semantic segmentation for autonomous vehicles with multi-spectral scenes" (IROS
    2017), https://github.com/haqishen/MFNet-pytorch. A split is a list `split.txt` of stems: train, val, test, test_day,
    test_night. The names that end in `_flip` exist only after that repository's `make_flip.py`; our transforms flip, so
    that the missing ones are only reported. Labels: 0 unlabelled, then car, person, bike, curve, car_stop, guardrail,
    color_cone, bump.
    """
    images = _needed_folder(root, "mfnet", "images")
    return FoundPairs(_listed(root, split, match_pairs(images, images, _folder(root, "labels"))), _MFNET_CLASSES)


def msrs(root: Path, split: str | None = None) -> FoundPairs:
    """Finds the pairs of MSRS: `vi/`, `ir/` and `Segmentation_labels/` in `train/` and `test/`.

    Tang et al., "PIAFusion: A progressive infrared and visible image fusion network based on illumination aware"
    (Information Fusion 2022), https://github.com/Linfeng-Tang/MSRS. `Visible/`, `Infrared/` and `Label/` are taken, too.
    The labels are those of `mfnet`.
    """
    part = _part(root, split, "msrs")
    labels = ("Segmentation_labels", "Label", "labels")
    match = _match_folders(part, "msrs", ("vi", "Visible"), ("ir", "Infrared"), labels)
    return FoundPairs(match, _MFNET_CLASSES)


def roadscene(root: Path, split: str | None = None) -> FoundPairs:
    """Finds the pairs of RoadScene: `crop_LR_visible/` and `cropinfrared/`.

    Xu et al., "U2Fusion: A unified unsupervised image fusion network" (TPAMI 2022), https://github.com/hanna-xu/RoadScene.
    `crop_HR_visible/` is passed over: its images are larger than the infrared ones. `vi/` and `ir/`, as others repackage
    it, are taken, too. A split is a list `split.txt` or `meta/split.txt` of file names.
    """
    visible, infrared = ("crop_LR_visible", "vi", "visible"), ("cropinfrared", "ir", "infrared")
    return FoundPairs(_listed(root, split, _match_folders(root, "roadscene", visible, infrared)))


def tno(root: Path, split: str | None = None) -> FoundPairs:
    """Finds the pairs of the TNO Image Fusion Dataset as fusion papers repackage it: `vi/` and `ir/`.

    Toet, "The TNO Multiband Image Data Collection" (Data in Brief 2017), https://doi.org/10.6084/m9.figshare.1008029. The
    original archive, a folder a scene with names that follow no rule, is not read. A split is a list `split.txt` or
    `meta/split.txt` of file names.
    """
    visible, infrared = ("vi", "vis", "visible"), ("ir", "infrared")
    return FoundPairs(_listed(root, split, _match_folders(root, "tno", visible, infrared)))


def llvip(root: Path, split: str | None = None) -> FoundPairs:
    """Finds the pairs of LLVIP: `train/` and `test/` in both `visible/` and `infrared/`, and `Annotations/` of VOC files.

    Jia et al., "LLVIP: A Visible-infrared Paired Dataset for Low-light Vision" (ICCV workshops 2021),
    https://github.com/bupt-ai-cz/LLVIP. The only class is person. A split must be named. Maps of ours lie in `masks/`.
    """
    if split is None:
        raise ValueError('the layout \'llvip\' comes in splits; choose one, split="train" or split="test"')
    visible, infrared = (_part(_needed_folder(root, "llvip", name), split, "llvip") for name in ("visible", "infrared"))
    match = match_pairs(visible, infrared, _folder(root, "masks"), _folder(root, "Annotations"))
    # The files of all splits lie in one folder: those of the others lack nothing.
    return FoundPairs(dataclasses.replace(match, labels_only=(), boxes_only=()), ("person",))


def fmb(root: Path, split: str | None = None) -> FoundPairs:
    """Finds the pairs of FMB: `Visible/`, `Infrared/` and `Label/` in `train/` and `test/`.

    Liu et al., "Multi-interactive Feature Learning and a Full-time Multi-modality Benchmark for Image Fusion and
    Segmentation" (ICCV 2023), https://github.com/JinyuanLiu-CV/SegMiF. `color/`, the labels as pictures, is passed over.
    Labels: 0 background, then road, sidewalk, building, lamp, sign, vegetation, sky, person, car, truck, bus, motorcycle,
    bicycle, pole.
    """
    part = _part(root, split, "fmb")
    match = _match_folders(part, "fmb", ("Visible", "vi"), ("Infrared", "ir"), labels=("Label", "labels"))
    return FoundPairs(match, _FMB_CLASSES)


LAYOUTS: dict[str, Layout] = {
    function.__name__: function for function in (folders, m3fd, mfnet, msrs, roadscene, tno, llvip, fmb)
}
"""The arrangements that are known, by name."""


def _match_folders(
    root: Path,
    layout: str,
    visible: Iterable[str],
    infrared: Iterable[str],
    labels: Iterable[str] = (),
    boxes: Iterable[str] = (),
) -> PairMatch:
    """Matches the first folders that exist of those names; labels and boxes may be absent."""
    return match_pairs(
        _needed_folder(root, layout, *visible),
        _needed_folder(root, layout, *infrared),
        _folder(root, *labels),
        _folder(root, *boxes),
    )


def _folder(root: Path, *names: str) -> Path | None:
    """Returns the first folder of those names, in any case; one in the very case goes before others."""
    folders = sorted(child for child in root.iterdir() if child.is_dir())
    for name in names:
        alike = [folder for folder in folders if folder.name.casefold() == name.casefold()]
        if alike:
            return next((folder for folder in alike if folder.name == name), alike[0])
    return None


def _needed_folder(root: Path, layout: str, *names: str) -> Path:
    folder = _folder(root, *names)
    if folder is None:
        found = sorted(child.name for child in root.iterdir() if child.is_dir())
        raise FileNotFoundError(
            f"the layout {layout!r} needs a folder {' or '.join(names)} in {root}, which holds "
            f"{'the folders ' + ', '.join(found) if found else 'no folders'}; choose another layout, or a split"
        )
    return folder


def _part(root: Path, split: str | None, layout: str) -> Path:
    return root if split is None else _needed_folder(root, layout, split)


def _listed(root: Path, split: str | None, match: PairMatch) -> PairMatch:
    """Keeps what the list of a split names, and reports the names that no pair has."""
    if split is None:
        return match
    lists = [root / f"{split}.txt", root / "meta" / f"{split}.txt"]
    file = next((file for file in lists if file.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"there is no list of the split {split!r}; looked for {' and '.join(map(str, lists))}")
    stems = {_stem(line) for line in _read_lines(file)}
    pairs = tuple(pair for pair in match.pairs if pair.name.casefold() in stems)
    if not pairs:
        raise ValueError(f"{file} names no image of {root}")
    if missing := sorted(stems - {pair.name.casefold() for pair in pairs}):
        logger.warning("%s: %s", file, _count(missing, "names without a pair"))
    unmatched = {
        field: tuple(entry for entry in getattr(match, field) if isinstance(entry, Path) and _stem(entry.name) in stems)
        for field in ("visible_only", "infrared_only", "labels_only", "boxes_only")
    }
    return PairMatch(pairs, **unmatched)


def _stem(name: str) -> str:
    path = PurePosixPath(name.casefold())
    return path.stem if path.suffix in IMAGE_SUFFIXES + BOX_SUFFIXES else path.name


def _read_lines(file: Path) -> tuple[str, ...]:
    return tuple(line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip())


def _report_unmatched(root: Path, match: PairMatch) -> None:
    unmatched: dict[str, Iterable[Path | NamedBoxes]] = {
        "visible without infrared": match.visible_only,
        "infrared without visible": match.infrared_only,
        "labels without a pair": match.labels_only,
        "boxes without a pair": match.boxes_only,
    }
    parts = [_count([entry_name(entry) for entry in entries], kind) for kind, entries in unmatched.items() if entries]
    if parts:
        logger.warning("%s: left out %s", root, "; ".join(parts))


def _count(names: Sequence[str], kind: str) -> str:
    return f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
