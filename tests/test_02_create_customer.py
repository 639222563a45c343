"""Creating a customer: what is sent, what is shown, and that there is one customer whatever happens on the way."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import requests
import sandbox
from conftest import API, KEY, ROOT, StallingServer, answer, envelope, failure, load, run
from flask import Flask

SCRIPT = "02_create_customer.py"
main = load("02_create_customer").main

SAMPLE = {
    "name": "Acme Corp",
    "email": "billing@acme.example",
    "phone": "+60 3-2345 6789",
    "address": "Level 12, Menara Acme, Jalan Ampang",
    "city": "Kuala Lumpur",
    "state": "Wilayah Persekutuan",
    "zip": "50450",
    "country": "Malaysia",
    "website": "https://acme.example",
    "preferredCurrency": "MYR",
}
FLAT = {**SAMPLE, "id": "cus_0011", "taxId": None, "notes": None, "createdAt": "2026-03-31T09:00:00Z"}
NESTED = {
    **{name: value for name, value in FLAT.items() if name not in ("city", "state", "zip", "country")},
    "address": {
        "line1": SAMPLE["address"],
        "line2": None,
        "city": SAMPLE["city"],
        "state": SAMPLE["state"],
        "postalCode": SAMPLE["zip"],
        "country": SAMPLE["country"],
    },
}
SHOWN = """\
Created  cus_0011
Name     Acme Corp
Email    billing@acme.example
Address  Level 12, Menara Acme, Jalan Ampang, Kuala Lumpur, Wilayah Persekutuan, 50450, Malaysia
Date     2026-03-31T09:00:00Z
"""
COMMAND = "Within 24 hours, the same options and key create no second one: "


def created(customer: dict[str, Any] = FLAT) -> requests.Response:
    return answer(envelope(customer), 201)


def new_customers(server: sandbox.SandboxServer) -> int:
    return len(server.app.config["CUSTOMERS"]) - len(sandbox.CUSTOMERS)


def keys_and_bodies(server: sandbox.SandboxServer) -> set[tuple[str, bytes]]:
    return {(request["headers"]["Idempotency-Key"], request["body"]) for request in server.seen}


def test_sends_the_whole_customer_once(api: API) -> None:
    api.answers_with(created())
    assert main([]) == 0
    (request,) = api.requests
    assert (request.method, request.url) == ("POST", "https://app.cynco.io/api/v1/customers")
    assert request.query == {}
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.json() == SAMPLE
    assert request.timeout == 30


@pytest.mark.parametrize("value", ["Nilai", "", "\u6c38\u767c \"'$`\\"])
@pytest.mark.parametrize(
    ("option", "field"),
    [
        *[(f"--{field}", field) for field in "name email phone address city state zip country website notes".split()],
        ("--tax-id", "taxId"),
        ("--registration-number", "registrationNumber"),
        ("--payment-terms", "paymentTerms"),
        ("--preferred-currency", "preferredCurrency"),
    ],
)
def test_every_option_reaches_its_field(api: API, option: str, field: str, value: str) -> None:
    api.answers_with(created())
    assert main([option, value]) == 0
    assert api.requests[0].json() == {**SAMPLE, field: value}


def test_every_run_makes_a_key_of_its_own(api: API) -> None:
    api.answers_with(created(), created())
    assert main([]) == main([]) == 0
    first, second = (str(request.headers["Idempotency-Key"]) for request in api.requests)
    assert first != second
    assert [str(uuid.UUID(first)), str(uuid.UUID(second))] == [first, second]


@pytest.mark.parametrize("key", ["order-1042", "!", "~" * 255])
def test_a_given_key_is_used(api: API, key: str) -> None:
    api.answers_with(created())
    assert main(["--idempotency-key", key]) == 0
    assert api.requests[0].headers["Idempotency-Key"] == key


@pytest.mark.parametrize("key", ["", "k" * 256, "a\nb", "key\n", "a b", "cl\u00e9", "\u0664"])
def test_a_bad_key_is_a_usage_error(api: API, capsys: pytest.CaptureFixture[str], key: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--idempotency-key", key])
    assert stop.value.code == 2
    assert "1 to 255 printable ASCII characters" in capsys.readouterr().err
    assert api.requests == []


@pytest.mark.parametrize(
    "failures",
    [
        [failure(503), failure(503)],
        [requests.ConnectionError, failure(503)],
        [requests.Timeout, requests.exceptions.ChunkedEncodingError, failure(500)],
        [answer(b'{"success": true, "data": {"id', 201)],
        [failure(429, headers={"Retry-After": "7"}), failure(408)],
    ],
    ids=["503", "lost, 503", "timeout, broken off, 500", "truncated", "429, 408"],
)
@pytest.mark.parametrize("options", [[], ["--idempotency-key", "order-1042"]])
def test_every_attempt_sends_the_same_key_and_body(
    api: API, capsys: pytest.CaptureFixture[str], failures: list[Any], options: list[str]
) -> None:
    api.answers_with(*failures, created())
    assert main(options) == 0
    assert len(api.requests) == len(failures) + 1
    assert len(api.sleeps) == len(failures)
    assert len({request.headers["Idempotency-Key"] for request in api.requests}) == 1
    assert {request.body for request in api.requests} == {api.requests[0].body}
    assert capsys.readouterr().out == SHOWN


@pytest.mark.parametrize("customer", [FLAT, NESTED], ids=["flat", "nested"])
def test_shows_the_customer_of_either_shape(
    api: API, capsys: pytest.CaptureFixture[str], customer: dict[str, Any]
) -> None:
    api.answers_with(created(customer))
    assert main([]) == 0
    assert capsys.readouterr() == (SHOWN, "")


@pytest.mark.parametrize(
    ("customer", "address"),
    [
        ({}, "-"),
        (dict.fromkeys(FLAT), "-"),
        ({**dict.fromkeys(FLAT), "address": dict.fromkeys(NESTED["address"])}, "-"),
        ({"address": {}, "city": "Ipoh"}, "-"),
        ({"city": "Ipoh", "zip": "", "country": None}, "Ipoh"),
        (
            {"address": {"line1": "1 Jalan Satu", "line2": "Unit 2", "postalCode": "30000"}},
            "1 Jalan Satu, Unit 2, 30000",
        ),
    ],
)
def test_shows_a_dash_for_what_is_not_set(
    api: API, capsys: pytest.CaptureFixture[str], customer: dict[str, Any], address: str
) -> None:
    api.answers_with(created(customer))
    assert main([]) == 0
    assert capsys.readouterr().out == f"Created  -\nName     -\nEmail    -\nAddress  {address}\nDate     -\n"


def test_shows_stored_text_on_one_line(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers_with(created({**FLAT, "name": "Two\nlines\x1b[31m"}))
    assert main([]) == 0
    assert "Name     Two lines [31m\n" in capsys.readouterr().out


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
def test_a_refusal_is_one_line_and_final(api: API, capsys: pytest.CaptureFixture[str], status: int) -> None:
    api.answers_with(failure(status, "SOME_CODE", f"Because of {KEY}"))
    assert main([]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"Error: {status} SOME_CODE: Because of cak_***")
    assert output.err.count("\n") == 1
    assert len(api.requests) == 1


@pytest.mark.parametrize("status", [400, 422])
def test_a_body_that_cannot_pass_did_not_pass_before(api: API, capsys: pytest.CaptureFixture[str], status: int) -> None:
    api.answers_with(requests.Timeout, failure(status))
    assert main([]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"Error: {status} SOME_CODE")


def test_a_422_names_every_field(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    details = [{"field": "name", "message": "is required"}, {"field": "email", "message": "must be an address"}]
    api.answers_with(failure(422, "VALIDATION_ERROR", "Validation failed", details=details))
    assert main(["--name", "", "--email", "x"]) == 1
    output = capsys.readouterr()
    assert "Validation failed (name: is required; email: must be an address)" in output.err
    assert (output.out, output.err.count("\n"), len(api.requests)) == ("", 1, 1)


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ([requests.ConnectionError] * 4, "no connection to app.cynco.io"),
        ([requests.Timeout] * 4, "no answer from app.cynco.io within 30 s"),
        ([requests.ConnectionError, requests.Timeout, failure(503), failure(500)], "500 SOME_CODE"),
        ([failure(500) for _ in range(4)], "500 SOME_CODE"),
        ([failure(408) for _ in range(4)], "408 SOME_CODE"),
        ([requests.Timeout, failure(429, headers={"Retry-After": "3600"})], "429 SOME_CODE"),
        ([ValueError("Failed to parse: an address to go on to")], "Failed to parse: an address to go on to"),
        ([failure(501)], "501 SOME_CODE"),
        (
            [answer(b'{"success": true, "data": {"id', 201) for _ in range(4)],
            "201 BROKEN_OFF: the answer is incomplete",
        ),
        ([answer("<html>Welcome</html>")], "200 UNREADABLE: not an answer of the Cynco API"),
        ([answer(envelope(None), 201)], "201 UNREADABLE: not an answer of the Cynco API"),
        ([answer(b"", 204)], "204 UNREADABLE: not an answer of the Cynco API"),
        *(([requests.Timeout, failure(status)], f"{status} SOME_CODE") for status in (401, 403, 404, 409)),
        ([requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED")], "no secure connection"),
        ([requests.ConnectionError, KeyboardInterrupt], "interrupted"),
        ([KeyboardInterrupt], "interrupted"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--idempotency-key", "order-1042"]])
def test_an_unknown_outcome_shows_the_key_and_the_command(
    api: API,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    replies: list[Any],
    reason: str,
    options: list[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [SCRIPT, "--city", "Ipoh", *options])
    api.answers_with(*replies)
    assert main() == 1
    assert len(api.requests) == len(replies)
    assert len(api.sleeps) == len(replies) - 1
    key = str(api.requests[0].headers["Idempotency-Key"])
    output = capsys.readouterr()
    assert f"Nobody knows whether the customer was created: {reason}" in output.err
    assert f"\nIdempotency-Key: {key}\n" in output.err
    assert output.err.endswith(f"{COMMAND}python {SCRIPT} --city Ipoh --idempotency-key {key}\n")
    assert output.out == ""
    assert KEY not in output.err


@pytest.mark.parametrize("options", [[], ["--idempotency-key", "order-1042"]])
def test_the_shown_command_repeats_exactly_this(
    serve: Callable[..., sandbox.SandboxServer], options: list[str]
) -> None:
    wall, free = Flask("wall"), serve()
    wall.post("/api/v1/customers")(lambda: "<html>Welcome to the proxy</html>")
    odd = ["--name", 'O\'Brien & "Sons" \u6c38\u767c \u00e9', "--notes", "$HOME `id` $(id) %PATH% !! \\ * ~ #;|<>"]
    odd += ["--city", "", "--phone=-60", "--address", "  two  spaces  ", "--state", "a\tb\nc", "--tax-id", '\\\\x\\"']
    with sandbox.SandboxServer(wall) as busy:
        first = run(SCRIPT, *odd, *options, server=busy, PYTHONUTF8="1")
    assert (first.returncode, len(busy.seen)) == (1, 1)

    command = first.stderr.partition(COMMAND)[2].removesuffix("\n")
    if os.name == "nt":
        command = f'"{sys.executable}"' + command.removeprefix("python")
    else:  # through a real shell, where an unquoted $ or backtick would show
        command = f'python() {{ "{sys.executable}" "$@"; }}\n{command}'
    environ = {**os.environ, "CYNCO_BASE_URL": free.url, "CYNCO_API_KEY": sandbox.API_KEY}
    again = subprocess.run(
        command, shell=os.name != "nt", cwd=ROOT, env=environ, timeout=60, capture_output=True, check=False
    )
    assert (again.returncode, again.stderr) == (0, b"")
    assert keys_and_bodies(free) == keys_and_bodies(busy)
    assert new_customers(free) == 1


def test_a_committed_customer_whose_answer_is_lost_is_not_created_twice(
    serve: Callable[..., sandbox.SandboxServer], shape: str
) -> None:
    server = serve(faults=["lost"], shape=shape)
    result = run(SCRIPT, server=server)
    assert (result.returncode, result.stdout) == (0, SHOWN)
    assert [request["fault"] for request in server.seen] == ["lost", None]
    assert len(keys_and_bodies(server)) == 1
    assert new_customers(server) == 1
    assert "attempt 2 of 4" in result.stderr
    assert sandbox.API_KEY not in result.stderr


def test_a_customer_created_by_a_slow_server_is_not_created_twice(shape: str) -> None:
    hurried = f"""if True:
        import _common, runpy, sys
        _common.TIMEOUT, sys.argv = 0.5, ["{SCRIPT}"]
        runpy.run_path("{SCRIPT}", run_name="__main__")"""
    with StallingServer(sandbox.create_app(shape=shape), stalls_at=1) as server:
        result = run("-c", hurried, server=server)
    assert (result.returncode, result.stdout) == (0, SHOWN)
    assert len(server.seen) == 2
    assert len(keys_and_bodies(server)) == 1
    assert new_customers(server) == 1
    assert "no answer from 127.0.0.1" in result.stderr


def test_a_second_run_is_refused_but_a_repeat_is_not(serve: Callable[..., sandbox.SandboxServer], shape: str) -> None:
    server = serve(shape=shape)
    key = ["--idempotency-key", "order-1042"]
    first, second, repeat = (
        run(SCRIPT, *key, server=server),
        run(SCRIPT, server=server),
        run(SCRIPT, *key, server=server),
    )
    assert (first.returncode, first.stdout, first.stderr) == (0, SHOWN, "")
    assert (repeat.returncode, repeat.stdout, repeat.stderr) == (0, SHOWN, "")
    assert (second.returncode, second.stdout, second.stderr.count("\n")) == (1, "", 1)
    assert "409 CONFLICT: A customer with the email billing@acme.example exists" in second.stderr
    assert new_customers(server) == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send SIGINT to one process")
def test_ctrl_c_while_waiting_shows_the_key_and_the_command() -> None:
    with StallingServer(sandbox.create_app(), stalls_at=1) as server:
        environ = {**os.environ, "CYNCO_BASE_URL": server.url, "CYNCO_API_KEY": sandbox.API_KEY}
        with subprocess.Popen(
            [sys.executable, SCRIPT], cwd=ROOT, env=environ, stderr=subprocess.PIPE, encoding="utf-8"
        ) as script:
            assert server.stalled.wait(30)
            script.send_signal(signal.SIGINT)
            errors = script.communicate(timeout=30)[1]
    ((key, _),) = keys_and_bodies(server)
    assert script.returncode == 1
    assert "was created: interrupted." in errors
    assert errors.endswith(f"{COMMAND}python {SCRIPT} --idempotency-key {key}\n")


@pytest.mark.parametrize("final", [409, 429])
def test_a_429_was_not_worked_on_so_a_refusal_after_it_is_final(
    api: API, capsys: pytest.CaptureFixture[str], final: int
) -> None:
    api.answers_with(failure(429, headers={"Retry-After": "1"}), failure(final, headers={"Retry-After": "61"}))
    assert main([]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"Error: {final} SOME_CODE")


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "--name '\u6c38' --idempotency-key k1"), ("ascii", "the same command with")]
)
def test_a_console_that_cannot_show_the_command_is_not_shown_a_wrong_one(
    serve: Callable[..., sandbox.SandboxServer], encoding: str, shown: str
) -> None:
    server = serve(faults=["500"])
    server.next_fault = lambda: "500"  # type: ignore[method-assign]
    hurried = "import _common, runpy, sys; _common.time.sleep = lambda seconds: None; "
    hurried += f"sys.argv = ['{SCRIPT}', '--name', '\u6c38', '--idempotency-key', 'k1']; "
    hurried += f"runpy.run_path('{SCRIPT}', run_name='__main__')"
    result = run("-c", hurried, server=server, PYTHONIOENCODING=encoding, PYTHONPATH=str(ROOT), PYTHONUTF8="1")
    assert shown in result.stderr.splitlines()[-1]
    assert "\\u6c38" not in result.stderr


def test_the_command_is_quoted_for_windows(
    api: API, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api.answers_with(*[requests.ConnectionError] * 4)
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        main(["--name", "Acme & Sons"])
    assert '--name "Acme & Sons" --idempotency-key' in capsys.readouterr().err
