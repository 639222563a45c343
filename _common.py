"""What the examples share: errors, responses, retries, and exact money."""

import json
import logging
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.exceptions import ChunkedEncodingError
from urllib3.exceptions import HTTPError

BASE_URL = os.environ.get("CYNCO_BASE_URL", "https://app.cynco.io/api/v1").rstrip("/")
TIMEOUT = 30  # seconds; without a timeout, requests waits forever
MAX_WAIT = 65  # seconds; with_retry gives up if Cynco asks for a longer wait
# No response, or (the last of these) one that was cut off midway.
NO_RESPONSE = (requests.ConnectionError, requests.Timeout, ChunkedEncodingError)
NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
DECIMALS = dict.fromkeys(NO_DECIMALS.split(), 0)  # ISO 4217; all others have two
DECIMALS.update(BHD=3, IQD=3, JOD=3, KWD=3, LYD=3, OMR=3, TND=3)
log = logging.getLogger("cynco")  # its warnings appear on stderr


class CyncoError(Exception):
    """An expected failure, such as a missing key: run() shows it as one line."""


class CyncoAPIError(CyncoError):
    """Any response that is not a success. Act on status_code: `code` varies."""

    def __init__(
        self,
        status_code: int,
        code: str,
        message: str,
        details: Sequence[dict[str, str]] = (),  # [{"field": ..., "message": ...}]
        request_id: str | None = None,
        retry_after: float = 0,  # seconds
    ) -> None:
        super().__init__(status_code, code, message)  # as multiprocessing needs
        self.status_code = status_code
        self.code = code
        self.message = message
        self.details = details
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        text = f"{self.status_code} {self.code}: {self.message}"
        for detail in self.details:
            text += f"; {detail.get('field')}: {detail.get('message')}"
        if self.request_id:
            text += f" [{self.request_id}]"
        if self.retry_after:
            text += f"; retry after {self.retry_after:.0f} s"
        return text


def auth_headers() -> dict[str, str]:
    """Return the Authorization header for CYNCO_API_KEY. Raises CyncoError."""
    if not BASE_URL.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise CyncoError("CYNCO_BASE_URL must begin with https://")
    key = os.environ.get("CYNCO_API_KEY", "").strip()
    if not key:
        raise CyncoError(
            "CYNCO_API_KEY is not set. Create one under Settings > API Keys, and run: "
            'export CYNCO_API_KEY=cak_... (PowerShell: $env:CYNCO_API_KEY="cak_..."). '
            "To try the examples without a key: python tests/sandbox.py SCRIPT"
        )
    # Check it here: for a malformed key, requests shows the key in its error.
    if not key.startswith("cak_") or not key.isascii() or len(key.split()) > 1:
        raise CyncoError("CYNCO_API_KEY must be cak_... without quotes, spaces, Bearer")
    return {"Authorization": f"Bearer {key}"}


def handle_response(response: requests.Response) -> dict[str, Any]:
    """Return the envelope of a success, with exact Decimals. Raises CyncoAPIError."""
    if response.status_code == 204:  # 1. A success without a body, as after a DELETE
        return {"success": True, "data": None}
    try:
        envelope = json.loads(response.content, parse_float=Decimal)
    except (ValueError, RecursionError, ArithmeticError):  # not JSON, or absurd
        envelope = None
    if not isinstance(envelope, dict):
        envelope = {}
    # 2. A success: {"success": true, "data": ...}
    is_2xx = 200 <= response.status_code < 300
    if is_2xx and envelope.get("success") is True and "data" in envelope:
        return envelope
    error = envelope.get("error")  # 3. A failure: {"code": ..., "message": ...}
    if not isinstance(error, dict):  # 4. Not Cynco's: a proxy's HTML page, say
        hint = "not a response from Cynco; check CYNCO_BASE_URL and any proxy"
        error = {"code": "UNREADABLE", "message": hint}
    raise CyncoAPIError(
        response.status_code,
        error.get("code", "NO_CODE"),
        error.get("message", "no message"),
        [item for item in error.get("details") or [] if isinstance(item, dict)],
        (envelope.get("meta") or {}).get("requestId"),
        requested_wait(response),
    )


def requested_wait(response: requests.Response) -> float:
    """Return the seconds that Cynco asks us to wait, or 0. See RFC 9110, 10.2.3."""
    retry_after = response.headers.get("Retry-After", "")
    if retry_after.isdecimal():
        return float(retry_after)
    reset = response.headers.get("X-RateLimit-Reset", "")  # Unix seconds
    if response.status_code == 429 and reset.isdecimal():
        return min(60, max(0, float(reset) - time.time()))
    return 0


def with_retry(function: Callable, *arguments: Any, attempts: int = 4) -> Any:
    """Return function(*arguments); after a transient error, wait and call it again."""
    # Only for what is safe to repeat: reads, and writes with an Idempotency-Key (02).
    for attempt in range(1, attempts):  # the last attempt is below
        # Exponential backoff: 0.5, 1, 2, ... 8 s; random, so that clients spread out.
        wait = min(8, 0.5 * 2 ** (attempt - 1)) * random.uniform(0.5, 1)
        try:
            return function(*arguments)
        except NO_RESPONSE as error:
            log.warning("%s; retrying in %.1f s", describe(error), wait)
        except CyncoAPIError as error:
            is_transient = error.status_code == 429 or error.status_code >= 500
            if not is_transient or error.retry_after > MAX_WAIT:
                raise
            wait = max(wait, error.retry_after)
            log.warning("%s; retrying in %.1f s", error, wait)
        time.sleep(wait)
    return function(*arguments)  # the last attempt: raises its error


def describe(error: requests.RequestException) -> str:
    """Return why there is no response. Names the host only: a path may be secret."""
    cause: BaseException = error
    while isinstance(cause.__context__, (OSError, HTTPError)):  # the error behind it
        cause = cause.__context__
    if isinstance(error, requests.exceptions.ProxyError):
        return f"no response through your proxy: {cause}"
    url = getattr(error.request, "url", BASE_URL)
    return f"no response from {urlsplit(url).netloc}: {cause}"


def run(main: Callable[[], int]) -> None:
    """Exit with the code of main(): failures are one line, bugs a traceback."""
    if hasattr(sys.stdout, "reconfigure"):  # IDLE and notebooks have no such method
        sys.stdout.reconfigure(errors="backslashreplace")  # for simple consoles
    try:
        code = main()
        sys.stdout.flush()
    except NO_RESPONSE as error:
        sys.exit(f"Error: {describe(error)}")
    except (CyncoError, requests.RequestException) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
    except OSError as error:  # such as a full disk
        if not isinstance(error, BrokenPipeError):  # `| head` reads no more
            print(f"Error: {error}", file=sys.stderr)
        os._exit(1)  # sys.exit() would flush stdout, and fail again
    sys.exit(code)


def invoice_total(invoice: dict[str, Any]) -> Decimal | None:
    """Return an invoice's total in major units: Decimal("1620.00"), or None."""
    if "total" in invoice:  # as in Cynco's guide: minor units
        return from_minor(invoice["total"], invoice["currency"])
    if invoice["totalAmount"] is None:
        return None
    return from_major(invoice["totalAmount"], invoice["currency"])  # as in OpenAPI


def from_minor(amount: int | str | Decimal, currency: str) -> Decimal:
    """Return 162000 sen as Decimal("1620.00") ringgit. Raises CyncoError."""
    if Decimal(amount) % 1 != 0:
        raise CyncoError(f"{amount} {currency} has a fraction: not in minor units")
    return from_major(Decimal(amount) / 10 ** DECIMALS.get(currency, 2), currency)


def from_major(amount: float | str | Decimal, currency: str) -> Decimal:
    """Return an amount with its currency's decimals: 1620 is Decimal("1620.00") MYR."""
    exact = Decimal(str(amount))
    rounded = round(exact, DECIMALS.get(currency, 2))
    if abs(exact - rounded) < Decimal("0.0001"):  # as in 1620.1000000000001
        return rounded
    return exact  # nothing is rounded away


def format_money(amount: Decimal | None, currency: str) -> str:
    """Return an amount in major units as text: "MYR 1,620.00", or "-" for None."""
    if amount is None:
        return "-"
    return f"{currency} {amount:,}"
