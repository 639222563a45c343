"""Receive webhooks: verify the event, store it, respond 200, and then handle it.

In this example you will see:
    1. how to verify that an event is from Cynco: HMAC-SHA256 over its bytes
    2. how to avoid losing events: they are on disk before we respond 200
    3. how to route events to your functions, by their type

In development, one process does it all. In production, run two: a web server, which
verifies, stores and responds; and 05_webhooks.py --handle, which calls your functions.

Usage:
    python tests/sandbox.py 05_webhooks.py      (needs no account)
    python 05_webhooks.py      (with CYNCO_WEBHOOK_SECRET and a tunnel: see README.md)
"""

import argparse
import hashlib
import hmac
import inspect
import json
import logging
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from decimal import Decimal

from flask import Flask, request
from werkzeug.serving import make_server

from _common import CyncoError, format_money, from_minor, invoice_total, log, run

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1_000_000  # bytes; Flask refuses a longer request


def verify_signature(body: bytes, headers: Mapping[str, str], secret: str) -> None:
    """Raise ValueError, with the reason, if Cynco did not sign `body` just now.

    The signature is an HMAC: a checksum that takes a secret to compute. Only Cynco and
    you have the secret, so nobody else can sign. To verify:
    1. Read the time and the signature from the headers.
    2. Compute the signature that the body should have.
    3. Compare the two signatures.
    4. Check that the time is within 300 seconds of now.
    """
    # 1. Read the time and the signature. Cynco documents two header formats, and their
    #    names may come in upper or lower case:
    #    X-Webhook-Timestamp: 1774947600 and X-Webhook-Signature: 5257a8...
    #    Cynco-Signature: t=1774947600,v1=5257a8...
    values = {}
    for name, value in headers.items():
        values[name.lower()] = value
    timestamp = values.get("x-webhook-timestamp", "")
    signatures = [values.get("x-webhook-signature", "")]  # there may be several
    for part in values.get("cynco-signature", "").split(","):
        key, _, value = part.strip().partition("=")  # "v1=5257a8" -> "v1", "5257a8"
        if key == "t":
            timestamp = value
        if key == "v1":  # there are two during a change of secret: one for each
            signatures.append(value)
    if not timestamp.isdecimal():
        raise ValueError("not signed")

    # 2. Compute the HMAC of the time, a dot, and the body as it came: parsing the JSON
    #    and writing it again could change its spaces. The time is signed as well, so
    #    nobody can change it.
    if not secret:  # with an empty one, anybody could sign
        raise ValueError("there is no secret to verify with")
    signed = timestamp.encode() + b"." + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()

    # 3. Compare, but not with ==, which stops at the first wrong letter: the time that
    #    it takes would tell a forger how many letters are right.
    matches = False
    for signature in signatures:
        if hmac.compare_digest(expected.encode(), signature.encode()):
            matches = True
    if not matches:
        raise ValueError("signed with another secret, or changed on the way")

    # 4. Check the time: an old delivery may be a copy that a thief sends again.
    age = time.time() - float(timestamp)
    if abs(age) > 300:
        raise ValueError(f"signed {age:,.0f} seconds ago: is the clock right?")


@app.post("/")  # the bare address of a tunnel
@app.post("/webhooks/cynco", strict_slashes=False)  # with or without a "/" at the end
def receive() -> tuple[dict, int]:
    """Respond 200 once the event is stored. Without a 200, Cynco sends it again."""
    body = request.get_data()
    try:
        verify_signature(body, dict(request.headers), webhook_secret())
    except ValueError as error:
        log.warning("Rejected: %s", error)
        return {"error": "invalid signature"}, 401
    event = json.loads(body)
    store_event(event["id"], body)  # below; when it returns, the event is on disk
    return {"received": True}, 200


# The handlers: replace them with your own.


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
    # The amount of a payment is always in minor units.
    amount = from_minor(payment["amount"], payment["currency"])
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
    """Call the handler for an event's type. Raises what the handler raises.

    After an error or a crash, an event is handled again. To do its work only once, pass
    event["id"] to the handler. Save the id in the same transaction as the work, and
    skip events whose id is already saved.
    """
    event_type = event.get("type") or event["event"]  # Cynco uses both names
    handler = HANDLERS.get(event_type)
    if handler is None:
        print(f"No handler for {event_type}")
        return
    result = handler(event["data"])
    if inspect.iscoroutine(result):  # from an async def, which nobody awaits here
        raise TypeError(f"{handler.__name__} has not run: write def, not async def")


def create_app() -> Flask:
    """Return the application, for a web server. Raises CyncoError or OSError."""
    webhook_secret()  # raises now if there is none
    open_inbox()  # the file in which events are stored
    return app


def webhook_secret() -> str:
    """Return the signing secret of your endpoint. Raises CyncoError."""
    secret = os.environ.get("CYNCO_WEBHOOK_SECRET", "").strip()
    if not secret:
        raise CyncoError(
            "CYNCO_WEBHOOK_SECRET is not set. Settings > Webhooks shows it once, when "
            "you create the endpoint. To try the example without a secret: "
            "python tests/sandbox.py 05_webhooks.py"
        )
    return secret


# You may stop reading here. Below: the inbox, a database file in which events wait
# to be handled; handle_events(), which handles them; main().

# An absolute path, so that a handler may change the current folder.
INBOX_FILE = os.path.realpath(os.environ.get("CYNCO_INBOX", "webhook_events.db"))
LOCK_FILE = f"{INBOX_FILE}.lock"
RETRY_AFTER = 600  # seconds until an event is tried again; three attempts in all
GIVEN_UP = "SELECT id FROM events WHERE done = 0 AND attempts >= 3"


def inbox(sql: str, *values: object) -> list:
    """Run one SQL statement, and return the rows that it selects. Raises CyncoError.

    isolation_level=None is autocommit: on return, what it changed is on disk.
    """
    try:
        database = sqlite3.connect(INBOX_FILE, timeout=30, isolation_level=None)
        with closing(database):
            return database.execute(sql, values).fetchall()
    except sqlite3.Error as error:
        raise CyncoError(f"cannot use the inbox {INBOX_FILE}: {error}") from error


def open_inbox() -> None:
    """Create the inbox, unless it exists. Raises CyncoError or OSError."""
    for file in (INBOX_FILE, LOCK_FILE):
        with suppress(FileExistsError):  # if it is new, only we may read it
            os.close(os.open(file, os.O_CREAT | os.O_EXCL, 0o600))
        if not os.access(file, os.W_OK):
            raise CyncoError(f"we may not write to {file}")
    # In WAL mode, one process can store an event while another reads one. This fails if
    # another process is switching it on, too, which is fine.
    with suppress(CyncoError):
        inbox("PRAGMA journal_mode = WAL")
    inbox(
        """
        CREATE TABLE IF NOT EXISTS events (
            id TEXT PRIMARY KEY NOT NULL,
            body BLOB NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            due REAL NOT NULL DEFAULT 0,  -- when to handle it: Unix seconds; 0: at once
            done INTEGER NOT NULL DEFAULT 0
        )
        """
    )
    # With this index, the next event is found at once, however many are done.
    inbox(
        """
        CREATE INDEX IF NOT EXISTS next_event ON events (due)
        WHERE done = 0 AND attempts < 3
        """
    )


def store_event(event_id: str, body: bytes) -> None:
    """Store an event, unless it is stored already: Cynco may send it twice."""
    inbox(
        "INSERT INTO events (id, body) VALUES (?, ?) ON CONFLICT (id) DO NOTHING",
        event_id,
        body,
    )


def handle_next_event() -> bool:
    """Handle an event that is new or due again; return False if there is none."""
    rows = inbox(
        """
        SELECT id, body, attempts FROM events
        WHERE done = 0 AND attempts < 3 AND due <= ? ORDER BY due, rowid LIMIT 1
        """,
        time.time(),
    )
    if not rows:
        return False
    event_id, body, attempts = rows[0]
    attempts += 1
    # Count the attempt first, or an event that crashes the process would come up again
    # and again.
    inbox(
        "UPDATE events SET attempts = ?, due = ? WHERE id = ?",
        attempts,
        time.time() + RETRY_AFTER,
        event_id,
    )
    try:
        handle_event(json.loads(body, parse_float=Decimal))
    except (Exception, SystemExit):  # SystemExit: the handler called sys.exit()
        log.exception("Could not handle %s: attempt %d of 3", event_id, attempts)
    else:
        inbox("UPDATE events SET done = 1 WHERE id = ?", event_id)
    return True


def handle_events() -> None:
    """Handle events as they come, until SIGTERM. Raises CyncoError or OSError."""
    open_inbox()
    # Only one process may handle events. Its lock is an open transaction in a file that
    # is used for nothing else; it ends with the process, even in a crash.
    try:
        lock = sqlite3.connect(LOCK_FILE, timeout=5)
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        raise CyncoError(
            f"another process may be handling {INBOX_FILE}: {error}"
        ) from error
    # inbox() opens a connection for each call, and SQLite tidies up whenever the last
    # one is closed. To save that time, keep one open.
    kept_open = sqlite3.connect(INBOX_FILE)
    given_up = kept_open.execute(GIVEN_UP).fetchall()
    log.info(
        "Handling what comes into %s; %d events were given up on (see --retry)",
        INBOX_FILE,
        len(given_up),
    )

    stop = threading.Event()

    def finish_this_event_then_stop(*_: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, finish_this_event_then_stop)
    while not stop.is_set():
        if not handle_next_event():
            stop.wait(0.5)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Receive webhooks from Cynco.")
    parser.add_argument("--host", default="127.0.0.1", help="(default: localhost only)")
    parser.add_argument("--port", default=3456, type=int, help="(default: 3456)")
    parser.add_argument("--handle", action="store_true", help="handle, do not receive")
    parser.add_argument("--retry", action="store_true", help="retry events given up on")
    args = parser.parse_args(argv)
    if not 0 <= args.port <= 65535:
        parser.error("--port must be 0 to 65535")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.retry:
        open_inbox()
        for (event_id,) in inbox(GIVEN_UP):
            inbox("UPDATE events SET attempts = 0, due = 0 WHERE id = ?", event_id)
            print(event_id)
        return 0
    if not args.handle:
        create_app()
        # make_server would exit if the port is in use. Open it here instead: that is an
        # OSError, which run() shows. fd is the open port.
        listener = socket.create_server((args.host, args.port))
        server = make_server(
            args.host, args.port, app, threaded=True, fd=listener.fileno()
        )
        server.log_startup()
        threading.Thread(target=server.serve_forever, daemon=True).start()
    handle_events()
    return 0


if __name__ == "__main__":
    run(main)
