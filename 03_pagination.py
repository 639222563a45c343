"""Read every invoice exactly once: by offset, and by cursor, which is the better way.

You will see how many invoices each way finds, and their total in each currency.

Usage:
    python 03_pagination.py
    python 03_pagination.py --mode cursor --status all
"""

import argparse
import sys
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import requests

from _common import BASE_URL, TIMEOUT, CyncoAPIError, auth_headers, handle_response, with_retry
from _common import format_money, one_line_errors, print_table, read_amount


def list_by_offset(status: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield every invoice of a status (None: of any) once, asking for one position after the other.

    An invoice that arrives meanwhile pushes the others down, so that the next page repeats some
    (dropped here by id); one that goes pulls them up, so that some are skipped. Cursors stay put.
    Raises CyncoAPIError or a requests exception.
    """
    url, headers = f"{BASE_URL}/invoices", auth_headers()
    # A page holds 100 at most: the fewest requests. A parameter that is None is left out by requests.
    params: dict[str, Any] = {"limit": 100, "status": status}
    offset = 0
    seen: set[str] = set()
    with requests.Session() as session:
        while True:
            # Each published shape reads one of these two and ignores the other.
            params.update(offset=offset, page=offset // 100 + 1)
            page = with_retry(
                lambda: handle_response(session.get(url, headers=headers, params=params, timeout=TIMEOUT), list)
            )
            invoices, has_more = page["data"], (page.get("pagination") or {}).get("hasMore")
            new = {invoice["id"]: invoice for invoice in invoices if invoice["id"] not in seen}
            if has_more not in (True, False):
                raise CyncoAPIError(200, "BROKEN_PAGING", "the API does not say whether more invoices follow")
            if not new and (invoices or has_more):
                raise CyncoAPIError(200, "BROKEN_PAGING", f"the API sent nothing new from offset {offset}")
            yield from new.values()
            if not has_more:
                return
            seen.update(new)
            offset += len(invoices)


def iterate_invoices(status: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield every invoice of a status (None: of any) once, in constant memory. The recommended way.

    Raises CyncoAPIError or a requests exception.
    """
    url, headers = f"{BASE_URL}/invoices", auth_headers()
    params: dict[str, Any] = {"limit": 100, "status": status}
    seen = array("q")  # hashes of cursors and of first ids: 16 bytes a page, where a set would grow
    # A Session keeps its connection open: one TCP and TLS handshake for the whole pass, not one a page.
    with requests.Session() as session:
        while True:
            page = with_retry(
                lambda: handle_response(session.get(url, headers=headers, params=params, timeout=TIMEOUT), list)
            )
            invoices, pagination = page["data"], page.get("pagination") or {}
            has_more, cursor = pagination.get("hasMore"), pagination.get("nextCursor")
            if has_more not in (True, False):
                raise CyncoAPIError(200, "BROKEN_PAGING", "the API does not say whether more invoices follow")
            if invoices and hash(invoices[0]["id"]) in seen:
                raise CyncoAPIError(200, "BROKEN_PAGING", "the API sent a page again")
            if has_more and not invoices:
                raise CyncoAPIError(200, "BROKEN_PAGING", "the API says that more invoices follow, but sent none")
            if has_more and not cursor:
                raise CyncoAPIError(200, "BROKEN_PAGING", "the API says that more invoices follow, but sent no cursor")
            if has_more and hash(cursor) in seen:
                raise CyncoAPIError(200, "BROKEN_PAGING", "the API sent a cursor for the second time")
            yield from invoices
            if not has_more:
                return
            seen.extend([hash(invoices[0]["id"]), hash(cursor)])
            params["cursor"] = cursor


def add_up(invoices: Iterable[dict[str, Any]], mode: str) -> tuple[Counter[str], dict[str, Decimal], int]:
    """Return the count and the total by currency, and how many have no amount; progress goes to stderr."""
    counts: Counter[str] = Counter()
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    without_amount, done = 0, 0
    live = sys.stderr.isatty()
    try:
        for done, invoice in enumerate(invoices, 1):
            amount = read_amount(invoice, "total", "totalAmount", invoice["currency"])
            counts[invoice["currency"]] += 1
            totals[invoice["currency"]] += amount or 0
            without_amount += amount is None
            if done % (100 if live else 5000) == 0:
                print(f"{mode}: {done:,} invoices", end="\r" if live else "\n", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f" after {done:,} invoices (by {mode})") from None
    return counts, totals, without_amount


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Read every invoice exactly once.")
    parser.add_argument("--mode", default="both", choices=["offset", "cursor", "both"], help="(default: %(default)s)")
    parser.add_argument("--status", default="paid", help="draft, paid, overdue or all (default: %(default)s)")
    args = parser.parse_args(argv)

    status = None if args.status == "all" else args.status
    for mode, read in [("offset", list_by_offset), ("cursor", iterate_invoices)]:
        if args.mode in (mode, "both"):
            counts, totals, without_amount = add_up(read(status), mode)
            print(f"By {mode}: {counts.total():,} invoices")
            # A sum across currencies would mean nothing.
            rows = [[code, f"{counts[code]:,}", format_money(totals[code], code)] for code in sorted(counts)]
            if rows:
                print_table(["Currency", "Invoices", "Total"], rows, right=["Invoices", "Total"])
            if without_amount:
                print(f"{without_amount:,} of them have no amount.")
            if args.mode == "both" and mode == "offset":
                print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
