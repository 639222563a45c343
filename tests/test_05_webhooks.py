"""05_webhooks.py in this process: signatures, responses, handlers, inbox, start."""

import asyncio
import hmac
import inspect
import io
import json
import logging
import sqlite3
import sys
import threading
import time
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from unittest.mock import AsyncMock, Mock

import flask
import pytest
from conftest import load
from requests.structures import CaseInsensitiveDict
from sandbox_webhooks import sign, webhook_headers

from _common import CyncoError

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
    return script.verify_signature(BODY, headers, secret)


@either_format
def test_a_signature_of_openssl_is_accepted(headers, clock):
    assert verify(headers) is True


@pytest.mark.parametrize("name", ["cynco-signature", "CYNCO-SIGNATURE"])
def test_the_guides_header_in_any_case(name, clock):
    assert verify({name: GUIDE["Cynco-Signature"]})


@pytest.mark.parametrize("change", [str.lower, str.upper], ids=["lower", "upper"])
def test_the_sdks_headers_in_any_case(change, clock):
    timestamp = change("X-Webhook-Timestamp")
    signature = change("X-Webhook-Signature")
    assert verify({timestamp: str(NOW), signature: GOOD})


@pytest.mark.parametrize("mapping", [MappingProxyType, CaseInsensitiveDict])
@either_format
def test_headers_in_any_mapping(headers, mapping, clock):
    assert verify(mapping(headers))


@pytest.mark.parametrize(
    "header",
    [
        f"t={NOW},v1=0,v1={GOOD}",
        f"t={NOW},v1={GOOD},v1=0",
        f"v0=0, v1={GOOD}, v1=0, unknown, t={NOW}",
    ],
    ids=["the last", "the first", "spaces and others"],
)
def test_one_good_v1_of_several_will_do(header, clock):
    assert verify({"Cynco-Signature": header})


@pytest.mark.parametrize("age", [300, -300])
@either_format
def test_300_seconds_are_accepted(headers, age, clock):
    clock.return_value = NOW + age
    assert verify(headers)


@pytest.mark.parametrize("age", [301, -301])
@either_format
def test_301_seconds_are_refused(headers, age, clock):
    clock.return_value = NOW + age
    assert verify(headers) is False


def sdk_headers(timestamp, signature):
    return {"X-Webhook-Timestamp": str(timestamp), "X-Webhook-Signature": signature}


def sign_at(timestamp):
    return sign(BODY, timestamp, SECRET)


def signed_at(timestamp):
    return sdk_headers(timestamp, sign_at(timestamp))


ODD_V1 = "v1,v1=,v1=\xe9,v1=\udcff"
REFUSED = {
    "no header": {},
    "no time": {"X-Webhook-Signature": sign_at("")},
    "no signature": {"X-Webhook-Timestamp": str(NOW)},
    "no v1": {"Cynco-Signature": f"t={NOW},{ODD_V1},v0={GOOD},v2={GOOD}"},
    "other time": sdk_headers(NOW + 1, GOOD),
    "other body": sdk_headers(NOW, sign(BODY + b"\n", NOW, SECRET)),
    "other secret": sdk_headers(NOW, sign(BODY, NOW, "whsec_other")),
    "secret without its prefix": sdk_headers(NOW, sign(BODY, NOW, "example")),
    "upper case": sdk_headers(NOW, GOOD.upper()),
    "one letter less": sdk_headers(NOW, GOOD[:-1]),
    "odd letters": sdk_headers(NOW, "\xe9" * 64),
    "lone surrogates": sdk_headers("\udcff", "\udcff" * 64),
    "lone surrogates in the signature": sdk_headers(NOW, "\udcff" * 64),
    "not decimal": signed_at("\xb2"),
    "words": signed_at("now"),
    "fraction": signed_at(f"{NOW}.0"),
    "huge": signed_at("9" * 5000),
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=list(REFUSED))
def test_a_forged_or_odd_delivery_is_refused(headers, clock):
    assert verify(headers) is False


def test_an_empty_secret_signs_nothing(clock):
    assert verify(sdk_headers(NOW, sign(BODY, NOW, "")), secret="") is False


def test_a_secret_that_is_no_text_raises_nothing(clock):
    assert verify(GUIDE, secret="whsec_\udcff") is False


@either_format
def test_the_only_comparison_is_in_constant_time(headers, clock, monkeypatch):
    monkeypatch.setattr(hmac, "compare_digest", Mock(return_value=False))
    assert verify(headers) is False


@pytest.fixture
def pasted():
    """The function alone, with nothing but its imports."""
    names = {}
    exec("import hashlib, hmac, time", names)
    exec("from collections.abc import Mapping", names)
    exec(inspect.getsource(script.verify_signature), names)
    return names["verify_signature"]


@either_format
def test_pasted_into_fastapi(headers, pasted, clock):
    raw = []
    for name, value in headers.items():
        raw.append((name.lower().encode(), value.encode()))
    receive = AsyncMock(return_value={"type": "http.request", "body": BODY})
    request = load("fastapi").Request({"type": "http", "headers": raw}, receive)
    body = asyncio.run(request.body())
    assert pasted(body, request.headers, SECRET) is True
    assert pasted(body, request.headers, "whsec_other") is False


@either_format
def test_pasted_into_django(headers, pasted, clock):
    settings = load("django.conf").settings
    if not settings.configured:
        settings.configure()
    factory = load("django.test").RequestFactory()
    request = factory.generic("POST", "/", BODY, headers=headers)
    assert pasted(request.body, request.headers, SECRET) is True
    assert pasted(request.body, request.headers, "whsec_other") is False


# receive


@pytest.fixture
def inbox(monkeypatch, tmp_path, caplog):
    """An inbox of the test's own, and the secret."""
    caplog.set_level(logging.INFO)
    path = tmp_path / "inbox.db"
    monkeypatch.setattr(script, "INBOX_FILE", str(path))
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", SECRET)
    script.open_inbox()
    return path


@pytest.fixture
def thread(monkeypatch):
    """Stands in for threading.Thread, so that none starts."""
    thread = Mock()
    monkeypatch.setattr(threading, "Thread", thread)
    return thread


@pytest.fixture
def client(inbox, thread):
    """Sends requests to the application, whose thread does not run."""
    script.wake_up.clear()
    return script.create_app().test_client()


class Handler:
    """Stands in for handle_event: it notes the ids, and raises as told."""

    def __init__(self):
        self.ids = []
        self.errors = {}

    def __call__(self, event):
        self.ids.append(event["id"])
        if event["id"] in self.errors:
            raise self.errors[event["id"]]


@pytest.fixture
def handler(monkeypatch):
    handler = Handler()
    monkeypatch.setattr(script, "handle_event", handler)
    return handler


def deliver(
    client, body=BODY, header_format="Cynco-Signature", path="/", secret=SECRET
):
    headers = webhook_headers(header_format, body, secret=secret)
    return client.post(path, data=body, headers=headers)


def stored_ids():
    rows, _ = script.inbox("SELECT id FROM events ORDER BY id")
    ids = []
    for row in rows:
        ids.append(row[0])
    return ids


PATHS = ["/", "/webhooks/cynco", "/webhooks/cynco/"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("header_format", ["Cynco-Signature", "X-Webhook-Signature"])
def test_a_delivery_is_stored(client, header_format, path):
    response = deliver(client, BODY, header_format, path)
    assert response.status_code == 200
    assert response.get_json() == {"received": True, "new": True}
    assert stored_ids() == ["evt_1"]


@pytest.mark.parametrize("path", PATHS)
def test_get_is_not_allowed(client, path):
    assert client.get(path).status_code == 405


def test_a_delivery_wakes_the_thread(client):
    deliver(client)
    assert script.wake_up.is_set()


def test_nothing_is_handled_in_the_request(client, handler):
    deliver(client)
    assert handler.ids == []


def test_a_delivery_that_comes_again_is_not_new(client):
    deliver(client)
    response = deliver(client)
    assert response.status_code == 200
    assert response.get_json() == {"received": True, "new": False}
    assert stored_ids() == ["evt_1"]


def test_the_delivery_id_tells_no_events_apart(client):
    headers = webhook_headers("X-Webhook-Signature", BODY, secret=SECRET)
    headers["X-Webhook-Id"] = "del_1"
    client.post("/", data=BODY, headers=headers)
    headers["X-Webhook-Id"] = "del_2"
    response = client.post("/", data=BODY, headers=headers)
    assert response.get_json()["new"] is False


@pytest.mark.parametrize("event_id", [5, True, ["a"], "\xe9", "a\0b", "';--", "EVT_1"])
def test_any_id_tells_events_apart(client, event_id):
    body = json.dumps({"id": event_id}).encode()
    deliver(client)
    first = deliver(client, body)
    again = deliver(client, body)
    assert first.get_json()["new"] is True
    assert again.get_json()["new"] is False


@pytest.mark.parametrize("secret", ["whsec_new", "whsec_old"])
@pytest.mark.parametrize("secrets", ["whsec_new,whsec_old", " whsec_new , whsec_old ,"])
def test_while_you_replace_a_secret_both_will_do(client, monkeypatch, secrets, secret):
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", secrets)
    assert deliver(client, secret=secret).status_code == 200


def test_a_third_secret_will_not_do(client, monkeypatch):
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", "whsec_new,whsec_old")
    assert deliver(client, secret="whsec_new,whsec_old").status_code == 401


def test_no_signature_is_a_401(client):
    response = client.post("/", data=BODY)
    assert response.status_code == 401
    assert response.get_json() == {"error": "invalid signature"}
    assert stored_ids() == []


def test_a_forged_signature_is_a_401(client):
    response = deliver(client, secret="whsec_other")
    assert response.status_code == 401
    assert stored_ids() == []


def test_a_stale_delivery_is_a_401(client, clock):
    clock.return_value = NOW + 301
    response = client.post("/", data=BODY, headers=SDK)
    assert response.status_code == 401
    assert stored_ids() == []


def test_what_is_not_signed_is_not_parsed(client):
    assert deliver(client, b"no JSON", secret="whsec_other").status_code == 401


def test_a_401_has_a_line_in_the_log(client, caplog):
    deliver(client, b'{"id":"evt_private"}', secret="whsec_other")
    assert caplog.messages == [
        "Rejected: wrong secret, changed body, or over 300 seconds old"
    ]


DEEP = b'{"id":"evt_1","data":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
UNREADABLE = {
    "empty": b"",
    "no JSON": b"{",
    "no text": b'"\xff"',
    "null": b"null",
    "number": b"1",
    "list": b'[{"id":"evt_1"}]',
    "string": b'"id"',
    "too deep": DEEP,
    "no id": b"{}",
    "null id": b'{"id":null}',
    "empty id": b'{"id":""}',
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=list(UNREADABLE))
def test_no_event_with_an_id_is_a_400(client, body):
    response = deliver(client, body)
    assert response.status_code == 400
    assert response.get_json() == {"error": "not an event with an id"}
    assert stored_ids() == []


def test_a_body_may_have_a_million_bytes(client):
    body = BODY.ljust(1_000_000)
    assert deliver(client, body).status_code == 200


def test_a_longer_body_is_a_413(client):
    body = BODY.ljust(1_000_001)
    assert deliver(client, body).status_code == 413
    assert stored_ids() == []


def deliver_in_chunks(client, body):
    """Deliver without a Content-Length, as a server passes on a chunked body."""
    return client.post(
        "/",
        input_stream=io.BytesIO(body),
        headers=webhook_headers("Cynco-Signature", body, secret=SECRET),
        environ_overrides={"wsgi.input_terminated": True},
    )


def test_a_body_in_chunks_may_have_a_million_bytes(client):
    body = BODY.ljust(1_000_000)
    assert deliver_in_chunks(client, body).status_code == 200


def test_a_longer_body_in_chunks_is_refused(client):
    body = BODY.ljust(1_000_001)
    assert deliver_in_chunks(client, body).status_code == 413
    assert stored_ids() == []


def test_what_cannot_be_stored_is_a_500(client, monkeypatch, tmp_path):
    monkeypatch.setattr(script, "INBOX_FILE", str(tmp_path / "missing" / "inbox.db"))
    assert deliver(client).status_code == 500


def test_after_a_500_the_next_delivery_is_stored(client, monkeypatch):
    with monkeypatch.context() as patch:
        error = sqlite3.OperationalError("disk I/O error")
        patch.setattr(script, "inbox", Mock(side_effect=error))
        deliver(client)
    response = deliver(client)
    assert response.status_code == 200
    assert response.get_json()["new"] is True
    assert stored_ids() == ["evt_1"]


def test_without_a_secret_a_delivery_is_a_500(client, monkeypatch):
    monkeypatch.delenv("CYNCO_WEBHOOK_SECRET")
    assert deliver(client).status_code == 500
    assert stored_ids() == []


# The handlers

PRINTED = {
    "invoice.created, guide": (
        "invoice.created",
        {
            "invoiceNumber": "INV-1",
            "customerName": "Acme",
            "total": 162000,
            "currency": "MYR",
        },
        "Invoice INV-1 for Acme: MYR 1,620.00\n",
    ),
    "invoice.created, SDK": (
        "invoice.created",
        {
            "invoiceNumber": "INV-1",
            "customerName": "Acme",
            "totalAmount": 1620,
            "currency": "MYR",
        },
        "Invoice INV-1 for Acme: MYR 1,620.00\n",
    ),
    "invoice.paid, guide": (
        "invoice.paid",
        {"invoiceNumber": "INV-1", "total": 162000, "currency": "MYR"},
        "Invoice INV-1 is paid: MYR 1,620.00\n",
    ),
    "invoice.paid, SDK": (
        "invoice.paid",
        {"invoiceNumber": "INV-1", "totalAmount": 1620.00, "currency": "MYR"},
        "Invoice INV-1 is paid: MYR 1,620.00\n",
    ),
    "invoice.paid in yen, guide": (
        "invoice.paid",
        {"invoiceNumber": "INV-1", "total": 500, "currency": "JPY"},
        "Invoice INV-1 is paid: JPY 500\n",
    ),
    "invoice.paid in yen, SDK": (
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
    "unknown": ("bill.paid", {}, "No handler for bill.paid\n"),
}


@pytest.mark.parametrize("name", ["type", "event"])
@pytest.mark.parametrize(
    ("event_type", "data", "expected"), PRINTED.values(), ids=list(PRINTED)
)
def test_what_a_handler_prints(capsys, name, event_type, data, expected):
    script.handle_event({"id": "evt_1", name: event_type, "data": data})
    assert capsys.readouterr().out == expected


def test_a_handler_of_your_own_gets_the_data(monkeypatch):
    on_bill_paid = Mock()
    monkeypatch.setitem(script.HANDLERS, "bill.paid", on_bill_paid)
    script.handle_event({"id": "evt_1", "type": "bill.paid", "data": {"id": "bil_1"}})
    on_bill_paid.assert_called_once_with({"id": "bil_1"})


def test_a_handler_gets_exact_amounts(inbox, monkeypatch):
    on_bill_paid = Mock()
    monkeypatch.setitem(script.HANDLERS, "bill.paid", on_bill_paid)
    script.store_event("evt_1", b'{"type":"bill.paid","data":90071992547409.93}')
    script.handle_pending()
    on_bill_paid.assert_called_once_with(Decimal("90071992547409.93"))


# The inbox


def store(event_id):
    script.store_event(event_id, json.dumps({"id": event_id}).encode())


def mode(path):
    return Path(path).stat().st_mode & 0o777


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_the_inbox_is_for_its_owner_only(inbox):
    with closing(sqlite3.connect(inbox)) as reader:
        reader.execute("SELECT * FROM events")  # the other two exist meanwhile
        assert mode(f"{inbox}") == 0o600
        assert mode(f"{inbox}-wal") == 0o600
        assert mode(f"{inbox}-shm") == 0o600


def test_an_inbox_keeps_its_events_when_it_is_opened_again(inbox):
    store("evt_1")
    script.open_inbox()
    assert stored_ids() == ["evt_1"]


def test_an_inbox_that_another_process_is_opening(inbox, monkeypatch):
    inbox.unlink()
    run_statement = script.inbox

    def locked(sql, *values):
        if "PRAGMA" in sql:
            raise sqlite3.OperationalError("database is locked")
        return run_statement(sql, *values)

    monkeypatch.setattr(script, "inbox", locked)
    script.open_inbox()
    assert script.store_event("evt_1", b"{}") is True


def test_an_inbox_that_is_no_database(inbox):
    inbox.write_text("no database" * 100)
    with pytest.raises(CyncoError, match=r"cannot use the inbox .*inbox\.db: "):
        script.open_inbox()


def test_an_inbox_in_a_missing_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(script, "INBOX_FILE", str(tmp_path / "missing" / "inbox.db"))
    with pytest.raises(FileNotFoundError):
        script.open_inbox()


def test_the_next_event_is_found_by_an_index(inbox):
    rows, _ = script.inbox(f"EXPLAIN QUERY PLAN {script.NEXT_EVENT}", NOW)
    assert "USING INDEX pending" in str(rows)


def test_an_event_that_comes_again_is_stored_as_it_first_came(inbox):
    assert script.store_event("evt_1", b"first") is True
    assert script.store_event("evt_1", b"second") is False
    rows, _ = script.inbox("SELECT body FROM events")
    assert rows == [(b"first",)]


def test_an_inbox_that_is_a_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(script, "INBOX_FILE", str(tmp_path))
    with pytest.raises((CyncoError, OSError), match=tmp_path.name):
        script.open_inbox()


# handle_pending


def test_an_event_is_handled_once(inbox, handler, clock):
    store("evt_1")
    script.handle_pending()
    script.handle_pending()
    clock.return_value = NOW + 601
    script.handle_pending()
    assert handler.ids == ["evt_1"]


def test_what_is_handled_has_a_line_in_the_log(inbox, handler, caplog):
    store("evt_1")
    script.handle_pending()
    assert caplog.messages == ["Handled evt_1"]


def test_an_event_that_comes_again_is_not_handled_again(inbox, handler):
    store("evt_1")
    script.handle_pending()
    store("evt_1")
    script.handle_pending()
    assert handler.ids == ["evt_1"]


def test_an_event_that_comes_meanwhile_is_handled(inbox, monkeypatch, capsys):
    def store_another(_):
        script.store_event("evt_2", b'{"type":"second"}')

    monkeypatch.setitem(script.HANDLERS, "first", store_another)
    script.store_event("evt_1", b'{"type":"first","data":null}')
    script.handle_pending()
    assert capsys.readouterr().out == "No handler for second\n"


def test_the_oldest_is_handled_first(inbox, handler, clock):
    store("evt_2")
    clock.return_value = NOW + 1
    store("evt_3")
    clock.return_value = NOW + 2
    store("evt_1")
    script.handle_pending()
    assert handler.ids == ["evt_2", "evt_3", "evt_1"]


def test_new_events_are_handled_before_those_that_failed(inbox, handler, clock):
    handler.errors["evt_1"] = ValueError("no")
    store("evt_1")
    script.handle_pending()
    clock.return_value = NOW + 601
    store("evt_2")
    script.handle_pending()
    assert handler.ids == ["evt_1", "evt_2", "evt_1"]


FAILURES = [ValueError("no"), SystemExit("no"), KeyboardInterrupt("no")]
any_failure = pytest.mark.parametrize("failure", FAILURES, ids=repr)


@any_failure
def test_later_events_are_handled_although_one_fails(inbox, handler, clock, failure):
    handler.errors["evt_1"] = failure
    store("evt_1")
    clock.return_value = NOW + 1
    store("evt_2")
    script.handle_pending()
    assert handler.ids == ["evt_1", "evt_2"]


@any_failure
def test_a_failure_is_logged_with_its_traceback(inbox, handler, caplog, failure):
    handler.errors["evt_1"] = failure
    store("evt_1")
    script.handle_pending()
    assert caplog.messages == ["Could not handle evt_1"]
    assert "raise self.errors" in caplog.text
    assert f"{type(failure).__name__}: no" in caplog.text


def test_a_failed_event_is_not_tried_again_within_600_seconds(inbox, handler, clock):
    handler.errors["evt_1"] = ValueError("no")
    store("evt_1")
    script.handle_pending()
    clock.return_value = NOW + 600
    script.handle_pending()
    assert handler.ids == ["evt_1"]


def test_a_failed_event_is_tried_again_after_600_seconds(inbox, handler, clock):
    handler.errors["evt_1"] = ValueError("no")
    store("evt_1")
    script.handle_pending()
    clock.return_value = NOW + 601
    script.handle_pending()
    assert handler.ids == ["evt_1", "evt_1"]


def test_an_event_is_done_once_an_attempt_succeeds(inbox, handler, clock):
    handler.errors["evt_1"] = ValueError("no")
    store("evt_1")
    script.handle_pending()
    handler.errors.clear()
    clock.return_value = NOW + 601
    script.handle_pending()
    clock.return_value = NOW + 1202
    script.handle_pending()
    assert handler.ids == ["evt_1", "evt_1"]


def test_an_event_is_given_up_after_three_attempts(inbox, handler, clock):
    handler.errors["evt_1"] = ValueError("no")
    store("evt_1")
    script.handle_pending()
    clock.return_value = NOW + 601
    script.handle_pending()
    clock.return_value = NOW + 1202
    script.handle_pending()
    clock.return_value = NOW + 1803
    script.handle_pending()
    assert handler.ids == ["evt_1", "evt_1", "evt_1"]


def test_an_event_of_which_nobody_knows_the_type_fails(inbox, caplog):
    store("evt_1")  # it has neither a type nor an event
    script.handle_pending()
    assert "Could not handle evt_1" in caplog.text
    assert "KeyError: 'event'" in caplog.text


# Two processes


@pytest.fixture
def rival(inbox, monkeypatch):
    """The script, imported once more: as another process with the same inbox."""
    monkeypatch.delitem(sys.modules, "05_webhooks")
    monkeypatch.setenv("CYNCO_INBOX", str(inbox))
    rival = load("05_webhooks")
    rival.handle_event = Handler()
    return rival


def test_what_one_process_has_in_hand_another_does_not_take(rival, monkeypatch, clock):
    def outlast_the_rival(_):
        clock.return_value = NOW + 600
        rival.handle_pending()

    monkeypatch.setattr(script, "handle_event", outlast_the_rival)
    store("evt_1")
    script.handle_pending()
    assert rival.handle_event.ids == []


def test_what_stays_in_hand_too_long_another_takes(rival, monkeypatch, clock):
    def take_too_long(_):
        clock.return_value = NOW + 601
        rival.handle_pending()

    monkeypatch.setattr(script, "handle_event", take_too_long)
    store("evt_1")
    script.handle_pending()
    assert rival.handle_event.ids == ["evt_1"]


@pytest.fixture
def faster_rival(rival, monkeypatch):
    """Handles what the script has chosen, just before the script claims it."""
    query = script.inbox

    def be_slow(sql, *values):
        if sql == script.CLAIM_EVENT:
            rival.handle_pending()
        return query(sql, *values)

    monkeypatch.setattr(script, "inbox", be_slow)
    return rival


def test_of_two_that_choose_the_same_event_one_handles_it(faster_rival, handler):
    store("evt_1")
    script.handle_pending()
    assert faster_rival.handle_event.ids == ["evt_1"]
    assert handler.ids == []


def test_of_two_that_choose_the_same_failing_event_one_tries_it(faster_rival, handler):
    faster_rival.handle_event.errors["evt_1"] = ValueError("no")
    store("evt_1")
    script.handle_pending()
    assert faster_rival.handle_event.ids == ["evt_1"]
    assert handler.ids == []


def test_after_an_event_that_another_took_comes_the_next(
    inbox, handler, monkeypatch, clock
):
    query = script.inbox

    def lose_the_first(sql, *values):
        if sql == script.CLAIM_EVENT and "evt_1" in values:
            query(sql, *values)  # another process claims it before us
        return query(sql, *values)

    monkeypatch.setattr(script, "inbox", lose_the_first)
    store("evt_1")
    clock.return_value = NOW + 1
    store("evt_2")
    script.handle_pending()
    assert handler.ids == ["evt_2"]


# The thread


class EndOfTest(BaseException):
    """Ends a loop that never ends by itself."""


def test_the_thread_goes_on_after_the_inbox_failed(monkeypatch, caplog):
    error = sqlite3.OperationalError("disk I/O error")
    handle_pending = Mock(side_effect=[error, EndOfTest])
    monkeypatch.setattr(script, "handle_pending", handle_pending)
    script.wake_up.set()
    with pytest.raises(EndOfTest):
        script.handle_forever()
    assert handle_pending.call_count == 2
    assert "The inbox failed" in caplog.messages
    assert "OperationalError: disk I/O error" in caplog.text


def test_the_thread_does_not_run_without_a_pause(monkeypatch):
    handle_pending = Mock(side_effect=[None, EndOfTest])
    monkeypatch.setattr(script, "handle_pending", handle_pending)
    script.wake_up.set()
    with pytest.raises(EndOfTest):
        script.handle_forever()
    assert not script.wake_up.is_set()


def test_the_thread_looks_once_a_minute(monkeypatch):
    handle_pending = Mock(side_effect=[None, EndOfTest])
    wait = Mock(return_value=False)
    monkeypatch.setattr(script, "handle_pending", handle_pending)
    monkeypatch.setattr(script.wake_up, "wait", wait)
    with pytest.raises(EndOfTest):
        script.handle_forever()
    wait.assert_called_once_with(timeout=60)


# The start


def test_create_app_starts_the_thread(inbox, thread):
    script.create_app()
    thread.assert_called_once_with(target=script.handle_forever, daemon=True)
    thread.return_value.start.assert_called_once_with()


def test_create_app_opens_the_inbox(inbox, thread):
    inbox.unlink()
    script.create_app()
    assert stored_ids() == []


@pytest.mark.parametrize("secrets", ["", " , "])
def test_create_app_needs_a_secret(inbox, thread, monkeypatch, secrets):
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", secrets)
    with pytest.raises(CyncoError, match="CYNCO_WEBHOOK_SECRET is not set"):
        script.create_app()
    assert not thread.called


def load_in(folder, monkeypatch):
    """Import the script once more, as in a terminal in this folder."""
    monkeypatch.chdir(folder)
    monkeypatch.delitem(sys.modules, "05_webhooks")
    return load("05_webhooks")


def test_an_import_does_nothing(tmp_path, thread, monkeypatch):
    load_in(tmp_path, monkeypatch)
    assert not thread.called
    assert list(tmp_path.iterdir()) == []


def test_the_inbox_is_in_the_current_folder(tmp_path, monkeypatch):
    module = load_in(tmp_path, monkeypatch)
    assert str(Path.cwd() / "webhook_events.db") == module.INBOX_FILE


def test_cynco_inbox_names_the_inbox(tmp_path, monkeypatch):
    monkeypatch.setenv("CYNCO_INBOX", "other.db")
    module = load_in(tmp_path, monkeypatch)
    module.open_inbox()
    assert (tmp_path / "other.db").exists()


@pytest.fixture
def flask_run(inbox, thread, monkeypatch):
    flask_run = Mock()
    monkeypatch.setattr(flask.Flask, "run", flask_run)
    return flask_run


def test_it_listens_on_localhost_only(flask_run):
    assert script.main([]) == 0
    flask_run.assert_called_once_with("127.0.0.1", 3456)


def test_it_listens_where_you_say(flask_run):
    script.main(["--host", "0.0.0.0", "--port", "8080"])
    flask_run.assert_called_once_with("0.0.0.0", 8080)


def test_a_port_is_a_number(flask_run, capsys):
    with pytest.raises(SystemExit, match="2"):
        script.main(["--port", "http"])
    assert "argument --port: invalid int value: 'http'" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_a_port_out_of_range_is_a_usage_error(inbox, thread, capsys, port):
    with pytest.raises(SystemExit) as stop:
        script.main([f"--port={port}"])
    assert stop.value.code == 2
    assert "--port" in capsys.readouterr().err
    thread.assert_not_called()
