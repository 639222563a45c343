"""03: every invoice comes once, and a short list is never taken for all of them."""

import csv
import itertools
import sys
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import sandbox_api
from conftest import API, KEY, Request, envelope, load, run

import _common

script = load("03_pagination")
READ = {"offset": script.list_by_offset, "cursor": script.iterate_invoices}
both_modes = pytest.mark.parametrize("mode", READ)
Capture = pytest.CaptureFixture[str]
Invoices = list[dict[str, Any]]
# Every published form of `pagination`; all but the guide's read `page` and ignore `offset`.
FORMS = {
    "guide": "total limit offset hasMore nextCursor",
    "OpenAPI": "page limit total totalPages hasMore nextCursor",
    "OpenAPI without cursors": "page limit total totalPages hasMore",
    "SDK by page": "total limit offset hasMore",
    "SDK by cursor": "limit hasMore nextCursor",
}


def make_invoices(count: int) -> Invoices:
    return [sandbox_api.make_invoice(number) for number in range(1, count + 1)]


def ids(invoices: Any) -> list[str]:
    return [invoice["id"] for invoice in invoices]


def page_of(invoices: Invoices, **pagination: Any) -> dict[str, Any]:
    return envelope(invoices, pagination=pagination)


def fake_api(count: int, form: str = "guide", arrivals: int = 0) -> Callable[[Request], Any]:
    """List invoices, newest first; after each request, `arrivals` new ones have come."""
    invoices = make_invoices(count)

    def respond(request: Request) -> dict[str, Any]:
        query, limit, total = request.query, int(request.query["limit"]), len(invoices)
        start = int(query.get("offset", 0))
        if form != "guide":
            start = (int(query.get("page", 1)) - 1) * limit
        if "cursor" in query:
            start = ids(invoices).index(query["cursor"]) + 1
        page, more = invoices[start : start + limit], start + limit < total
        invoices[:0] = [{"id": f"new_{total + n}"} for n in range(arrivals)]
        names = "total limit offset page totalPages hasMore nextCursor".split()
        values = [total, limit, start, start // limit + 1, -(-total // limit), more]
        pagination = dict(zip(names, [*values, page[-1]["id"] if more else None]))
        return page_of(page, **{name: pagination[name] for name in FORMS[form].split()})

    return respond


# --- get_page
@pytest.mark.parametrize(
    ("options", "status"),
    [([], {"status": "paid"}), (["--status=draft"], {"status": "draft"}), (["--status=all"], {})],
    ids=["paid by default", "draft", "all sends no status"],
)
def test_each_request_is_exactly_this(api: API, options: list[str], status: dict[str, str]) -> None:
    api.replies_by(fake_api(250))
    assert script.main(options) == 0
    assert [request.query for request in api.requests] == [
        {"limit": "100", "offset": "0", "page": "1", **status},
        {"limit": "100", "offset": "100", "page": "2", **status},
        {"limit": "100", "offset": "200", "page": "3", **status},
        {"limit": "100", **status},
        {"limit": "100", "cursor": "inv_00000100", **status},
        {"limit": "100", "cursor": "inv_00000200", **status},
    ]
    for request in api.requests:
        assert (request.method, request.url) == ("GET", "https://app.cynco.io/api/v1/invoices")
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        assert request.options["timeout"] == 30


@both_modes
@pytest.mark.parametrize("body", [envelope([]), page_of([], limit=100)], ids=["page", "hasMore"])
def test_paging_that_is_not_told_is_an_error(api: API, mode: str, body: dict[str, Any]) -> None:
    api.replies_with(body)
    with pytest.raises(KeyError, match=r"pagination|hasMore"):
        list(READ[mode]())


# --- list_by_offset and iterate_invoices
@both_modes
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [0, 100, 101, 300])
def test_all_come_once_in_the_fewest_requests(api: API, mode: str, form: str, count: int) -> None:
    api.replies_by(fake_api(count, form))
    assert ids(READ[mode]("paid")) == ids(make_invoices(count))
    assert {request.query["status"] for request in api.requests} == {"paid"}
    pages = max(1, -(-count // 100))
    misses_cursors = mode == "cursor" and "nextCursor" not in FORMS[form] and pages > 1
    assert len(api.requests) == pages + misses_cursors


@both_modes
@pytest.mark.parametrize("form", FORMS)
def test_invoices_created_meanwhile_push_none_in_twice(api: API, mode: str, form: str) -> None:
    api.replies_by(fake_api(301, form, arrivals=60))
    found = ids(READ[mode]())
    assert [name for name in found if "new" not in name] == ids(make_invoices(301))
    assert len(set(found)) == len(found)


AGAIN = page_of(make_invoices(2), hasMore=True, nextCursor="again")


@pytest.mark.parametrize(
    ("mode", "last"),
    [
        ("offset", page_of([], hasMore=True)),
        ("offset", AGAIN),
        ("cursor", page_of([], hasMore=True)),
        ("cursor", page_of([], hasMore=True, nextCursor="")),
        ("cursor", AGAIN),
    ],
    ids=["empty page", "same page", "no later cursor", "empty cursor", "same cursor"],
)
def test_inconsistent_paging_is_an_error(api: API, capsys: Capture, mode: str, last: Any) -> None:
    problem = "nothing new from offset 2|more follow, but there is no new cursor"
    api.replies_with(AGAIN, last)
    with pytest.raises(SystemExit, match=f"^Error: paging: ({problem})$"):
        _common.run(lambda: script.main(["--mode", mode]))
    assert (capsys.readouterr().out, api.sleeps) == ("", [])


@pytest.mark.parametrize(("cursor", "requests"), [({"nextCursor": "a"}, 1), ({}, 2)], ids=READ)
def test_a_page_is_written_before_the_next_request(
    api: API, capsys: Capture, cursor: Any, requests: int
) -> None:
    page = page_of(make_invoices(100), hasMore=True, **cursor)
    api.replies_with(*[page] * requests, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        script.main(["--csv"])
    assert capsys.readouterr().out.count("\n") == 101


@both_modes
def test_neither_work_nor_memory_per_page_grows(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    def measure(pages: int) -> tuple[int, int]:
        numbers, calls = iter(range(1, pages + 1)), itertools.count()

        def get_page(_: Any, params: Any) -> tuple[Invoices, dict[str, Any]]:
            assert params.get("page", 1) == params.get("offset", 0) // 100 + 1
            name = Fraction(next(numbers))  # the profiler sees each comparison of fractions
            page = [{"id": name, "notes": "x" * 50_000}]
            return page, {"hasMore": name < pages, "nextCursor": name}

        monkeypatch.setattr(script, "get_page", get_page)
        tracemalloc.start()
        sys.setprofile(lambda *_: next(calls))
        try:
            assert sum(1 for _ in READ[mode]()) == pages
            return next(calls), tracemalloc.get_traced_memory()[1]
        finally:
            sys.setprofile(None)
            tracemalloc.stop()

    _, few, many = measure(20), measure(200), measure(2_000)  # the first fills caches
    assert many[0] < 10.1 * few[0]
    assert mode == "offset" or many[1] < 1.1 * few[1]  # by offset, `seen` grows


# --- summarize
def test_totals_are_exact_and_by_currency() -> None:
    amounts: list[Any] = [Decimal("0.1"), Decimal("0.30000000000000004"), None, "98765432109876.54"]
    invoices: Invoices = [{"currency": "MYR", "totalAmount": amount} for amount in amounts]
    invoices += [{"currency": "KWD", "total": 1}, {"currency": "KWD", "total": 1999}]
    expected = {"MYR": (4, Decimal("98765432109876.94")), "KWD": (2, Decimal(2))}
    assert script.summarize(iter(invoices)) == expected


# --- write_csv
def test_csv_has_plain_exact_totals_and_empty_nulls(api: API, capsys: Capture) -> None:
    rows = [
        ("INV-1", 'Teh "Tarik", Sdn\nBhd', "paid", "2026-03-31", "MYR", 162_000),
        ("INV-2", "\u6c38\u767c", "sent", None, "JPY", 500),
        ("INV-3", None, "draft", None, "KWD", 1_234_567_500),
        ("INV-4", "A", "paid", None, "MYR", None),
    ]
    header = "invoiceNumber,customerName,status,dueDate,currency,total"
    invoices = [dict(zip(header.split(","), row)) for row in rows]
    api.replies_with(page_of(invoices, hasMore=False))
    assert script.main(["--csv", "--mode", "offset"]) == 0
    assert capsys.readouterr() == (
        f'{header}\nINV-1,"Teh ""Tarik"", Sdn\nBhd",paid,2026-03-31,MYR,1620.00\n'
        "INV-2,\u6c38\u767c,sent,,JPY,500\nINV-3,,draft,,KWD,1234567.500\nINV-4,A,paid,,MYR,\n",
        "4 invoices\n",
    )
    assert api.requests[0].query == {"limit": "100", "status": "paid"}  # whatever --mode says


def test_csv_is_utf_8_wherever_it_goes(serve: Any) -> None:
    done = run("03_pagination.py", "--csv", server=serve(), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "161 invoices\n", 162)
    assert ",Perniagaan Yong Fatt (\u6c38\u767c)," in done.stdout


# --- show_progress
@pytest.mark.parametrize(("terminal", "count"), [(True, 1250), (False, 1250), (False, 0)])
def test_the_count_is_live_only_on_a_terminal(
    api: API, monkeypatch: pytest.MonkeyPatch, capsys: Capture, terminal: bool, count: int
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    api.replies_by(fake_api(count))
    assert script.main(["--mode", "cursor"]) == 0
    live = "".join(f"{n:,} invoices\r" for n in range(100, count, 100)) if terminal else ""
    assert capsys.readouterr().err == f"{live}{count:,} invoices\n"


# --- main
@both_modes
def test_a_mode_alone_makes_one_pass(api: API, capsys: Capture, mode: str) -> None:
    usd = {"id": "inv_0", "currency": "USD", "total": 5}
    others = [{"id": n, "currency": "MYR", "totalAmount": 1234.56} for n in range(1_000)]
    api.replies_with(page_of([usd, *others], hasMore=False))
    assert script.main(["--mode", mode]) == 0
    myr = f"By {mode}:   1,000 invoices  MYR     1,234,560.00\n"
    assert capsys.readouterr().out == f"{myr}By {mode}:       1 invoices  USD             0.05\n"


def test_faults_lose_and_repeat_nothing_over_http(
    serve: Any, monkeypatch: pytest.MonkeyPatch, capsys: Capture, shape: str
) -> None:
    monkeypatch.setenv("CYNCO_API_KEY", sandbox_api.API_KEY)
    monkeypatch.setattr("time.sleep", lambda _: None)
    servers = [serve(shape=shape), serve(shape=shape, faults=["503", "drop", "lost", "truncate"])]
    outputs = []
    for server in servers:
        monkeypatch.setattr(script, "BASE_URL", server.url)
        for options in ([], ["--csv"]):
            assert script.main(["--status", "all", *options]) == 0
            outputs.append(capsys.readouterr().out)
    assert outputs[2:] == outputs[:2]
    assert len({seen["fault"] for seen in servers[1].seen}) == 5
    assert outputs[0].count(":     210 invoices  MYR     2,490,146.25\n") == 2
    rows = csv.DictReader(outputs[1].splitlines())
    assert sorted((row["invoiceNumber"], row["total"]) for row in rows) == [
        (one["invoiceNumber"], str(sandbox_api.major_units(one))) for one in make_invoices(300)
    ]
    more = 2 * (shape == "sdk")  # by cursor, a request to learn that there are none
    assert (len(servers[0].seen), servers[0].connections) == (9 + more, 3 + more)
