"""`gffusion pull`: a folder that works without network, and errors."""

import json
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hub_server
import pytest
from hub_server import HubServer
from read_back import read_files

from gffusion import create_model
from gffusion.zoo import locate

FUNET = read_files(Path(locate("gffusion-funet")))
# Pulls models in turn, each with its token.
PULLS = """
import json, os, sys
from gffusion.cli import main
for name, folder, token in json.loads(sys.argv[1]):
    os.environ["HF_TOKEN"] = token
    try:
        main(["pull", name, "-o", folder])
    except SystemExit as stop:
        print("exit", stop.code or 0, file=sys.stderr)
"""


def pull(fork_script: Callable, environment: dict[str, str], *pulls: tuple[str, Path, str]) -> list[tuple[str, int]]:
    """Pull in a process of its own, and return the messages and the exit code of each command."""
    done = fork_script(
        PULLS, json.dumps([[name, str(folder), token] for name, folder, token in pulls]), environment=environment
    )
    found = re.findall(r"(.*?)exit (\d+)\n", done.stderr, re.S)
    assert len(found) == len(pulls), done.stderr
    return [(messages, int(code)) for messages, code in found]


def test_saves_a_model_of_the_hub(
    hub: HubServer, gffusion: Callable, run_script: Callable, scenes: Path, tmp_path: Path
) -> None:
    files = FUNET | {"README.md": FUNET["README.md"] + b"\n![](sheets/night.png)\n", "LICENSE": b"CC BY 4.0"}
    files |= {"sheets/night.png": b"shown", "other.png": b"not shown"}
    for name in ("config.json", "preprocessor_config.json"):
        files[name] = files[name].replace(b"{", b'{"auto_map": {"AutoModel": "evil--net.Net"},', 1)
    revision = hub.add_repository("lab/net", files)
    command = "from gffusion.cli import main; main()"
    arguments = ("pull", "lab/net", "-o", tmp_path / "net", "--revision", revision)
    done = run_script(command, *arguments, environment=hub.environment(tmp_path / "home"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1 and str(tmp_path / "net") in done.stdout
    for name in ("README.md", "LICENSE", "sheets/night.png"):
        assert (tmp_path / "net" / name).read_bytes() == files[name]
    assert not (tmp_path / "net" / "other.png").exists()
    assert not [file for file in (tmp_path / "net").glob("*.json") if "auto_map" in file.read_text()]

    pair = [scenes / kind / "rendered_0000.png" for kind in ("visible", "infrared")]
    for name, model in (("pulled", tmp_path / "net"), ("bundled", "gffusion-funet")):
        assert gffusion("fuse", *pair, "-o", tmp_path / f"{name}.png", "--model", model).exit_code == 0
    assert (tmp_path / "pulled.png").read_bytes() == (tmp_path / "bundled.png").read_bytes()


def test_cards_that_would_cost_much(hub: HubServer, fork_script: Callable, tmp_path: Path) -> None:
    """The Hub is asked for files that exist, of limited number and size; without network, the cache has the same files."""
    shown = [f"{index:04d}.png" for index in range(1500)]
    links = " ".join(f"![]({name})" for name in ["0000.png/a.png", "model.safetensors/a.png", *shown])
    images = dict.fromkeys([*shown[:3], "0000.png/a.png"], b"image") | {"0001.png": bytes((1 << 24) + 1)}
    hub.add_repository("lab/few", FUNET | images | {"README.md": links.encode()})
    hub.add_repository("lab/many", FUNET | dict.fromkeys(shown, b"image") | {"README.md": links.encode()})
    hub.add_repository("lab/large", FUNET | {"README.md": bytes((1 << 22) + 1)})
    environment = hub.environment(tmp_path / "home")
    kept = {"few": [shown[0], shown[2], "README.md"], "many": [*shown[:100], "README.md"], "large": []}
    notes = {
        "few": ["0001.png of lab/few has more than 16,777,216 bytes", "Not saved: 0000.png/a.png of lab/few ("],
        "many": ["Of 1500 images in the card of lab/many, 100 are saved"],
        "large": ["README.md of lab/large has more than 4,194,304 bytes"],
    }
    for name, files in kept.items():
        before = len(hub.requests)
        ((messages, code),) = pull(fork_script, environment, (f"lab/{name}", tmp_path / name, ""))
        assert code == 0 and all(note in messages for note in notes[name]), messages
        assert sorted(path.name for path in (tmp_path / name).iterdir() if path.suffix in (".png", ".md")) == files
        paths = [request.path for request in hub.requests[before:]]
        assert len([path for path in paths if "/resolve/" in path and path.endswith(".png")]) <= 2 * len(files)
        assert not [path for path in paths if "LICENSE" in path or ("0001.png" in path and name == "few")]
    again = environment | {"HF_HUB_OFFLINE": "1"}
    ((messages, code),) = pull(fork_script, again, ("lab/few", tmp_path / "again", ""))
    assert code == 0 and "LICENSE" not in messages
    assert (tmp_path / "again" / "0002.png").read_bytes() == b"image"


@pytest.mark.parametrize(
    ("name", "message"),
    [("lab/net", "HF_HUB_OFFLINE"), ("unknown", "Unknown model 'unknown'"), ("gffusion-m3fd", "--config paper_m3fd")],
)
def test_errors_leave_no_folder(gffusion: Callable, tmp_path: Path, name: str, message: str) -> None:
    outcome = gffusion("pull", name, "-o", tmp_path / "new" / "folder")
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1 and message in outcome.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("output", [".", "link", "my model"])
def test_empty_folders_are_filled(
    gffusion: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    """They stay the same folders: a shell can stand in them, and volumes cannot be replaced."""
    folder = tmp_path / "my model"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder if output == "." else tmp_path)
    before = folder.stat().st_ino
    outcome = gffusion("pull", "gffusion-funet", "-o", output)
    assert outcome.exit_code == 0 and folder.stat().st_ino == before
    model = shlex.split(outcome.out.strip().strip(")"))[-1]
    assert model == output and create_model(Path(model)).config.paradigm == "cascading"
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(("output", "message"), [("", "not an empty folder"), ("file/net", "{0}/file is no folder")])
def test_existing_files_are_kept(gffusion: Callable, tmp_path: Path, output: str, message: str) -> None:
    (tmp_path / "file").write_text("precious")
    outcome = gffusion("pull", "gffusion-funet", "-o", tmp_path / output)
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1 and message.format(tmp_path) in outcome.err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "precious")]


def test_a_complete_folder_stays(gffusion: Callable, tmp_path: Path) -> None:
    """With a file of somebody else, too; a folder that differs, or that holds another model, is refused."""
    command = ("pull", "gffusion-funet", "-o", tmp_path / "net")
    assert gffusion(*command).exit_code == 0
    (tmp_path / "net" / "notes.txt").write_text("mine")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "net").iterdir()}
    outcome = gffusion(*command)
    assert outcome.exit_code == 0 and outcome.out.startswith(f"gffusion-funet is complete in {tmp_path / 'net'} (use")
    for changed, name in (("none", "gffusion-live"), ("README.md", "gffusion-funet")):
        outcome = gffusion("pull", name, "-o", tmp_path / "net")
        assert (outcome.exit_code, outcome.out) == (2, "")
        assert "net holds another model (config.json), or one that other versions" in outcome.err
        assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "net").iterdir()} == before
        if changed == "none":
            (tmp_path / "net" / "README.md").write_text("edited")
            before |= {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "net").glob("*.md")}


@pytest.mark.parametrize("lost", ["README.md", "preprocessor_config.json", "model.safetensors", "assets/b.png"])
def test_lost_files_are_written_again(gffusion: Callable, tmp_path: Path, lost: str) -> None:
    assert gffusion("pull", "gffusion-funet", "-o", tmp_path / "source").exit_code == 0
    (tmp_path / "source" / "assets").mkdir()
    for name in ("a", "b"):
        (tmp_path / "source" / "assets" / f"{name}.png").write_text(name)
    (tmp_path / "source" / "README.md").write_text("![a](assets/a.png) ![b](assets/b.png)")
    folder = tmp_path / "net"
    assert gffusion("pull", tmp_path / "source", "-o", folder).exit_code == 0
    content = (folder / lost).read_bytes()
    (folder / lost).unlink()
    assert gffusion("pull", tmp_path / "source", "-o", folder).exit_code == 0
    assert (folder / lost).read_bytes() == content and not list(folder.glob(".*"))


def test_a_kill_while_files_are_moved(gffusion: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command finishes; other files are kept, and refused."""
    rename, folder = Path.rename, tmp_path / "net"

    def stop(path: Path, target: Path) -> Path:
        if moved[0] == 0:
            raise KeyboardInterrupt
        moved[0] -= 1
        return rename(path, target)

    for count in range(4):
        moved = [count]
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", stop)
            assert gffusion("pull", "gffusion-funet", "-o", folder).exit_code == 130
        if count == 3:
            (folder / "README.md").write_text("precious")
            refused = gffusion("pull", "gffusion-funet", "-o", folder).err
            assert "not an empty folder, nor one that these versions of gffusion and transformers began" in refused
            assert (folder / "README.md").read_text() == "precious"
            (folder / "README.md").unlink()
        assert gffusion("pull", "gffusion-funet", "-o", folder).exit_code == 0
        assert sorted(path.name for path in folder.iterdir()) == [
            "README.md", "config.json", "model.safetensors", "preprocessor_config.json"
        ]  # fmt: skip
        shutil.rmtree(folder)


def test_cache_of_a_private_repository_needs_the_token(hub: HubServer, fork_script: Callable, tmp_path: Path) -> None:
    """The client returns cached files without a check, but requests the files that are not cached."""
    hub.add_repository("lab/net", FUNET, private=True)
    tokens = {"member": "", "": "hf auth login", "wrong": "rejects the token.*HF_TOKEN"}
    pulls = [("lab/net", tmp_path / f"net-{token}", token) for token in tokens]
    found = pull(fork_script, hub.environment(tmp_path / "home"), *pulls)
    assert [code for _, code in found] == [0, 2, 2], found
    assert [path.name for path in tmp_path.glob("net-*")] == ["net-member"]
    for (messages, _), advice in list(zip(found, tokens.values(), strict=True))[1:]:
        assert re.search(f"^gffusion: error: Cannot load .* from 'lab/net'.*{advice}.*\n$", messages), messages


def test_downloads_that_are_not_what_the_hub_announced(hub: HubServer, fork_script: Callable, tmp_path: Path) -> None:
    """One line, no folder, and the next command downloads the file again. The client itself only compares the length."""
    expected = {
        "lab/changed": "model.safetensors of 'lab/changed' was changed on the way",
        "lab/cut": "the download was interrupted",
    }
    for name in expected:
        hub.add_repository(name, FUNET)
    hub.changed.add("lab/changed/model.safetensors")
    hub.cut_downloads("lab/cut/model.safetensors", *[1000] * 20)
    environment = hub.environment(tmp_path / "home")
    pulls = [(name, tmp_path / "new" / name.split("/")[1], "") for name in expected]
    for (messages, code), message in zip(pull(fork_script, environment, *pulls), expected.values(), strict=True):
        lines = [line for line in messages.splitlines() if line.startswith("gffusion: ")]
        assert code == 2 and len(lines) == 1 and message in lines[0], messages
    assert not (tmp_path / "new").exists()
    hub.changed.clear()
    hub.cut_downloads("lab/cut/model.safetensors")
    assert [code for _, code in pull(fork_script, environment, *pulls)] == [0, 0]
    for _, folder, _ in pulls:
        assert (folder / "model.safetensors").read_bytes() == FUNET["model.safetensors"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["changed", "cut"]


def test_answers_of_a_proxy(
    hub: HubServer, fork_script: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of malformed lists of files, too many requests, and files without their metadata."""
    size = {"type": "file", "path": "README.md", "size": "large", "oid": "a"}
    lists = {
        "page": (200, b"<html>", {}),
        "object": {"files": []},
        "empty": None,
        "size": [size],
        "deep": (200, b"[" * 200_000, {}),
    }
    for name in (*lists, "busy", "bare"):
        hub.add_repository(f"lab/{name}", FUNET)
    requests: Counter[str] = Counter()

    def list_tree(handler: Any, name: str, revision: str, original: Any = hub_server._Handler.list_tree) -> Any:
        return lists[name.split("/")[1]] if name.split("/")[1] in lists else original(handler, name, revision)

    def serve_file(handler: Any, name: str, *file: str, original: Any = hub_server._Handler.serve_file) -> Any:
        requests[f"{name} {file[-1]}"] += 1
        if name == "lab/busy" and requests[f"{name} config.json"] < 4:
            return 429, b"", {"Retry-After": "0"}
        status, content, headers = original(handler, name, *file)
        return status, content, headers | ({"ETag": ""} if name == "lab/bare" else {})

    monkeypatch.setattr(hub_server._Handler, "list_tree", list_tree)
    monkeypatch.setattr(hub_server._Handler, "serve_file", serve_file)
    pulls = [(f"lab/{name}", tmp_path / name, "") for name in (*lists, "busy", "bare")]
    *found, (waits, code), (refusal, refused) = pull(fork_script, hub.environment(tmp_path / "home"), *pulls)
    for (name, folder, _), (messages, done) in zip(pulls, found, strict=False):
        assert done == 0 and f"does not list the files of {name}" in messages
        assert (folder / "model.safetensors").read_bytes() == FUNET["model.safetensors"]
    assert code == 0 and "huggingface_hub: Rate limited. Waiting 1.0s" in waits
    assert refused == 2 and f"{hub.url} gives no usable answer" in refusal and "cannot be reached" not in refusal


def test_a_hub_that_does_not_answer(fork_script: Callable, tmp_path: Path) -> None:
    """It is reported before the client repeats its requests for half a minute, between which it sleeps."""
    command = "import time; naps = []; time.sleep = naps.append; from gffusion.zoo import create_model\n"
    command += "try: create_model('lab/net')\nexcept OSError as error: print(sum(naps), error)"
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    seconds, message = fork_script(command, environment=environment).stdout.split(" ", 1)
    assert float(seconds) < 15 and "the Hub cannot be reached" in message
