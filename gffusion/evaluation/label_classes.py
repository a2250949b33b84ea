"""The classes of an evaluation: given, listed beside the label maps, or those of the models."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from gffusion.data.class_names import BACKGROUNDS, check_typed_names, read_unchecked_names
from gffusion.data.file_names import normalize_class_name
from gffusion.data.label_values import check_class_values
from gffusion.data.pairs import CLASSES_FILE
from gffusion.utils.escaping import to_line

from .inputs import FilesByMethod, Inputs
from .matching import StrPath
from .methods import Method
from .overlap import MEAN_IOU

# Other names of the background, and of classes.
_BACKGROUNDS = BACKGROUNDS | {"nothing", "other", "others", "unknown", "clutter"}
_SYNONYMS = {"people": "person", "persons": "person", "pedestrian": "person", "bike": "bicycle", "cars": "car"}


def prepare_classes(
    methods: Sequence[Method],
    inputs: Inputs,
    class_names: Sequence[str] | None,
    label_map: Mapping[int, int],
    labels: StrPath | None,
    max_pixels: int,
) -> tuple[tuple[str, ...], str]:
    """Return the names of the classes, and a note if their ids are assumed or seem shifted; both are empty without label maps.

    Raises:
        ValueError: If no names are known or they contradict each other, or if a label map holds other values.
    """
    if labels is None:
        return (), ""
    names = _choose_class_names(methods, inputs.predicted_labels, class_names, Path(labels))
    if class_names is not None:
        of_models = {method.class_names for method in methods if method.name not in inputs.predicted_labels}
        _check_ids(names, of_models - {()}, label_map)
    missing = check_class_values(
        (pair.labels for pair in inputs.match.pairs if pair.labels), names, label_map, max_pixels
    )
    notes = [missing] if missing else []
    if class_names is None and not label_map and not _find_class_lists(Path(labels)):
        ids = _list_ids(dict(enumerate(names)))
        advice = "give --label-map LABELMAP=MODEL,... if theirs have other numbers"
        notes.insert(0, f"label maps are read as {ids}, the classes of the model; {advice}")
    return names, f"note: {'; '.join(notes)}" if notes else ""


def _choose_class_names(
    methods: Sequence[Method], predicted_labels: FilesByMethod, class_names: Sequence[str] | None, labels: Path
) -> tuple[str, ...]:
    """Return the given names, those of the label maps (`classes.txt` next to or in their folder), or those of the models."""
    of_models = {method.class_names for method in methods if method.class_names}
    if not of_models and not predicted_labels:
        raise ValueError(
            "There is no model with a segmenter: give predicted label maps (`predicted_labels`, --predicted-labels), or a model that "
            "segments all images (`segment_with`, --segment-with), or leave `labels` (--labels) out."
        )
    lists = _find_class_lists(labels)
    source = "the model" if class_names is None else "`class_names` (--class-names)"
    if class_names is None and lists:
        source = str(lists[0])
        listed = check_typed_names(read_unchecked_names(lists[0], of_boxes=False), str(lists[0]))
        class_names = ("background", *listed)
        for names in of_models:
            if [*map(normalize_class_name, names)] != [*map(normalize_class_name, class_names)]:
                raise ValueError(
                    f"{lists[0]} names the classes {', '.join(class_names)}, but a model has {', '.join(names)}: give the "
                    "names that the ids of both have as `class_names` (--class-names), with `label_map` (--label-map "
                    "LABELMAP=MODEL,...) if the numbers differ, or leave the label maps out."
                )
    if class_names is None and len(of_models) != 1:
        known = "; ".join(", ".join(names) for names in sorted(of_models)) or "none"
        raise ValueError(
            "Name the classes in the order of their ids (`class_names`; --class-names): the models' classes differ or are "
            f"unknown ({known})."
        )
    names = of_models.pop() if class_names is None else tuple(class_names)
    if len(names) < 2:
        raise ValueError(f"Name at least two classes, the background first, got {', '.join(names) or 'none'}.")
    for name in names:
        if name == MEAN_IOU or names.count(name) > 1:
            raise ValueError(
                f"{source} names {name!r} {'as a class, but it is the mean' if name == MEAN_IOU else 'twice'}: give other "
                "names as `class_names` (--class-names)."
            )
    return names


def _check_ids(class_names: Sequence[str], of_models: Set[tuple[str, ...]], label_map: Mapping[int, int]) -> None:
    """Raise ValueError if given names lack the background of a model, or are its names at other ids."""
    typed = [*map(normalize_class_name, class_names)]
    given = [name if (synonym := _SYNONYMS.get(name, name)) in typed else synonym for name in typed]
    for names in of_models:
        known = [*map(normalize_class_name, names)]
        if _lacks_background(given, known):
            raise ValueError(
                f"`class_names` (--class-names) starts with {class_names[0]}, but class 0 of a model is the background: put "
                "'background' first if 0 is the background in the label maps, or else give `label_map` (--label-map LABELMAP=MODEL,...) "
                f"with the ids of the model ({_list_ids(dict(enumerate(names)))}), without names."
            )
        ids = {i: known.index(name) for i, name in enumerate(given) if name in known and known[i : i + 1] != [name]}
        if ids:
            found = _list_ids({old: class_names[old] for old in ids})
            expected = _list_ids({new: names[new] for new in ids.values()})
            example = "LABELMAP=MODEL,..." if label_map else _suggest_map(given, known)
            raise ValueError(
                f"`class_names` (--class-names) gives {found}, but a model predicts {expected}: leave the names out, and give the "
                f"ids of the model ({_list_ids(dict(enumerate(names)))}) as `label_map` (--label-map {example}; 255 ignores "
                "classes that the model lacks)."
            )


def _suggest_map(given: Sequence[str], known: Sequence[str]) -> str:
    """Return `LABELMAP=MODEL` for every given name that a model has at another id, or does not have."""
    is_named = given[0] not in known and known[0] == "background"  # class 0 has another name of the background
    ids = {old: known.index(name) if name in known else 255 for old, name in enumerate(given) if old or not is_named}
    return ",".join(f"{old}={new}" for old, new in ids.items() if old != new)


def _lacks_background(given: Sequence[str], known: Sequence[str]) -> bool:
    """Return whether a list of names does not have the background of a model, which can have another name in it."""
    if known[0] != "background" or "background" in given[0] or given[0] in _BACKGROUNDS:
        return False
    has_same_ids = len(given) == len(known) or any(map(str.__eq__, given, known))
    return given[0] in known or not has_same_ids


def _find_class_lists(labels: Path) -> list[Path]:
    return [folder / CLASSES_FILE for folder in (labels, labels.parent) if (folder / CLASSES_FILE).is_file()]


def _list_ids(names: Mapping[int, str]) -> str:
    return ", ".join(f"{index} {to_line(name)}" for index, name in names.items())
