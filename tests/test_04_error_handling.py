"""04: four errors, provoked without doing harm; what to do about each status; the retries."""

from typing import Any

import pytest
import requests
import sandbox_api
from conftest import API, KEY, envelope, failure, load, reply, run

script = load("04_error_handling")
TABLE = "".join(f"  {status:<5} {advice}\n" for status, advice in script.ADVICE.items())
OUTPUT = f"""\
POST /customers with broken JSON
  400 BAD_REQUEST: The body is not valid JSON
  Request id: req_000001
  {script.ADVICE["400"]}

GET /invoices with a wrong key
  401 CODE: The API key is missing, wrong or revoked
  Request id: req_000002
  {script.ADVICE["401"]}

GET /customers/cus_does_not_exist
  404 NOT_FOUND: There is no customer cus_does_not_exist
  Request id: req_000003
  {script.ADVICE["404"]}

POST /customers without a name, with a bad email
  422 VALIDATION_ERROR: Validation failed
  name: is required, up to 300 characters
  email: must be a valid email address
  Request id: req_000004
  {script.ADVICE["422"]}

What to do about each status:
{TABLE}  none  {script.advise(requests.Timeout())}
with_retry, when two attempts fail: succeeded
"""


# --- advise
def test_every_error_has_its_advice() -> None:
    expected = {int(key): text for key, text in script.ADVICE.items() if key != "5xx"}
    expected |= dict.fromkeys([500, 503], script.ADVICE["5xx"])
    for status, advice in expected.items():
        assert script.advise(script.CyncoAPIError(status, "", "")) == advice
    for unexpected in (200, 307, 499):
        assert "any proxy" in script.advise(script.CyncoAPIError(unexpected, "", ""))
    assert "the same Idempotency-Key" in script.advise(requests.Timeout())


# --- the four requests and provoke
def test_the_requests_are_exactly_these_and_none_is_valid(api: API) -> None:
    api.replies_by(lambda _: failure(400))
    assert script.main([]) == 0
    sent = [(one.method, one.url.partition("/v1/")[2]) for one in api.requests]
    unknown = ("GET", "customers/cus_does_not_exist")
    assert sent == [("POST", "customers"), ("GET", "invoices"), unknown, ("POST", "customers")]
    keys = [str(one.headers["Authorization"]) for one in api.requests]
    assert keys == [f"Bearer {KEY}", "Bearer cak_wrong", f"Bearer {KEY}", f"Bearer {KEY}"]
    assert {one.options["timeout"] for one in api.requests} == {30}
    assert api.requests[0].headers["Content-Type"] == "application/json"
    with pytest.raises(ValueError, match="Expecting value"):
        api.requests[0].json()
    assert api.requests[3].json() == {"name": "", "email": "not an email address"}


def test_a_request_that_succeeds_is_reported(api: API, capsys: Any) -> None:
    api.replies_by(lambda _: envelope({}))
    assert script.main([]) == 0
    assert capsys.readouterr().out.count("\n  No error: the request succeeded.\n\n") == 4


def test_a_response_cannot_control_the_terminal(api: API, capsys: Any) -> None:
    nasty = {"field": "\x1b[2J", "message": "\x9b2J", "code": "\r"}
    body = {"error": {**nasty, "details": [nasty]}, "meta": {"requestId": "\x1b[2J"}}
    api.replies_by(lambda _: reply(body, 422))
    assert script.main([]) == 0
    assert capsys.readouterr().out.replace("\n", "").isprintable()


# --- show_retries and main
def test_whole_output(serve: Any, monkeypatch: Any, caplog: Any, capsys: Any, shape: str) -> None:
    server, sleeps = serve(shape=shape), list[float]()
    monkeypatch.setenv("CYNCO_API_KEY", sandbox_api.API_KEY)
    monkeypatch.setattr("time.sleep", sleeps.append)
    monkeypatch.setattr(script, "BASE_URL", server.url)
    assert script.main([]) == 0
    assert len(server.app.config["CUSTOMERS"]) == 10  # as before
    code = "UNAUTHORIZED" if shape == "guide" else "AUTHENTICATION_ERROR"
    assert capsys.readouterr().out == OUTPUT.replace("CODE", code)
    assert [line.split()[0] for line in caplog.messages] == ["503", "no"]
    assert OUTPUT.count("\n") + len(caplog.messages) <= 40
    assert [0.25 <= sleeps[0] <= 0.5, 0.5 <= sleeps[1] <= 1] == [True] * len(sleeps)


def test_without_a_network_it_says_so_in_one_line() -> None:
    done = run("04_error_handling.py", CYNCO_BASE_URL="http://127.0.0.1:1/api/v1")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("Error: no connection to 127.0.0.1:1: ")
