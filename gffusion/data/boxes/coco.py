"""Read COCO detection files."""

import contextlib
import functools
import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np

from gffusion.data.file_names import INFRARED_OR_NEAR, VISIBLE, Words, is_background, is_named
from gffusion.utils.escaping import to_line

from .base import NamedBoxes, read_text, turn_box

Entry = TypeVar("Entry")


def read_coco(path: str | os.PathLike[str]) -> tuple[dict[str, NamedBoxes], tuple[str, ...]]:
    """Read the boxes of all images of a COCO detection file.

    Boxes are stored as `[left, top, width, height]` in pixels (https://cocodataset.org/#format-data), in files of CVAT before
    their rotation about the center, `attributes.rotation` in degrees: the box around the rotated one is returned. Boxes of
    annotations with `iscrowd` contain groups, and those with `ignore` doubtful objects: they are `NamedBoxes.ignored`, also
    the boxes around polygons and uncompressed masks of those that have no box.
    Images may lack `width` and `height`, or have 0 or null, also in one of several entries of an image. Categories without
    objects are left out if they name the background or, in files of Roboflow, the project.

    Returns:
        The boxes of every listed image by its stem, including images without annotations, and the names of the
        categories in the order of their ids, which can have gaps.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is malformed, two images with the same stem have objects, or two images or categories the same id.

    Examples:
        >>> import tempfile
        >>> images, categories = [{"id": 1, "file_name": "a.png"}], [{"id": 7, "name": "car"}]
        >>> annotations = [{"image_id": 1, "category_id": 7, "bbox": [10, 20, 30, 40]}]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path, content = Path(folder, "all.json"), {"images": images, "categories": categories}
        ...     _ = path.write_text(json.dumps(content | {"annotations": annotations}))
        ...     boxes, class_names = read_coco(path)
        >>> class_names, boxes["a"].names, boxes["a"].coordinates
        (('car',), ('car',), ((10.0, 20.0, 40.0, 60.0),))
    """
    path = Path(path)
    content = _load_json(path)
    try:
        categories = _index_by_id(
            "categories", ((int(entry["id"]), str(entry["name"])) for entry in _list_categories(content))
        )
        images = _index_by_id("images", _list_images(content["images"]))
        annotations: dict[Any, list[dict[str, Any]]] = {key: [] for key in images}
        for annotation in content["annotations"]:
            if not _is_uncertain(annotation) or annotation.get("image_id") in annotations:
                _look_up(annotations, annotation["image_id"], "image").append(annotation)
        boxes = [_convert_image(path, entry, annotations[key], categories) for key, entry in images.items()]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        cause = f"an entry lacks {error}" if isinstance(error, KeyError) else to_line(str(error))
        raise ValueError(f"{path} is not a COCO detection file: {cause}") from error
    files = (PurePosixPath(entry["file_name"].replace("\\", "/")) for entry in images.values())
    by_stem = _index_by_stem(path, list(zip(files, boxes, strict=True)))
    return by_stem, tuple(categories[key] for key in sorted(categories))


def _index_by_stem(path: Path, images: Sequence[tuple[PurePosixPath, NamedBoxes]]) -> dict[str, NamedBoxes]:
    """Return the boxes by stem; of images with the same stem, such as both of a pair, those of the only one that has boxes.

    If none of them has boxes, that of the folder with the most boxes is taken, or else the visible one.
    """
    by_stem: dict[str, list[tuple[PurePosixPath, NamedBoxes]]] = defaultdict(list)
    counts: Counter[PurePosixPath] = Counter()
    for file, image in images:
        by_stem[file.stem].append((file, image))
        counts[file.parent] += _count_boxes(image)

    def rank(entry: tuple[PurePosixPath, NamedBoxes]) -> tuple[int, int, bool]:
        folder = entry[0].parent
        return _count_boxes(entry[1]), counts[folder], _split_kind(folder)[0] is VISIBLE

    chosen = {}
    for stem, entries in by_stem.items():
        first, chosen[stem] = max(entries, key=rank)
        for file, image in entries:
            if image is chosen[stem] or not counts[first.parent]:
                continue
            is_pair = _can_be_pair(first.parent, file.parent, counts[file.parent] > 0)
            if _count_boxes(image) or not is_pair:
                cause = "both have boxes" if _count_boxes(image) else "their folders seem to be of different scenes"
                advice = (
                    "remove the boxes of one of them"
                    if is_pair and first.parent != file.parent
                    else "rename or remove one"
                )
                raise ValueError(
                    f"{path} lists two images with the stem {to_line(stem)}, {to_line(f'{first} and {file}')}, and {cause}; {advice}"
                )
    return chosen


def _can_be_pair(folder: PurePosixPath, other: PurePosixPath, have_boxes: bool) -> bool:
    """Return whether two folders can hold the two images of pairs, by their names and whether both have boxes."""
    (kind, parts), (other_kind, other_parts) = _split_kind(folder), _split_kind(other)
    if folder == other:
        return True
    if have_boxes:
        return kind is not other_kind and parts == other_parts
    if kind and other_kind:
        return parts == other_parts
    # Such as thermal/day and images/day, but not A/visible and B.
    return not (kind and set(parts) - set(other_parts)) and not (other_kind and set(other_parts) - set(parts))


def _count_boxes(image: NamedBoxes) -> int:
    return len(image.coordinates) + len(image.ignored)


@functools.cache
def _split_kind(folder: PurePosixPath) -> tuple[Words | None, tuple[str, ...]]:
    """Return the words of visible or infrared images by which parts of a path are named, or `None`, and the other parts."""
    kind, others = None, []
    for part in folder.parts:
        named = [words for words in (VISIBLE, INFRARED_OR_NEAR) if is_named(part, words)]
        if named:
            kind = named[0]
        else:
            others.append(part)
    return kind, tuple(others)


def _load_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    if isinstance(content, list):
        raise ValueError(
            f"{path} is not a COCO detection file: it is a list, such as Label Studio's JSON-MIN: export the boxes as COCO"
        )
    if not isinstance(content, dict) or (missing := {"images", "annotations", "categories"} - content.keys()):
        lacking = ", ".join(sorted(missing)) if isinstance(content, dict) else "an object at the top level"
        raise ValueError(f"{path} is not a COCO detection file: it lacks {lacking}")
    return content


def _list_categories(content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the categories without a background and Roboflow's parent of all others, if these have no objects."""
    used = {str(annotation.get("category_id")) for annotation in content["annotations"]}
    categories = [
        entry for entry in content["categories"] if str(entry["id"]) in used or not is_background(str(entry["name"]))
    ]
    if "roboflow" not in str(content.get("info")).lower():
        return categories
    parents = [entry for entry in categories if entry.get("supercategory") == "none"]
    if len(parents) != 1:
        return categories
    children = [entry for entry in categories if entry.get("supercategory") == parents[0]["name"]]
    is_project = 0 < len(children) == len(categories) - 1 and str(parents[0]["id"]) not in used
    return children if is_project else categories


def _list_images(entries: Iterable[dict[str, Any]]) -> list[tuple[Any, dict[str, Any]]]:
    """Return the id, name and size of every entry; one without a size has that of another entry of the id and name."""
    found = [((entry["id"], str(entry["file_name"])), (entry.get("height"), entry.get("width"))) for entry in entries]
    known = {image: size for image, size in found if all(size)}
    images = []
    for image, size in found:
        height, width = size if all(size) else known.get(image, (None, None))
        images.append((image[0], {"file_name": image[1], "height": height, "width": width}))
    return images


def _index_by_id(kind: str, entries: Iterable[tuple[Any, Entry]]) -> dict[Any, Entry]:
    """Return entries by id; repeated ones count once, and different ones of one id, as of joined files, are an error."""
    found: dict[Any, Entry] = {}
    for key, entry in entries:
        if found.setdefault(key, entry) != entry:
            raise ValueError(
                f"the {kind} {found[key]} and {entry} have the same id {key}: give each its own, in the annotations, too"
            )
    return found


def _look_up(entries: dict[Any, Entry], key: Any, kind: str) -> Entry:
    if key not in entries:
        raise ValueError(f"an annotation refers to the {kind} {key}, which the file does not list")
    return entries[key]


def _is_uncertain(annotation: dict[str, Any]) -> bool:
    """Return whether an annotation is of a group or a doubtful object."""
    values = {key: annotation.get(key) for key in ("iscrowd", "ignore")}
    for key, value in values.items():
        if value not in (None, 0, 1):
            raise ValueError(
                f"the annotation {annotation.get('id')} of the image {annotation.get('image_id')} has the {key} {value!r:.40}: "
                "it must be the number 0 or 1, false, true or null, or left out"
            )
    return any(values.values())


def _to_corners(annotation: dict[str, Any], image: dict[str, Any]) -> tuple[float, float, float, float]:
    box, name = annotation.get("bbox"), f"the annotation {annotation.get('id')} of {image['file_name']}"
    if not box:
        raise ValueError(f"{name} has no bbox: export the boxes, too, or remove it")
    try:
        left, top, width, height = map(float, box)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} has the bbox {box!r:.60}: it must be [left, top, width, height]") from None
    if min(width, height) < 0:
        raise ValueError(f"the box {box} of {image['file_name']} has a negative side")
    return turn_box((left, top, left + width, top + height), _find_rotation(annotation))


def _find_rotation(annotation: dict[str, Any]) -> float:
    """Return the rotation of a box of CVAT in degrees; boxes of masks and polygons are those around them."""
    attributes = annotation.get("attributes")
    rotation = attributes.get("rotation") if isinstance(attributes, dict) else None
    if isinstance(rotation, int | float) and not (isinstance(rotation, bool) or annotation.get("segmentation")):
        with contextlib.suppress(OverflowError):
            return float(rotation)
    return 0  # users can have an own attribute of this name, such as a direction


def _find_extent(annotation: dict[str, Any], image: dict[str, Any]) -> tuple[float, float, float, float] | None:
    """Return the box of a group or doubtful object, or else that around its polygons or mask; `None` if there is none."""
    with contextlib.suppress(ValueError):
        if _has_area(box := _to_corners(annotation, image)):
            return box
    outline = annotation.get("segmentation")
    with contextlib.suppress(ValueError, TypeError, KeyError, IndexError, OverflowError):
        if isinstance(outline, dict):
            return _find_mask_box(outline["counts"], *map(int, outline["size"]))
        points = np.concatenate([np.asarray(polygon, float).reshape(-1, 2) for polygon in outline or ()])
        if _has_area(box := (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())):
            return box
    return None


def _has_area(box: tuple[float, float, float, float]) -> bool:
    left, top, right, bottom = box
    return all(map(math.isfinite, box)) and left < right and top < bottom


def _find_mask_box(counts: Any, height: int, width: int) -> tuple[float, float, float, float]:
    """Return the box around a mask of run lengths, along columns of `height` pixels, of background and object in turn."""
    if not isinstance(counts, list) or height < 1 or min(counts) < 0 or sum(counts) > height * width:
        raise ValueError("the mask is compressed, or its runs do not fit its size")
    stops = np.cumsum(np.asarray(counts, np.int64))
    starts, stops = stops[:-1:2], stops[1::2]
    starts, lasts = starts[stops > starts], stops[stops > starts] - 1
    columns, last_columns = starts // height, lasts // height
    if (last_columns > columns).any():
        top, bottom = 0, height
    else:
        top, bottom = int((starts % height).min()), int((lasts % height).max()) + 1
    return int(columns.min()), top, int(last_columns.max()) + 1, bottom


def _has_outline(annotation: dict[str, Any]) -> bool:
    """Return whether an annotation has a mask, or a polygon other than the rectangle that some tools write for a box."""
    outline = annotation.get("segmentation")
    if not isinstance(outline, list):
        return isinstance(outline, dict)
    return any(isinstance(polygon, list) and not _is_rectangle(polygon) for polygon in outline)


def _is_rectangle(polygon: list[Any]) -> bool:
    x, y = set(map(str, polygon[::2])), set(map(str, polygon[1::2]))
    return len(polygon) in (8, 10) and len(x) == len(y) == 2  # the last point can repeat the first one


def _convert_image(
    path: Path, image: dict[str, Any], annotations: list[dict[str, Any]], categories: dict[int, str]
) -> NamedBoxes:
    objects = [entry for entry in annotations if not _is_uncertain(entry)]
    uncertain = [(entry, _find_extent(entry, image)) for entry in annotations if _is_uncertain(entry)]
    located = [(entry, extent) for entry, extent in uncertain if extent is not None]
    return NamedBoxes(
        origin=f"{path} ({to_line(image['file_name'])})",
        size=(int(image["height"]), int(image["width"])) if image["height"] else None,
        coordinates=tuple(_to_corners(entry, image) for entry in objects),
        names=tuple(_look_up(categories, int(entry["category_id"]), "category") for entry in objects),
        ignored=tuple(extent for _, extent in located),
        masked_groups=sum(bool(e.get("iscrowd")) and isinstance(e.get("segmentation"), dict) for e, _ in located),
        outlines=sum(map(_has_outline, objects)),
        unlocated=len(uncertain) - len(located),
    )
