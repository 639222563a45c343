"""List invoices: one page of them, filtered and sorted.

In this example you will see:
    1. a GET request: the Authorization header, query parameters, a timeout
    2. the envelope around every response, and the invoices in it
    3. exact amounts

Cynco publishes a quickstart guide and an OpenAPI description, which disagree on some
names and units. We call these "the guide's shape" and "OpenAPI's shape". The examples
accept both.

Usage, with your key in CYNCO_API_KEY (README.md says how):
    python 01_list_invoices.py --status paid --sort total --order asc --limit 5
    python tests/sandbox.py 01_list_invoices.py      (needs no account)
"""

import argparse

import requests

from _common import (
    BASE_URL,
    TIMEOUT,
    auth_headers,
    format_money,
    handle_response,
    invoice_total,
    run,
    with_retry,
)


def list_invoices(status: str | None, sort: str, order: str, limit: int) -> dict:
    """Return the envelope of one page of invoices. Pass None for every status.

    Raises CyncoAPIError, such as a 422 for an unknown status or sort.
    """
    # GET /invoices?status=overdue&sort=total&order=desc&limit=10
    response = requests.get(
        f"{BASE_URL}/invoices",
        headers=auth_headers(),  # {"Authorization": "Bearer cak_..."}
        params={"status": status, "sort": sort, "order": order, "limit": limit},
        timeout=TIMEOUT,
    )
    # The response, in the guide's shape. 162000 sen are 1620.00 ringgit:
    # {
    #     "success": true,
    #     "data": [
    #         {"invoiceNumber": "INV-00165", "currency": "MYR", "total": 162000, ...},
    #         ...
    #     ],
    #     "pagination": {"total": 22, "limit": 10, "offset": 0, "hasMore": true, ...},
    #     "meta": {"requestId": "req_000001", ...}
    # }
    return handle_response(response)  # the JSON as a dict, or CyncoAPIError (see 04)


def print_invoice(invoice: dict) -> None:
    customer = invoice["customerName"] or "-"  # both may be null
    due_date = invoice["dueDate"] or "-"
    # The guide's shape has amounts in minor units: 162000 sen. OpenAPI's has major
    # units: 1620.00 ringgit. invoice_total returns Decimal("1620.00") for both.
    total = format_money(invoice_total(invoice), invoice["currency"])
    print(
        f"{invoice['invoiceNumber']:<10} {customer:<30.30} "  # a long name is cut at 30
        f"{invoice['status']:<14} {due_date:<10} {total:>16}"
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="List one page of invoices.")
    parser.add_argument("--status", default="overdue", help="such as paid; or all")
    parser.add_argument(
        "--sort", default="total", help="or createdAt, dueDate (OpenAPI: due_date, ...)"
    )
    parser.add_argument("--order", default="desc", choices=["asc", "desc"])
    parser.add_argument("--limit", default=10, type=int, help="1 to 100")
    args = parser.parse_args(argv)
    if not 1 <= args.limit <= 100:
        parser.error("--limit must be 1 to 100")
    status = args.status
    if status == "all":
        status = None  # requests leaves out parameters that are None

    # with_retry calls list_invoices(status, ...), and again after a transient error.
    envelope = with_retry(list_invoices, status, args.sort, args.order, args.limit)
    print(f"{'Number':<10} {'Customer':<30} {'Status':<14} {'Due':<10} {'Total':>16}")
    for invoice in envelope["data"]:
        print_invoice(invoice)
    count = len(envelope["data"])
    total = envelope["pagination"]["total"]
    print(f"\n{count} of {total} invoices. 03_pagination.py reads all of them.")
    return 0


if __name__ == "__main__":
    run(main)
