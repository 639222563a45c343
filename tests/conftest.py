"""What the tests share: a network that replies as told, and scripts as processes."""

import importlib
import io
import json
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import sandbox_api
from sandbox_server import SandboxServer

ROOT = Path(__file__).resolve().parent.parent
KEY = "cak_test_0123456789"

# Before a script is imported: the developer may work with the sandbox's address.
os.environ.pop("CYNCO_BASE_URL", None)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Keep the developer's own key, proxy and .netrc out of the tests."""
    for name in list(os.environ):
        if name.startswith("CYNCO_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", os.devnull)
    monkeypatch.setenv("CYNCO_API_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "100")  # of argparse's messages


def load(name):
    """Import a script: 01_list_invoices is no name for an import statement."""
    return importlib.import_module(name)


def blocks(page, language, title=""):
    """Return the blocks of a Markdown page in this language, below `title` if given."""
    if title:
        _, _, rest = page.partition(f"# {title}\n")
        page = re.split(r"^##+ ", rest, maxsplit=1, flags=re.M)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.M | re.S)


# Responses


def reply(body, status=200, headers=()):
    """Return a real response; `body` is bytes, or an object to send as JSON."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    response = requests.Response()
    response.status_code = status
    response.raw = io.BytesIO(body)
    response.headers.update(headers)
    return response


def success(data, pagination=None, status=200):
    """Return a response with the envelope of a success."""
    envelope = {"success": True, "data": data, "meta": {"requestId": "req_1"}}
    if pagination is not None:
        envelope["pagination"] = pagination
    return reply(envelope, status)


def failure(status, code="CODE", message="Message", details=(), headers=()):
    """Return a response with the envelope of a failure."""
    error = {"code": code, "message": message, "details": details}
    envelope = {"success": False, "error": error, "meta": {"requestId": "req_9"}}
    return reply(envelope, status, headers)


# The network


class SentRequest:
    """What a script sent."""

    def __init__(self, prepared, options):
        self.method = prepared.method
        self.url = prepared.url.partition("?")[0]
        self.query = dict(parse_qsl(urlsplit(prepared.url).query))
        self.headers = prepared.headers
        self.body = prepared.body
        self.timeout = options["timeout"]
        self.follows_redirects = options["allow_redirects"]

    def json(self):
        return json.loads(self.body)


class API:
    """Stands in for the network: it notes each request, and sends the next reply."""

    def __init__(self):
        self.requests = []
        self.replies = []
        self.sleeps = []

    def send(self, prepared, **options):
        request = SentRequest(prepared, options)
        self.requests.append(request)
        assert self.replies, f"unexpected: {request.method} {prepared.url}"
        next_reply = self.replies.pop(0)
        if isinstance(next_reply, BaseException):
            raise next_reply
        return next_reply


@pytest.fixture
def api(monkeypatch):
    """The one seam: each request passes Session.send. Sleeps are noted, not slept."""
    api = API()
    monkeypatch.setattr(requests.Session, "send", api.send)
    monkeypatch.setattr(time, "sleep", api.sleeps.append)
    return api


# Scripts as processes, and the sandbox


def run(*command, server=None, cwd=ROOT, **environ):
    """Run python with `command`, against `server` if given; "" unsets a variable."""
    env = dict(os.environ)
    env["PYTHONIOENCODING"] = "utf-8"  # on Windows, a pipe has cp1252 otherwise
    if server:
        env["CYNCO_BASE_URL"] = server.url
        env["CYNCO_API_KEY"] = sandbox_api.API_KEY
    for name, value in environ.items():
        env[name] = value
        if not value:
            del env[name]
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=env,
        timeout=30,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture(params=sandbox_api.SHAPES)
def shape(request):
    """Each published shape of the API, one after the other."""
    return request.param


@pytest.fixture
def serve():
    """Start sandboxes in this process: serve(shape=..., invoices=..., faults=[...])."""
    with ExitStack() as servers:

        def start(faults=(), delay=0, **options):
            app = sandbox_api.create_app(**options)
            server = SandboxServer(app, faults=faults, delay=delay)
            return servers.enter_context(server)

        yield start


@pytest.fixture
def connect(monkeypatch):
    """Let a script in this process call a sandbox: connect(script, server)."""

    def change(script, server):
        monkeypatch.setattr(script, "BASE_URL", server.url)
        monkeypatch.setenv("CYNCO_API_KEY", sandbox_api.API_KEY)
        monkeypatch.setattr(time, "sleep", [].append)

    return change
