"""What the examples share: the address, the key, errors, retries, and exact money.

To use a function from this file in your own program, copy the whole file.
"""

import logging
import os
import random
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import requests
from requests.exceptions import ChunkedEncodingError, InvalidURL

BASE_URL = os.environ.get("CYNCO_BASE_URL", "https://app.cynco.io/api/v1").rstrip("/")
TIMEOUT = 30  # seconds; without a timeout, requests waits forever
# What requests raises when no response comes, or only part of one.
NO_RESPONSE = (requests.ConnectionError, requests.Timeout, ChunkedEncodingError)
log = logging.getLogger("cynco")  # its warnings appear on stderr


class CyncoError(Exception):
    """An expected failure, such as a missing key: run() shows it as one line."""


class CyncoAPIError(CyncoError):
    """A response that is not a success. Decide by status_code: `code` varies."""

    def __init__(
        self,
        status_code: int,
        code: str,
        message: str,
        details: list | None = None,  # [{"field": ..., "message": ...}]
        request_id: str | None = None,
        retry_after: float = 0,  # seconds
    ) -> None:
        self.status_code = status_code
        self.code = code
        self.message = message
        self.details = details or []
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        text = f"{self.status_code} {self.code}: {self.message}"
        for detail in self.details:
            if isinstance(detail, dict):
                text += f"; {detail.get('field')}: {detail.get('message')}"
            else:
                text += f"; {detail}"
        if self.request_id:
            text += f" [{self.request_id}]"
        return text


def auth_headers() -> dict:
    """Return the Authorization header for CYNCO_API_KEY. Raises CyncoError."""
    # Without https, others on the network could read the key.
    if not BASE_URL.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise CyncoError("CYNCO_BASE_URL must begin with https://")
    key = os.environ.get("CYNCO_API_KEY", "").strip()
    if not key:
        raise CyncoError(
            "CYNCO_API_KEY is not set. Create one under Settings > API Keys, and run: "
            'export CYNCO_API_KEY=cak_... (PowerShell: $env:CYNCO_API_KEY="cak_..."). '
            "To try the examples without a key: python tests/sandbox.py SCRIPT"
        )
    # Check it here: if requests rejected the key, its error would print it.
    has_space = len(key.split()) > 1
    if has_space or not key.startswith("cak_") or not key.isascii():
        raise CyncoError("CYNCO_API_KEY must be cak_... without quotes, spaces, Bearer")
    return {"Authorization": f"Bearer {key}"}


def handle_response(response: requests.Response) -> dict:
    """Return the JSON of a success as a dict. Raises CyncoAPIError for anything else.

    A success is {"success": true, "data": ...}.
    A failure is {"success": false, "error": {...}, "meta": {...}}.
    """
    status = response.status_code
    if status == 204:  # a success without a body, as after a DELETE
        return {"success": True, "data": None}
    details = None
    request_id = None
    try:
        envelope = response.json(parse_float=Decimal)  # as a float, 1620.1 is inexact
        if status < 300 and envelope["success"] is True:
            return envelope
        error = envelope["error"]
        code = error["code"]
        message = error["message"]
        details = error.get("details")
        meta = envelope.get("meta") or {}
        request_id = meta.get("requestId")
    except (ValueError, TypeError, KeyError):  # not Cynco's: a proxy's HTML page, say
        code = "UNREADABLE"
        message = "not a response from Cynco; check CYNCO_BASE_URL and any proxy"
    wait = seconds_to_wait(response)
    raise CyncoAPIError(status, code, message, details, request_id, wait)


def seconds_to_wait(response: requests.Response) -> float:
    """Return how many seconds Cynco asks us to wait, or 0 (RFC 9110, 10.2.3)."""
    retry_after = response.headers.get("Retry-After", "")
    if retry_after.isdecimal():
        return float(retry_after)
    # OpenAPI's shape sends only this: the Unix time when the limit per minute resets.
    reset = response.headers.get("X-RateLimit-Reset", "")
    if response.status_code == 429 and reset.isdecimal():
        seconds = float(reset) - time.time()
        # Never more than a minute, even if our clock is wrong.
        return min(60, max(0, seconds))
    return 0


def with_retry(function: Callable, *arguments: Any, attempts: int = 4) -> Any:
    """Return function(*arguments); after a transient error, wait and call it again.

    Only for what is safe to repeat: reads, and writes with an Idempotency-Key (see 02).
    Pass the function itself, not its result: with_retry(get_page, session, params).
    Raises the error of the last attempt, and at once any error that is not transient.
    """
    backoff = 0.5  # seconds; then 1, then 2
    for _ in range(attempts - 1):
        wait = backoff * random.uniform(0.5, 1)  # random: not all clients at once
        try:
            return function(*arguments)
        except NO_RESPONSE as error:
            reason = describe(error)
        except CyncoAPIError as error:
            is_transient = error.status_code == 429 or error.status_code >= 500
            if not is_transient:
                raise
            reason = str(error)
            wait = max(wait, error.retry_after)
        log.warning("%s; retrying in %.1f s", reason, wait)
        time.sleep(wait)
        backoff *= 2
    return function(*arguments)  # the last attempt: its error is not caught


def describe(error: BaseException) -> str:
    """Return why no response came: "no response from ...: Connection refused"."""
    # Find the first error, whose text is the plainest. requests keeps urllib3's error
    # in __context__, and urllib3 keeps the system's in __cause__.
    cause = error.__context__ or error
    while cause.__cause__:
        cause = cause.__cause__
    return f"no response from {BASE_URL}: {cause}"


def run(main: Callable[[], int]) -> None:
    """Exit with the code that main() returns; show an expected failure as one line."""
    # A console that cannot show a character, as on Windows, shows \u6c38 instead.
    if hasattr(sys.stdout, "reconfigure"):  # IDLE and notebooks have no such method
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        sys.exit(main())
    except NO_RESPONSE as error:
        sys.exit(f"Error: {describe(error)}")
    except (CyncoError, InvalidURL) as error:  # InvalidURL: a typo in CYNCO_BASE_URL
        sys.exit(f"Error: {error}")
    except requests.RequestException:
        raise  # also an OSError, but most likely a bug: show the traceback
    except OSError as error:  # a full disk, say
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit("\nStopped.")


# Money. In Cynco's guide, amounts are in minor units (162000 sen); in its OpenAPI
# description, in major units (1620.00 ringgit). Here, they become Decimals, which are
# exact: as floats, 0.1 + 0.2 is not 0.3.

NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"


def decimals(currency: str) -> int:
    """Return how many decimals a currency has (ISO 4217)."""
    if currency in NO_DECIMALS.split():
        return 0
    if currency in THREE_DECIMALS.split():
        return 3
    return 2


def from_minor(amount: int | str, currency: str) -> Decimal:
    """Return 162000 sen as Decimal("1620.00") ringgit.

    Raises CyncoError for an amount with a decimal point: it is in major units.
    """
    if "." in str(amount):
        raise CyncoError(f"{amount} {currency} has a decimal point: not in minor units")
    units = 10 ** decimals(currency)  # 100 sen are a ringgit
    return from_major(Decimal(amount) / units, currency)


def from_major(amount: float | str | Decimal, currency: str) -> Decimal:
    """Return an amount with its currency's decimals: 1620 is Decimal("1620.00") MYR.

    Raises CyncoError for one with more decimals, such as 16.205 ringgit.
    """
    exact = Decimal(str(amount))  # str: Decimal(0.1) is 0.1000000000000000055
    rounded = round(exact, decimals(currency))
    # Up to 0.0001 is rounding noise from a server's floats: 1620.1000000000001.
    if abs(exact - rounded) > Decimal("0.0001"):
        raise CyncoError(f"{exact} {currency} has more decimals than {currency} has")
    return rounded


def invoice_total(invoice: dict) -> Decimal | None:
    """Return an invoice's total in major units; None if OpenAPI's is null."""
    if "total" in invoice:  # the guide's shape
        return from_minor(invoice["total"], invoice["currency"])
    if invoice["totalAmount"] is None:
        return None
    return from_major(invoice["totalAmount"], invoice["currency"])


def format_money(amount: Decimal | None, currency: str) -> str:
    """Return an amount as text: "MYR 1,620.00", or "-" for None."""
    if amount is None:
        return "-"
    return f"{currency} {amount:,}"
