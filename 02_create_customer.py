"""Create a customer exactly once, even when an answer gets lost on the way.

You will see the new customer as Cynco stored it. With your own key it is a real record; run it
again and Cynco refuses with a 409, because a customer with that email exists.

Usage:
    python 02_create_customer.py
    python 02_create_customer.py --name "Kedai Buku Melati" --email accounts@melati.example
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import Sequence
from typing import Any

import requests

from _common import BASE_URL, TIMEOUT, CyncoAPIError, auth_headers, handle_response, with_retry
from _common import describe, one_line, one_line_errors

# The fields of a customer and what is sent without the option of that name (--tax-id for taxId): None is not sent.
SAMPLE = {
    "name": "Acme Corp",
    "email": "billing@acme.example",
    "phone": "+60 3-2345 6789",
    "address": "Level 12, Menara Acme, Jalan Ampang",
    "city": "Kuala Lumpur",
    "state": "Wilayah Persekutuan",
    "zip": "50450",
    "country": "Malaysia",
    "taxId": None,
    "registrationNumber": None,
    "website": "https://acme.example",
    "paymentTerms": None,
    "preferredCurrency": "MYR",
    "notes": None,
}


def create_customer(customer: dict[str, str], idempotency_key: str) -> dict[str, Any]:
    """Create a customer and return it as stored; the same key and body never create a second one.

    Raises CyncoAPIError (409: the email exists, 422: a field is invalid) or a requests exception.
    """
    response = requests.post(
        f"{BASE_URL}/customers",
        headers={**auth_headers(), "Idempotency-Key": idempotency_key},
        json=customer,
        timeout=TIMEOUT,
    )
    created: dict[str, Any] = handle_response(response, dict)["data"]
    return created


def was_refused(error: BaseException) -> bool:
    """Whether an answer proves that its request created nothing; without one, or with a 5xx, nobody knows."""
    return isinstance(error, CyncoAPIError) and error.status_code in {400, 401, 403, 404, 409, 422, 429}


def format_address(customer: dict[str, Any]) -> str:
    """One line from a flat address (OpenAPI) or a nested one (the guide)."""
    if isinstance(customer.get("address"), dict):
        parts = [customer["address"].get(part) for part in "line1 line2 city state postalCode country".split()]
    else:
        parts = [customer.get(part) for part in "address city state zip country".split()]
    return ", ".join(str(part) for part in parts if part) or "-"


def valid_key(text: str) -> str:
    if re.fullmatch("[!-~]{1,255}", text):
        return text
    raise argparse.ArgumentTypeError("a key has 1 to 255 printable ASCII characters and no spaces")


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Create a customer exactly once.")
    for field, sample in SAMPLE.items():
        option = "--" + re.sub("([A-Z])", r"-\1", field).lower()
        shown = "(default: %(default)s)" if sample else "(default: not sent)"
        parser.add_argument(option, dest=field, default=sample, metavar="TEXT", help=shown)
    parser.add_argument("--idempotency-key", type=valid_key, metavar="KEY", help="of an earlier attempt (default: new)")
    args = parser.parse_args(argv)

    # Made once, outside the retried call: every attempt carries the same key and the same body, so
    # that if Cynco created the customer and only the answer was lost, a repeat gets that answer.
    key = args.idempotency_key or str(uuid.uuid4())
    fields = {field: value for field in SAMPLE if (value := getattr(args, field)) is not None}
    in_doubt = False

    def attempt() -> dict[str, Any]:
        nonlocal in_doubt
        try:
            return create_customer(fields, key)
        except BaseException as error:
            in_doubt = in_doubt or not was_refused(error)
            raise

    try:
        customer = with_retry(attempt)
    except (CyncoAPIError, OSError, ValueError, KeyboardInterrupt) as error:
        # A 409 may be about what a lost attempt created; an invalid body was invalid at every attempt.
        if not in_doubt or (isinstance(error, CyncoAPIError) and error.status_code in {400, 422}):
            raise
        repeat = ["python", sys.argv[0], *(sys.argv[1:] if argv is None else argv)]
        if not args.idempotency_key:
            repeat += ["--idempotency-key", key]
        command = subprocess.list2cmdline(repeat) if os.name == "nt" else shlex.join(repeat)
        try:
            command.encode(sys.stderr.encoding)
        except UnicodeEncodeError:  # this console cannot show it as it is
            command = f"the same command with --idempotency-key {key}"
        print(f"Nobody knows whether the customer was created: {describe(error) or 'interrupted'}.", file=sys.stderr)
        print(f"Idempotency-Key: {key}", file=sys.stderr)
        print(f"Within 24 hours, the same options and key create no second one: {command}", file=sys.stderr)
        return 1

    for label, value in [
        ("Created", customer.get("id")),
        ("Name", customer.get("name")),
        ("Email", customer.get("email")),
        ("Address", format_address(customer)),
        ("Date", customer.get("createdAt")),
    ]:
        print(f"{label:<9}{one_line(value or '-')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
