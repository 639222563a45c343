"""06: a trial balance that balances to the cent, or exit code 1; others as JSON."""

import datetime
import json
from decimal import Decimal

import pytest
import sandbox_data
from conftest import KEY, failure, load, reply, run, success

import _common

script = load("06_reports")


def guide_report():
    """A trial balance in the guide's shape: minor units."""
    cash = {"code": "1000", "name": "Cash", "debit": 100010, "credit": 0}
    stock = {"code": "1100", "name": "Stock", "debit": 20, "credit": 0}
    debt = {"code": "2000", "name": "Debt", "debit": 0, "credit": 100030}
    return {
        "asOf": "2026-03-31",
        "currency": "MYR",
        "accounts": [cash, stock, debt],
        "totals": {"debit": 100030, "credit": 100030},
    }


def openapi_account(code, name, debit, credit):
    return {
        "accountCode": code,
        "accountName": name,
        "debitBalance": debit,
        "creditBalance": credit,
    }


def openapi_report():
    """The same trial balance in OpenAPI's shape: major units."""
    return {
        "period": "2026-03",
        "asOfDate": "2026-03-31",
        "balanceType": "preliminary",
        "lineItems": [
            openapi_account("1000", "Cash", 1000.10, 0),
            openapi_account("1100", "Stock", 0.20, 0),
            openapi_account("2000", "Debt", 0, 1000.30),
        ],
        "totalDebit": 1000.30,
        "totalCredit": 1000.30,
        "isBalanced": True,
        "difference": 0,
        "accountCount": 3,
    }


TABLE = """
Code   Account                               Debit         Credit
1000   Cash                               1,000.10           0.00
1100   Stock                                  0.20           0.00
2000   Debt                                   0.00       1,000.30
       Total                              1,000.30       1,000.30

In balance: debits equal credits, and the accounts add up to the totals.
"""


# get_report


@pytest.mark.parametrize(
    "report", ["trial-balance", "profit-loss", "balance-sheet", "aged-receivables"]
)
def test_the_request_is_valid_in_every_shape(api, report):
    api.replies = [success(guide_report())]

    script.main(["--report", report, "--month", "2024-02"])

    (request,) = api.requests
    assert request.method == "GET"
    assert request.url == f"https://app.cynco.io/api/v1/reports/{report}"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.timeout == 30
    assert request.query == {
        "asOf": "2024-02-29",
        "from": "2024-02-01",
        "to": "2024-02-29",
        "period": "2024-02",
    }


# read_trial_balance


def test_the_guides_shape_is_read_in_minor_units(api, capsys):
    api.replies = [success(guide_report())]

    code = script.main([])

    assert code == 0
    out, err = capsys.readouterr()
    assert out == f"Trial balance as of 2026-03-31, in MYR\n{TABLE}"
    assert err == ""


def test_openapis_shape_is_read_in_major_units(api, capsys):
    api.replies = [success(openapi_report())]

    code = script.main([])

    assert code == 0
    out, err = capsys.readouterr()
    assert out == f"Trial balance as of 2026-03-31, in MYR, preliminary\n{TABLE}"
    assert err == ""


def test_amounts_may_be_text():
    report = openapi_report()
    report["totalDebit"] = "1000.30"

    balance = script.read_trial_balance(report)

    assert balance.total.debit == Decimal("1000.30")


def test_the_guides_shape_names_its_currency(api, capsys):
    report = guide_report()
    report["currency"] = "JPY"
    api.replies = [success(report)]

    script.main([])

    out = capsys.readouterr().out
    assert out.startswith("Trial balance as of 2026-03-31, in JPY\n")
    assert "Total                               100,030        100,030\n" in out


def test_the_balance_type_that_came_back_is_shown(api, capsys):
    report = openapi_report()
    report["balanceType"] = "final"
    api.replies = [success(report)]

    script.main([])

    heading = "Trial balance as of 2026-03-31, in MYR, final\n"
    assert capsys.readouterr().out.startswith(heading)


def test_the_sdks_shape_is_refused_as_its_units_are_unknown():
    account = {"accountCode": "1000", "debit": 5, "credit": 5}
    report = {"accounts": [account], "totalDebits": 5, "totalCredits": 5}

    with pytest.raises(_common.CyncoError) as caught:
        script.read_trial_balance(report)

    names = "accounts, totalDebits, totalCredits"
    assert str(caught.value) == f"unrecognized trial balance; its fields: {names}"


def test_a_fraction_in_minor_units_is_refused():
    report = guide_report()
    report["accounts"][0]["debit"] = Decimal("100.55")

    with pytest.raises(_common.CyncoError, match=r"100\.55 MYR has a fraction"):
        script.read_trial_balance(report)


@pytest.mark.parametrize("name", ["code", "name", "debit", "credit"])
def test_a_missing_field_of_the_guide_is_no_zero(name):
    report = guide_report()
    del report["accounts"][0][name]

    with pytest.raises(KeyError, match=name):
        script.read_trial_balance(report)


@pytest.mark.parametrize(
    "name", ["accountCode", "accountName", "debitBalance", "creditBalance"]
)
def test_a_missing_field_of_openapi_is_no_zero(name):
    report = openapi_report()
    del report["lineItems"][0][name]

    with pytest.raises(KeyError, match=name):
        script.read_trial_balance(report)


# find_differences


def out_of_balance(capsys, api, report):
    """Return the lines on stderr; the exit code is 1."""
    api.replies = [success(report)]
    code = script.main([])
    out, err = capsys.readouterr()
    assert code == 1
    assert "In balance" not in out
    assert "Total" in out
    return err.splitlines()


def test_totals_that_differ_by_a_cent(api, capsys):
    report = guide_report()
    report["accounts"][2]["credit"] = 100031
    report["totals"]["credit"] = 100031

    assert out_of_balance(capsys, api, report) == [
        "Out of balance: total debit and total credit differ by 0.01."
    ]


def test_debits_that_do_not_add_up_to_their_total(api, capsys):
    report = guide_report()
    report["accounts"][0]["debit"] = 100011

    assert out_of_balance(capsys, api, report) == [
        "Out of balance: the debits and their total differ by 0.01."
    ]


def test_a_large_difference_is_shown_with_its_thousands(api, capsys):
    report = guide_report()
    report["accounts"][0]["debit"] = 223466

    assert out_of_balance(capsys, api, report) == [
        "Out of balance: the debits and their total differ by 1,234.56."
    ]


def test_credits_that_do_not_add_up_to_their_total(api, capsys):
    report = openapi_report()
    report["lineItems"][2]["creditBalance"] = 1000.29

    assert out_of_balance(capsys, api, report) == [
        "Out of balance: the credits and their total differ by 0.01."
    ]


def test_an_amount_on_the_wrong_side(api, capsys):
    report = guide_report()
    report["accounts"][1]["debit"] = 0
    report["accounts"][1]["credit"] = 20

    assert out_of_balance(capsys, api, report) == [
        "Out of balance: the debits and their total differ by 0.20.",
        "Out of balance: the credits and their total differ by 0.20.",
    ]


@pytest.mark.parametrize("value", [False, None, "false"])
def test_a_report_that_says_itself_that_it_is_not_balanced(api, capsys, value):
    report = openapi_report()
    report["isBalanced"] = value

    assert out_of_balance(capsys, api, report) == [
        "Out of balance: the API says that the report is not balanced."
    ]


# main


def test_the_month_is_this_one_unless_given(api, monkeypatch):
    class Date(datetime.date):
        @classmethod
        def today(cls):
            return cls(2025, 11, 15)

    monkeypatch.setattr(script, "date", Date)
    api.replies = [success(guide_report())]

    script.main([])

    assert api.requests[0].query["from"] == "2025-11-01"
    assert api.requests[0].query["asOf"] == "2025-11-30"


@pytest.mark.parametrize("month", ["2026-13", "2026-3", "2026-03-31", "march", ""])
def test_a_month_that_is_none_is_a_usage_error(api, capsys, month):
    with pytest.raises(SystemExit) as stop:
        script.main([f"--month={month}"])

    assert stop.value.code == 2
    assert "argument --month: invalid month value" in capsys.readouterr().err
    assert api.requests == []


def test_an_unknown_report_is_a_usage_error(api, capsys):
    with pytest.raises(SystemExit) as stop:
        script.main(["--report", "cash-flow"])

    assert stop.value.code == 2
    assert "argument --report" in capsys.readouterr().err
    assert api.requests == []


def test_other_reports_are_json_with_their_numbers_and_letters(api, capsys):
    data = b'{"name": "\\u6c38\\u767c", "amounts": [162000, 1620.05, -0.1, null]}'
    api.replies = [reply(b'{"success": true, "data": %s}' % data)]

    code = script.main(["--report", "balance-sheet"])

    assert code == 0
    assert capsys.readouterr().out.splitlines() == [
        "{",
        '  "name": "\u6c38\u767c",',
        '  "amounts": [',
        "    162000,",
        "    1620.05,",
        "    -0.1,",
        "    null",
        "  ]",
        "}",
    ]


def test_other_reports_are_valid_json_in_any_console(serve, monkeypatch):
    accounts = list(sandbox_data.ACCOUNTS)
    accounts[0] = ("1000", "Cash \U0001f600", "asset", "Current assets")
    monkeypatch.setattr(sandbox_data, "ACCOUNTS", accounts)
    command = ["06_reports.py", "--month=2026-03", "--report=balance-sheet"]

    done = run(*command, server=serve(shape="openapi"), PYTHONIOENCODING="ascii")

    assert json.loads(done.stdout)["reportType"] == "balance_sheet"
    assert '"Cash \\ud83d\\ude00"' in done.stdout


def test_a_transient_failure_is_retried(api):
    api.replies = [failure(503), success(guide_report())]

    code = script.main([])

    assert code == 0
    assert len(api.sleeps) == 1


# Over HTTP


def test_the_shapes_differ_in_the_heading_alone(serve):
    command = ["06_reports.py", "--month", "2026-03"]

    guide = run(*command, server=serve(shape="guide"))
    openapi = run(*command, server=serve(shape="openapi"))
    sdk = run(*command, server=serve(shape="sdk"))

    heading, _, table = guide.stdout.partition("\n")
    assert heading == "Trial balance as of 2026-03-31, in MYR"
    assert "In balance" in table
    assert openapi.stdout == f"{heading}, preliminary\n{table}"
    assert sdk.stdout == openapi.stdout


def test_books_out_by_a_cent_are_exit_code_1(serve):
    server = serve(shape="openapi", unbalanced=True)

    done = run("06_reports.py", "--month", "2026-03", server=server)

    assert done.returncode == 1
    assert (
        "Out of balance: total debit and total credit differ by 0.01.\n" in done.stderr
    )
