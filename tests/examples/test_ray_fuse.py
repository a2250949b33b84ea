"""The example on Ray gives the images of `gffusion fuse`, from folders on two local workers, and from Parquet on one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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

    columns = {folder.name: [(folder / f"{names[2]}.png").read_bytes()] for folder in folders}
    parquet.write_table(pyarrow.table({"name": [names[2]], **columns}), tmp_path / "pairs.parquet")
    finished = run(tmp_path / "pairs.parquet", "-o", tmp_path / "fused.parquet", "--workers", 1)
    assert finished.returncode == 0, finished.stderr
    row = parquet.read_table(tmp_path / "fused.parquet").to_pylist()[0]
    (tmp_path / "again.png").write_bytes(row["fused"])
    np.testing.assert_array_equal(read_image(tmp_path / "again.png"), read_image(expected))
