"""Read reports: the trial balance, checked; profit and loss, balance sheet and aged receivables.

You will see the trial balance as a table, then whether debits equal credits and the rows add up
to the totals (exit code 1 if not). Any other report is printed as JSON, its amounts as Cynco
sends them: in the smallest unit (the guide's shape) or in whole units (OpenAPI's).

Usage:
    python 06_reports.py --as-of 2026-03-31
    python 06_reports.py --report profit-loss --from 2026-03-01 --to 2026-03-31
"""

import argparse
import json
import re
import sys
from calendar import monthrange
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import requests

from _common import BASE_URL, TIMEOUT, auth_headers, handle_response, with_retry
from _common import format_money, one_line, one_line_errors, print_table, read_amount

REPORTS = ["trial-balance", "profit-loss", "balance-sheet", "aged-receivables"]


def get_report(report: str, first: date | None, last: date) -> dict[str, Any]:
    """Return the data of one of REPORTS, over `first` to `last`, or as of `last` if first is None.

    Raises CyncoAPIError or a requests exception.
    """
    params = {"from": str(first), "to": str(last)} if first else {"asOf": str(last)}
    response = requests.get(
        f"{BASE_URL}/reports/{report}",
        headers=auth_headers(),
        # One shape of the API reads the dates, the other the month that they fall in.
        params={**params, "period": str(last)[:7]},
        timeout=TIMEOUT,
    )
    data: dict[str, Any] = handle_response(response, dict)["data"]
    return data


def read_sides(record: dict[str, Any], debit_field: str, credit_field: str, currency: str) -> tuple[Decimal, Decimal]:
    """Return (debit, credit) of an account or of the totals, in whole units; nothing counts as zero."""
    debit = read_amount(record, "debit", debit_field, currency)
    credit = read_amount(record, "credit", credit_field, currency)
    return debit or Decimal(0), credit or Decimal(0)


def find_differences(rows: list[tuple[Decimal, Decimal]], totals: tuple[Decimal, Decimal], currency: str) -> list[str]:
    """Say what does not add up: double entry leaves nothing over, so there is no tolerance."""
    checks = [
        ("total debit", totals[0], "total credit", totals[1]),
        ("the sum of the debits", sum((debit for debit, _ in rows), Decimal(0)), "total debit", totals[0]),
        ("the sum of the credits", sum((credit for _, credit in rows), Decimal(0)), "total credit", totals[1]),
    ]
    return [
        f"{one} {format_money(a, currency)} is not {other} {format_money(b, currency)}: "
        f"off by {format_money(abs(a - b), currency)}"
        for one, a, other, b in checks
        if a != b
    ]


def show_trial_balance(report: dict[str, Any]) -> int:
    """Print a trial balance of either published shape; return 0 if it balances, else 1."""
    currency = report.get("currency") or "MYR"  # OpenAPI names none: its books are in ringgit
    accounts = report["accounts"] if "accounts" in report else report["lineItems"]
    rows = [read_sides(account, "debitBalance", "creditBalance", currency) for account in accounts]
    totals = read_sides({**report, **(report.get("totals") or {})}, "totalDebit", "totalCredit", currency)

    names = [
        (account.get("code") or account["accountCode"], account.get("name") or account["accountName"])
        for account in accounts
    ]
    table = [
        [*name, *(format_money(amount or None, currency) for amount in row)]
        for name, row in zip([*names, ("", "Total")], [*rows, totals])
    ]
    print(f"Trial balance as of {one_line(report.get('asOf') or report['asOfDate'])}\n")
    print_table(["Code", "Account", "Debit", "Credit"], table, right=["Debit", "Credit"])

    differences = find_differences(rows, totals, currency)
    for difference in differences:
        print(one_line(f"Out of balance: {difference}."), file=sys.stderr)
    if not differences:
        print("\nIn balance: debits equal credits, and the rows add up to the totals.")
    return 1 if differences else 0


def exact_number(amount: Decimal) -> float | str:
    """Return what JSON writes for an amount: a number, or text where a float would lose digits."""
    return float(amount) if Decimal(str(float(amount))) == amount else str(amount)


def iso_date(text: str) -> date:
    try:
        if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a date; write YYYY-MM-DD")


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Print a report; check the trial balance.")
    parser.add_argument("--report", default="trial-balance", choices=REPORTS, help="(default: %(default)s)")
    parser.add_argument("--as-of", type=iso_date, metavar="DATE", help="YYYY-MM-DD (default: today)")
    parser.add_argument("--from", type=iso_date, metavar="DATE", dest="first", help="(default: first of the month)")
    parser.add_argument("--to", type=iso_date, metavar="DATE", dest="last", help="for profit-loss (default: today)")
    args = parser.parse_args(argv)

    first, last = None, args.as_of or args.last or date.today()
    if args.report == "profit-loss":
        first = args.first or last.replace(day=1)
        if args.as_of or first > last:
            parser.error("profit-loss takes --from DATE and --to DATE, the earlier first")
    elif args.first or args.last:
        parser.error(f"{args.report} takes --as-of DATE; --from and --to go with profit-loss")
    report = with_retry(lambda: get_report(args.report, first, last))
    whole_month = last.day == monthrange(last.year, last.month)[1] and first in (None, last.replace(day=1))
    if "period" in report and not whole_month:
        period = one_line(report["period"])
        print(f"Notice: this API reports whole months; these figures are for {period}.", file=sys.stderr)
    if args.report == "trial-balance":
        return show_trial_balance(report)
    print(json.dumps(report, indent=2, ensure_ascii=False, default=exact_number))
    return 0


if __name__ == "__main__":
    sys.exit(main())
