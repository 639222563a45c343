"""Handle errors: provoke four, which create nothing, and learn what to do about each.

In this example you will see:
    1. how the API rejects a request: status, code, message, details, request id
    2. what each status means, and what to do about it
    3. code that handles one status and raises all others again
    4. with_retry (in _common.py), which retries transient errors

The response to a request that failed, with a status of 422:
    {
        "success": false,
        "error": {
            "code": "VALIDATION_ERROR",
            "message": "Validation failed",
            "details": [{"field": "email", "message": "must be a valid email address"}]
        },
        "meta": {"requestId": "req_000004", ...}
    }
For any response that is not a success, handle_response (in _common.py) raises a
CyncoAPIError with these values: status_code, code, message, details, request_id.

Usage:
    python 04_error_handling.py
    python tests/sandbox.py 04_error_handling.py      (needs no account)
"""

import argparse
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

# Decide by status, not by Cynco's code: for a 401, the code is UNAUTHORIZED in the
# guide's shape, but AUTHENTICATION_ERROR in OpenAPI's.
ADVICE = {
    "400": "Malformed request: fix the code that builds it.",
    "401": "Key missing, wrong or revoked: check CYNCO_API_KEY.",
    "403": "Use a key with the scope (permission) that the message names.",
    "404": "No such record or endpoint: check the id and CYNCO_BASE_URL.",
    "409": "It exists, or its Idempotency-Key was used: look for it before you retry.",
    "422": "Invalid fields, which the details name: correct them.",
    "429": "Wait as long as Retry-After or X-RateLimit-Reset says (with_retry does).",
    "5xx": "Cynco had an error: wait, then retry as after no response (with_retry).",
    "none": "No response: retry. Retry a write only with the same Idempotency-Key.",
}


def show_failure(title: str, response: requests.Response) -> None:
    """Show how a request failed."""
    print(title)
    try:
        handle_response(response)
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
        # quote: a "/" in an id would change the path.
        f"{BASE_URL}/customers/{quote(customer_id, safe='')}",
        headers=auth_headers(),
        timeout=TIMEOUT,
    )


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
    """
    try:
        envelope = handle_response(get_customer(customer_id))
    except CyncoAPIError as error:
        # With a wrong CYNCO_BASE_URL, a 404 may come from a server other than Cynco's.
        # handle_response gives it a code of our own, UNREADABLE.
        if error.status_code == 404 and error.code != "UNREADABLE":
            return None
        raise
    return envelope["data"]


def show_retries() -> None:
    """Call, with with_retry, a function that fails twice and then succeeds."""
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
    show_failure("POST /customers with broken JSON", send_broken_json())
    show_failure("GET /invoices with a wrong key", send_wrong_key())
    show_failure(
        "GET /customers/cus_does_not_exist", get_customer("cus_does_not_exist")
    )
    show_failure("POST /customers, bad name and email", send_invalid_customer())
    print("What to do about each status:")
    for status, advice in ADVICE.items():
        print(f"  {status:<5} {advice}")
    print(f"\nfind_customer, when there is none: {find_customer('cus_does_not_exist')}")
    show_retries()
    return 0


if __name__ == "__main__":
    run(main)
