"""06: a trial balance that balances to the cent, or exit code 1; others as JSON."""

import datetime

import pytest
from conftest import KEY, failure, load, reply, run, success

from _common import CyncoError

script = load("06_reports")


def guide_report():
    """A trial balance in the guide's shape: minor units."""
    return {
        "asOf": "2026-03-31",
        "currency": "MYR",
        "accounts": [
            {"code": "1000", "name": "Cash", "debit": 100010, "credit": 0},
            {"code": "1100", "name": "Stock", "debit": 20, "credit": 0},
            {"code": "2000", "name": "Debt", "debit": 0, "credit": 100030},
        ],
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
    }


@pytest.fixture
def print_report(api):
    """Run the script for 2026-03, when the API sends this report."""

    def start(report, *options):
        api.replies = [success(report)]
        return script.main(["--month", "2026-03", *options])

    return start


# get_report


@pytest.mark.parametrize(
    "report", ["trial-balance", "profit-loss", "balance-sheet", "aged-receivables"]
)
def test_the_request(api, print_report, report):
    print_report(guide_report(), "--report", report)

    (request,) = api.requests
    assert request.method == "GET"
    assert request.url == f"https://app.cynco.io/api/v1/reports/{report}"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.timeout == 30


def test_the_request_has_the_parameters_of_every_shape(api):
    report = guide_report()
    report["asOf"] = "2024-02-29"
    api.replies = [success(report)]

    script.main(["--month", "2024-02"])

    assert api.requests[0].query == {
        "asOf": "2024-02-29",
        "from": "2024-02-01",
        "to": "2024-02-29",
        "period": "2024-02",
    }


# read_trial_balance


@pytest.mark.parametrize(
    "report", [guide_report(), openapi_report()], ids=["guide", "openapi"]
)
def test_a_trial_balance_is_a_table(print_report, capsys, report):
    code = print_report(report)

    assert code == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "Trial balance as of 2026-03-31, in MYR",
        "",
        "Code   Account                               Debit         Credit",
        "1000   Cash                               1,000.10               ",
        "1100   Stock                                  0.20               ",
        "2000   Debt                                              1,000.30",
        "       Total                              1,000.30       1,000.30",
        "",
        "In balance: debits equal credits, and the accounts add up to the totals.",
    ]
    assert err == ""


def test_the_guides_amounts_are_in_the_minor_units_of_its_currency(
    print_report, capsys
):
    report = guide_report()
    report["currency"] = "JPY"

    print_report(report)

    out = capsys.readouterr().out
    assert out.startswith("Trial balance as of 2026-03-31, in JPY\n")
    assert "Total                               100,030        100,030\n" in out


def test_a_zero_is_an_empty_cell(print_report, capsys):
    report = openapi_report()
    report["lineItems"][1]["debitBalance"] = 0.00
    report["lineItems"][1]["creditBalance"] = "0.00"

    print_report(report)

    assert (
        "\n1100   Stock                                     " in capsys.readouterr().out
    )


def test_a_negative_amount_is_shown(print_report, capsys):
    report = guide_report()
    report["accounts"][1]["debit"] = -20

    print_report(report)

    assert (
        "\n1100   Stock                                 -0.20 "
        in capsys.readouterr().out
    )


def test_a_long_name_of_an_account_is_cut_off(print_report, capsys):
    report = guide_report()
    report["accounts"][1]["name"] = "Accumulated depreciation of equipment"

    print_report(report)

    row = "\n1100   Accumulated depreciation of            0.20 "
    assert row in capsys.readouterr().out


def test_a_report_of_neither_shape_is_an_error_with_its_fields(print_report):
    report = {"accounts": [], "totalDebits": 5, "totalCredits": 5}  # as the SDK's

    with pytest.raises(CyncoError, match="accounts, totalDebits, totalCredits"):
        print_report(report)


@pytest.mark.parametrize("name", ["debit", "credit"])
def test_a_missing_amount_of_the_guide_is_no_zero(print_report, name):
    report = guide_report()
    del report["accounts"][0][name]

    with pytest.raises(KeyError, match=name):
        print_report(report)


@pytest.mark.parametrize("name", ["debitBalance", "creditBalance"])
def test_a_missing_amount_of_openapi_is_no_zero(print_report, name):
    report = openapi_report()
    del report["lineItems"][0][name]

    with pytest.raises(KeyError, match=name):
        print_report(report)


# find_differences


def test_totals_that_differ_by_a_cent_are_out_of_balance(print_report, capsys):
    report = guide_report()
    report["accounts"][2]["credit"] = 100031
    report["totals"]["credit"] = 100031

    code = print_report(report)

    assert code == 1
    out, err = capsys.readouterr()
    assert err == "\nOut of balance: total debit minus total credit is -0.01\n"
    assert "Total" in out
    assert "In balance" not in out


def test_debits_a_cent_above_their_total_are_out_of_balance(print_report, capsys):
    report = guide_report()
    report["accounts"][0]["debit"] = 100011

    code = print_report(report)

    assert code == 1
    error = "\nOut of balance: the debits add up to 1,000.31\n"
    assert capsys.readouterr().err == error


def test_credits_a_cent_below_their_total_are_out_of_balance(print_report, capsys):
    report = openapi_report()
    report["lineItems"][2]["creditBalance"] = 1000.29

    code = print_report(report)

    assert code == 1
    error = "\nOut of balance: the credits add up to 1,000.29\n"
    assert capsys.readouterr().err == error


def test_an_amount_on_the_wrong_side_is_out_of_balance_twice(print_report, capsys):
    report = guide_report()
    report["accounts"][1]["debit"] = 0
    report["accounts"][1]["credit"] = 20

    code = print_report(report)

    assert code == 1
    assert capsys.readouterr().err == (
        "\nOut of balance: the debits add up to 1,000.10;"
        " the credits add up to 1,000.50\n"
    )


def test_a_large_difference_has_a_thousands_separator(print_report, capsys):
    report = guide_report()
    report["totals"]["debit"] = 223486
    report["accounts"][0]["debit"] = 223466

    print_report(report)

    error = "\nOut of balance: total debit minus total credit is 1,234.56\n"
    assert capsys.readouterr().err == error


def test_isbalanced_false_is_out_of_balance(print_report, capsys):
    report = openapi_report()
    report["isBalanced"] = False

    code = print_report(report)

    assert code == 1
    error = "\nOut of balance: Cynco says that it is not balanced\n"
    assert capsys.readouterr().err == error


# check_month


@pytest.mark.parametrize("field", ["asOf", "asOfDate"])
@pytest.mark.parametrize("report", ["trial-balance", "profit-loss"])
def test_a_report_for_another_month_is_an_error(print_report, report, field):
    message = "asked for 2026-03, but received 2026-02-28"

    with pytest.raises(CyncoError, match=message):
        print_report({field: "2026-02-28"}, "--report", report)


def test_a_report_may_not_say_its_month(print_report, capsys):
    code = print_report({"buckets": []}, "--report", "aged-receivables")

    assert code == 0
    assert '"buckets": []' in capsys.readouterr().out


# main


def test_the_month_is_this_one_unless_given(api, monkeypatch):
    class Date(datetime.date):
        @classmethod
        def today(cls):
            return cls(2026, 3, 15)

    monkeypatch.setattr(script, "date", Date)
    api.replies = [success(guide_report())]

    script.main([])

    assert api.requests[0].query["from"] == "2026-03-01"
    assert api.requests[0].query["to"] == "2026-03-31"


@pytest.mark.parametrize("month", ["2026-13", "2026-3", "2026-03-31", "march", ""])
def test_a_wrong_month_is_a_usage_error(api, capsys, month):
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


def test_other_reports_are_json_with_exact_amounts_as_text(api, capsys):
    body = b'{"success": true, "data": {"amounts": [162000, 1620.05, 0.10, null]}}'
    api.replies = [reply(body)]

    code = script.main(["--report", "balance-sheet"])

    assert code == 0
    assert capsys.readouterr().out.splitlines() == [
        "{",
        '  "amounts": [',
        "    162000,",
        '    "1620.05",',
        '    "0.10",',
        "    null",
        "  ]",
        "}",
    ]


def test_other_reports_are_ascii_only(print_report, capsys):
    print_report({"name": "\u6c38\u767c"}, "--report", "balance-sheet")

    assert '"name": "\\u6c38\\u767c"' in capsys.readouterr().out


def test_a_transient_failure_is_retried(api):
    api.replies = [
        failure(503),
        success(guide_report()),
    ]

    code = script.main(["--month", "2026-03"])

    assert code == 0
    assert len(api.sleeps) == 1


# Over HTTP


def test_each_shape_of_the_sandbox_is_in_balance(serve, connect, capsys, shape):
    server = serve(shape=shape)
    connect(script, server)

    code = script.main(["--month", "2026-03"])

    assert code == 0
    out = capsys.readouterr().out
    assert out.startswith("Trial balance as of 2026-03-31, in MYR\n")
    assert "\n1000   Cash at Bank                     115,597.86 " in out
    assert "\nIn balance: " in out


def test_books_out_by_a_cent_are_exit_code_1(serve):
    server = serve(shape="openapi", unbalanced=True)

    done = run("06_reports.py", "--month", "2026-03", server=server)

    assert done.returncode == 1
    assert "Out of balance: total debit minus total credit is 0.01;" in done.stderr
