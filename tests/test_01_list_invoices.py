"""01_list_invoices.py: what it asks for, how it shows a page, how each failure ends."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
import sandbox
from conftest import API, KEY, answer, envelope, failure, load, run

import _common

SCRIPT = "01_list_invoices.py"
script = load("01_list_invoices")
Serve = Callable[..., sandbox.SandboxServer]
Capture = pytest.CaptureFixture[str]

# number, customer, status, due date, currency, cents, whole units
INVOICES = [
    ("INV-00001", "Teh Tarik Trading Sdn Bhd", "overdue", "2026-03-30", "MYR", 162000, 1620.00),
    ("INV-00022", "Sakura Precision KK", "overdue", "2026-02-01", "JPY", 1250000, 1250000),
    ("INV-333", None, "partially_paid", None, "KWD", 1005, 1.005),
    ("INV-4", "Gulf", "overdue", "2026-01-05", "MYR", -1050, -10.5),
    ("INV-5", "Persatuan Peniaga Pasar Malam Seri Kembangan", "paid", "2026-01-04", "SGD", 0, 0.0),
    ("INV-6", "\u6c38\u767c", "draft", "2026-01-03", "MYR", None, None),
]


def page(shape: str, rows: list[tuple[Any, ...]] = INVOICES, total: int = 23, more: bool = True) -> dict[str, Any]:
    """One page of invoices as either publication describes it."""
    names = ["invoiceNumber", "customerName", "status", "dueDate", "currency"]
    if shape == "guide":
        data = [{**dict(zip(names, row)), "total": row[5]} for row in rows]
        return envelope(data, pagination={"total": total, "limit": 10, "offset": 0, "hasMore": more})
    data = [{**dict(zip(names, row)), "totalAmount": row[6]} for row in rows]
    return envelope(data, pagination={"page": 1, "limit": 10, "total": total, "totalPages": 3, "hasMore": more})


# The request


def test_request(api: API) -> None:
    api.answers_with(envelope([]))
    assert script.main([]) == 0
    (request,) = api.requests
    assert (request.method, request.url) == ("GET", "https://app.cynco.io/api/v1/invoices")
    assert request.query == {"status": "overdue", "sort": "total", "order": "desc", "limit": "10"}
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert (request.body, request.timeout) == (b"", 30)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", ["1", "9", "10", "99", "100"])
def test_options(api: API, limit: str, order: str) -> None:
    api.answers_with(envelope([]))
    assert script.main(["--status", "paid", "--sort", "dueDate", "--order", order, "--limit", limit]) == 0
    assert api.requests[0].query == {"status": "paid", "sort": "dueDate", "order": order, "limit": limit}


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        *[(["--limit", limit], "1 to 100") for limit in ["0", "101", "1000", "-1", "ten", "1.5", "", " 5", "\u0665"]],
        (["--order", "up"], "--order"),
        (["--page", "2"], "--page"),
        (["paid"], "paid"),
        (["--status"], "--status"),
    ],
    ids=str,
)
def test_usage_errors(api: API, capsys: Capture, argv: list[str], reason: str) -> None:
    with pytest.raises(SystemExit) as stop:
        script.main(argv)
    assert (stop.value.code, api.requests) == (2, [])
    last = capsys.readouterr().err.splitlines()[-1]
    assert "error: " in last
    assert reason in last


def test_help_needs_no_key(api: API, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CYNCO_API_KEY")
    monkeypatch.setattr(_common, "BASE_URL", "http://example.com")
    with pytest.raises(SystemExit) as stop:
        script.main(["--help"])
    assert (stop.value.code, api.requests) == (0, [])
    out = capsys.readouterr().out
    for part in ["--status", "default: overdue", "--sort", "default: total", "--order", "default: desc", "default: 10"]:
        assert part in out


# The page


def test_table_is_the_same_in_both_shapes(api: API, capsys: Capture, shape: str) -> None:
    api.answers_with(page(shape))
    assert script.main([]) == 0
    assert capsys.readouterr() == (
        "Number     Customer                          Status          Due                 Total\n"
        "---------  --------------------------------  --------------  ----------  -------------\n"
        "INV-00001  Teh Tarik Trading Sdn Bhd         overdue         2026-03-30   MYR 1,620.00\n"
        "INV-00022  Sakura Precision KK               overdue         2026-02-01  JPY 1,250,000\n"
        "INV-333    -                                 partially_paid  -               KWD 1.005\n"
        "INV-4      Gulf                              overdue         2026-01-05     MYR -10.50\n"
        "INV-5      Persatuan Peniaga Pasar Malam...  paid            2026-01-04       SGD 0.00\n"
        "INV-6      \u6c38\u767c                              draft           2026-01-03              -\n"
        "\n"
        "6 of 23 invoices.\n"
        "To read them all: python 03_pagination.py --status overdue\n",
        "",
    )


def test_where_to_go_on_is_said_for_the_status_asked_for(api: API, capsys: Capture, shape: str) -> None:
    api.answers_with(page(shape))
    script.main(["--status", "paid"])
    assert capsys.readouterr().out.endswith("python 03_pagination.py --status paid\n")


@pytest.mark.parametrize("pagination", ["last page", None, "missing"])
def test_last_page(api: API, capsys: Capture, shape: str, pagination: str | None) -> None:
    body = page(shape, INVOICES[:2], total=2, more=False)
    if pagination is None:
        body["pagination"] = None
    elif pagination == "missing":
        del body["pagination"]
    api.answers_with(body)
    assert script.main([]) == 0
    assert capsys.readouterr().out.endswith("\n\n2 of 2 invoices.\n")


def test_no_invoices(api: API, capsys: Capture, shape: str) -> None:
    api.answers_with(page(shape, [], total=0, more=False))
    assert script.main(["--status", "draft"]) == 0
    assert capsys.readouterr() == ("No invoices with status draft.\n", "")


@pytest.mark.parametrize(("length", "shown"), [(32, "x" * 32), (33, "x" * 29 + "..."), (5000, "x" * 29 + "...")])
def test_long_names_are_shortened(api: API, capsys: Capture, length: int, shown: str) -> None:
    api.answers_with(page("guide", [("INV-1", "x" * length, "paid", None, "MYR", 1, None)]))
    script.main([])
    assert f"INV-1   {shown}  paid" in capsys.readouterr().out


def test_a_passing_failure_is_repeated(api: API, capsys: Capture, shape: str) -> None:
    api.answers_with(failure(503), requests.ConnectionError(), page(shape))
    assert script.main([]) == 0
    assert "6 of 23 invoices." in capsys.readouterr().out
    assert (len(api.requests), len(api.sleeps)) == (3, 2)


# Failures


@pytest.mark.parametrize(
    ("reply", "requests_sent", "text"),
    [
        (
            lambda _: failure(422, "VALIDATION_ERROR", "No", details=[{"field": "status", "message": "is unknown"}]),
            1,
            "Error: 422 VALIDATION_ERROR: No (status: is unknown) [req_9].",
        ),
        (lambda _: failure(401, "UNAUTHORIZED", f"No key {KEY}"), 1, "Error: 401 UNAUTHORIZED: No key cak_*** [req_9]"),
        (lambda _: failure(500, "INTERNAL_ERROR", "Oops"), 4, "Error: 500 INTERNAL_ERROR: Oops [req_9]"),
        (lambda _: failure(429, headers={"Retry-After": "61"}), 1, "Error: 429 SOME_CODE: Some message [req_9]"),
        (lambda _: answer("<html>\nLog in</html>"), 1, "Error: 200 UNREADABLE: not an answer of the Cynco API"),
        (lambda _: answer("<html>\nBad gateway</html>", 502), 4, "Error: 502 UNREADABLE: not an answer"),
        (lambda _: answer(b""), 1, "Error: 200 UNREADABLE: not an answer of the Cynco API"),
        (lambda _: envelope({}), 1, "Error: 200 UNREADABLE: not an answer of the Cynco API"),
        (lambda _: envelope([{"invoiceNumber": "INV-1"}]), 1, "Error: this answer cannot be read"),
        (lambda _: answer(b'{"success": true, "data": [{"i'), 4, "Error: 200 BROKEN_OFF: the answer is incomplete"),
        (requests.ReadTimeout("HTTPSConnectionPool(...)"), 4, "Error: no answer from app.cynco.io within 30 s"),
        (requests.ConnectTimeout("HTTPSConnectionPool(...)"), 4, "Error: no answer from app.cynco.io within 30 s"),
        (requests.ConnectionError("HTTPSConnectionPool(...)"), 4, "Error: no connection to app.cynco.io"),
        (requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED]"), 1, "Error: no secure connection to app."),
        (KeyboardInterrupt(), 1, "Stopped."),
    ],
)
def test_failures_end_in_one_line(api: API, capsys: Capture, reply: Any, requests_sent: int, text: str) -> None:
    api.answers_with(*[reply] * 4)
    assert script.main([]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip().startswith(text)
    assert err.strip().isprintable()
    assert len(api.requests) == requests_sent
    for unwanted in ["Traceback", "HTTPSConnectionPool", KEY]:
        assert unwanted not in err


def test_unreachable_host(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    sleeps: list[float] = []
    monkeypatch.setattr("time.sleep", sleeps.append)
    for module in (_common, script):
        monkeypatch.setattr(module, "BASE_URL", "http://127.0.0.1:9/api/v1")
    assert script.main([]) == 1
    out, err = capsys.readouterr()
    assert (out, len(sleeps)) == ("", 3)
    assert err.startswith("Error: no connection to 127.0.0.1:9, or it broke off; ")
    assert err.count("\n") == 1
    assert "HTTP" not in err


# As a reader runs it


def test_both_shapes_print_the_same_over_http(serve: Serve) -> None:
    done = {shape: run(SCRIPT, "--limit", "100", server=serve(shape=shape)) for shape in ("guide", "openapi")}
    assert [(one.returncode, one.stderr) for one in done.values()] == [(0, "")] * 2
    assert done["guide"].stdout == done["openapi"].stdout
    lines = done["guide"].stdout.splitlines()
    assert lines[0].split() == ["Number", "Customer", "Status", "Due", "Total"]
    assert lines[-1] == f"{len(lines) - 4} of {len(lines) - 4} invoices."
    assert {"MYR", "JPY"} <= {line.split()[-2] for line in lines[2:-2]}


@pytest.mark.parametrize(
    ("environ", "argv", "text"),
    [
        ({"CYNCO_API_KEY": ""}, [], "CYNCO_API_KEY is not set. Create one under Settings > API Keys"),
        ({"CYNCO_API_KEY": "cak_secret\nX-Admin: 1"}, [], "CYNCO_API_KEY is not a key (cak_...)"),
        ({"CYNCO_API_KEY": "cak_secret"}, [], "Error: 401 UNAUTHORIZED: The API key is missing, wrong or revoked ["),
        ({}, ["--status", "lost"], "Error: 422 VALIDATION_ERROR: Validation failed (status: must be one of: draft, "),
        ({"CYNCO_BASE_URL": "http://example.com/api/v1"}, [], "CYNCO_BASE_URL must look like https://"),
    ],
    ids=["no key", "key of two lines", "wrong key", "unknown status", "no https"],
)
def test_failing_process(serve: Serve, environ: dict[str, str], argv: list[str], text: str) -> None:
    done = run(SCRIPT, *argv, server=serve(), **environ)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(text)
    assert done.stderr.count("\n") == 1
    assert "cak_secret" not in done.stderr


def test_console_that_lacks_a_letter(serve: Serve) -> None:
    server = serve(invoices=30)
    for invoice in server.app.config["INVOICES"]:
        invoice.update(customerName="Caf\u00e9 \u6c38\u767c", status="overdue")
    done = run(SCRIPT, server=server, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"Caf\xe9 \u6c38\u767c" in done.stdout
