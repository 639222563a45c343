"""A sandbox of the Cynco API on 127.0.0.1, to try the examples without an account.

Usage:
    python tests/sandbox.py 01_list_invoices.py              run one example against a private sandbox
    python tests/sandbox.py 05_webhooks.py                   start the receiver and send it webhooks
    python tests/sandbox.py --faults 503,drop 03_pagination.py   watch the retries at work
    python tests/sandbox.py                                  serve until Ctrl-C

The data is invented and always the same. Nothing is kept when it stops.
"""

import argparse
import base64
import calendar
import functools
import hashlib
import hmac
import itertools
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

ROOT = Path(__file__).resolve().parent.parent
API_KEY = "cak_sandbox"
READ_ONLY_KEY = "cak_sandbox_read_only"
WEBHOOK_SECRET = "whsec_sandbox"
CLOCK = "2026-03-31T09:00:00Z"  # the sandbox's books stop here, so that its answers never change
FAULTS = ["500", "503", "429", "drop", "lost", "truncate"]
FAULT_EVERY = 3  # requests
DECIMALS = {"JPY": 0, "KWD": 3}

CUSTOMERS = [
    ("Teh Tarik Trading Sdn Bhd", "MYR"),
    ("Batik Nusantara Enterprise", "MYR"),
    ("Sakura Precision KK", "JPY"),
    ("Kuching Timber Supplies Sdn Bhd", "MYR"),
    ("Straits Robotics Pte Ltd", "SGD"),
    ("Penang Marine Works Sdn Bhd", "MYR"),
    ("Persatuan Peniaga Pasar Malam Seri Kembangan", "MYR"),
    ("Gulf Dates Trading WLL", "KWD"),
    ("Perniagaan Yong Fatt (\u6c38\u767c)", "MYR"),
    ("Orkid Interiors Sdn Bhd", "MYR"),
]
ACCOUNTS = {
    "1000": "Cash at Bank",
    "1100": "Accounts Receivable",
    "1500": "Office Equipment",
    "2000": "Accounts Payable",
    "2200": "SST Payable",
    "3000": "Share Capital",
    "4000": "Sales",
    "5000": "Cost of Sales",
    "6000": "Rent",
    "6100": "Salaries",
}
# Double entry by the month: (debit account, credit account, cents).
OPENING = [("1000", "3000", 10_000_000), ("1500", "2000", 1_850_000)]
MONTHLY = [
    ("1100", "4000", 4_862_050),
    ("1100", "2200", 291_723),
    ("1000", "1100", 3_975_010),
    ("5000", "2000", 1_720_035),
    ("2000", "1000", 1_500_000),
    ("6000", "1000", 450_000),
    ("6100", "1000", 1_230_000),
]


def make_invoice(number: int) -> dict[str, Any]:
    """Return invoice `number` (from 1) in the guide's shape."""
    name, currency = CUSTOMERS[number * 7 % len(CUSTOMERS)]
    status = ["overdue", "draft", "draft", "sent", "sent", "sent", *["paid"] * 7][number % 13]
    created = date(2026, 2, 28) - timedelta(days=number % 365)
    return {
        "id": f"inv_{number:08d}",
        "invoiceNumber": f"INV-{number:05d}",
        "status": status,
        "customerId": f"cus_{number * 7 % len(CUSTOMERS) + 1:04d}",
        "customerName": None if number % 17 == 0 else name,
        "currency": currency,
        "total": (number**3 * 31 % 99_991 + 1) * 25,
        "dueDate": None if status == "draft" or number % 31 == 0 else str(created + timedelta(days=30)),
        "createdAt": f"{created}T08:00:00Z",
    }


class APIFailure(Exception):
    def __init__(self, status: int, code: str, message: str, details: list[dict[str, str]] | None = None) -> None:
        self.status, self.code, self.message, self.details = status, code, message, details or []


def invalid(field: str, message: str) -> APIFailure:
    return APIFailure(422, "VALIDATION_ERROR", "Validation failed", [{"field": field, "message": message}])


def create_app(invoices: int = 300, rate_limit: int = 200, window: int = 60, shape: str = "guide") -> Flask:
    """The API as a Flask application; `shape` is "guide" or "openapi", `window` seconds per rate limit."""
    app = Flask("sandbox")
    app.json.sort_keys = False  # type: ignore[attr-defined]
    openapi = shape == "openapi"
    lock = threading.Lock()
    request_ids = itertools.count(1)
    limiter = {"ends": 0, "used": 0}
    all_invoices = [make_invoice(number) for number in range(1, invoices + 1)]
    customers = {
        f"cus_{number:04d}": {
            "id": f"cus_{number:04d}",
            "name": name,
            "email": f"accounts{number}@example.com",
            "preferredCurrency": currency,
            "createdAt": "2025-01-02T08:00:00Z",
        }
        for number, (name, currency) in enumerate(CUSTOMERS, 1)
    }
    vendors = {
        "ven_01k2p5r8t4": {"id": "ven_01k2p5r8t4", "name": "Pembekal Utama Sdn Bhd", "email": "sales@example.com"}
    }
    items = {"itm_01m3q6s9u5"}
    replays: dict[str, tuple[bytes, Response]] = {}
    app.config.update(INVOICES=all_invoices, CUSTOMERS=customers)

    def meta() -> dict[str, str]:
        return {"requestId": g.request_id, "apiVersion": "v1", "timestamp": CLOCK}

    def success(data: Any, status: int = 200, **more: Any) -> Response:
        response = jsonify({"success": True, "data": data, **more, "meta": meta()})
        response.status_code = status
        return response

    @app.before_request
    def check_request() -> Response | None:
        g.request_id = f"req_{next(request_ids):06d}"
        now = time.time()
        with lock:
            if now >= limiter["ends"]:
                limiter.update(ends=int(now) + window, used=0)
            limiter["used"] += 1
        fault = request.environ.get("sandbox.fault")
        if fault in ("500", "503"):
            raise APIFailure(int(fault), "INTERNAL_ERROR", "The sandbox was told to fail")
        if fault == "429" or limiter["used"] > rate_limit:
            raise APIFailure(429, "RATE_LIMITED", "Too many requests")
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if key not in (API_KEY, READ_ONLY_KEY):
            code = "AUTHENTICATION_ERROR" if openapi else "UNAUTHORIZED"
            raise APIFailure(401, code, "The API key is missing, wrong or revoked")
        if key == READ_ONLY_KEY and request.method != "GET":
            scope = f"{request.path.split('/')[3]}:write"
            raise APIFailure(403, "FORBIDDEN", f"The API key lacks the scope {scope}")
        with lock:  # the first answer to an idempotency key is replayed
            body, replay = replays.get(request.headers.get("Idempotency-Key", ""), (b"", None))
        if replay and body != request.path.encode() + request.get_data():
            raise APIFailure(409, "CONFLICT", "This Idempotency-Key was used with another body")
        return replay

    @app.after_request
    def finish(response: Response) -> Response:
        key = request.headers.get("Idempotency-Key")
        if key and response.status_code < 400:
            with lock:
                replays.setdefault(key, (request.path.encode() + request.get_data(), response))
        response.headers["X-RateLimit-Limit"] = str(rate_limit)
        response.headers["X-RateLimit-Remaining"] = str(max(0, rate_limit - limiter["used"]))
        response.headers["X-RateLimit-Reset"] = str(limiter["ends"])
        if response.status_code == 429 and not openapi:
            faulty = "sandbox.fault" in request.environ
            response.headers["Retry-After"] = "1" if faulty else str(max(1, math.ceil(limiter["ends"] - time.time())))
        return response

    @app.errorhandler(APIFailure)
    def fail(failure: APIFailure) -> tuple[Response, int]:
        error = {"code": failure.code, "message": failure.message, "details": failure.details}
        return jsonify({"success": False, "error": error, "meta": meta()}), failure.status

    @app.errorhandler(HTTPException)
    def fail_http(error: HTTPException) -> tuple[Response, int]:
        return fail(APIFailure(error.code or 500, "NOT_FOUND" if error.code == 404 else "BAD_REQUEST", error.name))

    def json_body() -> dict[str, Any]:
        try:
            body = json.loads(request.get_data())
        except (ValueError, RecursionError):
            raise APIFailure(400, "BAD_REQUEST", "The body is not valid JSON") from None
        if not isinstance(body, dict):
            raise APIFailure(400, "BAD_REQUEST", "The body must be a JSON object")
        return body

    def one_of(name: str, allowed: list[str], default: str | None = None) -> str | None:
        value = request.args.get(name, default)
        if value is not None and value not in allowed:
            raise invalid(name, f"must be one of: {', '.join(allowed)}")
        return value

    def whole_number(name: str, default: int, lowest: int, highest: int) -> int:
        text = request.args.get(name, str(default))
        if not re.fullmatch("[0-9]{1,9}", text) or not lowest <= int(text) <= highest:
            raise invalid(name, f"must be a whole number from {lowest} to {highest}")
        return int(text)

    @functools.lru_cache(maxsize=8)
    def select_invoices(status: str | None, sort: str, order: str | None, _count: int) -> list[dict[str, Any]]:
        chosen = [invoice for invoice in all_invoices if status in (None, invoice["status"])]
        return sorted(chosen, key=lambda invoice: (invoice[sort] or "", invoice["id"]), reverse=order == "desc")

    def units(cents: int, currency: str) -> float:
        return round(cents / 10 ** DECIMALS.get(currency, 2), 3)

    @app.get("/api/v1/invoices")
    def list_invoices() -> Response:
        if openapi:
            more = ["partially_paid", "deposit_paid", "deposit_due"]
            status = one_of("status", ["draft", "finalized", "paid", "overdue", *more])
            sort = one_of("sort", ["created_at", "due_date", "total"], "created_at")
        else:
            status = one_of("status", ["draft", "sent", "paid", "overdue"])
            sort = one_of("sort", ["createdAt", "dueDate", "total"], "createdAt")
        status = {"finalized": "sent"}.get(status or "", status)
        sort = {"created_at": "createdAt", "due_date": "dueDate"}.get(sort or "", sort)
        limit = whole_number("limit", 20, 1, 100)
        page = whole_number("page", 1, 1, 10**9) if openapi else 1
        start = (page - 1) * limit if openapi else whole_number("offset", 0, 0, 10**9)
        if "cursor" in request.args:
            if page > 1:
                raise invalid("cursor", "cannot go with a page above 1")
            try:
                start = int(base64.urlsafe_b64decode(request.args["cursor"]).decode().removeprefix("after:"))
            except ValueError:
                raise invalid("cursor", "is not a cursor of this list") from None
        found = select_invoices(status, sort or "", one_of("order", ["asc", "desc"], "desc"), len(all_invoices))
        end = start + limit
        has_more = end < len(found)
        cursor = base64.urlsafe_b64encode(f"after:{end}".encode()).decode() if has_more else None
        data = found[start:end]
        if openapi:
            data = [translate_invoice(invoice) for invoice in data]
            position = {"page": start // limit + 1, "limit": limit, "total": len(found)}
            position["totalPages"] = math.ceil(len(found) / limit)
        else:
            position = {"total": len(found), "limit": limit, "offset": start}
        return success(data, pagination={**position, "hasMore": has_more, "nextCursor": cursor})

    def translate_invoice(invoice: dict[str, Any]) -> dict[str, Any]:
        translated = {**invoice, "totalAmount": units(invoice["total"], invoice["currency"])}
        del translated["total"]
        translated["status"] = {"sent": "finalized"}.get(invoice["status"], invoice["status"])
        return translated

    optional = (
        "phone address city state zip country taxId registrationNumber website paymentTerms preferredCurrency notes"
    )

    def show_customer(customer: dict[str, Any]) -> dict[str, Any]:
        shown = {name: customer.get(name) for name in ["id", "name", "email", *optional.split(), "createdAt"]}
        if not openapi:
            address = {"line1": shown.pop("address"), "line2": None, "city": shown.pop("city")}
            address |= {"state": shown.pop("state"), "postalCode": shown.pop("zip"), "country": shown.pop("country")}
            shown["address"] = address
        return shown

    @app.post("/api/v1/customers")
    def create_customer() -> Response:
        body = json_body()
        details = [
            {"field": name, "message": "must be a string"}
            for name in ["name", "email", *optional.split()]
            if not isinstance(body.get(name), (str, type(None)))
        ]
        names = {detail["field"] for detail in details}
        if "name" not in names and not 1 <= len(body.get("name") or "") <= 300:
            details.append({"field": "name", "message": "is required, up to 300 characters"})
        if "email" not in names and body.get("email") and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", body["email"]):
            details.append({"field": "email", "message": "must be a valid email address"})
        currency = body.get("preferredCurrency")
        if "preferredCurrency" not in names and currency and not re.fullmatch("[A-Z]{3}", currency):
            details.append({"field": "preferredCurrency", "message": "must be three letters"})
        if details:
            raise APIFailure(422, "VALIDATION_ERROR", "Validation failed", details)
        with lock:
            if body.get("email") and body["email"] in [customer.get("email") for customer in customers.values()]:
                raise APIFailure(409, "CONFLICT", f"A customer with the email {body['email']} exists")
            identity = f"cus_{len(customers) + 1:04d}"
            customers[identity] = {**body, "id": identity, "createdAt": CLOCK}
        return success(show_customer(customers[identity]), 201)

    @app.get("/api/v1/customers/<identity>")
    def get_customer(identity: str) -> Response:
        if identity not in customers:
            raise APIFailure(404, "NOT_FOUND", f"There is no customer {identity}")
        return success(show_customer(customers[identity]))

    @app.patch("/api/v1/vendors/<identity>")
    def update_vendor(identity: str) -> Response:
        if identity not in vendors:
            raise APIFailure(404, "NOT_FOUND", f"There is no vendor {identity}")
        vendors[identity].update(json_body())
        return success(vendors[identity])

    @app.delete("/api/v1/items/<identity>")
    def delete_item(identity: str) -> Response:
        if identity not in items:
            raise APIFailure(404, "NOT_FOUND", f"There is no item {identity}")
        items.remove(identity)
        return Response(status=204) if openapi else success({"id": identity, "deleted": True})

    def report_day(name: str) -> date:
        try:
            if not openapi:
                return date.fromisoformat(request.args.get(name, CLOCK[:10]))
            year, month = map(int, re.fullmatch(r"(\d{4})-(\d\d)", request.args.get("period", "")).groups())  # type: ignore[union-attr]
            last = calendar.monthrange(year, month)[1]
            return date(year, month, 1 if name == "from" else last)
        except (AttributeError, ValueError):
            raise invalid("period" if openapi else name, "is not a date") from None

    def balances(first: date, last: date) -> dict[str, int]:
        """Debit less credit of each account, in cents, over the months that begin in the range."""
        begins = [date(2026, month, 1) for month in (1, 2, 3)]
        entries = OPENING * (first <= begins[0] <= last) + MONTHLY * sum(first <= begin <= last for begin in begins)
        return {
            code: sum(cents for debit, _, cents in entries if debit == code)
            - sum(cents for _, credit, cents in entries if credit == code)
            for code in ACCOUNTS
        }

    def amount(cents: int) -> float:
        return units(cents, "MYR") if openapi else cents

    @app.get("/api/v1/reports/trial-balance")
    def trial_balance() -> Response:
        day = report_day("asOf")
        rows = [(code, max(0, net), max(0, -net)) for code, net in balances(date.min, day).items()]
        debit, credit = sum(row[1] for row in rows), sum(row[2] for row in rows)
        if openapi:
            return success(
                {
                    "period": str(day)[:7],
                    "asOfDate": str(day),
                    "lineItems": [
                        {
                            "accountCode": code,
                            "accountName": ACCOUNTS[code],
                            "debitBalance": amount(d),
                            "creditBalance": amount(c),
                        }
                        for code, d, c in rows
                    ],
                    "totalDebit": amount(debit),
                    "totalCredit": amount(credit),
                    "isBalanced": debit == credit,
                    "difference": amount(debit - credit),
                }
            )
        accounts = [{"code": code, "name": ACCOUNTS[code], "debit": d, "credit": c} for code, d, c in rows]
        totals = {"debit": debit, "credit": credit}
        return success({"asOf": str(day), "currency": "MYR", "accounts": accounts, "totals": totals})

    def section(net: dict[str, int], classes: str, sign: int) -> list[dict[str, Any]]:
        return [
            {"code": code, "name": ACCOUNTS[code], "amount": amount(sign * cents)}
            for code, cents in net.items()
            if code[0] in classes
        ]

    @app.get("/api/v1/reports/profit-loss")
    def profit_loss() -> Response:
        first, last = report_day("from"), report_day("to")
        net = balances(first, last)
        profit = -sum(cents for code, cents in net.items() if code[0] in "456")
        dates = {"period": str(last)[:7]} if openapi else {"from": str(first), "to": str(last), "currency": "MYR"}
        revenue, expenses = section(net, "4", -1), section(net, "56", 1)
        return success({**dates, "revenue": revenue, "expenses": expenses, "netProfit": amount(profit)})

    @app.get("/api/v1/reports/balance-sheet")
    def balance_sheet() -> Response:
        day = report_day("asOf")
        net = balances(date.min, day)
        earnings = -sum(cents for code, cents in net.items() if code[0] in "456")
        dates = {"period": str(day)[:7]} if openapi else {"asOf": str(day), "currency": "MYR"}
        equity = [*section(net, "3", -1), {"code": "3900", "name": "Current Earnings", "amount": amount(earnings)}]
        return success(
            {**dates, "assets": section(net, "1", 1), "liabilities": section(net, "2", -1), "equity": equity}
        )

    @app.get("/api/v1/reports/aged-receivables")
    def aged_receivables() -> Response:
        day = report_day("asOf")
        buckets = {"current": 0, "1-30": 0, "31-60": 0, "61-90": 0, "over 90": 0}
        for invoice in all_invoices:
            if invoice["currency"] == "MYR" and invoice["status"] in ("sent", "overdue") and invoice["dueDate"]:
                days = (day - date.fromisoformat(invoice["dueDate"])).days
                buckets[list(buckets)[min(4, max(0, math.ceil(days / 30)))]] += invoice["total"]
        shown = {name: amount(cents) for name, cents in buckets.items()}
        return success({"asOf": str(day), "currency": "MYR", "buckets": shown})

    return app


class SandboxServer(ThreadingHTTPServer):
    """Serves an application over HTTP/1.1 (Flask's own server cannot keep a connection open)."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = os.name != "nt"  # on Windows, that would let two servers share a port

    def __init__(self, app: Flask, port: int = 0, faults: Sequence[str] = (), delay: float = 0) -> None:
        self.app, self.delay, self.faults = app, delay, itertools.cycle(faults or [None])
        self.lock, self.connections, self.seen = threading.Lock(), 0, list[dict[str, Any]]()
        self.count, self.faulty = itertools.count(1), bool(faults)
        super().__init__(("127.0.0.1", port), SandboxHandler)
        self.url = f"http://127.0.0.1:{self.server_port}/api/v1"

    def __enter__(self) -> "SandboxServer":
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def next_fault(self) -> str | None:
        with self.lock:
            return next(self.faults) if self.faulty and next(self.count) % FAULT_EVERY == 1 else None

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news."""


class SandboxHandler(BaseHTTPRequestHandler):
    server: SandboxServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        record = {"method": self.command, "path": self.path, "headers": dict(self.headers.items()), "body": body}
        fault = self.server.next_fault()
        with self.server.lock:
            self.server.seen.append({**record, "fault": fault})
        if fault == "drop":
            self.close_connection = True
            return
        response = self.server.app.test_client(use_cookies=False).open(
            self.path,
            method=self.command,
            headers=list(self.headers.items()),
            data=body,
            environ_overrides={"sandbox.fault": fault} if fault else {},
        )
        if self.server.delay:
            time.sleep(self.server.delay)
        if fault == "lost":
            self.close_connection = True
            return
        self.send_response(response.status_code)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if fault == "truncate":
            self.close_connection = True
        self.wfile.write(response.data[: len(response.data) // 2] if fault == "truncate" else response.data)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """The examples speak for themselves."""


def sign(body: bytes, timestamp: int, secret: str = WEBHOOK_SECRET) -> str:
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def webhook_headers(
    form: str, body: bytes, timestamp: int | None = None, secret: str = WEBHOOK_SECRET
) -> dict[str, str]:
    """The headers of a delivery in either published form: "X-Webhook-Signature" or "Cynco-Signature"."""
    timestamp = int(time.time()) if timestamp is None else timestamp
    signature = sign(body, timestamp, secret)
    if form == "Cynco-Signature":
        return {"Cynco-Signature": f"t={timestamp},v1={signature}"}
    delivery = f"del_{hashlib.sha256(body).hexdigest()[:8]}"
    return {"X-Webhook-Id": delivery, "X-Webhook-Timestamp": str(timestamp), "X-Webhook-Signature": signature}


def make_events() -> list[tuple[str, dict[str, Any]]]:
    """One event of each kind that has a handler, and one that has none, in the two published shapes by turns."""
    invoice = make_invoice(13)
    units_invoice = {**make_invoice(14), "status": "paid", "totalAmount": 3_405.50}
    del units_invoice["total"]
    customer = {"id": "cus_0011", "name": "Acme Corp", "email": "billing@acme.example"}
    payment = {"id": "pay_0001", "amount": 250_000, "currency": "JPY", "method": "bank_transfer"}
    return [
        ("Cynco-Signature", {"id": "evt_0001", "type": "invoice.created", "data": invoice}),
        ("X-Webhook-Signature", {"id": "evt_0002", "event": "invoice.paid", "createdAt": CLOCK, "data": units_invoice}),
        ("Cynco-Signature", {"id": "evt_0003", "type": "invoice.overdue", "data": invoice}),
        ("X-Webhook-Signature", {"id": "evt_0004", "event": "customer.created", "createdAt": CLOCK, "data": customer}),
        ("Cynco-Signature", {"id": "evt_0005", "type": "payment.received", "data": payment}),
        ("X-Webhook-Signature", {"id": "evt_0006", "event": "bill.paid", "createdAt": CLOCK, "data": {"id": "bil_1"}}),
    ]


def play_webhooks(url: str) -> int:
    """Send deliveries to a receiver, show each answer, return 0 if all are as they should be."""
    now = int(time.time())
    deliveries = [
        (f"{event.get('type') or event.get('event')}, {form} header", form, event, now, WEBHOOK_SECRET, 200)
        for form, event in make_events()
    ]
    form, event = make_events()[1]
    deliveries += [
        ("invoice.paid once more", form, event, now, WEBHOOK_SECRET, 200),
        ("invoice.paid, signed ten minutes ago", form, event, now - 600, WEBHOOK_SECRET, 401),
        ("invoice.paid, forged", form, event, now, "whsec_of_somebody_else", 401),
    ]
    surprises = 0
    session = requests.Session()
    session.trust_env = False  # no proxy for this machine
    for title, form, event, timestamp, secret, expected in deliveries:
        body = json.dumps(event).encode()
        headers = {"Content-Type": "application/json", **webhook_headers(form, body, timestamp, secret)}
        response = session.post(url, data=body, headers=headers, timeout=10)
        print(f"sent {title}: {response.status_code} {response.text.strip()}", flush=True)
        surprises += response.status_code != expected
    return 1 if surprises else 0


def run_receiver(command: list[str], args: list[str], environ: dict[str, str]) -> int:
    """Start 05_webhooks.py on a free port with an inbox of its own, play at it, stop it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--port", default=str(port))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--database")
    known, rest = parser.parse_known_args(args)
    environ = {**environ, "CYNCO_WEBHOOK_SECRET": WEBHOOK_SECRET}
    with tempfile.TemporaryDirectory() as folder:
        own = [
            "--host",
            known.host,
            "--port",
            known.port,
            "--database",
            known.database or str(Path(folder, "events.db")),
        ]
        with subprocess.Popen([*command, *own, *rest], env=environ) as receiver:
            try:
                while receiver.poll() is None:
                    if listens(known.host, known.port):
                        return play_webhooks(f"http://{known.host}:{known.port}/webhooks/cynco")
                return receiver.returncode
            finally:
                receiver.terminate()


def listens(host: str, port: str) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()  # type: ignore[arg-type]
        return True
    except OSError:
        time.sleep(0.05)
        return False


def parse_faults(text: str) -> list[str]:
    faults = text.split(",")
    if not set(faults) <= set(FAULTS):
        raise argparse.ArgumentTypeError(f"choose from {','.join(FAULTS)}")
    return faults


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A sandbox of the Cynco API on this machine.")
    parser.add_argument("--port", type=int, help="(default: 8765, or a free one to run a script)")
    parser.add_argument("--invoices", type=int, default=300, metavar="N", help="(default: %(default)s)")
    parser.add_argument(
        "--rate-limit", type=int, default=200, metavar="N", help="requests a minute (default: %(default)s)"
    )
    parser.add_argument(
        "--faults",
        type=parse_faults,
        default=[],
        metavar="LIST",
        help=f"any of {','.join(FAULTS)}, in turn, every {FAULT_EVERY} requests (lost: done, but not answered)",
    )
    parser.add_argument(
        "--shape", choices=["guide", "openapi"], default="guide", help="which of the two published shapes"
    )
    parser.add_argument("script", nargs="?", help="an example to run, with its own arguments")
    parser.add_argument("args", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)

    app = create_app(args.invoices, args.rate_limit, shape=args.shape)
    port = args.port if args.port is not None else 0 if args.script else 8765
    try:
        server = SandboxServer(app, port, args.faults)
    except (OSError, OverflowError):
        print(f"Port {port} cannot be used; choose another with --port.", file=sys.stderr)
        return 1
    with server:
        if args.script:
            script = Path(args.script) if Path(args.script).exists() else ROOT / args.script
            command = [sys.executable, str(script)]
            environ = {**os.environ, "CYNCO_BASE_URL": server.url, "CYNCO_API_KEY": API_KEY}
            # A proxy is not for this machine, and a .netrc entry would replace the key.
            environ |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "NETRC": os.devnull}
            if script.name == "05_webhooks.py" and not {"-h", "--help"} & set(args.args):
                return run_receiver(command, args.args, environ)
            with subprocess.Popen([*command, *args.args], env=environ) as example:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the example too, which has the last word
                return example.wait()
        print(f"The sandbox serves {server.url} until Ctrl-C. In another terminal, paste one of:")
        print(f"  export CYNCO_BASE_URL={server.url} CYNCO_API_KEY={API_KEY}")
        print(f'  $env:CYNCO_BASE_URL="{server.url}"; $env:CYNCO_API_KEY="{API_KEY}"', flush=True)
        while True:
            time.sleep(1)  # on Windows, Ctrl-C does not end a wait without a timeout
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
