"""Read every invoice, page by page.

In this example you will see:
    1. paging by cursor: the one to use
    2. paging by offset, and what it can miss
    3. the invoices as a CSV file

Usage:
    python 03_pagination.py --status all
    python 03_pagination.py --status all --csv invoices.csv
    python tests/sandbox.py 03_pagination.py      (needs no account)
"""

import argparse
import csv
import os
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import requests

from _common import (
    BASE_URL,
    TIMEOUT,
    CyncoError,
    auth_headers,
    handle_response,
    invoice_total,
    log,
    run,
    with_retry,
)

# As many per page as the API allows. Oldest first, so that an invoice that is created
# meanwhile comes last and shifts none of the others.
PAGE = {"limit": 100, "order": "asc"}
FIELDS = ["invoiceNumber", "customerName", "status", "dueDate", "currency"]


def get_page(session: requests.Session, params: dict) -> tuple[list[dict], dict]:
    """Return the invoices of one page, and the pagination that came with them."""
    response = session.get(
        f"{BASE_URL}/invoices", headers=auth_headers(), params=params, timeout=TIMEOUT
    )
    envelope = handle_response(response)
    return envelope["data"], envelope["pagination"]


def iterate_invoices(**filters: str | None) -> Iterator[dict]:
    """Yield every invoice, by cursor: a mark after which the next page begins.

    `filters`: query parameters, such as status="paid"; None is not sent. The API
    ignores parameters that it does not know, so check what you read. Only one page is
    in memory at a time: `yield` hands out its invoices before the next is requested.
    Raises CyncoAPIError; CyncoError instead of stopping early or looping forever.
    """
    params: dict[str, Any] = {**PAGE, **filters}
    count = 0
    total = 0  # as last reported by the API
    previous = None
    with requests.Session() as session:  # one connection for all pages
        while True:
            invoices, pagination = with_retry(get_page, session, params)
            cursor = pagination.get("nextCursor")
            if count == 0 and pagination["hasMore"] and not cursor:
                log.warning("The API sends no cursor: reading by offset")
                yield from list_by_offset(**filters)
                return
            if invoices == previous:
                raise CyncoError(f"paging: the same page again after {count} invoices")
            yield from invoices
            count += len(invoices)
            total = pagination.get("total", total)
            if not pagination["hasMore"]:
                break
            if not invoices or not cursor:
                raise CyncoError(f"paging: no next page after {count} invoices")
            params["cursor"] = cursor
            previous = invoices
    check_count(count, total)


def list_by_offset(**filters: str | None) -> Iterator[dict]:
    """Yield every invoice, by offset: how many invoices to skip (0, 100, 200).

    If an invoice leaves the list meanwhile, those after it move up by one place, and
    one of them is missed. Then fewer come than the API reported, and this raises
    CyncoError, unless another has joined the list. By cursor, none is missed.
    """
    params: dict[str, Any] = {**PAGE, **filters}
    seen: set[str] = set()  # ids
    highest_total = 0
    page = 1
    with requests.Session() as session:
        while True:
            params["offset"] = (page - 1) * params["limit"]  # read in the guide's shape
            params["page"] = page  # read in OpenAPI's shape
            invoices, pagination = with_retry(get_page, session, params)
            count_before = len(seen)
            for invoice in invoices:
                if invoice["id"] not in seen:
                    seen.add(invoice["id"])
                    yield invoice
            highest_total = max(highest_total, pagination.get("total", 0))
            if not pagination["hasMore"]:
                break
            if len(seen) == count_before:
                raise CyncoError(f"paging: nothing new after {count_before} invoices")
            page += 1
    check_count(len(seen), highest_total)


def check_count(count: int, total: int) -> None:
    """Raise CyncoError if fewer invoices came than the API reported."""
    if count < total:
        raise CyncoError(f"paging: {count} of {total} invoices came; run it again")


# You can use the two functions above without reading on. This shows them at work:


def add_up(invoices: Iterable[dict]) -> tuple[int, dict[str, Decimal]]:
    """Return how many there are, and a total for each currency, in major units."""
    count = 0
    totals: dict[str, Decimal] = {}
    for invoice in invoices:
        count += 1
        show_progress(count)
        currency = invoice["currency"]
        amount = invoice_total(invoice)
        if amount is None:
            print(f"{invoice['invoiceNumber']} has no total", file=sys.stderr)
        else:
            totals[currency] = totals.get(currency, Decimal(0)) + amount
    return count, totals


def write_csv(invoices: Iterable[dict], path: str) -> int:
    """Write the invoices to a file, for Excel as well; return how many."""
    part = f"{path}.part"
    count = 0
    # utf-8-sig begins with a byte order mark: without one, Excel garbles Chinese names.
    with open(part, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*FIELDS, "total"])
        for invoice in invoices:
            row: list[Any] = []
            for field in FIELDS:
                row.append(plain_text(invoice[field]))
            row.append(invoice_total(invoice))
            writer.writerow(row)
            count += 1
            show_progress(count)
    os.replace(part, path)  # only now: a failed export leaves the last one as it was
    return count


def plain_text(cell: str | None) -> str | None:
    """Return a cell that no spreadsheet runs as a formula: =A1 becomes '=A1."""
    if cell and cell[0] in "=+-@\t\r":
        return f"'{cell}"
    return cell


def show_progress(count: int) -> None:
    if count % 1000 == 0:
        print(f"{count:,} invoices", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Read every invoice once.")
    parser.add_argument("--status", default="paid", help="as in 01 (default: paid)")
    parser.add_argument("--mode", default="both", choices=["cursor", "offset", "both"])
    parser.add_argument("--csv", metavar="FILE", help="export to this file, by cursor")
    args = parser.parse_args(argv)
    status = args.status
    if status == "all":
        status = None

    if args.csv:
        count = write_csv(iterate_invoices(status=status), args.csv)
        print(f"{count:,} invoices in {args.csv}")
        return 0
    if args.mode != "offset":
        print_totals("By cursor", iterate_invoices(status=status))
    if args.mode != "cursor":
        print_totals("By offset", list_by_offset(status=status))
    return 0


def print_totals(title: str, invoices: Iterable[dict]) -> None:
    count, totals = add_up(invoices)
    print(f"{title}: {count:,} invoices")
    for currency, total in sorted(totals.items()):  # ringgit plus yen means nothing
        print(f"  {currency} {total:>16,}")


if __name__ == "__main__":
    run(main)
