"""02_create_customer.py: what is sent and shown, and that there is one customer."""

import pytest
import requests
from conftest import KEY, failure, load, reply, run, success

import _common
from _common import CyncoAPIError

SCRIPT = "02_create_customer.py"
script = load("02_create_customer")

WITH_KEY = ["--idempotency-key", "order-1042"]
PRINTED_KEY = "Idempotency-Key: order-1042\n"
RETRY_HINT = "To retry safely, run this command with --idempotency-key order-1042\n"


def created(name="Acme Corp", email="billing@acme.example"):
    customer = {
        "id": "cus_0011",
        "name": name,
        "email": email,
    }
    return success(customer, status=201)


# create_customer


def test_the_request(api):
    api.replies = [created()]

    assert script.main(WITH_KEY) == 0

    request = api.requests[0]
    assert request.method == "POST"
    assert request.url == "https://app.cynco.io/api/v1/customers"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Idempotency-Key"] == "order-1042"
    assert request.timeout == 30
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
    api.replies = [created("Kedai Buku", "buku@melati.example")]

    script.main(["--name", "Kedai Buku", "--email", "buku@melati.example"])

    body = api.requests[0].json()
    assert body["name"] == "Kedai Buku"
    assert body["email"] == "buku@melati.example"
    assert body["city"] == "Kuala Lumpur"


def test_a_redirect_is_not_followed(api):
    api.replies = [reply(b"", 307)]

    with pytest.raises(CyncoAPIError, match=r"^307 UNREADABLE: "):
        script.main([])

    assert api.requests[0].follows_redirects is False


# The Idempotency-Key


def test_every_run_has_an_idempotency_key_of_its_own(api):
    api.replies = [created(), created()]

    script.main([])
    script.main([])

    first, second = api.requests
    first_key = first.headers["Idempotency-Key"]
    assert second.headers["Idempotency-Key"] != first_key


@pytest.mark.parametrize("key", ["k", "k" * 255], ids=["1", "255"])
def test_an_idempotency_key_may_have_up_to_255_characters(api, key):
    api.replies = [created()]

    script.main(["--idempotency-key", key])

    assert api.requests[0].headers["Idempotency-Key"] == key


@pytest.mark.parametrize(
    "key",
    ["", "k" * 256, "kunci-\u6c38"],
    ids=["empty", "256 characters", "non-ASCII"],
)
def test_an_idempotency_key_that_cannot_be_sent_is_a_usage_error(api, capsys, key):
    with pytest.raises(SystemExit) as stop:
        script.main(["--idempotency-key", key])

    message = "error: --idempotency-key must be 1 to 255 ASCII characters"
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert api.requests == []


def test_the_idempotency_key_is_printed_before_the_request(api, capsys):
    api.replies = [KeyboardInterrupt()]  # Ctrl-C, before there is a response

    with pytest.raises(KeyboardInterrupt):
        script.main(WITH_KEY)

    assert capsys.readouterr().err == PRINTED_KEY


def test_every_attempt_sends_the_same_idempotency_key_and_body(api):
    api.replies = [
        requests.ConnectionError(),
        requests.Timeout(),
        failure(503),
        created(),
    ]

    script.main(WITH_KEY)

    assert len(api.requests) == 4
    for request in api.requests:
        assert request.headers["Idempotency-Key"] == "order-1042"
        assert request.body == api.requests[0].body


def test_a_lost_response_creates_one_customer(serve, connect, shape, capsys):
    server = serve(shape=shape, faults=["lost"])
    server.app.customers.clear()
    connect(script, server)

    assert script.main([]) == 0

    assert capsys.readouterr().out.endswith(": Acme Corp\n")
    assert len(server.seen) == 2
    assert len(server.app.customers) == 1


# The retry hint


@pytest.mark.parametrize("error", [requests.ConnectionError, requests.Timeout])
def test_no_response_is_followed_by_the_retry_hint(api, capsys, error):
    lost = error()
    api.replies = [lost, lost, lost, lost]

    with pytest.raises(error):
        script.main(WITH_KEY)

    assert capsys.readouterr().err == PRINTED_KEY + RETRY_HINT


@pytest.mark.parametrize("status", [400, 401, 403, 409])
def test_a_refused_customer_has_no_retry_hint(api, capsys, status):
    api.replies = [failure(status)]

    with pytest.raises(CyncoAPIError):
        script.main(WITH_KEY)

    assert capsys.readouterr().err == PRINTED_KEY


@pytest.mark.parametrize("status", [200, 307, 429, 500, 503])
def test_any_other_failure_is_followed_by_the_retry_hint(api, capsys, status):
    failed = failure(status)
    api.replies = [failed, failed, failed, failed]

    with pytest.raises(CyncoAPIError):
        script.main(WITH_KEY)

    assert capsys.readouterr().err == PRINTED_KEY + RETRY_HINT


# main

INVALID = """\
Idempotency-Key: order-1042
Error: Validation failed
  name: is required
  email: is bad
  Request id: req_9
"""


def test_a_422_names_each_field_and_has_no_retry_hint(api, capsys):
    name = {"field": "name", "message": "is required"}
    email = {"field": "email", "message": "is bad"}
    details = [name, email]
    api.replies = [failure(422, "VALIDATION_ERROR", "Validation failed", details)]

    assert script.main(WITH_KEY) == 1

    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == INVALID


def test_created_is_printed_with_the_id_and_the_name(api, capsys):
    api.replies = [created()]

    assert script.main(WITH_KEY) == 0

    output = capsys.readouterr()
    assert output.out == "Created cus_0011: Acme Corp\n"
    assert output.err == PRINTED_KEY


@pytest.mark.parametrize(
    ("name", "email"),
    [
        ("ACME CORP", "billing@acme.example"),
        ("Kedai Buku", "billing@acme.example"),
        ("Acme Corp", "accounts@acme.example"),
        ("Acme Corp", "buku@melati.example"),
    ],
)
def test_an_idempotency_key_used_before_is_an_error(api, capsys, name, email):
    def main():
        return script.main(WITH_KEY)

    api.replies = [created(name, email)]

    with pytest.raises(SystemExit) as stop:
        _common.run(main)

    # Given a text, Python prints it to stderr and exits with 1.
    assert f"cus_0011: {name}, {email}" in stop.value.code
    assert "idempotency key was used before" in stop.value.code
    assert "Created" not in capsys.readouterr().out


# As a process


def test_without_an_api_key_there_is_only_one_line():
    done = run(SCRIPT, CYNCO_API_KEY="")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: CYNCO_API_KEY is not set")
    assert done.stderr.count("\n") == 1
