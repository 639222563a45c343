"""Create a customer exactly once, even if the response is lost on the way.

In this example you will see:
    1. a POST request with JSON; with your own API key, it creates a real customer
    2. an idempotency key: a label that you make up for one request. If you send the
       same label again within 24 hours, Cynco creates no second customer: it repeats
       its first response
    3. a 422, which names each invalid field

Usage:
    python 02_create_customer.py --name "Kedai Buku Melati" --email buku@melati.example
    python tests/sandbox.py 02_create_customer.py      (needs no account)
"""

import argparse
import sys
import uuid

import requests

from _common import (
    BASE_URL,
    NO_RESPONSE,
    TIMEOUT,
    CyncoAPIError,
    CyncoError,
    auth_headers,
    handle_response,
    run,
    with_retry,
)

# Only name is required. Other fields are taxId, registrationNumber, website,
# paymentTerms and notes. Send the address as flat fields. In the guide's shape, it
# comes back nested: {"address": {"line1": ..., "city": ..., "postalCode": ...}}.
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


def create_customer(customer: dict, idempotency_key: str) -> dict:
    """Create a customer and return it as stored, with its id.

    `idempotency_key`: 1 to 255 ASCII characters; a new one for each customer. If it was
    used in the last 24 hours, you get that first customer back (some servers send a 409
    if the data differ).
    Raises CyncoAPIError: a 422 if a field is invalid; a 409 if another customer has
    this email.
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
    auth_headers()  # raises now if there is no API key, before anything is printed

    customer = {**CUSTOMER, "name": args.name, "email": args.email}
    # Print the key before the request: you have it even if this program crashes.
    print(f"Idempotency-Key: {key}", file=sys.stderr)
    retry_hint = f"To retry safely, run this command with --idempotency-key {key}"
    try:
        # Each attempt sends the same key, so at most one of them creates a customer.
        created = with_retry(create_customer, customer, key)
    except NO_RESPONSE:  # a timeout or a lost connection: there may be a new customer
        print(retry_hint, file=sys.stderr)
        raise
    except CyncoAPIError as error:
        if error.status_code == 422:
            print(f"Error: {error.message}", file=sys.stderr)
            for detail in error.details:
                field = detail.get("field")
                print(f"  {field}: {detail.get('message')}", file=sys.stderr)
            print(f"  Request id: {error.request_id}", file=sys.stderr)
            return 1
        # 400 to 428: refused, so a retry is no use. 429 (too many requests) and 5xx may
        # pass: then a retry with the same key can succeed.
        if not 400 <= error.status_code < 429:
            print(retry_hint, file=sys.stderr)
        raise
    # A key that was used before returns its old customer. Is this one ours?
    if created["name"] != args.name or created["email"] != args.email:
        raise CyncoError(
            f"Cynco returned {created['id']}: {created['name']}, {created['email']}. "
            "If that is not your customer, the idempotency key was used before, and "
            "nothing was created now"
        )
    print(f"Created {created['id']}: {created['name']}")
    return 0


if __name__ == "__main__":
    run(main)
