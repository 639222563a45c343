"""Read every invoice, page by page, and add them up.

In this example you will see:
    1. paging by cursor: a bookmark in the list, which the API hands out with each page
    2. paging by offset: how many invoices to skip, and why that can miss one
    3. iterate_invoices: by cursor if the API sends cursors, else by offset

Usage:
    python 03_pagination.py --status all
    python 03_pagination.py --mode offset
    python tests/sandbox.py 03_pagination.py      (needs no account)
    python tests/sandbox.py --shape sdk 03_pagination.py
        ("sdk": OpenAPI's shape, without cursors; most likely what the live service
        sends)
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import chain

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

# As many on a page as the API allows. By default, the API sorts by date of creation.
# "asc": oldest first, so that an invoice that is created while you read comes last.
PAGE = {"limit": 100, "order": "asc"}


def get_page(session: requests.Session, params: dict) -> dict:
    """Return the envelope of one page.

    {"data": [...], "pagination": {"hasMore": true, "nextCursor": "3230...", ...}, ...}
    """
    response = session.get(  # like requests.get, but with one connection for all pages
        f"{BASE_URL}/invoices", headers=auth_headers(), params=params, timeout=TIMEOUT
    )
    return handle_response(response)


def pages_by_cursor(filters: dict) -> Iterator[dict]:
    """Yield every page. With each, the API sends the cursor of the next one."""
    params = {**PAGE, **filters}
    with requests.Session() as session:
        while True:
            page = with_retry(get_page, session, params)
            yield page
            cursor = page["pagination"].get("nextCursor")
            if not page["pagination"]["hasMore"] or not cursor:
                break
            params["cursor"] = cursor


def pages_by_offset(filters: dict) -> Iterator[dict]:
    """Yield every page. With each request, say how many invoices to skip: 0, 100, 200.

    Say that you have read 100 of 300 overdue invoices, and one of those 100 is paid. It
    leaves the list, and the rest move up by one place. Offset 100 now skips one that
    you have not read. A cursor marks the last one that you have read: none is skipped.
    """
    # The guide's shape reads offset, OpenAPI's reads page (see 01): send both.
    params = {**PAGE, **filters, "offset": 0, "page": 1}
    with requests.Session() as session:
        while True:
            page = with_retry(get_page, session, params)
            yield page
            if not page["pagination"]["hasMore"]:
                break
            params["offset"] += params["limit"]
            params["page"] += 1


def iterate_invoices(**filters: str) -> Iterator[dict]:
    """Yield every invoice. Memory use does not grow with their number.

    `filters` are query parameters: iterate_invoices(status="paid"). The API ignores a
    parameter that it does not know: with a misspelt one, you get every invoice.
    Raises CyncoAPIError, and CyncoError if invoices seem to be missing because the list
    changed while you read it. To avoid that, read without a status, so that an invoice
    stays in the list when it is paid, and filter in your own loop.
    """
    pages = pages_by_cursor(filters)
    first_page = next(pages)  # to see if it has a cursor
    pagination = first_page["pagination"]
    if pagination["hasMore"] and not pagination.get("nextCursor"):
        log.warning("The API sends no cursors: reading by offset")
        # Start again from the first page. check (below) yields the invoices.
        yield from check(pages_by_offset(filters), by_cursor=False)
    else:
        # chain puts the first page back in front of the others.
        yield from check(chain([first_page], pages), by_cursor=True)


# You may stop reading here. Below: the check that no invoice is missing, main().


def check(pages: Iterable[dict], by_cursor: bool) -> Iterator[dict]:
    """Yield the invoices of all pages. Raises CyncoError if some seem to be missing.

    A page's total says how many invoices are in the list now. By cursor, our count must
    reach the last page's total. By offset, it must reach the highest total of any page:
    an invoice that leaves may hide another, and the total falls with it.

    Not noticed: by offset, one that leaves while another joins; and an invoice that
    comes again two pages later, as that would mean keeping every id in memory.
    """
    count = 0
    highest_total = 0
    ids: set[str] = set()
    for page in pages:
        total = page["pagination"].get("total", 0)  # by cursor, total may be missing
        highest_total = max(highest_total, total)
        has_more = page["pagination"]["hasMore"]
        previous_ids = ids
        ids = {invoice["id"] for invoice in page["data"]}
        repeated_ids = ids & previous_ids  # those in both pages
        if repeated_ids or not ids:  # the next pages could be like this one for ever
            break
        yield from page["data"]
        count += len(page["data"])
    expected = total  # of the last page
    if not by_cursor:
        expected = highest_total
    # has_more: we stopped although the API says that more pages follow.
    if repeated_ids or has_more or count < expected:
        raise CyncoError(
            f"received only {count} of {expected} invoices. If the list changes while "
            "you read it, read all invoices, without a status, and filter in your own "
            "loop"
        )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Read every invoice.")
    parser.add_argument("--status", default="paid", help="as in 01 (default: paid)")
    parser.add_argument("--mode", default="cursor", choices=["cursor", "offset"])
    args = parser.parse_args(argv)
    filters = {}
    if args.status != "all":
        filters["status"] = args.status

    if args.mode == "cursor":
        invoices = iterate_invoices(**filters)
    else:
        invoices = check(pages_by_offset(filters), by_cursor=False)
    count = 0
    totals: dict[str, Decimal] = {}  # by currency: they cannot be added together
    for invoice in invoices:
        count += 1
        currency = invoice["currency"]
        amount = invoice_total(invoice)
        if amount is None:  # OpenAPI's shape allows that
            print(f"{invoice['invoiceNumber']} has no total", file=sys.stderr)
        else:
            totals[currency] = totals.get(currency, Decimal(0)) + amount
    print(f"{count:,} invoices")
    for currency, total in sorted(totals.items()):
        print(f"  {currency} {total:>16,}")
    return 0


if __name__ == "__main__":
    run(main)
