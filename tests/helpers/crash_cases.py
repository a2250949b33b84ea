"""Commands of the kill sweeps: their words, what they leave, and what must never be seen of them."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.numpy
from crash_runs import CrashServer, Done, read_tree, renew
from hub_server import HubServer

Tree = dict[str, bytes | None]
PUSHED = "lab/new"
IS_WHOLE = os.environ.get("GFFUSION_RELIABILITY") == "all"


@dataclass(frozen=True)
class Case:
    """A command.

    Args:
        words: The command, with paths in the box.
        check: Raises AssertionError if a file in an unfinished tree is half.
        is_refused: Whether the command refuses to replace what it has finished.
    """

    words: str
    check: Callable[[Tree, Tree], None]
    is_refused: bool = False


def check_same(found: Tree, expected: Tree) -> None:
    """Every visible file has its final content."""
    for name, content in found.items():
        if not any(part.startswith(".") for part in Path(name).parts):
            assert content == expected[name], f"{name} is half"


def check_evaluation(found: Tree, expected: Tree) -> None:
    """Records are appended: all lines but the last one are complete."""
    check_same({name: content for name, content in found.items() if not name.endswith("records.jsonl")}, expected)
    _check_lines(found.get("eval/records.jsonl") or b"")


def check_training(found: Tree, expected: Tree) -> None:
    """Weights and checkpoints have all their files, which can be read."""
    names = [name for name in found if not any(part.startswith(".") for part in Path(name).parts)]
    for name in names:
        content = found[name]
        if name.endswith(("/best", "/last")) or ("/checkpoints/step-" in name and content is None):
            like = name if name in expected else next(other for other in expected if "/checkpoints/step-" in other)
            files = {Path(other).name for other in expected if other.startswith(f"{like}/")} - {"README.md"}
            assert files <= {Path(other).name for other in names if other.startswith(f"{name}/")}, f"{name} is half"
        elif content is not None and name.endswith(".safetensors"):
            safetensors.numpy.load(content)
        elif content is not None and name.endswith(".json"):
            json.loads(content)
        elif content is not None and name.endswith((".png", ".md")):
            assert content == expected[name], f"{name} is half"
    _check_lines(found.get("run/log.jsonl") or b"")


def _check_lines(content: bytes) -> None:
    for line in content.splitlines(keepends=True)[:-1]:
        json.loads(line)


CASES = {
    "fuse, files": Case(
        "fuse in/visible/rendered_0000.png in/infrared/rendered_0000.png -o out/fused.png -m in/model --segment",
        check_same,
    ),
    "fuse, folders": Case("fuse in/visible in/infrared -o out/fused -m in/model --segment", check_same),
    "fuse, videos": Case("fuse in/visible.mp4 in/infrared.mp4 -o out/fused.mp4 -m in/model --segment", check_same),
    "evaluate": Case(
        "evaluate --visible in/visible --infrared in/infrared --fused mine=in/visible -o out/eval --workers 1 --sheet 1 --metrics EN",
        check_evaluation,
    ),
    "masks": Case("masks in --method threshold -o out/labels --contact-sheet out/sheet.png", check_same),
    "sample": Case("sample out/sample --count 2 --height 32 --width 48", check_same),
    "train": Case(
        "train --train_data in --eval_data in --output_dir out/run --model_name_or_path in/model --num_train_epochs 2 "
        "--head_start_epoch 1 --per_device_train_batch_size 2 --crop_size 32 --eval_metrics SSIM --num_eval_images 1 "
        "--save_steps 1 --resume_from_checkpoint true",
        check_training,
    ),
    "pull": Case("pull lab/slim -o out/model", check_same),
    "push": Case(f"push in/slim {PUSHED}", check_same),
    "align": Case(
        "align in/visible/rendered_0000.png in/infrared/rendered_0000.png -o out/rig.json --overlay out/overlay.png "
        "--transform translation --accept-uncertain",
        check_same,
        is_refused=True,
    ),
    "export": Case("export in/funet -o out/model.pt2", check_same, is_refused=True),
}


class Lab:
    """Run the commands of the cases in the box of a server, with a Hub."""

    def __init__(self, server: CrashServer, hub: HubServer, inputs: Path) -> None:
        self.server, self.hub, self.inputs = server, hub, inputs
        self._undisturbed: dict[str, tuple[Done, Tree]] = {}

    def run(self, name: str, **disturbance: Any) -> Done:
        """Run a command once more."""
        return self.server.run(CASES[name].words.split(), **disturbance)

    def prepare(self) -> None:
        """Copy the inputs, and remove all outputs."""
        renew(self.server.box, self.inputs)
        self.hub.repositories.pop(PUSHED, None)
        self.hub.objects.clear()

    def start(self, name: str, **disturbance: Any) -> Done:
        """Run a command with new inputs and without outputs."""
        self.prepare()
        return self.run(name, **disturbance)

    def undisturbed(self, name: str) -> tuple[Done, Tree]:
        """Return the outcome and the results of a command without disturbances."""
        if name not in self._undisturbed:
            done = self.start(name)
            assert done.status == 0, done.err
            assert not self.find_leftovers()
            self._undisturbed[name] = done, self.read_results()
        return self._undisturbed[name]

    def check_and_finish(self, name: str, is_partial: bool = False) -> None:
        """Check that no file is half, and that the same command finishes with the results of an undisturbed run."""
        case, expected, found = CASES[name], self.undisturbed(name)[1], self.read_results()
        if not is_partial:  # of other inputs
            case.check(found, expected)
        is_complete = all(found.get(name) == content for name, content in expected.items())
        done = self.run(name)
        assert done.status == 0 or (is_complete and case.is_refused), done.err
        results = self.read_results()
        assert sorted(results.keys() ^ expected.keys()) == []
        assert [name for name in expected if results[name] != expected[name]] == []
        assert not self.find_leftovers()

    def read_results(self) -> Tree:
        """Return the output files, and the files on the Hub, without what differs between equal runs."""
        results = read_tree(self.server.box / "out")
        for name in [name for name in results if name.endswith(("optimizer.bin", ".pkl"))]:
            results[name] = b""
        for name in [name for name in results if name.endswith("records.jsonl")]:
            lines = {line for line in (results[name] or b"").split(b"\n") if line.endswith(b"}}")}
            results[name] = b"\n".join(sorted(lines))  # threads finish in any order
        if PUSHED in self.hub.repositories:
            files = self.hub.files(PUSHED)
            results |= {f"hub/{name}": content for name, content in files.items() if "config.json" in files}
        return results

    def find_leftovers(self) -> list[str]:
        """Return temporary files, except the empty folder that PyTorch makes for its compiler."""
        return [name for name in read_tree(self.server.box / "tmp") if not name.startswith("torchinductor_")]
