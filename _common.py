"""What the six examples share: address, key, reading an answer, repeating a call, money, tables.

Nothing is checked on import: every function looks when it is called.
"""

import io
import json
import logging
import os
import random
import re
import sys
import time
import traceback
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timezone
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

BASE_URL = (os.environ.get("CYNCO_BASE_URL", "").strip() or "https://app.cynco.io/api/v1").rstrip("/")
TIMEOUT = 30  # seconds of silence before a call is given up; requests alone would wait for ever
RETRY_STATUSES = {408, 429, 500, 502, 503, 504}
MAX_WAIT = 60  # seconds; a longer wait is for the caller to plan, not to sleep through

# ISO 4217: the currencies whose smallest unit is not a hundredth, with their number of decimals.
DECIMALS = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}

logger = logging.getLogger("cynco")
T = TypeVar("T")


def auth_headers() -> dict[str, str]:
    """Return the Authorization header for CYNCO_API_KEY; exit with one line if no key can be sent."""
    host, this_machine = r"[\w-]{1,63}(\.[\w-]{1,63})*", r"localhost|127\.\d+\.\d+\.\d+|\[::1\]"
    if not re.fullmatch(rf"(https://{host}|http://({this_machine}))(:\d+)?(/[^?#\s]*)?", BASE_URL, re.IGNORECASE):
        sys.exit("CYNCO_BASE_URL must look like https://app.cynco.io/api/v1 (plain http only for this machine).")
    key = os.environ.get("CYNCO_API_KEY", "").strip()
    # Only characters that a header can carry: otherwise requests would quote the key in its complaint.
    if not re.fullmatch(r"cak_[!-~]+", key):
        sys.exit(
            f"CYNCO_API_KEY is {'not a key (cak_...)' if key else 'not set'}. Create one under Settings > API Keys, "
            'then run: export CYNCO_API_KEY=cak_... (PowerShell: $env:CYNCO_API_KEY="cak_..."). '
            "No account? Run: python tests/sandbox.py 01_list_invoices.py"
        )
    return {"Authorization": f"Bearer {key}"}


@dataclass(eq=False)
class CyncoAPIError(Exception):
    """An answer that is not a success, or not one of Cynco's at all.

    Decide by `status_code`: Cynco's publications give one status different `code`s.
    `details`: {"field": ..., "message": ...} each. `retry_after`: seconds the server asks to wait.
    """

    status_code: int
    code: str
    message: str
    details: list[dict[str, Any]] = field(default_factory=list)
    request_id: str | None = None
    retry_after: float | None = None

    def __str__(self) -> str:
        fields = "; ".join(f"{detail.get('field', '-')}: {detail.get('message', '-')}" for detail in self.details)
        text = f"{self.status_code} {self.code}: {self.message}" + (f" ({fields})" if fields else "")
        return one_line(text + (f" [{self.request_id}]" if self.request_id else ""))


def handle_response(response: requests.Response, data_type: type = object) -> dict[str, Any]:
    """Return the envelope of a successful answer, its numbers with a fraction as exact Decimals.

    Raises CyncoAPIError, and nothing else, for any other answer: an error envelope, a body that is
    no envelope, `data` that is no `data_type`, a redirect (following one turns a POST into a GET).
    """
    if response.status_code == 204 and not response.history and data_type is object:
        return {"success": True, "data": None}
    try:
        body = json.loads(response.content, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        body = None
    if isinstance(body, dict) and 200 <= response.status_code < 300 and not response.history:
        data = body.get("data")
        rows = data if isinstance(data, list) else [] if data is None else [data]
        parts = [body[part] for part in ("pagination", "links", "meta") if body.get(part) is not None]
        well_formed = isinstance(data, data_type) and all(isinstance(part, dict) for part in [*rows, *parts])
        if body.get("success") is not False and well_formed:
            return body
    raise _api_error(response, body)


def _api_error(response: requests.Response, body: Any) -> CyncoAPIError:
    """Read what an answer tells of its failure, where any part may be missing or malformed."""
    envelope = body if isinstance(body, dict) else {}
    error, meta = (part if isinstance(part, dict) else {} for part in map(envelope.get, ("error", "meta")))
    code, message, details = error.get("code"), error.get("message"), error.get("details")
    if response.history:
        code, message = "REDIRECTED", f"moved to {response.url.partition('?')[0]}; set CYNCO_BASE_URL to match"
    elif body is None and 200 <= response.status_code < 300 and response.content.lstrip().startswith(b"{"):
        code, message = "BROKEN_OFF", "the answer is incomplete"
    return CyncoAPIError(
        response.status_code,
        str(code or "UNREADABLE"),
        str(message or "not an answer of the Cynco API; check CYNCO_BASE_URL and any proxy"),
        [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else [],
        str(meta["requestId"]) if meta.get("requestId") else None,
        _server_wait(response),
    )


def _server_wait(response: requests.Response) -> float | None:
    """Return the seconds the server asks to wait (RFC 9110, section 10.2.3), None if it does not say."""
    retry_after = response.headers.get("Retry-After", "").strip()
    reset = response.headers.get("X-RateLimit-Reset", "").strip()
    if re.fullmatch("[0-9]{1,15}", retry_after):
        return int(retry_after)
    until = _http_date(retry_after)
    if until is None and response.status_code == 429 and re.fullmatch("[0-9]{1,12}", reset):
        until = int(reset)
    # Points in time on the server's clock are measured by its own Date, whatever ours says.
    now = _http_date(response.headers.get("Date", "")) or time.time()
    return until - now if until and until > now else None


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp()
    except (ValueError, OverflowError):
        return None


def with_retry(call: Callable[[], T], attempts: int = 4, sleep: Callable[[float], object] | None = None) -> T:
    """Return call(), repeated after growing waits (seconds) while it fails for a passing reason.

    Wrap only what is safe to repeat: reads, and writes that send one Idempotency-Key every time.
    Raises the last CyncoAPIError or requests exception; a `retry_after` above MAX_WAIT is not slept.
    """
    attempt = 1
    while True:
        try:
            return call()
        except (CyncoAPIError, requests.RequestException) as error:
            # Chance spreads out clients that failed together; the server's own wait is a minimum.
            wait = min(8, 0.5 * 2 ** (attempt - 1)) * random.uniform(0.5, 1)
            wait = max(wait, getattr(error, "retry_after", None) or 0)
            if attempt >= attempts or wait > MAX_WAIT or not _may_pass(error):
                raise
            attempt += 1
            logger.warning("%s; attempt %d of %d in %.1f s", describe(error), attempt, attempts, wait)
        (sleep or time.sleep)(wait)


def _may_pass(error: Exception) -> bool:
    if isinstance(error, CyncoAPIError):
        return error.status_code in RETRY_STATUSES or error.code == "BROKEN_OFF"
    if isinstance(error, requests.exceptions.SSLError):
        return not re.search("CERTIFICATE_|CertificateError", str(error))
    return isinstance(error, (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError))


def describe(error: BaseException) -> str:
    """Say in one plain line what went wrong; requests' own messages show Python internals."""
    host = urlsplit(BASE_URL).netloc
    match error:
        case requests.exceptions.SSLError():
            return f"no secure connection to {host}; check its certificate, your clock and any proxy"
        case requests.Timeout():
            return f"no answer from {host} within {TIMEOUT} s; try again later"
        case requests.RequestException():
            return f"no connection to {host}, or it broke off; check the network, any proxy and CYNCO_BASE_URL"
    return one_line(error)


def one_line_errors(main: Callable[[Sequence[str] | None], int]) -> Callable[..., int]:
    """Decorate main(argv): whatever fails there ends in one line on stderr and exit code 1."""

    def wrapper(argv: Sequence[str] | None = None) -> int:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a console that lacks a letter shows \u4e2d
        try:
            code = main(argv)
            if sys.stdout:
                sys.stdout.flush()
            return code
        except KeyboardInterrupt as stop:
            print(f"\nStopped{stop}.", file=sys.stderr)
        except BrokenPipeError:  # the reader of a pipe (`| head`) has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except CyncoAPIError as error:
            hint = ". 04_error_handling.py says what to do about each status" if error.status_code >= 400 else ""
            print(f"Error: {error}{hint}.", file=sys.stderr)
        except OSError as error:  # every requests exception is one
            print(f"Error: {describe(error)}.", file=sys.stderr)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            frames = traceback.extract_tb(error.__traceback__)
            line = [frame.lineno for frame in frames if frame.filename == frames[1].filename][-1]
            script = os.path.basename(frames[1].filename)
            print(f"Error: this answer cannot be read by {script}, line {line}.", file=sys.stderr)
        return 1

    return wrapper


def one_line(text: object) -> str:
    """Return text as one printable line that shows no API key."""
    line = "".join(char if char.isprintable() else " " for char in str(text))
    return re.sub(r"cak_[!-~]+", "cak_***", line)


def read_amount(record: dict[str, Any], cents_field: str, units_field: str, currency: str | None) -> Decimal | None:
    """Return an amount in whole units of its currency from either published shape, None if it has none.

    The guide sends integers in the smallest unit ("cents", but see DECIMALS), OpenAPI whole units.
    """
    if record.get(cents_field) is not None and currency:
        return Decimal(str(record[cents_field])).scaleb(-DECIMALS.get(currency, 2))
    return None if record.get(units_field) is None else Decimal(str(record[units_field]))


def format_money(amount: Decimal | None, currency: str | None) -> str:
    """Return an amount in whole units as exact text: "MYR 1,620.00", "JPY -500"; "-" for None."""
    if amount is None:
        return "-"
    places = max(DECIMALS.get(currency or "", 2), -int(amount.normalize().as_tuple().exponent))
    return f"{currency or '???'} {amount + 0:,.{places}f}"  # + 0: no "-0.00"


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print rows in aligned columns, those named in `right` flush right."""
    table = [list(header), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*table)]
    table.insert(1, ["-" * width for width in widths])
    for row in table:
        pads = [" " * (width - _width(cell)) for cell, width in zip(row, widths)]
        cells = zip(header, row, pads)
        print("  ".join(pad + cell if name in right else cell + pad for name, cell, pad in cells).rstrip())


def _width(text: str) -> int:
    return len(text) + sum(unicodedata.east_asian_width(char) in "WF" for char in text)  # Chinese is twice as wide
