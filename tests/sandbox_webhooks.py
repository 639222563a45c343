"""The webhooks that the sandbox sends: six events, their signatures, the deliveries."""

import hashlib
import hmac
import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import requests
from sandbox_data import CLOCK
from sandbox_server import printable

WEBHOOK_SECRET = "whsec_sandbox"
PATIENCE = 10  # seconds for a receiver to respond

# The `data` of each event: the fields that Cynco has in print, and no others.
EVENTS: dict[str, dict[str, Any]] = {
    "invoice.created": {
        "invoiceNumber": "INV-00299",
        "customerName": "Kuching Timber Supplies Sdn Bhd",
        "total": 492480,
        "currency": "MYR",
    },
    # As the SDK has it: in major units.
    "invoice.paid": {
        "invoiceNumber": "INV-00270",
        "totalAmount": 1620.00,
        "currency": "MYR",
    },
    "invoice.overdue": {"invoiceNumber": "INV-00264", "dueDate": "2026-03-21"},
    "customer.created": {"name": "Acme Corp", "email": "billing@acme.example"},
    "payment.received": {
        "amount": 213129,
        "currency": "JPY",
        "method": "bank_transfer",
    },
    "bill.paid": {"id": "bil_0001"},
}


def sign(body: bytes, timestamp: int, secret: str = WEBHOOK_SECRET) -> str:
    signed = f"{timestamp}.".encode() + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def webhook_headers(
    header_format: str,
    body: bytes,
    timestamp: int | None = None,
    secret: str = WEBHOOK_SECRET,
) -> dict[str, str]:
    """Return signed headers: "X-Webhook-Signature" or "Cynco-Signature"."""
    if timestamp is None:
        timestamp = int(time.time())
    signature = sign(body, timestamp, secret)
    if header_format == "Cynco-Signature":
        return {"Cynco-Signature": f"t={timestamp},v1={signature}"}
    delivery_id = hashlib.sha256(body).hexdigest()[:8]
    return {
        "X-Webhook-Id": f"del_{delivery_id}",
        "X-Webhook-Timestamp": str(timestamp),
        "X-Webhook-Signature": signature,
    }


@dataclass
class Delivery:
    event_type: str
    header_format: str
    event: dict[str, Any]
    remark: str = ""
    age: int = 0  # seconds since it was signed
    secret: str = ""  # a forger's, instead of ours
    expected: str = "2xx"


def make_delivery(event_type: str) -> Delivery:
    """Return a delivery; the guide's format and the SDK's take turns."""
    number = list(EVENTS).index(event_type) + 1
    event: dict[str, Any] = {"id": f"evt_{number:04d}"}
    if number % 2 == 1:
        header_format = "Cynco-Signature"
        event["type"] = event_type
    else:
        header_format = "X-Webhook-Signature"
        event["event"] = event_type
        event["createdAt"] = CLOCK
    event["data"] = EVENTS[event_type]
    return Delivery(event_type, header_format, event)


def make_deliveries() -> list[Delivery]:
    """Return each event, one of them once more, and two that a receiver must refuse."""
    deliveries = [make_delivery(event_type) for event_type in EVENTS]
    again = make_delivery("invoice.paid")
    again.remark = " once more"
    stale = make_delivery("invoice.paid")
    stale.remark = ", signed ten minutes ago"
    stale.age = 600
    stale.expected = "4xx"
    forged = make_delivery("invoice.created")
    forged.remark = ", forged"
    forged.secret = "whsec_of_somebody_else"
    forged.expected = "4xx"
    deliveries += [again, stale, forged]
    return deliveries


def send_delivery(delivery: Delivery, url: str, secret: str) -> requests.Response:
    # json.dumps would put spaces between: whoever parses the body and serializes it
    # again, instead of verifying the bytes, finds another signature.
    body = json.dumps(delivery.event, separators=(",", ":")).encode()
    if delivery.secret:
        secret = delivery.secret
    timestamp = int(time.time()) - delivery.age
    headers = webhook_headers(delivery.header_format, body, timestamp, secret)
    headers["Content-Type"] = "application/json"
    with requests.Session() as session:
        session.trust_env = False  # no proxy for localhost
        return session.post(
            url, data=body, headers=headers, timeout=PATIENCE, allow_redirects=False
        )


def send_webhooks(url: str, secret: str, deliveries: list[Delivery]) -> bool:
    """Send deliveries and print the responses; return whether all were as expected."""
    as_expected = 0
    for delivery in deliveries:
        try:
            response = send_delivery(delivery, url, secret)
        except (requests.RequestException, ValueError) as error:
            cause = innermost_cause(error)
            print(printable(f"No response from {url}: {cause}"), file=sys.stderr)
            return False
        line = f"sent {delivery.event_type}{delivery.remark}, "
        line += f"{delivery.header_format} header: {response.status_code} "
        line += printable(response.text.strip())[:200]
        if delivery.expected == f"{response.status_code // 100}xx":
            as_expected += 1
        else:
            line += f"  <- expected a {delivery.expected}"
        print(line, flush=True)
    print(f"{as_expected} of {len(deliveries)} deliveries answered as expected.")
    return as_expected == len(deliveries)


def innermost_cause(error: BaseException) -> BaseException:
    while error.__context__:
        error = error.__context__
    return error
