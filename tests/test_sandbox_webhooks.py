"""The webhooks that the sandbox sends: events, signatures, deliveries."""

import json
import time
from collections.abc import Iterator

import pytest
import sandbox_webhooks
from flask import Flask, Response
from sandbox_server import SandboxServer
from sandbox_webhooks import EVENTS, Delivery, make_deliveries, sign, webhook_headers

Capture = pytest.CaptureFixture[str]
GUIDE = "Cynco-Signature"
SDK = "X-Webhook-Signature"

# The fields that Cynco has in print, for each event.
FIELDS = {
    "invoice.created": {"invoiceNumber", "customerName", "total", "currency"},
    "invoice.paid": {"invoiceNumber", "totalAmount", "currency"},
    "invoice.overdue": {"invoiceNumber", "dueDate"},
    "customer.created": {"name", "email"},
    "payment.received": {"amount", "currency", "method"},
}


def start_receiver(accepts: int) -> SandboxServer:
    """Return a receiver that accepts so many deliveries, and refuses the others."""
    app = Flask("receiver")
    server = SandboxServer(app)

    @app.post("/hook")
    def receive() -> Response:
        if len(server.seen) > accepts:
            return Response("no", 401)
        return Response("yes\x1b")

    return server


@pytest.fixture
def careful() -> Iterator[SandboxServer]:
    """Refuses the last two of nine deliveries: the stale one and the forged one."""
    with start_receiver(accepts=7) as server:
        yield server


@pytest.fixture
def careless() -> Iterator[SandboxServer]:
    with start_receiver(accepts=9) as server:
        yield server


def send(server: SandboxServer, deliveries: list[Delivery]) -> bool:
    url = f"http://127.0.0.1:{server.server_port}/hook"
    return sandbox_webhooks.send_webhooks(url, "whsec_sandbox", deliveries)


def is_about(timestamp: int, expected: float) -> bool:
    return abs(timestamp - expected) < 5


@pytest.mark.parametrize("event_type", list(FIELDS))
def test_data_holds_what_is_in_print(event_type: str) -> None:
    assert set(EVENTS[event_type]) == FIELDS[event_type]


def test_signature_of_known_bytes() -> None:
    # As openssl computes it: printf '1774947600.{}' | openssl dgst -sha256 -hmac ...
    signature = sign(b"{}", 1774947600, "whsec_test")
    assert signature == (
        "a7973090442c895594bbd6f367bfb409f9fcbf2551c5fcf74035caa6241008e7"
    )


def test_headers_of_the_guide() -> None:
    headers = webhook_headers(GUIDE, b"{}", 1774947600, "whsec_test")
    signature = sign(b"{}", 1774947600, "whsec_test")
    assert headers == {"Cynco-Signature": f"t=1774947600,v1={signature}"}


def test_headers_of_the_sdk() -> None:
    headers = webhook_headers(SDK, b"{}", 1774947600, "whsec_test")
    signature = sign(b"{}", 1774947600, "whsec_test")
    assert headers == {
        "X-Webhook-Id": "del_44136fa3",
        "X-Webhook-Timestamp": "1774947600",
        "X-Webhook-Signature": signature,
    }


def test_headers_are_signed_now_by_default() -> None:
    headers = webhook_headers(SDK, b"{}")
    timestamp = int(headers["X-Webhook-Timestamp"])
    assert is_about(timestamp, time.time())


def test_formats_of_headers_and_bodies_take_turns() -> None:
    deliveries = make_deliveries()
    formats = [delivery.header_format for delivery in deliveries[:6]]
    assert formats == [GUIDE, SDK, GUIDE, SDK, GUIDE, SDK]
    assert set(deliveries[0].event) == {"id", "type", "data"}
    assert set(deliveries[1].event) == {"id", "event", "createdAt", "data"}


def test_a_careful_receiver_passes(careful: SandboxServer, capsys: Capture) -> None:
    assert send(careful, make_deliveries()) is True
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sent invoice.created, Cynco-Signature header: 200 yes\\x1b"
    assert lines[6] == (
        "sent invoice.paid once more, X-Webhook-Signature header: 200 yes\\x1b"
    )
    assert lines[9] == "9 of 9 deliveries answered as expected."


def test_a_careless_receiver_fails(careless: SandboxServer, capsys: Capture) -> None:
    assert send(careless, make_deliveries()) is False
    lines = capsys.readouterr().out.splitlines()
    assert lines[7].endswith("200 yes\\x1b  <- expected a 4xx")
    assert lines[8].endswith("200 yes\\x1b  <- expected a 4xx")
    assert lines[9] == "7 of 9 deliveries answered as expected."


def test_the_signature_is_of_the_bytes_that_were_sent(careful: SandboxServer) -> None:
    send(careful, make_deliveries())
    genuine = careful.seen[1]
    headers = genuine["headers"]
    timestamp = int(headers["X-Webhook-Timestamp"])
    signature = sign(genuine["body"], timestamp, "whsec_sandbox")
    assert headers["X-Webhook-Signature"] == signature


def test_a_body_that_is_serialized_again_has_other_bytes(
    careful: SandboxServer,
) -> None:
    send(careful, make_deliveries())
    body = careful.seen[0]["body"]
    event = json.loads(body)
    again = json.dumps(event).encode()
    assert again != body


def test_one_event_comes_twice(careful: SandboxServer) -> None:
    send(careful, make_deliveries())
    first = careful.seen[1]
    again = careful.seen[6]
    assert again["body"] == first["body"]


def test_one_delivery_was_signed_ten_minutes_ago(careful: SandboxServer) -> None:
    send(careful, make_deliveries())
    stale = careful.seen[7]
    timestamp = int(stale["headers"]["X-Webhook-Timestamp"])
    signature = sign(stale["body"], timestamp, "whsec_sandbox")
    assert stale["headers"]["X-Webhook-Signature"] == signature
    assert is_about(timestamp, time.time() - 600)


def test_one_delivery_is_forged(careful: SandboxServer) -> None:
    send(careful, make_deliveries())
    forged = careful.seen[8]
    header = forged["headers"]["Cynco-Signature"]
    timestamp = int(header[2:12])
    signature = sign(forged["body"], timestamp, "whsec_sandbox")
    assert signature not in header
    assert is_about(timestamp, time.time())


@pytest.mark.parametrize("url", ["hook", "http://127.0.0.1:1/hook"])
def test_webhooks_to_nobody_end_in_one_line(url: str, capsys: Capture) -> None:
    as_expected = sandbox_webhooks.send_webhooks(url, "whsec", make_deliveries())
    assert as_expected is False
    assert capsys.readouterr().err.count("\n") == 1
