"""Fuse many pairs on a Ray cluster: `python examples/ray_fuse.py visible/ infrared/ -o fused/`.

Input is two folders whose files have the same names, or one Parquet dataset with the columns `name`, `visible` and `infrared`, the
contents of image files: `python examples/ray_fuse.py pairs.parquet -o fused.parquet`. Output is a folder of PNG files, which on a
cluster must be shared, or with the suffix .parquet a dataset of `name`, `fused` and `error`. Every worker loads the model once; pairs
that fail are listed, and the others are fused. Existing files of an output folder are skipped, and a name such as `night/1` makes a
folder in it. Needs Ray: `pip install "gffusion[ray]"`.
"""

import argparse
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

try:
    import ray
except ImportError:
    raise SystemExit('ray_fuse.py: error: needs Ray: pip install "gffusion[ray]"') from None

from gffusion import create_model, load_image_processor, locate, predict
from gffusion.cli.fuse_plans import report_match
from gffusion.data import match_pairs
from gffusion.data.io import encode_image
from gffusion.data.reading import complete_pair, decode_unaligned
from gffusion.utils.atomic import replace_file


class Fuser:
    """A worker with a model."""

    def __init__(self, name: str, on_gpu: bool) -> None:
        dtype = torch.float16 if on_gpu else torch.float32
        self.model = create_model(name, use_segmenter=False, dtype=dtype).to("cuda" if on_gpu else "cpu")
        self.processor = load_image_processor(name)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Fuse a batch of rows, and return the content of a PNG file or an error for each."""
        results = [self.fuse(*row) for row in zip(batch["name"], batch["visible"], batch["infrared"], strict=True)]
        fused, errors = (np.array(column, dtype=object) for column in zip(*results, strict=True))
        return {"name": batch["name"], "fused": fused, "error": errors}

    def fuse(self, name: str, visible: bytes, infrared: bytes) -> tuple[bytes, str]:
        """Return the content of a PNG file and an empty error, or an empty content and the error."""
        try:
            names = f"the visible image of {name}", f"the infrared image of {name}"
            image, frame, _ = decode_unaligned(visible or b"", infrared or b"", names)
            pair = complete_pair(image, frame)
            return encode_image(f"{name}.png", predict(self.model, self.processor, [pair])[0].fused), ""
        except (OSError, ValueError) as error:
            return b"", str(error)


def read(row: dict[str, Any]) -> dict[str, Any]:
    """Read the files of a pair."""
    contents = {kind: Path(row[kind]).read_bytes() for kind in ("visible", "infrared")}
    return {"name": row["name"], **contents}


def find_target(name: Any, folder: Path) -> Path:
    """Return the file of a pair, which must lie in the folder."""
    path = Path(os.path.normpath(folder / f"{name}.png"))
    if not path.is_relative_to(folder) or path.name == ".png":
        raise ValueError(f"the name {name!r} is no file in {folder}")
    return path


def is_missing(row: dict[str, Any], folder: Path) -> bool:
    """Return whether a pair has no file yet; bad names are reported when they are written."""
    try:
        return not find_target(row["name"], folder).is_file()
    except ValueError:
        return True


def write(row: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the fused image, unless it failed."""
    error = row["error"]
    if not error:
        try:
            path = find_target(row["name"], folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, row["fused"])
        except (OSError, ValueError) as reason:
            error = str(reason)
    return {"name": row["name"], "error": error}


def refuse_duplicates(names: list[Any], folder: Path) -> None:
    """Raise ValueError if several pairs have one name: one would overwrite the other."""
    counts = Counter(os.path.normpath(folder / f"{name}.png") for name in names)
    if doubles := [Path(path).stem for path, count in counts.items() if count > 1]:
        raise ValueError(f"{len(doubles)} names are not unique, such as {doubles[0]!r}: rename them, or write .parquet")


def check(options: argparse.Namespace) -> None:
    """Raise OSError or ValueError about names, before workers start."""
    for path in filter(None, (options.visible, options.infrared)):
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        if path.resolve() == options.output.resolve():
            raise ValueError(f"{path} is an input: choose another output")
    locate(options.model)


def main() -> None:
    """Fuse what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("visible", type=Path, help="folder of visible images, or Parquet dataset")
    parser.add_argument("infrared", type=Path, nargs="?", help="folder of infrared images")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder, or Parquet dataset to write")
    parser.add_argument("--model", default="gffusion-tiny")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--gpus-per-worker", type=float, default=0, help="such as 1, or 0.25 for four workers on each GPU"
    )
    parser.add_argument("--batch", type=int, default=8, help="pairs that a worker takes at once")
    options = parser.parse_args()
    check(options)
    is_parquet = options.output.suffix == ".parquet"
    output = options.output.resolve()
    if "RAY_ADDRESS" not in os.environ:  # a local cluster; reading and writing need cores besides the workers'
        ray.init(num_cpus=max(options.workers + 2, os.cpu_count() or 1), log_to_driver=False)

    if options.infrared is None:
        rows = ray.data.read_parquet(str(options.visible.resolve())).select_columns(["name", "visible", "infrared"])
        if not is_parquet:
            refuse_duplicates([row["name"] for row in rows.select_columns(["name"]).take_all()], output)
            rows = rows.filter(is_missing, fn_kwargs={"folder": output})
    else:
        match = report_match(match_pairs(options.visible.resolve(), options.infrared.resolve()))
        todo = [pair for pair in match.pairs if is_parquet or not (output / f"{pair.name}.png").is_file()]
        if not todo:
            print(f"nothing to do: all {len(match.pairs)} files exist")
            return
        items = [{"name": p.name, "visible": str(p.visible), "infrared": str(p.infrared)} for p in todo]
        rows = ray.data.from_items(items).map(read)
    fused = rows.map_batches(
        Fuser,
        fn_constructor_args=(options.model, options.gpus_per_worker > 0),
        concurrency=options.workers,
        batch_size=options.batch,
        num_gpus=options.gpus_per_worker,
    )
    if is_parquet:
        fused.write_parquet(str(output), mode="overwrite")
        results = ray.data.read_parquet(str(output)).select_columns(["name", "error"])
    else:
        output.mkdir(parents=True, exist_ok=True)
        results = fused.map(write, fn_kwargs={"folder": output})
    outcomes = results.take_all()
    failed = [row for row in outcomes if row["error"]]
    print(f"fused {len(outcomes) - len(failed)} pairs -> {options.output}")
    for row in failed:
        print(f"  failed: {row['name']}: {row['error']}")
    if failed:
        raise SystemExit(1)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, ray.exceptions.RayError) as error:
        raise SystemExit(f"ray_fuse.py: error: {' '.join(str(error).splitlines()[-1:])}") from None
