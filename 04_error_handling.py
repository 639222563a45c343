"""Handle errors: provoke four of them, harmlessly, and learn what to do about each status.

Read CyncoAPIError, handle_response and with_retry in _common.py first.

In this example you will see:
    1. how the API rejects a request: status, code, message, details, request id
    2. what each status means and what to do about it
    3. with_retry, which retries transient errors

Usage:
    python 04_error_handling.py
"""

import argparse
from collections.abc import Callable

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

# Decide by status: the guide calls a 401 UNAUTHORIZED, OpenAPI AUTHENTICATION_ERROR.
ADVICE = {
    "400": "Malformed request: fix the code that builds it.",
    "401": "Key missing, wrong or revoked: check CYNCO_API_KEY.",
    "403": "The key lacks a scope, which the message names: use a key that has it.",
    "404": "No such record or endpoint: check the id and CYNCO_BASE_URL.",
    "409": "It exists: use it. Or the idempotency key was sent with another body.",
    "422": "Invalid fields, which the details name: correct them.",
    "429": "Too many requests: wait as long as it says, then retry (with_retry).",
    "5xx": "Cynco failed: retry with backoff (with_retry).",
}


def advise(error: Exception) -> str:
    """Return what to do about an error of handle_response or of requests."""
    if not isinstance(error, CyncoAPIError):
        return "No response: retry; a write only with the same Idempotency-Key."
    status = "5xx" if error.status_code >= 500 else str(error.status_code)
    return ADVICE.get(status, "Unexpected: check CYNCO_BASE_URL and any proxy.")


def send_broken_json() -> requests.Response:
    headers = {**auth_headers(), "Content-Type": "application/json"}
    return requests.post(
        f"{BASE_URL}/customers", headers=headers, data='{"name": ', timeout=TIMEOUT
    )


def send_wrong_key() -> requests.Response:
    headers = {"Authorization": "Bearer cak_wrong"}
    return requests.get(f"{BASE_URL}/invoices", headers=headers, timeout=TIMEOUT)


def get_unknown_customer() -> requests.Response:
    url = f"{BASE_URL}/customers/cus_does_not_exist"
    return requests.get(url, headers=auth_headers(), timeout=TIMEOUT)


def send_invalid_customer() -> requests.Response:
    url, customer = f"{BASE_URL}/customers", {"name": "", "email": "not an email address"}
    return requests.post(url, headers=auth_headers(), json=customer, timeout=TIMEOUT)


def provoke(title: str, send: Callable[[], requests.Response]) -> None:
    """Make a request that should fail, and show how it does."""
    print(title)
    try:
        handle_response(send())
        print("  No error: the request succeeded.\n")
    except CyncoAPIError as error:
        print(one_line(f"  {error.status_code} {error.code}: {error.message}"))
        for detail in error.details:
            print(one_line(f"  {detail.get('field')}: {detail.get('message')}"))
        print(one_line(f"  Request id: {error.request_id}"))
        print(f"  {advise(error)}\n")


def show_retries() -> None:
    """Show with_retry on a call that fails twice (pretended) and then succeeds."""
    failures = [CyncoAPIError(503, "INTERNAL_ERROR", "pretended"), requests.Timeout("pretended")]

    def call() -> str:
        if failures:
            raise failures.pop(0)
        return "succeeded"

    print(f"with_retry, when two attempts fail: {with_retry(call)}")


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(description="Provoke errors, harmlessly.").parse_args(argv)

    provoke("POST /customers with broken JSON", send_broken_json)
    provoke("GET /invoices with a wrong key", send_wrong_key)
    provoke("GET /customers/cus_does_not_exist", get_unknown_customer)
    provoke("POST /customers without a name, with a bad email", send_invalid_customer)
    print("What to do about each status:")
    for status, advice in ADVICE.items():
        print(f"  {status:<5} {advice}")
    print(f"  none  {advise(requests.Timeout())}")
    show_retries()
    return 0


if __name__ == "__main__":
    run(main)
