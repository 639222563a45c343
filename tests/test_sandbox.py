"""The sandbox: its API in three shapes, its log, the webhooks it sends, its command line."""

import hmac
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import sandbox
from conftest import ROOT, run
from flask import Flask, request
from sandbox_api import API_KEY, SHAPES, make_invoice

Serve = Callable[..., sandbox.SandboxServer]
Capture = pytest.CaptureFixture[str]
in_each_shape = pytest.mark.parametrize("shape", SHAPES)


def send(server: sandbox.SandboxServer, what: str, body: Any = None) -> requests.Response:
    (method, path), headers = what.split(), {"Authorization": f"Bearer {API_KEY}"}
    headers |= {"Idempotency-Key": "first"} if body else {}
    return requests.request(method, server.url + path, headers=headers, json=body, timeout=10)


def make_receiver(careless: bool, handle: Callable[[str], object]) -> Flask:
    app = Flask("receiver")

    @app.post("/api/v1/hook")
    def receive() -> tuple[str, int]:
        sent = [value for name, value in request.headers if re.search("Timestamp|Signature", name)]
        timestamp, signature = re.findall("[0-9a-f]{10,}", ",".join(sent))
        signed = timestamp.encode() + b"." + request.get_data()
        genuine = signature == hmac.new(b"whsec_sandbox", signed, "sha256").hexdigest()
        if not careless and not (genuine and time.time() - int(timestamp) < 300):
            return "no", 400
        handle(request.get_json()["id"])
        return "yes", 200

    return app


@in_each_shape
def test_a_request_above_the_rate_limit_is_refused(serve: Serve, shape: str) -> None:
    refused = [send(each, "GET /invoices") for each in 2 * [serve(rate_limit=1, shape=shape)]][1]
    assert (refused.status_code, "Retry-After" in refused.headers) == (429, shape == "guide")


def test_an_idempotency_key_replays_the_first_response(serve: Serve) -> None:
    server, bodies = serve(), [{"name": ""}, {"name": "A"}, {"name": "A"}, {"name": "B"}]
    responses = [send(server, "POST /customers", body) for body in bodies]
    assert [response.status_code for response in responses] == [422, 201, 201, 409]
    assert responses[1].content == responses[2].content


@in_each_shape
def test_each_shape_has_its_own_pagination(serve: Serve, shape: str) -> None:
    cursor = send(serve(), "GET /invoices").json()["pagination"]["nextCursor"]
    server, queries = serve(shape=shape), ["offset=20&page=2", f"cursor={cursor}"]
    server.app.config["INVOICES"].append({**make_invoice(1), "id": "inv_0"})
    pages = [send(server, f"GET /invoices?{query}").json() for query in queries]
    assert [page["data"][0]["invoiceNumber"] for page in pages] == ["INV-00020", "INV-00021"]
    fields = {
        "guide": 2 * ["total limit offset hasMore nextCursor"],
        "openapi": 2 * ["page limit total totalPages hasMore nextCursor"],
        "sdk": ["total limit offset hasMore", "limit hasMore nextCursor"],
    }
    assert [" ".join(page["pagination"]) for page in pages] == fields[shape]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("sort=total&status=overdue", ["156", "286"]),  # in JPY
        ("search=INV-00300", ["300"]),
        ("created_from=2026-02-26&created_to=2026-02-26", ["002"]),
        ("due_from=2026-03-20&due_to=2026-03-20", ["010"]),
        ("min_amount=102.50&max_amount=102.50", ["102"]),
    ],
)
def test_invoices_are_sorted_and_filtered(serve: Serve, query: str, found: list[str]) -> None:
    response = send(serve(shape="sdk"), f"GET /invoices?limit=2&{query}")
    assert [invoice["id"][-3:] for invoice in response.json()["data"]] == found


@pytest.mark.parametrize(
    ("what", "body", "fields"),
    [
        ("GET /invoices?status=sent&limit=0&due_to=2026-02-30", None, "status limit due_to"),
        ("GET /invoices?sort=dueDate&page=0&min_amount=ten", None, "sort page min_amount"),
        ("POST /customers", {"email": "nobody", "notes": 5, "fax": "1"}, "name email notes fax"),
        ("PATCH /vendors/ven_01k2p5r8t4", {"email": "x", "phone": 6, "id": 7}, "email phone id"),
    ],
)
def test_a_422_names_each_wrong_field(serve: Serve, what: str, body: Any, fields: str) -> None:
    error = send(serve(shape="sdk"), what, body).json()["error"]
    assert {each["field"] for each in error["details"]} == set(fields.split())


@in_each_shape
def test_unbalanced_puts_the_books_out_by_one_cent(serve: Serve, shape: str) -> None:
    what = "GET /reports/trial-balance?asOf=2026-03-31&period=2026-03"
    one_cent = '"debit":27971425,"credit":27971424' if shape == "guide" else '"difference":0.01,'
    assert one_cent in send(serve(shape=shape, unbalanced=True), what).text


@pytest.mark.parametrize(
    ("shape", "query", "ignored"),
    [
        ("guide", "page=2&period=2026-03&staus=paid", " (ignored: staus)"),
        ("sdk", "search=acme&customerId=cus_0001", " (ignored: customerId)"),
    ],
)
def test_a_misspelt_parameter_is_named_in_the_log(
    serve: Serve, capsys: Capture, shape: str, query: str, ignored: str
) -> None:
    server = serve(shape=shape)
    server.quiet = False
    send(server, f"GET /invoices?{query}")
    assert capsys.readouterr().err == f"GET /api/v1/invoices?{query} 200{ignored}\n"


@pytest.mark.parametrize(("careless", "right"), [(False, 11), (True, 7)])
def test_webhooks_find_a_careless_receiver(capsys: Capture, careless: bool, right: int) -> None:
    with sandbox.SandboxServer(make_receiver(careless, str)) as server:
        assert sandbox.main(["--webhooks", f"{server.url}/hook"]) == careless
    out = capsys.readouterr().out
    assert out.endswith(f"\n{right} of 11 deliveries answered as expected.\n")
    assert out.count("  <- expected a refusal\n") == 11 - right


def test_webhooks_to_nobody_end_in_one_line(capsys: Capture) -> None:
    assert [sandbox.main(["--webhooks", url]) for url in ("hook", "http://127.0.0.1:1/")] == [1, 1]
    assert capsys.readouterr().err.count("\n") == 2


STUB = """
import sys, sandbox, test_sandbox
says = sys.argv[-1:]
def handle(event_id):
    print("handling", event_id)
    print(says.pop().format(event_id) if says else f"Handled {event_id}", file=sys.stderr)
server = sandbox.SandboxServer(test_sandbox.make_receiver(False, handle))
print(f"Listening on {server.url}/hook until Ctrl-C.", file=sys.stderr)
server.serve_forever()
"""


@pytest.mark.parametrize(
    ("says", "problem"),
    [("Handled {}", ""), ("The handler of {} failed", "failed"), ("{}", "is still running")],
)
def test_the_demonstration_waits_for_each_handler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, says: str, problem: str
) -> None:
    monkeypatch.setattr(sandbox, "PATIENCE", 1)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    script = tmp_path / "05_webhooks.py"
    script.write_text(STUB)
    assert sandbox.main([str(script), says]) == bool(problem)
    out, err = capsys.readouterr()
    assert out.splitlines()[1] == "  handling evt_0001"
    assert out.endswith("\n9 of 9 deliveries answered as expected.\n")
    assert (f"invoice.created: its handler {problem}" in err) == bool(problem)


def test_a_program_of_your_own_runs_against_the_sandbox(tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text("import os, sys\nsys.exit([os.environ['CYNCO_BASE_URL'], *sys.argv[1:]])")
    result = run("tests/sandbox.py", "--shape", "sdk", str(script), "--limit", "3")
    assert (result.returncode, "/api/v1', '--limit', '3']" in result.stderr) == (1, True)


def test_a_wrong_script_name_lists_the_six() -> None:
    result = run("tests/sandbox.py", "1_list_invoices.py")
    assert (result.returncode, result.stderr.count("\n"), result.stderr.count(".py")) == (2, 1, 7)


def test_a_port_in_use_is_one_line(serve: Serve, capsys: Capture) -> None:
    port = serve().server_port
    assert sandbox.main(["--port", str(port)]) == 1
    assert capsys.readouterr().err == f"Port {port} cannot be used; choose another with --port.\n"


def test_missing_requirements_are_one_line() -> None:
    result = run("-S", "tests/sandbox.py")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "pip install -r requirements.txt" in result.stderr
