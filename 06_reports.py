"""Read reports: the trial balance, checked, and three others as JSON.

In this example you will see:
    1. a request for both published forms of the API, and how to read either
    2. double entry: debits equal credits, and the accounts add up to the totals

Usage:
    python 06_reports.py --as-of 2026-03-31
    python 06_reports.py --report profit-loss --from 2026-03-01 --to 2026-03-31
"""

import argparse
import json
import sys
from calendar import monthrange
from datetime import date
from decimal import Decimal

import requests

from _common import (
    BASE_URL,
    TIMEOUT,
    CyncoAPIError,
    auth_headers,
    format_money,
    handle_response,
    print_table,
    read_amount,
    run,
    with_retry,
)

REPORTS = ["trial-balance", "profit-loss", "balance-sheet", "aged-receivables"]


def get_report(report: str, first: date | None, last: date) -> dict:
    """Return a report as of `last`, or from `first` to `last`. Raises CyncoAPIError."""
    url = f"{BASE_URL}/reports/{report}"
    params: dict = {"from": first, "to": last} if first else {"asOf": last}
    params["period"] = str(last)[:7]  # for OpenAPI, which reads the month
    response = requests.get(url, headers=auth_headers(), params=params, timeout=TIMEOUT)
    return handle_response(response)["data"]


def read_trial_balance(report: dict) -> tuple[str, list[tuple], tuple]:
    """Return the currency, (code, name, debit, credit) of each account, and total (debit, credit).

    In major units. Raises CyncoAPIError for an unknown form, since its units are unknown, too.
    """
    if "totals" in report:  # the guide's form
        currency, unit = report["currency"], "minor"
        rows = [(a["code"], a["name"], a["debit"], a["credit"]) for a in report["accounts"]]
        totals = [report["totals"]["debit"], report["totals"]["credit"]]
    elif "lineItems" in report:  # OpenAPI's form, which is in ringgit
        currency, unit = "MYR", "major"
        columns = ["accountCode", "accountName", "debitBalance", "creditBalance"]
        rows = [tuple(item[column] for column in columns) for item in report["lineItems"]]
        totals = [report["totalDebit"], report["totalCredit"]]
    else:
        raise CyncoAPIError(200, "UNREADABLE", f"unknown trial balance with {', '.join(report)}")

    def amount(value: object) -> Decimal:  # read_amount wants a record: make one
        return read_amount({unit: value}, "minor", "major", currency) or Decimal(0)

    accounts = [(code, name, amount(debit), amount(credit)) for code, name, debit, credit in rows]
    return currency, accounts, (amount(totals[0]), amount(totals[1]))


def find_differences(accounts: list[tuple], totals: tuple) -> list[str]:
    """Return what does not add up. No tolerance: in double entry, the sides match exactly."""
    checks = {
        "total debit and total credit": totals[0] - totals[1],
        "the debits and their total": sum(debit for _, _, debit, _ in accounts) - totals[0],
        "the credits and their total": sum(credit for _, _, _, credit in accounts) - totals[1],
    }
    return [f"{names} differ by {abs(by):,}" for names, by in checks.items() if by]


def show_trial_balance(report: dict) -> int:
    """Print a trial balance; return 0 if it balances, else 1."""
    currency, accounts, totals = read_trial_balance(report)
    rows = []
    for code, name, *sides in [*accounts, ("", "Total", *totals)]:
        rows.append([code, name, *(format_money(side or None, currency) for side in sides)])
    print(f"Trial balance as of {report.get('asOf') or report['asOfDate']}\n")
    print_table(["Code", "Account", "Debit", "Credit"], rows, right=["Debit", "Credit"])
    differences = find_differences(accounts, totals)
    for difference in differences:
        print(f"Out of balance: {difference}.", file=sys.stderr)
    if not differences:
        print("\nIn balance: debits equal credits, and the accounts add up to the totals.")
    return 1 if differences else 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Print a report; check the trial balance.")
    parser.add_argument("--report", default="trial-balance", choices=REPORTS)
    for option in ("--as-of", "--from", "--to"):
        parser.add_argument(option, type=date.fromisoformat, metavar="YYYY-MM-DD")
    args = vars(parser.parse_args(argv))  # a dict, as args.from would be a syntax error
    first, last = args["from"], args["as_of"] or args["to"] or date.today()
    month = (last.replace(day=1), last.replace(day=monthrange(last.year, last.month)[1]))
    if args["report"] == "profit-loss":
        first = first or month[0]
        if args["as_of"] or first > last:
            parser.error("profit-loss takes --from and --to, the earlier date first")
    elif first or args["to"]:
        parser.error(f"{args['report']} takes --as-of")
    report = with_retry(lambda: get_report(args["report"], first, last))
    if not report.keys() & {"asOf", "from"} and (first or month[0], last) != month:
        print(f"Notice: these figures cover the whole of {last:%Y-%m}.", file=sys.stderr)
    if args["report"] == "trial-balance":
        return show_trial_balance(report)
    print(json.dumps(report, indent=2, ensure_ascii=False, default=float))  # exact to 15 digits
    return 0


if __name__ == "__main__":
    run(main)
