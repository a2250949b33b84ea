"""Text files and options of any content: a value, or one line that names the file; never another error."""

import contextlib
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gffusion.cameras import Rig
from gffusion.cli.option_values import parse_label_map, split_list, split_named
from gffusion.data import read_boxes, read_coco
from gffusion.data.infrared_range import parse_infrared_range
from gffusion.data.pair_lists import list_pairs
from gffusion.data.raw_frames import RawFrame
from gffusion.data.rigs import parse_align
from gffusion.evaluation.output_folder import check_former_table, read_settings
from gffusion.evaluation.records import Records
from gffusion.evaluation.settings import describe_replaced
from gffusion.synthetic.samples import write_scenes
from gffusion.training.recipe import Recipe, read_recipe
from gffusion.training.run_folder import LOG, RunFolder

NAMES = st.sampled_from(
    ["a.png", "b.png", "../a.png", "/etc/passwd", "..", ".", "C:\\a", '"', "night/../../x", "a\0b", "x" * 5000, ""]
) | st.text(max_size=8)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=8), st.just("1e999")
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a\nb.png", "height": 48, "width": 64}],
    "categories": [{"id": 7, "name": "car"}],
    "annotations": [{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "iscrowd": 0}],
}
VOC = "<annotation><size><height>48</height><width>64</width></size><object><name>car</name><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>9</ymax></bndbox></object></annotation>"
RIG: dict[str, Any] = {
    "format": "gffusion-rig",
    "version": 1,
    "matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "visible_size": {"height": 48, "width": 64},
}

given_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(read: Callable[[], object], file: Path | None = None) -> None:
    """Call a reader, whose errors must be one line that names the file."""
    try:
        read()
    except (ValueError, OSError) as error:
        message = str(error)
        assert len(message) < 2000 and "\n" not in message, message
        assert file is None or file.name in message, message


@st.composite
def damaged(draw: st.DrawFn, content: Any) -> Any:
    """Return a JSON value in which one or two parts are replaced or removed."""
    content = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 2))):
        place = content
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and draw(st.booleans()):
                place = place[key]
                continue
            if draw(st.booleans()):
                del place[key]
            else:
                place[key] = draw(VALUES)
            break
    return content


@given_file
@given(content=damaged(COCO) | VALUES)
@example(content=COCO | {"annotations": [{"image_id": "1\n"}]})
@example(content=COCO | {"images": [COCO["images"][0] | {"height": 9}]})
@example(content=COCO | {"images": [COCO["images"][0], COCO["images"][0] | {"id": 2}]})
def test_coco(tmp_path: Path, content: Any) -> None:
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(content))

    def read() -> None:
        boxes, names = read_coco(file)
        for entry in boxes.values():
            entry.to_boxes((48, 64), names)

    check(read, file)


@given_file
@given(
    text=st.one_of(st.text(), st.lists(SCALARS, max_size=6).map(lambda row: " ".join(map(str, row)))),
    kind=st.sampled_from([".txt", ".xml"]),
)
def test_boxes(tmp_path: Path, text: str, kind: str) -> None:
    file = tmp_path / f"boxes{kind}"
    for content in (
        text,
        f"% bbGt version=3\n{text}",
        VOC.format(text.replace("<", ""), "9"),
        f"0 0.5 0.5 0.1 0.1\n{text}",
    ):
        file.write_text(content, encoding="utf-8", errors="surrogatepass")
        check(lambda: read_boxes(file, (48, 64), ["car"]), file)


def test_boxes_in_the_command(gffusion: Callable[..., Any], tmp_path: Path) -> None:
    """A damaged file is named in one line, and the label maps of the other pairs are written."""
    texts = ["x", "0 .5 .5 nan .1", "9 .5 .5 .1 .1", "0 .5", "0 1e999 0 1 1", "0 .5 .5 .1 .1\0", "<annotation>"]
    write_scenes(tmp_path, len(texts) + 1, height=48, width=64)
    (tmp_path / "boxes").mkdir(exist_ok=True)
    (tmp_path / "classes.txt").unlink()
    stems = sorted(file.stem for file in (tmp_path / "visible").iterdir())
    for stem, text in zip(stems, ["0 .5 .5 .2 .2", *texts], strict=True):
        (tmp_path / "boxes" / f"{stem}.txt").write_text(text)
    done = gffusion("masks", tmp_path, "--method", "threshold", "-o", tmp_path / "new", "--class-names", "car")
    assert done.exit_code == 1 and "Traceback" not in done.err
    assert [file.stem for file in (tmp_path / "new").glob("*.png")] == stems[:1]
    assert all(f"{stem}.txt" in done.err for stem in stems[1:]), done.err


@given_file
@given(content=st.binary(max_size=60))
@example(content=b"a: [\n b: :")
def test_bytes_as_text(tmp_path: Path, content: bytes) -> None:
    readers: dict[str, Callable[[Path], object]] = {
        "boxes.txt": lambda file: read_boxes(file, (48, 64), ["car"]),
        "boxes.xml": lambda file: read_boxes(file, (48, 64), ["car"]),
        "boxes.json": read_coco,
        "recipe.yaml": read_recipe,
        "rig.json": Rig.load,
    }
    for name, read in readers.items():
        (tmp_path / name).write_bytes(content)
        check(partial(read, tmp_path / name), tmp_path / name)


@given_file
@given(content=damaged(RIG) | VALUES)
def test_rigs(tmp_path: Path, content: Any) -> None:
    file = tmp_path / "rig.json"
    file.write_text(json.dumps(content))
    check(lambda: Rig.load(file), file)


@given_file
@given(
    content=st.one_of(
        VALUES,
        st.dictionaries(
            st.sampled_from(["base", "train_data", "seed", "model_config", "scale", "align", "lr"]), VALUES
        ),
    )
)
def test_recipes(tmp_path: Path, content: Any) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    check(lambda: read_recipe(file), file)
    with pytest.raises(SystemExit) if not isinstance(content, dict) else contextlib.suppress(SystemExit):
        Recipe.parse(["--config", str(file), "--train_data", "here"])


@given_file
@given(
    rows=st.lists(st.lists(NAMES, min_size=1, max_size=4), max_size=4),
    header=st.sampled_from(["visible,infrared,name", "infrared;visible", "Visible\tINFRARED\tname", "visible"])
    | st.text(),
)
@example(rows=[['"a\nb"', "a.png"]], header="visible,infrared")
def test_lists_of_pairs(tmp_path: Path, rows: list[list[str]], header: str) -> None:
    """Results stay below the output folder."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    delimiter = max(",;\t", key=header.count)
    table, lines = tmp_path / "pairs.csv", tmp_path / "list.txt"
    table.write_text("\n".join([header, *(delimiter.join(row) for row in rows)]), "utf-8", "surrogatepass")
    lines.write_text("\n".join(row[0] for row in rows), "utf-8", "surrogatepass")

    def read() -> None:
        for pair in list_pairs(table, None).pairs:
            output = Path(os.path.normpath(tmp_path / "out" / pair.name))
            assert output.is_relative_to(tmp_path / "out") and pair.visible.is_file()

    check(read, table)
    check(lambda: list_pairs(Path(f"@{lines}"), Path(f"@{lines}")), lines)


@given_file
@given(
    content=st.binary(max_size=60)
    | st.lists(VALUES, max_size=4).map(lambda rows: "\n".join(map(json.dumps, rows)).encode())
)
def test_records_of_former_runs(tmp_path: Path, content: bytes) -> None:
    """Damaged ones of evaluations are measured again; damaged logs of trainings are named."""
    for name in ("records.jsonl", "summary.json", "per_image.csv", LOG):
        (tmp_path / name).write_bytes(content)
    assert isinstance(Records(tmp_path / "records.jsonl").get("key"), dict)
    check(lambda: check_former_table(tmp_path, ["average"], "standard", ["a"]), tmp_path)
    assert isinstance(describe_replaced(read_settings(tmp_path), {"methods": {"a": "b"}, "metrics": ["EN"]}), str)
    check(RunFolder(tmp_path).read_log, tmp_path / LOG)


@given(text=st.text() | st.lists(SCALARS, max_size=3).map(lambda row: "=".join(map(str, row))))
def test_options_of_commands(text: str) -> None:
    for read in (split_list, parse_label_map, partial(parse_align, option="--align"), partial(split_named, "--fused")):
        check(partial(read, text))


@given(text=st.one_of(st.text(), st.lists(SCALARS, max_size=3).map(lambda row: ",".join(map(str, row)))))
def test_options(text: str) -> None:
    check(lambda: parse_infrared_range(text))
    check(lambda: RawFrame.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "&a [&b [*a, *b], *a]",  # refers to itself
        "a: &a [x, x]\n" + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else '*a'] * 9)}]" for i in range(8)),
        "!!python/object/apply:os.system ['touch here']",
        "base: recipe.yaml",
        "base: [1]",
        "base: ../../../../etc/passwd",
        "? {a: 1}\n: b",
        "1: 2",
        "train_data: {a: b}",
        "seed: 2023-13-45",
        "train_data: " + "[" * 5000,
        "base: &a [x, x]\n"
        + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else '*a'] * 9)}]" for i in range(8))
        + "\ntrain_data: *a7",
    ],
)
def test_hostile_recipes(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(text)
    with contextlib.suppress(SystemExit):
        Recipe.parse(["--config", "recipe.yaml", "--train_data", "here"])
    assert not Path("here").exists()


def test_entities_in_voc(tmp_path: Path) -> None:
    """Entities that expand a billion times, or read another file, are refused."""
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "x"}">' for i in range(12))
    bomb = f"<!DOCTYPE annotation [{entities}]><annotation><object><name>&a11;</name></object></annotation>"
    inside = f'<!DOCTYPE a [<!ENTITY x "1">]>{VOC.format("&x;", "9")}'
    outside = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><object><name>&x;</name></object></annotation>'
    for content in (bomb, inside, outside):
        (tmp_path / "boxes.xml").write_text(content)
        with pytest.raises(ValueError, match=r"boxes\.xml"):
            read_boxes(tmp_path / "boxes.xml", (48, 64), ["car"])
