"""01_list_invoices.py: what it asks for, what it prints, and what it says when it fails."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sandbox
from conftest import API, KEY, ROOT, envelope, failure, load, run

import _common

SCRIPT = "01_list_invoices.py"
script = load("01_list_invoices")
Serve = Callable[..., sandbox.SandboxServer]
Capture = pytest.CaptureFixture[str]
PAGE = envelope([], pagination={"total": 0, "limit": 10, "offset": 0, "hasMore": False})


# --- list_invoices
def test_the_request(api: API) -> None:
    api.replies_with(PAGE)
    assert script.main([]) == 0
    (request,) = api.requests
    assert (request.method, request.url) == ("GET", "https://app.cynco.io/api/v1/invoices")
    assert request.query == {"status": "overdue", "sort": "total", "order": "desc", "limit": "10"}
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.options["timeout"] == 30


@pytest.mark.parametrize("limit", ["1", "100"])
def test_options_reach_the_query(api: API, limit: str) -> None:
    api.replies_with(PAGE)
    script.main(["--status", "paid", "--sort", "due_date", "--order", "asc", "--limit", limit])
    query = {"status": "paid", "sort": "due_date", "order": "asc", "limit": limit}
    assert api.requests[0].query == query


def test_status_all_sends_no_status(api: API) -> None:
    api.replies_with(PAGE)
    script.main(["--status", "all"])
    assert api.requests[0].query == {"sort": "total", "order": "desc", "limit": "10"}


def test_a_transient_failure_is_retried(api: API) -> None:
    api.replies_with(failure(503), PAGE)
    assert (script.main([]), len(api.requests)) == (0, 2)


# --- table_row and main
def test_null_fields_are_shown_as_dashes(api: API, capsys: Capture) -> None:
    null = dict.fromkeys(["customerName", "dueDate", "totalAmount"])
    invoice = {"invoiceNumber": "INV-1", "status": "draft", "currency": "MYR", **null}
    api.replies_with(envelope([invoice], pagination={"total": 1}))
    assert script.main([]) == 0
    assert "\nINV-1   -         draft   -        -\n" in capsys.readouterr().out


def test_every_shape_prints_the_same_table(serve: Serve, shape: str) -> None:
    server = serve(shape=shape, invoices=11)
    done = run(SCRIPT, "--status", "paid", "--limit", "2", server=server)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "Number     Customer                   Status  Due                Total",
        "---------  -------------------------  ------  ----------  ------------",
        "INV-00006  Sakura Precision KK        paid    2026-03-24   JPY 167,425",
        "INV-00010  Teh Tarik Trading Sdn Bhd  paid    2026-03-20  MYR 7,750.25",
        "",
        "2 of 6 invoices. 03_pagination.py reads all of them.",
    ]


@pytest.mark.parametrize("option", ["--limit=0", "--limit=101", "--order=up"])
def test_an_impossible_option_is_a_usage_error(api: API, capsys: Capture, option: str) -> None:
    with pytest.raises(SystemExit) as stop:
        script.main([option])
    assert (stop.value.code, api.requests) == (2, [])
    assert f"error: {option[:7]}" in capsys.readouterr().err.replace("argument ", "")


def test_help_names_the_statuses(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        script.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    statuses = "draft, sent, finalized, paid, overdue, partially_paid, deposit_paid, deposit_due"
    assert f"all, {statuses} (default: overdue)" in text


def test_an_unknown_status_is_one_line_that_names_the_field(api: API) -> None:
    details = [{"field": "status", "message": "is unknown"}]
    api.replies_with(failure(422, "VALIDATION_ERROR", "Invalid", details=details))
    with pytest.raises(SystemExit) as stop:
        _common.run(lambda: script.main(["--status", "lost"]))
    assert stop.value.code == "Error: 422 VALIDATION_ERROR: Invalid; status: is unknown [req_9]"


def test_without_a_key_it_ends_in_one_line() -> None:
    done = run(SCRIPT, CYNCO_API_KEY="")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("Error: CYNCO_API_KEY is not set")


def test_a_misspelt_key_in_a_copy_is_shown_with_its_line(serve: Serve, tmp_path: Path) -> None:
    shutil.copy(ROOT / "_common.py", tmp_path)
    source = (ROOT / SCRIPT).read_text("utf-8").replace('["customerName"]', '["customer_id"]')
    (tmp_path / SCRIPT).write_text(source, encoding="utf-8")
    done = run(SCRIPT, server=serve(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("KeyError: 'customer_id'\n")
    assert 'invoice["customer_id"] or "-"' in done.stderr
