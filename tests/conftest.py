"""Fixtures: an environment of our own, one seam for HTTP, the shipped scripts as modules and as processes."""

import importlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import sandbox
from flask import Flask

ROOT = Path(__file__).resolve().parent.parent
KEY = "cak_test_0123456789"

# Before a shipped file is imported: the reader may have pasted the sandbox's address into this terminal.
os.environ.pop("CYNCO_BASE_URL", None)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The reader's own key, proxy and .netrc stay out of the tests."""
    for name in list(os.environ):
        if name.upper().startswith("CYNCO_") or name.upper().endswith("_PROXY") or name == "PORT":
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("CYNCO_API_KEY", KEY)


def load(name: str) -> ModuleType:
    """Import a shipped file; 01_list_invoices is no name for an import statement."""
    return importlib.import_module(name)


class Request:
    """What a script sent, in the terms of a test."""

    def __init__(self, prepared: requests.PreparedRequest, timeout: object) -> None:
        self.method, self.headers, self.timeout = prepared.method, prepared.headers, timeout
        self.url = str(prepared.url).partition("?")[0]
        self.query = dict(parse_qsl(urlsplit(str(prepared.url)).query, keep_blank_values=True))
        body = prepared.body or b""
        self.body = body if isinstance(body, bytes) else body.encode()

    def json(self) -> Any:
        return json.loads(self.body)


def answer(body: Any = None, status: int = 200, headers: dict[str, str] | None = None) -> requests.Response:
    """A real Response: `body` is bytes as they are, text, or an object to send as JSON."""
    response = requests.Response()
    response.status_code, response.reason = status, "Reason"
    response.headers["Content-Type"] = "text/html" if isinstance(body, str) else "application/json"
    response.headers.update(headers or {})
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    response.raw = io.BytesIO(raw)
    response.url = "https://app.cynco.io/api/v1/"
    return response


def envelope(data: Any, **more: Any) -> dict[str, Any]:
    return {"success": True, "data": data, **more, "meta": {"requestId": "req_1", "apiVersion": "v1"}}


def failure(status: int, code: str = "SOME_CODE", message: str = "Some message", **more: Any) -> requests.Response:
    headers = more.pop("headers", None)
    body = {"success": False, "error": {"code": code, "message": message, **more}, "meta": {"requestId": "req_9"}}
    return answer(body, status, headers)


class API:
    """Stands in for the network: give it answers, exceptions, or a function of the request."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.sleeps: list[float] = []
        self.answers: Iterator[Any] = iter(())

    def answers_with(self, *answers: Any) -> None:
        self.answers = iter(answers)

    def answers_by(self, function: Callable[[Request], Any]) -> None:
        self.answers = iter(lambda: function, None)

    def send(self, _session: requests.Session, prepared: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        request = Request(prepared, kwargs.get("timeout"))
        self.requests.append(request)
        reply = next(self.answers, None)
        if reply is None:
            raise AssertionError(f"unexpected request number {len(self.requests)}: {request.method} {request.url}")
        if callable(reply) and not isinstance(reply, type):
            reply = reply(request)
        if isinstance(reply, (BaseException, type)):
            raise reply
        response = reply if isinstance(reply, requests.Response) else answer(reply)
        response.request = prepared
        return response


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> API:
    """The one seam: every requests call passes Session.send. Sleeps are noted, not slept."""
    api = API()
    monkeypatch.setattr(requests.Session, "send", lambda session, prepared, **kw: api.send(session, prepared, **kw))
    monkeypatch.setattr(time, "sleep", api.sleeps.append)
    return api


def run(
    *command: str, server: sandbox.SandboxServer | None = None, cwd: Path = ROOT, timeout: float = 60, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a shipped file as a reader does, against `server` if given; a value of "" unsets a variable."""
    own = {"PYTHONIOENCODING": "utf-8"}  # on Windows, a pipe is cp1252 otherwise
    if server:
        own |= {"CYNCO_BASE_URL": server.url, "CYNCO_API_KEY": sandbox.API_KEY}
    env = {name: value for name, value in {**os.environ, **own, **environ}.items() if value}
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=env,
        timeout=timeout,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


class StallingServer(sandbox.SandboxServer):
    """Does what its request number `stalls_at` asks for, but keeps the answer back until the end of the test."""

    def __init__(self, app: Flask, stalls_at: int) -> None:
        self.stalls_at, self.stalled, self.end = stalls_at, threading.Event(), threading.Event()
        super().__init__(app)

    def stall(self) -> float:
        if len(self.seen) == self.stalls_at:
            self.stalled.set()
            self.end.wait(30)
        return 0

    delay = property(stall, lambda self, value: None)

    def __exit__(self, *error: object) -> None:
        self.end.set()
        super().__exit__(*error)


@pytest.fixture(params=["guide", "openapi"])
def shape(request: pytest.FixtureRequest) -> str:
    """Both published shapes of the API, one after the other."""
    return str(request.param)


@pytest.fixture
def serve() -> Iterator[Callable[..., sandbox.SandboxServer]]:
    """Start sandboxes in this process: serve(invoices=..., shape=..., faults=[...], delay=...)."""
    servers: list[sandbox.SandboxServer] = []

    def start(faults: list[str] | None = None, delay: float = 0, **options: Any) -> sandbox.SandboxServer:
        server = sandbox.SandboxServer(sandbox.create_app(**options), faults=faults or [], delay=delay).__enter__()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.__exit__()
