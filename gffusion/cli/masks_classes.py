"""The class names that `gffusion masks` writes next to the folder of label maps."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .outputs import write_output

if TYPE_CHECKING:
    from gffusion.labeling.labels import LabelResult


def find_classes_file(output: Path) -> Path:
    """Return the file that names the classes of label maps in a folder."""
    from gffusion.data.pairs import CLASSES_FILE  # saves start-up time

    return output.parent / CLASSES_FILE


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


def _write(file: Path, class_names: Sequence[str]) -> None:
    write_output(file, "".join(f"{name}\n" for name in class_names).encode())
