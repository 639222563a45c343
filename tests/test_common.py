"""_common.py: the address, the key, reading an answer, repeating a call, errors in one line, money, tables."""

import importlib.util
import io
import json
import logging
import os
import random
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from types import ModuleType
from typing import Any

import flask
import pytest
import requests
import sandbox
import trustme
from conftest import API, KEY, ROOT, answer, envelope, failure, run

import _common
from _common import CyncoAPIError, describe, format_money, handle_response, one_line_errors, read_amount, with_retry

INTERNALS = "HTTPSConnectionPool(host='app.cynco.io', port=443): Max retries (Caused by <Connection object at 0x7f1c>)"
DATE, NOW = "Tue, 31 Mar 2026 09:00:00 GMT", 1774947600
DIGITS = "9" * 5000


# The address and the key


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import _common once more, as a process does that starts with this CYNCO_BASE_URL."""

    def start(base_url: str) -> ModuleType:
        monkeypatch.setenv("CYNCO_BASE_URL", base_url)
        spec = importlib.util.spec_from_file_location("fresh_common", ROOT / "_common.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return start


@pytest.mark.parametrize(
    ("variable", "base_url"),
    [
        ("", "https://app.cynco.io/api/v1"),
        ("   ", "https://app.cynco.io/api/v1"),
        ("https://staging.cynco.io/api/v1", "https://staging.cynco.io/api/v1"),
        (" https://staging.cynco.io/api/v1// ", "https://staging.cynco.io/api/v1"),
        ("https://my-proxy.example:8443", "https://my-proxy.example:8443"),
        ("http://localhost:8765/api/v1/", "http://localhost:8765/api/v1"),
        ("http://127.0.0.1:8765/api/v1", "http://127.0.0.1:8765/api/v1"),
        ("http://[::1]:8765/api/v1", "http://[::1]:8765/api/v1"),
    ],
)
def test_base_url(fresh: Callable[[str], ModuleType], variable: str, base_url: str) -> None:
    module = fresh(variable)
    assert base_url == module.BASE_URL
    assert module.auth_headers() == {"Authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    "address",
    [
        "http://app.cynco.io/api/v1",
        "http://localhost.example.com/api/v1",
        "http://127.0.0.1.example.com",
        "http://127a0b0c1/api/v1",
        "http://localhost@example.com/api/v1",
        "http://localhost:80@example.com/api/v1",
        "http://example.com/localhost",
        "http://example.com#@localhost",
        "http://example.com\\@localhost",
        "https://user:secret@app.cynco.io/api/v1",
        "https://app.cynco.io/api/v1?to=http://example.com",
        "https://app.cynco.io/api v1",
        "https://",
        "https://[",
        "ftp://localhost/api/v1",
        "app.cynco.io/api/v1",
    ],
)
def test_key_goes_out_over_https_or_to_this_machine_only(fresh: Callable[[str], ModuleType], address: str) -> None:
    module = fresh(address)  # importing checks nothing
    with pytest.raises(SystemExit) as stop:
        module.auth_headers()
    message = str(stop.value.code)
    assert "CYNCO_BASE_URL" in message
    assert "https://" in message
    assert "\n" not in message
    assert KEY not in message


def test_key_is_read_when_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYNCO_API_KEY", " \tcak_live_!x~ \r\n")
    assert _common.auth_headers() == {"Authorization": "Bearer cak_live_!x~"}


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "not set"),
        (" \n ", "not set"),
        ("sk_live_123", "not a key"),
        ("xcak_123", "not a key"),
        ("Bearer cak_123", "not a key"),
        ("cak_", "not a key"),
        ("cak_inner space", "not a key"),
        ("cak_new\nX-Header: line", "not a key"),
        ("cak_tab\tbed", "not a key"),
        ("cak_del\x7fete", "not a key"),
        ("cak_caf\u00e9", "not a key"),
        ("cak_\u6c38", "not a key"),
        ("\u201ccak_quoted\u201d", "not a key"),
    ],
)
def test_key_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch, key: str, reason: str) -> None:
    monkeypatch.setenv("CYNCO_API_KEY", key)
    with pytest.raises(SystemExit) as stop:
        _common.auth_headers()
    message = str(stop.value.code)
    for part in [
        f"CYNCO_API_KEY is {reason}",
        "Settings > API Keys",
        "export CYNCO_API_KEY=",
        "$env:CYNCO_API_KEY=",
        "python tests/sandbox.py 01_list_invoices.py",
    ]:
        assert part in message
    assert "\n" not in message
    assert len(key.strip()) < 5 or key.strip() not in message


def test_missing_key_is_a_missing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CYNCO_API_KEY")
    with pytest.raises(SystemExit, match="CYNCO_API_KEY is not set"):
        _common.auth_headers()


# The error


def test_error_attributes_and_text() -> None:
    details = [{"field": "email", "message": "must be valid"}, {"field": "name", "message": "is required"}]
    error = CyncoAPIError(422, "VALIDATION_ERROR", "Validation failed", details, "req_7", 2.5)
    assert (error.status_code, error.code, error.message) == (422, "VALIDATION_ERROR", "Validation failed")
    assert (error.details, error.request_id, error.retry_after) == (details, "req_7", 2.5)
    expected = "422 VALIDATION_ERROR: Validation failed (email: must be valid; name: is required) [req_7]"
    assert str(error) == expected


def test_error_with_the_least() -> None:
    error = CyncoAPIError(404, "NOT_FOUND", "No such record")
    assert (error.details, error.request_id, error.retry_after) == ([], None, None)
    assert str(error) == "404 NOT_FOUND: No such record"


def test_error_text_is_one_printable_line_without_the_key() -> None:
    error = CyncoAPIError(401, "A\nB", f"The key {KEY}\r\nis\x1b[31m wrong\u2028", [{"field": "k\n", "message": KEY}])
    assert str(error).isprintable()
    assert KEY not in str(error)
    assert "The key cak_***" in str(error)


# Reading an answer


@pytest.mark.parametrize("status", [200, 201, 299])
@pytest.mark.parametrize(
    "body",
    [
        envelope([{"id": "inv_1"}, {"id": "inv_2"}], pagination={"total": 2, "hasMore": False}, links={}),
        envelope({"name": "Perniagaan Yong Fatt (\u6c38\u767c)"}),
        envelope([]),
        envelope(None),
        {"data": {"id": "inv_1"}},
    ],
)
def test_success_returns_the_envelope(body: dict[str, Any], status: int) -> None:
    assert handle_response(answer(body, status)) == body


def test_no_content() -> None:
    assert handle_response(answer(b"", 204)) == {"success": True, "data": None}


def test_numbers_are_exact() -> None:
    numbers = ["0.1", "12345678901234567.89", "1620.00", "123456789012345678901234567890"]
    data = handle_response(answer(f'{{"data": {{"all": [{", ".join(numbers)}]}}}}'.encode()))["data"]
    assert [str(number) for number in data["all"]] == numbers


def refused(response: requests.Response, *data_type: type) -> CyncoAPIError:
    with pytest.raises(CyncoAPIError) as caught:
        handle_response(response, *data_type)
    assert caught.value.status_code == response.status_code
    assert str(caught.value).isprintable()
    return caught.value


def test_error_envelope() -> None:
    details = [{"field": "status", "message": "must be one of: draft, paid, overdue"}]
    error = refused(failure(422, "VALIDATION_ERROR", "Validation failed", details=details))
    assert (error.code, error.message, error.details) == ("VALIDATION_ERROR", "Validation failed", details)
    assert (error.request_id, error.retry_after) == ("req_9", None)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429, 500, 503])
def test_error_envelope_without_details_or_meta(status: int) -> None:
    error = refused(answer({"success": False, "error": {"code": "OOPS", "message": "No"}}, status))
    assert (error.code, error.message, error.details, error.request_id) == ("OOPS", "No", [], None)


@pytest.mark.parametrize("status", [200, 422])
@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"error": None}, "UNREADABLE: not an answer of the Cynco API"),
        ({"error": "broken"}, "UNREADABLE: not an answer of the Cynco API"),
        ({"error": ["broken"]}, "UNREADABLE: not an answer of the Cynco API"),
        ({"error": {}}, "UNREADABLE: not an answer of the Cynco API"),
        ({"error": {"code": 7, "message": ["a", "b"]}}, "7: ['a', 'b']"),
        ({"error": {"code": None, "message": None, "details": None}}, "UNREADABLE: not an answer of the Cynco API"),
        ({"error": {"code": "C", "message": "M", "details": "text"}}, "C: M"),
        ({"error": {"code": "C", "message": "M", "details": {"field": "f"}}}, "C: M"),
        ({"error": {"code": "C", "message": "M", "details": ["x", 1, {"field": "f", "message": 2}]}}, "C: M (f: 2)"),
        ({"error": {"code": "C", "message": "M"}, "meta": "req_9"}, "C: M"),
        ({"error": {"code": "C", "message": "M"}, "meta": ["req_9"]}, "C: M"),
        ({"error": {"code": "C", "message": "M"}, "meta": {"requestId": None}}, "C: M"),
        ({"error": {"code": "C", "message": "M"}, "meta": {"requestId": 9}}, "C: M [9]"),
    ],
)
def test_error_envelope_with_malformed_parts(parts: dict[str, Any], text: str, status: int) -> None:
    error = refused(answer({"success": False, **parts}, status))
    assert str(error).startswith(f"{status} {text}")
    assert all(isinstance(detail, dict) for detail in error.details)


@pytest.mark.parametrize("part", ["pagination", "links", "meta"])
@pytest.mark.parametrize("value", [5, "text", [], True])
def test_part_of_an_envelope_of_the_wrong_type(part: str, value: object) -> None:
    assert refused(answer({"success": True, "data": [], part: value})).code == "UNREADABLE"
    assert handle_response(answer({"success": True, "data": [], part: None}))


def test_a_complete_body_is_not_broken_off() -> None:
    with pytest.raises(CyncoAPIError) as caught:
        handle_response(answer(b"{}"), list)
    assert caught.value.code == "UNREADABLE"


@pytest.mark.parametrize("charset", ["utf-8", "idna", "undefined", "punycode", "no-such-charset"])
def test_charset_named_by_the_server_changes_nothing(charset: str) -> None:
    response = answer(
        '{"data": {"name": "Kaf\u00e9"}}'.encode(), headers={"Content-Type": f"text/json; charset={charset}"}
    )
    response.encoding = charset
    assert handle_response(response)["data"] == {"name": "Kaf\u00e9"}


@pytest.mark.parametrize("status", [200, 302, 304, 404, 502])
@pytest.mark.parametrize(
    "body",
    [
        "<!DOCTYPE html><html><body>Log in to the proxy</body></html>",
        b"",
        b"null",
        b"5",
        b"true",
        b'"text"',
        b"[1, 2]",
        b'[{"id": "inv_1"}]',
        b"NaN",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        DIGITS.encode(),
        b"\xff\xfe\xfd\xfc",
        b'"\xff"',
        b"\x00",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_not_an_envelope(body: Any, status: int) -> None:
    error = refused(answer(body, status))
    assert error.code == "UNREADABLE"
    assert "CYNCO_BASE_URL" in error.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"success": true, "data": [{"id": "inv_1"}, {"id"',
        b' {"success"',
        b'{"data": "\xff"',
        b'{"data": ' + b"[" * 100_000,
        b'{"data": ' + DIGITS.encode(),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_truncated_json(body: bytes) -> None:
    assert refused(answer(body)).code == "BROKEN_OFF"
    assert refused(answer(body, 404)).code == "UNREADABLE"  # 404 says enough: no reason to ask again


@pytest.mark.parametrize("number", [DIGITS, f"-{DIGITS}", "1e99999999999999999999"])
def test_envelope_with_a_number_too_long_to_read(number: str) -> None:
    refused(answer(f'{{"success": true, "data": {{"total": {number}}}}}'.encode()))


@pytest.mark.parametrize("status", [300, 302, 304, 307, 400, 500])
def test_only_a_2xx_is_a_success(status: int) -> None:
    refused(answer(envelope([]), status, {"Location": "https://elsewhere.example/"}))


@pytest.mark.parametrize("status", [200, 201])
def test_success_false_is_a_failure_whatever_the_status(status: int) -> None:
    refused(answer({**envelope([]), "success": False}, status))


@pytest.mark.parametrize(
    ("body", "data_type"),
    [
        (envelope("text"), object),
        (envelope(["inv_1"]), object),
        (envelope(""), object),
        (envelope(0), object),
        (envelope(False), object),
        (envelope([{}, "inv_2"]), list),
        (envelope([{}, None]), list),
        (envelope([], pagination=[1]), object),
        (envelope({}, pagination=[1]), object),
        (envelope([], pagination="text"), object),
        (envelope({"id": "inv_1"}), list),
        (envelope(None), list),
        (envelope([{"id": "inv_1"}]), dict),
        (envelope(None), dict),
        ({"success": True}, dict),
    ],
)
def test_parts_of_the_wrong_type(body: dict[str, Any], data_type: type) -> None:
    assert refused(answer(body), data_type).code == "UNREADABLE"


def test_data_of_the_type_asked_for() -> None:
    assert handle_response(answer(envelope([])), list)["data"] == []
    assert handle_response(answer(envelope({})), dict)["data"] == {}


@pytest.mark.parametrize("status", [200, 204])
def test_redirect_followed_is_refused(status: int) -> None:
    response = answer(envelope([]), status)
    response.history, response.url = [answer(b"", 301)], "https://new.example/api/v1/invoices?status=overdue"
    error = refused(response)
    assert error.code == "REDIRECTED"
    assert "https://new.example/api/v1/invoices;" in error.message
    assert "CYNCO_BASE_URL" in error.message


def test_post_that_a_redirect_turned_into_a_get() -> None:
    app, methods = flask.Flask("moved"), []
    app.post("/old")(lambda: flask.redirect("/new"))
    app.get("/new", endpoint="new")(lambda: methods.append(flask.request.method) or envelope({}))
    with sandbox.SandboxServer(app) as server:
        error = refused(requests.post(f"http://127.0.0.1:{server.server_port}/old", json={}, timeout=5), dict)
    assert (methods, error.code) == (["GET"], "REDIRECTED")


# The server's own wait


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "7"}, 7),
        (503, {"Retry-After": "7"}, 7),
        (503, {"Retry-After": "0"}, 0),
        (503, {"Retry-After": "Tue, 31 Mar 2026 09:00:20 GMT", "Date": DATE}, 20),
        (503, {"Retry-After": "Tuesday, 31-Mar-26 09:00:20 GMT", "Date": DATE}, 20),
        (503, {"Retry-After": "Tue, 31 Mar 2026 09:05:20 GMT"}, 20),  # no Date: our own clock
        (503, {"Retry-After": "Tue, 31 Mar 2026 09:05:20 GMT", "Date": "today"}, 20),
        (503, {"Retry-After": "Tue, 31 Mar 2026 08:59:59 GMT", "Date": DATE}, None),
        (503, {"Retry-After": DATE, "Date": DATE}, None),
        (429, {"X-RateLimit-Reset": str(NOW + 30), "Date": DATE}, 30),
        (429, {"X-RateLimit-Reset": str(NOW + 330)}, 30),
        (429, {"X-RateLimit-Reset": str(NOW + 30), "Date": DATE, "Retry-After": "7"}, 7),
        (429, {"X-RateLimit-Reset": str(NOW + 30), "Date": DATE, "Retry-After": "0"}, 0),
        (429, {"X-RateLimit-Reset": str(NOW + 30), "Date": DATE, "Retry-After": "soon"}, 30),
        (429, {"X-RateLimit-Reset": str(NOW + 30), "Date": DATE, "Retry-After": "Tue, 31 Mar 2026 09:00:20 GMT"}, 20),
        (503, {"Date": DATE, "Retry-After": "Tue Mar 31 09:00:20 2026"}, 20),  # asctime, always GMT
        (503, {"Retry-After": "30 \t"}, 30),
        (503, {"Retry-After": "000000000000030"}, 30),
        (503, {"Retry-After": "9999999999"}, 9999999999),
        (503, {"Date": DATE, "Retry-After": "Tue, 31 Mar 2026 09:00:20 -0000"}, 20),
        (429, {"X-RateLimit-Reset": str(NOW), "Date": DATE}, None),
        (429, {"X-RateLimit-Reset": str(NOW - 5), "Date": DATE}, None),
        (503, {"X-RateLimit-Reset": str(NOW + 30), "Date": DATE}, None),
        (429, {}, None),
    ],
)
def test_retry_after(
    monkeypatch: pytest.MonkeyPatch, status: int, headers: dict[str, str], seconds: float | None
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW + 300.0)
    assert refused(failure(status, headers=headers)).retry_after == seconds


@pytest.mark.parametrize("header", ["Retry-After", "X-RateLimit-Reset"])
@pytest.mark.parametrize(
    "value",
    [
        "",
        "nan",
        "inf",
        "-1",
        "5s",
        "1e3",
        "0x10",
        "+5",
        "1_000",
        "5, 6",
        "\u0665",
        DIGITS,
        "Fri, 31 Dec 99999 23:59:59 GMT",
        "Tue, 31 Mar 2026 09:00:20 +999999999999",
        "Tue, 31 Mar 2026 99999999999999999999:00:20 GMT",
        f"Tue, {DIGITS} Mar 2026 09:00:20 GMT",
        "Tue, 31 Mar",
        ",",
    ],
    ids=lambda value: ascii(value[:45]),
)
def test_garbage_for_a_wait_means_backoff(header: str, value: str) -> None:
    assert refused(failure(429, headers={header: value, "Date": DATE})).retry_after is None


# Repeating a call


class Call:
    """Fails with each of the errors in turn (or always with the last one), then returns "done"."""

    def __init__(self, *errors: BaseException, always: bool = False) -> None:
        self.errors, self.always, self.count, self.sleeps = list(errors), always, 0, list[float]()

    def __call__(self) -> str:
        self.count += 1
        if self.always:
            raise self.errors[-1]
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.fixture(params=["shortest", "longest"])
def chance(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The random factor, pinned at either end."""
    pick = min if request.param == "shortest" else max
    monkeypatch.setattr(random, "uniform", lambda low, high: pick(low, high))
    return str(request.param)


def passing() -> CyncoAPIError:
    return CyncoAPIError(503, "INTERNAL_ERROR", "Try later")


def test_success_is_returned_at_once() -> None:
    call = Call()
    assert with_retry(call, sleep=call.sleeps.append) == "done"
    assert (call.count, call.sleeps) == (1, [])


def test_waits_grow(chance: str) -> None:
    call = Call(passing(), passing(), passing())
    assert with_retry(call, sleep=call.sleeps.append) == "done"
    assert call.sleeps == ([0.25, 0.5, 1] if chance == "shortest" else [0.5, 1, 2])


def test_waits_are_capped(chance: str) -> None:
    call = Call(*[passing() for _ in range(7)])
    assert with_retry(call, attempts=8, sleep=call.sleeps.append) == "done"
    waits = [0.5, 1, 2, 4, 8, 8, 8]
    assert call.sleeps == ([wait / 2 for wait in waits] if chance == "shortest" else waits)


def test_gives_up_after_four_attempts(api: API) -> None:
    error = passing()
    call = Call(error, always=True)
    with pytest.raises(CyncoAPIError) as caught:
        with_retry(call)
    assert caught.value is error
    assert (call.count, len(api.sleeps)) == (4, 3)  # and sleeps with time.sleep unless told otherwise


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_statuses_that_may_pass_are_repeated(status: int) -> None:
    call = Call(CyncoAPIError(status, "CODE", "Message"))
    assert with_retry(call, sleep=call.sleeps.append) == "done"
    assert (call.count, len(call.sleeps)) == (2, 1)


@pytest.mark.parametrize("status", [200, 301, 304, 400, 401, 403, 404, 405, 409, 410, 413, 422, 425, 451, 501, 505])
def test_other_statuses_are_not_repeated(status: int) -> None:
    call = Call(CyncoAPIError(status, "RATE_LIMITED", "Message", retry_after=1), always=True)
    with pytest.raises(CyncoAPIError):
        with_retry(call, sleep=call.sleeps.append)
    assert (call.count, call.sleeps) == (1, [])


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError(INTERNALS),
        requests.ConnectTimeout(INTERNALS),
        requests.ReadTimeout(INTERNALS),
        requests.Timeout(),
        requests.exceptions.ProxyError(INTERNALS),
        requests.exceptions.ChunkedEncodingError("IncompleteRead(7 bytes read, 9 more expected)"),
        requests.exceptions.SSLError("EOF occurred in violation of protocol"),
        refused(answer(b'{"success": true, "data": [{"id"')),
    ],
    ids=lambda error: type(error).__name__,
)
def test_broken_connections_and_bodies_are_repeated(error: Exception) -> None:
    call = Call(error)
    assert with_retry(call, sleep=call.sleeps.append) == "done"
    assert (call.count, len(call.sleeps)) == (2, 1)


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed"),
        requests.exceptions.SSLError("CertificateError: hostname 'a' doesn't match 'b'"),
        requests.exceptions.InvalidURL("no host"),
        requests.TooManyRedirects("30 redirects"),
        refused(answer("<html>")),
        KeyError("data"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_will_not_pass_is_not_repeated(error: BaseException) -> None:
    call = Call(error, always=True)
    with pytest.raises(type(error)):
        with_retry(call, sleep=call.sleeps.append)
    assert (call.count, call.sleeps) == (1, [])


def test_certificate_of_an_unknown_authority() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server, sleeps = sandbox.SandboxServer(sandbox.create_app(invoices=1)), list[float]()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with server, pytest.raises(requests.exceptions.SSLError) as caught:
        with_retry(lambda: requests.get(f"https://127.0.0.1:{server.server_port}/", timeout=5), sleep=sleeps.append)
    assert sleeps == []
    assert describe(caught.value).startswith("no secure connection to app.cynco.io; check its certificate")


@pytest.mark.parametrize("chance", ["longest"], indirect=True)
@pytest.mark.parametrize(
    ("retry_after", "wait"),
    [("0", 0.5), ("1", 1), ("9", 9), ("60", 60), ("Tue, 31 Mar 2026 09:01:00 GMT", 60), ("5s", 0.5)],
)
def test_the_servers_wait_is_a_minimum(chance: str, retry_after: str, wait: float) -> None:
    call = Call(refused(failure(503, headers={"Retry-After": retry_after, "Date": DATE})))
    assert with_retry(call, sleep=call.sleeps.append) == "done"
    assert call.sleeps == [wait]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "61"}, 61),
        ({"Retry-After": "999999999"}, 999999999),
        ({"X-RateLimit-Reset": str(NOW + 61)}, 61),
        ({"Retry-After": "Tue, 31 Mar 2026 09:01:01 GMT"}, 61),
    ],
)
def test_a_wait_of_more_than_a_minute_is_not_slept(headers: dict[str, str], seconds: float) -> None:
    call = Call(refused(failure(429, headers={**headers, "Date": DATE})), always=True)
    with pytest.raises(CyncoAPIError) as caught:
        with_retry(call, sleep=call.sleeps.append)
    assert caught.value.retry_after == seconds
    assert (call.count, call.sleeps) == (1, [])


@pytest.mark.parametrize("chance", ["longest"], indirect=True)
def test_each_wait_is_announced_as_a_warning(chance: str, caplog: pytest.LogCaptureFixture) -> None:
    call = Call(requests.ConnectionError(INTERNALS), CyncoAPIError(429, "RATE_LIMITED", "Slow down", retry_after=4))
    with_retry(call, sleep=call.sleeps.append)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    first, second = caplog.messages
    assert first.startswith("no connection to app.cynco.io")
    assert first.endswith("; attempt 2 of 4 in 0.5 s")
    assert second == "429 RATE_LIMITED: Slow down; attempt 3 of 4 in 4.0 s"


def test_warnings_show_without_logging_configuration_and_importing_needs_no_key() -> None:
    code = """
import _common
errors = [_common.CyncoAPIError(503, "INTERNAL_ERROR", "Try later")]
def call():
    if errors:
        raise errors.pop()
    print("done")
_common.with_retry(call, sleep=lambda seconds: None)
"""
    done = run("-c", code, CYNCO_API_KEY="", CYNCO_BASE_URL="http://example.com")
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert done.stderr.startswith("503 INTERNAL_ERROR: Try later; attempt 2 of 4 in 0.")
    assert done.stderr.count("\n") == 1


# Errors in one line


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (requests.ReadTimeout(INTERNALS), "no answer from app.cynco.io within 30 s"),
        (requests.ConnectTimeout(INTERNALS), "no answer from app.cynco.io within 30 s"),
        (requests.ConnectionError(INTERNALS), "no connection to app.cynco.io"),
        (requests.exceptions.ProxyError(INTERNALS), "no connection to app.cynco.io"),
        (requests.exceptions.ChunkedEncodingError(INTERNALS), "no connection to app.cynco.io"),
        (requests.exceptions.SSLError(INTERNALS), "no secure connection to app.cynco.io; check its certificate"),
        (requests.exceptions.InvalidURL(INTERNALS), "no connection to app.cynco.io"),
        (requests.exceptions.InvalidHeader(f"{INTERNALS} {KEY}"), "no connection to app.cynco.io"),
        (requests.TooManyRedirects(INTERNALS), "no connection to app.cynco.io"),
        (CyncoAPIError(403, "FORBIDDEN", "No scope", [], "req_1"), "403 FORBIDDEN: No scope [req_1]"),
        (OSError(f"No certificates\nat {KEY}"), "No certificates at cak_***"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_describe(error: Exception, text: str) -> None:
    line = describe(error)
    assert line.startswith(text)
    assert line.isprintable()
    for internal in ["HTTPSConnectionPool", "object at", "0x", "(", KEY]:
        assert internal not in line


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyboardInterrupt(), "Stopped.\n"),
        (KeyboardInterrupt(" after 300 invoices"), "Stopped after 300 invoices.\n"),
        (CyncoAPIError(404, "NOT_FOUND", "None"), "Error: 404 NOT_FOUND: None. 04_error_handling.py says what to do"),
        (CyncoAPIError(400, "BAD_REQUEST", "No"), "Error: 400 BAD_REQUEST: No. 04_error_handling.py says what to do"),
        (CyncoAPIError(200, "UNREADABLE", "No answer"), "Error: 200 UNREADABLE: No answer.\n"),
        (requests.ConnectionError(INTERNALS), "Error: no connection to app.cynco.io"),
        (requests.Timeout(INTERNALS), "Error: no answer from app.cynco.io"),
        (OSError("Disk full"), "Error: Disk full.\n"),
        (KeyError("currency"), "Error: this answer cannot be read"),
        (TypeError("no text"), "Error: this answer cannot be read"),
        (AttributeError("no text"), "Error: this answer cannot be read"),
        (ValueError("no number"), "Error: this answer cannot be read"),
        (ZeroDivisionError("no number"), "Error: this answer cannot be read"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failing_main(capsys: pytest.CaptureFixture[str], error: BaseException, text: str) -> None:
    @one_line_errors
    def main(argv: Any) -> int:
        raise error

    assert main([]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.lstrip().startswith(text)
    assert err.strip().isprintable()
    assert err.endswith("\n")


def test_main_keeps_its_arguments_exit_code_and_exits() -> None:
    @one_line_errors
    def main(argv: Any) -> int:
        if argv:
            sys.exit(argv[0])
        return 3

    assert main() == main([]) == 3
    with pytest.raises(SystemExit, match="usage"):
        main(["usage"])


@pytest.mark.skipif(os.name == "nt", reason="a pipe without a reader, as POSIX has it")
@pytest.mark.parametrize("lines", [1, 50_000])
def test_pipe_whose_reader_has_gone(lines: int) -> None:
    code = f"""
import sys, _common
@_common.one_line_errors
def main(argv=None):
    for number in range({lines}):
        print("line", number)
    return 0
sys.exit(main())
"""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", rb"caf\xe9 \u6c38"), ("cp1252", b"caf\xe9 " + rb"\u6c38"), ("utf-8", None)]
)
def test_console_that_lacks_a_letter(monkeypatch: pytest.MonkeyPatch, encoding: str, shown: bytes | None) -> None:
    @one_line_errors
    def main(argv: Any) -> int:
        print("caf\u00e9 \u6c38", end="")
        return 0

    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert main([]) == 0
    assert sys.stdout.buffer.getvalue() == (shown or "caf\u00e9 \u6c38".encode())  # type: ignore[attr-defined]


# Money

# Every currency of ISO 4217 (list one, without funds, metals and codes for testing), by its decimals.
ISO_4217 = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC "
    "CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD "
    "KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO "
    "NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL "
    "THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}


@pytest.mark.parametrize(
    ("decimals", "units", "text"),
    [
        (0, "1234567", "1,234,567"),
        (2, "12345.67", "12,345.67"),
        (3, "1234.567", "1,234.567"),
        (4, "123.4567", "123.4567"),
    ],
)
def test_smallest_unit_of_every_currency(decimals: int, units: str, text: str) -> None:
    for currency in ISO_4217[decimals].split():
        for record in [{"total": 1234567}, {"totalAmount": Decimal(units)}, {"total": None, "totalAmount": units}]:
            amount = read_amount(record, "total", "totalAmount", currency)
            assert format_money(amount, currency) == f"{currency} {text}"


@pytest.mark.parametrize(
    ("record", "currency", "text"),
    [
        ({"total": 162000}, "MYR", "MYR 1,620.00"),
        ({"totalAmount": 1620.0}, "MYR", "MYR 1,620.00"),
        ({"totalAmount": 1620}, "MYR", "MYR 1,620.00"),
        ({"total": 5}, "MYR", "MYR 0.05"),
        ({"totalAmount": 0.1}, "MYR", "MYR 0.10"),
        ({"total": -162000}, "MYR", "MYR -1,620.00"),
        ({"totalAmount": Decimal("-1620.5")}, "MYR", "MYR -1,620.50"),
        ({"total": -500}, "JPY", "JPY -500"),
        ({"total": 0}, "MYR", "MYR 0.00"),
        ({"totalAmount": 0}, "JPY", "JPY 0"),
        ({"totalAmount": Decimal("-0.00")}, "MYR", "MYR 0.00"),
        ({"totalAmount": -0.0}, "JPY", "JPY 0"),
        ({"totalAmount": Decimal("0.005")}, "MYR", "MYR 0.005"),  # shown as it is: rounding would hide it
        ({"totalAmount": Decimal("-1500.50")}, "JPY", "JPY -1,500.5"),
        ({"totalAmount": Decimal("1E+5")}, "MYR", "MYR 100,000.00"),
        ({"total": 12345678901234567890123401}, "MYR", "MYR 123,456,789,012,345,678,901,234.01"),
        ({"totalAmount": Decimal("12345678901234567.89")}, "MYR", "MYR 12,345,678,901,234,567.89"),
        ({"total": 162000}, "XXX", "XXX 1,620.00"),
        ({"totalAmount": 1620}, None, "??? 1,620.00"),
        ({"total": 162000}, None, "-"),  # how many decimals that is, nobody can tell
        ({}, "MYR", "-"),
        ({"total": None}, "MYR", "-"),
        ({"total": None, "totalAmount": None}, "MYR", "-"),
        ({}, None, "-"),
    ],
)
def test_money(record: dict[str, Any], currency: str | None, text: str) -> None:
    assert format_money(read_amount(record, "total", "totalAmount", currency), currency) == text


# Tables


def test_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [["INV-1", "Acme", "MYR 1.00", "paid"], ["INV-22", "Yong Fatt (\u6c38\u767c)", "MYR 1,620.00", ""]]
    _common.print_table(["No", "Customer", "Total", "Status"], rows, right=["Total"])
    assert capsys.readouterr().out.splitlines() == [
        "No      Customer                 Total  Status",
        "------  ----------------  ------------  ------",
        "INV-1   Acme                  MYR 1.00  paid",
        "INV-22  Yong Fatt (\u6c38\u767c)  MYR 1,620.00",  # these two letters are as wide as four
    ]


def test_table_cells_stay_on_their_line(capsys: pytest.CaptureFixture[str]) -> None:
    _common.print_table(["Name", "Note"], [["a\nb\x1b[31m", f"x\t{KEY}\u2028"]])
    assert capsys.readouterr().out.splitlines()[2:] == ["a b [31m  x cak_***"]


def test_table_without_rows(capsys: pytest.CaptureFixture[str]) -> None:
    _common.print_table(["Number", "Total"], iter(()), right=["Total"])
    assert capsys.readouterr().out.splitlines() == ["Number  Total", "------  -----"]


def test_numbers_of_an_answer_reach_the_text_unharmed() -> None:
    body = json.dumps(envelope({"total": 10**17 + 1, "totalAmount": None})).encode()
    data = handle_response(answer(body))["data"]
    assert format_money(read_amount(data, "total", "totalAmount", "KWD"), "KWD") == "KWD 100,000,000,000,000.001"


def test_full_width_letters_take_two_columns(capsys: pytest.CaptureFixture[str]) -> None:
    _common.print_table(["Name", "Total"], [["\uff21\uff22", "1"], ["ABCD", "2"]])
    assert capsys.readouterr().out.splitlines()[2:] == ["\uff21\uff22  1", "ABCD  2"]


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="Windows sets its zone elsewhere")
def test_a_date_without_a_zone_is_gmt_wherever_this_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    late = {"Date": "Tue, 31 Mar 2026 09:00:00 GMT", "Retry-After": "Tue Mar 31 09:00:20 2026"}
    try:
        with monkeypatch.context() as abroad:
            abroad.setenv("TZ", "MYT-8")
            time.tzset()
            assert refused(failure(503, headers=late)).retry_after == 20
    finally:
        time.tzset()
