"""_common.py: the key, errors, responses, waits, retries, run(), and exact money."""

import io
import os
import pickle
import random
import runpy
import subprocess
import sys
import time
from decimal import Decimal

import pytest
import requests
from conftest import KEY, ROOT, failure, reply, success
from requests.exceptions import (
    ChunkedEncodingError,
    InvalidHeader,
    InvalidJSONError,
    InvalidURL,
    JSONDecodeError,
    ProxyError,
)

import _common
from _common import CyncoAPIError, CyncoError, handle_response, with_retry

URL = "https://app.cynco.io/api/v1/invoices"

# BASE_URL


def test_base_url_is_cyncos_own_by_default():
    assert _common.BASE_URL == "https://app.cynco.io/api/v1"


def test_base_url_comes_from_cynco_base_url_without_its_last_slash(monkeypatch):
    monkeypatch.setenv("CYNCO_BASE_URL", "https://staging.cynco.io/api/v1/")

    names = runpy.run_path(str(ROOT / "_common.py"))

    assert names["BASE_URL"] == "https://staging.cynco.io/api/v1"


# CyncoAPIError

NAME = {"field": "name", "message": "is required"}
EMAIL = {"field": "email", "message": "is bad"}
INVALID = CyncoAPIError(422, "INVALID", "Not valid", [NAME, EMAIL], "req_9", 7)


def test_str_of_an_error_has_status_code_message_details_and_request_id():
    text = "422 INVALID: Not valid; name: is required; email: is bad [req_9]"

    assert str(INVALID) == text


def test_str_of_an_error_without_details_and_request_id_has_nothing_empty_in_it():
    error = CyncoAPIError(404, "NOT_FOUND", "No such customer")

    assert str(error) == "404 NOT_FOUND: No such customer"


def test_an_error_asks_for_no_wait_by_default():
    error = CyncoAPIError(404, "NOT_FOUND", "No such customer")

    assert error.retry_after == 0


@pytest.mark.parametrize(
    ("detail", "text"),
    [
        ({"message": "is bad"}, "422 C: M; None: is bad"),
        ({"field": "email"}, "422 C: M; email: None"),
        ("The email is bad.", "422 C: M; The email is bad."),
        (None, "422 C: M; None"),
    ],
    ids=["no field", "no message", "a sentence", "null"],
)
def test_str_of_an_error_with_an_odd_detail(detail, text):
    error = CyncoAPIError(422, "C", "M", [detail])

    assert str(error) == text


def test_an_error_can_be_pickled():
    copy = pickle.loads(pickle.dumps(INVALID))

    assert type(copy) is CyncoAPIError
    assert copy.status_code == 422
    assert copy.retry_after == 7
    assert str(copy) == str(INVALID)


# auth_headers


@pytest.mark.parametrize("key", ["cak_123", " cak_123\n"], ids=["key", "space around"])
def test_the_key_is_sent_as_a_bearer_token(monkeypatch, key):
    monkeypatch.setenv("CYNCO_API_KEY", key)

    assert _common.auth_headers() == {"Authorization": "Bearer cak_123"}


@pytest.mark.parametrize("key", ["", " \n"], ids=["empty", "blank"])
def test_an_empty_key_is_as_good_as_none(monkeypatch, key):
    monkeypatch.setenv("CYNCO_API_KEY", key)

    with pytest.raises(CyncoError, match=r"^CYNCO_API_KEY is not set\. "):
        _common.auth_headers()


def test_without_a_key_the_error_says_how_to_set_one(monkeypatch):
    monkeypatch.delenv("CYNCO_API_KEY")

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
    "url", ["http://app.cynco.io/api/v1", "http://localhost.example", "app.cynco.io"]
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


def test_an_amount_is_read_as_an_exact_decimal():
    body = b'{"success": true, "data": 12345678901234567.89}'

    envelope = handle_response(reply(body))

    assert envelope["data"] == Decimal("12345678901234567.89")


def test_a_failure_is_an_error_with_all_that_it_says():
    details = [NAME, EMAIL]
    response = failure(429, "CODE", "Message", details, {"Retry-After": "7"})

    error = read_failure(response)

    assert error.status_code == 429
    assert error.code == "CODE"
    assert error.message == "Message"
    assert error.details == details
    assert error.request_id == "req_9"
    assert error.retry_after == 7


def test_a_failure_with_a_status_of_200_is_a_failure():
    error = read_failure(failure(200))

    assert str(error) == "200 CODE: Message [req_9]"


@pytest.mark.parametrize(
    "envelope",
    [
        {"error": {"code": "C", "message": "M"}},
        {"error": {"code": "C", "message": "M", "details": None}, "meta": None},
        {"error": {"code": "C", "message": "M", "details": []}, "meta": {}},
    ],
    ids=["missing", "null", "empty"],
)
def test_code_and_message_survive_without_details_and_meta(envelope):
    error = read_failure(reply({"success": False, **envelope}, 422))

    assert str(error) == "422 C: M"
    assert error.details == []


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Log in to the proxy</html>",
        b"",
        b"null",
        b"[]",
        b'"\xff"',
        b'{"success": false}',
        b'{"success": false, "error": null}',
        b'{"success": false, "error": "text"}',
        b'{"success": false, "error": {"message": "without a code"}}',
        b'{"success": false, "error": {"code": "WITHOUT_A_MESSAGE"}}',
    ],
    ids=[
        "HTML",
        "empty",
        "null",
        "list",
        "not UTF-8",
        "no error",
        "error of null",
        "error of text",
        "no code",
        "no message",
    ],
)
@pytest.mark.parametrize("status", [200, 502])
def test_anything_else_is_unreadable(body, status):
    error = read_failure(reply(body, status))

    assert error.status_code == status
    assert error.code == "UNREADABLE"
    assert "check CYNCO_BASE_URL and any proxy" in error.message
    assert error.details == []
    assert error.request_id is None


@pytest.mark.parametrize("status", [300, 307, 404])
def test_a_success_with_another_status_than_2xx_is_unreadable(status):
    error = read_failure(success([], status=status))

    assert error.status_code == status
    assert error.code == "UNREADABLE"


# seconds_to_wait


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (503, {"Retry-After": "7"}, 7),
        (429, {"Retry-After": "3600"}, 3600),
        (429, {"Retry-After": "7", "X-RateLimit-Reset": "1774947630"}, 7),
        (429, {"Retry-After": "Tue, 31 Mar 2026 09:00:20 GMT"}, 0),
        (429, {"X-RateLimit-Reset": "1774947630"}, 30),
        (429, {"X-RateLimit-Reset": "1774947595"}, 0),
        (429, {"X-RateLimit-Reset": "1774951200"}, 60),
        (429, {"X-RateLimit-Reset": "soon"}, 0),
        (503, {"X-RateLimit-Reset": "1774947630"}, 0),
        (422, {"X-RateLimit-Reset": "1774947630"}, 0),
        (429, {}, 0),
    ],
    ids=[
        "Retry-After of 7 s",
        "Retry-After of an hour",
        "Retry-After before X-RateLimit-Reset",
        "Retry-After that is a date",
        "X-RateLimit-Reset in 30 s",
        "X-RateLimit-Reset in the past",
        "X-RateLimit-Reset in an hour",
        "X-RateLimit-Reset that is no number",
        "X-RateLimit-Reset of a 503",
        "X-RateLimit-Reset of a 422",
        "neither header",
    ],
)
def test_seconds_to_wait(monkeypatch, status, headers, seconds):
    def now():
        return 1774947600

    monkeypatch.setattr(time, "time", now)
    response = failure(status, headers=headers)

    assert _common.seconds_to_wait(response) == seconds


# with_retry


def get_data():
    """Send a request, as the scripts do."""
    response = requests.get(URL, timeout=30)
    return handle_response(response)["data"]


def test_a_function_that_succeeds_is_called_once(api):
    api.replies = [success("done")]

    assert with_retry(get_data) == "done"
    assert len(api.requests) == 1
    assert api.sleeps == []


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

    with pytest.raises(CyncoAPIError, match=r"^503 "):
        with_retry(get_data)

    assert len(api.requests) == 4
    assert len(api.sleeps) == 3


def test_the_number_of_attempts_can_be_set(api):
    api.replies = [failure(502), failure(503)]

    with pytest.raises(CyncoAPIError, match=r"^503 "):
        with_retry(get_data, attempts=2)


@pytest.mark.parametrize(
    ("choose", "sleeps"),
    [(min, [0.25, 0.5, 1]), (max, [0.5, 1, 2])],
    ids=["shortest", "longest"],
)
def test_the_waits_are_random_and_double(api, monkeypatch, choose, sleeps):
    monkeypatch.setattr(random, "uniform", choose)
    api.replies = [failure(503), failure(503), failure(503), success("done")]

    with_retry(get_data)

    assert api.sleeps == sleeps


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 599])
def test_a_transient_status_is_retried(api, status):
    api.replies = [failure(status), success("done")]

    assert with_retry(get_data) == "done"


@pytest.mark.parametrize("status", [200, 307, 400, 401, 403, 404, 409, 422, 499])
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
        ChunkedEncodingError("ended early"),
        ProxyError("refused"),
    ],
    ids=["connection", "connect timeout", "read timeout", "cut short", "proxy"],
)
def test_a_request_without_a_response_is_retried(api, error):
    api.replies = [error, success("done")]

    assert with_retry(get_data) == "done"


@pytest.mark.parametrize(
    "error",
    [KeyError("data"), InvalidURL("x"), OSError("disk")],
    ids=["KeyError", "InvalidURL", "OSError"],
)
def test_no_other_error_is_retried(api, error):
    api.replies = [error]

    with pytest.raises(type(error)):
        with_retry(get_data)

    assert api.sleeps == []


@pytest.mark.parametrize("seconds", [7, 3600])
def test_retry_after_is_slept(api, seconds):
    api.replies = [failure(429, headers={"Retry-After": str(seconds)}), success("done")]

    with_retry(get_data)

    assert api.sleeps == [seconds]


def test_retry_after_is_only_a_minimum(api, monkeypatch):
    monkeypatch.setattr(random, "uniform", max)
    limited = failure(429, headers={"Retry-After": "1"})
    api.replies = [failure(503), failure(503), limited, success("done")]

    with_retry(get_data)

    assert api.sleeps == [0.5, 1, 2]


def test_each_retry_is_logged_with_its_cause_and_wait(api, monkeypatch, caplog):
    monkeypatch.setattr(random, "uniform", max)
    lost = requests.ConnectionError("Connection aborted")
    limited = failure(429, "RATE_LIMITED", "Slow down", headers={"Retry-After": "4"})
    api.replies = [lost, limited, success("done")]

    with_retry(get_data)

    assert caplog.messages == [
        "no response from https://app.cynco.io/api/v1: Connection aborted"
        "; retrying in 0.5 s",
        "429 RATE_LIMITED: Slow down [req_9]; retrying in 4.0 s",
    ]
    assert caplog.records[0].name == "cynco"
    assert caplog.records[0].levelname == "WARNING"


# describe


def test_a_refused_connection_is_described_by_base_url_and_cause():
    with pytest.raises(requests.ConnectionError) as caught:
        requests.get("http://127.0.0.1:1/hook?token=secret", timeout=5)

    text = _common.describe(caught.value)

    assert text.startswith("no response from https://app.cynco.io/api/v1: [")
    assert "refused" in text
    assert "Max retries" not in text
    assert "secret" not in text


def test_an_error_that_the_caller_handles_is_no_cause():
    try:
        raise KeyError("whsec_other")
    except KeyError:
        with pytest.raises(requests.ConnectionError) as caught:
            requests.get("http://127.0.0.1:1/", timeout=5)

    assert "refused" in _common.describe(caught.value)


# run


def stop(main):
    """Return what run() exits with: given a text, Python prints it and exits with 1."""
    with pytest.raises(SystemExit) as caught:
        _common.run(main)
    return caught.value.code


def raising(error):
    """Return a main() that fails."""

    def main():
        raise error

    return main


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_exit_code_is_that_of_main(code):
    def main():
        return code

    assert stop(main) == code


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (CyncoError("CYNCO_API_KEY is not set"), "Error: CYNCO_API_KEY is not set"),
        (CyncoAPIError(503, "C", "Try later"), "Error: 503 C: Try later"),
        (
            requests.ConnectionError("aborted"),
            "Error: no response from https://app.cynco.io/api/v1: aborted",
        ),
        (OSError(28, "No space left"), "Error: [Errno 28] No space left"),
        (KeyboardInterrupt(), "\nStopped."),
    ],
    ids=["CyncoError", "CyncoAPIError", "no response", "OSError", "Ctrl-C"],
)
def test_an_expected_failure_is_one_line(error, line):
    assert stop(raising(error)) == line


def test_invalid_url_is_one_line():
    def main():
        requests.get("https://app.cynco.io:port/api/v1", timeout=5)

    line = "Error: Failed to parse: 'app.cynco.io:port' is not a valid host or port"
    assert stop(main) == line


def test_a_missing_certificate_file_is_one_line(monkeypatch):
    def main():
        requests.get("https://127.0.0.1:1/", timeout=5)

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "missing.pem")

    line = stop(main)

    assert line.startswith("Error: Could not find a suitable TLS CA certificate")
    assert line.endswith("missing.pem")


def test_a_bug_keeps_its_traceback():
    with pytest.raises(KeyError, match="customer_id"):
        _common.run(raising(KeyError("customer_id")))


def test_a_header_that_is_no_text_keeps_its_traceback():
    def main():
        requests.get(URL, headers={"X-Page": 1}, timeout=5)

    with pytest.raises(InvalidHeader, match="X-Page"):
        _common.run(main)


def test_json_that_cannot_be_sent_keeps_its_traceback():
    def main():
        requests.post(URL, json={"amount": float("nan")}, timeout=5)

    with pytest.raises(InvalidJSONError):
        _common.run(main)


def test_json_that_cannot_be_read_keeps_its_traceback():
    def main():
        reply(b"<html>").json()

    with pytest.raises(JSONDecodeError):
        _common.run(main)


def test_a_character_that_stdout_lacks_is_printed_as_its_code(monkeypatch):
    def main():
        print("\u6c38")

    written = io.BytesIO()
    stdout = io.TextIOWrapper(written, encoding="ascii", newline="\n")
    monkeypatch.setattr(sys, "stdout", stdout)

    assert stop(main) is None

    assert written.getvalue() == b"\\u6c38\n"


def test_a_notebook_has_a_stdout_without_reconfigure(monkeypatch):
    def main():
        print("a line")
        return 0

    stdout = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)

    assert stop(main) == 0

    assert stdout.getvalue() == "a line\n"


def test_an_os_error_does_not_end_the_kernel_of_a_notebook(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())

    # os._exit() would end this process; SystemExit ends only a notebook's cell.
    assert stop(raising(OSError("disk full"))) == "Error: disk full"


PRINT_A_LINE = """
import _common


def main():
    print("a line")


_common.run(main)
"""


def print_a_line_to(stdout):
    """Print a line in a process with this stdout."""
    return subprocess.run(
        [sys.executable, "-c", PRINT_A_LINE],
        cwd=ROOT,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        timeout=15,
        check=False,
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has /dev/full")
def test_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        done = print_a_line_to(full)

    assert done.returncode == 1
    assert done.stderr == "Error: [Errno 28] No space left on device\n"


@pytest.mark.skipif(os.name == "nt", reason="a pipe without a reader, as POSIX has it")
def test_a_pipe_that_head_has_closed_is_at_most_one_line():
    reader, writer = os.pipe()
    os.close(reader)

    done = print_a_line_to(writer)
    os.close(writer)

    assert done.returncode == 1
    assert done.stderr in ("", "Error: [Errno 32] Broken pipe\n")


# decimals

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


# from_minor and from_major


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


@pytest.mark.parametrize("amount", ["1620.00", Decimal("1620.00")], ids=repr)
def test_1620_00_is_not_in_minor_units(amount):
    message = "1620.00 MYR has a decimal point: not in minor units"

    with pytest.raises(CyncoError, match=f"^{message}$"):
        _common.from_minor(amount, "MYR")


@pytest.mark.parametrize("amount", ["0.5", Decimal("-0.5")], ids=repr)
def test_half_a_sen_is_an_error_in_minor_units(amount):
    with pytest.raises(CyncoError, match=r"0\.5 MYR has a decimal point"):
        _common.from_minor(amount, "MYR")


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


@pytest.mark.parametrize(
    "amount", [16.205, "16.205", Decimal("16.205"), Decimal("16.195")], ids=repr
)
def test_half_a_sen_is_an_error_in_major_units(amount):
    message = f"{amount} MYR has more decimals than MYR has"

    with pytest.raises(CyncoError, match=f"^{message}$"):
        _common.from_major(amount, "MYR")


def test_half_a_fils_is_an_error_in_major_units():
    with pytest.raises(
        CyncoError, match=r"^1\.0005 KWD has more decimals than KWD has$"
    ):
        _common.from_major("1.0005", "KWD")


# invoice_total


@pytest.mark.parametrize(
    "amount",
    [
        {"total": 162000},
        {"total": "162000"},
        {"totalAmount": 1620},
        {"totalAmount": Decimal("1620.00")},
        {"totalAmount": "1620.00"},
    ],
    ids=["guide", "guide, text", "OpenAPI, whole", "OpenAPI", "OpenAPI, text"],
)
def test_the_total_of_an_invoice_in_both_shapes(amount):
    total = _common.invoice_total({"currency": "MYR", **amount})

    assert str(total) == "1620.00"


def test_a_total_of_null_is_none():
    assert _common.invoice_total({"currency": "MYR", "totalAmount": None}) is None


def test_an_invoice_without_a_total_is_no_zero():
    with pytest.raises(KeyError, match=r"^'totalAmount'$"):
        _common.invoice_total({"currency": "MYR", "amount": 5})


# format_money


def test_thousands_are_separated_by_commas():
    text = _common.format_money(Decimal("-1234567.89"), "MYR")

    assert text == "MYR -1,234,567.89"


def test_an_amount_in_jpy_has_no_decimals():
    assert _common.format_money(Decimal("500"), "JPY") == "JPY 500"


def test_no_amount_is_a_dash():
    assert _common.format_money(None, "MYR") == "-"
