"""Run scripts in processes that are forked from one that has imported large libraries: importing them takes seconds.

`python script_server.py LIBRARIES` is the server. Give it no library whose import a test watches, or which reads settings of the Hub
from the environment: by default, it imports neither gffusion nor transformers.
"""

import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

LIBRARIES = "torch torch._dynamo torch.distributed.fsdp torch.distributed.tensor torch.export scipy.optimize scipy.ndimage PIL.Image"
_SECONDS = 300  # until a script is killed


class ScriptServer:
    """Server that runs scripts, and imports the libraries, which it finds on `path`, once."""

    def __init__(self, folder: Path, libraries: str = LIBRARIES, path: str = "") -> None:
        self._files = {name: folder / name for name in ("out", "err")}
        self._process = subprocess.Popen(
            [sys.executable, __file__, *libraries.split()],
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()

    def run(
        self, script: str, arguments: tuple[object, ...], environment: Mapping[str, str], folder: Path | None
    ) -> subprocess.CompletedProcess[str]:
        """Run a script as `python -c` does."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        words = ["-c", *map(str, arguments)]
        files = {name: str(path) for name, path in self._files.items()}
        request = {"script": script, "words": words, "environment": dict(environment), "files": files}
        process.stdin.write(json.dumps(request | {"folder": str(folder or Path.cwd())}) + "\n")
        process.stdin.flush()
        status = int(process.stdout.readline())
        return subprocess.CompletedProcess(words, status, *(path.read_text() for path in self._files.values()))


def _serve() -> dict[str, Any]:
    """Fork for every request; return the request in the forked process."""
    while line := sys.stdin.readline():
        if (child := os.fork()) == 0:
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    os._exit(0)


def _set_up(request: dict[str, Any]) -> None:
    signal.alarm(_SECONDS)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name, standard in (("out", 1), ("err", 2)):
        os.dup2(os.open(request["files"][name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), standard)
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in os.environ
    sys.path[:1] = ["", *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv[:] = request["words"]


if __name__ == "__main__":
    for library in sys.argv[1:]:
        importlib.import_module(library)
    gc.collect()
    gc.freeze()
    request = _serve()
    _set_up(request)
    sys.modules["__main__"] = main = types.ModuleType("__main__")
    exec(compile(request["script"], "<string>", "exec"), main.__dict__)
