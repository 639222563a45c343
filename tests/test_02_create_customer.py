"""02_create_customer.py: what is sent and shown, and that there is one customer."""

import functools
import socket
import subprocess
import sys
import uuid

import flask
import pytest
import requests
import sandbox_api
from conftest import KEY, ROOT, failure, load, run, success
from sandbox_server import SandboxServer

import _common

SCRIPT = "02_create_customer.py"
script = load("02_create_customer")

RETRY = "To retry, run this command with --idempotency-key order-1042"


def created():
    customer = {
        "id": "cus_0011",
        "name": "Acme Corp",
        "email": None,
        "address": None,
    }
    return success(customer, status=201)


# create_customer


def test_the_request(api):
    api.replies = [created()]

    script.main(["--idempotency-key", "order-1042"])

    request = api.requests[0]
    assert request.method == "POST"
    assert request.url == "https://app.cynco.io/api/v1/customers"
    assert request.query == {}
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Idempotency-Key"] == "order-1042"
    assert request.timeout == 30
    assert request.follows_redirects is False
    assert request.json() == {
        "name": "Acme Corp",
        "email": "billing@acme.example",
        "phone": "+60 3-2345 6789",
        "address": "Level 12, Menara Acme, Jalan Ampang",
        "city": "Kuala Lumpur",
        "state": "Wilayah Persekutuan",
        "zip": "50450",
        "country": "Malaysia",
        "preferredCurrency": "MYR",
    }


def test_name_and_email_can_be_chosen(api):
    api.replies = [created()]

    script.main(["--name", "Kedai Buku", "--email", "buku@melati.example"])

    body = api.requests[0].json()
    assert body["name"] == "Kedai Buku"
    assert body["email"] == "buku@melati.example"
    assert body["city"] == "Kuala Lumpur"


def test_a_redirect_does_not_take_the_customer_to_another_host(serve):
    other = serve()
    moved = flask.Flask("moved")

    @moved.post("/api/v1/customers")
    def redirect():
        return flask.redirect(f"{other.url}/customers", 307)

    with SandboxServer(moved) as server:
        done = run(SCRIPT, server=server)

    assert done.returncode == 1
    assert "\nError: 307 UNREADABLE: " in done.stderr
    assert len(server.seen) == 1
    assert other.seen == []


# The idempotency key


def test_every_run_has_a_key_of_its_own(api):
    api.replies = [created(), created()]

    script.main([])
    script.main([])

    first, second = api.requests
    first_key = uuid.UUID(first.headers["Idempotency-Key"])
    second_key = uuid.UUID(second.headers["Idempotency-Key"])
    assert first_key != second_key


@pytest.mark.parametrize("length", [1, 255])
def test_a_key_may_have_up_to_255_characters(api, length):
    api.replies = [created()]

    assert script.main(["--idempotency-key", "k" * length]) == 0

    assert api.requests[0].headers["Idempotency-Key"] == "k" * length


@pytest.mark.parametrize(
    "key",
    [
        "",
        "k" * 256,
        "kunci-\u6c38",
    ],
    ids=["empty", "256 characters", "non-ASCII"],
)
def test_a_key_that_cannot_be_sent_is_a_usage_error(api, capsys, key):
    with pytest.raises(SystemExit) as stop:
        script.main(["--idempotency-key", key])

    message = "error: --idempotency-key must be 1 to 255 ASCII characters"
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert api.requests == []


def test_every_attempt_sends_the_same_key_and_body(api):
    api.replies = [
        requests.ConnectionError(),
        requests.Timeout(),
        failure(503),
        created(),
    ]

    assert script.main([]) == 0

    first, second, third, fourth = api.requests
    key = first.headers["Idempotency-Key"]
    assert second.headers["Idempotency-Key"] == key
    assert third.headers["Idempotency-Key"] == key
    assert fourth.headers["Idempotency-Key"] == key
    assert second.body == first.body
    assert third.body == first.body
    assert fourth.body == first.body


def test_a_lost_response_creates_one_customer(shape):
    app = sandbox_api.create_app(shape=shape)
    app.customers.clear()

    with SandboxServer(app, faults=["lost"]) as server:
        done = run(SCRIPT, server=server)

    assert done.returncode == 0
    assert "; retrying in " in done.stderr
    assert len(server.seen) == 2
    assert len(app.customers) == 1


def test_a_killed_run_leaves_its_key_on_the_terminal(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(15)
        port = silent.getsockname()[1]
        monkeypatch.setenv("CYNCO_BASE_URL", f"http://127.0.0.1:{port}")
        command = [
            sys.executable,
            SCRIPT,
            "--idempotency-key",
            "order-1042",
        ]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as process:
            connection, _ = silent.accept()
            with connection:
                request = connection.recv(65536)
                process.kill()
            _, errors = process.communicate()

    assert b"Idempotency-Key: order-1042\r\n" in request
    assert errors.decode().strip() == RETRY


# main


def test_the_output(api, capsys):
    api.replies = [created()]

    assert script.main(["--idempotency-key", "order-1042"]) == 0

    output = capsys.readouterr()
    assert output.out == "Created cus_0011: Acme Corp\n"
    assert output.err == f"{RETRY}\n"


def test_the_customer_is_shown_as_it_was_stored(api, capsys):
    api.replies = [success({"id": "cus_0012", "name": "ACME CORP"}, status=201)]

    script.main(["--name", "acme corp"])

    assert capsys.readouterr().out == "Created cus_0012: ACME CORP\n"


def test_a_422_names_each_field(api, capsys):
    details = [
        {"field": "name", "message": "is required"},
        {"field": "email", "message": "is bad"},
    ]
    api.replies = [failure(422, "VALIDATION_ERROR", "Validation failed", details)]

    assert script.main(["--name", "", "--email", "x"]) == 1

    output = capsys.readouterr()
    lines = output.err.splitlines()
    assert lines[1] == "Error: Validation failed"
    assert lines[2] == "  name: is required"
    assert lines[3] == "  email: is bad"
    assert lines[4] == "  Request id: req_9"
    assert len(lines) == 5
    assert output.out == ""


@pytest.mark.parametrize("status", [403, 409])
def test_any_other_refusal_is_one_line(api, status):
    api.replies = [failure(status, "CODE", "It exists")]

    with pytest.raises(SystemExit) as stop:
        _common.run(functools.partial(script.main, []))

    assert stop.value.code == f"Error: {status} CODE: It exists [req_9]"


def test_without_an_api_key_there_is_only_one_line():
    done = run(SCRIPT, CYNCO_API_KEY="")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: CYNCO_API_KEY is not set")
    assert done.stderr.count("\n") == 1
