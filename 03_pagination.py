"""Read every invoice, page by page, or export them as CSV.

In this example you will see:
    1. paging by offset, which misses an invoice that moves up meanwhile
    2. paging by cursor, which misses none: prefer it

Usage:
    python 03_pagination.py --status all --csv > invoices.csv
"""

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator

import requests

from _common import BASE_URL, TIMEOUT, auth_headers, handle_response, read_amount, run, with_retry

CSV_FIELDS = ["invoiceNumber", "customerName", "status", "dueDate", "currency"]


def get_page(session: requests.Session, params: dict) -> tuple[list[dict], dict]:
    """Return the invoices and the pagination of one page. Raises CyncoAPIError or requests' own."""
    url = f"{BASE_URL}/invoices"
    response = session.get(url, headers=auth_headers(), params=params, timeout=TIMEOUT)
    envelope = handle_response(response)
    return envelope["data"], envelope["pagination"]


def list_by_offset(status: str | None = None) -> Iterator[dict]:
    """Yield every invoice of a status (None: any) once.

    While this runs, a new invoice pushes others onto the next page, where they show up again: hence
    `seen`. A deleted one pulls others up, and they are missed. Raises the same as get_page.
    """
    params, offset, seen = {"status": status, "limit": 100}, 0, set()
    with requests.Session() as session:  # keeps its connection open from page to page
        while True:
            params.update(offset=offset, page=offset // 100 + 1)  # the guide's, OpenAPI's
            invoices, pagination = with_retry(lambda: get_page(session, params))
            new = [invoice for invoice in invoices if invoice["id"] not in seen]
            yield from new
            if not pagination["hasMore"]:
                return
            if not new:
                raise requests.RequestException(f"paging: nothing new from offset {offset}")
            seen.update(invoice["id"] for invoice in new)
            offset += len(invoices)


def iterate_invoices(status: str | None = None) -> Iterator[dict]:
    """Yield every invoice of a status (None: any) once, by cursor if the API has any.

    A cursor marks the last invoice read: the next page starts after it, whatever moves. Memory is
    constant, since `yield` hands out each page before the next one is requested.
    """
    params = {"status": status, "limit": 100}  # a status of None is not sent
    with requests.Session() as session:
        while True:
            invoices, pagination = with_retry(lambda: get_page(session, params))
            if not pagination["hasMore"]:
                yield from invoices
                return
            cursor = pagination.get("nextCursor")
            if not cursor and "cursor" not in params:  # none: by offset, which can miss some
                yield from list_by_offset(status)
                return
            if not cursor or cursor == params.get("cursor"):
                raise requests.RequestException("paging: more follow, but there is no new cursor")
            yield from invoices
            params["cursor"] = cursor


def summarize(invoices: Iterable[dict]) -> dict[str, tuple]:
    """Return {currency: (count, total)}; a sum across currencies would mean nothing."""
    summary = {}
    for invoice in invoices:
        currency = invoice["currency"]
        count, total = summary.get(currency, (0, 0))
        amount = read_amount(invoice, "total", "totalAmount", currency) or 0
        summary[currency] = (count + 1, total + amount)
    return summary


def write_csv(invoices: Iterable[dict]) -> None:
    """Write each invoice to stdout as it arrives; totals in major units, empty where null."""
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # on Windows, too
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*CSV_FIELDS, "total"])
    for invoice in invoices:
        total = read_amount(invoice, "total", "totalAmount", invoice["currency"])
        writer.writerow([*(invoice[field] for field in CSV_FIELDS), total])


def show_progress(invoices: Iterable[dict]) -> Iterator[dict]:
    """Pass invoices on, counting them on stderr; on a terminal, while they arrive."""
    count = 0
    for count, invoice in enumerate(invoices, 1):
        if count % 100 == 0 and sys.stderr.isatty():
            print(f"{count:,} invoices", end="\r", file=sys.stderr, flush=True)
        yield invoice
    print(f"{count:,} invoices", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Read every invoice once.")
    parser.add_argument("--mode", default="both", choices=["offset", "cursor", "both"])
    parser.add_argument("--status", default="paid", help="as in 01, or all (default: paid)")
    parser.add_argument("--csv", action="store_true", help="write CSV to stdout, by cursor")
    args = parser.parse_args(argv)
    status = None if args.status == "all" else args.status
    if args.csv:
        write_csv(show_progress(iterate_invoices(status)))
        return 0
    for mode, read_all in [("offset", list_by_offset), ("cursor", iterate_invoices)]:
        if args.mode in (mode, "both"):
            summary = summarize(show_progress(read_all(status)))
            for currency, (count, total) in sorted(summary.items()):
                print(f"By {mode}: {count:>7,} invoices  {currency} {total:>16,}")
    return 0


if __name__ == "__main__":
    run(main)
