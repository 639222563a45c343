"""Create a customer exactly once, even if the response is lost on the way.

In this example you will see:
    1. a POST request with JSON; with your own API key, it creates a real customer
    2. an idempotency key, a label that you make up for one request: if you send the
       request again with the same label within 24 hours, Cynco creates no second
       customer, but repeats its first response
    3. a 422, which names each invalid field

Usage:
    python 02_create_customer.py --name "Kedai Buku Melati" --email buku@melati.example
    python tests/sandbox.py 02_create_customer.py      (needs no account)
"""

import argparse
import sys
import uuid
from typing import Any

import requests

from _common import (
    BASE_URL,
    TIMEOUT,
    CyncoAPIError,
    auth_headers,
    handle_response,
    run,
    with_retry,
)

# Only name is required. Other fields are taxId, registrationNumber, website,
# paymentTerms and notes.
CUSTOMER = {
    "name": "Acme Corp",
    "email": "billing@acme.example",
    "phone": "+60 3-2345 6789",
    "address": "Level 12, Menara Acme, Jalan Ampang",
    "city": "Kuala Lumpur",
    "state": "Wilayah Persekutuan",
    "zip": "50450",
    "country": "Malaysia",
    "preferredCurrency": "MYR",
}


def create_customer(customer: dict[str, str], idempotency_key: str) -> dict[str, Any]:
    """Create a customer and return it as stored, with its id.

    `idempotency_key`: up to 255 ASCII characters; a new one for each new customer.
    Raises CyncoAPIError: a 409 if another customer already has this email, or if the
    key was already used with different data; a 422 if a field is invalid.
    """
    response = requests.post(
        f"{BASE_URL}/customers",
        headers={**auth_headers(), "Idempotency-Key": idempotency_key},
        json=customer,
        timeout=TIMEOUT,
        allow_redirects=False,  # a redirect could send customer data to another host
    )
    envelope = handle_response(response)
    return envelope["data"]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Create a customer exactly once.")
    parser.add_argument("--name", default=CUSTOMER["name"])
    parser.add_argument("--email", default=CUSTOMER["email"])
    parser.add_argument(
        "--idempotency-key",
        default=str(uuid.uuid4()),
        help="the key of a run that failed, to retry it safely (default: a new one)",
    )
    args = parser.parse_args(argv)
    key = args.idempotency_key
    if not key.isascii() or not 1 <= len(key) <= 255:
        parser.error("--idempotency-key must be 1 to 255 ASCII characters")
    auth_headers()  # without an API key, stop here, before printing anything

    customer = {**CUSTOMER, "name": args.name, "email": args.email}
    # Print the key before the request: whatever happens, you can retry with it.
    print(f"To retry, run this command with --idempotency-key {key}", file=sys.stderr)
    try:
        created = with_retry(create_customer, customer, key)
    except CyncoAPIError as error:
        if error.status_code != 422:
            raise
        print(f"Error: {error.message}", file=sys.stderr)
        for detail in error.details:
            print(f"  {detail.get('field')}: {detail.get('message')}", file=sys.stderr)
        print(f"  Request id: {error.request_id}", file=sys.stderr)
        return 1
    print(f"Created {created['id']}: {created['name']}")
    return 0


if __name__ == "__main__":
    run(main)
