"""A Hugging Face Hub on loopback: the HTTP requests of the `huggingface_hub` client for model repositories.

Repositories are kept in memory. As on the real Hub, large files use Git LFS and are served under another host name, so
that tests can check redirects and which host receives tokens. Xet is not supported: clients need `HF_HUB_DISABLE_XET=1`.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

import yaml

LFS_SUFFIXES = (".safetensors", ".bin", ".pt", ".png")


class HubError(Exception):
    """An error response of the Hub."""

    def __init__(self, status: int, message: str, code: str = "", commit: str = ""):
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message, "X-Error-Code": code, "X-Repo-Commit": commit}


class Request(NamedTuple):
    """A received request."""

    method: str
    path: str
    host: str
    token: str
    range: str


class Account(NamedTuple):
    """Owner and permissions of a token."""

    name: str
    organizations: tuple[str, ...]
    may_write: bool


@dataclass
class Repository:
    """A repository: files and messages by commit, branches and tags."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str) -> str:
        """Make a commit with exactly these files, and return its id."""
        description = repr((len(self.commits), sorted((path, _git_oid(data)) for path, data in files.items())))
        commit = hashlib.sha1(description.encode()).hexdigest()
        self.commits[commit], self.branches[branch] = files, commit
        return commit

    def resolve(self, revision: str) -> str:
        """Return the commit id of a branch, tag or commit id."""
        commit = self.branches.get(revision) or self.tags.get(revision) or revision
        if commit not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit


class HubServer:
    """The server, which runs inside the `with` block.

    Tests call `add_account` and `add_repository`, check `files` and `requests`, interrupt downloads with `cut_downloads`,
    let the next commits to a repository fail by setting their number in `refused_commits`, and let the last byte of a large file,
    `organization/name/path`, arrive changed by adding it to `changed`.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.refused_commits: dict[str, int] = {}
        self.changed: set[str] = set()
        self._cuts: dict[str, list[int]] = {}
        self.lock = threading.RLock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self.storage_url = f"http://localhost:{self._http.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def environment(self, home: object, **others: str) -> dict[str, str]:
        """Return the environment variables that make a process use this server as the Hub."""
        settings = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        return settings | {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_TOKEN": ""} | others

    def add_account(self, token: str, name: str, *organizations: str, may_write: bool = True) -> None:
        """Add an account with an access token."""
        self.accounts[token] = Account(name, organizations, may_write)

    def add_repository(self, name: str, files: dict[str, bytes], private: bool = False, gated: bool = False) -> str:
        """Make a repository with one commit, and return the commit id; only members of the organization can read gated ones."""
        self.repositories[name] = Repository(private, gated)
        return self.repositories[name].commit(files, "main")

    def files(self, name: str, revision: str = "main") -> dict[str, bytes]:
        """Return the files of a repository, by path."""
        repository = self.repositories[name]
        return repository.commits[repository.resolve(revision)]

    def cut_downloads(self, file: str, *lengths: int) -> None:
        """Interrupt the next downloads of a large file, `organization/name/path`, after these numbers of bytes."""
        self._cuts[file] = list(lengths)

    def next_cut(self, path: str) -> int | None:
        """Return the number of bytes after which to interrupt this response, `None` to send all."""
        lengths = next((lengths for file, lengths in self._cuts.items() if path.endswith(f"/{file}")), None)
        with self.lock:
            return lengths.pop(0) if lengths else None

    def find_account(self, token: str) -> Account | None:
        """Return the account of a token, `None` without token."""
        if token and token not in self.accounts:
            raise HubError(401, "Invalid credentials in Authorization header")
        return self.accounts.get(token)

    def require_account(self, token: str) -> Account:
        """Return the account of a token."""
        if (account := self.find_account(token)) is None:
            raise HubError(401, "Invalid username or password.")
        return account

    def find_readable(self, name: str, token: str, content: bool = True) -> Repository:
        """Return a repository that the account may see, and may read if `content`."""
        account, repository = self.find_account(token), self.repositories.get(name)
        member = account is not None and name.split("/")[0] in (account.name, *account.organizations)
        if repository is None or (repository.private and not member):  # the Hub does not say which
            raise HubError(404 if account else 401, "Repository not found", "RepoNotFound")
        if repository.gated and content and not member:
            message = f"Access to model {name} is restricted. Visit the page of {name} to ask for access."
            raise HubError(403 if account else 401, message, "GatedRepo")
        return repository

    def check_writable(self, namespace: str, token: str) -> Account:
        """Return the account of the token, which must have write access to the namespace."""
        account = self.require_account(token)
        if not account.may_write or namespace not in (account.name, *account.organizations):
            raise HubError(403, f'You don\'t have the rights to create or change a model under "{namespace}"')
        return account


class _Handler(BaseHTTPRequestHandler):
    """Handler of one connection."""

    hub: HubServer
    protocol_version = "HTTP/1.1"
    # Method, quoted path, and handler, which receives the unquoted groups.
    routes = [
        ("GET", r"/api/whoami-v2", "who_am_i"),
        ("POST", r"/api/repos/create", "create_repository"),
        ("POST", r"/api/validate-yaml", "validate_yaml"),
        ("GET", r"/api/models/([^/]+/[^/]+)/auth-check/write", "check_writing"),
        ("GET", r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", "list_tree"),
        ("GET", r"/api/models/([^/]+/[^/]+)/refs", "list_refs"),
        ("GET", r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", "describe"),
        ("POST", r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)", "choose_upload_modes"),
        ("POST", r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", "commit"),
        ("POST", r"/api/models/([^/]+/[^/]+)/branch/([^/]+)", "create_branch"),
        ("POST", r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", "plan_uploads"),
        ("POST", r"/([^/]+/[^/]+)\.git/info/lfs/verify", "verify_upload"),
        ("PUT", r"/storage/([0-9a-f]{64})", "store"),
        ("GET", r"/storage/([0-9a-f]{64})/(.+)", "serve_object"),
        ("GET", r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "serve_file"),
    ]

    def handle_any(self) -> None:
        """Send the response of the handler, or an error response."""
        self.path = self.path.partition("?")[0]
        self.token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        wanted = self.headers.get("Range", "")
        self.hub.requests.append(Request(self.command, self.path, self.headers["Host"], self.token, wanted))
        self.body = self._read_body()
        try:
            with self.hub.lock:
                answer = self._answer("GET" if self.command == "HEAD" else self.command)
        except HubError as error:
            answer = (error.status, json.dumps({"error": str(error)}).encode(), error.headers)
        self._send(*answer)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def _answer(self, method: str) -> tuple[int, bytes, dict[str, str]]:
        for wanted, pattern, name in self.routes:
            if method == wanted and (match := re.fullmatch(pattern, self.path)):
                answer = getattr(self, name)(*(unquote(group) if group else "" for group in match.groups()))
                return answer if isinstance(answer, tuple) else (200, json.dumps(answer).encode(), {})
        raise HubError(404, f"The test Hub has no {method} {self.path}")

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        length = self.hub.next_cut(self.path) if self.command == "GET" else None
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:length])
        self.close_connection = self.close_connection or length is not None

    def _serve(self, content: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        if (match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))) is None:
            return 200, content, headers
        if (start := int(match[1])) >= len(content):
            raise HubError(416, "Range Not Satisfiable")
        return 206, content[start:], headers | {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}

    def serve_file(self, name: str, revision: str, path: str) -> tuple[int, bytes, dict[str, str]]:
        repository = self.hub.find_readable(name, self.token)
        commit = repository.resolve(revision)
        if path not in repository.commits[commit]:
            raise HubError(404, "Entry not found", "EntryNotFound", commit)
        content, headers = repository.commits[commit][path], {"X-Repo-Commit": commit}
        if not path.endswith(LFS_SUFFIXES):
            return self._serve(content, headers | {"ETag": f'"{_git_oid(content)}"'})
        oid = hashlib.sha256(content).hexdigest()
        self.hub.objects[oid] = content
        linked = {"X-Linked-ETag": f'"{oid}"', "X-Linked-Size": str(len(content))}
        return 302, b"", headers | linked | {"Location": f"{self.hub.storage_url}/storage/{oid}/{name}/{path}"}

    def serve_object(self, oid: str, path: str) -> tuple[int, bytes, dict[str, str]]:
        if self.token:  # as the real storage, which uses signed links
            raise HubError(400, "Only one auth mechanism allowed")
        content = self.hub.objects[oid]
        if path in self.hub.changed:
            content = content[:-1] + bytes([content[-1] ^ 1])
        return self._serve(content, {"ETag": f'"{oid}"'})

    def who_am_i(self) -> dict[str, Any]:
        account = self.hub.require_account(self.token)
        role = {"displayName": "test", "role": "write" if account.may_write else "read"}
        organizations = [{"name": name} for name in account.organizations]
        return {"type": "user", "name": account.name, "orgs": organizations, "auth": {"accessToken": role}}

    def create_repository(self) -> tuple[int, bytes, dict[str, str]]:
        request, account = json.loads(self.body), self.hub.require_account(self.token)
        namespace = request.get("organization") or account.name
        self.hub.check_writable(namespace, self.token)
        name = f"{namespace}/{request['name']}"
        answer = json.dumps({"url": f"{self.hub.url}/{name}"}).encode()
        if name in self.hub.repositories:
            return 409, answer, {"X-Error-Message": "You already created this model repo"}
        private = request.get("visibility") == "private" or bool(request.get("private"))
        self.hub.add_repository(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=private)
        return 200, answer, {}

    def validate_yaml(self) -> Any:
        content = json.loads(self.body)["content"]
        if (match := re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)) is None:
            return {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]}
        try:
            yaml.safe_load(match[1])
        except yaml.YAMLError as error:
            errors = {"errors": [{"message": f"YAML: {error}"}], "warnings": []}
            return 400, json.dumps(errors).encode(), {"X-Error-Message": "Invalid metadata"}
        return {"errors": [], "warnings": []}

    def check_writing(self, name: str) -> dict[str, Any]:
        self._find_writable(name)
        return {}

    def describe(self, name: str, revision: str) -> dict[str, Any]:
        repository = self.hub.find_readable(name, self.token, content=False)
        commit = repository.resolve(revision or "main")
        siblings = [{"rfilename": path} for path in repository.commits[commit]]
        facts = {"private": repository.private, "gated": "manual" if repository.gated else False, "tags": []}
        return {"id": name, "modelId": name, "sha": commit, "siblings": siblings, "downloads": 0, "likes": 0, **facts}

    def list_tree(self, name: str, revision: str) -> list[dict[str, Any]]:
        """Return all files; clients pass `recursive`."""
        repository, entries = self.hub.find_readable(name, self.token), []
        for path, content in repository.commits[repository.resolve(revision)].items():
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": _git_oid(content)}
            if path.endswith(LFS_SUFFIXES):
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            entries.append(entry)
        return entries

    def list_refs(self, name: str) -> dict[str, Any]:
        repository = self.hub.find_readable(name, self.token)
        kinds = {"branches": ("heads", repository.branches), "tags": ("tags", repository.tags)}
        return {"converts": []} | {
            kind: [{"name": ref, "ref": f"refs/{folder}/{ref}", "targetCommit": commit} for ref, commit in refs.items()]
            for kind, (folder, refs) in kinds.items()
        }

    def _find_writable(self, name: str) -> Repository:
        repository = self.hub.find_readable(name, self.token)
        self.hub.check_writable(name.split("/")[0], self.token)
        return repository

    def choose_upload_modes(self, name: str, revision: str) -> dict[str, Any]:
        repository = self._find_writable(name)
        files, answers = repository.commits[repository.resolve(revision)], []
        for path in [file["path"] for file in json.loads(self.body)["files"]]:
            known, mode = files.get(path), "lfs" if path.endswith(LFS_SUFFIXES) else "regular"
            oid = None if known is None else hashlib.sha256(known).hexdigest() if mode == "lfs" else _git_oid(known)
            answers.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return {"files": answers}

    def plan_uploads(self, name: str) -> dict[str, Any]:
        self._find_writable(name)
        planned = []
        for wanted in json.loads(self.body)["objects"]:
            links = f"{self.hub.storage_url}/storage/{wanted['oid']}", f"{self.hub.url}/{name}.git/info/lfs/verify"
            actions = {kind: {"href": link} for kind, link in zip(("upload", "verify"), links, strict=True)}
            planned.append(wanted if wanted["oid"] in self.hub.objects else wanted | {"actions": actions})
        return {"transfer": "basic", "objects": planned}

    def store(self, oid: str) -> dict[str, Any]:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise HubError(400, "The content does not have the announced checksum")
        self.hub.objects[oid] = self.body
        return {}

    def verify_upload(self, name: str) -> dict[str, Any]:
        wanted = json.loads(self.body)
        if len(self.hub.objects.get(wanted["oid"], b"")) != wanted["size"]:
            raise HubError(422, "The object was not uploaded")
        return {}

    def commit(self, name: str, revision: str) -> dict[str, Any]:
        repository = self._find_writable(name)
        if revision not in repository.branches:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        if self.hub.refused_commits.get(name, 0) > 0:
            self.hub.refused_commits[name] -= 1
            raise HubError(503, "Service unavailable")
        files = dict(repository.commits[repository.branches[revision]])
        for item in map(json.loads, self.body.decode().splitlines()):
            key, value = item["key"], item["value"]
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    raise HubError(400, f"LFS pointer of {value['path']} points to a file that does not exist")
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif key == "deletedFile":
                files.pop(value["path"])
            elif key == "header":
                message = value["summary"]
            else:
                raise HubError(400, f"The test Hub cannot commit a {key}")
        commit = repository.commit(files, revision)
        repository.messages[commit] = message
        return {"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{name}/commit/{commit}"}

    def create_branch(self, name: str, branch: str) -> dict[str, Any]:
        repository = self._find_writable(name)
        if branch in repository.branches:
            raise HubError(409, "Reference already exists")
        repository.branches[branch] = repository.resolve(json.loads(self.body).get("startingPoint") or "main")
        return {}


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
