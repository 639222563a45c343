"""The webhooks that the sandbox sends: events, signatures, deliveries."""

import json
import time

import pytest
import sandbox_webhooks
from flask import Flask, Response
from sandbox_server import SandboxServer
from sandbox_webhooks import EVENTS, make_deliveries, sign, webhook_headers

GUIDE = "Cynco-Signature"
SDK = "X-Webhook-Signature"


# The fields that Cynco has in print, for each event.
@pytest.mark.parametrize(
    ("event_type", "fields"),
    [
        ("invoice.created", {"invoiceNumber", "customerName", "total", "currency"}),
        ("invoice.paid", {"invoiceNumber", "totalAmount", "currency"}),
        ("invoice.overdue", {"invoiceNumber", "dueDate"}),
        ("customer.created", {"name", "email"}),
        ("payment.received", {"amount", "currency", "method"}),
    ],
)
def test_data_holds_what_is_in_print(event_type, fields):
    assert set(EVENTS[event_type]) == fields


# Signatures


def test_signature_of_known_bytes():
    signature = sign(b"{}", 1774947600, "whsec_test")

    # As openssl computes it: printf '1774947600.{}' | openssl dgst -sha256 -hmac ...
    assert signature == (
        "a7973090442c895594bbd6f367bfb409f9fcbf2551c5fcf74035caa6241008e7"
    )


def test_headers_of_the_guide():
    headers = webhook_headers(GUIDE, b"{}", 1774947600, "whsec_test")

    signature = sign(b"{}", 1774947600, "whsec_test")
    assert headers == {"Cynco-Signature": f"t=1774947600,v1={signature}"}


def test_headers_of_the_sdk():
    headers = webhook_headers(SDK, b"{}", 1774947600, "whsec_test")

    assert headers == {
        "X-Webhook-Id": "del_44136fa3",
        "X-Webhook-Timestamp": "1774947600",
        "X-Webhook-Signature": sign(b"{}", 1774947600, "whsec_test"),
    }


def is_about(timestamp, expected):
    return abs(timestamp - expected) < 5


def test_headers_are_signed_now_by_default():
    headers = webhook_headers(SDK, b"{}")

    timestamp = int(headers["X-Webhook-Timestamp"])
    assert is_about(timestamp, time.time())


# Deliveries


def test_formats_of_headers_and_bodies_take_turns():
    deliveries = make_deliveries()

    formats = [delivery.header_format for delivery in deliveries[:6]]
    assert formats == [GUIDE, SDK, GUIDE, SDK, GUIDE, SDK]
    assert set(deliveries[0].event) == {"id", "type", "data"}
    assert set(deliveries[1].event) == {"id", "event", "createdAt", "data"}


def send(accepts):
    """Send all to a receiver that accepts so many; return the result, and what came."""
    app = Flask("receiver")
    server = SandboxServer(app)
    url = f"http://127.0.0.1:{server.server_port}/hook"

    @app.post("/hook")
    def receive():
        if len(server.seen) > accepts:
            return Response("no", 401)
        return Response("yes\x1b")

    with server:
        as_expected = sandbox_webhooks.send_webhooks(
            url, "whsec_sandbox", make_deliveries()
        )
    return as_expected, server.seen


def test_a_careful_receiver_passes(capsys):
    as_expected, _ = send(accepts=7)

    lines = capsys.readouterr().out.splitlines()
    assert as_expected is True
    assert lines[0] == "sent invoice.created, Cynco-Signature header: 200 yes\\x1b"
    assert lines[6] == (
        "sent invoice.paid once more, X-Webhook-Signature header: 200 yes\\x1b"
    )
    assert lines[9] == "9 of 9 deliveries answered as expected."


def test_a_careless_receiver_fails(capsys):
    as_expected, _ = send(accepts=9)

    lines = capsys.readouterr().out.splitlines()
    assert as_expected is False
    assert lines[7].endswith("200 yes\\x1b  <- expected a 4xx")
    assert lines[8].endswith("200 yes\\x1b  <- expected a 4xx")
    assert lines[9] == "7 of 9 deliveries answered as expected."


@pytest.fixture(scope="module")
def seen():
    """What a careful receiver has got."""
    _, seen = send(accepts=7)
    return seen


def test_the_signature_is_of_the_bytes_that_were_sent(seen):
    headers = seen[1]["headers"]
    timestamp = int(headers["X-Webhook-Timestamp"])

    signature = sign(seen[1]["body"], timestamp, "whsec_sandbox")

    assert headers["X-Webhook-Signature"] == signature


def test_a_body_that_is_serialized_again_has_other_bytes(seen):
    body = seen[0]["body"]

    again = json.dumps(json.loads(body)).encode()

    assert again != body


def test_one_event_comes_twice(seen):
    assert seen[6]["body"] == seen[1]["body"]


def test_one_delivery_was_signed_ten_minutes_ago(seen):
    headers = seen[7]["headers"]
    timestamp = int(headers["X-Webhook-Timestamp"])

    signature = sign(seen[7]["body"], timestamp, "whsec_sandbox")

    assert headers["X-Webhook-Signature"] == signature
    assert is_about(timestamp, time.time() - 600)


def test_one_delivery_is_forged(seen):
    header = seen[8]["headers"]["Cynco-Signature"]
    timestamp = int(header[2:12])

    signature = sign(seen[8]["body"], timestamp, "whsec_sandbox")

    assert signature not in header
    assert is_about(timestamp, time.time())


@pytest.mark.parametrize("url", ["http://", "http://127.0.0.1:1/hook"])
def test_webhooks_to_nobody_end_in_one_line(url, capsys):
    as_expected = sandbox_webhooks.send_webhooks(url, "whsec", make_deliveries())

    assert as_expected is False
    assert capsys.readouterr().err.count("\n") == 1
