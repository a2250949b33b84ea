"""Read bounding boxes from YOLO, Pascal VOC and COCO files, one module per format."""

from .base import Boxes, NamedBoxes, clip_boxes
from .coco import read_coco
from .reader import BOX_SUFFIXES, has_class_names, read_boxes

__all__ = ["BOX_SUFFIXES", "Boxes", "NamedBoxes", "clip_boxes", "has_class_names", "read_boxes", "read_coco"]
