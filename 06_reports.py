"""Print the trial balance of a month and check it; print other reports as JSON.

In double-entry bookkeeping, each amount is booked twice: as a debit to one account and
as a credit to another. A cash sale, say, is a debit to Cash and a credit to Sales. A
trial balance lists each account's balance, its debits minus its credits. A positive
one goes in the debit column, a negative one in the credit column, without its minus.
The two columns must have the same sum.

In this example you will see:
    1. get_report: one request that suits both shapes of the API (see 01)
    2. read_guide_shape, print_row: a trial balance as a table
    3. find_differences: debits equal credits, and the accounts add up to the totals

Usage:
    python 06_reports.py --month 2026-03
    python 06_reports.py --month 2026-03 --report profit-loss
    python tests/sandbox.py 06_reports.py --month 2026-03      (needs no account)
"""

import argparse
import calendar
import json
import sys
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import requests

from _common import (
    BASE_URL,
    TIMEOUT,
    CyncoError,
    auth_headers,
    from_major,
    from_minor,
    handle_response,
    run,
    with_retry,
)

REPORTS = ["trial-balance", "profit-loss", "balance-sheet", "aged-receivables"]


class Row(NamedTuple):
    code: str
    name: str
    debit: Decimal  # in major units: 1620.00 ringgit
    credit: Decimal


def get_report(report: str, first_day: date, last_day: date) -> dict:
    """Return a report from first_day to last_day of a month. Raises CyncoAPIError."""
    response = requests.get(
        f"{BASE_URL}/reports/{report}",
        headers=auth_headers(),
        params={
            # In the guide's shape, profit-loss uses from and to, all others use asOf.
            # In OpenAPI's, all use period. Each ignores the parameters of the other.
            "asOf": str(last_day),
            "from": str(first_day),
            "to": str(last_day),
            "period": f"{first_day:%Y-%m}",
        },
        timeout=TIMEOUT,
    )
    envelope = handle_response(response)
    return envelope["data"]


def read_guide_shape(report: dict) -> tuple[list[Row], Row]:
    """Return a row for each account, and a row of totals. `report` is:

    {
        "asOf": "2026-03-31",
        "currency": "MYR",
        "accounts": [
            {"code": "1000", "name": "Cash", "debit": 162000, "credit": 0},
            {"code": "4000", "name": "Sales", "debit": 0, "credit": 162000}
        ],
        "totals": {"debit": 162000, "credit": 162000}
    }
    """
    currency = report["currency"]
    accounts = []
    for item in report["accounts"]:
        debit = from_minor(item["debit"], currency)  # 162000 sen are 1620.00 ringgit
        credit = from_minor(item["credit"], currency)
        accounts.append(Row(item["code"], item["name"], debit, credit))
    debit = from_minor(report["totals"]["debit"], currency)
    credit = from_minor(report["totals"]["credit"], currency)
    return accounts, Row("", "Total", debit, credit)


def print_row(row: Row) -> None:
    print(
        f"{row.code:<6} {row.name:<28.28} {cell(row.debit):>14} {cell(row.credit):>14}"
    )


def cell(amount: Decimal) -> str:
    if amount == 0:
        return ""  # an account has its balance on one side; the other stays empty
    return f"{amount:,}"


def find_differences(accounts: list[Row], total: Row) -> list[str]:
    """Return what does not add up. No tolerance: sums must be exactly equal."""
    debits = Decimal(0)
    credits = Decimal(0)
    for row in accounts:
        debits += row.debit
        credits += row.credit
    differences = []
    if total.debit != total.credit:
        differences.append(
            f"total debit minus total credit is {total.debit - total.credit:,}"
        )
    if debits != total.debit:
        differences.append(f"the debits add up to {debits:,}")
    if credits != total.credit:
        differences.append(f"the credits add up to {credits:,}")
    return differences


# You may stop reading here. Below: OpenAPI's shape, the check of the month, main().


def read_trial_balance(report: dict) -> tuple[list[Row], Row]:
    """Return the accounts and the totals of either shape. Raises CyncoError."""
    if "totals" in report:
        return read_guide_shape(report)
    if "lineItems" in report:
        return read_openapi_shape(report)
    # It could be in sen or in ringgit: do not guess.
    raise CyncoError(f"neither shape of a trial balance: {', '.join(report)}")


def read_openapi_shape(report: dict) -> tuple[list[Row], Row]:
    """Return the same from OpenAPI's shape, which gives no currency: it is ringgit."""
    accounts = []
    for item in report["lineItems"]:
        debit = from_major(item["debitBalance"], "MYR")
        credit = from_major(item["creditBalance"], "MYR")
        accounts.append(Row(item["accountCode"], item["accountName"], debit, credit))
    debit = from_major(report["totalDebit"], "MYR")
    credit = from_major(report["totalCredit"], "MYR")
    return accounts, Row("", "Total", debit, credit)


def check_month(report: dict, asked: str) -> None:
    """Raise CyncoError if a report says that it is for another month.

    An API that does not know our parameters ignores them, and sends what it likes.
    """
    for field in ("asOf", "asOfDate"):
        if field in report and not report[field].startswith(asked):
            raise CyncoError(f"asked for {asked}, but received {report[field]}")


def month(text: str) -> date:
    """Return the first day of a month given as YYYY-MM. Raises ValueError."""
    return date.fromisoformat(f"{text}-01")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Print a report for a month.")
    parser.add_argument("--report", default="trial-balance", choices=REPORTS)
    parser.add_argument(
        "--month",
        type=month,
        default=date.today().replace(day=1),
        metavar="YYYY-MM",
        help="(default: this month)",
    )
    args = parser.parse_args(argv)
    first_day = args.month
    _, days = calendar.monthrange(first_day.year, first_day.month)
    last_day = first_day.replace(day=days)

    report = with_retry(get_report, args.report, first_day, last_day)
    check_month(report, f"{first_day:%Y-%m}")
    if args.report != "trial-balance":
        # default=str writes each Decimal as text, which is exact.
        print(json.dumps(report, indent=2, default=str))
        return 0
    accounts, total = read_trial_balance(report)
    as_of = report.get("asOf") or report["asOfDate"]  # guide, OpenAPI
    print(f"Trial balance as of {as_of}, in {report.get('currency', 'MYR')}\n")
    print(f"{'Code':<6} {'Account':<28} {'Debit':>14} {'Credit':>14}")
    for account in accounts:
        print_row(account)
    print_row(total)
    differences = find_differences(accounts, total)
    if report.get("isBalanced") is False:  # missing in the guide's shape
        differences.append("Cynco says that it is not balanced")
    if differences:
        print(f"\nOut of balance: {'; '.join(differences)}", file=sys.stderr)
        return 1
    print("\nIn balance: debits equal credits, and the accounts add up to the totals.")
    return 0


if __name__ == "__main__":
    run(main)
