"""_common.py: errors, the key, responses, waits, retries, run(), and exact money."""

import io
import os
import pickle
import random
import socket
import sys
import time
from decimal import Decimal

import pytest
import requests
from conftest import KEY, failure, reply, run, success

import _common
from _common import CyncoAPIError, CyncoError, describe, handle_response, with_retry

NOW = 1774947600
HINT = "check CYNCO_BASE_URL and any proxy"


# BASE_URL


def test_base_url_comes_from_the_environment_without_its_last_slash():
    code = "import _common; print(_common.BASE_URL)"

    done = run("-c", code, CYNCO_BASE_URL="https://staging.cynco.io/api/v1/")

    assert done.stdout == "https://staging.cynco.io/api/v1\n"


def test_base_url_is_cyncos_own_by_default():
    assert _common.BASE_URL == "https://app.cynco.io/api/v1"


# CyncoAPIError

INVALID = CyncoAPIError(
    422,
    "VALIDATION_ERROR",
    "Invalid",
    [
        {"field": "name", "message": "is required"},
        {"field": "email", "message": "is bad"},
    ],
    "req_9",
    3600.0,
)


def test_an_api_error_is_an_error_of_cynco():
    assert isinstance(INVALID, CyncoError)
    assert isinstance(INVALID, Exception)  # not SystemExit: a web app goes on


def test_the_text_of_an_error_says_all():
    assert str(INVALID) == (
        "422 VALIDATION_ERROR: Invalid; name: is required; email: is bad [req_9]"
        "; retry after 3600 s"
    )


def test_the_text_of_a_short_error_has_nothing_empty_in_it():
    error = CyncoAPIError(404, "NOT_FOUND", "No such customer")

    assert str(error) == "404 NOT_FOUND: No such customer"


def test_an_error_can_be_pickled():
    copy = pickle.loads(pickle.dumps(INVALID))

    assert type(copy) is CyncoAPIError
    assert copy.status_code == 422
    assert copy.code == "VALIDATION_ERROR"
    assert copy.message == "Invalid"
    assert copy.details == INVALID.details
    assert copy.request_id == "req_9"
    assert copy.retry_after == 3600
    assert str(copy) == str(INVALID)


# auth_headers


def test_the_key_is_sent_as_a_bearer_token(monkeypatch):
    monkeypatch.setenv("CYNCO_API_KEY", "cak_123")

    assert _common.auth_headers() == {"Authorization": "Bearer cak_123"}


def test_space_around_the_key_is_not_sent(monkeypatch):
    monkeypatch.setenv("CYNCO_API_KEY", " cak_123\n")

    assert _common.auth_headers() == {"Authorization": "Bearer cak_123"}


@pytest.mark.parametrize("key", [None, "", " \n"], ids=["missing", "empty", "blank"])
def test_without_a_key_the_error_says_how_to_set_one(monkeypatch, key):
    monkeypatch.delenv("CYNCO_API_KEY")
    if key is not None:
        monkeypatch.setenv("CYNCO_API_KEY", key)

    with pytest.raises(CyncoError) as caught:
        _common.auth_headers()

    text = str(caught.value)
    assert text.startswith("CYNCO_API_KEY is not set. ")
    assert "Settings > API Keys" in text
    assert "export CYNCO_API_KEY=cak_..." in text
    assert 'PowerShell: $env:CYNCO_API_KEY="cak_..."' in text
    assert "python tests/sandbox.py" in text


@pytest.mark.parametrize(
    "key",
    [
        '"cak_secret"',
        "cak_sec ret",
        "cak_sec\nret",
        "Bearer cak_secret",
        "cak_secr\u00e9t",
        "sk_secret",
    ],
    ids=["quotes", "space", "line break", "Bearer", "non-ASCII", "another prefix"],
)
def test_what_is_no_key_is_an_error_that_does_not_show_it(monkeypatch, key):
    monkeypatch.setenv("CYNCO_API_KEY", key)

    with pytest.raises(CyncoError) as caught:
        _common.auth_headers()

    text = "CYNCO_API_KEY must be cak_... without quotes, spaces, Bearer"
    assert str(caught.value) == text
    assert "sec" not in repr(caught.value)


@pytest.mark.parametrize(
    "url", ["https://x.example", "http://localhost:1", "http://127.0.0.1:1"]
)
def test_the_key_goes_out_over_https_or_to_localhost(monkeypatch, url):
    monkeypatch.setattr(_common, "BASE_URL", url)

    assert _common.auth_headers() == {"Authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    "url",
    ["http://app.cynco.io/api/v1", "http://localhost.example.com", "app.cynco.io", ""],
)
def test_the_key_goes_out_nowhere_else(monkeypatch, url):
    monkeypatch.setattr(_common, "BASE_URL", url)

    with pytest.raises(CyncoError, match=r"^CYNCO_BASE_URL must begin with https://$"):
        _common.auth_headers()


# handle_response


def read_failure(response):
    """Return the error that handle_response raises."""
    with pytest.raises(CyncoAPIError) as caught:
        handle_response(response)
    return caught.value


def test_a_204_is_a_success_without_data():
    assert handle_response(reply(b"", 204)) == {"success": True, "data": None}


@pytest.mark.parametrize("status", [200, 201, 299])
def test_a_success_is_the_whole_envelope(status):
    body = {"success": True, "data": [1], "pagination": {"total": 1}, "meta": {}}

    assert handle_response(reply(body, status)) == body


def test_an_amount_is_an_exact_decimal():
    body = b'{"success": true, "data": 12345678901234567.89}'

    envelope = handle_response(reply(body))

    assert envelope["data"] == Decimal("12345678901234567.89")


def test_a_success_may_have_data_that_is_null():
    envelope = handle_response(success(None))

    assert envelope["data"] is None


def test_a_failure_is_an_error_with_all_that_it_says():
    details = [{"field": "name", "message": "is required"}]

    error = read_failure(failure(422, "VALIDATION_ERROR", "Invalid", details))

    assert error.status_code == 422
    assert error.code == "VALIDATION_ERROR"
    assert error.message == "Invalid"
    assert error.details == details
    assert error.request_id == "req_9"
    assert error.retry_after == 0


def test_a_failure_tells_how_long_to_wait():
    error = read_failure(failure(429, headers={"Retry-After": "7"}))

    assert error.retry_after == 7


def test_a_failure_is_one_whatever_the_status():
    error = read_failure(failure(200, "CODE", "Message"))

    assert str(error) == "200 CODE: Message [req_9]"


@pytest.mark.parametrize(
    "body",
    [
        {"success": False, "error": {"code": "C", "message": "M"}},
        {
            "success": False,
            "error": {"code": "C", "message": "M", "details": None},
            "meta": None,
        },
        {
            "success": False,
            "error": {"code": "C", "message": "M", "details": []},
            "meta": {},
        },
    ],
    ids=["missing", "null", "empty"],
)
def test_code_and_message_survive_without_details_and_meta(body):
    error = read_failure(reply(body, 422))

    assert str(error) == "422 C: M"
    assert error.request_id is None


@pytest.mark.parametrize(
    "details", [["email is bad"], [None], {"email": "bad"}, "email is bad"], ids=str
)
def test_the_message_survives_odd_details(details):
    error = read_failure(failure(422, "C", "M", details))

    assert str(error) == "422 C: M [req_9]"


def test_the_message_survives_without_a_code():
    error = read_failure(reply({"success": False, "error": {"message": "M"}}, 422))

    assert str(error) == "422 NO_CODE: M"


def test_the_message_survives_a_code_of_null():
    body = {"success": False, "error": {"code": None, "message": "M"}}

    error = read_failure(reply(body, 422))

    assert error.message == "M"


def test_the_code_survives_without_a_message():
    error = read_failure(reply({"success": False, "error": {"code": "C"}}, 422))

    assert str(error) == "422 C: no message"


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Log in to the proxy</html>",
        b"",
        b"null",
        b"[]",
        b"[{}]",
        b'"text"',
        b'"\xff"',
        b"[" * 100_000,
        b"9" * 5000,
        b'{"success": true, "data": 1e9999999999999999999}',
        b'{"success": true}',
        b'{"success": 1, "data": []}',
        b'{"success": true, "error": null}',
        b'{"success": false, "error": "text"}',
    ],
    ids=[
        "HTML",
        "empty",
        "null",
        "list",
        "list of objects",
        "text",
        "not UTF-8",
        "deep nesting",
        "5000 digits",
        "an exponent without end",
        "success without data",
        "success that is not true",
        "error of null",
        "error of text",
    ],
)
@pytest.mark.parametrize("status", [200, 502])
def test_anything_else_is_unreadable(body, status):
    error = read_failure(reply(body, status))

    assert error.status_code == status
    assert error.code == "UNREADABLE"
    assert HINT in error.message
    assert error.details == []


@pytest.mark.parametrize("status", [199, 300, 307, 404])
def test_a_success_with_another_status_than_2xx_is_unreadable(status):
    error = read_failure(success([], status=status))

    assert error.status_code == status
    assert error.code == "UNREADABLE"
    assert HINT in error.message


# requested_wait


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (503, {"Retry-After": "7"}, 7),
        (429, {"Retry-After": "7", "X-RateLimit-Reset": "1774947630"}, 7),
        (429, {"X-RateLimit-Reset": "1774947630"}, 30),
        (429, {"X-RateLimit-Reset": "1774947595"}, 0),
        (429, {"X-RateLimit-Reset": "1774951200"}, 60),
        (408, {"X-RateLimit-Reset": "1774947630"}, 0),
        (503, {"X-RateLimit-Reset": "1774947630"}, 0),
        (429, {"Retry-After": "Tue, 31 Mar 2026 09:00:20 GMT"}, 0),
        (429, {"X-RateLimit-Reset": "soon"}, 0),
        (429, {}, 0),
    ],
    ids=[
        "Retry-After",
        "Retry-After before reset",
        "reset in 30 s",
        "reset in the past",
        "reset in an hour",
        "reset, but 408",
        "reset, but 503",
        "a date",
        "no number",
        "neither",
    ],
)
def test_requested_wait(monkeypatch, status, headers, seconds):
    def now():
        return NOW

    monkeypatch.setattr(time, "time", now)

    response = failure(status, headers=headers)

    assert _common.requested_wait(response) == seconds


# with_retry


def get_data():
    """Send a request, as the scripts do."""
    response = requests.get("https://app.cynco.io/api/v1/invoices", timeout=30)
    return handle_response(response)["data"]


def test_a_function_alone_is_called_once(api):
    api.replies = [success("done")]

    assert with_retry(get_data) == "done"
    assert len(api.requests) == 1
    assert api.sleeps == []


def test_arguments_are_passed_on():
    assert with_retry(divmod, 7, 2) == (3, 1)


def test_every_attempt_gets_the_arguments(api):
    def get_page(name, number):
        response = requests.get(f"http://127.0.0.1/{name}/{number}", timeout=30)
        return handle_response(response)["data"]

    api.replies = [failure(503), success("done")]

    assert with_retry(get_page, "page", 7) == "done"
    assert api.requests[0].url == "http://127.0.0.1/page/7"
    assert api.requests[1].url == "http://127.0.0.1/page/7"


def test_the_fourth_attempt_may_succeed(api):
    api.replies = [failure(503), failure(503), failure(503), success("done")]

    assert with_retry(get_data) == "done"


def test_the_error_of_the_fourth_attempt_is_raised(api):
    api.replies = [failure(500), failure(501), failure(502), failure(503)]

    with pytest.raises(CyncoAPIError) as caught:
        with_retry(get_data)

    assert caught.value.status_code == 503
    assert len(api.requests) == 4
    assert len(api.sleeps) == 3


def test_the_number_of_attempts_can_be_set(api):
    api.replies = [failure(503), failure(503)]

    with pytest.raises(CyncoAPIError):
        with_retry(get_data, attempts=2)

    assert len(api.requests) == 2


def test_one_attempt_is_not_repeated(api):
    api.replies = [failure(503)]

    with pytest.raises(CyncoAPIError):
        with_retry(get_data, attempts=1)

    assert api.sleeps == []


@pytest.mark.parametrize(
    ("choose", "sleeps"),
    [
        (min, [0.25, 0.5, 1, 2, 4, 4]),
        (max, [0.5, 1, 2, 4, 8, 8]),
    ],
    ids=["shortest", "longest"],
)
def test_waits_double_up_to_eight_seconds_and_are_random(
    api, monkeypatch, choose, sleeps
):
    monkeypatch.setattr(random, "uniform", choose)
    api.replies = [
        failure(503),
        failure(503),
        failure(503),
        failure(503),
        failure(503),
        failure(503),
        success("done"),
    ]

    with_retry(get_data, attempts=7)

    assert api.sleeps == sleeps


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 599])
def test_a_transient_status_is_retried(api, status):
    api.replies = [failure(status), success("done")]

    assert with_retry(get_data) == "done"


@pytest.mark.parametrize("status", [200, 307, 400, 401, 403, 404, 408, 409, 422, 499])
def test_no_other_status_is_retried(api, status):
    api.replies = [failure(status)]

    with pytest.raises(CyncoAPIError):
        with_retry(get_data)

    assert api.sleeps == []


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError("aborted"),
        requests.ConnectTimeout("timed out"),
        requests.ReadTimeout("timed out"),
        requests.exceptions.ChunkedEncodingError("ended early"),
        requests.exceptions.ProxyError("refused"),
    ],
    ids=["connection", "connect timeout", "read timeout", "chunked encoding", "proxy"],
)
def test_no_response_is_retried(api, error):
    api.replies = [error, success("done")]

    assert with_retry(get_data) == "done"


@pytest.mark.parametrize(
    "error",
    [KeyError("data"), requests.exceptions.InvalidURL("x"), OSError("disk")],
    ids=["KeyError", "InvalidURL", "OSError"],
)
def test_no_other_error_is_retried(api, error):
    api.replies = [error]

    with pytest.raises(type(error)):
        with_retry(get_data)

    assert api.sleeps == []


def test_the_requested_wait_is_kept(api):
    api.replies = [failure(429, headers={"Retry-After": "7"}), success("done")]

    with_retry(get_data)

    assert api.sleeps == [7]


def test_the_requested_wait_is_only_a_minimum(api, monkeypatch):
    monkeypatch.setattr(random, "uniform", max)
    limited = failure(429, headers={"Retry-After": "1"})
    api.replies = [failure(503), failure(503), limited, success("done")]

    with_retry(get_data)

    assert api.sleeps == [0.5, 1, 2]


def test_a_wait_of_65_seconds_is_slept(api):
    api.replies = [failure(429, headers={"Retry-After": "65"}), success("done")]

    with_retry(get_data)

    assert api.sleeps == [65]


def test_a_longer_wait_is_an_error(api):
    api.replies = [failure(429, headers={"Retry-After": "66"})]

    with pytest.raises(CyncoAPIError, match=r"; retry after 66 s$"):
        with_retry(get_data)

    assert api.sleeps == []


def test_each_retry_is_logged_with_its_cause_and_wait(api, monkeypatch, caplog):
    monkeypatch.setattr(random, "uniform", max)
    lost = requests.ConnectionError("Connection aborted")
    limited = failure(429, "RATE_LIMITED", "Slow down", headers={"Retry-After": "4"})
    api.replies = [lost, limited, success("done")]

    with_retry(get_data)

    first = "no response from app.cynco.io: Connection aborted; retrying in 0.5 s"
    second = "429 RATE_LIMITED: Slow down [req_9]; retry after 4 s; retrying in 4.0 s"
    assert caplog.messages == [first, second]
    assert caplog.records[0].name == "cynco"
    assert caplog.records[0].levelname == "WARNING"


# describe


@pytest.fixture
def closed_port():
    """A port on localhost that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_refused_connection_names_its_own_host_and_the_cause(closed_port):
    with pytest.raises(requests.ConnectionError) as caught:
        requests.get(f"http://127.0.0.1:{closed_port}/hook?token=secret", timeout=5)

    text = describe(caught.value)
    assert text.startswith(f"no response from 127.0.0.1:{closed_port}: [")
    assert "refused" in text
    assert "hook" not in text
    assert "secret" not in text


def test_a_refused_proxy_is_said_to_be_one(closed_port):
    proxies = {"http": f"http://127.0.0.1:{closed_port}"}

    with pytest.raises(requests.exceptions.ProxyError) as caught:
        requests.get("http://127.0.0.1:1/", proxies=proxies, timeout=5)

    text = describe(caught.value)
    assert text.startswith("no response through your proxy: [")
    assert "refused" in text


def test_the_innermost_cause_is_named():
    error = requests.ConnectionError("HTTPSConnectionPool(host='app.cynco.io')")
    error.__context__ = OSError("Max retries exceeded")
    error.__context__.__context__ = socket.gaierror(-2, "Name or service not known")

    text = "no response from app.cynco.io: [Errno -2] Name or service not known"
    assert describe(error) == text


@pytest.mark.parametrize(
    "handled", [KeyError("whsec_other"), CyncoAPIError(409, "C", "M")], ids=repr
)
def test_an_error_that_the_caller_handles_is_no_cause(closed_port, handled):
    def request_while_handling():
        try:
            raise handled
        except type(handled):
            requests.get(f"http://127.0.0.1:{closed_port}/", timeout=5)

    with pytest.raises(requests.ConnectionError) as caught:
        request_while_handling()

    text = describe(caught.value)
    assert "refused" in text
    assert str(handled) not in text


def test_an_error_without_a_cause_is_its_own():
    error = requests.ReadTimeout("timed out")

    assert describe(error) == "no response from app.cynco.io: timed out"


# run


def raising(error):
    """Return a main() that fails."""

    def main():
        raise error

    return main


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_exit_code_is_that_of_main(code):
    def main():
        return code

    with pytest.raises(SystemExit) as stop:
        _common.run(main)

    assert stop.value.code == code


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (CyncoError("CYNCO_API_KEY is not set"), "Error: CYNCO_API_KEY is not set"),
        (CyncoAPIError(503, "C", "Try later"), "Error: 503 C: Try later"),
        (
            requests.ConnectionError("aborted"),
            "Error: no response from app.cynco.io: aborted",
        ),
        (requests.exceptions.InvalidURL("No host supplied"), "Error: No host supplied"),
        (KeyboardInterrupt(), "\nStopped."),
    ],
    ids=["CyncoError", "CyncoAPIError", "no response", "InvalidURL", "Ctrl-C"],
)
def test_an_expected_failure_is_one_line(error, line):
    with pytest.raises(SystemExit) as stop:
        _common.run(raising(error))

    # Given a text, Python prints it to stderr and exits with 1.
    assert stop.value.code == line


def test_a_bug_keeps_its_traceback():
    with pytest.raises(KeyError, match="customer_id"):
        _common.run(raising(KeyError("customer_id")))


def test_the_stdout_of_a_notebook_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # it has no reconfigure()

    with pytest.raises(SystemExit) as stop:
        _common.run(raising(CyncoError("No key")))

    assert stop.value.code == "Error: No key"


CHINESE = r"""
import _common


def main():
    print("\u6c38")


_common.run(main)
"""


def test_a_console_without_a_letter_shows_its_code():
    done = run("-c", CHINESE, PYTHONIOENCODING="ascii")

    assert done.returncode == 0
    assert done.stdout == "\\u6c38\n"
    assert done.stderr == ""


def test_a_certificate_file_that_is_missing_is_one_line(closed_port):
    done = run(
        "01_list_invoices.py",
        CYNCO_BASE_URL=f"https://127.0.0.1:{closed_port}",
        REQUESTS_CA_BUNDLE="missing.pem",
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: Could not find a suitable TLS CA certificate")
    assert done.stderr.endswith("missing.pem\n")
    assert done.stderr.count("\n") == 1


# Scripts whose stdout is on a full disk, and a pipe that nobody reads.
FULL_DISK = """
import os
import _common


def main():
    print("a line")


os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
_common.run(main)
"""
CLOSED_PIPE = """
import os
import _common


def main():
    print("a line")


reader, writer = os.pipe()
os.close(reader)
os.dup2(writer, 1)
_common.run(main)
"""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has /dev/full")
def test_a_full_disk_is_one_line():
    done = run("-c", FULL_DISK, PYTHONUNBUFFERED="")

    assert done.returncode == 1
    assert done.stderr == "Error: [Errno 28] No space left on device\n"


@pytest.mark.skipif(os.name == "nt", reason="a pipe without a reader, as POSIX has it")
def test_a_closed_pipe_ends_quietly():
    done = run("-c", CLOSED_PIPE, PYTHONUNBUFFERED="")

    assert done.returncode == 1
    assert done.stderr == ""


# Money


@pytest.mark.parametrize(
    "amount",
    [
        {"total": 162000},
        {"total": "162000"},
        {"totalAmount": 1620},
        {"totalAmount": Decimal("1620.00")},
        {"totalAmount": "1620.00"},
    ],
    ids=["guide", "guide, text", "whole", "OpenAPI", "OpenAPI, text"],
)
def test_the_total_of_an_invoice_in_both_shapes(amount):
    total = _common.invoice_total({"currency": "MYR", **amount})

    assert str(total) == "1620.00"


def test_a_total_of_null_is_none():
    assert _common.invoice_total({"currency": "MYR", "totalAmount": None}) is None


def test_an_invoice_without_a_total_is_no_zero():
    with pytest.raises(KeyError, match=r"^'totalAmount'$"):
        _common.invoice_total({"currency": "MYR", "amount": 5})


@pytest.mark.parametrize(
    "amount", [Decimal("1620.50"), "1620.50", "-1620.50"], ids=repr
)
def test_a_fraction_is_not_in_minor_units(amount):
    with pytest.raises(CyncoError, match=r"1620\.50 MYR has a fraction: "):
        _common.invoice_total({"currency": "MYR", "total": amount})


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (162000, "MYR", "1620.00"),
        ("-5", "MYR", "-0.05"),
        (0, "MYR", "0.00"),
        (500, "JPY", "500"),
        (1005, "KWD", "1.005"),
        (12345678901234567, "MYR", "123456789012345.67"),
    ],
)
def test_from_minor(amount, currency, text):
    assert str(_common.from_minor(amount, currency)) == text


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1620, "MYR", "1620.00"),
        ("-0.05", "MYR", "-0.05"),
        (0.0, "MYR", "0.00"),
        (500.0, "JPY", "500"),
        (1.005, "KWD", "1.005"),
        (0.30000000000000004, "MYR", "0.30"),
        (Decimal("279714.24000000005"), "MYR", "279714.24"),
    ],
)
def test_from_major(amount, currency, text):
    assert str(_common.from_major(amount, currency)) == text


@pytest.mark.parametrize("amount", [1620.505, "1620.505"], ids=["number", "text"])
def test_a_fraction_of_the_smallest_unit_is_not_rounded_away(amount):
    assert str(_common.from_major(amount, "MYR")) == "1620.505"


NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"


@pytest.mark.parametrize("currency", NO_DECIMALS.split())
def test_these_currencies_have_no_decimals(currency):
    assert str(_common.from_minor(1234567, currency)) == "1234567"


@pytest.mark.parametrize("currency", THREE_DECIMALS.split())
def test_these_currencies_have_three_decimals(currency):
    assert str(_common.from_minor(1234567, currency)) == "1234.567"


@pytest.mark.parametrize("currency", ["MYR", "USD", "EUR", "SGD", "IDR", "CNY"])
def test_all_others_have_two_decimals(currency):
    assert str(_common.from_minor(1234567, currency)) == "12345.67"


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (Decimal("1620.00"), "MYR", "MYR 1,620.00"),
        (Decimal("-1234567.89"), "MYR", "MYR -1,234,567.89"),
        (Decimal("500"), "JPY", "JPY 500"),
        (None, "MYR", "-"),
    ],
    ids=["MYR", "negative", "JPY", "none"],
)
def test_format_money(amount, currency, text):
    assert _common.format_money(amount, currency) == text
