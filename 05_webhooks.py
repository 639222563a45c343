"""Receive webhooks: verify, store, respond 200, and handle in the background.

In this example you will see:
    1. how to verify a delivery: HMAC-SHA256 over its bytes, compared in constant time
    2. how to lose no event: it is on disk before we respond 200
    3. how to route each event to one of your functions, by its type

Usage:
    python tests/sandbox.py 05_webhooks.py      (needs no account)
    python 05_webhooks.py      (with CYNCO_WEBHOOK_SECRET and a tunnel: see README.md)
"""

import argparse
import hashlib
import hmac
import json
import logging
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from decimal import Decimal

from flask import Blueprint, Flask, request

from _common import CyncoError, format_money, from_minor, invoice_total, log, run

INBOX_FILE = os.path.abspath(os.environ.get("CYNCO_INBOX", "webhook_events.db"))
# Seconds before retrying an event whose handler failed or was cut off. Each event has
# three attempts. If a handler takes longer, another process may handle the event, too.
RETRY_AFTER = 600

# To use these routes in your own Flask application: start_inbox(), and then
# app.register_blueprint(webhooks).
webhooks = Blueprint("webhooks", __name__)


def verify_signature(body: bytes, headers: Mapping[str, str], secret: str) -> bool:
    """Return whether `body` was signed with `secret` within 300 s of now. Never raises.

    HMAC is a checksum that takes a secret to compute. Only Cynco and you have it.
    """
    # 1. Read the time and the signatures. Header names may be in upper or lower case,
    #    and there are two header formats:
    #    X-Webhook-Timestamp: 1774947600 and X-Webhook-Signature: 5257a8...
    #    Cynco-Signature: t=1774947600,v1=5257a8...
    values = {}
    for name, value in headers.items():
        values[name.lower()] = value
    timestamp = values.get("x-webhook-timestamp", "")
    signatures = [values.get("x-webhook-signature", "")]
    for part in values.get("cynco-signature", "").split(","):
        field, _, text = part.strip().partition("=")
        if field == "t":
            timestamp = text
        if field == "v1":  # there are two while a secret is being replaced
            signatures.append(text)
    if not secret or not timestamp.isdecimal():
        return False
    # 2. Compute the signature ourselves, over the timestamp, a dot, and the body.
    signed = timestamp.encode() + b"." + body
    key = secret.encode(errors="replace")
    expected = hmac.new(key, signed, hashlib.sha256).hexdigest()
    # 3. Compare in constant time: == stops at the first wrong letter, and the time it
    #    takes would tell a forger where that is.
    for signature in signatures:
        theirs = signature.encode(errors="replace")  # a forger may send anything
        if hmac.compare_digest(expected.encode(), theirs):
            # 4. Check the time: an old delivery may be a copy that a thief sends again.
            return abs(time.time() - float(timestamp)) <= 300
    return False


@webhooks.post("/")  # the bare address of a tunnel
@webhooks.post("/webhooks/cynco", strict_slashes=False)
def receive() -> tuple[dict, int]:
    """Respond 200 once the event is stored.

    If storing it fails, Flask responds 500, and Cynco resends it, up to three times.
    """
    # The bytes as they came: parsing the JSON and writing it again could change them.
    body = request.get_data()
    is_genuine = False
    # While a secret is being replaced, CYNCO_WEBHOOK_SECRET holds the new and the old.
    for secret in webhook_secrets():
        if verify_signature(body, dict(request.headers), secret):
            is_genuine = True
    if not is_genuine:
        log.warning("Rejected: wrong secret, changed body, or over 300 seconds old")
        return {"error": "invalid signature"}, 401
    try:
        event_id = json.loads(body)["id"]
    except (ValueError, TypeError, KeyError, RecursionError):
        event_id = None
    if not event_id:
        return {"error": "not an event with an id"}, 400
    is_new = store_event(str(event_id), body)
    return {"received": True, "new": is_new}, 200


def on_invoice_created(invoice: dict) -> None:
    total = format_money(invoice_total(invoice), invoice["currency"])
    print(f"Invoice {invoice['invoiceNumber']} for {invoice['customerName']}: {total}")


def on_invoice_paid(invoice: dict) -> None:
    total = format_money(invoice_total(invoice), invoice["currency"])
    print(f"Invoice {invoice['invoiceNumber']} is paid: {total}")


def on_invoice_overdue(invoice: dict) -> None:
    print(f"Invoice {invoice['invoiceNumber']} was due on {invoice['dueDate']}")


def on_customer_created(customer: dict) -> None:
    print(f"New customer: {customer['name']}, {customer['email']}")


def on_payment_received(payment: dict) -> None:
    amount = from_minor(payment["amount"], payment["currency"])  # in both shapes
    money = format_money(amount, payment["currency"])
    print(f"Received {money} by {payment['method']}")


HANDLERS = {
    "invoice.created": on_invoice_created,
    "invoice.paid": on_invoice_paid,
    "invoice.overdue": on_invoice_overdue,
    "customer.created": on_customer_created,
    "payment.received": on_payment_received,
}


def handle_event(event: dict) -> None:
    """Call the handler for an event's type. Handlers run one at a time, in a thread.

    If a handler sends requests, give each a timeout: one that hangs stops all handling.
    After an error or a crash, an event is handled again. If it must not do its work
    twice, pass event["id"] to the handler as well, skip an id that you have saved, and
    save it in the same database transaction as your work.
    """
    event_type = event.get("type") or event["event"]  # Cynco uses both names
    if event_type in HANDLERS:
        HANDLERS[event_type](event["data"])
    else:
        print(f"No handler for {event_type}")


# The inbox: every event, in a SQLite file. You can use it without reading on.
# `stored` and `tried` (last) are times, in Unix seconds.

CREATE_TABLE = """
    CREATE TABLE IF NOT EXISTS events (
        id TEXT PRIMARY KEY, body BLOB, stored REAL, tried REAL, attempts INT, done INT
    )
"""
CREATE_INDEX = """
    CREATE INDEX IF NOT EXISTS pending ON events (done, attempts, stored)
"""
STORE_EVENT = """
    INSERT INTO events (id, body, stored, tried, attempts, done)
    VALUES (?, ?, ?, 0, 0, 0) ON CONFLICT (id) DO NOTHING
"""
# The last ? is RETRY_AFTER seconds ago.
NEXT_EVENT = """
    SELECT id, body FROM events
    WHERE done = 0 AND attempts < 3 AND tried < ?
    ORDER BY attempts, stored LIMIT 1
"""
# The first process to set `tried` to now has the event: for others, it is too recent.
CLAIM_EVENT = """
    UPDATE events SET attempts = attempts + 1, tried = ?
    WHERE id = ? AND done = 0 AND attempts < 3 AND tried < ?
"""
wake_up = threading.Event()  # set when an event has been stored


def inbox(sql: str, *values: object) -> tuple[list, int]:
    """Run one statement on the inbox; return its rows, and how many rows it changed."""
    # isolation_level=None commits each statement at once.
    database = sqlite3.connect(INBOX_FILE, timeout=30, isolation_level=None)
    with closing(database):
        cursor = database.execute(sql, values)
        return cursor.fetchall(), cursor.rowcount


def open_inbox() -> None:
    """Create the inbox, unless it exists. Raises CyncoError or OSError."""
    # Create it readable by us only: it contains customer data.
    os.close(os.open(INBOX_FILE, os.O_CREAT, 0o600))
    try:
        inbox(CREATE_TABLE)
        inbox(CREATE_INDEX)
    except sqlite3.Error as error:
        raise CyncoError(f"cannot use the inbox {INBOX_FILE}: {error}") from error
    try:
        inbox("PRAGMA journal_mode = WAL")  # a write-ahead log: as safe, and faster
    except sqlite3.OperationalError:
        log.info("Another process is opening the inbox")  # and does the same


def store_event(event_id: str, body: bytes) -> bool:
    """Put an event on disk; return whether it is new: Cynco may send it twice."""
    _, stored = inbox(STORE_EVENT, event_id, body, time.time())
    wake_up.set()
    return stored == 1


def handle_pending() -> None:
    """Handle what is stored: new events, then those tried RETRY_AFTER seconds ago."""
    # Computed once: an event that fails below is not tried again in this same call.
    retry_before = time.time() - RETRY_AFTER
    while True:
        rows, _ = inbox(NEXT_EVENT, retry_before)
        if not rows:
            return
        event_id, body = rows[0]
        _, claimed = inbox(CLAIM_EVENT, time.time(), event_id, retry_before)
        if not claimed:
            continue  # another process was faster
        try:
            handle_event(json.loads(body, parse_float=Decimal))
            inbox("UPDATE events SET done = 1 WHERE id = ?", event_id)
            log.info("Handled %s", event_id)
        except BaseException:  # sys.exit() in a handler must not end this thread
            # After three attempts, it stays in the inbox. README.md: how to try again.
            log.exception("Could not handle %s", event_id)


def handle_forever() -> None:
    while True:
        try:
            handle_pending()
        except Exception:
            log.exception("The inbox failed")
        wake_up.wait(timeout=60)  # look for retries each minute
        wake_up.clear()  # before the next look, so that no event is overlooked


def webhook_secrets() -> list[str]:
    """Return the secrets in CYNCO_WEBHOOK_SECRET: one, or two separated by a comma."""
    secrets = os.environ.get("CYNCO_WEBHOOK_SECRET", "").replace(",", " ").split()
    if not secrets:
        raise CyncoError(
            "CYNCO_WEBHOOK_SECRET is not set. Settings > Webhooks shows it once, when "
            "you create the endpoint. To try the example without a secret: "
            "python tests/sandbox.py 05_webhooks.py"
        )
    return secrets


def start_inbox() -> None:
    """Open the inbox, and start the thread that handles what is in it."""
    webhook_secrets()  # without one, stop here
    open_inbox()
    threading.Thread(target=handle_forever, daemon=True).start()


# The application


def create_app() -> Flask:
    """Return the Flask application, its inbox at work. Raises CyncoError or OSError."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if hasattr(sys.stdout, "reconfigure"):  # show each line at once, in any console
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    start_inbox()
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 1_000_000  # bytes
    app.register_blueprint(webhooks)
    return app


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Receive webhooks from Cynco.")
    parser.add_argument("--host", default="127.0.0.1", help="(default: localhost only)")
    parser.add_argument("--port", default=3456, type=int, help="(default: 3456)")
    args = parser.parse_args(argv)
    if not 0 <= args.port <= 65535:
        parser.error("--port must be 0 to 65535")
    create_app().run(args.host, args.port)
    return 0


if __name__ == "__main__":
    run(main)
