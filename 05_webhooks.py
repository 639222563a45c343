"""Receive webhooks: verify each delivery, store it, handle each event once.

You will see a line for each event. Forged and stale deliveries are refused, repeated ones are
acknowledged but not handled again, and what a handler could not do is tried at the next start.

Usage:
    python tests/sandbox.py 05_webhooks.py     see it at work, without an account
    python 05_webhooks.py                      needs CYNCO_WEBHOOK_SECRET, from Settings > Webhooks
"""

import argparse
import hashlib
import hmac
import io
import json
import os
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from typing import Any

from flask import Flask, abort, request
from werkzeug.serving import make_server

from _common import format_money, logger, one_line, one_line_errors, read_amount

STARTED = time.time()  # an event that failed before is tried again, one that failed since is not

app = Flask(__name__)
app.config.update(MAX_CONTENT_LENGTH=1_000_000, DATABASE="webhook_events.db")


def webhook_secrets() -> list[str]:
    """The signing secrets in CYNCO_WEBHOOK_SECRET: several, with commas, while one replaces another."""
    return [secret.strip() for secret in os.environ.get("CYNCO_WEBHOOK_SECRET", "").split(",") if secret.strip()]


def verify_signature(
    body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: float | None = None, tolerance: int = 300
) -> bool:
    """Whether a delivery was signed with one of `secrets`, at most `tolerance` seconds from `now`.

    `body`: the bytes as they arrived. `headers`: X-Webhook-Timestamp and X-Webhook-Signature, or
    Cynco-Signature. Never raises, whatever the bytes and headers are.
    """
    secrets = [secrets] if isinstance(secrets, str) else secrets  # or each letter would be a secret
    # Either form of headers gives a timestamp and the signatures made with it.
    parts = [part.strip().partition("=") for part in headers.get("Cynco-Signature", "").split(",")]
    times = [value for name, _, value in parts if name == "t"]
    candidates = [
        (headers.get("X-Webhook-Timestamp", ""), [headers.get("X-Webhook-Signature", "")]),
        (times[0] if len(times) == 1 else "", [value for name, _, value in parts if name == "v1"]),
    ]
    for timestamp, signatures in candidates:
        if not re.fullmatch("[0-9]{1,15}", timestamp):  # int() would take " +1_7" and Arabic digits
            continue
        for secret in filter(None, secrets):  # anyone can sign with an empty secret
            signed = timestamp.encode() + b"." + body
            # errors=...: no letter of a variable or a header may raise here.
            expected = hmac.digest(secret.encode(errors="surrogatepass"), signed, "sha256").hex().encode()
            # compare_digest takes equally long wherever the first difference is: == would leak it.
            if any(hmac.compare_digest(expected, value.encode(errors="replace")) for value in signatures):
                # Both sides of now: an old delivery may be a replay, one from the future could be replayed for long.
                age = (time.time() if now is None else now) - int(timestamp)
                if abs(age) > tolerance:
                    side = "ago" if age > 0 else "ahead"
                    logger.warning("Rejected: signed %.0f s %s. Is the clock right?", abs(age), side)
                return abs(age) <= tolerance
    logger.warning("Rejected: not signed with any secret in use")
    return False


def open_inbox() -> sqlite3.Connection:
    inbox = sqlite3.connect(app.config["DATABASE"], timeout=30)  # seconds to wait for another writer
    try:
        inbox.executescript("""
            CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, body BLOB, failed_at REAL, handled_at REAL);
            CREATE INDEX IF NOT EXISTS unhandled ON events (handled_at) WHERE handled_at IS NULL;
        """)
    except sqlite3.Error:
        inbox.close()
        raise
    return inbox


def store_event(event: dict[str, Any], body: bytes) -> bool:
    """Put an event into the inbox, on disk; return whether it is new. Raises sqlite3.Error."""
    # Known by its signed id: X-Webhook-Id is not signed, so a replay could carry another one.
    key = event.get("id")
    key = key if isinstance(key, str) and key else hashlib.sha256(body).hexdigest()
    row = (json.dumps(key)[1:-1], body)  # escaped: not every string that JSON can name fits into a database
    with closing(open_inbox()) as inbox, inbox:
        return inbox.execute("INSERT OR IGNORE INTO events (id, body) VALUES (?, ?)", row).rowcount == 1


def handle_events() -> None:
    """Handle what is in the inbox and unhandled; what fails is logged and left for the next start."""
    # One process at a time: it holds a transaction on a file beside the inbox, where storing goes on.
    # If it is killed, the operating system frees that lock, and the next one takes over its event.
    pending = """SELECT id, body FROM events WHERE handled_at IS NULL AND (failed_at IS NULL OR failed_at < ?)
        ORDER BY rowid LIMIT 1"""
    try:
        with (
            closing(sqlite3.connect(f"{app.config['DATABASE']}-lock", timeout=5)) as lock,
            closing(open_inbox()) as inbox,
        ):
            lock.execute("BEGIN EXCLUSIVE")
            while row := inbox.execute(pending, (STARTED,)).fetchone():
                try:
                    handle_event(json.loads(row[1], parse_float=Decimal))
                    done = "UPDATE events SET handled_at = ? WHERE id = ?"
                except (Exception, SystemExit):  # auth_headers() exits without a key
                    logger.exception("The handler of event %s failed; the next start tries again", row[0])
                    done = "UPDATE events SET failed_at = ? WHERE id = ?"
                with inbox:  # max: a clock set back must not make a failure of today one of an earlier start
                    inbox.execute(done, (max(time.time(), STARTED), row[0]))
    except sqlite3.Error as error:
        logger.error("Events wait in the inbox for the next delivery: %s", error)


def handle_event(event: dict[str, Any]) -> None:
    """Give an event to the handler of its type, which one published shape names `event`."""
    kind, data = str(event.get("type") or event.get("event")), event.get("data")
    if kind in HANDLERS:
        HANDLERS[kind](data if isinstance(data, dict) else {})
    else:
        say(f"No handler for {kind}, acknowledged")


def say(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    print(one_line(text).encode(encoding, "backslashreplace").decode(encoding), flush=True)


def describe_invoice(invoice: dict[str, Any]) -> str:
    currency = invoice.get("currency")
    total = format_money(read_amount(invoice, "total", "totalAmount", currency), currency)
    return f"{invoice.get('invoiceNumber') or '-'} of {total} for {invoice.get('customerName') or '-'}"


def on_invoice_created(invoice: dict[str, Any]) -> None:
    say(f"Created: invoice {describe_invoice(invoice)}, due {invoice.get('dueDate') or '-'}")


def on_invoice_paid(invoice: dict[str, Any]) -> None:
    say(f"Paid: invoice {describe_invoice(invoice)}")


def on_invoice_overdue(invoice: dict[str, Any]) -> None:
    say(f"Overdue since {invoice.get('dueDate') or '-'}: invoice {describe_invoice(invoice)}")


def on_customer_created(customer: dict[str, Any]) -> None:
    say(f"New customer: {customer.get('name') or '-'} <{customer.get('email') or '-'}>")


def on_payment_received(payment: dict[str, Any]) -> None:
    currency = payment.get("currency")
    amount = format_money(read_amount(payment, "amount", "", currency), currency)
    say(f"Received: {amount} by {payment.get('method') or '-'}")


HANDLERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "invoice.created": on_invoice_created,
    "invoice.paid": on_invoice_paid,
    "invoice.overdue": on_invoice_overdue,
    "customer.created": on_customer_created,
    "payment.received": on_payment_received,
}


def read_body() -> bytes:
    """Return the body as it arrived: the signature covers these bytes, not JSON parsed and written again."""
    if "chunked" not in request.headers.get("Transfer-Encoding", "").lower():
        return request.get_data()  # answers 413 by itself
    # A chunked body has no length to trust, and werkzeug's own reading of it can crash on a broken one.
    stream, limit = request.environ["wsgi.input"], app.config["MAX_CONTENT_LENGTH"]
    try:
        body: bytes = (io.BufferedReader(stream) if isinstance(stream, io.RawIOBase) else stream).read(limit + 1)
    except Exception:  # every server has its own for a broken chunk
        abort(400)
    return body if len(body) <= limit else abort(413)


@app.post("/webhooks/cynco", provide_automatic_options=False)
@app.post("/", provide_automatic_options=False)  # where the bare address of a tunnel ends up
def receive() -> tuple[dict[str, object], int]:
    """Answer 200 only for what is stored: anything else makes Cynco send it again."""
    body, secrets = read_body(), webhook_secrets()
    if not secrets:
        logger.error("CYNCO_WEBHOOK_SECRET is not set: no delivery can be verified")
    if not verify_signature(body, dict(request.headers), secrets):
        return {"error": "not a delivery of Cynco's"}, 401
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        return {"error": "not a JSON object"}, 400
    try:
        new = store_event(event, body)
    except sqlite3.Error as error:
        logger.error("The inbox cannot store an event: %s", error)
        return {"error": "not stored, send it again"}, 500
    handle_events()
    return {"received": True, "new": new}, 200


def port_number(text: str) -> int:
    if re.fullmatch("[0-9]{1,5}", text) and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port number, 1 to 65535")


@one_line_errors
def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Receive webhooks from Cynco.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", default=os.environ.get("PORT") or "3456", type=port_number, help="(default: PORT or 3456)"
    )
    parser.add_argument("--database", default=app.config["DATABASE"], help="the inbox (default: %(default)s)")
    args = parser.parse_args(argv)
    if not webhook_secrets():
        sys.exit(
            "CYNCO_WEBHOOK_SECRET is not set. Copy the signing secret of your endpoint from Settings > Webhooks, "
            'then run: export CYNCO_WEBHOOK_SECRET=whsec_... (PowerShell: $env:CYNCO_WEBHOOK_SECRET="whsec_..."). '
            "No account? Run: python tests/sandbox.py 05_webhooks.py"
        )

    if args.database in ("", ":memory:"):
        parser.error("--database must be a file: an inbox in memory would lose events")
    app.config["DATABASE"] = args.database
    try:
        open_inbox().close()
    except sqlite3.Error as error:
        sys.exit(f"The inbox {args.database} cannot be opened ({error}); choose another with --database.")
    server = make_server(args.host, args.port, app, threaded=True)  # to try it out; for production see the README
    print(f"Listening on http://{args.host}:{args.port}/webhooks/cynco until Ctrl-C.", file=sys.stderr)
    threading.Thread(target=handle_events, daemon=True).start()  # what the last run left
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
