"""04_error_handling.py: four errors that do no harm, the advice, and the retries."""

from unittest.mock import Mock

import pytest
import sandbox_api
from conftest import KEY, failure, load, reply, run, success

SCRIPT = "04_error_handling.py"
script = load("04_error_handling")

OUTPUT = """\
POST /customers with broken JSON
  400 BAD_REQUEST: The body is not valid JSON
  Request id: req_000001
  Malformed request: fix the code that builds it.

GET /invoices with a wrong key
  401 CODE: The API key is missing, wrong or revoked
  Request id: req_000002
  Key missing, wrong or revoked: check CYNCO_API_KEY.

GET /customers/cus_does_not_exist
  404 NOT_FOUND: There is no customer cus_does_not_exist
  Request id: req_000003
  No such record or endpoint: check the id and CYNCO_BASE_URL.

POST /customers without a name, with a bad email
  422 VALIDATION_ERROR: Validation failed
  name: is required, up to 300 characters
  email: must be a valid email address
  Request id: req_000004
  Invalid fields, which the details name: correct them.

What to do about each status:
  400   Malformed request: fix the code that builds it.
  401   Key missing, wrong or revoked: check CYNCO_API_KEY.
  403   Use a key with the scope (permission) that the message names.
  404   No such record or endpoint: check the id and CYNCO_BASE_URL.
  409   It exists: use it. Or the Idempotency-Key was used with other data.
  422   Invalid fields, which the details name: correct them.
  429   Too many requests: wait as long as it says, then retry (with_retry).
  5xx   Cynco had an error: retry after growing waits (with_retry).
  none  No response: retry; a write only with the same Idempotency-Key.

find_customer, when there is none: None
with_retry, when two attempts fail: succeeded
"""


# provoke and advise


def test_an_error_is_shown_with_its_details_and_advice(api, capsys):
    details = [{"field": "name", "message": "is required"}]
    api.replies = [failure(422, "INVALID", "Not valid", details)]

    script.provoke("A title", script.send_invalid_customer)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "A title"
    assert lines[1] == "  422 INVALID: Not valid"
    assert lines[2] == "  name: is required"
    assert lines[3] == "  Request id: req_9"
    assert lines[4] == "  Invalid fields, which the details name: correct them."
    assert lines[5] == ""
    assert len(lines) == 6


def test_a_request_that_succeeds_is_reported(api, capsys):
    api.replies = [success({})]

    script.provoke("A title", script.send_broken_json)

    output = "A title\n  No error: the request succeeded.\n\n"
    assert capsys.readouterr().out == output


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "Malformed request: fix the code that builds it."),
        (401, "Key missing, wrong or revoked: check CYNCO_API_KEY."),
        (
            403,
            "Use a key with the scope (permission) that the message names.",
        ),
        (404, "No such record or endpoint: check the id and CYNCO_BASE_URL."),
        (
            409,
            "It exists: use it. Or the Idempotency-Key was used with other data.",
        ),
        (422, "Invalid fields, which the details name: correct them."),
        (429, "Too many requests: wait as long as it says, then retry (with_retry)."),
        (500, "Cynco had an error: retry after growing waits (with_retry)."),
        (503, "Cynco had an error: retry after growing waits (with_retry)."),
        (200, "Unexpected: check CYNCO_BASE_URL."),
        (307, "Unexpected: check CYNCO_BASE_URL."),
        (499, "Unexpected: check CYNCO_BASE_URL."),
    ],
)
def test_every_status_has_its_advice(status, advice):
    assert script.advise(status) == advice


# The four requests


def test_broken_json(api):
    api.replies = [failure(400)]

    script.send_broken_json()

    request = api.requests[0]
    assert request.method == "POST"
    assert request.url == "https://app.cynco.io/api/v1/customers"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.body == '{"name": '
    assert request.timeout == 30
    assert request.follows_redirects is False


def test_a_wrong_key(api):
    api.replies = [failure(401)]

    script.send_wrong_key()

    request = api.requests[0]
    assert request.method == "GET"
    assert request.url == "https://app.cynco.io/api/v1/invoices"
    assert request.headers["Authorization"] == "Bearer cak_wrong"
    assert request.timeout == 30


def test_an_unknown_customer(api):
    api.replies = [failure(404)]

    script.get_unknown_customer()

    request = api.requests[0]
    assert request.method == "GET"
    assert request.url == "https://app.cynco.io/api/v1/customers/cus_does_not_exist"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.timeout == 30


def test_an_invalid_customer(api):
    api.replies = [failure(422)]

    script.send_invalid_customer()

    request = api.requests[0]
    assert request.method == "POST"
    assert request.url == "https://app.cynco.io/api/v1/customers"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.json() == {"name": "", "email": "not an email address"}
    assert request.timeout == 30
    assert request.follows_redirects is False


# find_customer


def test_a_customer_is_found(api):
    api.replies = [success({"id": "cus_1", "name": "Acme Corp"})]

    customer = script.find_customer("cus_1")

    assert customer == {"id": "cus_1", "name": "Acme Corp"}
    assert api.requests[0].url == "https://app.cynco.io/api/v1/customers/cus_1"


def test_an_id_cannot_lead_to_another_path(api):
    api.replies = [failure(404)]

    script.find_customer("../invoices?x")

    path = "customers/..%2Finvoices%3Fx"
    assert api.requests[0].url == f"https://app.cynco.io/api/v1/{path}"


def test_a_404_is_none(api):
    api.replies = [failure(404)]

    assert script.find_customer("cus_1") is None


def test_a_404_of_another_server_is_not_none(api):
    api.replies = [reply(b"<html>Not Found</html>", 404)]

    with pytest.raises(script.CyncoAPIError, match="404 UNREADABLE: "):
        script.find_customer("cus_1")


@pytest.mark.parametrize("status", [401, 500])
def test_no_other_error_is_none(api, status):
    api.replies = [failure(status)]

    with pytest.raises(script.CyncoAPIError, match=f"{status} CODE: "):
        script.find_customer("cus_1")


# show_retries


def test_the_retries(api, capsys, caplog):
    script.show_retries()

    output = "with_retry, when two attempts fail: succeeded\n"
    timeout = "no response from app.cynco.io: simulated; retrying in "
    assert capsys.readouterr().out == output
    assert caplog.messages[0].startswith("503 INTERNAL_ERROR: simulated; retrying in ")
    assert caplog.messages[1].startswith(timeout)
    assert len(api.sleeps) == 2


# main


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        ("guide", "UNAUTHORIZED"),
        ("openapi", "AUTHENTICATION_ERROR"),
        ("sdk", "AUTHENTICATION_ERROR"),
    ],
)
def test_the_whole_output_and_nothing_created(serve, monkeypatch, capsys, shape, code):
    server = serve(shape=shape)
    server.app.customers.clear()
    monkeypatch.setattr(script, "BASE_URL", server.url)
    monkeypatch.setenv("CYNCO_API_KEY", sandbox_api.API_KEY)
    monkeypatch.setattr("time.sleep", Mock())

    exit_code = script.main([])

    assert exit_code == 0
    assert capsys.readouterr().out == OUTPUT.replace("CODE", code)
    assert len(server.seen) == 5
    assert server.app.customers == {}


def test_without_a_key_nothing_is_printed_but_one_line():
    done = run(SCRIPT, CYNCO_API_KEY="")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: CYNCO_API_KEY is not set")
    assert done.stderr.count("\n") == 1


def test_without_a_network_it_says_so_in_one_line():
    done = run(SCRIPT, CYNCO_BASE_URL="http://127.0.0.1:1/api/v1")

    assert done.returncode == 1
    assert done.stderr.startswith("Error: no response from 127.0.0.1:1: ")
    assert done.stderr.count("\n") == 1
