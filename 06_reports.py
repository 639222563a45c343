"""Read reports: the trial balance, with checks, and three others as JSON.

A trial balance lists the accounts of a company, each with its balance on the debit or
on the credit side.

In this example you will see:
    1. one request that suits both shapes of the API (see 01)
    2. how to read a trial balance in either shape, and reject anything else
    3. double entry: debits equal credits, and the accounts add up to the totals

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


class Account(NamedTuple):
    code: str
    name: str
    debit: Decimal  # in major units
    credit: Decimal


class TrialBalance(NamedTuple):
    as_of: str  # YYYY-MM-DD
    balance_type: str  # preliminary, adjusted, final; "" where the API does not say
    currency: str
    accounts: list[Account]
    total: Account  # without a code
    is_balanced: bool  # what the API says; True where it says nothing


def get_report(report: str, first: date, last: date) -> dict:
    """Return a report for the month from `first` to `last`. Raises CyncoAPIError."""
    response = requests.get(
        f"{BASE_URL}/reports/{report}",
        headers=auth_headers(),
        params={
            # Each shape ignores the parameters of the other. The guide's shape reads
            # asOf, or from and to for profit and loss; OpenAPI's reads the period.
            "asOf": str(last),
            "from": str(first),
            "to": str(last),
            "period": f"{first:%Y-%m}",
        },
        timeout=TIMEOUT,
    )
    envelope = handle_response(response)
    return envelope["data"]


def read_trial_balance(report: dict) -> TrialBalance:
    """Return a trial balance in either shape.

    Raises CyncoError for any other: its unit would be a guess.
    """
    if "totals" in report:
        return read_guide_shape(report)
    if "lineItems" in report:
        return read_openapi_shape(report)
    raise CyncoError(f"unrecognized trial balance; its fields: {', '.join(report)}")


def read_guide_shape(report: dict) -> TrialBalance:
    """In this shape, amounts are in minor units: 162000 sen are 1620.00 ringgit."""
    currency = report["currency"]
    accounts = []
    for item in report["accounts"]:
        debit = from_minor(item["debit"], currency)
        credit = from_minor(item["credit"], currency)
        accounts.append(Account(item["code"], item["name"], debit, credit))
    debit = from_minor(report["totals"]["debit"], currency)
    credit = from_minor(report["totals"]["credit"], currency)
    total = Account("", "Total", debit, credit)
    return TrialBalance(
        as_of=report["asOf"],
        balance_type="",
        currency=currency,
        accounts=accounts,
        total=total,
        is_balanced=True,
    )


def read_openapi_shape(report: dict) -> TrialBalance:
    """In this shape, amounts are in major units: 1620.00."""
    currency = "MYR"  # this shape gives no currency: reports are in ringgit
    accounts = []
    for item in report["lineItems"]:
        debit = from_major(item["debitBalance"], currency)
        credit = from_major(item["creditBalance"], currency)
        name = item["accountName"]
        accounts.append(Account(item["accountCode"], name, debit, credit))
    debit = from_major(report["totalDebit"], currency)
    credit = from_major(report["totalCredit"], currency)
    total = Account("", "Total", debit, credit)
    return TrialBalance(
        as_of=report["asOfDate"],
        balance_type=report["balanceType"],
        currency=currency,
        accounts=accounts,
        total=total,
        is_balanced=report["isBalanced"],
    )


def find_differences(balance: TrialBalance) -> list[str]:
    """Return what does not add up. No tolerance: the two sides must be equal."""
    debits = Decimal(0)
    credits = Decimal(0)
    for account in balance.accounts:
        debits += account.debit
        credits += account.credit
    total = balance.total
    differences = []
    if total.debit != total.credit:
        by = abs(total.debit - total.credit)
        differences.append(f"total debit and total credit differ by {by:,}")
    if debits != total.debit:
        by = abs(debits - total.debit)
        differences.append(f"the debits and their total differ by {by:,}")
    if credits != total.credit:
        by = abs(credits - total.credit)
        differences.append(f"the credits and their total differ by {by:,}")
    if balance.is_balanced is not True:
        differences.append("the API says that the report is not balanced")
    return differences


def print_trial_balance(balance: TrialBalance) -> None:
    heading = f"Trial balance as of {balance.as_of}, in {balance.currency}"
    if balance.balance_type:
        heading += f", {balance.balance_type}"
    print(f"{heading}\n")
    print(f"{'Code':<6} {'Account':<28} {'Debit':>14} {'Credit':>14}")
    for account in [*balance.accounts, balance.total]:
        print(
            f"{account.code:<6} {account.name:<28.28} "
            f"{account.debit:>14,} {account.credit:>14,}"
        )


def month(text: str) -> date:
    """Return the first day of a month given as YYYY-MM. Raises ValueError."""
    return date.fromisoformat(f"{text}-01")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Print a report for a month.")
    parser.add_argument(
        "--report",
        default="trial-balance",
        choices=REPORTS,
        help="(default: trial-balance; aged-receivables in the guide's shape only)",
    )
    parser.add_argument(
        "--month",
        type=month,
        default=date.today().replace(day=1),
        metavar="YYYY-MM",
        help="(default: this month)",
    )
    args = parser.parse_args(argv)
    first = args.month
    _, days = calendar.monthrange(first.year, first.month)
    last = first.replace(day=days)

    report = with_retry(get_report, args.report, first, last)
    if args.report != "trial-balance":
        is_utf_8 = sys.stdout.encoding.lower() == "utf-8"  # if not, escape letters
        # JSON has no Decimal. A float is exact for up to 15 digits.
        print(json.dumps(report, indent=2, ensure_ascii=not is_utf_8, default=float))
        return 0
    balance = read_trial_balance(report)
    print_trial_balance(balance)
    differences = find_differences(balance)
    if differences:
        for difference in differences:
            print(f"Out of balance: {difference}.", file=sys.stderr)
        return 1
    print("\nIn balance: debits equal credits, and the accounts add up to the totals.")
    return 0


if __name__ == "__main__":
    run(main)
