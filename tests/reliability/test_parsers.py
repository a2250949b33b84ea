"""Text files and options of any content: a value, or one line that names the file; never another error."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gffusion.cameras import Rig
from gffusion.data import read_boxes, read_coco
from gffusion.data.infrared_range import parse_infrared_range
from gffusion.data.raw_frames import RawFrame
from gffusion.training.recipe import Recipe, read_recipe

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=8), st.just("1e999")
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.png", "height": 48, "width": 64}],
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
        assert len(message) < 2000
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


@given_file
@given(content=st.binary(max_size=60))
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
    check(lambda: read_recipe(file))
    with pytest.raises(SystemExit) if not isinstance(content, dict) else AnyEnd():
        Recipe.parse(["--config", str(file), "--train_data", "here"])


class AnyEnd:
    """Accept a recipe, or an end with a message."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is None or issubclass(kind, SystemExit)


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
    with AnyEnd():
        Recipe.parse(["--config", "recipe.yaml", "--train_data", "here"])
    assert not Path("here").exists()


def test_entities_in_voc(tmp_path: Path) -> None:
    """Entities that expand a billion times, or read another file, are refused."""
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "x"}">' for i in range(12))
    bomb = f"<!DOCTYPE annotation [{entities}]><annotation><object><name>&a11;</name></object></annotation>"
    outside = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><object><name>&x;</name></object></annotation>'
    for content in (bomb, outside):
        (tmp_path / "boxes.xml").write_text(content)
        with pytest.raises(ValueError, match=r"boxes\.xml"):
            read_boxes(tmp_path / "boxes.xml", (48, 64), ["car"])
