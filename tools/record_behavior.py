"""Record the outputs of the bundled models on real pairs to the byte, and compare two states of the code.

    python tools/record_behavior.py record before.json      # in one state of the code
    python tools/record_behavior.py check before.json       # in another

The record contains the SHA-256 of the pixels of every fused image and of some label maps, and the means that
`gffusion evaluate` prints. The bytes depend on the processor and on the version of torch: compare on one machine only.
Pairs are read from `$GFFUSION_DATA/val/msrs` (default `../shared/data`).
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gffusion import list_models

LABELED_PAIRS = 5
DATA = Path(os.environ.get("GFFUSION_DATA", "../shared/data")) / "val" / "msrs"


def digest_images(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of shape, type and pixels of every image of a folder."""
    digests = {}
    for path in sorted(folder.iterdir()):
        pixels = np.asarray(Image.open(path))
        digests[path.stem] = hashlib.sha256(f"{pixels.shape}{pixels.dtype}".encode() + pixels.tobytes()).hexdigest()
    return digests


def run(*words: object) -> None:
    """Run the command line of the code in the current folder, without its output."""
    subprocess.run([sys.executable, "-m", "gffusion", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def record() -> dict[str, object]:
    """Return the digests and means of the bundled models."""
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        result: dict[str, object] = {}
        bundled = list_models(status="bundled")
        for model in bundled:
            run("fuse", DATA / "visible", DATA / "infrared", "-o", work / model, "-m", model)
            result[f"fused by {model}"] = digest_images(work / model)
        for modality in ("visible", "infrared"):
            (work / "few" / modality).mkdir(parents=True)
            for path in sorted((DATA / modality).iterdir())[:LABELED_PAIRS]:
                (work / "few" / modality / path.name).symlink_to(path.resolve())
        run("fuse", work / "few/visible", work / "few/infrared", "-o", work / "segmented", "--segment")
        result["label maps by gffusion-tiny"] = digest_images(work / "segmented" / "labels")
        models = [word for model in bundled for word in ("--model", model)]
        run("evaluate", "--visible", DATA / "visible", "--infrared", DATA / "infrared", *models, "-o", work / "table")
        result["means"] = json.loads((work / "table" / "summary.json").read_text(encoding="utf-8"))["methods"]
        return result


def main() -> int:
    """Record, or compare with a record; return 1 if something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["record", "check"])
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    machine = {
        "processor": platform.processor() or platform.machine(),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
    }
    now = {"machine": machine, **record()}
    if options.action == "record":
        options.file.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        return 0
    before = json.loads(options.file.read_text(encoding="utf-8"))
    differences = 0
    for part, entries in now.items():
        changed = [key for key, value in entries.items() if before.get(part, {}).get(key) != value]
        differences += len(changed)
        print(f"{part}: {len(entries) - len(changed)} of {len(entries)} the same", *changed)
    return int(bool(differences))


if __name__ == "__main__":
    sys.exit(main())
