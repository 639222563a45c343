"""The sandbox answers as the API is described, in both published shapes; its command runs and serves."""

import functools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import sandbox
from conftest import ROOT, run

KEY, READ_ONLY_KEY = sandbox.API_KEY, sandbox.READ_ONLY_KEY
CUSTOMER = {"name": "Acme Corp", "email": "billing@acme.example", "address": "1 Jalan Sultan", "city": "Kuala Lumpur"}
Call = Callable[..., requests.Response]
Serve = Callable[..., sandbox.SandboxServer]


def send(
    server: sandbox.SandboxServer, method: str, path: str, key: str | None = KEY, **options: Any
) -> requests.Response:
    headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **options.pop("headers", {})}
    return requests.request(method, server.url + path, headers=headers, timeout=10, **options)


@pytest.fixture
def call(serve: Serve) -> Call:
    return functools.partial(send, serve())


@pytest.fixture
def shaped(serve: Serve, shape: str) -> Call:
    return functools.partial(send, serve(shape=shape))


def get(call: Call, path: str, **query: Any) -> Any:
    """The answer to a GET that succeeds."""
    response = call("GET", path, params=query)
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["success"] is True
    assert body["meta"]["apiVersion"] == "v1"
    return body


def refused(response: requests.Response, status: int, code: str) -> Any:
    """The error of an answer with this status."""
    body = response.json()
    assert (response.status_code, body["success"], body["error"]["code"]) == (status, False, code)
    assert body["error"]["message"]
    assert body["meta"]["requestId"].startswith("req_")
    return body["error"]


def invalid_fields(response: requests.Response) -> list[str]:
    return [detail["field"] for detail in refused(response, 422, "VALIDATION_ERROR")["details"] if detail["message"]]


# Access


@pytest.mark.parametrize("key", [None, "", "cak_wrong", f"{KEY}x"])
def test_wrong_key(shaped: Call, shape: str, key: str | None) -> None:
    for method, path in [("GET", "/invoices"), ("POST", "/customers"), ("DELETE", "/items/itm_01m3q6s9u5")]:
        refused(shaped(method, path, key), 401, "UNAUTHORIZED" if shape == "guide" else "AUTHENTICATION_ERROR")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/customers", "customers:write"),
        ("PATCH", "/vendors/ven_01k2p5r8t4", "vendors:write"),
        ("DELETE", "/items/itm_01m3q6s9u5", "items:write"),
    ],
)
def test_key_without_the_scope(call: Call, method: str, path: str, scope: str) -> None:
    assert scope in refused(call(method, path, READ_ONLY_KEY, json=CUSTOMER), 403, "FORBIDDEN")["message"]
    assert call("GET", "/invoices", READ_ONLY_KEY).status_code == 200
    assert call(method, path, json=CUSTOMER).status_code in (200, 201)  # nothing was done before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/customers/cus_9999"),
        ("PATCH", "/vendors/ven_none"),
        ("DELETE", "/items/itm_none"),
        ("GET", "/nothing"),
        ("GET", "/reports/cash-flow"),
    ],
)
def test_not_found(call: Call, method: str, path: str) -> None:
    refused(call(method, path, json={}), 404, "NOT_FOUND")


@pytest.mark.parametrize("body", [b"", b"{", b'{"name": "Acme"', b"[]", b"null", b"5", b'"text"', b"\xff"])
@pytest.mark.parametrize(("method", "path"), [("POST", "/customers"), ("PATCH", "/vendors/ven_01k2p5r8t4")])
def test_malformed_body(call: Call, method: str, path: str, body: bytes) -> None:
    refused(call(method, path, data=body), 400, "BAD_REQUEST")


def test_wrong_method(call: Call) -> None:
    refused(call("PUT", "/invoices"), 405, "BAD_REQUEST")


def test_each_answer_has_its_own_request_id(call: Call) -> None:
    ids = [call(method, "/invoices").json()["meta"]["requestId"] for method in ["GET", "POST", "GET"]]
    assert len(set(ids)) == 3


def test_on_this_machine_only(serve: Serve) -> None:
    server = serve()
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/api/v1"


# Invoices


def test_first_page(shaped: Call, shape: str) -> None:
    body = get(shaped, "/invoices")
    pagination = body["pagination"]
    own = {"offset"} if shape == "guide" else {"page", "totalPages"}
    assert set(pagination) == {"limit", "total", "hasMore", "nextCursor", *own}
    assert (len(body["data"]), pagination["limit"], pagination["total"], pagination["hasMore"]) == (20, 20, 300, True)
    assert body["data"] == sorted(body["data"], key=lambda invoice: invoice["createdAt"], reverse=True)
    assert ("total" in body["data"][0], "totalAmount" in body["data"][0]) == (shape == "guide", shape != "guide")


def test_data_is_always_the_same_and_varied(serve: Serve) -> None:
    invoices, again = (get(functools.partial(send, serve()), "/invoices", limit=100)["data"] for _ in range(2))
    assert invoices == again
    assert {"MYR", "JPY", "KWD"} <= {invoice["currency"] for invoice in invoices}
    assert {"draft", "sent", "paid", "overdue"} == {invoice["status"] for invoice in invoices}
    for name in ["customerName", "dueDate"]:
        assert None in [invoice[name] for invoice in invoices]
    assert all(type(invoice["total"]) is int for invoice in invoices)


def test_both_shapes_mean_the_same_amounts(serve: Serve) -> None:
    guide, openapi = (
        get(functools.partial(send, serve(shape=shape)), "/invoices", limit=100)["data"]
        for shape in ("guide", "openapi")
    )
    for one, other in zip(guide, openapi):
        decimals = {"JPY": 0, "KWD": 3}.get(one["currency"], 2)
        assert one["id"] == other["id"]
        assert one["total"] == round(other["totalAmount"] * 10**decimals)


@pytest.mark.parametrize("status", ["draft", "paid", "overdue"])
def test_filter(shaped: Call, status: str) -> None:
    body = get(shaped, "/invoices", status=status, limit=100)
    assert {invoice["status"] for invoice in body["data"]} == {status}
    assert 0 < body["pagination"]["total"] < 300


@pytest.mark.parametrize(("order", "factor"), [("asc", 1), ("desc", -1), (None, -1)])
def test_sort_by_total(call: Call, order: str | None, factor: int) -> None:
    totals = [invoice["total"] * factor for invoice in get(call, "/invoices", sort="total", order=order)["data"]]
    assert totals == sorted(totals)


def test_sort_by_date(shaped: Call, shape: str) -> None:
    for sort, name in [("createdAt", "createdAt"), ("dueDate", "dueDate")]:
        parameter = sort if shape == "guide" else {"createdAt": "created_at", "dueDate": "due_date"}[sort]
        dates = [invoice[name] or "" for invoice in get(shaped, "/invoices", sort=parameter, order="asc")["data"]]
        assert dates == sorted(dates)


@pytest.mark.parametrize(
    ("query", "valid_in"),
    [
        ({"status": "sent"}, "guide"),
        ({"status": "finalized"}, "openapi"),
        ({"status": "partially_paid"}, "openapi"),
        ({"status": "lost"}, ""),
        ({"sort": "createdAt"}, "guide"),
        ({"sort": "due_date"}, "openapi"),
        ({"sort": "amount"}, ""),
        ({"order": "up"}, ""),
        *[({"limit": limit}, "") for limit in ["0", "101", "-1", "ten", "1.5", ""]],
        ({"limit": "1"}, "guide openapi"),
        ({"limit": "100"}, "guide openapi"),
        ({"offset": "-1"}, "openapi"),
        ({"page": "0"}, "guide"),
        ({"cursor": "garbage!"}, ""),
        ({"colour": "blue"}, "guide openapi"),
    ],
    ids=str,
)
def test_parameters(shaped: Call, shape: str, query: dict[str, str], valid_in: str) -> None:
    response = shaped("GET", "/invoices", params=query)
    if shape in valid_in:
        assert response.status_code == 200
    else:
        assert invalid_fields(response) == list(query)


def ids_by_offset(call: Call) -> Iterator[str]:
    for offset in range(0, 400, 100):
        body = get(call, "/invoices", limit=100, offset=offset, page=offset // 100 + 1)
        assert body["pagination"]["hasMore"] is (offset < 200)
        assert body["pagination"].get("offset", offset) == offset
        yield from (invoice["id"] for invoice in body["data"])


def ids_by_cursor(call: Call) -> Iterator[str]:
    query = {"limit": 70}
    while True:
        body = get(call, "/invoices", **query)
        yield from (invoice["id"] for invoice in body["data"])
        if not body["pagination"]["hasMore"]:
            assert body["pagination"]["nextCursor"] is None
            return
        query["cursor"] = body["pagination"]["nextCursor"]


def test_paging_reaches_every_invoice_once(shaped: Call) -> None:
    ids = list(ids_by_cursor(shaped))
    assert len(ids) == len(set(ids)) == 300
    assert list(ids_by_offset(shaped)) == ids


def test_each_shape_ignores_the_others_position(shaped: Call, shape: str) -> None:
    first = get(shaped, "/invoices")["data"]
    ignored, read = ({"page": 2}, {"offset": 20}) if shape == "guide" else ({"offset": 20}, {"page": 2})
    assert get(shaped, "/invoices", **ignored)["data"] == first
    assert get(shaped, "/invoices", **read)["data"] != first


def test_cursor_goes_with_no_page_above_1(shaped: Call, shape: str) -> None:
    cursor = get(shaped, "/invoices")["pagination"]["nextCursor"]
    response = shaped("GET", "/invoices", params={"cursor": cursor, "page": 2})
    assert response.status_code == 200 if shape == "guide" else invalid_fields(response) == ["cursor"]


@pytest.mark.parametrize("count", [0, 1, 20, 21])
def test_number_of_invoices(serve: Serve, shape: str, count: int) -> None:
    pagination = get(functools.partial(send, serve(invoices=count, shape=shape)), "/invoices")["pagination"]
    assert (pagination["total"], pagination["hasMore"]) == (count, count > 20)
    assert pagination.get("totalPages", -(-count // 20)) == -(-count // 20)


# Customers


def test_create_customer(shaped: Call, shape: str) -> None:
    response = shaped("POST", "/customers", json={**CUSTOMER, "zip": "50000", "country": "MY"})
    assert response.status_code == 201
    customer = response.json()["data"]
    assert re.fullmatch("cus_.+", customer["id"])
    assert (customer["name"], customer["email"], customer["notes"]) == ("Acme Corp", "billing@acme.example", None)
    assert customer["createdAt"]
    if shape == "guide":
        address = {"line1": "1 Jalan Sultan", "line2": None, "city": "Kuala Lumpur", "state": None}
        assert customer["address"] == {**address, "postalCode": "50000", "country": "MY"}
    else:
        assert (customer["address"], customer["zip"], customer["state"]) == ("1 Jalan Sultan", "50000", None)
    assert get(shaped, f"/customers/{customer['id']}")["data"] == customer


def test_email_that_exists(call: Call) -> None:
    assert call("POST", "/customers", json=CUSTOMER).status_code == 201
    refused(call("POST", "/customers", json={**CUSTOMER, "name": "Other"}), 409, "CONFLICT")
    assert call("POST", "/customers", json={"name": "Acme Corp"}).status_code == 201


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"name": None}, ["name"]),
        ({"name": ""}, ["name"]),
        ({"name": "x" * 301}, ["name"]),
        ({"name": 5}, ["name"]),
        ({"email": "nobody"}, ["email"]),
        ({"email": "a b@example.com"}, ["email"]),
        ({"address": {"line1": "1 Jalan Sultan"}}, ["address"]),
        ({"preferredCurrency": "ringgit"}, ["preferredCurrency"]),
        ({"name": "", "email": "nobody"}, ["name", "email"]),
        ({"name": "x" * 300, "email": None, "preferredCurrency": "JPY"}, []),
    ],
    ids=lambda value: str(value)[:30],
)
def test_fields_of_a_customer(call: Call, change: dict[str, Any], fields: list[str]) -> None:
    response = call("POST", "/customers", json={**CUSTOMER, **change})
    assert response.status_code == 201 if not fields else invalid_fields(response) == fields


def test_idempotency_key(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    call = functools.partial(send, server)
    customers = server.app.config["CUSTOMERS"]
    before, headers = len(customers), {"Idempotency-Key": "first"}
    first, again = (call("POST", "/customers", json=CUSTOMER, headers=headers) for _ in range(2))
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert len(customers) == before + 1
    refused(call("POST", "/customers", json={**CUSTOMER, "name": "Other"}, headers=headers), 409, "CONFLICT")
    other = call("POST", "/customers", json={"name": "Other"}, headers={"Idempotency-Key": "second"})
    assert other.json()["data"]["id"] != first.json()["data"]["id"]
    assert len(customers) == before + 2


def test_failures_are_not_replayed(call: Call) -> None:
    headers = {"Idempotency-Key": "first"}
    assert invalid_fields(call("POST", "/customers", json={}, headers=headers)) == ["name"]
    assert call("POST", "/customers", json=CUSTOMER, headers=headers).status_code == 201


# Vendors and items


def test_update_vendor(call: Call) -> None:
    path = "/vendors/ven_01k2p5r8t4"
    before = call("PATCH", path, json={}).json()["data"]
    response = call("PATCH", path, json={"email": "new@example.com", "phone": "+60 3-1234 5678"})
    assert response.status_code == 200
    after = response.json()["data"]
    assert after == {**before, "email": "new@example.com", "phone": "+60 3-1234 5678"}
    assert after["name"] == before["name"]
    assert after["id"] == "ven_01k2p5r8t4"


def test_delete_item(shaped: Call, shape: str) -> None:
    path = "/items/itm_01m3q6s9u5"
    response = shaped("DELETE", path)
    if shape == "guide":
        assert response.status_code == 200
        assert response.json()["data"] == {"id": "itm_01m3q6s9u5", "deleted": True}
    else:
        assert (response.status_code, response.content) == (204, b"")
    refused(shaped("DELETE", path), 404, "NOT_FOUND")


# Reports


@pytest.mark.parametrize("month", ["2025-12", "2026-01", "2026-02", "2026-03"])
def test_ledger_balances(call: Call, month: str) -> None:
    day = f"{month}-28"
    report = get(call, "/reports/trial-balance", asOf=day)["data"]
    assert (report["asOf"], report["currency"]) == (day, "MYR")
    debits, credits = ([account[side] for account in report["accounts"]] for side in ("debit", "credit"))
    assert report["totals"] == {"debit": sum(debits), "credit": sum(credits)}
    assert sum(debits) == sum(credits)
    assert bool(sum(debits)) is month.startswith("2026")
    assert all(min(pair) == 0 for pair in zip(debits, credits))
    sheet = get(call, "/reports/balance-sheet", asOf=day)["data"]
    sums = {name: sum(row["amount"] for row in sheet[name]) for name in ("assets", "liabilities", "equity")}
    assert sums["assets"] == sums["liabilities"] + sums["equity"]


def test_profit_and_loss(serve: Serve) -> None:
    query = {"from": "2026-03-01", "to": "2026-03-31", "period": "2026-03"}
    for shape, factor in [("guide", 1), ("openapi", 100)]:
        report = get(functools.partial(send, serve(shape=shape)), "/reports/profit-loss", **query)["data"]
        assert [row["amount"] * factor for row in report["revenue"]] == [4862050]
        assert sum(round(row["amount"] * factor) for row in report["expenses"]) == 3400035
        assert round(report["netProfit"] * factor) == 4862050 - 3400035


def test_trial_balance_of_the_other_shape(serve: Serve) -> None:
    guide, other = (
        get(functools.partial(send, serve(shape=shape)), "/reports/trial-balance", asOf="2026-02-28", period="2026-02")
        for shape in ("guide", "openapi")
    )
    report = other["data"]
    assert (report["period"], report["asOfDate"]) == ("2026-02", "2026-02-28")
    assert (report["isBalanced"], report["difference"]) == (True, 0)
    assert round(report["totalDebit"] * 100) == round(report["totalCredit"] * 100) == guide["data"]["totals"]["debit"]
    for one, line in zip(guide["data"]["accounts"], report["lineItems"]):
        assert (one["code"], one["name"]) == (line["accountCode"], line["accountName"])
        assert one["debit"] == round(line["debitBalance"] * 100)
        assert one["credit"] == round(line["creditBalance"] * 100)


def test_aged_receivables(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    report = get(functools.partial(send, server), "/reports/aged-receivables", asOf="2026-02-28", period="2026-02")
    buckets = report["data"]["buckets"]
    assert list(buckets) == ["current", "1-30", "31-60", "61-90", "over 90"]
    open_invoices = [
        invoice
        for invoice in server.app.config["INVOICES"]
        if invoice["status"] in ("sent", "overdue") and invoice["dueDate"] and invoice["currency"] == "MYR"
    ]
    cents = 1 if shape == "guide" else 100
    assert sum(round(amount * cents) for amount in buckets.values()) == sum(each["total"] for each in open_invoices)
    current = sum(invoice["total"] for invoice in open_invoices if invoice["dueDate"] >= "2026-02-28")
    assert round(buckets["current"] * cents) == current > 0


@pytest.mark.parametrize("report", ["trial-balance", "balance-sheet", "profit-loss", "aged-receivables"])
def test_dates_of_a_report(shaped: Call, shape: str, report: str) -> None:
    if shape == "guide":
        name = "to" if report == "profit-loss" else "asOf"
        invalid_queries = [{name: "2026-02-30"}, {name: "yesterday"}]
    else:
        name = "period"
        invalid_queries = [{}, {name: "2026-13"}, {name: "2026"}, {name: "2026-03-31"}]
    for query in invalid_queries:
        assert invalid_fields(shaped("GET", f"/reports/{report}", params=query)) == [name]


# Limits and faults


def test_rate_limit(serve: Serve, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call = functools.partial(send, serve(rate_limit=3, shape=shape))
    for remaining in ["2", "1", "0"]:
        response = call("GET", "/invoices")
        assert response.status_code == 200
        assert response.headers["X-RateLimit-Limit"] == "3"
        assert response.headers["X-RateLimit-Remaining"] == remaining
        assert 0 < int(response.headers["X-RateLimit-Reset"]) - time.time() <= 61
    refused(response := call("GET", "/invoices"), 429, "RATE_LIMITED")
    assert response.headers["X-RateLimit-Remaining"] == "0"
    if shape == "guide":
        assert 0 < int(response.headers["Retry-After"]) <= 61
    else:
        assert "Retry-After" not in response.headers
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 62)
    assert call("GET", "/invoices").headers["X-RateLimit-Remaining"] == "2"


def outcome(call: Call, name: str) -> int | str:
    try:
        response = call("POST", "/customers", json={"name": name})
    except requests.exceptions.ChunkedEncodingError:
        return "broken body"
    except requests.ConnectionError:
        return "no answer"
    if response.status_code >= 400:
        refused(response, response.status_code, "RATE_LIMITED" if response.status_code == 429 else "INTERNAL_ERROR")
        assert response.headers.get("Retry-After") == ("1" if response.status_code == 429 else None)
    return response.status_code


@pytest.mark.parametrize(
    ("fault", "seen", "done"),
    [
        ("500", 500, False),
        ("503", 503, False),
        ("429", 429, False),
        ("drop", "no answer", False),
        ("lost", "no answer", True),
        ("truncate", "broken body", True),
    ],
)
def test_faults(serve: Serve, fault: str, seen: int | str, done: bool) -> None:
    server = serve(faults=[fault])
    customers = server.app.config["CUSTOMERS"]
    before, count = len(customers), 2 * sandbox.FAULT_EVERY
    outcomes = [outcome(functools.partial(send, server), f"Customer {number}") for number in range(count)]
    assert (outcomes.count(seen), outcomes.count(201)) == (2, count - 2)
    assert len(customers) - before == (count if done else count - 2)


def test_faults_come_in_turn(serve: Serve) -> None:
    server = serve(faults=["500", "drop", "429"])
    outcomes = [outcome(functools.partial(send, server), "Customer") for _ in range(3 * sandbox.FAULT_EVERY)]
    assert [outcome for outcome in outcomes if outcome != 201] == [500, "no answer", 429]


# The command

PROBE = """
import json, os, sys, requests
url, headers = os.environ["CYNCO_BASE_URL"], {"Authorization": "Bearer " + os.environ["CYNCO_API_KEY"]}
answers = [requests.get(url + "/invoices", headers=headers, timeout=5) for _ in range(3)]
good = [answer for answer in answers if answer.ok][0]
invoices = good.json()["pagination"]["total"]
print(json.dumps([sys.argv[1:], [answer.status_code for answer in answers], invoices, good.json()["data"][0]]))
print(good.headers["X-RateLimit-Limit"])
sys.exit(7)
"""


def test_runs_a_script_with_its_arguments_and_exits_as_it_does(tmp_path: Path) -> None:
    script = tmp_path / "probe.py"
    script.write_text(PROBE, encoding="utf-8")
    options = ["--invoices", "5", "--rate-limit", "9", "--faults", "503", "--shape", "openapi"]
    done = run("tests/sandbox.py", *options, str(script), "--limit", "3 4", "--help", CYNCO_API_KEY="")
    assert (done.returncode, done.stderr) == (7, "")
    first, limit = done.stdout.splitlines()
    arguments, statuses, invoices, invoice = json.loads(first)
    assert arguments == ["--limit", "3 4", "--help"]
    assert (sorted(statuses), invoices, limit) == ([200, 200, 503], 5, "9")
    assert "totalAmount" in invoice


def test_runs_an_example_from_any_folder(tmp_path: Path) -> None:
    done = run(str(ROOT / "tests" / "sandbox.py"), "01_list_invoices.py", "--limit", "3", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("Number     Customer")
    assert "\n3 of 23 invoices.\n" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="signals to a group of processes, as POSIX has them")
def test_ctrl_c_reaches_the_example_which_has_the_last_word(tmp_path: Path) -> None:
    script = tmp_path / "busy.py"
    script.write_text(
        "import sys, time\n"
        "try:\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    sys.exit(5)\n",
        encoding="utf-8",
    )
    with subprocess.Popen(
        [sys.executable, "tests/sandbox.py", str(script)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does
        assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 5


def test_serves_until_it_is_stopped() -> None:
    with subprocess.Popen(
        [sys.executable, "tests/sandbox.py", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stdout
            title, bash, powershell = (process.stdout.readline().strip() for _ in range(3))
            pasted = re.fullmatch(r"export CYNCO_BASE_URL=(\S+) CYNCO_API_KEY=(\S+)", bash)
            assert pasted
            url, key = pasted.groups()
            assert powershell == f'$env:CYNCO_BASE_URL="{url}"; $env:CYNCO_API_KEY="{key}"'
            assert url in title
            response = requests.get(f"{url}/invoices", headers={"Authorization": f"Bearer {key}"}, timeout=10)
            assert response.status_code == 200
        finally:
            if os.name == "nt":
                process.terminate()
            else:
                process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert err == ""
    assert process.returncode == 0 or os.name == "nt"


@pytest.mark.parametrize("faults", ["teapot", "500,teapot", "", "500,", "5 00"])
def test_unknown_faults(capsys: pytest.CaptureFixture[str], faults: str) -> None:
    with pytest.raises(SystemExit) as stop:
        sandbox.main(["--faults", faults])
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("choose from 500,503,429,drop,lost,truncate")


@pytest.mark.skipif(os.name == "nt", reason="Windows lets two servers share a port")
def test_busy_port(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert sandbox.main(["--port", str(port)]) == 1
    assert capsys.readouterr() == ("", f"Port {port} cannot be used; choose another with --port.\n")


@pytest.mark.parametrize("port", ["65536", "-1"])
def test_impossible_port(capsys: pytest.CaptureFixture[str], port: str) -> None:
    assert sandbox.main(["--port", port]) == 1
    assert capsys.readouterr() == ("", f"Port {port} cannot be used; choose another with --port.\n")
