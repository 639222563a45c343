"""01_list_invoices.py: what it asks for, what it prints, and how it fails."""

import shutil

import pytest
from conftest import KEY, ROOT, failure, load, run, success

import _common

SCRIPT = "01_list_invoices.py"
script = load("01_list_invoices")

INVOICE = {
    "invoiceNumber": "INV-00273",
    "customerName": "Acme Corp",
    "status": "paid",
    "currency": "MYR",
    "dueDate": "2026-03-31",
    "total": 162000,
}


def page(*invoices):
    return success(invoices, {"total": 23, "limit": 10, "offset": 0, "hasMore": True})


# list_invoices


def test_the_request(api):
    api.replies = [page()]

    assert script.main([]) == 0

    request = api.requests[0]
    assert request.method == "GET"
    assert request.url == "https://app.cynco.io/api/v1/invoices"
    assert request.query == {
        "status": "overdue",
        "sort": "total",
        "order": "desc",
        "limit": "10",
    }
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.timeout == 30


@pytest.mark.parametrize(("order", "limit"), [("asc", "1"), ("desc", "100")])
def test_options_reach_the_query(api, order, limit):
    api.replies = [page()]
    options = f"--status paid --sort due_date --order {order} --limit {limit}"

    script.main(options.split())

    assert api.requests[0].query == {
        "status": "paid",
        "sort": "due_date",
        "order": order,
        "limit": limit,
    }


def test_status_all_sends_no_status(api):
    api.replies = [page()]

    script.main(["--status", "all"])

    assert "status" not in api.requests[0].query


# print_invoice

ROW = """\
INV-00273  Acme Corp                      paid           2026-03-31     MYR 1,620.00
"""
NULLS = """\
INV-00273  -                              paid           -                         -
"""
LONG_NAME = """\
INV-00273  Perniagaan Bersatu dan Rakan-R paid           2026-03-31     MYR 1,620.00
"""
LONG_STATUS = """\
INV-00273  Acme Corp                      partially_paid 2026-03-31     MYR 1,620.00
"""


def test_an_invoice_in_the_guides_shape(capsys):
    script.print_invoice(INVOICE)

    assert capsys.readouterr().out == ROW


@pytest.mark.parametrize("total", [1620, "1620.00"], ids=["number", "text"])
def test_an_invoice_in_openapis_shape(capsys, total):
    invoice = {**INVOICE, "totalAmount": total}
    del invoice["total"]

    script.print_invoice(invoice)

    assert capsys.readouterr().out == ROW


def test_null_fields_are_shown_as_dashes(capsys):
    nulls = {"customerName": None, "dueDate": None, "totalAmount": None}
    invoice = {**INVOICE, **nulls}
    del invoice["total"]

    script.print_invoice(invoice)

    assert capsys.readouterr().out == NULLS


def test_a_long_name_is_cut(capsys):
    name = "Perniagaan Bersatu dan Rakan-Rakan Sdn Bhd"

    script.print_invoice({**INVOICE, "customerName": name})

    assert capsys.readouterr().out == LONG_NAME


def test_the_longest_status_fits(capsys):
    script.print_invoice({**INVOICE, "status": "partially_paid"})

    assert capsys.readouterr().out == LONG_STATUS


# main

OUTPUT = """\
Number     Customer                       Status         Due                   Total
INV-00273  Acme Corp                      paid           2026-03-31     MYR 1,620.00
INV-00273  Acme Corp                      paid           2026-03-31     MYR 1,620.00

2 of 23 invoices. 03_pagination.py reads all of them.
"""
SANDBOX_OUTPUT = """\
Number     Customer                       Status         Due                   Total
INV-00077  Orkid Interiors Sdn Bhd        overdue        2025-09-15     MYR 7,059.96
INV-00143  Batik Nusantara Enterprise     overdue        2025-11-20     MYR 6,771.60

2 of 22 invoices. 03_pagination.py reads all of them.
"""


def test_the_output(api, capsys):
    api.replies = [page(INVOICE, INVOICE)]

    assert script.main([]) == 0

    assert capsys.readouterr().out == OUTPUT


def test_every_shape_prints_the_same(serve, connect, shape, capsys):
    connect(script, serve(shape=shape))

    assert script.main(["--limit", "2"]) == 0

    assert capsys.readouterr().out == SANDBOX_OUTPUT


def test_a_503_is_retried(api):
    api.replies = [failure(503), page()]

    assert script.main([]) == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--limit=0", "error: --limit must be 1 to 100"),
        ("--limit=101", "error: --limit must be 1 to 100"),
        ("--limit=ten", "error: argument --limit: invalid int value"),
        ("--order=up", "error: argument --order: invalid choice"),
    ],
)
def test_an_impossible_option_is_a_usage_error(api, capsys, option, message):
    with pytest.raises(SystemExit) as stop:
        script.main([option])

    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert api.requests == []


def test_an_unknown_status_is_one_line_that_names_the_field(api):
    def main():
        return script.main(["--status", "lost"])

    details = [{"field": "status", "message": "is unknown"}]
    api.replies = [failure(422, "VALIDATION_ERROR", "Invalid", details)]

    with pytest.raises(SystemExit) as stop:
        _common.run(main)

    line = "Error: 422 VALIDATION_ERROR: Invalid; status: is unknown [req_9]"
    assert stop.value.code == line


# As a process


def test_a_misspelt_field_in_a_copy_is_shown_with_its_line(serve, tmp_path):
    source = (ROOT / SCRIPT).read_text("utf-8")
    misspelt = source.replace('["customerName"]', '["customer_id"]')
    (tmp_path / SCRIPT).write_text(misspelt, encoding="utf-8")
    shutil.copy(ROOT / "_common.py", tmp_path)

    done = run(SCRIPT, server=serve(), cwd=tmp_path)

    assert done.returncode == 1
    assert 'customer = invoice["customer_id"] or "-"' in done.stderr
    assert done.stderr.endswith("KeyError: 'customer_id'\n")
