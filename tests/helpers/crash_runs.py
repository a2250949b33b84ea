"""Run commands in forked processes that are killed, stopped or fail at the n-th change of a file.

`python crash_runs.py FOLDER` is a server: it imports everything once, and forks for every line on its standard input.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from environments import make_environment

WATCH, KILL_BEFORE, KILL_INSIDE, KILL_AFTER, FAIL, FAIL_FROM, STOP, FAIL_FOLDERS = range(8)
"""What happens at the n-th change, as in failing_disk.c; FAIL_FROM fails all later changes, too, except deletions.

FAIL_FOLDERS fails no change, but every `fsync` of a folder.
"""

_SOURCE = Path(__file__).with_name("failing_disk.c")
_IMPORTS = (
    "gffusion.cli gffusion.training.building gffusion.evaluation gffusion.export.exporting gffusion.hub gffusion.labeling.labels "
    "gffusion.labeling.contact_sheet gffusion.synthetic.samples gffusion.video.fusing gffusion.inference.files gffusion.cameras.estimation "
    "gffusion.visualization.alignment matplotlib.backends.backend_agg matplotlib.backends.backend_svg rich.console scipy.stats tifffile "
    "gffusion.video.joining av torch.export torch._dynamo transformers.dynamic_module_utils"
)


class Change(NamedTuple):
    """A change of a file, or a network message."""

    kind: str
    path: str
    target: str


@dataclass(frozen=True)
class Done:
    """Outcome of a command: its exit status (-9 if killed), output, changes and seconds."""

    status: int
    out: str
    err: str
    changes: list[Change]
    seconds: float


class CrashServer:
    """Server that runs commands in a folder, the box, whose path is the same in all runs."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.box, self._files = folder / "box", folder / "files"
        self._files.mkdir()
        library = folder / "failing_disk.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl"], check=True)
        settings = {
            "LD_PRELOAD": str(library),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            "TMPDIR": str(self.box / "tmp"),
        }
        settings |= {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self._files)],
            env=make_environment(**settings) | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def run(
        self,
        words: Sequence[object],
        mode: int = WATCH,
        at: int = 0,
        error: int = 0,
        kill_after: float | None = None,
        when_stopped: Callable[[], object] = lambda: None,
    ) -> Done:
        """Run a command in the box; `at` counts changes from 1, `kill_after` is in seconds."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        for name in ("log", "out", "err"):
            (self._files / name).write_text("")
        request = {"words": [*map(str, words)], "box": str(self.box), "mode": mode, "at": at, "error": error}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        child, started = int(process.stdout.readline()), time.monotonic()
        timer = threading.Timer(300 if kill_after is None else kill_after, _kill, [child])
        timer.start()
        while (status := process.stdout.readline().strip()) == "stopped":
            when_stopped()
            os.kill(child, signal.SIGCONT)
        timer.cancel()
        out, err = ((self._files / name).read_text() for name in ("out", "err"))
        lines = (self._files / "log").read_text(errors="surrogateescape").splitlines()
        changes = [Change(*line.split("\t")[1:]) for line in lines if line.count("\t") == 3]
        return Done(int(status), out, err, changes, time.monotonic() - started)


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended, and the server will say so
        os.kill(process, signal.SIGKILL)


def read_tree(folder: Path) -> dict[str, bytes | None]:
    """Return the content of every file below a folder, and `None` for every folder, by relative path."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def lose_unsynced(changes: Sequence[Change]) -> list[str]:
    """Cut files that were written but not synchronized, as a power failure can do, to half, and return their paths."""
    unsynced: dict[str, None] = {}
    for kind, path, target in changes:
        if kind in ("write", "truncate"):
            unsynced[path] = None
        elif kind in ("fsync", "unlink"):
            unsynced.pop(path, None)
        elif kind == "rename":
            for name in [name for name in unsynced if name == path or name.startswith(f"{path}/")]:
                del unsynced[name]
                unsynced[target + name[len(path) :]] = None
    lost = [path for path in unsynced if os.path.isfile(path)]
    for path in lost:
        os.truncate(path, os.path.getsize(path) // 2)
    return lost


def renew(box: Path, inputs: Path) -> None:
    """Make the box with a copy of the inputs, and empty folders for outputs, temporary files and the cache of the Hub."""
    shutil.rmtree(box, ignore_errors=True)
    shutil.copytree(inputs, box / "in", symlinks=True)
    for name in ("out", "tmp", "home"):
        (box / name).mkdir()


def _serve(files: Path) -> dict[str, Any]:
    """Fork for every request; return the request in the forked process."""
    while line := sys.stdin.readline():
        request: dict[str, Any] = json.loads(line)
        if (child := os.fork()) == 0:
            return request
        print(child, flush=True)
        while os.WIFSTOPPED(status := os.waitpid(child, os.WUNTRACED)[1]):
            print("stopped", flush=True)
        print(os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)


def _main(files: Path) -> None:
    import ctypes

    for name in _IMPORTS.split():
        importlib.import_module(name)
    from gffusion.cli import main
    from gffusion.export import exporting
    from gffusion.video import fusing

    fusing.SEGMENT_FRAMES = 8
    batches = exporting.render_batches()[:1]
    exporting.render_batches = lambda: batches
    arm = ctypes.CDLL(None).disk_arm
    gc.collect()
    gc.freeze()
    request = _serve(files)
    for name, standard in (("out", 1), ("err", 2)):
        os.dup2(os.open(files / name, os.O_WRONLY | os.O_APPEND), standard)
    os.chdir(request["box"])
    paths = [ctypes.c_char_p(os.fsencode(path)) for path in (request["box"], files / "log")]
    arm(*paths, request["mode"], ctypes.c_long(request["at"]), request["error"])
    try:
        main(request["words"])
    except SystemExit as stop:
        code = int(stop.code or 0)
    threading._shutdown()  # as at the end of Python, which would also touch all memory that is shared with the server
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
