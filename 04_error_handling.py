"""Handle errors: provoke four of them, harmlessly, and learn what to do about each.

Read CyncoAPIError, handle_response and with_retry in _common.py first.

In this example you will see:
    1. how the API rejects a request: status, code, message, details, request id
    2. what each status means, and what to do about it
    3. code that acts on one status and lets all others through
    4. with_retry, which retries transient errors

Usage:
    python 04_error_handling.py
    python tests/sandbox.py 04_error_handling.py      (needs no account)
"""

import argparse
from collections.abc import Callable
from urllib.parse import quote

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

# Decide by status, not by code: for a 401, the code is UNAUTHORIZED in the guide, and
# AUTHENTICATION_ERROR in OpenAPI.
ADVICE = {
    "400": "Malformed request: fix the code that builds it.",
    "401": "Key missing, wrong or revoked: check CYNCO_API_KEY.",
    "403": "Use a key with the scope (permission) that the message names.",
    "404": "No such record or endpoint: check the id and CYNCO_BASE_URL.",
    "409": "It exists: use it. Or the Idempotency-Key was used with other data.",
    "422": "Invalid fields, which the details name: correct them.",
    "429": "Too many requests: wait as long as it says, then retry (with_retry).",
    "5xx": "Cynco had an error: retry after growing waits (with_retry).",
    "none": "No response: retry; a write only with the same Idempotency-Key.",
}


def provoke(title: str, send: Callable[[], requests.Response]) -> None:
    """Send a request that should fail, and show how it fails."""
    print(title)
    try:
        handle_response(send())
        print("  No error: the request succeeded.\n")
    except CyncoAPIError as error:
        print(f"  {error.status_code} {error.code}: {error.message}")
        for detail in error.details:
            print(f"  {detail.get('field')}: {detail.get('message')}")
        print(f"  Request id: {error.request_id}")
        print(f"  {advise(error.status_code)}\n")


def advise(status_code: int) -> str:
    if status_code >= 500:
        return ADVICE["5xx"]
    return ADVICE.get(str(status_code), "Unexpected: check CYNCO_BASE_URL.")


def send_broken_json() -> requests.Response:
    return requests.post(
        f"{BASE_URL}/customers",
        headers={**auth_headers(), "Content-Type": "application/json"},
        data='{"name": ',
        timeout=TIMEOUT,
        allow_redirects=False,
    )


def send_wrong_key() -> requests.Response:
    return requests.get(
        f"{BASE_URL}/invoices",
        headers={"Authorization": "Bearer cak_wrong"},
        timeout=TIMEOUT,
    )


def get_customer(customer_id: str) -> requests.Response:
    return requests.get(
        # A "/" in an id must not change the path.
        f"{BASE_URL}/customers/{quote(customer_id, safe='')}",
        headers=auth_headers(),
        timeout=TIMEOUT,
    )


def get_unknown_customer() -> requests.Response:
    return get_customer("cus_does_not_exist")


def send_invalid_customer() -> requests.Response:
    return requests.post(
        f"{BASE_URL}/customers",
        headers=auth_headers(),
        json={"name": "", "email": "not an email address"},
        timeout=TIMEOUT,
        allow_redirects=False,
    )


def find_customer(customer_id: str) -> dict | None:
    """Return a customer, or None if Cynco has none with this id.

    Raises CyncoAPIError for any other failure: a 401 does not mean "no such customer".
    Nor does a 404 that is not from Cynco: handle_response gives it the code UNREADABLE.
    """
    try:
        envelope = handle_response(get_customer(customer_id))
    except CyncoAPIError as error:
        if error.status_code == 404 and error.code != "UNREADABLE":
            return None
        raise
    return envelope["data"]


def show_retries() -> None:
    """Show with_retry on a function with two simulated failures, then a success."""
    failures = [
        CyncoAPIError(503, "INTERNAL_ERROR", "simulated"),
        requests.Timeout("simulated"),
    ]

    def fail_twice() -> str:
        if failures:
            raise failures.pop(0)
        return "succeeded"

    print(f"with_retry, when two attempts fail: {with_retry(fail_twice)}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Provoke errors, harmlessly.")
    parser.parse_args(argv)
    auth_headers()  # without an API key, stop here

    provoke("POST /customers with broken JSON", send_broken_json)
    provoke("GET /invoices with a wrong key", send_wrong_key)
    provoke("GET /customers/cus_does_not_exist", get_unknown_customer)
    provoke("POST /customers without a name, with a bad email", send_invalid_customer)
    print("What to do about each status:")
    for status, advice in ADVICE.items():
        print(f"  {status:<5} {advice}")
    print(f"\nfind_customer, when there is none: {find_customer('cus_does_not_exist')}")
    show_retries()
    return 0


if __name__ == "__main__":
    run(main)
