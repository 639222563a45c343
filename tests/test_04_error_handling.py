"""04_error_handling.py: four errors that do no harm, the advice, and the retries."""

import pytest
import requests
from conftest import KEY, failure, load, reply, run, success

import _common
from _common import CyncoAPIError

SCRIPT = "04_error_handling.py"
script = load("04_error_handling")

DETAILS = [
    {
        "field": "email",
        "message": "must be a valid email address",
    },
]

# show_failure

FAILURE = """\
A title
  422 VALIDATION_ERROR: Validation failed
  email: must be a valid email address
  Request id: req_9
  Invalid fields, which the details name: correct them.

"""


def test_a_failure_is_shown_with_its_details_and_advice(capsys):
    response = failure(422, "VALIDATION_ERROR", "Validation failed", DETAILS)

    script.show_failure("A title", response)

    assert capsys.readouterr().out == FAILURE


def test_a_request_that_succeeds_is_no_failure(capsys):
    script.show_failure("A title", success({}))

    output = "A title\n  No error: the request succeeded.\n\n"
    assert capsys.readouterr().out == output


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429])
def test_a_status_has_advice_of_its_own(status):
    assert script.advise(status) == script.ADVICE[str(status)]


@pytest.mark.parametrize("status", [500, 503])
def test_every_5xx_has_the_same_advice(status):
    assert script.advise(status) == script.ADVICE["5xx"]


@pytest.mark.parametrize("status", [200, 307, 499])
def test_any_other_status_is_unexpected(status):
    assert script.advise(status) == "Unexpected: check CYNCO_BASE_URL."


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


def test_a_wrong_key(api):
    api.replies = [failure(401)]

    script.send_wrong_key()

    request = api.requests[0]
    assert request.method == "GET"
    assert request.url == "https://app.cynco.io/api/v1/invoices"
    assert request.headers["Authorization"] == "Bearer cak_wrong"
    assert request.timeout == 30


def test_a_customer(api):
    api.replies = [failure(404)]

    script.get_customer("cus_1")

    request = api.requests[0]
    assert request.method == "GET"
    assert request.url == "https://app.cynco.io/api/v1/customers/cus_1"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.timeout == 30


def test_a_customer_id_cannot_lead_to_another_path(api):
    api.replies = [failure(404)]

    script.get_customer("../invoices?x")

    path = "customers/..%2Finvoices%3Fx"
    assert api.requests[0].url == f"https://app.cynco.io/api/v1/{path}"


def test_an_invalid_customer(api):
    api.replies = [failure(422)]

    script.send_invalid_customer()

    request = api.requests[0]
    assert request.method == "POST"
    assert request.url == "https://app.cynco.io/api/v1/customers"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.json() == {"name": "", "email": "not an email address"}
    assert request.timeout == 30


@pytest.mark.parametrize(
    "send",
    [script.send_broken_json, script.send_invalid_customer],
    ids=["broken JSON", "invalid customer"],
)
def test_a_post_follows_no_redirect(api, send):
    api.replies = [failure(307)]

    send()

    assert api.requests[0].follows_redirects is False


# find_customer


def test_a_customer_is_found(api):
    api.replies = [success({"id": "cus_1", "name": "Acme Corp"})]

    customer = script.find_customer("cus_1")

    assert customer == {"id": "cus_1", "name": "Acme Corp"}
    assert api.requests[0].url == "https://app.cynco.io/api/v1/customers/cus_1"


def test_a_404_is_none(api):
    api.replies = [failure(404)]

    assert script.find_customer("cus_1") is None


def test_a_404_that_is_not_from_cynco_is_not_none(api):
    api.replies = [reply(b"<html>Not Found</html>", 404)]

    with pytest.raises(CyncoAPIError, match=r"^404 UNREADABLE: "):
        script.find_customer("cus_1")


@pytest.mark.parametrize("status", [401, 500])
def test_no_other_error_is_none(api, status):
    api.replies = [failure(status)]

    with pytest.raises(CyncoAPIError, match=f"^{status} CODE: "):
        script.find_customer("cus_1")


# main

OUTPUT = """\
POST /customers with broken JSON
  400 BAD_REQUEST: The body is not valid JSON
  Request id: req_9
  Malformed request: fix the code that builds it.

GET /invoices with a wrong key
  401 UNAUTHORIZED: The API key is wrong
  Request id: req_9
  Key missing, wrong or revoked: check CYNCO_API_KEY.

GET /customers/cus_does_not_exist
  404 NOT_FOUND: There is no such customer
  Request id: req_9
  No such record or endpoint: check the id and CYNCO_BASE_URL.

POST /customers, bad name and email
  422 VALIDATION_ERROR: Validation failed
  email: must be a valid email address
  Request id: req_9
  Invalid fields, which the details name: correct them.

What to do about each status:
  400   Malformed request: fix the code that builds it.
  401   Key missing, wrong or revoked: check CYNCO_API_KEY.
  403   Use a key with the scope (permission) that the message names.
  404   No such record or endpoint: check the id and CYNCO_BASE_URL.
  409   It exists, or its Idempotency-Key was used: look for it before you retry.
  422   Invalid fields, which the details name: correct them.
  429   Wait as long as Retry-After or X-RateLimit-Reset says (with_retry does).
  5xx   Cynco had an error: wait, then retry as after no response (with_retry).
  none  No response: retry. Retry a write only with the same Idempotency-Key.

find_customer, when there is none: None
with_retry, when two attempts fail: succeeded
"""


def test_the_output(api, capsys, caplog):
    api.replies = [
        failure(400, "BAD_REQUEST", "The body is not valid JSON"),
        failure(401, "UNAUTHORIZED", "The API key is wrong"),
        failure(404, "NOT_FOUND", "There is no such customer"),
        failure(422, "VALIDATION_ERROR", "Validation failed", DETAILS),
        failure(404, "NOT_FOUND", "There is no such customer"),
    ]

    assert script.main([]) == 0

    assert capsys.readouterr().out == OUTPUT
    assert api.requests[2].url.endswith("/customers/cus_does_not_exist")
    assert api.requests[4].url.endswith("/customers/cus_does_not_exist")
    assert "503 INTERNAL_ERROR: simulated; retrying in " in caplog.messages[0]
    assert "no response from " in caplog.messages[1]
    assert ": simulated; retrying in " in caplog.messages[1]


def test_every_shape_fails_alike_and_creates_nothing(serve, connect, shape, capsys):
    server = serve(shape=shape)
    server.app.customers.clear()
    connect(script, server)

    assert script.main([]) == 0

    output = capsys.readouterr().out
    assert "broken JSON\n  400 " in output
    assert "wrong key\n  401 " in output
    assert "cus_does_not_exist\n  404 " in output
    assert "bad name and email\n  422 " in output
    assert "find_customer, when there is none: None\n" in output
    assert server.app.customers == {}


def test_an_unknown_option_is_a_usage_error(api):
    with pytest.raises(SystemExit) as stop:
        script.main(["--status=404"])

    assert stop.value.code == 2
    assert api.requests == []


def test_without_a_network_it_ends_in_one_line(api):
    def main():
        return script.main([])

    api.replies = [requests.ConnectionError("Network is unreachable")]

    with pytest.raises(SystemExit) as stop:
        _common.run(main)

    base_url = "https://app.cynco.io/api/v1"
    line = f"Error: no response from {base_url}: Network is unreachable"
    assert stop.value.code == line


# As a process


def test_without_an_api_key_there_is_only_one_line():
    done = run(SCRIPT, CYNCO_API_KEY="")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: CYNCO_API_KEY is not set")
    assert done.stderr.count("\n") == 1
