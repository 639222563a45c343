"""Meet the errors of the API, harmlessly, and learn what to do about each.

You will see four errors provoked for real (nothing is created), the others explained, and then
with_retry at work.

Usage:
    python 04_error_handling.py
"""

import argparse
import sys
from collections.abc import Callable, Sequence

import requests

from _common import BASE_URL, TIMEOUT, CyncoAPIError, auth_headers, handle_response, with_retry
from _common import one_line, one_line_errors


def explain(error: Exception) -> tuple[str, str]:
    """Return what happened and what to do. Decide by status: the codes differ between publications."""
    match error:
        case CyncoAPIError(status_code=400):
            return "The request is malformed.", "Fix the code that builds it; repeating does not help."
        case CyncoAPIError(status_code=401):
            return "The key is missing, wrong or revoked.", "Check CYNCO_API_KEY against Settings > API Keys."
        case CyncoAPIError(status_code=403):
            return "The key lacks a scope; the message names it.", "Use a key that has it: Settings > API Keys."
        case CyncoAPIError(status_code=404):
            return "No such record in this organisation.", "Check the id (deleted, perhaps?) and CYNCO_BASE_URL."
        case CyncoAPIError(status_code=409):
            return "It exists, or the idempotency key had other data.", "Use what exists; a new key is for new things."
        case CyncoAPIError(status_code=422):
            return "Fields are invalid; the details name each.", "Correct them, or show them to whoever typed them."
        case CyncoAPIError(status_code=429):
            return "Too many requests this minute.", "Wait as long as the answer says, then repeat: with_retry does."
        case CyncoAPIError(status_code=status) if status >= 500:
            return "Cynco had an internal error.", "Repeat with growing waits: with_retry does. Keep the request id."
        case requests.Timeout():
            return "No answer in time.", "It may have been done: repeat a write only with the same Idempotency-Key."
        case requests.ConnectionError():
            return "No connection.", "Check network and proxy, then repeat: with_retry does."
    return "Not an answer that Cynco describes.", "Check CYNCO_BASE_URL and any proxy."


def show(title: str, error: Exception) -> None:
    """Print an error, as far as it was really answered, and its explanation as a small table."""
    happened, advice = explain(error)
    print(title)
    if isinstance(error, CyncoAPIError) and error.message:
        print(f"  came back  {one_line(f'{error.status_code} {error.code}: {error.message}')}")
        for detail in error.details:
            print(f"  detail     {one_line(detail.get('field'))}: {one_line(detail.get('message'))}")
        print(f"  request    {one_line(error.request_id or '-')}")
    print(f"  meaning    {happened}")
    print(f"  to do      {advice}\n")


def send_broken_json() -> requests.Response:
    headers = {**auth_headers(), "Content-Type": "application/json"}
    return requests.post(f"{BASE_URL}/customers", headers=headers, data='{"name": ', timeout=TIMEOUT)


def use_wrong_key() -> requests.Response:
    return requests.get(f"{BASE_URL}/invoices", headers={"Authorization": "Bearer cak_wrong"}, timeout=TIMEOUT)


def get_unknown_customer() -> requests.Response:
    return requests.get(f"{BASE_URL}/customers/cus_does_not_exist", headers=auth_headers(), timeout=TIMEOUT)


def send_invalid_customer() -> requests.Response:
    customer = {"name": "", "email": "not an email address"}
    return requests.post(f"{BASE_URL}/customers", headers=auth_headers(), json=customer, timeout=TIMEOUT)


def provoke(status: int, title: str, call: Callable[[], requests.Response]) -> None:
    """Make a call that should fail with `status`, and show how it does."""
    try:
        handle_response(call())
        print(f"{status}  {title}: no error here, the call succeeded.\n")
    except CyncoAPIError as error:
        show(f"{status}  {title}" + (f" (but {error.status_code} came)" if error.status_code != status else ""), error)


def show_retries() -> None:
    """A failure that passes is worth repeating, a refusal is not."""
    attempts = 0

    def recover() -> str:
        nonlocal attempts
        attempts += 1
        if attempts <= 2:
            raise CyncoAPIError(503, "INTERNAL_ERROR", "pretended, to show a wait")
        return "succeeded"

    outcome = with_retry(recover)
    print(f"with_retry and a call that fails twice with 503: {outcome} at attempt {attempts}.")

    attempts = 0

    def refuse() -> dict[str, object]:
        nonlocal attempts
        attempts += 1
        return handle_response(send_invalid_customer())

    try:
        with_retry(refuse)
        outcome = "no error here"
    except CyncoAPIError as error:
        outcome = str(error.status_code)
    print(f"with_retry and an invalid customer: {outcome}, sent {'once' if attempts == 1 else f'{attempts} times'}.")


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    argparse.ArgumentParser(description="Meet the errors of the API, harmlessly.").parse_args(argv)

    provoke(400, "POST /customers with broken JSON", send_broken_json)
    provoke(401, "GET /invoices with a wrong key", use_wrong_key)
    provoke(404, "GET /customers/cus_does_not_exist", get_unknown_customer)
    provoke(422, "POST /customers without a name, with a bad email", send_invalid_customer)
    for status in (403, 409, 429, 500):
        show(f"{status}  not provoked", CyncoAPIError(status, "", ""))
    show("no connection", requests.ConnectionError())
    show("no answer in time", requests.Timeout())
    show_retries()
    return 0


if __name__ == "__main__":
    sys.exit(main())
