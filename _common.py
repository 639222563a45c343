"""What the six examples share: errors, responses and retries first, then money and tables."""

import json
import logging
import os
import random
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import requests

BASE_URL = (os.environ.get("CYNCO_BASE_URL") or "https://app.cynco.io/api/v1").strip().rstrip("/")
TIMEOUT = 30  # seconds of silence before requests gives up; without it, requests waits forever
MAX_WAIT = 65  # seconds that with_retry may sleep: a little more than a rate limit window
RETRY_STATUSES = {408, 429, *range(500, 600)}
NO_RESPONSE = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
# ISO 4217: the number of decimals of each currency that does not have two.
NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split()
DECIMALS = dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3) | dict.fromkeys(NO_DECIMALS, 0)

log = logging.getLogger("cynco")


@dataclass(eq=False)  # hashable, as any exception
class CyncoAPIError(Exception):
    """Raised for any response that is not a successful Cynco envelope; decide by `status_code`.

    `details`: a {"field": ..., "message": ...} for each invalid field. `retry_after`: seconds.
    """

    status_code: int
    code: str
    message: str
    details: Sequence[dict[str, Any]] = ()
    request_id: str | None = None
    retry_after: float | None = None

    def __str__(self) -> str:
        fields = "".join(f"; {item.get('field')}: {item.get('message')}" for item in self.details)
        request = f" [{self.request_id}]" if self.request_id else ""
        return f"{self.status_code} {self.code}: {self.message}{fields}{request}"


def handle_response(response: requests.Response) -> dict[str, Any]:
    """Return the envelope of a successful response; its decimal numbers are exact Decimals.

    Raises CyncoAPIError for any other response, even if it is a proxy's HTML page.
    """
    if response.status_code == 204:  # success without a body, as after a DELETE
        return {"success": True, "data": None}
    code, message = "UNREADABLE", "not a Cynco API response; check CYNCO_BASE_URL and any proxy"
    details, request_id = [], None
    with suppress(ValueError, KeyError, TypeError, RecursionError):  # else the defaults stay
        envelope = json.loads(response.content, parse_float=Decimal)
        if 200 <= response.status_code < 300 and envelope["success"] is True and "data" in envelope:
            return envelope
        error = envelope["error"]
        message, code = error["message"], error["code"]
        details = [item for item in error.get("details") or [] if isinstance(item, dict)]
        request_id = envelope["meta"]["requestId"]
    wait = requested_wait(response)
    raise CyncoAPIError(response.status_code, code, message, details, request_id, wait)


def requested_wait(response: requests.Response) -> float | None:
    """Return the seconds that the server asks us to wait (RFC 9110, section 10.2.3), if it does."""
    retry_after = response.headers.get("Retry-After", "")
    reset = response.headers.get("X-RateLimit-Reset", "")
    if retry_after.isdecimal():
        return float(retry_after)
    if response.status_code == 429 and reset.isdecimal():
        return min(60, max(0, float(reset) - time.time()))  # the window is one minute
    return None


def with_retry(call: Callable[[], Any], attempts: int = 4) -> Any:
    """Return call(), retried with exponential backoff on transient errors; raise the last one.

    Wrap only what is safe to repeat: reads, and writes that send the same Idempotency-Key again.
    """
    for tried in range(1, attempts):
        try:
            return call()
        except (CyncoAPIError, requests.RequestException) as error:
            # Random, so that clients that failed together do not return together.
            backoff = min(8, 0.5 * 2 ** (tried - 1)) * random.uniform(0.5, 1)
            retry_after = getattr(error, "retry_after", None)  # of a CyncoAPIError
            if isinstance(error, requests.HTTPError) and error.response is not None:
                retry_after = requested_wait(error.response)  # of raise_for_status()
            wait = max(backoff, retry_after or 0)
            if wait > MAX_WAIT or not is_transient(error):
                raise
            log.warning(f"{describe(error)}; retrying in {wait:.1f} s ({tried + 1} of {attempts})")
        time.sleep(wait)
    return call()  # the last attempt: its error is raised


def is_transient(error: Exception) -> bool:
    if isinstance(error, NO_RESPONSE):
        return "certificate verify failed" not in describe(error)
    if isinstance(error, requests.HTTPError):  # from response.raise_for_status()
        return getattr(error.response, "status_code", None) in RETRY_STATUSES
    return isinstance(error, CyncoAPIError) and error.status_code in RETRY_STATUSES


def describe(error: BaseException) -> str:
    """Return an error as one line; without a response, name the host and the innermost cause."""
    if not isinstance(error, NO_RESPONSE):
        return one_line(error)
    problem = "no response from" if isinstance(error, requests.Timeout) else "no connection to"
    host = urlsplit(str(error.request.url) if error.request else BASE_URL).netloc
    while not getattr(error, "strerror", "") and (cause := error.__cause__ or error.__context__):
        error = cause
    return one_line(f"{problem} {host}: {getattr(error, 'strerror', None) or error}")


def one_line(text: object) -> str:
    """Return text with line breaks and control characters replaced, safe for a terminal."""
    return "".join(char if char.isprintable() else " " for char in str(text))


class ConfigError(Exception):
    """Raised when an environment variable is missing or cannot be used."""


def auth_headers() -> dict[str, str]:
    """Return the Authorization header for CYNCO_API_KEY. Raises ConfigError."""
    if not BASE_URL.startswith(("https://", "http://localhost:", "http://127.0.0.1:")):
        raise ConfigError("CYNCO_BASE_URL must begin with https:// or http://localhost:PORT")
    key = os.environ.get("CYNCO_API_KEY", "").strip()
    # If a header cannot carry the key, requests would show it in its error message.
    if not (key.startswith("cak_") and key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError(
            "CYNCO_API_KEY is not set, or is not a key; create one under Settings > API Keys, run: "
            'export CYNCO_API_KEY=cak_... (PowerShell: $env:CYNCO_API_KEY="cak_...")'
        )
    return {"Authorization": f"Bearer {key}"}


def run(main: Callable[[], int]) -> None:
    """Exit with the code of main(); an expected error is one line on stderr and exit code 1.

    Any other exception keeps its traceback: it is a bug, and you need its name and its line.
    """
    if hasattr(sys.stdout, "reconfigure"):  # IDLE and notebooks have a stdout of their own
        sys.stdout.reconfigure(errors="backslashreplace")  # show \u6c38 if it cannot be encoded
    try:
        code = main()
        sys.stdout.flush()  # so that a closed pipe shows here, not at exit
        sys.exit(code)
    except (ConfigError, CyncoAPIError, requests.RequestException) as error:
        sys.exit(f"Error: {describe(error)}")
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
    except BrokenPipeError:  # the reader of a pipe (`| head`) has closed it
        os._exit(1)  # sys.exit would flush, and fail, again


def read_amount(record: dict[str, Any], minor: str, major: str, currency: str) -> Decimal | None:
    """Return an amount in major units from either published shape; None if it is null.

    The guide's field `minor` has minor units ("total": 162000), OpenAPI's field `major` has major
    units ("totalAmount": 1620.00). Raises KeyError if the record has neither.
    """
    decimals = DECIMALS.get(currency, 2)
    field, shift = (minor, -decimals) if minor in record else (major, 0)
    if record[field] is None:
        return None
    # scaleb(-2) divides by 100. Rounding undoes float noise, such as 0.30000000000000004.
    return round(Decimal(str(record[field])).scaleb(shift), decimals)


def format_money(amount: Decimal | None, currency: str) -> str:
    """Return an amount in major units as text: "MYR 1,620.00", "JPY 500"; "-" for None."""
    return "-" if amount is None else f"{currency} {amount:,.{DECIMALS.get(currency, 2)}f}"


def print_table(header: list[str], rows: Iterable[list[str]], right: Sequence[str] = ()) -> None:
    """Print aligned columns, those in `right` aligned right; ValueError if a row does not fit."""
    table = [header, *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(map(display_width, column)) for column in zip(*table, strict=True)]
    table.insert(1, ["-" * width for width in widths])
    for row in table:
        line = ""
        for name, cell, width in zip(header, row, widths):
            space = " " * (width - display_width(cell))
            line += space + cell + "  " if name in right else cell + space + "  "
        print(line.rstrip())


def display_width(text: str) -> int:
    """Return how many columns a terminal needs: two for a Chinese or Japanese character."""
    return len(text) + sum(unicodedata.east_asian_width(char) in "WF" for char in text)
