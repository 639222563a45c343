"""List invoices: filtered, sorted, one page of them.

You will see a table of the ten largest overdue invoices, then how many there are in all.

Usage:
    python 01_list_invoices.py
    python 01_list_invoices.py --status paid --sort total --order asc --limit 5
"""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any

import requests

from _common import BASE_URL, TIMEOUT, auth_headers, handle_response, with_retry
from _common import format_money, one_line, one_line_errors, print_table, read_amount


def list_invoices(status: str, sort: str, order: str, limit: int) -> dict[str, Any]:
    """Return the envelope of one page of invoices: success, data, pagination.

    Raises CyncoAPIError (422 for an unknown status or sort) or a requests exception.
    """
    params: dict[str, str | int] = {"status": status, "sort": sort, "order": order, "limit": limit}
    response = requests.get(
        f"{BASE_URL}/invoices",
        headers=auth_headers(),  # {"Authorization": "Bearer cak_..."}
        params=params,  # ?status=overdue&sort=total&order=desc&limit=10
        timeout=TIMEOUT,
    )
    return handle_response(response, list)


def shorten(text: str, width: int = 32) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def table_row(invoice: dict[str, Any]) -> list[str]:
    """Number, customer, status, due date and total of an invoice; customer and due date may be null."""
    # 162000 (the guide's cents) and 1620.00 (OpenAPI's whole units) both become MYR 1,620.00.
    total = read_amount(invoice, "total", "totalAmount", invoice["currency"])
    return [
        invoice["invoiceNumber"],
        shorten(invoice["customerName"] or "-"),
        invoice["status"],
        invoice["dueDate"] or "-",
        format_money(total, invoice["currency"]),
    ]


def page_size(text: str) -> int:
    if re.fullmatch("[1-9][0-9]?|100", text):
        return int(text)
    raise argparse.ArgumentTypeError("a page holds 1 to 100 invoices")


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="List invoices, one page of them.")
    parser.add_argument("--status", default="overdue", help="draft, paid or overdue (default: %(default)s)")
    parser.add_argument("--sort", default="total", help="total, or another field of your API (default: %(default)s)")
    parser.add_argument("--order", default="desc", choices=["asc", "desc"], help="(default: %(default)s)")
    parser.add_argument("--limit", default=10, type=page_size, help="1 to 100 (default: %(default)s)")
    args = parser.parse_args(argv)

    envelope = with_retry(lambda: list_invoices(args.status, args.sort, args.order, args.limit))
    invoices, pagination = envelope["data"], envelope.get("pagination") or {}
    if not invoices:
        print(f"No invoices with status {args.status}.")
        return 0
    print_table(["Number", "Customer", "Status", "Due", "Total"], map(table_row, invoices), right=["Total"])
    print(f"\n{len(invoices)} of {one_line(pagination.get('total') or len(invoices))} invoices.")
    if pagination.get("hasMore"):
        print(f"To read them all: python 03_pagination.py --status {args.status}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
