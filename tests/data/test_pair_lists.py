"""Pairs given by lists, patterns and CSV files."""

import io
import os
import re
import shlex
import shutil
import subprocess
import threading
from pathlib import Path
from unicodedata import normalize

import pytest
from camera_files import touch

from gffusion.data.pair_lists import is_list, list_files, list_pairs


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders, night/ and day/, each with 1.png and 2.png of both cameras, as empty files."""
    touch(tmp_path, "night/vis/1.png", "night/vis/2.png", "night/ir/1.tif", "night/ir/2.tif")
    touch(tmp_path, "day/vis/1.png", "day/ir/1.tif")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(visible: str, infrared: str | None = None) -> list[tuple[str, str, str]]:
    match = list_pairs(Path(visible), None if infrared is None else Path(infrared))
    return [(pair.name, pair.visible.as_posix(), pair.infrared.as_posix()) for pair in match.pairs]


NIGHT = [("1", "night/vis/1.png", "night/ir/1.tif"), ("2", "night/vis/2.png", "night/ir/2.tif")]


def test_patterns_are_matched_by_name(files: Path) -> None:
    assert found("night/vis/*.png", "night/ir/*") == NIGHT
    assert found("**/vis/2.*", "night/**/*.tif") == NIGHT[1:]
    assert found("night/**/vis/**/*.png", "night/ir/*") == NIGHT  # glob names each file twice


def test_names_with_brackets_that_exist_are_no_patterns(files: Path) -> None:
    Path("a[1].png").touch()
    assert not is_list(Path("a[1].png"))
    assert is_list(Path("b[1].png"))


def test_lines_of_two_lists_are_pairs(files: Path) -> None:
    Path("visible.txt").write_text("# night\nnight/vis/1.png\n\n  day/vis/1.png  \n", encoding="utf-8-sig")
    Path("night/infrared.txt").write_text(
        "ir/1.tif\r\nday/ir/1.tif\r\n"
    )  # relative to the list, and to the current folder
    assert found("@visible.txt", "@night/infrared.txt") == [NIGHT[0], ("1", "day/vis/1.png", "day/ir/1.tif")]
    assert list_files(Path("@visible.txt")) == [Path("night/vis/1.png"), Path("day/vis/1.png")]
    for encoding in ("utf-16-le", "utf-16-be"):  # Windows PowerShell 5 writes the first one
        Path("night/infrared.txt").write_bytes("\ufeffir/1.tif\r\nir/2.tif\r\n".encode(encoding))
        assert list_files(Path("@night/infrared.txt")) == [Path("night/ir/1.tif"), Path("night/ir/2.tif")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_lists_from_standard_input_and_pipes(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each can be read only once, so that neither can be both lists."""
    text = io.TextIOWrapper(io.BytesIO(b"night/vis/1.png\nnight/vis/2.png\n"))
    monkeypatch.setattr("sys.stdin", text)
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_text, args=("night/ir/1.tif\nnight/ir/2.tif\n",))
    writer.start()
    assert found("@-", "@pipe") == NIGHT
    writer.join()
    text.seek(0)
    with pytest.raises(ValueError, match="@- names no files: write one per line; it can be read only once"):
        found("@-", "@-")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="@- is read by one process only, but there are several"):
        found("@-", "@-")


@pytest.mark.skipif(os.name == "nt", reason="the home folder has another variable")
def test_home_folder_in_lists(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(files / "night"))
    Path("p.csv").write_text("visible,infrared\n~/vis/1.png,~/ir/1.tif")
    assert found("p.csv") == [("1", f"{files}/night/vis/1.png", f"{files}/night/ir/1.tif")]
    touch(files, "~/vis/1.png")
    assert found("p.csv")[0][1] == "~/vis/1.png"


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_composed_and_decomposed_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forms: tuple[str, str]) -> None:
    """macOS decomposes names, and keyboards and other systems compose them."""
    monkeypatch.chdir(tmp_path)
    saved, written = (normalize(form, "wärme") for form in forms)
    for kind in ("vis", "ir"):
        touch(tmp_path / kind, f"{saved}.png")
        Path(f"{kind}.txt").write_text(f"{kind}/{written}.png", encoding="utf-8")
    Path("p.csv").write_text(f"visible,infrared\nvis/{written}.png,ir/{written}.png", encoding="utf-8")
    for given in (("@vis.txt", "@ir.txt"), ("p.csv",), (f"vis/{written}*", f"ir/{written}*")):
        ((_, visible, infrared),) = found(*given)
        assert os.path.samefile(visible, f"vis/{saved}.png") and os.path.samefile(infrared, f"ir/{saved}.png")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", ", "])
def test_columns_of_a_table(files: Path, delimiter: str) -> None:
    rows = [
        ("infrared", "Visible", "scene", "name"),
        ("night/ir/1.tif", "night/vis/1.png", "x", "night/1"),
        ("day/ir/1.tif", "day/vis/1.png", "y", ""),
        ("", "", "", ""),
    ]
    Path("pairs.csv").write_text("\n".join(map(delimiter.join, rows)), encoding="utf-8-sig")
    assert found("pairs.csv") == [
        ("night/1", "night/vis/1.png", "night/ir/1.tif"),
        ("1", "day/vis/1.png", "day/ir/1.tif"),
    ]


@pytest.mark.parametrize(("first", "delimiter"), [("sep=;", ";"), ("sep=,", ","), ("", "\t")])
def test_tables_of_excel(files: Path, first: str, delimiter: str) -> None:
    """CSV files with a line that tells Excel their delimiter, and its "Unicode text"; numbers of lines count the first one, too."""
    rows = [first] * bool(first) + [f"visible{delimiter}infrared", f"night/vis/1.png{delimiter}night/ir/1.tif", ""]
    Path("pairs.csv").write_bytes("\r\n".join(rows).encode("utf-8" if first else "utf-16"))
    assert found("pairs.csv") == NIGHT[:1]
    Path("pairs.csv").write_text("\n".join([*rows[:-1], f"no.png{delimiter}no.tif"]))
    with pytest.raises(FileNotFoundError, match=rf"pairs\.csv, line {len(rows)}: the file no\.png"):
        found("pairs.csv")


@pytest.mark.parametrize(
    ("contents", "visible", "infrared", "message"),
    [
        ({}, "@no.txt", "@no.txt", "the list no.txt does not exist"),
        ({}, "no/*.png", "night/ir/*", "no image matches the pattern no/*.png"),
        ({}, "no/*.png", "day/ir", "no image matches the pattern no/*.png"),
        ({}, "day/vis", "no/*.png", "no image matches the pattern no/*.png"),
        ({}, "night/vis/*", "day/ir", "night/vis/* is a list of files but day/ir is not"),
        ({}, "night/vis/*", None, "night/vis/* lists visible images"),
        ({"a": "night/vis/1.png"}, "@a", "night/ir/*", "are a list and a pattern"),
        ({"a": "night/vis/1.png", "b": "night/ir/1.tif\nday/ir/1.tif"}, "@a", "@b", "@a has 1 files and @b has 2"),
        (
            {"a": "night/vis/1.png\nnight/vis/2.png", "b": "night/ir/2.tif\nnight/ir/1.tif"},
            "@a", "@b", "@a and @b have the same names in another order, first 1.png and 2.tif",
        ),
        (
            {"a": "night/vis/1.png\nnight/vis/2.png\nday/vis/1.png", "b": "night/ir/2.tif\nnight/ir/1.tif\nday/ir/1.tif"},
            "@a", "@b", "@a and @b have the same names in another order, first 1.png and 2.tif",
        ),
        ({"a": "\n# nothing\n"}, "@a", "@a", "a names no files"),
        ({"a": "night/vis/1.png\nnight/vis/9.png"}, "@a", "@a", "a, line 2: the file night/vis/9.png does not exist"),
        ({"a": "night/vis/9.png"}, "@a", "@a", "relative to the folder of the list, or to the current folder"),
        ({"a": b"\xff\xfe\x00"}, "@a", "@a", "the list a is not UTF-8 text"),
        ({"a": "wärme.png".encode("cp1252")}, "@a", "@a", 'in Excel as "CSV UTF-8", in PowerShell by `Out-File -Encoding utf8`'),
        ({}, "**/vis/*.png", "night/ir/*", "day/vis/1.png and night/vis/1.png have the same stem"),
        ({"p.csv": "visible,thermal\n1,2"}, "p.csv", None, "must have a first line with the columns visible and infrared"),
        ({"p.csv": ""}, "p.csv", None, "must have a first line"),
        ({"p.csv": "visible,infrared\n"}, "p.csv", None, "p.csv names no pairs"),
        ({"p.csv": "visible,infrared\nnight/vis/1.png\n"}, "p.csv", None, "line 2: the visible or the infrared file is missing"),
        ({"p.csv": "visible,infrared\na.png,b.png"}, "p.csv", None, "p.csv, line 2: the file a.png does not exist"),
        ({"p.csv": "visible,infrared\nnight/vis,night/ir"}, "p.csv", None, "the file night/vis is a folder"),
        ({"p.csv": "visible,infrared,visible\n"}, "p.csv", None, "p.csv has 2 columns visible: leave one"),
        ({"p.csv": "visible,infrared"}, "p.csv", "night/ir", "p.csv lists both files of each pair"),
    ],
)  # fmt: skip
def test_wrong_lists_are_refused(
    files: Path, contents: dict[str, str | bytes], visible: str, infrared: str | None, message: str
) -> None:
    for name, content in contents.items():
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises((ValueError, OSError), match=re.escape(message)):
        found(visible, infrared)


@pytest.mark.skipif(shutil.which("sed") is None, reason="needs sed")
@pytest.mark.parametrize("name", ["1.png", "1"])
def test_the_command_for_names_without_folder_works(files: Path, name: str) -> None:
    """The lists of many datasets have such names."""
    Path("night/list.txt").write_text(f"{name}\n")
    with pytest.raises(
        FileNotFoundError, match=r"line 1: the file 1.* does not exist: names are relative to"
    ) as caught:
        list_files(Path("@night/list.txt"))
    command = re.search("sed '.*' night/list.txt", str(caught.value))[0].replace("FOLDER", "night/vis")  # type: ignore[index]
    content = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True).stdout
    Path("visible.txt").write_text(content)
    assert list_files(Path("@visible.txt")) == [Path("night/vis/1.png")]


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../b", r"..\out", "C:out", ".", ".."])
def test_names_cannot_leave_the_output_folder(files: Path, name: str) -> None:
    Path("p.csv").write_text(f"visible,infrared,name\nnight/vis/1.png,night/ir/1.tif,{name}")
    with pytest.raises(ValueError, match=r"line 2: the name .* must be a name below the output folder"):
        found("p.csv")


@pytest.mark.parametrize(
    "name", ["new\nline.png", 'q"uote.png', "it's, here.png", "\x85\u2028.png", "a\\b.png", " x.png"]
)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_odd_names(files: Path, name: str, newline: str) -> None:
    for kind in ("vis", "ir"):
        touch(files / kind, name)
    quoted = ['"{}"'.format(f"{kind}/{name}".replace('"', '""')) for kind in ("vis", "ir")]
    Path("p.csv").write_bytes(f"\ufeffVisible;INFRARED{newline}{';'.join(quoted)}{newline}".encode())
    assert found("p.csv")[0][1:] == (f"vis/{name}", f"ir/{name}")
    if "\n" not in name:
        for kind in ("vis", "ir"):
            Path(f"{kind}.txt").write_bytes(f"\ufeff{newline}{kind}/{name}{newline}".encode())
        assert found("@vis.txt", "@ir.txt")[0][1:] == (f"vis/{name}", f"ir/{name}")


@pytest.mark.parametrize("template", ['"{}/1.{}"', "{}\\1.{}", '"{}\\1.{}"'])
def test_names_as_windows_writes_them(files: Path, template: str) -> None:
    for kind, suffix in (("vis", "png"), ("ir", "tif")):
        Path(f"{kind}.txt").write_text(
            template.format(f"night/{kind}", suffix).replace("/", "\\" if "\\" in template else "/")
        )
    assert found("@vis.txt", "@ir.txt")[0][1:] == ("night/vis/1.png", "night/ir/1.tif")
