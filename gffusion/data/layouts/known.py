"""The layouts of known datasets, as users download them."""

import dataclasses
import logging
from pathlib import Path

from gffusion.data.file_names import is_listed
from gffusion.data.io import IMAGE_SUFFIXES
from gffusion.data.pairs import NoMatchError, match_pairs

from .base import FoundPairs, find_folder, find_split, match_folders, require_folder, select_split

logger = logging.getLogger(__name__)

# In the order of the default labels of GFFusionConfig.
M3FD_CLASSES = ("person", "car", "bus", "motorcycle", "lamp", "truck")
MFNET_CLASSES = ("car", "person", "bike", "curve", "car_stop", "guardrail", "color_cone", "bump")
FMB_CLASSES = (
    "road", "sidewalk", "building", "lamp", "sign", "vegetation", "sky",
    "person", "car", "truck", "bus", "motorcycle", "bicycle", "pole",
)  # fmt: skip


def find_m3fd(root: Path, split: str | None = None, with_boxes: bool = True) -> FoundPairs:
    """Find the pairs of M3FD: `Vis/`, `Ir/`, VOC files in `Annotation/` (detection part) and label maps in `masks/`.

    Liu et al., "Target-aware Dual Adversarial Learning and a Multi-scenario Multi-Modality Benchmark to Fuse Infrared
    and Visible for Object Detection" (CVPR 2022), https://github.com/JinyuanLiu-CV/TarDAL. The dataset has no splits and no
    label maps. A split is a list of file names, `split.txt` or `meta/split.txt`, as in TarDAL. `gffusion masks` can
    write `masks/`. The YOLO files of TarDAL in `labels/` number the classes in another order and are ignored.
    """
    match = match_folders(
        root, "m3fd", ("Vis", "vi", "visible"), ("Ir", "infrared"), ("masks",), ("Annotation",) if with_boxes else ()
    )
    return FoundPairs(select_split(root, split, match), M3FD_CLASSES, find_folder(root, "masks") or root / "masks")


def find_mfnet(root: Path, split: str | None = None, with_boxes: bool = True) -> FoundPairs:
    """Find the pairs of MFNet: four-channel `images/` (red, green, blue, thermal) and `labels/`.

    Ha et al., "MFNet: Towards real-time semantic segmentation for autonomous vehicles with multi-spectral scenes" (IROS
    2017), https://github.com/haqishen/MFNet-pytorch. A split is a list of stems, `split.txt`: train, val, test, test_day
    or test_night. Files ending in `_flip` are created by `make_flip.py` of that repository; missing ones are reported
    and left out. Label 0 is unlabeled, followed by `MFNET_CLASSES`.
    """
    match = match_folders(root, "mfnet", ("images",), ("images",), ("labels",))
    return FoundPairs(select_split(root, split, match), MFNET_CLASSES)


def find_msrs(root: Path, split: str | None = None, with_boxes: bool = True) -> FoundPairs:
    """Find the pairs of MSRS: `vi/`, `ir/` and `Segmentation_labels/` in `train/` and `test/`.

    Tang et al., "PIAFusion: A progressive infrared and visible image fusion network based on illumination aware"
    (Information Fusion 2022), https://github.com/Linfeng-Tang/MSRS. `Visible/`, `Infrared/` and `Label/` are also
    accepted. The labels are those of MFNet.
    """
    part, labels = find_split(root, split, "msrs"), ("Segmentation_labels", "Label", "labels")
    return FoundPairs(match_folders(part, "msrs", ("vi", "Visible"), ("ir", "Infrared"), labels), MFNET_CLASSES)


def find_roadscene(root: Path, split: str | None = None, with_boxes: bool = True) -> FoundPairs:
    """Find the pairs of RoadScene: `crop_LR_visible/` and `cropinfrared/`.

    Xu et al., "U2Fusion: A unified unsupervised image fusion network" (TPAMI 2022), https://github.com/hanna-xu/RoadScene.
    `crop_HR_visible/` is ignored: its images are larger than the infrared ones. The folders `vi/` and `ir/` of
    repackaged copies are accepted, too. A split is a list of file names, `split.txt` or `meta/split.txt`.
    """
    visible, infrared = ("crop_LR_visible", "vi", "visible"), ("cropinfrared", "ir", "infrared")
    return FoundPairs(select_split(root, split, match_folders(root, "roadscene", visible, infrared)))


def find_tno(root: Path, split: str | None = None, with_boxes: bool = True) -> FoundPairs:
    """Find the pairs of the TNO Image Fusion Dataset as fusion papers repackage it: `vi/` and `ir/`.

    Toet, "The TNO Multiband Image Data Collection" (Data in Brief 2017), https://doi.org/10.6084/m9.figshare.1008029. The
    original archive, with one folder per scene, is not read: `gffusion fuse` takes its images where the names match. A
    split is a list of file names, `split.txt` or `meta/split.txt`.
    """
    visible, infrared = ("vi", "vis", "visible"), ("ir", "infrared")
    return FoundPairs(select_split(root, split, match_folders(root, "tno", visible, infrared)))


def find_llvip(root: Path, split: str | None = None, with_boxes: bool = True) -> FoundPairs:
    """Find the pairs of LLVIP: `train/` and `test/` in both `visible/` and `infrared/`, and VOC files in `Annotations/`.

    Jia et al., "LLVIP: A Visible-infrared Paired Dataset for Low-light Vision" (ICCV workshops 2021),
    https://github.com/bupt-ai-cz/LLVIP. The only class is person. A split is required. Label maps are read from `masks/`,
    where `gffusion masks` can write them.
    """
    if split is None:
        raise ValueError('the layout \'llvip\' requires a split; pass split="train" or split="test"')
    visible, infrared = (
        require_folder(require_folder(root, "llvip", kind), "llvip", split) for kind in ("visible", "infrared")
    )
    labels, boxes = find_folder(root, "masks"), find_folder(root, "Annotations") if with_boxes else None
    # Labels and boxes of all splits share a folder, so files of other splits are not reported as unmatched.
    if labels and _is_of_other_splits(visible, labels, None):
        labels = None
    if boxes and _is_of_other_splits(visible, None, boxes):
        logger.warning("%s has boxes of other splits only", boxes)
        boxes = None
    match = match_pairs(visible, infrared, labels, boxes)
    match = dataclasses.replace(match, labels_only=(), boxes_only=())
    return FoundPairs(match, ("person",), find_folder(root, "masks") or root / "masks")


def find_fmb(root: Path, split: str | None = None, with_boxes: bool = True) -> FoundPairs:
    """Find the pairs of FMB: `Visible/`, `Infrared/` and `Label/` in `train/` and `test/`.

    Liu et al., "Multi-interactive Feature Learning and a Full-time Multi-modality Benchmark for Image Fusion and
    Segmentation" (ICCV 2023), https://github.com/JinyuanLiu-CV/SegMiF. The color-coded labels in `color/` are ignored.
    Label 0 is the background, followed by `FMB_CLASSES`.
    """
    part = find_split(root, split, "fmb")
    match = match_folders(part, "fmb", ("Visible", "vi"), ("Infrared", "ir"), labels=("Label", "labels"))
    return FoundPairs(match, FMB_CLASSES)


def _is_of_other_splits(visible: Path, labels: Path | None, boxes: Path | None) -> bool:
    """Return whether a folder of label maps or boxes has some of images of other splits, but none of this split."""
    others = [folder for folder in visible.parent.iterdir() if folder.is_dir() and folder != visible]
    return not _has_match([visible], labels, boxes) and _has_match(others, labels, boxes)


def _has_match(folders: list[Path], labels: Path | None, boxes: Path | None) -> bool:
    images = [file for folder in folders for file in folder.iterdir() if is_listed(file, IMAGE_SUFFIXES)]
    if not images:
        return False
    try:
        match_pairs(images, images, labels, boxes)
    except NoMatchError:
        return False
    return True
