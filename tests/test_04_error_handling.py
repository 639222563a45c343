"""04_error_handling.py: what it provokes, what it shows of each answer, what it advises, what it repeats."""

import copy
import logging
import socket
from collections.abc import Callable

import pytest
import requests
import sandbox
from conftest import API, KEY, Request, answer, envelope, failure, load, run

from _common import TIMEOUT, CyncoAPIError

SCRIPT = "04_error_handling.py"
script = load("04_error_handling")
Serve = Callable[..., sandbox.SandboxServer]
Capture = pytest.CaptureFixture[str]

PROVOKED = [400, 401, 404, 422]
EXPLAINED = [403, 409, 429, 500]


def refuse(request: Request) -> requests.Response:
    """Answer each provoked call as Cynco does."""
    if request.headers["Authorization"] != f"Bearer {KEY}":
        return failure(401)
    if request.method == "GET":
        return failure(404)
    try:
        request.json()
    except ValueError:
        return failure(400)
    return failure(422)


def tour(capsys: Capture) -> list[str]:
    """Take the tour; return its blocks: one for each error, the retries last."""
    assert script.main([]) == 0
    return capsys.readouterr().out.strip().split("\n\n")


# What is sent


def test_each_call_is_sent_as_it_is_described(api: API) -> None:
    api.answers_by(refuse)
    assert script.main([]) == 0

    broken, wrong_key, unknown, invalid, again = api.requests
    customers = f"{script.BASE_URL}/customers"
    assert (broken.method, broken.url, broken.headers["Content-Type"]) == ("POST", customers, "application/json")
    with pytest.raises(ValueError, match="Expecting value"):
        broken.json()
    assert (wrong_key.method, wrong_key.url) == ("GET", f"{script.BASE_URL}/invoices")
    assert (unknown.method, unknown.url) == ("GET", f"{customers}/cus_does_not_exist")
    for request in (invalid, again):
        assert (request.method, request.url, request.headers["Content-Type"]) == ("POST", customers, "application/json")
        assert request.json()["name"] == ""
        assert "@" not in request.json()["email"]


def test_only_the_wrong_key_is_not_the_real_one(api: API) -> None:
    api.answers_by(refuse)
    assert script.main([]) == 0

    sent = [str(request.headers["Authorization"]) for request in api.requests]
    assert sent[1].startswith("Bearer cak_")
    assert [value == f"Bearer {KEY}" for value in sent] == [True, False, True, True, True]
    assert {request.timeout for request in api.requests} == {TIMEOUT}


# What is shown


def test_an_answer_is_shown_in_full(api: API, capsys: Capture) -> None:
    details = [{"field": "name", "message": "is required"}, {"field": "email", "message": "is no address"}]
    message = "The customer is not valid"
    api.answers_with(*map(failure, [400, 401, 404]), *[failure(422, "INVALID", message, details=details)] * 2)
    lines = tour(capsys)[3].splitlines()

    assert lines[0].startswith("422  POST /customers")
    shown = "\n".join(lines[1:])
    assert f"422 INVALID: {message}" in shown
    assert "name: is required\n" in shown
    assert "email: is no address\n" in shown
    assert "req_9\n" in shown


def test_the_tour_shows_every_error_with_its_explanation(api: API, capsys: Capture) -> None:
    api.answers_by(refuse)
    blocks = tour(capsys)

    assert [block.split()[0] for block in blocks] == [*map(str, PROVOKED + EXPLAINED), "no", "no", "with_retry"]
    errors = [*(CyncoAPIError(status, "", "") for status in PROVOKED + EXPLAINED), requests.ConnectionError()]
    for block, error in zip(blocks, [*errors, requests.Timeout()]):
        assert all(part in block for part in script.explain(error))
    assert ["came back" in block for block in blocks[:-1]] == [True] * 4 + [False] * 6


def test_a_request_id_that_is_missing_shows_as_a_dash(api: API, capsys: Capture) -> None:
    bare = answer({"success": False, "error": {"code": "BAD_REQUEST", "message": "No"}}, 400)
    api.answers_with(bare, *map(failure, [401, 404, 422, 422]))
    assert "request    -" in tour(capsys)[0]


def test_an_answer_cannot_show_the_key_or_move_the_cursor(api: API, capsys: Capture) -> None:
    nasty = f"{KEY} \x1b[2J\r\n of yours"
    details = [{"field": nasty, "message": nasty}]
    api.answers_by(lambda request: failure(refuse(request).status_code, message=nasty, details=details))
    blocks = tour(capsys)

    assert "of yours" in blocks[0]
    assert KEY not in "".join(blocks)
    assert "".join(blocks).replace("\n", "").isprintable()


@pytest.mark.parametrize("index", range(4))
def test_a_call_that_succeeds_is_reported_in_a_line(api: API, capsys: Capture, index: int) -> None:
    answers = [failure(status) for status in [*PROVOKED, 422]]
    answers[index] = answer(envelope({}))
    api.answers_with(*answers)
    blocks = tour(capsys)

    assert "succeeded" in blocks[index]
    assert blocks[index].startswith(str(PROVOKED[index]))
    assert len(blocks[index].splitlines()) == 1
    assert ["came back" in block for block in blocks[:4]] == [other != index for other in range(4)]


@pytest.mark.parametrize("other", [418, 500, 200])
def test_another_status_than_expected_is_said(api: API, capsys: Capture, other: int) -> None:
    unreadable = answer("<html>Hello</html>", other)
    api.answers_with(failure(400), unreadable, *map(failure, [404, 422, 422]))
    expected, surprise = tour(capsys)[:2]

    assert f"but {other} came" in surprise
    assert script.explain(CyncoAPIError(other, "", ""))[1] in surprise
    assert "came)" not in expected


# What is advised


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (CyncoAPIError(400, "BAD_REQUEST", ""), "malformed"),
        (CyncoAPIError(401, "UNAUTHORIZED", ""), "CYNCO_API_KEY"),
        (CyncoAPIError(401, "AUTHENTICATION_ERROR", ""), "CYNCO_API_KEY"),
        (CyncoAPIError(403, "FORBIDDEN", ""), "scope"),
        (CyncoAPIError(404, "NOT_FOUND", ""), "id"),
        (CyncoAPIError(409, "CONFLICT", ""), "exists"),
        (CyncoAPIError(422, "VALIDATION_ERROR", ""), "details"),
        (CyncoAPIError(429, "RATE_LIMITED", ""), "Wait"),
        (CyncoAPIError(500, "INTERNAL_ERROR", ""), "growing waits"),
        (CyncoAPIError(503, "UNREADABLE", ""), "growing waits"),
        (CyncoAPIError(599, "", ""), "growing waits"),
        (requests.ReadTimeout(), "Idempotency-Key"),
        (requests.ConnectTimeout(), "Idempotency-Key"),
        (requests.ConnectionError(), "network"),
        (CyncoAPIError(418, "", ""), "CYNCO_BASE_URL"),
        (CyncoAPIError(200, "UNREADABLE", ""), "CYNCO_BASE_URL"),
        (CyncoAPIError(302, "REDIRECTED", ""), "CYNCO_BASE_URL"),
    ],
    ids=lambda value: f"{value.status_code} {value.code}" if isinstance(value, CyncoAPIError) else None,
)
def test_the_advice_fits_the_error(error: Exception, word: str) -> None:
    assert word in " ".join(script.explain(error))


def test_no_two_kinds_of_error_share_an_explanation() -> None:
    errors = [CyncoAPIError(status, "SAME", "same") for status in [*PROVOKED, *EXPLAINED, 418]]
    explained = [script.explain(error) for error in [*errors, requests.Timeout(), requests.ConnectionError()]]
    assert len({happened for happened, _ in explained}) == len({advice for _, advice in explained}) == len(explained)
    assert all(happened and advice for happened, advice in explained)


# What is repeated


def test_a_passing_failure_is_repeated_and_a_refusal_is_not(
    api: API, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    api.answers_by(refuse)
    recovered, refused = tour(capsys)[-1].splitlines()

    first, second = api.sleeps
    assert 0.25 <= first <= 0.5 <= second <= 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert all("503" in line for line in caplog.messages)
    assert "succeeded at attempt 3" in recovered
    assert refused.endswith(": 422, sent once.")
    assert len(api.requests) == 5  # four provoked, and the refusal once


def test_a_server_that_takes_an_invalid_customer_is_said_too(api: API, capsys: Capture) -> None:
    api.answers_by(lambda request: envelope({"id": "cus_1"}))
    assert tour(capsys)[-1].splitlines()[-1].endswith(": no error here, sent once.")


def test_a_failure_in_place_of_the_refusal_is_repeated(api: API, capsys: Capture) -> None:
    calls = iter([failure(status) for status in (400, 401, 404, 422, 503, 503, 503, 503)])
    api.answers_by(lambda request: next(calls))
    assert tour(capsys)[-1].splitlines()[-1].endswith(": 503, sent 4 times.")


# As a reader runs it


def test_the_tour_of_the_sandbox(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    customers = copy.deepcopy(server.app.config["CUSTOMERS"])
    result = run(SCRIPT, server=server)

    assert result.returncode == 0
    code = {"guide": "UNAUTHORIZED", "openapi": "AUTHENTICATION_ERROR"}[shape]
    for came_back in ["400 BAD_REQUEST", f"401 {code}", "404 NOT_FOUND", "422 VALIDATION_ERROR"]:
        assert f"came back  {came_back}: " in result.stdout
    assert result.stdout.count("detail     ") == 2
    assert [f"req_{number:06d}" in result.stdout for number in range(1, 6)] == [True] * 4 + [False]
    assert len(result.stderr.splitlines()) == 2  # the two waits
    assert sandbox.API_KEY not in result.stdout + result.stderr
    assert server.app.config["CUSTOMERS"] == customers


def test_without_network_it_says_so_in_one_line() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        result = run(SCRIPT, CYNCO_BASE_URL=f"http://127.0.0.1:{closed.getsockname()[1]}/api/v1")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: no connection")
    assert len(result.stderr.splitlines()) == 1


def test_without_a_key_nothing_is_sent(api: API, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CYNCO_API_KEY")
    with pytest.raises(SystemExit, match="CYNCO_API_KEY is not set"):
        script.main([])
    assert api.requests == []


def test_help_needs_no_key(api: API, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CYNCO_API_KEY")
    with pytest.raises(SystemExit) as stop:
        script.main(["--help"])
    assert stop.value.code == 0
    assert "usage:" in capsys.readouterr().out
