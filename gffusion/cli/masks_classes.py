"""The class names that `gffusion masks` writes next to the folder of label maps."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .messages import one_line, print_note, print_warning
from .outputs import write_output
from .printing import print_line

if TYPE_CHECKING:
    from gffusion.data import ImagePair
    from gffusion.labeling.labels import LabelResult


def find_classes_file(output: Path) -> Path:
    """Return the file that names the classes of label maps in a folder."""
    from gffusion.data.pairs import CLASSES_FILE  # saves start-up time

    return output.parent / CLASSES_FILE


def note_unnamed(output: Path, names_file: Path) -> None:
    """Print that the classes have no names, and where to give them, unless the label maps are named already."""
    if not find_classes_file(output).exists():
        print_note(
            "the classes of the boxes have no names: label maps hold their numbers plus 1, which a layout with classes of its own "
            f"(--layout) would read as these. Name them in order, with --class-names A,B or in {names_file}, one per line"
        )


def check_classes(output: Path, class_names: Sequence[str] | None) -> None:
    """Raise ValueError if the file of class names exists with other names."""
    # These imports take time that `gffusion --help` need not spend.
    from gffusion.data.class_names import read_lines
    from gffusion.data.file_names import normalize_class_name

    file = find_classes_file(output)
    known = read_lines(file) if class_names is not None and file.exists() else class_names or ()
    if [*map(normalize_class_name, known)] != [*map(normalize_class_name, class_names or ())]:
        # A folder in a new one: the file next to it is then its own.
        other = output.with_name("mine") / "labels" if output.name in ("labels", "masks") else output / "labels"
        raise ValueError(
            f"{file} lists other classes than {', '.join(class_names or ())}: {', '.join(known)}, for all label maps in the folders "
            f"next to it. Give an --output in another folder, such as {other}, or correct the file if it is wrong"
        )


def write_classes(
    results: Iterable["LabelResult"], output: Path, class_names: Sequence[str] | None
) -> Iterator["LabelResult"]:
    """Write the class names with the first label map: without any, the next run can have other names."""
    file = find_classes_file(output)
    for result in results:
        if class_names is not None and result.error is None and not file.exists():
            _write(file, class_names)
        yield result


def name_existing(pairs: Sequence["ImagePair"], output: Path, class_names: Sequence[str], is_listed: bool) -> None:
    """Write the class names of label maps that exist, if a person listed them and they fit; print a warning if they do not."""
    file = find_classes_file(output)
    try:
        check_classes(output, class_names)
        if file.exists() or not is_listed:
            return
        for pair in pairs:
            _check_numbers(pair, class_names)
        _write(file, class_names)
    except (OSError, ValueError) as error:
        print_warning(one_line(error) if file.exists() else f"{file} is not written: {one_line(error)}")
    else:
        print_line(f"class names -> {file}")


def _check_numbers(pair: "ImagePair", class_names: Sequence[str]) -> None:
    """Raise ValueError if the numbers in a label map can be those of other classes."""
    from gffusion.data.boxes import has_class_names
    from gffusion.data.io import read_labels
    from gffusion.data.label_values import IGNORED  # these imports take time that `gffusion --help` need not spend

    if not isinstance(pair.boxes, Path) or has_class_names(pair.boxes):
        raise ValueError(
            "the boxes hold class names, and the label maps may be numbered by another order of them; --overwrite makes them anew"
        )
    if pair.labels is not None:
        labels = read_labels(pair.labels)
        highest = int(labels[labels != IGNORED].max(initial=0))
        if highest > len(class_names):
            raise ValueError(f"{pair.labels} holds {highest}, but there are {len(class_names)} class names")


def _write(file: Path, class_names: Sequence[str]) -> None:
    write_output(file, "".join(f"{name}\n" for name in class_names).encode())
