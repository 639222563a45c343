"""05_webhooks.py in this process: signatures, responses, handlers, inbox, start."""

import asyncio
import hmac
import inspect
import io
import json
import logging
import os
import signal
import socket
import sqlite3
import sys
import time
from contextlib import closing
from decimal import Decimal
from functools import partial
from itertools import product
from unittest.mock import AsyncMock, Mock

import pytest
from conftest import load
from sandbox_webhooks import sign, webhook_headers

from _common import CyncoError, run

script = load("05_webhooks")

NOW = 1_700_000_000
BODY = b'{"id":"evt_1"}'
SECRET = "whsec_example"
# printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_example
GOOD = "2f6f24854ba5c8d505c37e6fc0a06fc74456f1a4042208e7acdd4bd0bdbd599e"
GUIDE = {"Cynco-Signature": f"t={NOW},v1={GOOD}"}
SDK = {"X-Webhook-Timestamp": str(NOW), "X-Webhook-Signature": GOOD}

either_format = pytest.mark.parametrize("headers", [GUIDE, SDK], ids=["guide", "SDK"])


@pytest.fixture
def clock(monkeypatch):
    """The time is NOW, until a test sets clock.return_value."""
    clock = Mock(return_value=float(NOW))
    monkeypatch.setattr(time, "time", clock)
    return clock


# verify_signature


def verify(headers, secret=SECRET):
    script.verify_signature(BODY, headers, secret)


@either_format
def test_a_signature_of_openssl_is_accepted(headers, clock):
    verify(headers)


@pytest.mark.parametrize("change", [str.lower, str.upper], ids=["lower", "upper"])
@either_format
def test_header_names_in_any_case(headers, change, clock):
    renamed = {}
    for name, value in headers.items():
        renamed[change(name)] = value

    verify(renamed)


@pytest.mark.parametrize(
    "header",
    [
        f"t={NOW},v1=0,v1={GOOD}",
        f"t={NOW},v1={GOOD},v1=0",
        f"v0=0, v1={GOOD}, v1=0, unknown, t={NOW}",
    ],
    ids=["the last", "the first", "spaces and others"],
)
def test_one_good_v1_of_two_will_do(header, clock):
    verify({"Cynco-Signature": header})


@pytest.mark.parametrize("age", [300, -300])
@either_format
def test_300_seconds_are_accepted(headers, age, clock):
    clock.return_value = NOW + age

    verify(headers)


@pytest.mark.parametrize("age", [301, -301])
@either_format
def test_301_seconds_are_refused(headers, age, clock):
    clock.return_value = NOW + age

    with pytest.raises(ValueError, match=f"signed {age} seconds ago"):
        verify(headers)


def sdk_headers(timestamp, signature):
    return {"X-Webhook-Timestamp": str(timestamp), "X-Webhook-Signature": signature}


def signed_at(timestamp):
    return sdk_headers(timestamp, sign(BODY, timestamp, SECRET))


NOT_SIGNED = {
    "no header": {},
    "no time": signed_at(""),
    "no t": {"Cynco-Signature": f"v1={GOOD}"},
    "time not decimal": signed_at("\xb2"),
    "time in words": signed_at("now"),
    "time with a fraction": signed_at(f"{NOW}.0"),
}


@pytest.mark.parametrize("headers", NOT_SIGNED.values(), ids=list(NOT_SIGNED))
def test_what_is_not_signed_is_refused(headers, clock):
    with pytest.raises(ValueError, match="not signed"):
        verify(headers)


SIGNED_WRONG = {
    "other secret": sdk_headers(NOW, sign(BODY, NOW, "whsec_other")),
    "secret without its prefix": sdk_headers(NOW, sign(BODY, NOW, "example")),
    "other body": sdk_headers(NOW, sign(BODY + b"\n", NOW, SECRET)),
    "other time": sdk_headers(NOW + 1, GOOD),
    "no signature": {"X-Webhook-Timestamp": str(NOW)},
    "no v1": {"Cynco-Signature": f"t={NOW},v1,v1=,v0={GOOD},v2={GOOD}"},
    "upper case": sdk_headers(NOW, GOOD.upper()),
    "one letter less": sdk_headers(NOW, GOOD[:-1]),
    "odd letters": sdk_headers(NOW, "\xe9" * 64),
}


@pytest.mark.parametrize("headers", SIGNED_WRONG.values(), ids=list(SIGNED_WRONG))
def test_another_signature_is_refused(headers, clock):
    with pytest.raises(ValueError, match="another secret, or changed on the way"):
        verify(headers)


MALFORMED = {
    "a huge time": signed_at("9" * 5000),
    "a lone surrogate": sdk_headers(NOW, "\udcff"),
    "a lone surrogate in v1": {"Cynco-Signature": f"t={NOW},v1=\udcff"},
    "a lone surrogate in t": {"Cynco-Signature": f"t=\udcff,v1={GOOD}"},
}


@pytest.mark.parametrize("headers", MALFORMED.values(), ids=list(MALFORMED))
def test_whatever_a_stranger_sends_is_a_value_error(headers, clock):
    with pytest.raises(ValueError):  # noqa: PT011
        verify(headers)


def test_an_empty_secret_signs_nothing(clock):
    headers = sdk_headers(NOW, sign(BODY, NOW, ""))

    with pytest.raises(ValueError, match="no secret"):
        verify(headers, secret="")


@either_format
def test_the_only_comparison_is_in_constant_time(headers, clock, monkeypatch):
    monkeypatch.setattr(hmac, "compare_digest", Mock(return_value=False))

    with pytest.raises(ValueError, match="another secret"):
        verify(headers)


IMPORTS = """\
import hashlib
import hmac
import time
from collections.abc import Mapping

"""


@pytest.fixture
def pasted(tmp_path, monkeypatch):
    """The function in a file of its own, with nothing but its imports."""
    source = IMPORTS + inspect.getsource(script.verify_signature)
    (tmp_path / "pasted.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield load("pasted").verify_signature
    del sys.modules["pasted"]


@either_format
def test_verify_signature_pasted_into_fastapi(headers, pasted, clock):
    raw = []
    for name, value in headers.items():
        raw.append((name.lower().encode(), value.encode()))
    receive = AsyncMock(return_value={"type": "http.request", "body": BODY})
    request = load("fastapi").Request({"type": "http", "headers": raw}, receive)
    body = asyncio.run(request.body())

    pasted(body, request.headers, SECRET)
    with pytest.raises(ValueError, match="another secret"):
        pasted(body, request.headers, "whsec_other")


@either_format
def test_verify_signature_pasted_into_django(headers, pasted, clock):
    settings = load("django.conf").settings
    if not settings.configured:
        settings.configure()
    factory = load("django.test").RequestFactory()
    request = factory.generic("POST", "/", BODY, headers=headers)

    pasted(request.body, request.headers, SECRET)
    with pytest.raises(ValueError, match="another secret"):
        pasted(request.body, request.headers, "whsec_other")


# receive


@pytest.fixture
def quick_sqlite(monkeypatch):
    """SQLite waits neither for the disk nor for a lock of another process."""
    connections = []
    connect = sqlite3.connect

    def connect_quickly(file, **options):
        options["timeout"] = 0
        database = connect(file, **options)
        if file != script.LOCK_FILE:
            database.execute("PRAGMA synchronous = OFF")
        connections.append(database)
        return database

    monkeypatch.setattr(sqlite3, "connect", connect_quickly)
    yield
    for database in connections:
        database.close()  # as at the end of a process


@pytest.fixture
def inbox(tmp_path, monkeypatch, caplog, quick_sqlite):
    """An inbox of the test's own, and the log."""
    caplog.set_level(logging.INFO)
    path = tmp_path / "inbox.db"
    monkeypatch.setattr(script, "INBOX_FILE", str(path))
    monkeypatch.setattr(script, "LOCK_FILE", f"{path}.lock")
    script.open_inbox()
    return path


@pytest.fixture
def client(inbox, monkeypatch):
    """Sends requests to the application."""
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", SECRET)
    return script.create_app().test_client()


class Handler:
    """Notes the ids of the events, and raises as told."""

    def __init__(self):
        self.ids = []
        self.errors = {}
        self.sigterm_at = None

    def __call__(self, data):
        if data["id"] == self.sigterm_at:
            signal.raise_signal(signal.SIGTERM)
        self.ids.append(data["id"])
        if data["id"] in self.errors:
            raise self.errors[data["id"]]


@pytest.fixture
def handler(monkeypatch):
    handler = Handler()
    monkeypatch.setitem(script.HANDLERS, "customer.created", handler)
    return handler


def make_event(event_id):
    event = {"id": event_id, "type": "customer.created", "data": {"id": event_id}}
    return json.dumps(event).encode()


EVENT = make_event("evt_1")


def deliver(client, body=EVENT, header_format="Cynco-Signature", secret=SECRET):
    headers = webhook_headers(header_format, body, secret=secret)
    return client.post("/webhooks/cynco", data=body, headers=headers)


def handle_all():
    while script.handle_next_event():
        pass


def nothing_is_stored():
    return script.handle_next_event() is False


@pytest.mark.parametrize("header_format", ["Cynco-Signature", "X-Webhook-Signature"])
def test_a_delivery_is_stored_and_then_handled(client, handler, header_format):
    response = deliver(client, EVENT, header_format)

    assert response.status_code == 200
    assert response.get_json() == {"received": True}
    assert handler.ids == []
    handle_all()
    assert handler.ids == ["evt_1"]


PATHS = ["/", "/webhooks/cynco", "/webhooks/cynco/"]


@pytest.mark.parametrize("path", PATHS)
def test_a_delivery_to_any_of_the_paths(client, path):
    headers = webhook_headers("Cynco-Signature", EVENT, secret=SECRET)

    assert client.post(path, data=EVENT, headers=headers).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_the_wrong_method_is_a_405(client, path):
    assert client.get(path).status_code == 405


def test_an_event_that_comes_twice_is_stored_once(client, handler):
    deliver(client)
    response = deliver(client)

    assert response.status_code == 200
    handle_all()
    assert handler.ids == ["evt_1"]


def test_x_webhook_id_tells_no_events_apart(client, handler):
    headers = webhook_headers("X-Webhook-Signature", EVENT, secret=SECRET)
    headers["X-Webhook-Id"] = "del_1"
    client.post("/", data=EVENT, headers=headers)
    headers["X-Webhook-Id"] = "del_2"
    client.post("/", data=EVENT, headers=headers)

    handle_all()
    assert handler.ids == ["evt_1"]


@pytest.mark.parametrize("event_id", ["EVT_1", "\xe9", "';--"])
def test_any_id_tells_events_apart(client, handler, event_id):
    deliver(client)
    deliver(client, make_event(event_id))

    handle_all()
    assert handler.ids == ["evt_1", event_id]


REASONS = {
    "not signed": ({}, "not signed"),
    "another secret": (
        webhook_headers("Cynco-Signature", EVENT, NOW, "whsec_other"),
        "signed with another secret",
    ),
    "too old": (
        webhook_headers("X-Webhook-Signature", EVENT, NOW - 1843, SECRET),
        "signed 1,843 seconds ago",
    ),
}


@pytest.mark.parametrize(("headers", "reason"), REASONS.values(), ids=list(REASONS))
def test_every_401_is_the_same_and_the_log_says_why(
    client, clock, caplog, headers, reason
):
    response = client.post("/", data=EVENT, headers=headers)

    assert response.status_code == 401
    assert response.get_json() == {"error": "invalid signature"}
    assert caplog.messages[0].startswith(f"Rejected: {reason}")
    assert nothing_is_stored()


def test_what_is_not_signed_is_not_parsed(client):
    assert deliver(client, b"no JSON", secret="whsec_other").status_code == 401


NO_EVENT = {
    "empty": b"",
    "no JSON": b"{",
    "no text": b'"\xff"',
    "too deep": b"[" * 200_000 + b"]" * 200_000,
    "null": b"null",
    "list": b'[{"id":"evt_1"}]',
    "no id": b"{}",
    "null id": b'{"id":null}',
    "list as an id": b'{"id":["evt_1"]}',
}


@pytest.mark.parametrize("body", NO_EVENT.values(), ids=list(NO_EVENT))
def test_signed_but_no_event_is_not_acknowledged(client, body):
    response = deliver(client, body)

    assert response.status_code >= 400
    assert nothing_is_stored()


def deliver_in_chunks(client, body):
    """Deliver without a Content-Length, as a server passes on a chunked body."""
    return client.post(
        "/",
        input_stream=io.BytesIO(body),
        headers=webhook_headers("Cynco-Signature", body, secret=SECRET),
        environ_overrides={"wsgi.input_terminated": True},
    )


either_way = pytest.mark.parametrize(
    "send", [deliver, deliver_in_chunks], ids=["plain", "chunked"]
)


@either_way
def test_a_body_may_have_a_million_bytes(client, send):
    assert send(client, EVENT.ljust(1_000_000)).status_code == 200


@either_way
def test_a_longer_body_is_a_413(client, send):
    assert send(client, EVENT.ljust(1_000_001)).status_code == 413
    assert nothing_is_stored()


def test_what_cannot_be_stored_is_a_500_and_may_come_again(
    client, handler, monkeypatch, tmp_path
):
    with monkeypatch.context() as patch:
        patch.setattr(script, "INBOX_FILE", str(tmp_path))
        assert deliver(client).status_code == 500

    assert deliver(client).status_code == 200
    handle_all()
    assert handler.ids == ["evt_1"]


def test_without_a_secret_a_delivery_is_a_500(client, monkeypatch):
    monkeypatch.delenv("CYNCO_WEBHOOK_SECRET")

    assert deliver(client).status_code == 500
    assert nothing_is_stored()


def test_the_log_has_neither_the_secret_nor_a_body(client, caplog):
    body = b'{"id":"evt_1","type":"invoice.paid","data":{"note":"PRIVATE"}}'

    deliver(client, body, secret="whsec_other")
    deliver(client, b"PRIVATE")
    deliver(client, body)
    handle_all()

    assert "Rejected" in caplog.text
    assert "JSONDecodeError" in caplog.text
    assert "KeyError" in caplog.text
    assert "PRIVATE" not in caplog.text
    assert "whsec_" not in caplog.text


# The handlers

INVOICE = {"invoiceNumber": "INV-1", "customerName": "Acme", "currency": "MYR"}
PRINTED = {
    "invoice.created, guide": (
        "invoice.created",
        {**INVOICE, "total": 162000},
        "Invoice INV-1 for Acme: MYR 1,620.00\n",
    ),
    "invoice.created, SDK": (
        "invoice.created",
        {**INVOICE, "totalAmount": 1620},
        "Invoice INV-1 for Acme: MYR 1,620.00\n",
    ),
    "invoice.paid, guide": (
        "invoice.paid",
        {**INVOICE, "total": 162000},
        "Invoice INV-1 is paid: MYR 1,620.00\n",
    ),
    "invoice.paid, SDK, in yen": (
        "invoice.paid",
        {"invoiceNumber": "INV-1", "totalAmount": 500, "currency": "JPY"},
        "Invoice INV-1 is paid: JPY 500\n",
    ),
    "invoice.overdue": (
        "invoice.overdue",
        {"invoiceNumber": "INV-1", "dueDate": "2026-03-30"},
        "Invoice INV-1 was due on 2026-03-30\n",
    ),
    "customer.created": (
        "customer.created",
        {"name": "Acme", "email": "billing@acme.example"},
        "New customer: Acme, billing@acme.example\n",
    ),
    "payment.received": (
        "payment.received",
        {"amount": 250000, "currency": "MYR", "method": "bank_transfer"},
        "Received MYR 2,500.00 by bank_transfer\n",
    ),
    "payment.received in yen": (
        "payment.received",
        {"amount": 500, "currency": "JPY", "method": "cash"},
        "Received JPY 500 by cash\n",
    ),
    "unknown": ("moon.landed", {}, "No handler for moon.landed\n"),
}


@pytest.mark.parametrize("name", ["type", "event"])
@pytest.mark.parametrize(
    ("event_type", "data", "expected"), PRINTED.values(), ids=list(PRINTED)
)
def test_what_a_handler_prints(capsys, name, event_type, data, expected):
    script.handle_event({"id": "evt_1", name: event_type, "data": data})

    assert capsys.readouterr().out == expected


def test_a_handler_gets_exact_amounts(inbox, monkeypatch):
    handler = Mock(return_value=None)
    monkeypatch.setitem(script.HANDLERS, "bill.paid", handler)
    script.store_event("evt_1", b'{"type":"bill.paid","data":90071992547409.93}')

    handle_all()

    handler.assert_called_once_with(Decimal("90071992547409.93"))


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_an_async_handler_is_an_error_that_names_it(monkeypatch):
    async def on_moon_landed(_):
        pass

    monkeypatch.setitem(script.HANDLERS, "moon.landed", on_moon_landed)

    with pytest.raises(TypeError, match="on_moon_landed has not run"):
        script.handle_event({"id": "evt_1", "type": "moon.landed", "data": {}})


# create_app


def test_create_app_opens_the_inbox(inbox, monkeypatch):
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", SECRET)
    inbox.unlink()

    client = script.create_app().test_client()

    assert deliver(client).status_code == 200


@pytest.mark.parametrize("secret", ["", " "])
def test_create_app_needs_a_secret(inbox, monkeypatch, secret):
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", secret)

    with pytest.raises(CyncoError, match="CYNCO_WEBHOOK_SECRET is not set"):
        script.create_app()


# The inbox


def load_in(folder, monkeypatch):
    """Import the script once more, as in a terminal in this folder."""
    monkeypatch.chdir(folder)
    monkeypatch.delitem(sys.modules, "05_webhooks")
    return load("05_webhooks")


def test_an_import_creates_no_file(tmp_path, monkeypatch):
    load_in(tmp_path, monkeypatch)

    assert list(tmp_path.iterdir()) == []


def test_the_inbox_is_in_the_current_folder(tmp_path, monkeypatch):
    load_in(tmp_path, monkeypatch).open_inbox()

    assert (tmp_path / "webhook_events.db").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_two_symlinks_to_one_inbox_have_one_lock(tmp_path, monkeypatch):
    (tmp_path / "one.db").symlink_to(tmp_path / "inbox.db")
    (tmp_path / "other.db").symlink_to(tmp_path / "inbox.db")
    monkeypatch.setenv("CYNCO_INBOX", "one.db")
    one = load_in(tmp_path, monkeypatch)
    monkeypatch.setenv("CYNCO_INBOX", "other.db")
    other = load_in(tmp_path, monkeypatch)

    assert one.LOCK_FILE == other.LOCK_FILE


def test_cynco_inbox_names_the_inbox_although_a_handler_changes_the_folder(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("CYNCO_INBOX", "other.db")
    webhooks = load_in(tmp_path, monkeypatch)
    webhooks.open_inbox()
    (tmp_path / "elsewhere").mkdir()

    def change_the_folder(_):
        monkeypatch.chdir(tmp_path / "elsewhere")

    monkeypatch.setitem(webhooks.HANDLERS, "customer.created", change_the_folder)
    webhooks.store_event("evt_1", EVENT)
    webhooks.store_event("evt_2", b'{"type":"moon.landed"}')

    webhooks.handle_next_event()
    webhooks.handle_next_event()

    assert (tmp_path / "other.db").exists()
    assert capsys.readouterr().out == "No handler for moon.landed\n"


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_inbox_and_lock_are_readable_by_their_owner_only(inbox, tmp_path):
    with closing(sqlite3.connect(inbox)) as reader:
        reader.execute("SELECT * FROM events")  # -wal and -shm exist meanwhile

        assert mode(tmp_path / "inbox.db") == 0o600
        assert mode(tmp_path / "inbox.db-wal") == 0o600
        assert mode(tmp_path / "inbox.db-shm") == 0o600
        assert mode(tmp_path / "inbox.db.lock") == 0o600


def store(event_id):
    script.store_event(event_id, make_event(event_id))


def test_an_inbox_keeps_its_events_when_it_is_opened_again(inbox, handler):
    store("evt_1")

    script.open_inbox()

    handle_all()
    assert handler.ids == ["evt_1"]


def test_an_inbox_may_be_in_use_when_it_is_opened(inbox, handler):
    with closing(sqlite3.connect(inbox)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN")
        other.execute("SELECT * FROM events")

        script.open_inbox()

    store("evt_1")
    handle_all()
    assert handler.ids == ["evt_1"]


# handle_next_event


def handle_after(seconds, clock):
    clock.return_value = NOW + seconds
    handle_all()


def test_an_event_is_handled_once(inbox, handler, clock):
    store("evt_1")

    handle_after(0, clock)
    handle_after(600, clock)

    assert handler.ids == ["evt_1"]


def test_an_event_that_comes_again_is_not_handled_again(inbox, handler, clock):
    store("evt_1")
    handle_all()
    store("evt_1")
    handle_after(601, clock)

    assert handler.ids == ["evt_1"]


def test_the_oldest_is_handled_first(inbox, handler):
    store("evt_2")
    store("evt_3")
    store("evt_1")

    handle_all()

    assert handler.ids == ["evt_2", "evt_3", "evt_1"]


def test_new_events_are_handled_before_retries(inbox, handler, clock):
    handler.errors["evt_1"] = ValueError("no")
    store("evt_1")
    handle_after(0, clock)
    store("evt_2")
    handle_after(600, clock)

    assert handler.ids == ["evt_1", "evt_2", "evt_1"]


FAILURES = [ValueError("no"), SystemExit("no")]
any_failure = pytest.mark.parametrize("failure", FAILURES, ids=["error", "sys.exit"])


@any_failure
def test_later_events_are_handled_although_one_fails(inbox, handler, failure):
    handler.errors["evt_1"] = failure
    store("evt_1")
    store("evt_2")

    handle_all()

    assert handler.ids == ["evt_1", "evt_2"]


@any_failure
def test_a_failure_is_logged_with_its_traceback(inbox, handler, caplog, failure):
    handler.errors["evt_1"] = failure
    store("evt_1")

    handle_all()

    assert "Could not handle evt_1: attempt 1 of 3" in caplog.text
    assert 'raise self.errors[data["id"]]' in caplog.text
    assert f"{type(failure).__name__}: no" in caplog.text


@any_failure
def test_a_retry_comes_after_600_seconds(inbox, handler, clock, failure):
    handler.errors["evt_1"] = failure
    store("evt_1")

    handle_after(0, clock)
    handle_after(599, clock)
    assert handler.ids == ["evt_1"]
    handle_after(600, clock)
    assert handler.ids == ["evt_1", "evt_1"]


def test_after_a_retry_that_succeeds_there_is_no_other(inbox, handler, clock):
    handler.errors["evt_1"] = ValueError("no")
    store("evt_1")

    handle_after(0, clock)
    handler.errors.clear()
    handle_after(600, clock)
    handle_after(1200, clock)

    assert handler.ids == ["evt_1", "evt_1"]


def give_up(event_id, handler, clock):
    """Let the handler fail three times, ten minutes apart."""
    handler.errors[event_id] = ValueError("no")
    store(event_id)
    handle_after(0, clock)
    handle_after(600, clock)
    handle_after(1200, clock)


def test_three_attempts_and_no_fourth(inbox, handler, clock):
    give_up("evt_1", handler, clock)
    handle_after(1800, clock)

    assert handler.ids == ["evt_1", "evt_1", "evt_1"]


def test_the_log_says_that_the_third_attempt_was_the_last(
    inbox, handler, clock, caplog
):
    give_up("evt_1", handler, clock)

    assert "evt_1: attempt 3 of 3" in caplog.messages[2]


class Killed(BaseException):
    """Stands for a kill -9: nothing that follows in the script is run."""


def die_after(seconds, clock):
    with pytest.raises(Killed):
        handle_after(seconds, clock)


def test_a_kill_in_the_handler_counts_as_an_attempt(inbox, handler, clock):
    handler.errors["evt_1"] = Killed()
    store("evt_1")

    die_after(0, clock)
    handle_after(599, clock)
    assert handler.ids == ["evt_1"]
    die_after(600, clock)
    die_after(1200, clock)
    handle_after(1800, clock)
    assert handler.ids == ["evt_1", "evt_1", "evt_1"]


# --handle


@pytest.fixture(autouse=True)
def usual_sigterm():
    """Undo what --handle does to SIGTERM."""
    usual = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, usual)


def test_sigterm_finishes_the_event_in_hand(inbox, handler, clock):
    handler.sigterm_at = "evt_1"
    store("evt_1")
    store("evt_2")

    assert script.main(["--handle"]) == 0

    assert handler.ids == ["evt_1"]
    handle_after(600, clock)
    assert handler.ids == ["evt_1", "evt_2"]


def test_ctrl_c_in_a_handler_ends_the_handling(inbox, handler):
    handler.errors["evt_1"] = KeyboardInterrupt()
    store("evt_1")

    with pytest.raises(KeyboardInterrupt):
        script.main(["--handle"])


def test_there_is_no_pause_between_the_events_of_a_backlog(inbox, handler):
    handler.sigterm_at = "evt_30"
    for number in range(1, 31):
        store(f"evt_{number}")

    start = time.monotonic()
    script.main(["--handle"])
    seconds = time.monotonic() - start

    assert len(handler.ids) == 30
    assert seconds < 10


def test_there_is_a_pause_while_no_event_comes(inbox, monkeypatch):
    looks = []

    def find_nothing():
        looks.append(time.monotonic())
        if len(looks) == 2:
            signal.raise_signal(signal.SIGTERM)
        return False

    monkeypatch.setattr(script, "handle_next_event", find_nothing)

    script.main(["--handle"])

    assert looks[1] - looks[0] > 0.2  # seconds: without a pause, it takes a whole core


def test_at_a_start_the_log_says_how_many_were_given_up(inbox, handler, clock, caplog):
    give_up("evt_1", handler, clock)
    give_up("evt_2", handler, clock)
    handler.sigterm_at = "evt_3"
    store("evt_3")

    script.main(["--handle"])

    assert f"Handling what comes into {inbox}; 2 events were given up" in caplog.text


# --retry


def test_retry_prints_the_ids_and_they_are_handled_again(inbox, handler, clock, capsys):
    give_up("evt_1", handler, clock)
    give_up("evt_2", handler, clock)
    handler.ids.clear()

    assert script.main(["--retry"]) == 0

    assert capsys.readouterr().out == "evt_1\nevt_2\n"
    handle_after(1200, clock)
    assert handler.ids == ["evt_1", "evt_2"]


def test_after_retry_there_are_three_attempts_again(inbox, handler, clock):
    give_up("evt_1", handler, clock)
    handler.ids.clear()

    script.main(["--retry"])
    handle_after(1200, clock)
    handle_after(1800, clock)
    handle_after(2400, clock)
    handle_after(3000, clock)

    assert handler.ids == ["evt_1", "evt_1", "evt_1"]


def test_retry_takes_up_only_what_was_given_up(inbox, handler, clock, capsys):
    handler.errors["evt_failed_once"] = ValueError("no")
    store("evt_done")
    store("evt_failed_once")
    handle_all()
    store("evt_new")

    script.main(["--retry"])

    assert capsys.readouterr().out == ""
    handle_all()
    assert handler.ids == ["evt_done", "evt_failed_once", "evt_new"]


# main


def test_it_listens_on_localhost_only(client, monkeypatch):
    create_server = Mock(side_effect=OSError("in use"))
    monkeypatch.setattr(socket, "create_server", create_server)

    with pytest.raises(OSError, match="in use"):
        script.main([])

    create_server.assert_called_once_with(("127.0.0.1", 3456))


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_a_port_out_of_range_is_a_usage_error(inbox, capsys, port):
    with pytest.raises(SystemExit) as end:
        script.main([f"--port={port}"])

    assert end.value.code == 2
    assert "--port" in capsys.readouterr().err


# What it cannot use


def error_of(*arguments):
    """Run the script with these arguments; return the one line that it ends with."""
    with pytest.raises(SystemExit) as end:
        run(partial(script.main, list(arguments)))
    message = end.value.code  # Python prints it, and exits with 1
    assert message.startswith("Error: ")
    assert "\n" not in message
    return message


def test_a_missing_secret_is_one_line(inbox):
    assert "CYNCO_WEBHOOK_SECRET is not set" in error_of()


def test_a_taken_port_is_one_line(client):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        assert port in error_of("--port", port)


def test_a_host_that_is_not_ours_is_one_line(client):
    # 203.0.113.0/24 is for documentation: no machine has such an address.
    assert "203.0.113.1" in error_of("--host", "203.0.113.1", "--port", "65535")


@pytest.mark.parametrize("option", ["--handle", "--port=0"])
def test_a_second_process_that_handles_ends_in_one_line(
    client, handler, monkeypatch, option
):
    monkeypatch.setattr(socket, "create_server", Mock())
    monkeypatch.setattr(script, "make_server", Mock())
    messages = []

    def start_a_second_process(_):
        messages.append(error_of(option))
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setitem(script.HANDLERS, "bill.paid", start_a_second_process)
    script.store_event("evt_1", b'{"type":"bill.paid","data":{}}')
    store("evt_2")
    handler.errors["evt_2"] = Killed()  # ends the test if anybody handles it

    script.main(["--handle"])

    assert messages[0].startswith("Error: another process may be handling ")


def test_an_inbox_that_breaks_meanwhile_is_one_line(inbox, monkeypatch, tmp_path):
    def break_inbox(_):
        monkeypatch.setattr(script, "INBOX_FILE", str(tmp_path))

    monkeypatch.setitem(script.HANDLERS, "customer.created", break_inbox)
    store("evt_1")

    assert f"cannot use the inbox {tmp_path}" in error_of("--handle")


def make_text(inbox):
    inbox.write_text("no database" * 100)


def make_earlier_form(inbox):
    with closing(sqlite3.connect(inbox)) as database:
        database.execute(
            "CREATE TABLE events (id TEXT PRIMARY KEY, body BLOB, stored REAL, "
            "tried REAL, attempts INTEGER, done INTEGER)"
        )


def make_folder(inbox):
    inbox.mkdir()


def make_folder_of_lock(inbox):
    inbox.with_name("inbox.db.lock").mkdir()


def remove_folder(inbox):
    inbox.parent.rmdir()


UNUSABLE = [
    make_text,
    make_earlier_form,
    make_folder,
    remove_folder,
]
LOCK_IN_USE = pytest.param(make_folder_of_lock, "--handle", id="folder of lock")


@pytest.mark.parametrize(
    ("change", "option"),
    [*product(UNUSABLE, ["--handle", "--retry", "--port=0"]), LOCK_IN_USE],
)
def test_an_unusable_inbox_is_one_line(tmp_path, monkeypatch, change, option):
    inbox = tmp_path / "folder" / "inbox.db"
    inbox.parent.mkdir()
    change(inbox)
    monkeypatch.setattr(script, "INBOX_FILE", str(inbox))
    monkeypatch.setattr(script, "LOCK_FILE", f"{inbox}.lock")
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", SECRET)

    assert "inbox.db" in error_of(option)


@pytest.fixture
def not_root():
    """Be another user than root for a while."""
    is_root = os.getuid() == 0
    if is_root:
        os.setreuid(65534, 0)
    yield
    if is_root:
        os.setreuid(0, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
@pytest.mark.parametrize(
    ("inbox_file", "lock_file"),
    [("/etc/passwd", "/dev/null"), ("/dev/null", "/etc/passwd")],
    ids=["inbox", "lock"],
)
def test_an_inbox_or_lock_that_is_not_ours_to_write_is_an_error(
    monkeypatch, not_root, inbox_file, lock_file
):
    monkeypatch.setattr(script, "INBOX_FILE", inbox_file)
    monkeypatch.setattr(script, "LOCK_FILE", lock_file)

    with pytest.raises(CyncoError, match=r"^we may not write to /etc/passwd$"):
        script.open_inbox()
