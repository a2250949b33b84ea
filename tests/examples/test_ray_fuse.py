"""The example on Ray gives the images of `gffusion fuse`, from folders on two local workers, and from Parquet on one."""

import io
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

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


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLE), *map(str, words), "--model", MODEL, "--batch", "2"]
    path = os.pathsep.join([str(EXAMPLE.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment)


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
    folders = tmp_path / "visible", tmp_path / "infrared"
    (tmp_path / "fused").mkdir()
    (tmp_path / "fused" / f"{names[0]}.png").write_bytes(b"kept")
    (folders[1] / f"{names[1]}.png").write_bytes(b"damaged")
    finished = run(*folders, "-o", tmp_path / "fused")
    assert finished.returncode == 1, finished.stderr
    assert "fused 1 pairs" in finished.stdout and f"failed: {names[1]}: cannot read" in finished.stdout
    assert (tmp_path / "fused" / f"{names[0]}.png").read_bytes() == b"kept"
    expected = tmp_path / "expected.png"
    job = FusionJob(ImagePair(names[2], *(folder / f"{names[2]}.png" for folder in folders)), expected)
    model = create_model(MODEL, use_segmenter=False)
    assert [result.error for result in fuse_files([job], model, load_image_processor(MODEL))] == [None]
    np.testing.assert_array_equal(read_image(tmp_path / "fused" / f"{names[2]}.png"), read_image(expected))

    rows = ["night/1", "/../evil", "kept"]
    columns = {folder.name: [(folder / f"{names[2]}.png").read_bytes()] * len(rows) for folder in folders}
    parquet.write_table(pyarrow.table({"name": rows, **columns}), tmp_path / "rows.parquet")
    (tmp_path / "fused" / "kept.png").write_bytes(b"kept")
    finished = run(tmp_path / "rows.parquet", "-o", tmp_path / "fused", "--workers", 1)
    assert finished.returncode == 1, finished.stderr
    assert "fused 1 pairs" in finished.stdout and "failed: /../evil: the name" in finished.stdout
    assert (tmp_path / "fused" / "night" / "1.png").is_file()
    assert (tmp_path / "fused" / "kept.png").read_bytes() == b"kept"

    columns = {name: contents[:1] for name, contents in columns.items()}
    parquet.write_table(pyarrow.table({"name": [names[2]], **columns}), tmp_path / "pairs.parquet")
    finished = run(tmp_path / "pairs.parquet", "-o", tmp_path / "fused.parquet", "--workers", 1)
    assert finished.returncode == 0, finished.stderr
    row = parquet.read_table(tmp_path / "fused.parquet").to_pylist()[0]
    (tmp_path / "again.png").write_bytes(row["fused"])
    np.testing.assert_array_equal(read_image(tmp_path / "again.png"), read_image(expected))
