"""The example on Ray gives the images of `gffusion fuse`, from folders on two local workers, and from Parquet on one."""

import io
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from environments import make_environment

from gffusion.data import ImagePair, read_image
from gffusion.inference.file_jobs import FusionJob
from gffusion.inference.files import fuse_files
from gffusion.synthetic.samples import write_scenes
from gffusion.zoo import create_model, load_image_processor

pytest.importorskip("ray.data", reason='needs Ray: pip install "gffusion[ray]"', exc_type=ImportError)
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

EXAMPLE = Path(__file__).parents[2] / "examples" / "ray_fuse.py"
MODEL = "gffusion-funet"

pytestmark = [pytest.mark.processes, pytest.mark.slow]


# The first run starts a cluster, which takes long; the other ones use it.
RUNS = """
import contextlib, io, json, os, runpy, sys

outcomes = []
example, runs = sys.argv[1:]
for words in json.loads(runs):
    sys.argv[1:], code, out = words, 0, io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            runpy.run_path(example, run_name="__main__")
    except SystemExit as stop:
        code = stop.code
    outcomes.append((code, out.getvalue()))
    os.environ["RAY_ADDRESS"] = "local"
print(json.dumps(outcomes))
"""


def run(*runs: list[object]) -> list[tuple[int, str]]:
    """Run the example several times in one process, and return exit codes and outputs."""
    words = [[*map(str, run), "--model", MODEL, "--batch", "2"] for run in runs]
    environment = make_environment(RAY_USAGE_STATS_ENABLED="0", OMP_NUM_THREADS="1")
    command = [sys.executable, "-c", RUNS, str(EXAMPLE), json.dumps(words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def load_example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLE), run_name="example")


@pytest.mark.parametrize("name", ["/../evil", "../evil", "", "a/../../evil"])
def test_names_stay_in_the_folder(name: str, tmp_path: Path) -> None:
    example = load_example()
    row = example["write"]({"name": name, "fused": b"image", "error": ""}, tmp_path / "fused")
    assert "is no file in" in row["error"]
    assert not list(tmp_path.iterdir())


def test_equal_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 names are not unique, such as 'b'"):
        load_example()["refuse_duplicates"](["a", "b", "./b", "n/b"], tmp_path)


def test_images_that_png_cannot_hold_fail_alone() -> None:
    rng, contents = np.random.default_rng(0), []
    for shape in ((48, 64, 3), (48, 64)):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, rng.random(shape, np.float32))
        contents.append(buffer.getvalue())
    fuser = load_example()["Fuser"](MODEL, on_gpu=False)
    content, error = fuser.fuse("a", *contents)
    assert content == b"" and "cannot write a.png" in error
    assert fuser.fuse("a", contents[0], None)[1]


def test_folders_and_parquet(tmp_path: Path) -> None:
    names = [Path(name).stem for name in write_scenes(tmp_path, count=3, height=48, width=64)]
    folders, fused = (tmp_path / "visible", tmp_path / "infrared"), tmp_path / "fused"
    contents = {folder.name: (folder / f"{names[2]}.png").read_bytes() for folder in folders}
    for file, rows in (("rows", ["night/1", "/../evil", "kept"]), ("pairs", names[2:])):
        columns = {kind: [content] * len(rows) for kind, content in contents.items()}
        parquet.write_table(pyarrow.table({"name": rows, **columns}), tmp_path / f"{file}.parquet")
    fused.mkdir()
    for name in (names[0], "kept"):
        (fused / f"{name}.png").write_bytes(b"kept")
    (folders[1] / f"{names[1]}.png").write_bytes(b"damaged")
    for folder, name in zip(folders, ("alone_a.png", "alone_b.png"), strict=True):
        (folder / name).write_bytes(contents[folder.name])
    results = run(
        [*folders, "-o", fused],
        [tmp_path / "rows.parquet", "-o", fused, "--workers", 1],
        [tmp_path / "pairs.parquet", "-o", tmp_path / "fused.parquet", "--workers", 1],
    )
    assert [code for code, _ in results] == [1, 1, 0], results
    outputs = [output for _, output in results]
    assert "fused 1 pairs" in outputs[0]
    assert f"failed: {names[1]}: cannot read the infrared image of {names[1]}: it is not a PNG" in outputs[0]
    assert "left out 1 without infrared partner: alone_a.png\n" in outputs[0]
    assert "left out 1 without visible partner: alone_b.png\n" in outputs[0]
    assert "fused 1 pairs" in outputs[1] and "failed: /../evil: the name" in outputs[1]
    assert sorted(str(path.relative_to(fused)) for path in fused.rglob("*.png")) == sorted(
        [f"{names[0]}.png", f"{names[2]}.png", "kept.png", "night/1.png"]
    )
    assert {(fused / f"{name}.png").read_bytes() for name in (names[0], "kept")} == {b"kept"}

    expected = tmp_path / "expected.png"
    job = FusionJob(ImagePair(names[2], *(folder / f"{names[2]}.png" for folder in folders)), expected)
    model = create_model(MODEL, use_segmenter=False)
    assert [result.error for result in fuse_files([job], model, load_image_processor(MODEL))] == [None]
    row = parquet.read_table(tmp_path / "fused.parquet").to_pylist()[0]
    (tmp_path / "again.png").write_bytes(row["fused"])
    for path in (fused / f"{names[2]}.png", tmp_path / "again.png"):
        np.testing.assert_array_equal(read_image(path), read_image(expected))
