"""03: every invoice comes once, and a short list is never taken for all of them."""

import csv
import logging
import sys
from decimal import Decimal
from unittest.mock import Mock

import pytest
import requests
import sandbox_api
from conftest import KEY, load, run, success

import _common

script = load("03_pagination")
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")


def invoice(number, **changes):
    record = {
        "id": f"inv_{number}",
        "invoiceNumber": f"INV-{number}",
        "customerName": "Acme",
        "status": "paid",
        "dueDate": "2026-03-31",
        "currency": "MYR",
        "total": 162000,
    }
    record.update(changes)
    return record


def page(*numbers, more=True, **pagination):
    """Return a page with the invoices of these numbers."""
    invoices = []
    for number in numbers:
        invoices.append(invoice(number))
    return success(invoices, {"hasMore": more, **pagination})


def last_page(*numbers, **pagination):
    return page(*numbers, more=False, **pagination)


def ids(invoices):
    found = []
    for record in invoices:
        found.append(record["id"])
    return found


# get_page


def test_the_request(api):
    api.replies = [last_page(1)]

    list(script.iterate_invoices())

    (request,) = api.requests
    assert request.method == "GET"
    assert request.url == "https://app.cynco.io/api/v1/invoices"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.timeout == 30


def test_a_list_without_pagination_is_a_key_error(api):
    api.replies = [success([])]

    with pytest.raises(KeyError, match="pagination"):
        list(script.iterate_invoices())


# iterate_invoices


def test_by_cursor_each_page_begins_after_the_last_cursor(api):
    api.replies = [
        page(1, nextCursor="a"),
        page(2, nextCursor="b"),
        last_page(3),
    ]

    found = ids(script.iterate_invoices())

    assert found == ["inv_1", "inv_2", "inv_3"]
    assert api.requests[0].query == {"limit": "100", "order": "asc"}
    assert api.requests[1].query == {"limit": "100", "order": "asc", "cursor": "a"}
    assert api.requests[2].query == {"limit": "100", "order": "asc", "cursor": "b"}


def test_any_query_parameter_is_a_filter_and_none_is_not_sent(api):
    api.replies = [
        page(1, nextCursor="a"),
        last_page(2),
    ]

    list(script.iterate_invoices(status=None, created_from="2026-01-01T00:00:00Z"))

    assert "status" not in api.requests[0].query
    assert api.requests[0].query["created_from"] == "2026-01-01T00:00:00Z"
    assert api.requests[1].query["created_from"] == "2026-01-01T00:00:00Z"


def test_a_page_is_handed_out_before_the_next_is_requested(api):
    api.replies = [
        page(1, nextCursor="a"),
        last_page(2),
    ]
    invoices = script.iterate_invoices()

    first = next(invoices)

    assert first["id"] == "inv_1"
    assert len(api.requests) == 1


def test_without_a_first_cursor_it_reads_by_offset_and_says_so(api, caplog):
    api.replies = [
        page(1),
        page(1),
        last_page(2),
    ]

    found = ids(script.iterate_invoices(status="paid"))

    assert found == ["inv_1", "inv_2"]
    assert api.requests[2].query["page"] == "2"
    assert api.requests[2].query["status"] == "paid"
    assert caplog.messages == [
        "No cursor, as is usual in OpenAPI's shape: using offsets"
    ]


def test_one_page_needs_no_cursor(api, caplog):
    api.replies = [last_page(1)]

    found = ids(script.iterate_invoices())

    assert found == ["inv_1"]
    assert caplog.messages == []


def test_a_list_may_be_empty(api):
    api.replies = [last_page(total=0)]

    assert ids(script.iterate_invoices()) == []


@pytest.mark.parametrize("again", [[1, 2], [2, 3]], ids=["same page", "overlap"])
def test_an_invoice_that_comes_again_is_an_error_and_is_not_handed_out(api, again):
    api.replies = [
        page(1, 2, nextCursor="a"),
        page(*again, nextCursor="b"),
    ]
    invoices = script.iterate_invoices()
    next(invoices)
    next(invoices)

    with pytest.raises(_common.CyncoError, match="repeated invoices after the first 2"):
        next(invoices)


def test_pages_that_take_turns_end_in_an_error(api):
    api.replies = [
        page(1, total=3, nextCursor="a"),
        page(2, total=3, nextCursor="b"),
        page(1, total=3, nextCursor="c"),
        page(2, total=3, nextCursor="d"),
    ]

    with pytest.raises(_common.CyncoError, match="paging: received 4 of 3 invoices"):
        list(script.iterate_invoices())


def test_more_on_a_page_than_there_are_is_an_error(api):
    api.replies = [last_page(1, 1, total=1)]

    with pytest.raises(_common.CyncoError, match="paging: received 2 of 1 invoices"):
        list(script.iterate_invoices())


@pytest.mark.parametrize("read", ["iterate_invoices", "list_by_offset"])
def test_a_filter_cannot_change_the_size_or_order_of_a_page(api, read):
    api.replies = [last_page(1)]

    list(getattr(script, read)(limit="7", order="desc"))

    assert api.requests[0].query["limit"] == "100"
    assert api.requests[0].query["order"] == "asc"


@pytest.mark.parametrize("read", ["iterate_invoices", "list_by_offset"])
def test_a_total_of_null_is_none(api, read):
    api.replies = [last_page(1, total=None)]

    assert ids(getattr(script, read)()) == ["inv_1"]


def test_an_empty_page_while_more_follow_is_an_error(api):
    api.replies = [
        page(1, nextCursor="a"),
        page(nextCursor="b"),
    ]

    with pytest.raises(_common.CyncoError, match="no next page after 1 invoices"):
        list(script.iterate_invoices())


@pytest.mark.parametrize("cursor", [None, ""], ids=["null", "empty"])
def test_a_cursor_that_is_missing_later_is_an_error(api, cursor):
    api.replies = [
        page(1, nextCursor="a"),
        page(2, nextCursor=cursor),
    ]

    with pytest.raises(_common.CyncoError, match="no next page after 2 invoices"):
        list(script.iterate_invoices())


def test_fewer_than_the_api_named_is_an_error(api):
    api.replies = [last_page(1, total=250, nextCursor="a")]

    with pytest.raises(_common.CyncoError, match="received only 1 of 250 invoices"):
        list(script.iterate_invoices())


def test_by_cursor_the_last_total_counts(api):
    api.replies = [
        page(1, total=3, nextCursor="a"),
        last_page(3, total=2),
    ]

    assert ids(script.iterate_invoices()) == ["inv_1", "inv_3"]


def test_a_total_holds_until_another_is_named(api):
    api.replies = [
        page(1, total=3, nextCursor="a"),
        last_page(2),
    ]

    with pytest.raises(_common.CyncoError, match="received only 2 of 3 invoices"):
        list(script.iterate_invoices())


def test_by_cursor_none_is_missed_when_each_page_sees_one_paid(serve):
    server = serve(shape="openapi", changing=True)
    for record in server.app.invoices:
        record["status"] = "overdue"

    done = run(
        "03_pagination.py",
        "--status=overdue",
        "--mode=cursor",
        server=server,
    )

    assert done.stdout.startswith("By cursor: 300 invoices\n")
    assert done.returncode == 0


# list_by_offset


def test_by_offset_each_request_says_how_many_to_skip(api):
    api.replies = [
        page(1),
        page(2),
        last_page(3),
    ]

    found = ids(script.list_by_offset(status="paid"))

    assert found == ["inv_1", "inv_2", "inv_3"]
    assert api.requests[0].query == {
        "limit": "100",
        "order": "asc",
        "status": "paid",
        "offset": "0",
        "page": "1",
    }
    assert api.requests[1].query["offset"] == "100"
    assert api.requests[1].query["page"] == "2"
    assert api.requests[2].query["offset"] == "200"
    assert api.requests[2].query["page"] == "3"


def test_an_invoice_pushed_onto_the_next_page_comes_once(api):
    api.replies = [
        page(1, 2),
        last_page(2, 3),
    ]

    assert ids(script.list_by_offset()) == ["inv_1", "inv_2", "inv_3"]


def test_two_that_change_places_between_pages_are_noticed(api):
    api.replies = [
        page(1, 2, total=4),
        last_page(2, 4, total=4),
    ]

    with pytest.raises(_common.CyncoError, match="received only 3 of 4 invoices"):
        list(script.list_by_offset())


def test_by_offset_the_highest_total_counts(api):
    api.replies = [
        page(1, 2, total=4),
        last_page(4, total=3),
    ]

    with pytest.raises(_common.CyncoError, match="received only 3 of 4 invoices"):
        list(script.list_by_offset())


@pytest.mark.parametrize("numbers", [[], [1]], ids=["empty page", "same page"])
def test_nothing_new_while_more_follow_is_an_error(api, numbers):
    api.replies = [
        page(1),
        page(*numbers),
    ]

    with pytest.raises(_common.CyncoError, match="nothing new after 1 invoices"):
        list(script.list_by_offset())


def test_by_offset_03_says_that_the_list_changed(serve):
    server = serve(shape="sdk", changing=True)
    for record in server.app.invoices:
        record["status"] = "overdue"

    done = run(
        "03_pagination.py",
        "--status=overdue",
        "--mode=cursor",
        server=server,
    )

    assert done.stderr.splitlines()[-1].startswith("Error: received only 297")
    assert "of 299 invoices; run it again" in done.stderr
    assert done.stdout == ""
    assert done.returncode == 1


# add_up


def test_totals_are_exact_and_by_currency():
    ringgit = invoice(1, total=9876543210987654)
    more_ringgit = invoice(2, total="10")
    dinar = invoice(3, total=1999, currency="KWD")
    more_dinar = invoice(4, total=1, currency="KWD")

    count, totals = script.add_up([ringgit, more_ringgit, dinar, more_dinar])

    assert count == 4
    assert totals["MYR"] == Decimal("98765432109876.64")
    assert totals["KWD"] == Decimal("2.000")


def test_an_invoice_without_a_total_is_counted_and_named(capsys):
    record = invoice(1, totalAmount=None)
    del record["total"]

    count, totals = script.add_up([record])

    assert count == 1
    assert totals == {}
    assert capsys.readouterr().err == "INV-1 has no total\n"


# write_csv
HEADER = b"\xef\xbb\xbfinvoiceNumber,customerName,status,dueDate,currency,total\r\n"


def export(tmp_path, **changes):
    """Return the row of an invoice with these fields."""
    path = tmp_path / "invoices.csv"
    script.write_csv([invoice(1, **changes)], str(path))
    return path.read_bytes().removeprefix(HEADER)


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        (
            {"total": 162000},
            "INV-1,Acme,paid,2026-03-31,MYR,1620.00",
        ),
        (
            {"currency": "JPY", "total": 500},
            "INV-1,Acme,paid,2026-03-31,JPY,500",
        ),
        (
            {"currency": "KWD", "total": 1},
            "INV-1,Acme,paid,2026-03-31,KWD,0.001",
        ),
        (
            {"customerName": None, "dueDate": None},
            "INV-1,,paid,,MYR,1620.00",
        ),
        (
            {"customerName": 'Teh "Tarik", Sdn'},
            'INV-1,"Teh ""Tarik"", Sdn",paid,2026-03-31,MYR,1620.00',
        ),
        (
            {"customerName": "A\rB\nC"},
            'INV-1,"A\rB\nC",paid,2026-03-31,MYR,1620.00',
        ),
        (
            {"customerName": "\u6c38\u767c"},
            "INV-1,\u6c38\u767c,paid,2026-03-31,MYR,1620.00",
        ),
    ],
    ids=["MYR", "JPY", "KWD", "nulls", "quotes", "line breaks", "Chinese"],
)
def test_a_row_of_the_csv(tmp_path, changes, row):
    assert export(tmp_path, **changes) == row.encode() + b"\r\n"


def test_a_null_total_is_an_empty_cell(tmp_path):
    record = invoice(1, totalAmount=None)
    del record["total"]
    path = tmp_path / "invoices.csv"

    script.write_csv([record], str(path))

    assert path.read_bytes() == HEADER + b"INV-1,Acme,paid,2026-03-31,MYR,\r\n"


def test_a_number_can_be_a_column(tmp_path, monkeypatch):
    monkeypatch.setattr(script, "FIELDS", ["invoiceNumber", "paidAmount"])
    path = tmp_path / "invoices.csv"

    script.write_csv([invoice(1, paidAmount=5)], str(path))

    header = b"\xef\xbb\xbfinvoiceNumber,paidAmount,total\r\n"
    assert path.read_bytes() == header + b"INV-1,5,1620.00\r\n"


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t"], ids=repr)
def test_no_cell_is_a_formula(tmp_path, first):
    row = export(tmp_path, customerName=f"{first}A1")

    assert row == f"INV-1,'{first}A1,paid,2026-03-31,MYR,1620.00\r\n".encode()


def test_a_failed_export_leaves_the_last_one_as_it_was(api, tmp_path):
    path = tmp_path / "invoices.csv"
    path.write_bytes(b"the last one")
    api.replies = [
        page(1, nextCursor="a"),
        page(nextCursor="b"),
    ]

    with pytest.raises(_common.CyncoError):
        script.main(["--csv", str(path)])

    assert path.read_bytes() == b"the last one"


def test_a_failed_export_leaves_no_other_file(api, tmp_path):
    path = tmp_path / "invoices.csv"
    api.replies = [page(1, nextCursor="a"), KeyboardInterrupt()]

    with pytest.raises(KeyboardInterrupt):
        script.main(["--csv", str(path)])

    assert list(tmp_path.iterdir()) == []


def test_an_export_shows_nothing_until_it_is_complete(api, tmp_path):
    path = tmp_path / "invoices.csv"

    def invoices():
        yield invoice(1)
        assert not path.exists()

    script.write_csv(invoices(), str(path))

    assert path.exists()


def test_two_exports_at_once_do_not_share_a_file(tmp_path, monkeypatch):
    path = tmp_path / "invoices.csv"

    def invoices():
        yield invoice(1)
        monkeypatch.setattr("os.getpid", Mock(return_value=1))
        script.write_csv([invoice(2)], str(path))
        monkeypatch.undo()

    script.write_csv(invoices(), str(path))

    assert path.read_bytes().count(b"\r\n") == 2
    assert b"INV-1," in path.read_bytes()


@on_posix
def test_an_export_through_a_link_leaves_the_link(tmp_path):
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "invoices.csv")

    script.write_csv([invoice(1)], str(link))

    assert link.is_symlink()
    assert (tmp_path / "invoices.csv").exists()


def test_half_an_emoji_stops_no_export(tmp_path):
    row = export(tmp_path, customerName="Kedai \ud83d")

    assert row.startswith(b"INV-1,Kedai \\ud83d,paid")


def test_an_empty_file_name_is_a_usage_error(api, capsys):
    with pytest.raises(SystemExit) as stop:
        script.main(["--csv", ""])

    assert stop.value.code == 2
    assert "--csv needs the name of a file" in capsys.readouterr().err
    assert api.requests == []


def test_an_export_prints_its_count(api, tmp_path, capsys):
    path = tmp_path / "invoices.csv"
    api.replies = [last_page(1, 2)]

    code = script.main(["--status", "all", "--csv", str(path)])

    assert code == 0
    assert capsys.readouterr().out == f"2 invoices in {path}\n"
    assert path.read_bytes().count(b"\r\n") == 3
    assert list(tmp_path.iterdir()) == [path]
    assert api.requests[0].query == {"limit": "100", "order": "asc"}


def test_a_folder_that_does_not_exist_is_one_line(serve):
    done = run("03_pagination.py", "--csv", "missing/file.csv", server=serve())

    assert done.returncode == 1
    assert done.stderr.startswith("Error: [Errno 2] No such file")
    assert done.stderr.count("\n") == 1


# show_progress


def test_progress_is_shown_each_thousand_invoices(api, capsys):
    api.replies = [last_page(*range(2500))]

    script.main(["--mode", "cursor"])

    assert capsys.readouterr().err == "1,000 invoices\n2,000 invoices\n"


# main


def test_the_paid_ones_are_read_unless_told_otherwise(api):
    api.replies = [
        last_page(),
        last_page(),
    ]

    script.main([])

    assert api.requests[0].query["status"] == "paid"
    assert api.requests[1].query["status"] == "paid"


def test_both_ways_print_a_line_for_each_currency(api, capsys):
    ringgit = invoice(1)
    more_ringgit = invoice(2, total=123456700)
    yen = invoice(3, currency="JPY", total=500)
    invoices = [ringgit, more_ringgit, yen]
    api.replies = [
        success(invoices, {"hasMore": False}),
        success(invoices, {"hasMore": False}),
    ]

    code = script.main([])

    assert code == 0
    assert capsys.readouterr().out.splitlines() == [
        "By cursor: 3 invoices",
        "  JPY              500",
        "  MYR     1,236,187.00",
        "By offset: 3 invoices",
        "  JPY              500",
        "  MYR     1,236,187.00",
    ]


@pytest.mark.parametrize("mode", ["cursor", "offset"])
def test_a_mode_alone_makes_one_pass(api, capsys, mode):
    api.replies = [last_page(1)]

    script.main(["--mode", mode])

    assert capsys.readouterr().out == f"By {mode}: 1 invoices\n  MYR         1,620.00\n"
    assert len(api.requests) == 1


def test_a_transient_failure_is_retried(api, caplog):
    caplog.set_level(logging.WARNING)
    api.replies = [
        requests.Timeout("slow"),
        last_page(1),
        last_page(1),
    ]

    assert script.main([]) == 0

    assert len(api.sleeps) == 1
    assert "no response" in caplog.text


def test_inconsistent_paging_is_one_line_and_exit_code_1(api, monkeypatch):
    api.replies = [last_page(1, total=2)]
    monkeypatch.setattr("sys.argv", ["03_pagination.py"])

    with pytest.raises(SystemExit) as stop:
        _common.run(script.main)

    assert stop.value.code == "Error: received only 1 of 2 invoices; run it again"


# Over HTTP


def test_faults_lose_and_repeat_nothing(serve, monkeypatch, capsys, tmp_path, shape):
    server = serve(shape=shape, faults=["503", "drop", "lost", "truncate"])
    path = tmp_path / "invoices.csv"
    monkeypatch.setenv("CYNCO_API_KEY", sandbox_api.API_KEY)
    monkeypatch.setattr("time.sleep", print)
    monkeypatch.setattr(script, "BASE_URL", server.url)

    script.main(["--status", "all", "--csv", str(path)])

    numbers = set()
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            numbers.add(row["invoiceNumber"])
    assert len(numbers) == 300
    assert capsys.readouterr().out.endswith(f"\n300 invoices in {path}\n")


@pytest.mark.parametrize(
    ("shape", "requests_sent", "connections"),
    [("guide", 3, 1), ("openapi", 3, 1), ("sdk", 4, 2)],
)
def test_a_pass_prints_the_same_in_few_requests_and_connections(
    serve, shape, requests_sent, connections
):
    server = serve(shape=shape)

    done = run(
        "03_pagination.py",
        "--status=all",
        "--mode=cursor",
        server=server,
    )

    assert done.stdout.splitlines() == [
        "By cursor: 300 invoices",
        "  JPY        2,744,888",
        "  KWD        6,112.153",
        "  MYR       690,406.74",
        "  SGD        26,933.70",
    ]
    assert len(server.seen) == requests_sent
    assert server.connections == connections
