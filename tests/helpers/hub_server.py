"""A small Hugging Face Hub for tests: real HTTP, repositories in memory, LFS, commits, private repositories, tokens."""

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

REPO = r"(?P<repo_id>[\w.-]+/[\w.-]+)"
LFS_SUFFIXES = (".safetensors", ".png", ".bin")


@dataclass
class Repository:
    """One repository: its files by path, at every commit by sha, the newest last."""

    private: bool
    gated: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], message: str) -> str:
        sha = hashlib.sha1(f"{len(self.commits)}{sorted(files)}{message}".encode()).hexdigest()
        self.commits[sha] = files
        self.messages.append(message)
        return sha

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[self.head]


class Hub(ThreadingHTTPServer):
    """A Hub on a free local port, in a thread; `with Hub({token: user}) as hub` starts and stops it.

    `repositories` is keyed by ("models" | "datasets", "user/name"). `puts_before_death` = n lets n LFS uploads in and
    then drops every connection until it is None again. `status` answers every request with that code, and
    `commit_statuses` the next commits with theirs; `retry_after` is what a refusal says to wait, in seconds.
    `lfs_suffixes`: files that are uploaded before the commit; all others travel inside it.
    """

    daemon_threads = True

    def __init__(self, tokens: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tokens = tokens
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.lfs: dict[str, bytes] = {}
        self.puts_before_death: int | None = None
        self.status: int | None = None
        self.commit_statuses: list[int] = []
        self.retry_after = 0
        self.lfs_suffixes: tuple[str, ...] = LFS_SUFFIXES

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.path_only = unquote(urlsplit(self.path).path)
        if self.server.puts_before_death is not None:
            if self.server.puts_before_death <= 0:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.server.puts_before_death -= self.command == "PUT"
        try:
            if self.server.status:
                raise Refusal(self.server.status, "the test asked for it")
            for method, pattern, answer in ROUTES:
                if self.command in method and (match := re.fullmatch(pattern, self.path_only)):
                    answer(self, **match.groupdict())
                    return
            raise Refusal(404, f"no route for {self.command} {self.path_only}", "EntryNotFound")
        except Refusal as refusal:
            headers = {"X-Error-Message": refusal.message, "Retry-After": str(self.server.retry_after)}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            body = json.dumps({"error": refusal.message, "errors": [{"message": refusal.message}]}).encode()
            self.send(body, refusal.status, headers)

    do_GET = do_HEAD = do_POST = do_PUT = handle_any

    def send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, value: Any, status: int = 200) -> None:
        self.send(json.dumps(value).encode(), status, {"Content-Type": "application/json"})

    def user(self, required: bool = True) -> str | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in self.server.tokens:
            raise Refusal(401, "Invalid credentials in Authorization header")
        if required and not token:
            raise Refusal(401, "Invalid username or password.")
        return self.server.tokens.get(token)

    def repository(self, kind: str | None, repo_id: str, write: bool = False) -> Repository:
        user, owner = self.user(required=write), repo_id.split("/")[0]
        repository = self.server.repositories.get((kind or "models", repo_id))
        if repository is None or (repository.private and user != owner):
            raise Refusal(404 if user else 401, "Repository not found", "RepoNotFound")
        if write and user != owner:
            raise Refusal(403, "You don't have the rights to write here")
        return repository

    def files_at(self, kind: str | None, repo_id: str, revision: str) -> tuple[str, dict[str, bytes]]:
        repository = self.repository(kind, repo_id)
        sha = repository.head if revision == "main" else repository.tags.get(revision, revision)
        if sha not in repository.commits:
            raise Refusal(404, "Invalid rev id", "RevisionNotFound")
        return sha, repository.commits[sha]

    def whoami(self) -> None:
        self.send_json({"type": "user", "name": self.user(), "orgs": [], "auth": {"type": "access_token"}})

    def create(self) -> None:
        asked = json.loads(self.body)
        user = self.user()
        owner = asked.get("organization") or user
        repo_id, kind = f"{owner}/{asked['name']}", f"{asked.get('type') or 'model'}s"
        prefix = "" if kind == "models" else f"{kind}/"
        if owner != user:
            raise Refusal(403, f"You don't have the rights to create a model under the namespace {owner}")
        known = (kind, repo_id) in self.server.repositories
        if not known:
            repository = Repository(private=asked.get("visibility") == "private" or asked.get("private") is True)
            repository.commit({".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
            self.server.repositories[kind, repo_id] = repository
        self.send_json({"url": f"{self.server.url}/{prefix}{repo_id}", "name": repo_id}, 409 if known else 200)

    def validate_yaml(self) -> None:
        match = re.match(r"---\n(.*?\n)---\n", json.loads(self.body)["content"], re.DOTALL)
        try:
            metadata = yaml.safe_load(match[1]) if match else {}
        except yaml.YAMLError as error:
            raise Refusal(400, f"not YAML: {error}") from error
        tags = metadata.get("tags", [])
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise Refusal(400, '"tags" must be a list of strings')
        if not isinstance(metadata.get("license", ""), str):
            raise Refusal(400, '"license" must be a string')
        self.send_json({"errors": [], "warnings": [] if metadata else [{"message": "empty or missing metadata"}]})

    def preupload(self, kind: str, repo_id: str) -> None:
        self.repository(kind, repo_id, write=True)
        paths = [file["path"] for file in json.loads(self.body)["files"]]
        modes = {path: "lfs" if path.endswith(self.server.lfs_suffixes) else "regular" for path in paths}
        self.send_json({"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes.items()]})

    def lfs_batch(self, kind: str | None, repo_id: str) -> None:
        self.repository(kind, repo_id, write=True)
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            oid = wanted["oid"]
            if oid not in self.server.lfs:
                wanted["actions"] = {
                    "upload": {"href": f"{self.server.url}/lfs/{oid}"},
                    "verify": {"href": f"{self.server.url}/{repo_id}.git/info/lfs/objects/verify"},
                }
            objects.append(wanted)
        self.send_json({"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refusal(400, "content does not match its id")
        self.server.lfs[oid] = self.body
        self.send(b"")

    def lfs_verify(self, repo_id: str) -> None:
        self.user()
        asked = json.loads(self.body)
        if len(self.server.lfs.get(asked["oid"], b"")) != asked["size"]:
            raise Refusal(404, "the object did not arrive whole")
        self.send_json({})

    def commit(self, kind: str, repo_id: str) -> None:
        repository = self.repository(kind, repo_id, write=True)
        status = self.server.commit_statuses.pop(0) if self.server.commit_statuses else 200
        if status != 200:
            raise Refusal(status, "the test asked for it")
        files, message = dict(repository.files), ""
        for line in self.body.splitlines():
            entry = json.loads(line)
            key, value = entry["key"], entry["value"]
            if key == "header":
                message = value["summary"]
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.server.lfs[value["oid"]]
        sha = repository.commit(files, message)
        self.send_json({"commitUrl": f"{self.server.url}/{repo_id}/commit/{sha}", "commitOid": sha, "success": True})

    def tag(self, kind: str, repo_id: str) -> None:
        repository, name = self.repository(kind, repo_id, write=True), json.loads(self.body)["tag"]
        if name in repository.tags:
            raise Refusal(409, f"tag {name} exists already")
        repository.tags[name] = repository.head
        self.send_json({})

    def info(self, kind: str, repo_id: str, revision: str | None = None) -> None:
        sha, files = self.files_at(kind, repo_id, revision or "main")
        private = self.server.repositories[kind, repo_id].private
        siblings = [{"rfilename": path} for path in files]
        self.send_json({"id": repo_id, "sha": sha, "private": private, "tags": [], "siblings": siblings})

    def tree(self, kind: str, repo_id: str, revision: str, under: str | None = None) -> None:
        _, files = self.files_at(kind, repo_id, revision)
        prefix = f"{under}/" if under else ""
        recursive = "recursive=true" in self.path.lower()
        entries: dict[str, dict[str, Any]] = {}
        for path in (path for path in files if path.startswith(prefix)):
            parts = path.removeprefix(prefix).split("/")
            for depth in range(1, len(parts) if recursive else min(2, len(parts))):
                folder = prefix + "/".join(parts[:depth])
                entries[folder] = {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
            if recursive or len(parts) == 1:
                entries[path] = describe(path, files[path])
        if under and not entries:
            raise Refusal(404, f"{under} does not exist", "EntryNotFound")
        self.send_json(list(entries.values()))

    def paths_info(self, kind: str, repo_id: str, revision: str) -> None:
        _, files = self.files_at(kind, repo_id, revision)
        asked = json.loads(self.body)["paths"]
        answer = [describe(path, files[path]) for path in asked if path in files]
        for path in asked:
            if any(known.startswith(f"{path}/") for known in files):
                answer.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
        self.send_json(answer)

    def resolve(self, kind: str | None, repo_id: str, revision: str, path: str) -> None:
        sha, files = self.files_at(kind, repo_id, revision)
        if self.repository(kind, repo_id).gated:
            raise Refusal(403, "Access is restricted; ask for it", "GatedRepo")
        if path not in files:
            raise Refusal(404, f"{path} does not exist", "EntryNotFound")
        etag = f'"{hashlib.sha256(files[path]).hexdigest()}"'
        self.send(files[path], headers={"ETag": etag, "X-Repo-Commit": sha})


def describe(path: str, content: bytes) -> dict[str, Any]:
    oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": oid}
    if path.endswith(LFS_SUFFIXES):
        sha = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 130}
    return entry


API = rf"/api/(?P<kind>models|datasets)/{REPO}"
PLAIN = rf"/(?:(?P<kind>datasets)/)?{REPO}"
REVISION = r"(?P<revision>[^/]+)"
ROUTES: list[tuple[tuple[str, ...], str, Callable[..., None]]] = [
    (("GET",), r"/api/whoami-v2", Handler.whoami),
    (("POST",), r"/api/repos/create", Handler.create),
    (("POST",), r"/api/validate-yaml", Handler.validate_yaml),
    (("POST",), rf"{API}/preupload/main", Handler.preupload),
    (("POST",), rf"{API}/commit/main", Handler.commit),
    (("POST",), rf"{API}/tag/main", Handler.tag),
    (("POST",), rf"{API}/paths-info/{REVISION}", Handler.paths_info),
    (("GET",), rf"{API}/tree/{REVISION}(?:/(?P<under>.+))?", Handler.tree),
    (("GET",), rf"{API}(?:/revision/{REVISION})?", Handler.info),
    (("POST",), rf"{PLAIN}\.git/info/lfs/objects/batch", Handler.lfs_batch),
    (("POST",), rf"/{REPO}\.git/info/lfs/objects/verify", Handler.lfs_verify),
    (("PUT",), r"/lfs/(?P<oid>[0-9a-f]{64})", Handler.lfs_put),
    (("GET", "HEAD"), rf"{PLAIN}/resolve/{REVISION}/(?P<path>.+)", Handler.resolve),
]
