"""Read every invoice, page by page.

In this example you will see:
    1. paging by cursor, a bookmark that the API hands out: the one to use
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

# As many per page as the API allows. Without `sort`, it sorts by date of creation.
# With "asc", an invoice that is created while you read comes last and moves no other.
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
    ignores a parameter that it does not know: with a misspelt one, you get everything.
    Memory use does not grow with the number of invoices (by offset, it does): `yield`
    hands out those of a page before the next is requested.
    Raises CyncoAPIError, and CyncoError if the API repeats a page or stops too early.
    """
    params: dict[str, Any] = {**filters, **PAGE}
    count = 0
    total = 0  # as last reported by the API
    highest_total = 0
    previous_ids: set[str] = set()
    with requests.Session() as session:  # one connection for all pages
        while True:
            invoices, pagination = with_retry(get_page, session, params)
            cursor = pagination.get("nextCursor")
            # Some servers send no cursor with the first page: then read by offset.
            if count == 0 and pagination["hasMore"] and not cursor:
                log.warning("No cursor, as is usual in OpenAPI's shape: using offsets")
                yield from list_by_offset(**filters)
                return
            ids = {invoice["id"] for invoice in invoices}
            if ids & previous_ids:
                raise CyncoError(f"paging: repeated invoices after the first {count}")
            yield from invoices
            count += len(invoices)
            total = pagination.get("total") or total  # not every page has one
            highest_total = max(highest_total, total)
            # More than there ever were: the API repeats itself.
            if total and count > highest_total:
                raise CyncoError(
                    f"paging: received {count} of {highest_total} invoices"
                )
            if not pagination["hasMore"]:
                break
            if not invoices or not cursor:
                raise CyncoError(f"paging: no next page after {count} invoices")
            params["cursor"] = cursor
            previous_ids = ids
    check_count(count, total)  # the last total: who left the list is not missing


def list_by_offset(**filters: str | None) -> Iterator[dict]:
    """Yield every invoice, by offset: how many invoices to skip (0, 100, 200).

    If an invoice leaves the list while you read (you list what is overdue, and one is
    paid), those after it move up by one place, and one of them is missed. Then fewer
    come than the API reported, and this raises CyncoError. If another joins the list at
    the same time, even this check does not see it. By cursor, none is missed.
    """
    params: dict[str, Any] = {**filters, **PAGE}
    seen: set[str] = set()  # ids
    highest_total = 0  # as it falls when an invoice leaves
    page = 1
    with requests.Session() as session:
        while True:
            params["offset"] = (page - 1) * params["limit"]  # for the guide's shape
            params["page"] = page  # for OpenAPI's shape
            invoices, pagination = with_retry(get_page, session, params)
            count_before = len(seen)
            for invoice in invoices:
                if invoice["id"] not in seen:
                    seen.add(invoice["id"])
                    yield invoice
            highest_total = max(highest_total, pagination.get("total") or 0)
            if not pagination["hasMore"]:
                break
            if len(seen) == count_before:
                raise CyncoError(f"paging: nothing new after {count_before} invoices")
            page += 1
    check_count(len(seen), highest_total)


def check_count(count: int, total: int) -> None:
    """Raise CyncoError if fewer invoices came than the API reported."""
    if count < total:
        raise CyncoError(f"received only {count} of {total} invoices; run it again")


# You can use iterate_invoices and list_by_offset without reading on.


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
    """Write the invoices to a CSV file, which Excel can open; return how many."""
    path = os.path.realpath(path)  # where a symbolic link leads
    part = f"{path}.{os.getpid()}.part"
    try:
        count = write_rows(invoices, part)
        # Only now, so that a failed export leaves the previous one as it was.
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)
    return count


def write_rows(invoices: Iterable[dict], path: str) -> int:
    count = 0
    # utf-8-sig begins with a byte order mark: without one, Excel garbles Chinese names.
    with open(
        path, "w", encoding="utf-8-sig", errors="backslashreplace", newline=""
    ) as file:
        writer = csv.DictWriter(file, [*FIELDS, "total"])
        writer.writeheader()
        for invoice in invoices:
            row: dict[str, Any] = {"total": invoice_total(invoice)}
            for field in FIELDS:
                row[field] = plain_text(invoice[field])
            writer.writerow(row)
            count += 1
            show_progress(count)
    return count


def plain_text(cell: Any) -> Any:
    """Escape a cell that a spreadsheet would run as a formula: =A1 becomes '=A1."""
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return cell


def show_progress(count: int) -> None:
    if count % 1000 == 0:
        print(f"{count:,} invoices", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Read every invoice.")
    parser.add_argument("--status", default="paid", help="as in 01 (default: paid)")
    parser.add_argument("--mode", default="both", choices=["cursor", "offset", "both"])
    parser.add_argument("--csv", metavar="FILE", help="export to this file, by cursor")
    args = parser.parse_args(argv)
    if args.csv == "":
        parser.error("--csv needs the name of a file")
    status = args.status
    if status == "all":
        status = None

    if args.csv:
        count = write_csv(iterate_invoices(status=status), args.csv)
        print(f"{count:,} invoices in {args.csv}")
        return 0
    if args.mode in ("cursor", "both"):
        print_totals("By cursor", iterate_invoices(status=status))
    if args.mode in ("offset", "both"):
        print_totals("By offset", list_by_offset(status=status))
    return 0


def print_totals(title: str, invoices: Iterable[dict]) -> None:
    count, totals = add_up(invoices)
    print(f"{title}: {count:,} invoices")
    for currency, total in sorted(totals.items()):  # they cannot be added together
        print(f"  {currency} {total:>16,}")


if __name__ == "__main__":
    run(main)
