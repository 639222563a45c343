"""List invoices: one page of them, filtered and sorted.

In this example you will see:
    1. a GET request: the Authorization header, query parameters, a timeout
    2. the envelope around every response, and the invoices in it, with exact amounts

Usage:
    python 01_list_invoices.py --status paid --sort total --order asc --limit 5
    python tests/sandbox.py 01_list_invoices.py      (needs no account)
"""

import argparse
from typing import Any

import requests

from _common import (
    BASE_URL,
    TIMEOUT,
    auth_headers,
    format_money,
    handle_response,
    print_table,
    read_amount,
    run,
    with_retry,
)


def list_invoices(status: str | None, sort: str, order: str, limit: int) -> dict[str, Any]:
    """Return the envelope of one page of invoices; a status of None means all.

    Raises CyncoAPIError (422 for an unknown status or sort) or an exception of requests.
    """
    response = requests.get(
        f"{BASE_URL}/invoices",
        headers=auth_headers(),  # {"Authorization": "Bearer cak_..."}
        params={"status": status, "sort": sort, "order": order, "limit": limit},
        timeout=TIMEOUT,
    )
    # {"success": true, "data": [{"invoiceNumber": "INV-00156", "total": 2487025, ...}, ...],
    #  "pagination": {"total": 23, "limit": 10, "offset": 0, "hasMore": true, "nextCursor": "..."},
    #  "meta": {"requestId": "req_000001", "apiVersion": "v1", "timestamp": "..."}}
    return handle_response(response)


def table_row(invoice: dict[str, Any]) -> list[str]:
    customer, due_date = invoice["customerName"] or "-", invoice["dueDate"] or "-"  # may be null
    total = read_amount(invoice, "total", "totalAmount", invoice["currency"])  # guide, OpenAPI
    money = format_money(total, invoice["currency"])
    return [invoice["invoiceNumber"], customer, invoice["status"], due_date, money]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="List one page of invoices.")
    known = "all, draft, sent, finalized, paid, overdue, partially_paid, deposit_paid, deposit_due"
    parser.add_argument("--status", default="overdue", help=f"{known} (default: overdue)")
    parser.add_argument("--sort", default="total", help="total (default), or see README.md")
    parser.add_argument("--order", default="desc", choices=["asc", "desc"])
    parser.add_argument("--limit", default=10, type=int, help="1 to 100 (default: 10)")
    args = parser.parse_args(argv)
    if not 1 <= args.limit <= 100:
        parser.error("--limit must be 1 to 100")
    status = None if args.status == "all" else args.status  # None is not sent

    envelope = with_retry(lambda: list_invoices(status, args.sort, args.order, args.limit))
    rows = [table_row(invoice) for invoice in envelope["data"]]
    print_table(["Number", "Customer", "Status", "Due", "Total"], rows, right=["Total"])
    total = envelope["pagination"]["total"]
    print(f"\n{len(rows)} of {total} invoices. 03_pagination.py reads all of them.")
    return 0


if __name__ == "__main__":
    run(main)
