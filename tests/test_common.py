"""_common.py: responses, waits, retries, errors in one line, the key, run(), money, tables."""

import io
import os
import random
import re
import socket
import ssl
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from unittest.mock import Mock

import pytest
import requests
import sandbox
import sandbox_api
import trustme
from conftest import API, KEY, envelope, failure, reply, run
from flask import Flask

import _common
from _common import ConfigError, CyncoAPIError, describe, handle_response, with_retry

Patch = pytest.MonkeyPatch
NOW = 1774947600
LOST = requests.ConnectionError("Connection aborted")
NOT_JSON = ["<html>Log in to the proxy</html>", b"", b'"\xff"', b"[" * 100_000, b"9" * 5000]
BROKEN = ["null", "[{}]", '{"success": 1, "data": []}', '{"success": true, "error": {"code": 1}}']


def test_base_url_comes_from_the_environment_unless_it_is_empty() -> None:
    code = "import importlib, os, _common as c; print(c.BASE_URL); os.environ['CYNCO_BASE_URL']=''"
    code += "; importlib.reload(c); print(c.BASE_URL)"
    done = run("-c", code, CYNCO_BASE_URL=" https://staging.cynco.io/api/v1/ ")
    assert done.stdout == "https://staging.cynco.io/api/v1\nhttps://app.cynco.io/api/v1\n"


# --- CyncoAPIError and handle_response
def refused(response: requests.Response) -> CyncoAPIError:
    with pytest.raises(CyncoAPIError) as caught:
        handle_response(response)
    return caught.value


@pytest.mark.parametrize("status", [200, 299])
def test_a_success_is_the_whole_envelope_with_exact_decimals(status: int) -> None:
    body = '{"success": true, "data": [12345678901234567.89], "pagination": null}'
    expected = {"success": True, "data": [Decimal("12345678901234567.89")], "pagination": None}
    assert handle_response(reply(body, status)) == expected


def test_a_204_is_a_success_without_data() -> None:
    assert handle_response(reply(b"", 204)) == {"success": True, "data": None}


@pytest.mark.parametrize("status", [199, 300, 307, 404])
def test_only_a_2xx_is_a_success(status: int) -> None:
    assert refused(reply(envelope([]), status)).status_code == status


def test_an_error_tells_all_that_the_envelope_says() -> None:
    details = [{"field": "name", "message": "is required"}, {"field": "email", "message": "is bad"}]
    error = refused(failure(422, "VALIDATION_ERROR", "Invalid", details=details))
    assert (error.code, error.message, error.details) == ("VALIDATION_ERROR", "Invalid", details)
    assert (error.status_code, error.request_id, error.retry_after) == (422, "req_9", None)
    assert str(error) == "422 VALIDATION_ERROR: Invalid; name: is required; email: is bad [req_9]"


@pytest.mark.parametrize(
    "body", [*NOT_JSON, *BROKEN, {"error": "M"}], ids=lambda body: repr(body)[:30]
)
def test_what_is_no_envelope_is_an_error_in_one_line(body: Any) -> None:
    text = "UNREADABLE: not a Cynco API response; check CYNCO_BASE_URL and any proxy"
    for status in (200, 502):
        assert str(refused(reply(body, status))) == f"{status} {text}"


@pytest.mark.parametrize("details", [{}, {"details": None}, {"details": ["text", 5]}], ids=str)
def test_missing_or_odd_parts_hide_no_message(details: dict[str, Any]) -> None:
    error = {"code": "C", "message": "M", **details}
    body = {"success": False, "data": [], "error": error}  # an error whatever the status
    assert str(refused(reply(body))) == "200 C: M"
    assert str(refused(reply({**body, "meta": {"requestId": "req_9"}}))) == "200 C: M [req_9]"


# --- requested_wait
@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (503, {"Retry-After": "7"}, 7),
        (429, {"Retry-After": "7", "X-RateLimit-Reset": str(NOW + 30)}, 7),
        (429, {"X-RateLimit-Reset": str(NOW + 30)}, 30),
        (429, {"X-RateLimit-Reset": str(NOW - 5)}, 0),  # our clock is ahead
        (429, {"X-RateLimit-Reset": str(NOW + 3600)}, 60),  # our clock is behind
        (408, {"X-RateLimit-Reset": str(NOW + 30)}, None),
        (503, {"X-RateLimit-Reset": str(NOW + 30)}, None),
        (429, {"Retry-After": "Tue, 31 Mar 2026 09:00:20 GMT", "X-RateLimit-Reset": "soon"}, None),
    ],
    ids=str,
)
def test_requested_wait(monkeypatch: Patch, status: int, headers: Any, seconds: Any) -> None:
    monkeypatch.setattr(time, "time", lambda: float(NOW))
    assert refused(failure(status, headers=headers)).retry_after == seconds


# --- with_retry
def transient(status: int = 503, retry_after: float | None = None) -> CyncoAPIError:
    return CyncoAPIError(status, "SOME_CODE", "Try later", retry_after=retry_after)


def http_error(status: int) -> requests.HTTPError:
    return requests.HTTPError(response=failure(status, headers={"Retry-After": "7"}))


def failing(*errors: BaseException) -> Mock:
    return Mock(side_effect=[*errors, "done"])


def is_retried(error: Exception) -> bool:
    try:
        return bool(with_retry(failing(error)) == "done")
    except type(error):
        return False


def test_waits_double_up_to_eight_seconds_and_are_random(api: API, monkeypatch: Patch) -> None:
    uniform = Mock(return_value=0.5)
    monkeypatch.setattr(random, "uniform", uniform)
    assert with_retry(failing(*[transient()] * 7), attempts=8) == "done"
    assert api.sleeps == [0.25, 0.5, 1, 2, 4, 4, 4]
    assert {call.args for call in uniform.call_args_list} == {(0.5, 1)}


def test_the_last_of_four_attempts_raises_its_error(api: API) -> None:
    errors = [transient() for _ in range(9)]
    with pytest.raises(CyncoAPIError) as caught:
        with_retry(failing(*errors))
    assert (errors.index(caught.value), len(api.sleeps)) == (3, 3)


@pytest.mark.parametrize("make", [transient, http_error])
def test_only_transient_statuses_are_retried(api: API, make: Callable[[int], Exception]) -> None:
    retried = [status for status in range(200, 600) if is_retried(make(status))]
    assert retried == [408, 429, *range(500, 600)]


def test_only_lost_connections_and_responses_are_retried(api: API) -> None:
    exceptions = requests.exceptions
    lost = [LOST, requests.ReadTimeout(), exceptions.ChunkedEncodingError(), exceptions.SSLError()]
    final = [exceptions.InvalidURL(), requests.HTTPError("made by hand"), KeyError("data")]
    assert [error for error in [*lost, *final] if is_retried(error)] == lost


def test_a_bad_certificate_is_not_retried(caplog: pytest.LogCaptureFixture) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server = sandbox.SandboxServer(sandbox_api.create_app(invoices=1))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    host = f"127.0.0.1:{server.server_port}"
    with server, pytest.raises(requests.exceptions.SSLError) as caught:
        with_retry(lambda: requests.get(f"https://{host}/", timeout=5))
    assert caplog.messages == []  # no notice of a retry
    assert re.match(f"no connection to {host}: .*certificate verify failed", describe(caught.value))


def test_the_requested_wait_is_a_minimum(api: API) -> None:
    assert with_retry(failing(transient(429, 7), http_error(503), transient(429, 0.1))) == "done"
    assert api.sleeps[:2] == [7, 7]
    assert 1 <= api.sleeps[2] <= 2


def test_a_wait_of_more_than_65_seconds_is_not_slept(api: API) -> None:
    assert (is_retried(transient(429, 65)), is_retried(transient(429, 66))) == (True, False)
    assert api.sleeps == [65]


def test_the_notice_says_what_failed_and_what_comes_next(api: API, caplog: Any) -> None:
    with_retry(failing(LOST, transient(429, 4)))
    lost = f"{describe(LOST)}; retrying in {api.sleeps[0]:.1f} s (2 of 4)"
    limited = "429 SOME_CODE: Try later; retrying in 4.0 s (3 of 4)"
    assert caplog.record_tuples == [("cynco", 30, lost), ("cynco", 30, limited)]  # 30 is WARNING


# --- describe and one_line
def test_a_refused_connection_names_host_and_cause() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(requests.ConnectionError) as caught:
        requests.get(f"http://{host}/api/v1", timeout=5)
    words = r"[\w ]*refused.*" if os.name == "nt" else "Connection refused"
    assert re.fullmatch(f"no connection to {host}: {words}", describe(caught.value))


def test_an_error_is_one_printable_line_with_the_first_cause() -> None:
    unknown_host = requests.ConnectionError("HTTPSConnectionPool(host='app.cynco.io', port=443)")
    unknown_host.__cause__ = socket.gaierror(-2, "Name or service not known")
    lines = {
        unknown_host: "no connection to app.cynco.io: Name or service not known",
        requests.ConnectionError("a\r\nb"): "no connection to app.cynco.io: a  b",
        requests.ReadTimeout("timed out"): "no response from app.cynco.io: timed out",
        requests.ConnectTimeout("timed out"): "no response from app.cynco.io: timed out",
        CyncoAPIError(404, "C", "a\nb\x1b[2J", [{}]): "404 C: a b [2J; None: None",
    }
    assert {error: describe(error) for error in lines} == lines


# --- auth_headers
def test_the_key_goes_out_over_https_or_to_localhost_only(monkeypatch: Patch) -> None:
    monkeypatch.setenv("CYNCO_API_KEY", f" {KEY}\n")
    for url in ("https://x.example", "http://localhost:1", "http://127.0.0.1:1"):
        monkeypatch.setattr(_common, "BASE_URL", url)
        assert _common.auth_headers() == {"Authorization": f"Bearer {KEY}"}
    for url in ("http://app.cynco.io/api/v1", "http://localhost.example.com", ""):
        monkeypatch.setattr(_common, "BASE_URL", url)
        with pytest.raises(ConfigError, match=r"^CYNCO_BASE_URL must begin with https://"):
            _common.auth_headers()


@pytest.mark.parametrize("key", ["", "sk_sec", "cak_sec ret", "cak_sec\nX:y", "cak_sec\u00e9"])
def test_a_key_that_cannot_be_sent_is_not_shown(monkeypatch: Patch, key: str) -> None:
    monkeypatch.setattr(os, "environ", {"CYNCO_API_KEY": key} if key else {})
    with pytest.raises(ConfigError, match=r"^CYNCO_API_KEY is not set.*Settings > API") as caught:
        _common.auth_headers()
    assert "export CYNCO_API_KEY=cak_... (PowerShell: $env:CYNCO_API_KEY=" in str(caught.value)
    assert "sec" not in str(caught.value)


def test_a_web_application_without_a_key_goes_on(monkeypatch: Patch) -> None:
    app = Flask("host")
    app.get("/")(lambda: _common.auth_headers())
    monkeypatch.delenv("CYNCO_API_KEY")
    assert app.test_client().get("/").status_code == 500
    monkeypatch.setenv("CYNCO_API_KEY", KEY)
    assert app.test_client().get("/").status_code == 200


# --- run
def exit_code_of(main: Callable[[], int]) -> Any:
    with pytest.raises(SystemExit) as stop:
        _common.run(main)
    return stop.value.code


def test_an_expected_error_is_one_line_and_exit_code_1() -> None:
    texts: dict[BaseException, str] = {
        ConfigError("CYNCO_API_KEY is not set"): "Error: CYNCO_API_KEY is not set",
        transient(): "Error: 503 SOME_CODE: Try later",
        LOST: "Error: no connection to app.cynco.io: Connection aborted",
        KeyboardInterrupt(): "\nStopped.",
    }  # given a text, Python prints it on stderr and exits with 1
    assert {error: exit_code_of(failing(error)) for error in texts} == texts


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(KeyError, match="customer_id"):
        _common.run(failing(KeyError("customer_id")))


def test_a_notebooks_stdout_is_left_alone(monkeypatch: Patch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # it has no reconfigure()
    assert exit_code_of(lambda: 3) == 3


def test_a_console_without_a_letter_shows_its_code() -> None:
    code = r"import _common; _common.run(lambda: print('\u6c38'))"
    done = run("-c", code, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (0, "\\u6c38\n", "")


@pytest.mark.skipif(os.name == "nt", reason="a pipe without a reader, as POSIX has it")
def test_a_closed_pipe_ends_quietly() -> None:
    code = "import os, _common; reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)"
    done = run("-c", f"{code}; _common.run(lambda: print('a line'))", PYTHONUNBUFFERED="")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


# --- Money and tables
@pytest.mark.parametrize(
    ("minor", "major", "currency", "text"),
    [
        (162000, 1620, "MYR", "1620.00"),
        ("-5", "-0.05", "MYR", "-0.05"),  # as text
        (27971424, Decimal("279714.24000000005"), "MYR", "279714.24"),  # a sum of floats
        (30, 0.30000000000000004, "MYR", "0.30"),
        (0, 0.0, "MYR", "0.00"),
        (500, 500.0, "JPY", "500"),
        (1005, 1.005, "KWD", "1.005"),
        (None, None, "MYR", "None"),
    ],
)
def test_amounts_of_both_shapes_are_exact(minor: Any, major: Any, currency: str, text: str) -> None:
    for record in ({"total": minor}, {"totalAmount": major}, {"total": minor, "totalAmount": 99}):
        assert str(_common.read_amount(record, "total", "totalAmount", currency)) == text


def test_a_record_without_the_amount_is_no_zero() -> None:
    with pytest.raises(KeyError, match="totalAmount"):
        _common.read_amount({"amount": 5}, "total", "totalAmount", "MYR")


def test_jpy_has_no_decimals_and_kwd_has_three() -> None:
    none = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
    texts = {"MYR USD": "1,234.57", none: "1,235", "BHD IQD JOD KWD LYD OMR TND": "1,234.568"}
    for currencies, text in texts.items():
        for currency in currencies.split():
            assert _common.format_money(Decimal("1234.5678"), currency) == f"{currency} {text}"
    assert _common.format_money(None, "MYR") == "-"


def test_a_table_is_aligned_and_printable(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [["1", "Acme\x1b[2J\n", "MYR 1.00", ""], ["22", "Yong \u6c38\uff21", "JPY 1", "x"]]
    _common.print_table(["No", "Customer", "Total", "Note"], iter(rows), right=["Total"])
    assert capsys.readouterr().out.splitlines() == [
        "No  Customer      Total  Note",
        "--  ---------  --------  ----",
        "1   Acme [2J   MYR 1.00",
        "22  Yong \u6c38\uff21     JPY 1  x",  # these two letters are as wide as four
    ]


@pytest.mark.parametrize("row", [["INV-1"], ["INV-1", "MYR 1.00", "paid"]], ids=len)
def test_a_row_that_does_not_fit_is_refused(row: list[str]) -> None:
    with pytest.raises(ValueError, match="argument"):
        _common.print_table(["Number", "Total"], [row])
