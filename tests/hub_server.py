"""A Hub in memory, in this process: what huggingface_hub, transformers, datasets and evaluate ask of one; faults on demand.

Example:
    >>> with Hub() as hub:
    ...     hub.fail("PUT", "/_lfs/", status=500, times=2)  # the next two uploads of large files
    ...     subprocess.run([sys.executable, "script.py"], env=hub.environment(tmp_path))
    ...     hub.files("tester/net")  # path -> bytes at the head
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "hf_secretOfTheTests0123456789abcdefgh"
USER = "tester"
KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
LARGE = (".safetensors", ".bin", ".pt", ".pth", ".parquet", ".png")  # stored apart from git, by sha256
_API = r"/api/(?P<kind>models|datasets|spaces)/(?P<name>[^/]+/[^/]+)"
_PLAIN = r"/(?:(?P<kind>datasets|spaces)/)?(?P<name>[^/]+/[^/]+)"


@dataclass(frozen=True)
class Commit:
    oid: str
    message: str
    files: dict[str, bytes]


@dataclass
class Repo:
    kind: str
    name: str
    private: bool = False
    commits: list[Commit] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)  # further branches and tags: name -> oid

    def __post_init__(self) -> None:
        self.commit("initial commit", {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})

    def commit(self, message: str, files: dict[str, bytes], removed: tuple[str, ...] = ()) -> Commit:
        before = self.commits[-1].files if self.commits else {}
        whole = {path: body for path, body in before.items() if path not in removed} | files
        text = json.dumps([self.name, len(self.commits), {path: git_oid(body) for path, body in sorted(whole.items())}])
        self.commits.append(Commit(hashlib.sha1(text.encode()).hexdigest(), message, whole))
        return self.commits[-1]

    def at(self, revision: str) -> Commit | None:
        oid = self.commits[-1].oid if revision in ("main", "refs/heads/main") else self.refs.get(revision, revision)
        return next((commit for commit in reversed(self.commits) if commit.oid == oid), None)


@dataclass
class Fault:
    """What goes wrong with the requests that it fits: a status, or the manner in which the connection fails."""

    method: str
    path: re.Pattern[str]
    times: int
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    hang: float | None = None  # seconds without an answer
    drop: bool = False  # the connection ends without an answer
    cut: bool = False  # half of the body, then the connection ends
    corrupt: bool = False  # the first byte of the body is another

    def fits(self, method: str, path: str) -> bool:
        return self.times > 0 and self.method in (method, "*") and self.path.search(path) is not None


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str | None:
        return self.headers.get("authorization", "").removeprefix("Bearer ") or None


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)


class Hub:
    """The server; ``with Hub() as hub`` starts it on a free port. Only requests with TOKEN may write."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, method: str, path: str, times: int = 1_000_000, **how: object) -> Fault:
        """Let the next requests of a method ("*": any), whose path a pattern finds, fail; see Fault for the ways."""
        fault = Fault(method, re.compile(path), times, **how)
        self.faults.append(fault)
        return fault

    def heal(self) -> None:
        self.faults.clear()

    def repo(self, name: str, kind: str = "model") -> Repo:
        return self.repos[kind, name]

    def files(self, name: str, kind: str = "model") -> dict[str, bytes]:
        return self.repo(name, kind).commits[-1].files

    def put(self, name: str, files: dict[str, bytes], kind: str = "model") -> Repo:
        """Add files to a repo as one commit, without a request; the repo is made if it does not exist."""
        repo = self.repos.setdefault((kind, name), Repo(kind, name))
        repo.commit("put", files)
        return repo

    def put_folder(self, name: str, folder: str | Path, kind: str = "model") -> Repo:
        paths = [path for path in Path(folder).rglob("*") if path.is_file()]
        return self.put(name, {str(path.relative_to(folder)): path.read_bytes() for path in paths}, kind)

    def seen(self, method: str, path: str) -> list[Request]:
        return [request for request in self.requests if request.method == method and re.search(path, request.path)]

    def settings(self, home: str | Path) -> dict[str, str]:
        """The variables that make the libraries use this server, and a cache of their own, from their import on."""
        return {
            "HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "*",
        }  # fmt: skip

    def environment(self, home: str | Path, **more: str) -> dict[str, str]:
        """The whole environment of a subprocess."""
        kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        return kept | self.settings(home) | more

    def answer(self, request: Request) -> Answer:
        with self._lock:
            for method, pattern, route in ROUTES:
                found = re.fullmatch(pattern, request.path) if request.method in method else None
                if found:
                    return route(self, request, **found.groupdict())
        return error(404, "EntryNotFound", f"no route for {request.method} {request.path}")

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self._lock:
            fault = next((fault for fault in self.faults if fault.fits(method, path)), None)
            if fault is not None:
                fault.times -= 1
            return fault


@contextmanager
def in_this_process(hub: Hub, home: Path, monkeypatch) -> Iterator[Hub]:
    """Let huggingface_hub, which is imported already, use the server; transformers and evaluate need a process of their own."""
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    changed = {
        "ENDPOINT": hub.url, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True, "HF_HUB_CACHE": str(home / "hub"),
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
    }  # fmt: skip
    for name, value in changed.items():
        if hasattr(constants, name):
            monkeypatch.setattr(constants, name, value)
    for name, value in (hub.settings(home) | {"no_proxy": "*"}).items():
        monkeypatch.setenv(name, value)
    close_session()
    yield hub
    close_session()


def git_oid(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def as_json(value: object, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"} | headers)


def error(status: int, code: str, message: str, **headers: str) -> Answer:
    return as_json({"error": message}, status, **{"X-Error-Code": code, "X-Error-Message": message}, **headers)


def _refusal(request: Request) -> Answer | None:
    if request.token == TOKEN:
        return None
    return error(403 if request.token else 401, "", "You need write access to this repository")


def _who(hub: Hub, request: Request) -> Answer:
    token = {"displayName": "x", "role": "write", "createdAt": "2026-01-01T00:00:00.000Z"}
    auth = {"type": "access_token", "accessToken": token}
    return as_json({"type": "user", "id": "1", "name": USER, "fullname": USER, "orgs": [], "auth": auth})


def _create(hub: Hub, request: Request) -> Answer:
    if refusal := _refusal(request):
        return refusal
    asked = json.loads(request.body)
    kind, name = asked.get("type") or "model", asked["name"]
    name = name if "/" in name else f"{asked.get('organization') or USER}/{name}"
    url = f"{hub.url}/{'' if kind == 'model' else kind + 's/'}{name}"
    if (kind, name) in hub.repos:
        return as_json({"error": "You already created this repo", "url": url}, 409, **{"X-Error-Code": "RepoExists"})
    private = asked.get("private") or asked.get("visibility") == "private"
    hub.repos[kind, name] = Repo(kind, name, private)
    return as_json({"url": url, "name": name, "id": name})


def _valid_yaml(hub: Hub, request: Request) -> Answer:
    return as_json({"errors": [], "warnings": []})


def _large_batch(hub: Hub, request: Request, kind: str | None, name: str) -> Answer:
    if refusal := _refusal(request):
        return refusal
    objects = []
    for wanted in json.loads(request.body)["objects"]:
        entry = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in hub.large:
            upload = {"href": f"{hub.url}/_lfs/{wanted['oid']}", "header": {}}
            entry["actions"] = {"upload": upload, "verify": {"href": f"{hub.url}/_verify", "header": {}}}
        objects.append(entry)
    return as_json({"transfer": "basic", "objects": objects}, **{"Content-Type": "application/vnd.git-lfs+json"})


def _large_put(hub: Hub, request: Request, oid: str) -> Answer:
    if sha256(request.body) != oid:
        return error(400, "", "the content has another sha256")
    hub.large[oid] = request.body
    return Answer(200)


def _verify(hub: Hub, request: Request) -> Answer:
    return Answer(200 if json.loads(request.body)["oid"] in hub.large else 404)


def _no_repo() -> Answer:
    return error(404, "RepoNotFound", "Repository not found")


def _no_revision() -> Answer:
    return error(404, "RevisionNotFound", "Revision not found")


def _preupload(hub: Hub, request: Request, kind: str, name: str, revision: str) -> Answer:
    if refusal := _refusal(request):
        return refusal
    repo = hub.repos.get((KINDS[kind], name))
    if repo is None:
        return _no_repo()
    commit = repo.at(revision)
    if commit is None:
        return _no_revision()
    entries = []
    for file in json.loads(request.body)["files"]:
        large, there = file["path"].endswith(LARGE), commit.files.get(file["path"])
        oid = None if there is None else (sha256 if large else git_oid)(there)
        mode = "lfs" if large else "regular"
        entries.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return as_json({"files": entries})


def _commit(hub: Hub, request: Request, kind: str, name: str, revision: str) -> Answer:
    if refusal := _refusal(request):
        return refusal
    repo = hub.repos.get((KINDS[kind], name))
    if repo is None:
        return _no_repo()
    if revision != "main":
        return _no_revision()
    message, files, removed = "", {}, []
    for line in request.body.splitlines():
        entry = json.loads(line)
        value = entry["value"]
        if entry["key"] == "header":
            message = value["summary"]
            if value.get("parentCommit") not in (None, repo.commits[-1].oid):
                return error(412, "", "A commit has happened since")
        elif entry["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif entry["key"] == "lfsFile":
            if value["oid"] not in hub.large:
                return error(400, "", f"the content of {value['path']} was never uploaded")
            files[value["path"]] = hub.large[value["oid"]]
        elif entry["key"] == "deletedFile":
            removed.append(value["path"])
    made = repo.commit(message, files, tuple(removed))
    url = f"{hub.url}/{name}/commit/{made.oid}"
    return as_json({"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""})


def _entry(path: str, body: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "oid": git_oid(body), "size": len(body), "path": path}
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": sha256(body), "size": len(body), "pointerSize": 134}
    return entry


def _tree(hub: Hub, request: Request, kind: str, name: str, revision: str, folder: str | None = None) -> Answer:
    repo = hub.repos.get((KINDS[kind], name))
    commit = repo and repo.at(revision)
    if not commit:
        return _no_revision() if repo else _no_repo()
    start = f"{folder.strip('/')}/" if folder and folder.strip("/") else ""
    inside = {path: body for path, body in commit.files.items() if path.startswith(start)}
    if start and not inside:
        return error(404, "EntryNotFound", "Entry not found")
    all_levels = request.query.get("recursive", ["false"])[0].lower() in ("true", "1")
    folders, files = set(), []
    for path, body in inside.items():
        above = path.removeprefix(start).split("/")[:-1]
        folders |= {
            start + "/".join(above[: depth + 1]) for depth in range(len(above) if all_levels else min(1, len(above)))
        }
        if all_levels or not above:
            files.append(_entry(path, body))
    known = [
        {"type": "directory", "oid": hashlib.sha1(p.encode()).hexdigest(), "size": 0, "path": p}
        for p in sorted(folders)
    ]
    return as_json(known + files)


def _paths(hub: Hub, request: Request, kind: str, name: str, revision: str) -> Answer:
    repo = hub.repos.get((KINDS[kind], name))
    commit = repo and repo.at(revision)
    if not commit:
        return _no_revision() if repo else _no_repo()
    plain = request.body.startswith(b"{")
    asked = json.loads(request.body)["paths"] if plain else parse_qs(request.body.decode()).get("paths", [])
    return as_json([_entry(path, commit.files[path]) for path in asked if path in commit.files])


def _refs(hub: Hub, request: Request, kind: str, name: str) -> Answer:
    repo = hub.repos.get((KINDS[kind], name))
    if repo is None:
        return _no_repo()
    head = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.commits[-1].oid}
    others = [{"name": ref, "ref": f"refs/tags/{ref}", "targetCommit": oid} for ref, oid in repo.refs.items()]
    return as_json({"branches": [head], "tags": others, "converts": []})


def _info(hub: Hub, request: Request, kind: str, name: str, revision: str | None = None) -> Answer:
    repo = hub.repos.get((KINDS[kind], name))
    commit = repo and repo.at(revision or "main")
    if not commit:
        return _no_revision() if repo else _no_repo()
    day = "2026-01-01T00:00:00.000Z"
    found = {
        "_id": "x", "id": name, "modelId": name, "author": name.split("/")[0], "sha": commit.oid, "private": repo.private,
        "gated": False, "disabled": False, "tags": [], "downloads": 0, "likes": 0, "lastModified": day, "createdAt": day,
        "siblings": [{"rfilename": path} for path in commit.files],
    }  # fmt: skip
    return as_json(found)


def _resolve(hub: Hub, request: Request, kind: str | None, name: str, revision: str, path: str) -> Answer:
    repo = hub.repos.get((KINDS[kind or "models"], name))
    commit = repo and repo.at(revision)
    if not commit:
        return _no_revision() if repo else _no_repo()
    body = commit.files.get(path)
    if body is None:
        return error(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": commit.oid})
    large = path.endswith(LARGE)
    tag = f'"{sha256(body) if large else git_oid(body)}"'
    headers = {
        "X-Repo-Commit": commit.oid,
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
    }
    if large:
        headers |= {"X-Linked-Size": str(len(body)), "X-Linked-Etag": tag}
    wanted = re.match(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if wanted is None:
        return Answer(200, body, headers)
    first, last = int(wanted[1]), int(wanted[2] or len(body) - 1)
    headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
    return Answer(206, body[first : last + 1], headers)


Route = Callable[..., Answer]
ROUTES: tuple[tuple[tuple[str, ...], str, Route], ...] = (
    (("GET",), r"/api/whoami-v2", _who),
    (("POST",), r"/api/validate-yaml", _valid_yaml),
    (("POST",), r"/api/repos/create", _create),
    (("POST",), _PLAIN + r"\.git/info/lfs/objects/batch", _large_batch),
    (("PUT",), r"/_lfs/(?P<oid>[0-9a-f]{64})", _large_put),
    (("POST",), r"/_verify", _verify),
    (("POST",), _API + r"/preupload/(?P<revision>.+)", _preupload),
    (("POST",), _API + r"/commit/(?P<revision>.+)", _commit),
    (("GET",), _API + r"/tree/(?P<revision>[^/]+)(?:/(?P<folder>.*))?", _tree),
    (("POST",), _API + r"/paths-info/(?P<revision>.+)", _paths),
    (("GET",), _API + r"/refs", _refs),
    (("GET",), _API + r"(?:/revision/(?P<revision>.+))?", _info),
    (("GET", "HEAD"), _PLAIN + r"/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _resolve),
)


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def _handle(self) -> None:
            try:
                self._respond()
            except (BrokenPipeError, ConnectionResetError):  # the client has gone, which is what some tests do
                self.close_connection = True

        def _respond(self) -> None:
            parts = urlsplit(self.path)
            path, headers = unquote(parts.path), {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, path, parse_qs(parts.query), headers, self._body())
            hub.requests.append(request)
            fault = hub.fault_for(request.method, path)
            if fault is not None and fault.hang is not None:
                time.sleep(fault.hang)
            if fault is not None and (fault.drop or fault.hang is not None):
                self.close_connection = True
            elif fault is not None and fault.status is not None:
                self._send(error(fault.status, "", f"made to fail with {fault.status}", **fault.headers))
            else:
                self._send(hub.answer(request), fault)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _send(self, answer: Answer, fault: Fault | None = None) -> None:
            self.send_response(answer.status)
            for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            body = answer.body
            if fault is not None and fault.corrupt:
                body = bytes([body[0] ^ 1]) + body[1:]
            if fault is not None and fault.cut:
                body, self.close_connection = body[: len(body) // 2], True
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _handle

    return Handler
