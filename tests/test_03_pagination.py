"""03: every invoice comes once, and a short or endless list is an error."""

import tracemalloc

import pytest
from conftest import KEY, failure, load, run, success

from _common import CyncoError

script = load("03_pagination")
both_modes = pytest.mark.parametrize("mode", ["cursor", "offset"])
missing_or_null = pytest.mark.parametrize(
    "cursor",
    [{}, {"nextCursor": None}],
    ids=["missing", "null"],
)


def invoice(number, **changes):
    record = {
        "id": f"inv_{number}",
        "invoiceNumber": f"INV-{number}",
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


def whole_list(*invoices):
    return success(invoices, {"hasMore": False})


def ids(invoices):
    found = []
    for record in invoices:
        found.append(record["id"])
    return found


@pytest.fixture
def sandbox(serve, connect):
    """Start a sandbox that the script reads from: sandbox(shape=..., invoices=...)."""

    def start(**options):
        server = serve(**options)
        connect(script, server)
        return server

    return start


def make_all_overdue(server):
    for record in server.app.invoices:
        record["status"] = "overdue"


# get_page


def test_the_request(api):
    api.replies = [last_page(1)]

    list(script.iterate_invoices())

    (request,) = api.requests
    assert request.method == "GET"
    assert request.url == "https://app.cynco.io/api/v1/invoices"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.timeout == 30


@both_modes
def test_the_oldest_first_is_order_asc(api, mode):
    api.replies = [
        page(1, nextCursor="a"),
        last_page(2),
    ]

    script.main(["--mode", mode])

    assert api.requests[0].query["order"] == "asc"
    assert api.requests[1].query["order"] == "asc"


# pages_by_cursor


def test_by_cursor_each_request_has_the_nextcursor_of_the_page_before(api):
    api.replies = [
        page(1, nextCursor="a"),
        page(2, nextCursor="b"),
        last_page(3),
    ]

    found = ids(script.iterate_invoices())

    assert found == ["inv_1", "inv_2", "inv_3"]
    assert api.requests[0].query == {"limit": "100", "order": "asc"}
    assert api.requests[1].query["cursor"] == "a"
    assert api.requests[2].query == {
        "limit": "100",
        "order": "asc",
        "cursor": "b",
    }


def test_a_cursor_on_the_last_page_is_not_followed(api):
    api.replies = [last_page(1, nextCursor="a")]

    assert ids(script.iterate_invoices()) == ["inv_1"]


# pages_by_offset


def test_by_offset_each_request_says_how_many_to_skip(api):
    api.replies = [
        page(1),
        page(2),
        last_page(3),
    ]

    script.main(["--mode", "offset", "--status", "all"])

    assert api.requests[0].query == {
        "limit": "100",
        "order": "asc",
        "offset": "0",
        "page": "1",
    }
    assert api.requests[1].query["offset"] == "100"
    assert api.requests[1].query["page"] == "2"
    assert api.requests[2].query["offset"] == "200"
    assert api.requests[2].query["page"] == "3"


@both_modes
def test_a_transient_failure_is_retried(api, mode):
    api.replies = [
        failure(503),
        last_page(1),
    ]

    code = script.main(["--mode", mode])

    assert code == 0
    assert len(api.sleeps) == 1


# iterate_invoices


def test_filters_are_query_parameters_of_each_page(api):
    api.replies = [
        page(1, nextCursor="a"),
        last_page(2),
    ]

    list(script.iterate_invoices(created_from="2026-01-01T00:00:00Z"))

    assert api.requests[0].query["created_from"] == "2026-01-01T00:00:00Z"
    assert api.requests[1].query["created_from"] == "2026-01-01T00:00:00Z"


def test_a_page_is_handed_out_before_the_next_is_requested(api):
    api.replies = [page(1, nextCursor="a")]
    invoices = script.iterate_invoices()

    first = next(invoices)

    assert first["id"] == "inv_1"


@missing_or_null
def test_without_a_nextcursor_it_reads_by_offset_and_says_so(api, caplog, cursor):
    api.replies = [
        page(1, **cursor),
        page(1, **cursor),
        last_page(2),
    ]

    found = ids(script.iterate_invoices(status="paid"))

    assert found == ["inv_1", "inv_2"]
    assert api.requests[2].query["offset"] == "100"
    assert api.requests[2].query["status"] == "paid"
    assert caplog.messages == ["The API sends no cursors: reading by offset"]


def test_one_page_needs_no_nextcursor(api, caplog):
    api.replies = [last_page(1)]

    found = ids(script.iterate_invoices())

    assert found == ["inv_1"]
    assert caplog.messages == []


# check


@both_modes
def test_the_same_page_for_ever_is_an_error(api, mode):
    api.replies = [page(1, 2, total=250, nextCursor="a")] * 60

    with pytest.raises(CyncoError, match="received only 2 of 250 invoices"):
        script.main(["--mode", mode])


@both_modes
def test_empty_pages_for_ever_are_an_error(api, mode):
    api.replies = [page(total=250, nextCursor="a")] * 60

    with pytest.raises(CyncoError, match="received only 0 of 250 invoices"):
        script.main(["--mode", mode])


@both_modes
def test_ties_that_reshuffle_between_two_pages_are_an_error(api, mode):
    api.replies = [
        page(1, 2, total=4, nextCursor="a"),
        last_page(2, 3, total=4),
    ]

    with pytest.raises(CyncoError, match="received only 2 of 4 invoices"):
        script.main(["--mode", mode])


def test_an_invoice_that_comes_again_is_not_handed_out(api):
    api.replies = [
        page(1, nextCursor="a"),
        last_page(1),
    ]
    invoices = script.iterate_invoices()
    next(invoices)

    with pytest.raises(CyncoError):
        next(invoices)


@both_modes
def test_an_end_that_comes_too_early_is_an_error(api, mode):
    api.replies = [
        page(1, total=250, nextCursor="a"),
        last_page(2, total=250),
    ]

    with pytest.raises(CyncoError, match="received only 2 of 250 invoices"):
        script.main(["--mode", mode])


@missing_or_null
def test_a_nextcursor_that_goes_missing_is_an_error(api, cursor):
    api.replies = [
        page(1, total=2, nextCursor="a"),
        page(2, total=2, **cursor),
    ]

    with pytest.raises(CyncoError, match="received only 2 of"):
        script.main([])


@pytest.mark.parametrize(
    ("shape", "mode", "message"),
    [
        ("guide", "offset", "received only 298 of 300 invoices"),
        ("sdk", "cursor", "received only 297 of 299 invoices"),
    ],
)
def test_by_offset_an_invoice_that_leaves_hides_another(sandbox, shape, mode, message):
    server = sandbox(shape=shape, changing=True)
    make_all_overdue(server)

    with pytest.raises(CyncoError, match=message):
        script.main(["--mode", mode, "--status", "overdue"])


def test_by_cursor_an_invoice_that_leaves_hides_no_other(sandbox, capsys):
    server = sandbox(changing=True)
    make_all_overdue(server)

    code = script.main(["--status", "overdue"])

    assert code == 0
    assert capsys.readouterr().out.startswith("300 invoices\n")


def test_by_cursor_an_invoice_that_leaves_unread_is_not_missing(api, capsys):
    api.replies = [
        page(1, total=3, nextCursor="a"),
        last_page(2, total=2),
    ]

    code = script.main([])

    assert code == 0
    assert capsys.readouterr().out.startswith("2 invoices\n")


@both_modes
def test_an_invoice_that_is_created_meanwhile_comes_last(api, capsys, mode):
    api.replies = [
        page(1, total=2, nextCursor="a"),
        last_page(2, 3, total=3),
    ]

    script.main(["--mode", mode])

    assert capsys.readouterr().out.startswith("3 invoices\n")


def test_the_error_says_to_filter_in_a_loop_of_your_own(api):
    api.replies = [last_page(1, total=2)]

    with pytest.raises(CyncoError, match="and filter in your own loop"):
        script.main(["--mode", "offset"])


def test_memory_does_not_grow_with_the_number_of_invoices():
    def pages():
        for first in range(0, 20_000, 100):
            data = []
            for number in range(first, first + 100):
                data.append(invoice(number))
            has_more = first < 19_900
            yield {"data": data, "pagination": {"hasMore": has_more}}

    tracemalloc.start()
    for _ in script.check(pages(), by_cursor=True):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 500_000  # bytes; the ids of 20,000 invoices alone are more


# main


def test_the_paid_ones_are_read_unless_told_otherwise(api):
    api.replies = [last_page()]

    script.main([])

    assert api.requests[0].query["status"] == "paid"


def test_status_all_sends_no_status(api):
    api.replies = [last_page()]

    script.main(["--status", "all"])

    assert "status" not in api.requests[0].query


def test_the_mode_is_cursor_unless_told_otherwise(api):
    api.replies = [last_page()]

    script.main([])

    assert "offset" not in api.requests[0].query


def test_an_unknown_mode_is_a_usage_error(api, capsys):
    with pytest.raises(SystemExit) as stop:
        script.main(["--mode", "both"])

    assert stop.value.code == 2
    assert "argument --mode: invalid choice" in capsys.readouterr().err
    assert api.requests == []


def test_totals_are_by_currency(api, capsys):
    ringgit = invoice(1, currency="MYR", total=162000)
    yen = invoice(2, currency="JPY", total=500)
    dinar = invoice(3, currency="KWD", total=1)
    more_ringgit = invoice(4, currency="MYR", total=10)
    api.replies = [whole_list(ringgit, yen, dinar, more_ringgit)]

    code = script.main([])

    assert code == 0
    assert capsys.readouterr().out.splitlines() == [
        "4 invoices",
        "  JPY              500",
        "  KWD            0.001",
        "  MYR         1,620.10",
    ]


def test_totals_have_a_thousands_separator(api, capsys):
    record = invoice(1, total=123456789)
    api.replies = [whole_list(record)]

    script.main([])

    assert "  MYR     1,234,567.89\n" in capsys.readouterr().out


def test_the_count_has_a_thousands_separator(api, capsys):
    api.replies = [last_page(*range(1200))]

    script.main([])

    assert capsys.readouterr().out.startswith("1,200 invoices\n")


def test_totals_are_exact(api, capsys):
    large = invoice(1, total=9876543210987654)
    small = invoice(2, total=10)
    api.replies = [whole_list(large, small)]

    script.main([])

    assert "98,765,432,109,876.64" in capsys.readouterr().out


def test_an_invoice_without_a_total_is_counted_and_named(api, capsys):
    record = {
        "id": "inv_1",
        "invoiceNumber": "INV-1",
        "currency": "MYR",
        "totalAmount": None,
    }
    api.replies = [whole_list(record)]

    code = script.main([])

    assert code == 0
    out, err = capsys.readouterr()
    assert out == "1 invoices\n"
    assert err == "INV-1 has no total\n"


def test_a_short_list_prints_no_totals(api, capsys):
    api.replies = [last_page(1, total=2)]

    with pytest.raises(CyncoError):
        script.main([])

    assert capsys.readouterr().out == ""


# Over HTTP


@pytest.mark.parametrize("count", [0, 1, 100, 101])
def test_each_invoice_comes_once(sandbox, shape, count):
    sandbox(shape=shape, invoices=count)

    found = ids(script.iterate_invoices())

    assert len(found) == count
    assert len(set(found)) == count


@pytest.mark.parametrize("count", [0, 1, 100, 101])
def test_by_offset_each_invoice_comes_once(sandbox, shape, count):
    sandbox(shape=shape, invoices=count)

    pages = script.pages_by_offset({})
    found = ids(script.check(pages, by_cursor=False))

    assert len(found) == count
    assert len(set(found)) == count


def test_each_invoice_comes_once_under_faults(sandbox, shape, monkeypatch):
    monkeypatch.setitem(script.PAGE, "limit", 20)  # 15 pages: each fault comes
    faults = ["503", "drop", "lost", "truncate", "429"]
    sandbox(shape=shape, faults=faults)

    found = ids(script.iterate_invoices())

    assert len(found) == 300
    assert len(set(found)) == 300


@pytest.mark.parametrize("shape", ["guide", "openapi"])
def test_by_cursor_1000_invoices_take_10_requests_and_one_connection(sandbox, shape):
    server = sandbox(shape=shape, invoices=1000)

    found = ids(script.iterate_invoices())

    assert len(found) == 1000
    assert len(server.seen) == 10
    assert server.connections == 1


def test_by_offset_one_connection_serves_all_pages(sandbox):
    server = sandbox(shape="sdk")

    script.main(["--mode", "offset", "--status", "all"])

    assert len(server.seen) == 3
    assert server.connections == 1


@both_modes
def test_each_shape_and_mode_prints_the_same(sandbox, capsys, shape, mode):
    sandbox(shape=shape)

    script.main(["--mode", mode, "--status", "all"])

    assert capsys.readouterr().out.splitlines() == [
        "300 invoices",
        "  JPY        2,744,888",
        "  KWD        6,112.153",
        "  MYR       690,406.74",
        "  SGD        26,933.70",
    ]


def test_what_is_read_by_offset_says_nothing_of_cursors_on_stdout(serve):
    server = serve(shape="sdk")

    done = run("03_pagination.py", server=server)

    assert done.stderr == "The API sends no cursors: reading by offset\n"
    assert "invoices\n" in done.stdout
    assert "cursor" not in done.stdout
    assert done.returncode == 0
