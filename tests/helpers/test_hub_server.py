"""The loopback Hub, used by the real client: uploads, downloads and errors."""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import HubServer

WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
FILES = {"config.json": b'{"a": 1}', "model.safetensors": WEIGHTS, "clip/config.json": b"{}"}

PREAMBLE = """
import hashlib, json, sys
from pathlib import Path
from huggingface_hub import HfApi, errors, hf_hub_download, snapshot_download
api = HfApi()

def outcome(function, *arguments, **options):
    try:
        return str(function(*arguments, **options))
    except Exception as error:
        return type(error).__name__
"""

Client = Callable[..., object]


@pytest.fixture
def client(hub: HubServer, fork_script: Callable, tmp_path: Path) -> Client:
    """Return a function that runs a script with the real client and returns its variable `result`."""

    def run(script: str, *arguments: object, token: str = "", **variables: str) -> object:
        environment = hub.environment(tmp_path / "home", HF_TOKEN=token, **variables)
        done = fork_script(f"{PREAMBLE}\n{script}\nprint(json.dumps(result))", *arguments, environment=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a folder with the files of a model."""
    for path, content in FILES.items():
        (tmp_path / "model" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / path).write_bytes(content)
    (tmp_path / "model" / "README.md").write_text("---\nlicense: apache-2.0\n---\n\n# Title\n")
    return tmp_path / "model"


class TestUpload:
    def test_round_trip(self, hub: HubServer, client: Client, folder: Path) -> None:
        result = client(
            """
api.create_repo("lab/net", private=True)
api.create_repo("lab/net", exist_ok=True)
commit = api.upload_folder(repo_id="lab/net", folder_path=sys.argv[1])
copy = Path(snapshot_download("lab/net"))
result = {
    "oid": commit.oid,
    "copy": {str(path.relative_to(copy)): path.read_bytes().hex() for path in copy.rglob("*") if path.is_file()},
    "info": [api.model_info("lab/net").sha, api.model_info("lab/net").private],
    "files": api.list_repo_files("lab/net"),
}
""",
            folder,
            token="member",
        )
        expected = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}
        copy = {path: bytes.fromhex(content) for path, content in result["copy"].items()}
        assert {path: copy[path] for path in expected} == expected
        assert set(result["files"]) == set(copy) == {*expected, ".gitattributes"}
        assert result["info"] == [result["oid"], True]
        assert hub.files("lab/net")["model.safetensors"] == WEIGHTS

    def test_uploaded_files_are_not_uploaded_again(self, hub: HubServer, client: Client, folder: Path) -> None:
        """Weights of a failed commit are kept, and an empty commit is not made."""
        hub.objects[hashlib.sha256(WEIGHTS).hexdigest()] = WEIGHTS
        result = client(
            """
api.create_repo("lab/net")
result = [api.upload_folder(repo_id="lab/net", folder_path=sys.argv[1]).oid for _ in range(2)]
""",
            folder,
            token="member",
        )
        assert result[0] == result[1]
        assert not [request for request in hub.requests if request.method == "PUT"]
        assert hub.files("lab/net")["model.safetensors"] == WEIGHTS

    def test_revisions(self, hub: HubServer, client: Client) -> None:
        first = hub.add_repository("lab/net", {"config.json": b"1"})
        result = client(
            """
api.create_tag("lab/net", tag="v1")
api.create_branch("lab/net", branch="feature/x")
api.upload_file(repo_id="lab/net", path_or_fileobj=b"2", path_in_repo="config.json", revision="feature/x")
api.upload_file(repo_id="lab/net", path_or_fileobj=b"3", path_in_repo="config.json")
api.delete_file("config.json", "lab/net", revision="feature/x")
refs = api.list_repo_refs("lab/net")
read = lambda revision: Path(hf_hub_download("lab/net", "config.json", revision=revision)).read_text()
result = {
    "refs": [ref.name for ref in (*refs.branches, *refs.tags)],
    "read": [read(revision) for revision in ("main", "v1", sys.argv[1])],
    "gone": outcome(hf_hub_download, "lab/net", "config.json", revision="feature/x"),
    "again": outcome(api.create_branch, "lab/net", branch="feature/x"),
}
""",
            first,
            token="member",
        )
        assert result["refs"] == ["main", "feature/x", "v1"]
        assert result["read"] == ["3", "1", "1"]
        assert [result["gone"], result["again"]] == ["RemoteEntryNotFoundError", "HfHubHTTPError"]

    def test_broken_card(self, client: Client, folder: Path) -> None:
        (folder / "README.md").write_text("---\nlicense: [\n---\n")
        script = 'api.create_repo("lab/net"); result = outcome(api.upload_folder, repo_id="lab/net", folder_path=sys.argv[1])'
        assert client(script, folder, token="member") == "ValueError"


class TestDownload:
    def test_interrupted_download_is_resumed(self, hub: HubServer, client: Client) -> None:
        """The client writes chunks of 10 MiB."""
        weights, step = random.Random(0).randbytes(25 << 20), 10 << 20
        hub.add_repository("lab/net", {"model.safetensors": weights})
        hub.cut_downloads("lab/net/model.safetensors", step + 1000, step + 1)
        script = (
            'result = hashlib.sha256(Path(hf_hub_download("lab/net", "model.safetensors")).read_bytes()).hexdigest()'
        )
        assert client(script) == hashlib.sha256(weights).hexdigest()
        gets = [request for request in hub.requests if request.method == "GET" and request.path.endswith("safetensors")]
        assert [request.range for request in gets] == ["", f"bytes={step}-", f"bytes={2 * step}-"]

    def test_tokens_are_sent_to_the_hub_only(self, hub: HubServer, client: Client) -> None:
        hub.add_repository("lab/net", FILES, private=True)
        client('result = str(snapshot_download("lab/net"))', token="member")
        tokens = {(request.host.partition(":")[0], request.token) for request in hub.requests}
        assert tokens == {("127.0.0.1", "member"), ("localhost", "")}

    def test_cache_is_used(self, hub: HubServer, client: Client) -> None:
        hub.add_repository("lab/net", FILES)
        script = 'result = Path(hf_hub_download("lab/net", "model.safetensors")).stat().st_size'
        assert client(script) == client(script) == client(script, HF_HUB_OFFLINE="1") == len(WEIGHTS)
        assert sum(request.path.startswith("/storage") for request in hub.requests) == 1


def test_errors(hub: HubServer, client: Client) -> None:
    """The client raises the exceptions that gffusion distinguishes."""
    hub.add_account("stranger", "bob")
    hub.add_account("reader", "cleo", "lab", may_write=False)
    for name, options in (("open", {}), ("private", {"private": True}), ("gated", {"gated": True})):
        hub.add_repository(f"lab/{name}", FILES, **options)
    result = client("""
get = lambda name, token, **options: outcome(hf_hub_download, f"lab/{name}", "config.json", token=token, **options)
result = {
    "missing repository": [get("nothing", token) for token in (False, "stranger", "member")],
    "private": [get("private", token) for token in (False, "stranger")],
    "gated": [get("gated", token) for token in (False, "stranger")],
    "wrong token": get("open", "wrong"),
    "missing revision": get("open", False, revision="v9"),
    "missing file": outcome(hf_hub_download, "lab/open", "nothing.json"),
    "who": [outcome(lambda: api.whoami(token)["name"]) for token in ("member", "wrong")],
    "gated page": outcome(lambda: api.model_info("lab/gated", token=False).gated),
    "create": [outcome(api.create_repo, name, token=token) for name, token in (
        ("lab/new", False), ("lab/new", "stranger"), ("lab/new", "reader"), ("lab/open", "member"), ("new", "stranger"))],
    "commit": [outcome(api.upload_file, path_or_fileobj=b"1", path_in_repo="a", repo_id=name, token=token)
        for name, token in (("lab/open", "reader"), ("lab/open", "wrong"), ("lab/nothing", "member"))],
}
""")
    assert result == {
        "missing repository": ["RepositoryNotFoundError"] * 3,
        "private": ["RepositoryNotFoundError"] * 2,
        "gated": ["GatedRepoError"] * 2,
        "wrong token": "HfHubHTTPError",
        "missing revision": "RevisionNotFoundError",
        "missing file": "RemoteEntryNotFoundError",
        "who": ["ann", "HfHubHTTPError"],
        "gated page": "manual",
        "create": [*["HfHubHTTPError"] * 4, f"{hub.url}/bob/new"],
        "commit": ["HfHubHTTPError", "HfHubHTTPError", "RepositoryNotFoundError"],
    }
    assert hub.files("lab/open") == FILES
