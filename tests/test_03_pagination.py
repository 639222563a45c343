"""Reading every invoice: what is asked for, that each is counted once, and that a short list is never taken for all."""

import json
import math
import os
import signal
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
import requests
import sandbox
from conftest import API, KEY, ROOT, Request, StallingServer, answer, envelope, failure, load, run

SCRIPT = "03_pagination.py"
pagination = load("03_pagination")
main = pagination.main
READ = {"offset": pagination.list_by_offset, "cursor": pagination.iterate_invoices}
both_modes = pytest.mark.parametrize("mode", READ)
Invoice = dict[str, Any]


def make_invoices(count: int) -> list[Invoice]:
    return [{"id": f"inv_{number}", "currency": "MYR", "total": number} for number in range(1, count + 1)]


def ids(invoices: list[Invoice]) -> list[str]:
    return [invoice["id"] for invoice in invoices]


class FakeAPI:
    """A list of invoices, newest first, in either shape; some arrive on top after each request."""

    def __init__(
        self, invoices: list[Invoice], shape: str = "guide", size: int = 100, arrivals: int = 0, more: bool = False
    ) -> None:
        self.invoices, self.shape, self.size, self.arrivals = invoices, shape, size, arrivals
        self.more = more  # whether a full page is always said to be followed by another one

    def __call__(self, request: Request) -> requests.Response:
        query = request.query
        if "cursor" in query:
            start = ids(self.invoices).index(query["cursor"]) + 1
        elif self.shape == "guide":
            start = int(query.get("offset", 0))
        else:
            start = (int(query.get("page", 1)) - 1) * int(query["limit"])
        size = min(self.size, int(query["limit"]))
        page, rest = self.invoices[start : start + size], self.invoices[start + size :]
        has_more = bool(rest) or (self.more and len(page) == size)
        cursor = page[-1]["id"] if has_more else None
        new = [{"id": f"inv_new_{len(self.invoices)}_{n}", "currency": "MYR"} for n in range(self.arrivals)]
        self.invoices = new + self.invoices
        # What the answer says of its own position is wrong on purpose: nobody should need it.
        return answer(envelope(page, pagination={"hasMore": has_more, "nextCursor": cursor, "offset": 7, "page": 7}))


def pages_of(*pages: tuple[list[Invoice], dict[str, Any] | None]) -> list[requests.Response]:
    return [answer(envelope(invoices, pagination=position)) for invoices, position in pages]


def read_until_error(mode: str) -> tuple[list[str], str]:
    """The ids that a pass yields before its error, and the error."""
    found: list[str] = []
    with pytest.raises(pagination.CyncoAPIError) as error:
        found.extend(invoice["id"] for invoice in READ[mode]())
    return found, str(error.value)


@pytest.mark.parametrize(
    ("options", "status"),
    [([], {"status": "paid"}), (["--status", "draft"], {"status": "draft"}), (["--status", "all"], {})],
)
def test_sends_exactly_these_parameters(api: API, options: list[str], status: dict[str, str]) -> None:
    api.answers_by(FakeAPI(make_invoices(250)))
    assert main(options) == 0
    assert [request.query for request in api.requests] == [
        {"limit": "100", "offset": "0", "page": "1", **status},
        {"limit": "100", "offset": "100", "page": "2", **status},
        {"limit": "100", "offset": "200", "page": "3", **status},
        {"limit": "100", **status},
        {"limit": "100", "cursor": "inv_100", **status},
        {"limit": "100", "cursor": "inv_200", **status},
    ]
    for request in api.requests:
        assert (request.method, request.url) == ("GET", "https://app.cynco.io/api/v1/invoices")
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        assert request.timeout == 30


@both_modes
def test_a_mode_alone_makes_one_pass(api: API, capsys: pytest.CaptureFixture[str], mode: str) -> None:
    api.answers_by(FakeAPI(make_invoices(3)))
    assert main(["--mode", mode]) == 0
    assert len(api.requests) == 1
    assert capsys.readouterr().out == (
        f"By {mode}: 3 invoices\nCurrency  Invoices     Total\n--------  --------  --------\n"
        "MYR              3  MYR 0.06\n"
    )


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 200, 250])
@both_modes
def test_reads_all_with_the_fewest_requests(api: API, shape: str, mode: str, count: int) -> None:
    invoices = make_invoices(count)
    api.answers_by(FakeAPI(invoices, shape))
    assert ids(list(READ[mode]())) == ids(invoices)
    assert len(api.requests) == max(1, math.ceil(count / 100))


@pytest.mark.parametrize("count", [100, 300])
@both_modes
def test_an_empty_last_page_ends_the_list(api: API, shape: str, mode: str, count: int) -> None:
    invoices = make_invoices(count)
    api.answers_by(FakeAPI(invoices, shape, more=True))
    assert ids(list(READ[mode]())) == ids(invoices)
    assert len(api.requests) == count // 100 + 1


@pytest.mark.parametrize("mode", ["offset", "cursor", "both"])
def test_no_invoices_are_no_error(api: API, capsys: pytest.CaptureFixture[str], mode: str) -> None:
    api.answers_by(FakeAPI([]))
    assert main(["--mode", mode]) == 0
    assert f"By {mode.replace('both', 'cursor')}: 0 invoices" in capsys.readouterr().out


A, B, C, D = make_invoices(4)
NO_WORD = "the API does not say whether more invoices follow"
NOTHING = "the API says that more invoices follow, but sent none"
NO_CURSOR = "the API says that more invoices follow, but sent no cursor"
REPEATED = "the API sent a cursor for the second time"
PAGE_AGAIN = "the API sent a page again"


def more(cursor: str | None = None) -> dict[str, Any]:
    return {"hasMore": True, "nextCursor": cursor}


@pytest.mark.parametrize(
    ("mode", "pages", "found", "message"),
    [
        ("offset", [([A], None)], 0, NO_WORD),
        ("offset", [([A], {"total": 1})], 0, NO_WORD),
        ("offset", [([A], more()), ([B], {"hasMore": None})], 1, NO_WORD),
        ("offset", [([], more())], 0, "the API sent nothing new from offset 0"),
        ("offset", [([A, B], more()), ([], more())], 2, "the API sent nothing new from offset 2"),
        ("offset", [([A, B], more()), ([A, B], more())], 2, "the API sent nothing new from offset 2"),
        ("offset", [([A, B], more()), ([A, B], {"hasMore": False})], 2, "the API sent nothing new from offset 2"),
        ("cursor", [([A], None)], 0, NO_WORD),
        ("cursor", [([A], {"nextCursor": "a"})], 0, NO_WORD),
        ("cursor", [([A], more("a")), ([B], {"hasMore": "no"})], 1, NO_WORD),
        ("cursor", [([], more("a"))], 0, NOTHING),
        ("cursor", [([A], more("a")), ([], more("b"))], 1, NOTHING),
        ("cursor", [([A], {"hasMore": True})], 0, NO_CURSOR),
        ("cursor", [([A], more("a")), ([B], more(None))], 1, NO_CURSOR),
        ("cursor", [([A], more("a")), ([B], more(""))], 1, NO_CURSOR),
        ("cursor", [([A], more("a")), ([B], more("a"))], 1, REPEATED),
        ("cursor", [([A], more("a")), ([B], more("b")), ([C], more("a"))], 2, REPEATED),
        ("cursor", [([A], more("a")), ([B], more("b")), ([C], more("c")), ([D], more("b"))], 3, REPEATED),
        ("cursor", [([A], more("a")), ([B], more("b")), ([C], more("c")), ([B], more("d"))], 3, PAGE_AGAIN),
        ("cursor", [([A, B], more("a")), ([A, B], more("a"))], 2, PAGE_AGAIN),
        ("cursor", [([A, B], more("a")), ([A, B], more("b"))], 2, PAGE_AGAIN),
        ("cursor", [([A, B], more("a")), ([A, B], {"hasMore": False})], 2, PAGE_AGAIN),
        ("cursor", [([A], more("a")), ([B], more("b")), ([A], {"hasMore": False})], 2, PAGE_AGAIN),
    ],
)
def test_broken_paging_is_an_error(
    api: API, capsys: pytest.CaptureFixture[str], mode: str, pages: list[Any], found: int, message: str
) -> None:
    api.answers_with(*pages_of(*pages))
    yielded, error = read_until_error(mode)
    assert yielded == ids([A, B, C, D])[:found]
    assert message in error
    assert len(api.requests) == len(pages)

    api.answers_with(*pages_of(*pages))
    assert main(["--mode", mode]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert output.err.count("\n") == 1
    assert api.sleeps == []


@pytest.mark.parametrize("arrivals", [1, 30, 99])
@both_modes
def test_invoices_that_arrive_meanwhile_repeat_nothing(api: API, shape: str, mode: str, arrivals: int) -> None:
    invoices = make_invoices(301)
    api.answers_by(FakeAPI(invoices, shape, arrivals=arrivals))
    found = ids(list(READ[mode]()))
    assert found == ids(invoices)
    assert mode == "offset" or len(api.requests) == 4


@pytest.mark.parametrize(("mode", "shape"), [("offset", "guide"), ("cursor", "guide"), ("cursor", "openapi")])
def test_shorter_pages_than_asked_for_skip_nothing(api: API, mode: str, shape: str) -> None:
    invoices = make_invoices(250)
    api.answers_by(FakeAPI(invoices, shape, size=30))
    assert ids(list(READ[mode]())) == ids(invoices)
    assert len(api.requests) == 9


@pytest.mark.parametrize("size", [30, 70])
def test_shorter_pages_than_page_numbers_assume_are_an_error(api: API, size: int) -> None:
    invoices = make_invoices(250)
    api.answers_by(FakeAPI(invoices, "openapi", size=size))
    found, message = read_until_error("offset")
    assert found == ids(invoices)[:size]
    assert "nothing new" in message


@pytest.mark.parametrize(
    ("trouble", "wait"),
    [
        (failure(503), 0.5),
        (requests.ConnectionError, 0.5),
        (requests.Timeout, 0.5),
        (answer(b'{"success": true, "data": [{"id": "inv_'), 0.5),
        (failure(429, headers={"Retry-After": "7"}), 7),
    ],
    ids=["503", "drop", "timeout", "truncate", "429"],
)
@both_modes
def test_trouble_in_the_middle_is_retried(api: API, shape: str, mode: str, trouble: Any, wait: float) -> None:
    invoices = make_invoices(250)
    fake = FakeAPI(invoices, shape)
    api.answers_with(fake, trouble, fake, fake)
    assert ids(list(READ[mode]())) == ids(invoices)
    assert api.requests[1].query == api.requests[2].query
    assert len(api.sleeps) == 1
    assert wait / 2 <= api.sleeps[0] <= wait


@pytest.mark.parametrize(
    ("troubles", "sleeps", "message"),
    [
        ([failure(503) for _ in range(4)], 3, "503 SOME_CODE"),
        ([requests.ConnectionError] * 4, 3, "no connection to app.cynco.io"),
        ([failure(429, headers={"Retry-After": "3600"})], 0, "429 SOME_CODE"),
        ([failure(401, message=f"{KEY} was revoked")], 0, "401 SOME_CODE: cak_*** was revoked"),
        ([answer("<html>Welcome</html>")], 0, "not an answer of the Cynco API"),
        ([envelope({"id": "inv_1"})], 0, "not an answer of the Cynco API"),
    ],
    ids=["503", "drop", "long wait", "revoked", "html", "no list"],
)
@both_modes
def test_trouble_that_lasts_is_an_error_and_no_shorter_list(
    api: API, capsys: pytest.CaptureFixture[str], mode: str, troubles: list[Any], sleeps: int, message: str
) -> None:
    api.answers_with(FakeAPI(make_invoices(250)), *troubles)
    assert main(["--mode", mode]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert KEY not in output.err
    assert len(api.sleeps) == sleeps


MONEY = [  # currency, smallest units or None
    *[("MYR", 10)] * 3,
    *[("JPY", 1), ("JPY", 250_000)],
    *[("KWD", 1), ("KWD", 1_999)],
    *[("SGD", 100_000_000_000_000_001)] * 3,
    *[("USD", -5), ("USD", None), ("USD", 0)],
]
TOTALS = """\
Currency  Invoices                         Total
--------  --------  ----------------------------
JPY              2                   JPY 250,001
KWD              2                     KWD 2.000
MYR              3                      MYR 0.30
SGD              3  SGD 3,000,000,000,000,000.03
USD              3                     USD -0.05
1 of them have no amount.
"""


def test_totals_are_exact_and_by_currency(api: API, capsys: pytest.CaptureFixture[str], shape: str) -> None:
    invoices: list[Invoice] = []
    for number, (currency, total) in enumerate(MONEY):
        decimals = {"JPY": 0, "KWD": 3}.get(currency, 2)
        invoice = {"id": f"inv_{number}", "currency": currency}
        if shape == "guide":
            invoices.append({**invoice, "total": total})
        else:
            invoices.append(
                {**invoice, "totalAmount": None if total is None else f"@{Decimal(total).scaleb(-decimals)}@"}
            )
    text = answer(envelope(invoices, pagination={"hasMore": False})).text
    # A number as it stands in JSON, which a float could not hold.
    api.answers_by(lambda _: answer(text.replace('"@', "").replace('@"', "").encode()))
    assert main([]) == 0
    assert capsys.readouterr().out == f"By offset: 13 invoices\n{TOTALS}\nBy cursor: 13 invoices\n{TOTALS}"


def test_progress_is_a_line_every_5000_when_piped(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers_by(FakeAPI(make_invoices(10_050)))
    assert main([]) == 0
    output = capsys.readouterr()
    assert output.err == "".join(f"{mode}: {done} invoices\n" for mode in READ for done in ("5,000", "10,000"))
    assert ": 5,000" not in output.out


def test_progress_is_one_live_line_on_a_terminal(
    api: API, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    api.answers_by(FakeAPI(make_invoices(350)))
    assert main(["--mode", "cursor"]) == 0
    output = capsys.readouterr()
    assert output.err == "cursor: 100 invoices\rcursor: 200 invoices\rcursor: 300 invoices\r"
    assert output.out.startswith("By cursor: 350 invoices\n")


@both_modes
def test_ctrl_c_tells_how_far_it_got(api: API, capsys: pytest.CaptureFixture[str], mode: str) -> None:
    fake = FakeAPI(make_invoices(350))
    api.answers_with(fake, fake, KeyboardInterrupt)
    assert main(["--mode", mode]) == 1
    assert capsys.readouterr() == ("", f"\nStopped after 200 invoices (by {mode}).\n")


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send SIGINT to one process")
def test_sigint_ends_with_one_line() -> None:
    with StallingServer(sandbox.create_app(invoices=900), stalls_at=3) as server:
        environ = {**os.environ, "CYNCO_BASE_URL": server.url, "CYNCO_API_KEY": sandbox.API_KEY}
        with subprocess.Popen(
            [sys.executable, SCRIPT],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        ) as script:
            assert server.stalled.wait(30)
            script.send_signal(signal.SIGINT)
            output = script.communicate(timeout=30)
    assert (script.returncode, *output) == (1, "", "\nStopped after 200 invoices (by offset).\n")


def expected_output(server: sandbox.SandboxServer, status: str | None, mode: str) -> str:
    """What a pass should print, from the server's own books."""
    chosen = [invoice for invoice in server.app.config["INVOICES"] if status in (None, invoice["status"])]
    counts, totals = Counter[str](), Counter[str]()
    for invoice in chosen:
        counts[invoice["currency"]] += 1
        totals[invoice["currency"]] += invoice["total"]
    rows = []
    for currency in sorted(counts):
        decimals = {"JPY": 0, "KWD": 3}.get(currency, 2)
        rows.append(
            (
                currency,
                f"{counts[currency]:,}",
                f"{currency} {Decimal(totals[currency]).scaleb(-decimals):,.{decimals}f}",
            )
        )
    width = max(len(total) for _, _, total in rows)
    lines = [f"By {mode}: {len(chosen):,} invoices", f"Currency  Invoices  {'Total':>{width}}"]
    lines += ["-" * 8 + "  " + "-" * 8 + "  " + "-" * width]
    lines += [f"{currency:<8}  {count:>8}  {total:>{width}}" for currency, count, total in rows]
    return "\n".join(lines) + "\n"


def test_one_connection_for_a_whole_pass(serve: Callable[..., sandbox.SandboxServer], shape: str) -> None:
    server = serve(invoices=1234, shape=shape)
    result = run(SCRIPT, server=server)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == expected_output(server, "paid", "offset") + "\n" + expected_output(server, "paid", "cursor")
    assert (len(server.seen), server.connections) == (14, 2)


def test_every_invoice_is_counted_once_despite_faults(
    serve: Callable[..., sandbox.SandboxServer], shape: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    faults = ["500", "503", "429", "drop", "truncate"]
    server = serve(invoices=1234, shape=shape, faults=faults)
    monkeypatch.setattr(pagination, "BASE_URL", server.url)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("CYNCO_API_KEY", sandbox.API_KEY)
    assert main(["--status", "all"]) == 0
    assert capsys.readouterr().out == expected_output(server, None, "offset") + "\n" + expected_output(
        server, None, "cursor"
    )
    seen = Counter(request["fault"] for request in server.seen)
    assert seen.pop(None) == 26
    assert set(seen) == set(faults)


def test_every_invoice_is_counted_once_despite_a_rate_limit(serve: Callable[..., sandbox.SandboxServer]) -> None:
    servers = [serve(invoices=1234, rate_limit=10, window=1, shape=shape) for shape in ("guide", "openapi")]
    with ThreadPoolExecutor() as pool:  # at the same time: each has to wait for its windows to end
        results = list(pool.map(lambda server: run(SCRIPT, "--status", "all", server=server), servers))
    for server, result in zip(servers, results):
        assert result.returncode == 0, result.stderr
        assert result.stdout == expected_output(server, None, "offset") + "\n" + expected_output(server, None, "cursor")
        assert len(server.seen) > 26
        assert "429 RATE_LIMITED" in result.stderr


def test_memory_does_not_grow_with_the_number_of_invoices(api: API) -> None:
    others = json.dumps([sandbox.make_invoice(number) for number in range(2, 101)]).strip("[]")

    def peak(count: int) -> int:
        def reply(request: Request) -> requests.Response:
            api.requests.clear()
            end = int(request.query.get("cursor", "0")) + 100
            first = json.dumps({**sandbox.make_invoice(1), "id": f"inv_{end}"})
            position = json.dumps({"hasMore": end < count, "nextCursor": f"{end:08d}"})
            return answer(f'{{"data": [{first}, {others}], "pagination": {position}}}'.encode())

        api.answers_by(reply)
        tracemalloc.reset_peak()
        assert sum(1 for _ in pagination.iterate_invoices()) == count
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        peak(20_000)  # fills the caches of Python and its library
        assert peak(100_000) < 1.1 * peak(1_000)
    finally:
        tracemalloc.stop()


def test_a_wrong_mode_is_a_usage_error(api: API, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--mode", "page"])
    assert stop.value.code == 2
    assert "argument --mode: invalid choice: 'page'" in capsys.readouterr().err
    assert api.requests == []


def test_an_invoice_twice_on_one_page_counts_once_by_offset(api: API) -> None:
    invoice = sandbox.make_invoice(1)
    api.answers_with(envelope([invoice, invoice, sandbox.make_invoice(2)], pagination={"hasMore": False}))
    assert [read["id"] for read in pagination.list_by_offset()] == ["inv_00000001", "inv_00000002"]
