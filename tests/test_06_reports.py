"""06: a trial balance that balances to the cent, or exit code 1; the other reports as JSON."""

import json
from datetime import date
from typing import Any

import pytest
import sandbox_api
from conftest import API, KEY, envelope, failure, load, reply, run

import _common

script = load("06_reports")
Capture = pytest.CaptureFixture[str]
both_forms = pytest.mark.parametrize("form", ["guide", "OpenAPI"])
AS_OF = ["--as-of", "2026-03-31"]
ACCOUNTS = [("1000", "Cash", 100_010, None), ("1100", "Stock", 20, 0), ("2000", "Debt", 0, 100_030)]
TABLE = """\
Trial balance as of 2026-03-31

Code  Account         Debit        Credit
----  -------  ------------  ------------
1000  Cash     MYR 1,000.10             -
1100  Stock        MYR 0.20             -
2000  Debt                -  MYR 1,000.30
      Total    MYR 1,000.30  MYR 1,000.30
"""


def trial_balance(
    form: str, accounts: list[Any] = ACCOUNTS, totals: Any = (100_030, 100_030), sent: Any = None
) -> dict[str, Any]:
    """A trial balance of cents, as a published form has it; `sent` changes each amount."""

    def amount(cents: int | None) -> Any:
        number = cents if cents is None or form == "guide" else cents / 100
        return sent(number) if sent and number else number

    rows = [(code, name, amount(debit), amount(credit)) for code, name, debit, credit in accounts]
    debit, credit = map(amount, totals)
    if form == "guide":
        items = [dict(zip(["code", "name", "debit", "credit"], row)) for row in rows]
        both = {"debit": debit, "credit": credit}
        return {"asOf": "2026-03-31", "currency": "MYR", "accounts": items, "totals": both}
    names = ["accountCode", "accountName", "debitBalance", "creditBalance"]
    report = {"period": "2026-03", "asOfDate": "2026-03-31", "isBalanced": True, "difference": 0}
    report["lineItems"] = [dict(zip(names, row)) for row in rows]
    return {**report, "totalDebit": debit, "totalCredit": credit}


# --- get_report
@pytest.mark.parametrize(
    ("options", "query"),
    [
        ("trial-balance --as-of 2025-12-31", "asOf=2025-12-31&period=2025-12"),
        ("balance-sheet --as-of 2024-02-29", "asOf=2024-02-29&period=2024-02"),
        ("aged-receivables", "asOf=2026-03-15&period=2026-03"),
        ("profit-loss", "from=2026-03-01&to=2026-03-15&period=2026-03"),
        ("profit-loss --from 2025-11-02", "from=2025-11-02&to=2026-03-15&period=2026-03"),
        ("profit-loss --to 2025-12-31", "from=2025-12-01&to=2025-12-31&period=2025-12"),
        ("profit-loss --from 2026-03-15", "from=2026-03-15&to=2026-03-15&period=2026-03"),
    ],
)
def test_the_request(api: API, monkeypatch: pytest.MonkeyPatch, options: str, query: str) -> None:
    today = {"today": lambda: date(2026, 3, 15)}
    monkeypatch.setattr(script, "date", type("Date", (date,), today))
    api.replies_with(envelope(trial_balance("guide")))
    assert script.main(["--report", *options.split()]) == 0
    (request,) = api.requests
    url = f"https://app.cynco.io/api/v1/reports/{options.split()[0]}"
    assert (request.method, request.url) == ("GET", url)
    assert "&".join(f"{name}={value}" for name, value in request.query.items()) == query
    assert (request.headers["Authorization"], request.options["timeout"]) == (f"Bearer {KEY}", 30)


# --- read_trial_balance
@both_forms
@pytest.mark.parametrize(
    "sent", [None, str, lambda number: number + 5e-11], ids=["numbers", "text", "float noise"]
)
def test_a_trial_balance_in_balance(api: API, capsys: Capture, form: str, sent: Any) -> None:
    api.replies_with(envelope(trial_balance(form, sent=sent)))
    assert script.main(AS_OF) == 0
    balanced = "In balance: debits equal credits, and the accounts add up to the totals.\n"
    assert capsys.readouterr() == (f"{TABLE}\n{balanced}", "")


def test_the_guides_form_names_its_currency(api: API, capsys: Capture) -> None:
    api.replies_with(envelope({**trial_balance("guide"), "currency": "JPY"}))
    assert script.main(AS_OF) == 0
    assert "Total    JPY 100,030  JPY 100,030\n" in capsys.readouterr().out


SDK = {"accounts": [{"accountCode": "1000", "debit": 5, "credit": 5}], "totalDebits": 5}


@pytest.mark.parametrize("report", [SDK, {"rows": []}], ids=["SDK", "unknown"])
def test_a_form_of_unknown_units_is_refused(api: API, capsys: Capture, report: Any) -> None:
    api.replies_with(envelope(report))
    names = ", ".join(report)
    with pytest.raises(SystemExit, match=f"^Error: 200 .* unknown trial balance with {names}$"):
        _common.run(lambda: script.main(AS_OF))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "field", ['"debit": 100010', '"credit": null', '"debit": 100030', '"creditB', '"totalD']
)
def test_a_field_under_another_name_is_no_zero(api: API, field: str) -> None:
    bodies = [json.dumps(envelope(trial_balance(form))) for form in ("guide", "OpenAPI")]
    (body,) = [body for body in bodies if field in body]
    api.replies_with(reply(body.replace(field, f'"other_{field[1:]}')))
    with pytest.raises(KeyError, match=field.split('"')[1]):
        script.main(AS_OF)


# --- find_differences and show_trial_balance
DEBITS, CREDITS = "the debits and their total differ by", "the credits and their total differ by"


@both_forms
@pytest.mark.parametrize(
    ("sides", "total", "errors"),
    [
        ([(99, 0), (0, 100)], (99, 100), ["total debit and total credit differ by 0.01"]),
        ([(99, 0), (0, 100)], (100, 100), [f"{DEBITS} 0.01"]),
        ([(9, 0), (0, 7), (0, 3)], (9, 9), [f"{CREDITS} 0.01"]),
        ([(0, 123_456)] * 2, (123_456,) * 2, [f"{DEBITS} 1,234.56", f"{CREDITS} 1,234.56"]),
    ],
    ids=["totals", "debits", "credits", "debit on the wrong side"],
)
def test_a_cent_out_of_balance_is_exit_code_1(
    api: API, capsys: Capture, form: str, sides: list[Any], total: Any, errors: list[str]
) -> None:
    api.replies_with(envelope(trial_balance(form, [("1000", "A", *side) for side in sides], total)))
    assert script.main(AS_OF) == 1
    out, err = capsys.readouterr()
    assert err.splitlines() == [f"Out of balance: {error}." for error in errors]
    assert out.splitlines()[-1].startswith("      Total")  # and no "In balance"


def test_every_shape_prints_the_same_over_http(serve: Any) -> None:
    servers = [serve(shape=shape) for shape in sandbox_api.SHAPES]
    (printed,) = {run("06_reports.py", *AS_OF, server=server).stdout for server in servers}
    assert "Total                MYR 279,714.24  MYR 279,714.24\n\nIn balance" in printed


# --- main
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--as-of yesterday", "argument --as-of"),
        ("--report profit-loss --to 2026-02-29", "argument --to"),
        ("--report cash-flow", "argument --report"),
        ("--from 2026-03-01", "trial-balance takes --as-of"),
        ("--report balance-sheet --to 2026-03-31", "balance-sheet takes --as-of"),
        ("--report profit-loss --as-of 2026-03-31", "profit-loss takes --from and --to"),
        ("--report profit-loss --from 2026-04-01 --to 2026-03-31", "the earlier date first"),
    ],
)
def test_usage_errors(api: API, capsys: Capture, options: str, reason: str) -> None:
    with pytest.raises(SystemExit) as stop:
        script.main(options.split())
    assert (stop.value.code, api.requests) == (2, [])
    assert reason in capsys.readouterr().err


@both_forms
@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ("--as-of 2026-03-31", False),
        ("--as-of 2024-02-29", False),
        ("--as-of 2026-03-30", True),
        ("--report profit-loss --from 2026-03-01 --to 2026-03-31", False),
        ("--report profit-loss --from 2026-03-02 --to 2026-03-31", True),
        ("--report profit-loss --from 2026-03-01 --to 2026-03-30", True),
        ("--report profit-loss --from 2026-02-01 --to 2026-03-31", True),
    ],
)
def test_other_days_than_a_whole_month_are_noticed(
    api: API, capsys: Capture, form: str, options: str, shown: bool
) -> None:
    api.replies_with(envelope(trial_balance(form)))
    assert script.main(options.split()) == 0
    err = capsys.readouterr().err
    assert err.endswith("of 2026-03.\n") == bool(err) == (shown and form == "OpenAPI")


def test_other_reports_are_json_with_their_numbers_and_letters(api: API, capsys: Capture) -> None:
    data = '{"name": "\\u6c38\\u767c", "amounts": [162000, 1620.05, -0.1, null]}'
    api.replies_with(failure(503), reply(f'{{"success": true, "data": {data}}}'))
    assert script.main(["--report", "balance-sheet"]) == 0
    assert capsys.readouterr().out == (
        '{\n  "name": "\u6c38\u767c",\n  "amounts": [\n'
        "    162000,\n    1620.05,\n    -0.1,\n    null\n  ]\n}\n"
    )
    assert len(api.sleeps) == 1  # the 503 was retried
