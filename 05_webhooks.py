"""Receive webhooks: respond at once, lose no event, handle each one once.

In this example you will see how to:
    1. verify: HMAC-SHA256 over the raw body, compared in constant time, at most 5 minutes old
    2. store: the event is on disk, in a SQLite file, before we respond 200
    3. handle: one event at a time, in the background, so that no response waits for HANDLERS

Usage: python 05_webhooks.py, or without an account: python tests/sandbox.py 05_webhooks.py
"""

import argparse
import hashlib
import hmac
import io
import json
import logging
import os
import socket
import sqlite3
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from decimal import Decimal

from flask import Flask, request
from werkzeug.serving import make_server

from _common import ConfigError, format_money, log, one_line, read_amount, run

app = Flask(__name__)
app.config.update(MAX_CONTENT_LENGTH=1_000_000, DATABASE="webhook_events.db")
STARTED = time.time()  # what fails in this run waits for the next: see PENDING
PENDING = "handled = 0 AND attempts < 3 AND started < :before"
COLUMNS = "id TEXT PRIMARY KEY, body BLOB, handled INT, attempts INT, started REAL"


def verify_signature(body: bytes, headers: Mapping, secrets: str, now: float | None = None) -> bool:
    """Whether one of our secrets signed this delivery, within 300 seconds of now. Never raises.

    `body`: the raw bytes. `headers`: of either form, in any case. `secrets`: separated by commas.
    """
    # 1. Read X-Webhook-Timestamp and X-Webhook-Signature, or Cynco-Signature: t=1774947600,v1=...
    values = {str(name).lower(): str(value) for name, value in headers.items()}
    timestamp = values.get("x-webhook-timestamp", "")
    signatures = [values.get("x-webhook-signature", "").encode(errors="replace")]
    for part in values.get("cynco-signature", "").split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            timestamp = value
        elif name == "v1":
            signatures.append(value.encode(errors="replace"))
    # 2. Sign as Cynco does: nobody can compute this HMAC without the secret. An empty one is none.
    signed = timestamp.encode(errors="replace") + b"." + body
    keys = [secret.strip().encode(errors="replace") for secret in secrets.split(",")]
    expected = [hmac.new(key, signed, hashlib.sha256).hexdigest().encode() for key in keys if key]
    # 3. Compare in constant time: == would tell a forger how many characters were right.
    genuine = any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in signatures)
    # 4. Check the time: a genuine delivery that is old may be a replay.
    return genuine and timestamp.isdecimal() and abs((now or time.time()) - float(timestamp)) <= 300


def query(sql: str, **values: object) -> tuple[list, int]:
    """Run one SQL statement on the inbox; return its rows, and how many rows it changed."""
    path = os.path.abspath(app.config["DATABASE"])  # so that ":memory:" is a file, too
    is_new = not os.path.exists(path)
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as inbox:
        if is_new:
            os.chmod(path, 0o600)  # customers' data is for the owner only
        inbox.execute("PRAGMA journal_mode = WAL")  # one write to disk a commit
        inbox.execute(f"CREATE TABLE IF NOT EXISTS events ({COLUMNS})")
        inbox.execute("CREATE INDEX IF NOT EXISTS pending ON events (handled, attempts)")
        cursor = inbox.execute(sql, values)
        return cursor.fetchall(), cursor.rowcount


def store_event(event: dict, body: bytes) -> bool:
    """Put an event in the inbox, on disk; return whether it is new. Raises sqlite3.Error."""
    # Not X-Webhook-Id: it is not signed. In JSON, as an id could be a number or odd text.
    event_id = json.dumps(event.get("id") or hashlib.sha256(body).hexdigest()).strip('"')
    insert = "INSERT INTO events VALUES (:id, :body, 0, 0, 0) ON CONFLICT (id) DO NOTHING"
    return query(insert, id=event_id, body=body)[1] == 1


def handle_pending() -> None:
    """Handle what is pending in the inbox: first what was never tried, then the oldest."""
    first = f"SELECT id, body FROM events WHERE {PENDING} ORDER BY attempts, rowid LIMIT 1"
    mark = f"UPDATE events SET attempts = attempts + 1, started = :now WHERE id = :id AND {PENDING}"
    try:
        while rows := query(first, before=STARTED)[0]:
            event_id, body = rows[0]
            if query(mark, id=event_id, now=time.time(), before=STARTED)[1] == 0:
                continue  # another process was faster
            try:
                handle_event(json.loads(body, parse_float=Decimal))
                query("UPDATE events SET handled = 1 WHERE id = :id", id=event_id)
                log.info(f"Handled {event_id}")
            except (Exception, SystemExit):  # a handler may call sys.exit()
                log.exception(f"The handler of {event_id} failed; it is tried at 3 starts in all")
    except sqlite3.Error:
        log.exception("The inbox failed; its events wait for the next delivery")


def report_failed() -> None:
    with suppress(sqlite3.Error):  # an error here would stop the worker for good
        if failed := query("SELECT id FROM events WHERE handled = 0 AND attempts >= 3")[0]:
            log.warning(f"{len(failed)} events failed 3 times; to retry, set their attempts to 0")


worker = ThreadPoolExecutor(max_workers=1, initializer=report_failed)  # one event at a time


def handle_event(event: dict) -> None:
    kind = event.get("type") or event.get("event")  # the guide's name or the SDK's
    if kind in HANDLERS:
        HANDLERS[kind](event["data"])
    else:
        print(one_line(f"No handler for {kind}, acknowledged"), flush=True)


def on_invoice(invoice: dict) -> None:
    print(one_line(f"Invoice {invoice['invoiceNumber']} is {invoice['status']}"), flush=True)


def on_customer_created(customer: dict) -> None:
    print(one_line(f"New customer {customer['name']}"), flush=True)


def on_payment_received(payment: dict) -> None:
    amount = read_amount(payment, "amount", "amount", payment["currency"])  # minor units
    print(one_line(f"Received {format_money(amount, payment['currency'])}"), flush=True)


HANDLERS = {
    "invoice.created": on_invoice,
    "invoice.paid": on_invoice,
    "invoice.overdue": on_invoice,
    "customer.created": on_customer_created,
    "payment.received": on_payment_received,
}


def webhook_secrets() -> str:
    if secrets := os.environ.get("CYNCO_WEBHOOK_SECRET", "").strip(" ,"):
        return secrets
    raise ConfigError("CYNCO_WEBHOOK_SECRET is not set; Settings > Webhooks shows it once")


@app.post("/webhooks/cynco")
@app.post("/")  # the bare address of a tunnel
def receive() -> tuple[dict, int]:
    """Return 200 once the event is stored; an exception is a 500, so Cynco sends it again."""
    if isinstance(request.input_stream, io.RawIOBase):  # unbuffered, a bad chunk crashes 3.10
        request.environ["wsgi.input"] = io.BufferedReader(request.input_stream)
    body = request.get_data()  # raw: JSON that is parsed and written again has other bytes
    if not verify_signature(body, dict(request.headers), webhook_secrets()):
        log.warning("Rejected: wrong signature, or signed more than 300 s from now")
        return {"error": "invalid signature"}, 401
    try:
        new = store_event(json.loads(body), body)
    except (ValueError, RecursionError, AttributeError):  # no JSON, too deep, no object
        return {"error": "not a JSON object"}, 400
    worker.submit(handle_pending)
    return {"received": True, "new": new}, 200


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Receive webhooks from Cynco.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=os.environ.get("PORT") or "3456")
    parser.add_argument("--database", default="webhook_events.db", help="file that stores events")
    args = parser.parse_args(argv)
    webhook_secrets()
    app.config["DATABASE"] = args.database
    try:
        query("SELECT 1")  # fails now if the file cannot be opened
        listener = socket.create_server((args.host, args.port))  # fails if it is in use
    except (OSError, OverflowError, sqlite3.Error) as error:
        raise ConfigError(f"--database {args.database}, --port {args.port}: {error}") from error
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    server = make_server(args.host, args.port, app, threaded=True, fd=listener.fileno())
    log.info(f"Listening on http://{args.host}:{server.port}/webhooks/cynco until Ctrl-C.")
    worker.submit(handle_pending)  # what an earlier run left
    server.serve_forever()  # until Ctrl-C
    log.info("Stopped.")
    os._exit(1)  # at once, even if a handler hangs: its event is in the inbox


if __name__ == "__main__":
    run(main)
