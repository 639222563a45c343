"""Create a customer exactly once, even if the response is lost on the way.

In this example you will see:
    1. a POST request with JSON; with your own key, it creates a real customer
    2. an idempotency key: every attempt sends the same one, so Cynco creates one customer
    3. a 422, which names each invalid field

Usage:
    python 02_create_customer.py --name "Kedai Buku Melati" --email accounts@melati.example
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
    one_line,
    run,
    with_retry,
)

# Only name is required. More: taxId, registrationNumber, website, paymentTerms, notes.
CUSTOMER = {
    "name": "Acme Corp",
    "email": "billing@acme.example",  # --name and --email replace these two
    "phone": "+60 3-2345 6789",
    "address": "Level 12, Menara Acme, Jalan Ampang",
    "city": "Kuala Lumpur",
    "state": "Wilayah Persekutuan",
    "zip": "50450",
    "country": "Malaysia",
    "preferredCurrency": "MYR",
}


def create_customer(customer: dict[str, str], idempotency_key: str) -> dict[str, Any]:
    """Create a customer and return it as stored; for 24 hours, the same key creates no other.

    Raises CyncoAPIError (409: the email exists, 422: a field is invalid) or a requests error.
    """
    response = requests.post(
        f"{BASE_URL}/customers",
        headers={**auth_headers(), "Idempotency-Key": idempotency_key},
        json=customer,
        timeout=TIMEOUT,
        allow_redirects=False,  # a redirect could take the customer's data to another host
    )
    return handle_response(response)["data"]


def format_address(customer: dict[str, Any]) -> str:
    """Return the address on one line; OpenAPI sends it flat, the guide in an object."""
    if isinstance(customer["address"], dict):
        address, fields = customer["address"], "line1 line2 city state postalCode country"
    else:
        address, fields = customer, "address city state zip country"
    return ", ".join(address[field] for field in fields.split() if address.get(field))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Create a customer exactly once.")
    parser.add_argument("--name", default=CUSTOMER["name"])
    parser.add_argument("--email", default=CUSTOMER["email"])
    parser.add_argument("--idempotency-key", help="reuse the key of a failed attempt")
    args = parser.parse_args(argv)
    customer = {**CUSTOMER, "name": args.name, "email": args.email}
    key = args.idempotency_key or str(uuid.uuid4())
    auth_headers()  # without an API key, stop here

    print(f"Idempotency-Key: {key}; to retry safely: --idempotency-key {key}", file=sys.stderr)
    try:
        created = with_retry(lambda: create_customer(customer, key))
    except CyncoAPIError as error:
        if error.status_code != 422:
            raise
        print(f"Error: {one_line(error.message)}", file=sys.stderr)
        for detail in error.details:
            print(one_line(f"  {detail.get('field')}: {detail.get('message')}"), file=sys.stderr)
        return 1
    print(one_line(f"Created  {created['id']} on {created['createdAt']}"))
    print(one_line(f"Name     {created['name']}, {created['email'] or 'no email'}"))
    print(one_line(f"Address  {format_address(created)}"))
    return 0


if __name__ == "__main__":
    run(main)
