"""Fixtures: an environment of our own, one seam for HTTP, and the shipped scripts as processes."""

import importlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import sandbox
import sandbox_api

ROOT = Path(__file__).resolve().parent.parent
KEY = "cak_test_0123456789"

# Before a shipped file is imported: the reader may have pasted the sandbox's address here.
os.environ.pop("CYNCO_BASE_URL", None)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the reader's own key, proxy, .netrc and terminal width out of the tests."""
    for name in list(os.environ):
        if name.upper().startswith("CYNCO_") or name.upper().endswith("_PROXY") or name == "PORT":
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("CYNCO_API_KEY", KEY)


def load(name: str) -> Any:
    """Import a shipped file; 01_list_invoices is no name for an import statement."""
    return importlib.import_module(name)


class Request:
    """What a script sent, in the terms of a test."""

    def __init__(self, prepared: requests.PreparedRequest, options: dict[str, Any]) -> None:
        self.method, self.headers, self.options = prepared.method, prepared.headers, options
        self.url = str(prepared.url).partition("?")[0]
        self.query = dict(parse_qsl(urlsplit(str(prepared.url)).query, keep_blank_values=True))
        body = prepared.body or b""
        self.body = body if isinstance(body, bytes) else body.encode()

    def json(self) -> Any:
        return json.loads(self.body)


def reply(body: Any = None, status: int = 200, headers: Any = None) -> requests.Response:
    """A real Response: `body` is bytes as they are, text, or an object to send as JSON."""
    response = requests.Response()
    response.status_code, response.reason = status, "Reason"
    response.headers.update(headers or {})
    if isinstance(body, str):
        body = body.encode()
    response.raw = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    response.url = "https://app.cynco.io/api/v1/"
    return response


def envelope(data: Any, **more: Any) -> dict[str, Any]:
    return {"success": True, "data": data, **more, "meta": {"requestId": "req_1"}}


def failure(
    status: int, code: str = "CODE", message: str = "Message", headers: Any = None, **more: Any
) -> requests.Response:
    error, meta = {"code": code, "message": message, **more}, {"requestId": "req_9"}
    return reply({"success": False, "error": error, "meta": meta}, status, headers)


class API:
    """Stands in for the network: give it bodies, responses, exceptions, or a function."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.sleeps: list[float] = []
        self.replies: Iterator[Any] = iter(())

    def replies_with(self, *replies: Any) -> None:
        self.replies = iter(replies)

    def replies_by(self, function: Callable[[Request], Any]) -> None:
        self.replies = iter(lambda: function, None)

    def send(self, prepared: requests.PreparedRequest, options: dict[str, Any]) -> Any:
        request = Request(prepared, options)
        self.requests.append(request)
        body = next(self.replies, None)
        if body is None:
            raise AssertionError(f"unexpected request: {request.method} {request.url}")
        if callable(body) and not isinstance(body, type):
            body = body(request)
        if isinstance(body, (BaseException, type)):
            raise body
        response = body if isinstance(body, requests.Response) else reply(body)
        response.request = prepared
        return response


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> API:
    """The one seam: every call of requests passes Session.send. Sleeps are noted, not slept."""
    api = API()
    monkeypatch.setattr(requests.Session, "send", lambda _, prepared, **kw: api.send(prepared, kw))
    monkeypatch.setattr(time, "sleep", api.sleeps.append)
    return api


def run(
    *command: str, server: Any = None, cwd: Path = ROOT, timeout: float = 30, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run python with `command`, against `server` if given; a value of "" unsets a variable."""
    own = {"PYTHONIOENCODING": "utf-8"}  # on Windows, a pipe is cp1252 otherwise
    if server:
        own |= {"CYNCO_BASE_URL": server.url, "CYNCO_API_KEY": sandbox_api.API_KEY}
    env = {name: value for name, value in {**os.environ, **own, **environ}.items() if value}
    text: Any = {"capture_output": True, "encoding": "utf-8", "check": False}
    return subprocess.run([sys.executable, *command], cwd=cwd, env=env, timeout=timeout, **text)


@pytest.fixture(params=["guide", "openapi", "sdk"])
def shape(request: pytest.FixtureRequest) -> str:
    """Every published shape of the API, one after the other."""
    return str(request.param)


@pytest.fixture
def serve() -> Iterator[Callable[..., sandbox.SandboxServer]]:
    """Start sandboxes in this process: serve(invoices=..., shape=..., faults=[...], delay=...)."""
    servers: list[sandbox.SandboxServer] = []

    def start(faults: list[str] | None = None, delay: float = 0, **options: Any) -> Any:
        app = sandbox_api.create_app(**options)
        servers.append(sandbox.SandboxServer(app, faults=faults or [], delay=delay).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__()
