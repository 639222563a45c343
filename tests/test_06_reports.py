"""06_reports.py: what it asks for, the trial balance and its three checks, the other reports as JSON."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
import requests
import sandbox
from conftest import API, KEY, answer, envelope, failure, load, run

import _common

script = load("06_reports")
Serve = Callable[..., sandbox.SandboxServer]
Capture = pytest.CaptureFixture[str]

# code, account, debit and credit in cents
ACCOUNTS = [
    ("1000", "Cash at Bank", 12345678901, 0),
    ("1100", "Accounts Receivable", 99, None),
    ("2000", "Accounts Payable", 0, 9000),
    ("3000", "Share Capital", 0, 12345670000),
    ("4000", "Dormant", 0, 0),
]
TOTALS = (12345679000, 12345679000)


def trial_balance(
    shape: str, accounts: list[tuple[Any, ...]] = ACCOUNTS, totals: tuple[int, int] = TOTALS
) -> dict[str, Any]:
    """A trial balance as either publication describes it."""
    if shape == "guide":
        names = ["code", "name", "debit", "credit"]
        rows = [dict(zip(names, account)) for account in accounts]
        sums = dict(zip(["debit", "credit"], totals))
        return envelope({"asOf": "2026-03-31", "currency": "MYR", "accounts": rows, "totals": sums})
    names = ["accountCode", "accountName", "debitBalance", "creditBalance"]
    rows = [dict(zip(names, [code, name, units(debit), units(credit)])) for code, name, debit, credit in accounts]
    sums = dict(zip(["totalDebit", "totalCredit"], map(units, totals)))
    verdict = {"isBalanced": True, "difference": 0}  # the script is to find out for itself
    return envelope({"period": "2026-03", "asOfDate": "2026-03-31", "lineItems": rows, **sums, **verdict})


def units(cents: int | None) -> float | None:
    return None if cents is None else cents / 100


# The request


class Today(date):
    @classmethod
    def today(cls) -> "Today":
        return cls(2026, 3, 15)


MARCH = {"from": "2026-03-01", "to": "2026-03-31"}


@pytest.mark.parametrize(
    ("argv", "report", "query"),
    [
        ([], "trial-balance", {"asOf": "2026-03-15", "period": "2026-03"}),
        (["--as-of", "2025-12-31"], "trial-balance", {"asOf": "2025-12-31", "period": "2025-12"}),
        (["--report", "balance-sheet"], "balance-sheet", {"asOf": "2026-03-15", "period": "2026-03"}),
        (
            ["--report", "aged-receivables", "--as-of", "2024-02-29"],
            "aged-receivables",
            {"asOf": "2024-02-29", "period": "2024-02"},
        ),
        (["--report", "profit-loss", "--from", "2026-03-01", "--to", "2026-03-31"], "profit-loss", MARCH),
        (["--report", "profit-loss", "--to", "2026-03-31"], "profit-loss", MARCH),
        (
            ["--report", "profit-loss", "--from", "2026-03-02"],
            "profit-loss",
            {"from": "2026-03-02", "to": "2026-03-15"},
        ),
        (["--report", "profit-loss"], "profit-loss", {"from": "2026-03-01", "to": "2026-03-15"}),
        (
            ["--report", "profit-loss", "--from", "2026-03-31", "--to", "2026-03-31"],
            "profit-loss",
            {"from": "2026-03-31", "to": "2026-03-31"},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_request(
    api: API, monkeypatch: pytest.MonkeyPatch, capsys: Capture, argv: list[str], report: str, query: dict[str, str]
) -> None:
    monkeypatch.setattr(script, "date", Today)
    api.answers_with(trial_balance("guide"))
    assert script.main(argv) == 0
    (request,) = api.requests
    assert (request.method, request.url) == ("GET", f"https://app.cynco.io/api/v1/reports/{report}")
    assert request.query == {"period": "2026-03", **query}
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert (request.body, request.timeout) == (b"", 30)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("argv", "noticed"),
    [
        (["--as-of", "2026-03-31"], False),
        (["--as-of", "2026-03-30"], True),
        (["--as-of", "2024-02-29"], False),
        (["--as-of", "2024-02-28"], True),
        (["--report", "profit-loss", "--from", "2026-03-01", "--to", "2026-03-31"], False),
        (["--report", "profit-loss", "--from", "2026-03-02", "--to", "2026-03-31"], True),
        (["--report", "profit-loss", "--from", "2025-03-01", "--to", "2026-03-31"], True),
    ],
)
def test_a_month_instead_of_the_days_asked_for_is_noticed(
    api: API, capsys: Capture, shape: str, argv: list[str], noticed: bool
) -> None:
    api.answers_with(trial_balance(shape))
    assert script.main(argv) == 0
    notice = "Notice: this API reports whole months; these figures are for 2026-03.\n"
    assert capsys.readouterr().err == (notice if noticed and shape == "openapi" else "")


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        *[
            (["--as-of", day], "is not a date; write YYYY-MM-DD")
            for day in ["yesterday", "2026-02-29", "2026-13-01", "31-03-2026", "2026-03", "20260331", "", "0000-01-01"]
        ],
        (["--report", "profit-loss", "--from", "2026-02-30"], "--from"),
        (["--report", "profit-loss", "--to", "2026-02-30"], "--to"),
        (["--report", "profit-loss", "--as-of", "2026-03-31"], "profit-loss takes --from"),
        (["--report", "profit-loss", "--from", "2026-04-01", "--to", "2026-03-31"], "profit-loss takes --from"),
        (["--from", "2026-03-01"], "trial-balance takes --as-of"),
        (["--to", "2026-03-31"], "trial-balance takes --as-of"),
        (["--report", "balance-sheet", "--to", "2026-03-31"], "balance-sheet takes --as-of"),
        (["--report", "cash-flow"], "--report"),
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


def test_help_needs_no_key(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CYNCO_API_KEY")
    with pytest.raises(SystemExit) as stop:
        script.main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    for part in ["--report", "aged-receivables", "--as-of DATE", "default: today", "--from DATE", "--to DATE"]:
        assert part in out


# The trial balance


def test_table_is_the_same_in_both_shapes(api: API, capsys: Capture, shape: str) -> None:
    api.answers_with(trial_balance(shape))
    assert script.main(["--as-of", "2026-03-31"]) == 0
    assert capsys.readouterr() == (
        "Trial balance as of 2026-03-31\n"
        "\n"
        "Code  Account                           Debit              Credit\n"
        "----  -------------------  ------------------  ------------------\n"
        "1000  Cash at Bank         MYR 123,456,789.01                   -\n"
        "1100  Accounts Receivable            MYR 0.99                   -\n"
        "2000  Accounts Payable                      -           MYR 90.00\n"
        "3000  Share Capital                         -  MYR 123,456,700.00\n"
        "4000  Dormant                               -                   -\n"
        "      Total                MYR 123,456,790.00  MYR 123,456,790.00\n"
        "\n"
        "In balance: debits equal credits, and the rows add up to the totals.\n",
        "",
    )


@pytest.mark.parametrize(
    ("rows", "totals", "message"),
    [
        (
            [(100001, 0), (0, 100000)],
            (100001, 100000),
            "total debit MYR 1,000.01 is not total credit MYR 1,000.00: off by MYR 0.01",
        ),
        (
            [(100000, 0), (0, 100001)],
            (100000, 100001),
            "total debit MYR 1,000.00 is not total credit MYR 1,000.01: off by MYR 0.01",
        ),
        (
            [(99999, 0), (0, 100000)],
            (100000, 100000),
            "the sum of the debits MYR 999.99 is not total debit MYR 1,000.00: off by MYR 0.01",
        ),
        (
            [(100000, 0), (0, 99999), (0, 2)],
            (100000, 100000),
            "the sum of the credits MYR 1,000.01 is not total credit MYR 1,000.00: off by MYR 0.01",
        ),
    ],
    ids=["debit too high", "credit too high", "rows of debits", "rows of credits"],
)
def test_a_cent_out_of_balance(
    api: API, capsys: Capture, shape: str, rows: list[tuple[int, int]], totals: tuple[int, int], message: str
) -> None:
    accounts = [(f"{number}000", "Account", *row) for number, row in enumerate(rows, 1)]
    api.answers_with(trial_balance(shape, accounts, totals))
    assert script.main(["--as-of", "2026-03-31"]) == 1
    out, err = capsys.readouterr()
    assert err == f"Out of balance: {message}.\n"
    assert "Total" in out  # the table is shown all the same
    assert "In balance" not in out


def test_everything_out_of_balance(api: API, capsys: Capture, shape: str) -> None:
    api.answers_with(trial_balance(shape, [("1000", "Cash", 300, 0), ("2000", "Debt", 0, 50)], (100, 150)))
    assert script.main(["--as-of", "2026-03-31"]) == 1
    assert [line.rpartition(" off by ")[2] for line in capsys.readouterr().err.splitlines()] == [
        "MYR 0.50.",
        "MYR 2.00.",
        "MYR 1.00.",
    ]


@pytest.mark.parametrize("cents_off", [0, 1])
def test_huge_amounts_are_exact(api: API, capsys: Capture, shape: str, cents_off: int) -> None:
    total, row = 1234567890123456789, 1234567890123456789 - cents_off  # one cent is lost in a float
    body = json.dumps(trial_balance(shape, [("1000", "Cash", 1, 0), ("2000", "Debt", 0, 2)], (3, 4)))
    if shape == "guide":
        body = body.replace('"debit": 1,', f'"debit": {row},').replace('"credit": 2}', f'"credit": {total}}}')
        body = body.replace('{"debit": 3, "credit": 4}', f'{{"debit": {total}, "credit": {total}}}')
    else:
        exact = {"0.01": row, "0.02": total, "0.03": total, "0.04": total}
        for number, cents in exact.items():
            body = body.replace(f": {number}", f": {cents // 100}.{cents % 100}")
    api.answers_with(answer(body.encode()))
    assert script.main(["--as-of", "2026-03-31"]) == cents_off
    out, err = capsys.readouterr()
    assert "MYR 12,345,678,901,234,567.89" in out
    assert err.endswith("off by MYR 0.01.\n" if cents_off else "")
    assert err.count("\n") == cents_off


def test_cents_that_floats_cannot_add_up(api: API, capsys: Capture, shape: str) -> None:
    accounts = [("1000", "A", 10, 0), ("1100", "B", 20, 0), ("2000", "C", 0, 30)]  # 0.1 + 0.2
    api.answers_with(trial_balance(shape, accounts, (30, 30)))
    assert script.main(["--as-of", "2026-03-31"]) == 0
    assert "In balance" in capsys.readouterr().out


def test_currency_of_the_report(api: API, capsys: Capture) -> None:
    body = trial_balance("guide", [("1000", "Cash", 1250000, 0), ("2000", "Debt", 0, 1250001)], (1250000, 1250001))
    body["data"]["currency"] = "JPY"
    api.answers_with(body)
    assert script.main(["--as-of", "2026-03-31"]) == 1
    out, err = capsys.readouterr()
    assert "JPY 1,250,000" in out
    assert "off by JPY 1." in err
    assert "MYR" not in out + err


def test_missing_totals_are_out_of_balance(api: API, capsys: Capture, shape: str) -> None:
    body = trial_balance(shape)
    for name in ["totals", "totalDebit", "totalCredit"]:
        body["data"].pop(name, None)
    api.answers_with(body)
    assert script.main(["--as-of", "2026-03-31"]) == 1
    out, err = capsys.readouterr()
    assert err.count("off by MYR 123,456,790.00.\n") == err.count("\n") == 2
    assert out.splitlines()[-1].split() == ["Total", "-", "-"]


@pytest.mark.parametrize("missing", ["accounts", "asOf"])
def test_answer_without_its_parts(api: API, capsys: Capture, missing: str) -> None:
    body = trial_balance("guide")
    del body["data"][missing]
    api.answers_with(body)
    assert script.main(["--as-of", "2026-03-31"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Error: this answer cannot be read")
    assert err.count("\n") == 1


# The other reports


@pytest.mark.parametrize("report", ["profit-loss", "balance-sheet", "aged-receivables"])
def test_other_reports_are_json(api: API, capsys: Capture, report: str) -> None:
    data = {
        "name": "Yong Fatt (\u6c38\u767c)\n",
        "rows": [{"amount": 162000}, {"amount": 1620.05}, {"amount": -0.1}, {"amount": None}],
        "final": True,
    }
    api.answers_with(envelope(data))
    assert script.main(["--report", report]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == (data, "")
    assert out.startswith('{\n  "name": "Yong Fatt (\u6c38\u767c)\\n",\n  "rows": [\n    {\n')


@pytest.mark.parametrize("report", ["profit-loss", "balance-sheet", "aged-receivables"])
def test_other_reports_over_http(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: Capture, shape: str, report: str
) -> None:
    server = serve(shape=shape)
    monkeypatch.setenv("CYNCO_API_KEY", sandbox.API_KEY)
    for module in (_common, script):
        monkeypatch.setattr(module, "BASE_URL", server.url)
    dates = ["--from", "2026-03-01", "--to", "2026-03-31"] if report == "profit-loss" else ["--as-of", "2026-03-31"]
    assert script.main(["--report", report, *dates]) == 0
    query = {"from": "2026-03-01", "to": "2026-03-31", "asOf": "2026-03-31", "period": "2026-03"}
    headers = {"Authorization": f"Bearer {sandbox.API_KEY}"}
    direct = requests.get(f"{server.url}/reports/{report}", params=query, headers=headers, timeout=5)
    assert json.loads(capsys.readouterr().out) == direct.json()["data"]


# Failures


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (failure(403, "FORBIDDEN", "The key lacks reports:read"), "Error: 403 FORBIDDEN: The key lacks reports:read"),
        (answer("<html>"), "Error: 200 UNREADABLE: not an answer of the Cynco API"),
        (envelope([]), "Error: 200 UNREADABLE: not an answer of the Cynco API"),
        (envelope(None), "Error: 200 UNREADABLE: not an answer of the Cynco API"),
        (
            requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED"),
            "Error: no secure connection to app.cynco.io",
        ),
        (KeyboardInterrupt(), "Stopped."),
    ],
    ids=["403", "HTML", "a list", "null", "TLS", "Ctrl-C"],
)
@pytest.mark.parametrize("report", ["trial-balance", "profit-loss"])
def test_failures_end_in_one_line(api: API, capsys: Capture, report: str, reply: Any, text: str) -> None:
    api.answers_with(reply)
    assert script.main(["--report", report]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip().startswith(text)
    assert err.strip().isprintable()


def test_a_passing_failure_is_repeated(api: API, capsys: Capture) -> None:
    api.answers_with(failure(503), requests.Timeout(), trial_balance("guide"))
    assert script.main(["--as-of", "2026-03-31"]) == 0
    assert "In balance" in capsys.readouterr().out
    assert (len(api.requests), len(api.sleeps)) == (3, 2)


# As a reader runs it


def test_both_shapes_print_the_same_over_http(serve: Serve) -> None:
    command = ["06_reports.py", "--as-of", "2026-03-31"]
    done = {shape: run(*command, server=serve(shape=shape)) for shape in ("guide", "openapi")}
    assert [(one.returncode, one.stderr) for one in done.values()] == [(0, "")] * 2
    assert done["guide"].stdout == done["openapi"].stdout
    assert done["guide"].stdout.startswith("Trial balance as of 2026-03-31\n\nCode  Account ")
    assert done["guide"].stdout.endswith("\nIn balance: debits equal credits, and the rows add up to the totals.\n")
    assert "1000  Cash at Bank         MYR 123,850.30 " in done["guide"].stdout


def test_process_without_a_key() -> None:
    done = run("06_reports.py", CYNCO_API_KEY="")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("CYNCO_API_KEY is not set.")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("sent", "printed"),
    [
        ("1620.00", "1620.0"),
        ("0.1", "0.1"),
        ("-0.005", "-0.005"),
        ("12345678901234.56", "12345678901234.56"),
        ("12345678901234567.89", '"12345678901234567.89"'),
    ],
)
def test_no_digit_is_lost_in_json(api: API, capsys: Capture, sent: str, printed: str) -> None:
    api.answers_with(answer(f'{{"data": {{"netProfit": {sent}}}}}'.encode()))
    assert script.main(["--report", "balance-sheet"]) == 0
    assert capsys.readouterr().out.split() == ["{", '"netProfit":', printed, "}"]
