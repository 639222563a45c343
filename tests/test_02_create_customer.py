"""02_create_customer.py: what is sent and shown, and that there is one customer in the end."""

import socket
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any

import flask
import pytest
import requests
import sandbox
import sandbox_api
from conftest import API, KEY, ROOT, envelope, failure, load, reply, run

import _common

SCRIPT = "02_create_customer.py"
script = load("02_create_customer")
Serve = Callable[..., sandbox.SandboxServer]
Capture = pytest.CaptureFixture[str]

STORED = {**script.CUSTOMER, "id": "cus_0011", "createdAt": "2026-03-31T09:00:00Z"}
SHOWN = """\
Created  cus_0011 on 2026-03-31T09:00:00Z
Name     Acme Corp, billing@acme.example
Address  Level 12, Menara Acme, Jalan Ampang, Kuala Lumpur, Wilayah Persekutuan, 50450, Malaysia
"""


def created(**changes: Any) -> requests.Response:
    return reply(envelope({**STORED, **changes}), 201)


# --- create_customer
def test_the_request(api: API) -> None:
    api.replies_with(created())
    assert script.main(["--name", "Kedai", "--email", "kb@melati.example"]) == 0
    (request,) = api.requests
    assert (request.method, request.url) == ("POST", "https://app.cynco.io/api/v1/customers")
    assert request.json() == {**script.CUSTOMER, "name": "Kedai", "email": "kb@melati.example"}
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.options["timeout"] == 30


def test_every_run_has_a_key_of_its_own_unless_one_is_given(api: API) -> None:
    api.replies_with(created(), created(), created())
    for options in ([], ["--idempotency-key="], ["--idempotency-key=order-1042"]):
        assert script.main(options) == 0
    first, second, given = (str(request.headers["Idempotency-Key"]) for request in api.requests)
    assert (uuid.UUID(first) == uuid.UUID(second), given) == (False, "order-1042")


def test_every_attempt_sends_the_same_key_and_body(api: API) -> None:
    api.replies_with(requests.ConnectionError(), requests.Timeout(), failure(503), created())
    assert script.main([]) == 0
    sent = {(request.headers["Idempotency-Key"], request.body) for request in api.requests}
    assert (len(api.requests), len(sent)) == (4, 1)


def test_a_redirect_does_not_take_the_customer_to_another_host(serve: Serve) -> None:
    other, moved = serve(), flask.Flask("moved")
    moved.post("/api/v1/customers")(lambda: flask.redirect(f"{other.url}/customers", 307))
    with sandbox.SandboxServer(moved) as server:
        done = run(SCRIPT, server=server)
    assert done.stderr.splitlines()[1].startswith("Error: 307 UNREADABLE: ")
    assert (done.returncode, len(server.seen), other.seen) == (1, 1, [])


@pytest.mark.parametrize("shape", ["guide", "openapi"])
def test_a_lost_response_creates_no_second_customer(serve: Serve, shape: str) -> None:
    server = serve(faults=["lost"], shape=shape)
    done = run(SCRIPT, server=server)
    assert (done.returncode, done.stdout) == (0, SHOWN)
    first, second = (request["headers"]["Idempotency-Key"] for request in server.seen)
    key, _notice = done.stderr.splitlines()
    assert key == f"Idempotency-Key: {first}; to retry safely: --idempotency-key {second}"
    assert len(server.app.config["CUSTOMERS"]) == len(sandbox_api.CUSTOMERS) + 1


# --- main
def test_a_killed_run_leaves_its_key_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("CYNCO_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        command = [sys.executable, SCRIPT, "--idempotency-key", "order-1042"]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as process:
            silent.settimeout(30)
            with silent.accept()[0] as connection:
                request = connection.recv(65536)
                process.kill()
            errors = process.communicate()[1]
    assert b"Idempotency-Key: order-1042\r\n" in request
    assert errors.startswith(b"Idempotency-Key: order-1042; to retry safely: ")


def test_a_422_names_each_field(api: API, capsys: Capture) -> None:
    details = [{"field": "name", "message": "is\nneeded"}, {"field": "email", "message": "is bad"}]
    api.replies_with(failure(422, "VALIDATION_ERROR", "Validation\nfailed", details=details))
    assert script.main(["--name", "", "--email", "x"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:] == ["Error: Validation failed", "  name: is needed", "  email: is bad"]


@pytest.mark.parametrize("status", [403, 409])
def test_any_other_refusal_is_one_line(api: API, status: int) -> None:
    api.replies_with(failure(status, "CONFLICT", "It exists"))
    with pytest.raises(SystemExit, match=rf"^Error: {status} CONFLICT: It exists \[req_9\]$"):
        _common.run(lambda: script.main([]))


def test_without_an_api_key_there_is_only_one_line() -> None:
    done = run(SCRIPT, CYNCO_API_KEY="")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("Error: CYNCO_API_KEY is not set")


def test_null_fields_and_control_characters_are_not_shown(api: API, capsys: Capture) -> None:
    api.replies_with(created(id="c\n1", name="Acme\x1b[2J", email=None, address=None, city="I\nh"))
    script.main([])
    first, name, address = capsys.readouterr().out.splitlines()
    assert (first, name) == ("Created  c 1 on 2026-03-31T09:00:00Z", "Name     Acme [2J, no email")
    assert address == "Address  I h, Wilayah Persekutuan, 50450, Malaysia"


def test_an_address_in_an_object_is_shown_in_full(api: API, capsys: Capture) -> None:
    address = {"line1": "1 Jalan Satu", "line2": "Unit 2", "city": "Ipoh", "state": "Perak"}
    api.replies_with(created(address={**address, "postalCode": "30000", "country": "MY"}))
    script.main([])
    assert capsys.readouterr().out.endswith("  1 Jalan Satu, Unit 2, Ipoh, Perak, 30000, MY\n")
