"""05_webhooks.py: whom it believes, what it answers, what it stores, what it handles, how it starts."""

import hashlib
import hmac
import io
import json
import logging
import os
import random
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sandbox
from conftest import load
from werkzeug.serving import DechunkedInput
from werkzeug.test import TestResponse

script = load("05_webhooks")
Capture = pytest.CaptureFixture[str]
Log = pytest.LogCaptureFixture
Patch = pytest.MonkeyPatch
Start = Callable[..., dict[str, Any]]

SECRET = sandbox.WEBHOOK_SECRET
FORMS = ["X-Webhook-Signature", "Cynco-Signature"]
PATHS = ["/webhooks/cynco", "/"]
BODY = b'{"id": "evt_1", "type": "invoice.paid", "data": {"invoiceNumber": "INV-1"}}'


@pytest.fixture(autouse=True)
def inbox(monkeypatch: Patch, tmp_path: Path) -> Path:
    """An inbox and a secret of our own."""
    path = tmp_path / "inbox" / "events.db"
    path.parent.mkdir()
    monkeypatch.setitem(script.app.config, "DATABASE", str(path))
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", SECRET)
    return path


@pytest.fixture
def start(monkeypatch: Patch) -> Start:
    """Start the receiver with these arguments, as far as what is left in the inbox; return where it would listen."""
    started: dict[str, Any] = {}
    before = set(threading.enumerate())

    class Server:
        def __init__(self, host: str, port: int, app: object, **options: Any) -> None:
            started.update(host=host, port=port, app=app, options=options)

        def serve_forever(self) -> None:
            for thread in set(threading.enumerate()) - before:
                thread.join(30)
            if started.get("interrupt"):
                raise KeyboardInterrupt

    def start(*arguments: str, **known: object) -> dict[str, Any]:
        started.update(known)
        started["exit"] = script.main(arguments)
        return started

    monkeypatch.setattr(script, "make_server", Server)
    return start


def sign(body: bytes, timestamp: object, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def headers(form: str, timestamp: object, *signatures: str) -> dict[str, str]:
    if form == "Cynco-Signature":
        return {form: ",".join([f"t={timestamp}", *(f"v1={signature}" for signature in signatures)])}
    return {"X-Webhook-Timestamp": str(timestamp), "X-Webhook-Signature": ",".join(signatures)}


def post(body: bytes, sent: dict[str, str], path: str = "/webhooks/cynco") -> TestResponse:
    response: TestResponse = script.app.test_client().post(path, data=body, headers=sent)
    return response


def deliver(event: Any, form: str = FORMS[0], path: str = "/webhooks/cynco", **more: str) -> TestResponse:
    """Send an event (or the bytes of one) as Cynco does, signed now."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    now = int(time.time())
    return post(body, {**headers(form, now, sign(body, now)), **more}, path)


def stored(inbox: Path) -> dict[str, bool]:
    """The events in the inbox in their order, and whether each is handled."""
    if not inbox.exists():
        return {}
    with closing(sqlite3.connect(inbox)) as database:
        return dict(database.execute("SELECT id, handled_at IS NOT NULL FROM events ORDER BY rowid"))


def refused(body: bytes, sent: dict[str, str], inbox: Path) -> bool:
    """Whether a delivery is refused by the function, and by the receiver without a trace."""
    response = post(body, sent)
    return not script.verify_signature(body, sent, [SECRET]) and response.status_code == 401 and not stored(inbox)


# Whom it believes


def test_a_signature_made_elsewhere() -> None:
    # printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_example
    signature = "2f6f24854ba5c8d505c37e6fc0a06fc74456f1a4042208e7acdd4bd0bdbd599e"
    for form in FORMS:
        sent = headers(form, 1700000000, signature)
        assert script.verify_signature(b'{"id":"evt_1"}', sent, ["whsec_example"], now=1700000000)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("form", FORMS)
def test_a_delivery_in_either_form_at_either_path(inbox: Path, capsys: Capture, form: str, path: str) -> None:
    response = deliver(BODY, form, path)
    assert (response.status_code, response.get_json()) == (200, {"received": True, "new": True})
    assert stored(inbox) == {"evt_1": True}
    assert capsys.readouterr().out.count("INV-1") == 1


@pytest.mark.parametrize("good", [0, 1, 2])
def test_one_good_signature_of_several_is_enough(good: int) -> None:
    now = int(time.time())
    signatures = ["0" * 64, "", "\u0661" * 64]
    signatures[good] = sign(BODY, now)
    assert script.verify_signature(BODY, headers("Cynco-Signature", now, *signatures), [SECRET])


def test_spaces_after_the_commas_and_unknown_parts_are_no_matter() -> None:
    now = int(time.time())
    sent = {"Cynco-Signature": f"v2=x, v1={sign(BODY, now)}, t={now}, unknown"}
    assert script.verify_signature(BODY, sent, [SECRET])


@pytest.mark.parametrize("bad", FORMS)
def test_one_good_form_of_two_is_enough(bad: str) -> None:
    now = int(time.time())
    both = {name: value for form in FORMS for name, value in headers(form, now, sign(BODY, now)).items()}
    both.update(headers(bad, now, "0" * 64))
    assert script.verify_signature(BODY, both, [SECRET])


@pytest.mark.parametrize("form", FORMS)
def test_any_of_the_configured_secrets_may_have_signed(monkeypatch: Patch, form: str) -> None:
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", " whsec_new ,whsec_old,")
    now = int(time.time())
    answers = {
        secret: post(BODY, headers(form, now, sign(BODY, now, secret))).status_code
        for secret in ["whsec_new", "whsec_old", "new", "whsec_new ,whsec_old", ""]
    }
    assert answers == {"whsec_new": 200, "whsec_old": 200, "new": 401, "whsec_new ,whsec_old": 401, "": 401}


@pytest.mark.parametrize("secrets", ["", ",", " , ", "whsec_a,", ",whsec_a", "whsec_a,,whsec_b"])
@pytest.mark.parametrize("form", FORMS)
def test_nobody_can_sign_with_an_empty_secret(inbox: Path, monkeypatch: Patch, form: str, secrets: str) -> None:
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", secrets)
    now = int(time.time())
    for empty in ["", " "]:
        assert post(BODY, headers(form, now, sign(BODY, now, empty))).status_code == 401
    assert not script.verify_signature(BODY, headers(form, now, sign(BODY, now, "")), [""])
    assert stored(inbox) == {}


@pytest.mark.parametrize(
    "forge",
    [
        lambda good: "",
        lambda good: good.upper(),
        lambda good: f"sha256={good}",
        lambda good: f"v1={good}",
        lambda good: good[:63],
        lambda good: good + "0",
        lambda good: f"{good};{good}",
        lambda good: "0" * 64,
        lambda good: "\xe9" * 64,
        lambda good: good[:63] + "\xb2",
        lambda good: '"' + good + '"',
        lambda good: good * 1000,
    ],
    ids=["empty", "upper", "sha256", "v1", "63", "65", "twice", "zeros", "latin", "last", "quoted", "long"],
)
@pytest.mark.parametrize("form", FORMS)
def test_a_signature_that_is_not_the_one_is_refused(inbox: Path, form: str, forge: Callable[[str], str]) -> None:
    now = int(time.time())
    assert refused(BODY, headers(form, now, forge(sign(BODY, now))), inbox)


@pytest.mark.parametrize("value", ["\u0661" * 64, "\udcff" * 64, "\ud800", "\U0001f600" * 16, "\0" * 64, "\n"])
@pytest.mark.parametrize("form", FORMS)
def test_a_signature_that_no_header_can_carry_does_not_raise(form: str, value: str) -> None:
    now = int(time.time())
    assert script.verify_signature(BODY, headers(form, now, value), [SECRET]) is False
    assert script.verify_signature(BODY, headers(form, value, sign(BODY, now)), [SECRET]) is False
    assert script.verify_signature(BODY, {form: value}, [SECRET]) is False


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "t={t}",
        "v1={v1}",
        "t={t},v1",
        "t={t},v1=",
        "t=,v1={v1}",
        "t={t};v1={v1}",
        "t={t} v1={v1}",
        "t={t},v0={v1}",
        "t={t},V1={v1}",
        "t={t},v1 ={v1}",
        "{t},{v1}",
        "{v1}",
        "=,=,=",
        "t={t},t={t},v1={v1}",  # which of them was signed?
        "t=1,t={t},v1={v1}",
        "t={t},v1={v1},t=1",
        "t={t},v1={v1},t={t},v1={v1}",  # the header twice
    ],
)
def test_a_cynco_signature_header_out_of_form_is_refused(inbox: Path, sent: str) -> None:
    now = int(time.time())
    assert refused(BODY, {"Cynco-Signature": sent.format(t=now, v1=sign(BODY, now))}, inbox)


def test_a_header_that_is_missing_or_repeated_is_refused(inbox: Path) -> None:
    now = int(time.time())
    complete = headers("X-Webhook-Signature", now, sign(BODY, now))
    for name, value in complete.items():
        assert refused(BODY, {other: complete[other] for other in complete if other != name}, inbox)
        assert refused(BODY, {**complete, name: f"{value},{value}"}, inbox)  # as a server joins them
        assert refused(BODY, {**complete, name: f"{value}, {value}"}, inbox)
    assert refused(BODY, {}, inbox)
    assert not refused(BODY, complete, inbox)


@pytest.mark.parametrize(
    "write",
    [
        lambda now: "",
        lambda now: "nan",
        lambda now: "inf",
        lambda now: "1e9",
        lambda now: f"{now}.0",
        lambda now: f" {now}",
        lambda now: f"{now} ",
        lambda now: f"+{now}",
        lambda now: f"-{now}",
        lambda now: f"{now:_}",
        lambda now: f"{now:,}",
        lambda now: hex(now),
        lambda now: f"{now}000",
        lambda now: "0",
        lambda now: "9" * 15,
        lambda now: "9" * 16,
        lambda now: "9" * 5000,
        lambda now: f"{now}\xb2",
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_a_timestamp_that_is_not_a_recent_whole_number_is_refused(
    inbox: Path, form: str, write: Callable[[int], str]
) -> None:
    timestamp = write(int(time.time()))
    assert refused(BODY, headers(form, timestamp, sign(BODY, timestamp)), inbox)


@pytest.mark.parametrize("form", FORMS)
def test_a_timestamp_in_arabic_digits_is_refused(form: str) -> None:
    now = int(time.time())
    arabic = str(now).translate({ord("0") + digit: 0x660 + digit for digit in range(10)})
    assert int(arabic) == now
    for timestamp in [arabic, f"{now}\n"]:
        assert not script.verify_signature(BODY, headers(form, timestamp, sign(BODY, timestamp)), [SECRET])


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body + b" ",
        lambda body: b" " + body,
        lambda body: body.replace(b": ", b":", 1),
        lambda body: json.dumps(json.loads(body), indent=1).encode(),
        lambda body: json.dumps(json.loads(body), sort_keys=True).encode(),
        lambda body: body.replace(b"INV-1", b"INV-2"),
        lambda body: body[:-1],
        lambda body: body + b"\0",
        lambda body: b"\xef\xbb\xbf" + body,
        lambda body: b"",
        lambda body: b"\xff\xfe\x80",
        lambda body: b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_another_body_than_the_signed_one_is_refused(inbox: Path, form: str, change: Callable[[bytes], bytes]) -> None:
    now = int(time.time())
    signed = b'{"type": "invoice.paid", "id": "evt_1", "data": {"invoiceNumber": "INV-1"}}'
    assert refused(change(signed), headers(form, now, sign(signed, now)), inbox)


def test_no_mutation_of_a_delivery_passes_or_raises(inbox: Path) -> None:
    chance = random.Random(20260331)
    now = int(time.time())
    for number in range(300):
        sent, body = headers(FORMS[number % 2], now, sign(BODY, now)), bytearray(BODY)
        name = chance.choice([*sent, "body"])
        if name == "body":
            body[chance.randrange(len(body))] ^= chance.randrange(1, 256)
        else:
            at = chance.randrange(len(sent[name]))
            other = chr(chance.choice([chance.randrange(0x21, 0x7F), chance.randrange(0xA1, 0x100)]))
            sent[name] = sent[name][:at] + other * (other != sent[name][at]) + sent[name][at + 1 :]
        assert refused(bytes(body), sent, inbox), (sent, body)


def test_no_noise_passes_or_raises() -> None:
    chance = random.Random(20260331)
    for _ in range(300):
        names = ["X-Webhook-Timestamp", "X-Webhook-Signature", "Cynco-Signature"]
        alphabet = [*"tv1=,0123456789abcdef ", "\0", "\xe9", "\u0661", "\udcff", "\U0001f600"]
        sent = {name: "".join(chance.choices(alphabet, k=chance.randrange(200))) for name in names}
        assert script.verify_signature(chance.randbytes(chance.randrange(200)), sent, [SECRET]) is False


@pytest.mark.parametrize(
    ("offset", "accepted", "said"),
    [
        (0, True, []),
        (300, True, []),
        (-300, True, []),
        (301, False, ["301 s ago"]),
        (-301, False, ["301 s ahead"]),
        (86_400, False, ["86400 s ago"]),
        (-86_400, False, ["86400 s ahead"]),
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_five_minutes_on_both_sides_of_now(
    caplog: Log, form: str, offset: int, accepted: bool, said: list[str]
) -> None:
    signed = 1_700_000_000
    sent = headers(form, signed, sign(BODY, signed))
    assert script.verify_signature(BODY, sent, [SECRET], now=signed + offset) is accepted
    assert len(caplog.messages) == len(said)
    assert all(part in message for part, message in zip(said, caplog.messages))


def test_a_wrong_clock_is_logged_only_for_what_cynco_signed(caplog: Log) -> None:
    stale = int(time.time()) - 600
    for signature in ["0" * 64, "", sign(BODY, stale, "whsec_of_somebody_else"), sign(BODY + b" ", stale)]:
        assert post(BODY, headers("Cynco-Signature", stale, signature)).status_code == 401
    assert caplog.messages == ["Rejected: not signed with any secret in use"] * 4
    caplog.clear()
    assert post(BODY, headers("Cynco-Signature", stale, sign(BODY, stale))).status_code == 401
    assert len(caplog.messages) == 1
    assert re.search("60[0-9] s ago", caplog.text)
    assert SECRET not in caplog.text


def test_every_refusal_looks_the_same() -> None:
    now = int(time.time())
    answers = [
        post(BODY, {}),
        post(b"not JSON", {}),
        post(BODY, headers(FORMS[0], now, "0" * 64)),
        post(BODY, headers(FORMS[1], now, sign(BODY, now, "whsec_of_somebody_else"))),
        post(BODY, headers(FORMS[0], now - 600, sign(BODY, now - 600))),
        post(BODY, headers(FORMS[1], now + 600, sign(BODY, now + 600))),
        post(BODY, headers(FORMS[1], "nan", sign(BODY, "nan"))),
    ]
    assert len({(answer.status_code, answer.data, str(answer.headers)) for answer in answers}) == 1
    assert answers[0].status_code == 401


def test_signatures_are_compared_as_bytes_in_constant_time(monkeypatch: Patch) -> None:
    compare, compared = hmac.compare_digest, []

    def note(first: bytes, second: bytes) -> bool:
        compared.append((first, second))
        return compare(first, second)

    monkeypatch.setattr(hmac, "compare_digest", note)
    now = int(time.time())
    good, wrong = sign(BODY, now), "0" * 64
    assert not script.verify_signature(BODY, headers("Cynco-Signature", now, wrong), [SECRET])
    assert script.verify_signature(BODY, headers("Cynco-Signature", now, good), [SECRET])
    assert {frozenset(pair) for pair in compared} == {
        frozenset({good.encode(), wrong.encode()}),
        frozenset({good.encode()}),
    }


# What it answers


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"[]",
        b'[{"id": "evt_1"}]',
        b'"text"',
        b"1",
        b"null",
        b"NaN",
        b"{} {}",
        b"{'id': 1}",
        b'{"id": "\xff\xfe"}',
        b"\x80" * 10,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"id": "evt_1", "data": {"amount": ' + b"9" * 5000 + b"}}",
    ],
    ids=lambda body: repr(body[:20]),
)
@pytest.mark.parametrize("form", FORMS)
def test_signed_but_not_a_json_object(inbox: Path, form: str, body: bytes) -> None:
    assert deliver(body, form).status_code == 400
    assert stored(inbox) == {}


def test_a_megabyte_and_no_more(inbox: Path) -> None:
    fits = b'{"id": "evt_1"}'.ljust(1_000_000)
    assert deliver(fits + b" ").status_code == 413
    assert post(fits + b" ", {}).status_code == 413
    assert stored(inbox) == {}
    assert deliver(fits).status_code == 200
    assert stored(inbox) == {"evt_1": True}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"])
def test_only_post_is_allowed(inbox: Path, method: str, path: str) -> None:
    now = int(time.time())
    sent = headers(FORMS[0], now, sign(BODY, now))
    response = script.app.test_client().open(path, method=method, data=BODY, headers=sent)
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")
    assert stored(inbox) == {}


@pytest.mark.parametrize("path", ["/webhooks", "/webhooks/cynco/", "/webhooks/cynco/1", "/cynco", "/favicon.ico"])
def test_there_is_nothing_elsewhere(inbox: Path, path: str) -> None:
    assert deliver(BODY, path=path).status_code == 404
    assert stored(inbox) == {}


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_the_content_type_is_no_matter(inbox: Path, content_type: str) -> None:
    assert deliver(BODY, **{"Content-Type": content_type}).status_code == 200
    assert stored(inbox) == {"evt_1": True}


@pytest.mark.parametrize("database", [".", "missing/events.db", "not-sqlite.db"])
def test_what_cannot_be_stored_is_to_be_sent_again(
    inbox: Path, monkeypatch: Patch, capsys: Capture, caplog: Log, database: str
) -> None:
    (inbox.parent / "not-sqlite.db").write_text("no database" * 100)
    monkeypatch.setitem(script.app.config, "DATABASE", str(inbox.parent / database))
    assert deliver(BODY).status_code == 500
    assert "cannot store" in caplog.text
    assert capsys.readouterr().out == ""

    monkeypatch.setitem(script.app.config, "DATABASE", str(inbox))
    assert deliver(BODY).get_json() == {"received": True, "new": True}
    assert capsys.readouterr().out.count("INV-1") == 1


def test_a_disk_that_is_full_loses_nothing_either(inbox: Path, capsys: Capture) -> None:
    deliver({"id": "evt_0"})
    full = "CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
    with closing(sqlite3.connect(inbox)) as database:
        database.execute(full)
        assert deliver(BODY).status_code == 500
        database.execute("DROP TRIGGER full")
    assert "INV-1" not in capsys.readouterr().out
    assert deliver(BODY).status_code == 200
    assert stored(inbox) == {"evt_0": True, "evt_1": True}


# What it stores


def test_a_repeated_event_is_handled_once(inbox: Path, capsys: Capture) -> None:
    answers = [
        deliver(BODY, "X-Webhook-Signature", **{"X-Webhook-Id": "del_1"}),
        deliver(BODY, "X-Webhook-Signature", **{"X-Webhook-Id": "del_2"}),
        deliver(BODY, "Cynco-Signature"),
        deliver(BODY + b" ", "Cynco-Signature"),
    ]
    assert [(answer.status_code, answer.get_json()["new"]) for answer in answers] == [(200, True)] + [(200, False)] * 3
    assert stored(inbox) == {"evt_1": True}
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_one_delivery_id_does_not_hide_another_event(inbox: Path, capsys: Capture) -> None:
    for number in (1, 2):
        response = deliver({"id": f"evt_{number}", "type": "invoice.paid"}, **{"X-Webhook-Id": "del_1"})
        assert response.get_json()["new"] is True
    assert stored(inbox) == {"evt_1": True, "evt_2": True}
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize("no_id", [{}, *({"id": value} for value in [None, "", 0, 5, True, ["a"], {"a": 1}])])
def test_an_event_without_an_id_is_known_by_its_body(inbox: Path, no_id: dict[str, Any]) -> None:
    bodies = [json.dumps({**no_id, "type": "invoice.paid", "data": {"total": total}}).encode() for total in (1, 2)]
    new = [deliver(body).get_json()["new"] for body in [*bodies, *bodies]]
    assert new == [True, True, False, False]
    assert stored(inbox) == {hashlib.sha256(body).hexdigest(): True for body in bodies}


def test_an_id_of_any_text_is_a_key(inbox: Path) -> None:
    texts = ["\ud800", "\udcff", "a\0b", "a\0c", "a", "A", "\xe9", "\u6c38", " ", "'; DROP TABLE events;", "x" * 9999]
    events = [{"id": text} for text in texts]
    assert [deliver(event).get_json()["new"] for event in events] == [True] * len(texts)
    assert [deliver(event).get_json()["new"] for event in events] == [False] * len(texts)
    assert list(stored(inbox).values()) == [True] * len(texts)


def test_the_inbox_keeps_the_bytes_that_were_signed(inbox: Path) -> None:
    body = b'{ "id":"evt_1" , "n":1.10, "name":"\\u6c38 \xe6\xb0\xb8" }\n'
    deliver(body)
    with closing(sqlite3.connect(inbox)) as database:
        assert database.execute("SELECT id, body FROM events").fetchall() == [("evt_1", body)]


# What it handles

GUIDE = {"invoiceNumber": "INV-1", "currency": "MYR", "total": 162000, "customerName": "Acme", "dueDate": "2026-01-31"}
OPENAPI = {**GUIDE, "total": None, "totalAmount": 1620.0}


@pytest.mark.parametrize(
    ("kind", "data", "parts"),
    [
        *(
            (f"invoice.{what}", invoice, [word, "INV-1", "MYR 1,620.00", "Acme"])
            for what, word in [("created", "Created"), ("paid", "Paid"), ("overdue", "Overdue")]
            for invoice in (GUIDE, OPENAPI)
        ),
        ("invoice.created", GUIDE, ["2026-01-31"]),
        ("invoice.overdue", GUIDE, ["2026-01-31"]),
        ("invoice.paid", {**GUIDE, "currency": "JPY", "total": 1500}, ["JPY 1,500 "]),
        ("invoice.paid", {**OPENAPI, "currency": "JPY", "totalAmount": 1500}, ["JPY 1,500 "]),
        ("invoice.paid", {**OPENAPI, "currency": "JPY", "totalAmount": 1500.0}, ["JPY 1,500 "]),
        ("invoice.paid", {**GUIDE, "currency": "KWD", "total": 1234567}, ["KWD 1,234.567 "]),
        ("invoice.paid", {**OPENAPI, "totalAmount": 0.1}, ["MYR 0.10 "]),
        ("invoice.paid", {**GUIDE, "total": 0}, ["MYR 0.00 "]),
        ("invoice.paid", {**GUIDE, "total": 900719925474099312345}, ["MYR 9,007,199,254,740,993,123.45 "]),
        ("customer.created", {"name": "Acme", "email": "a@example.com"}, ["customer", "Acme", "a@example.com"]),
        ("payment.received", {"amount": 250000, "currency": "MYR", "method": "cash"}, ["MYR 2,500.00", "cash"]),
        ("payment.received", {"amount": 250000, "currency": "JPY", "method": "cash"}, ["JPY 250,000", "cash"]),
        ("bill.paid", {"id": "bil_1"}, ["No handler", "bill.paid"]),
    ],
)
@pytest.mark.parametrize("name", ["type", "event"])
def test_each_kind_of_event_has_a_clear_line(
    inbox: Path, capsys: Capture, kind: str, data: dict[str, Any], parts: list[str], name: str
) -> None:
    assert deliver({"id": "evt_1", name: kind, "data": data}).status_code == 200
    (line,) = capsys.readouterr().out.splitlines()
    assert all(part in line for part in parts), line
    assert stored(inbox) == {"evt_1": True}


def test_an_amount_in_whole_units_stays_exact(capsys: Capture) -> None:
    deliver(
        b'{"id": "evt_1", "type": "invoice.paid", "data": {"totalAmount": 12345678901234567.89, "currency": "MYR"}}'
    )
    assert "MYR 12,345,678,901,234,567.89 " in capsys.readouterr().out


EMPTY = [{}, *({"data": data} for data in [None, {}, [], [1], "text", 5, dict.fromkeys([*OPENAPI, "amount", "name"])])]


@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize("kind", script.HANDLERS)
def test_a_handler_survives_what_is_missing(
    inbox: Path, capsys: Capture, caplog: Log, kind: str, empty: dict[str, Any]
) -> None:
    assert deliver({"id": "evt_1", "type": kind, **empty}).status_code == 200
    (line,) = capsys.readouterr().out.splitlines()
    assert "None" not in line
    assert caplog.messages == []
    assert stored(inbox) == {"evt_1": True}


def test_an_amount_without_a_currency_is_not_guessed(capsys: Capture) -> None:
    deliver({"id": "evt_1", "type": "payment.received", "data": {"amount": 250000, "method": "cash"}})
    deliver({"id": "evt_2", "type": "invoice.paid", "data": {**GUIDE, "currency": None}})
    out = capsys.readouterr().out
    assert "cash" in out
    assert "INV-1" in out
    assert not {"2,500.00", "1,620.00", "250,000", "162,000"} & set(out.split())


@pytest.mark.parametrize("kind", [None, "", 5, True, ["invoice.paid"], {"a": 1}, "invoice", "INVOICE.PAID", "\ud800\n"])
@pytest.mark.parametrize("name", ["type", "event"])
def test_an_unknown_type_is_acknowledged(inbox: Path, capsys: Capture, kind: Any, name: str) -> None:
    assert deliver({"id": "evt_1", name: kind, "data": GUIDE}).status_code == 200
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("No handler")
    assert stored(inbox) == {"evt_1": True}


@pytest.mark.parametrize("event", ["invoice.paid", "invoice.created", 5, None])
def test_type_comes_before_event(capsys: Capture, event: Any) -> None:
    deliver({"id": "evt_1", "type": "invoice.paid", "event": event, "data": GUIDE})
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Paid")


def test_a_name_cannot_forge_a_line(capsys: Capture) -> None:
    deliver({"id": "evt_1", "type": "customer.created", "data": {"name": "A\nPaid: all\x1b[2J\r", "email": "\u2028"}})
    deliver({"id": "evt_2", "type": "other\nPaid: all"})
    lines = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert [line.split()[0] for line in lines] == ["New", "No"]
    assert all(line.isprintable() for line in lines)


class Handler:
    """A handler that notes what it is given, and fails while it is told to."""

    def __init__(self) -> None:
        self.failing, self.seen = True, list[dict[str, Any]]()

    def __call__(self, data: dict[str, Any]) -> None:
        self.seen.append(data)
        if len(self.seen) > 20:
            raise SystemExit("it goes round and round")
        if self.failing:
            raise ValueError("no such account")


@pytest.fixture
def handler(monkeypatch: Patch) -> Handler:
    handler = Handler()
    monkeypatch.setitem(script.HANDLERS, "invoice.paid", handler)
    return handler


def test_a_handler_that_fails_is_tried_again_at_the_next_start(
    inbox: Path, handler: Handler, start: Start, monkeypatch: Patch, capsys: Capture, caplog: Log
) -> None:
    assert deliver(BODY).get_json() == {"received": True, "new": True}
    assert stored(inbox) == {"evt_1": False}
    (record,) = caplog.records
    assert (record.levelno, bool(record.exc_info)) == (logging.ERROR, True)
    assert "evt_1" in caplog.text
    assert "no such account" in caplog.text

    assert deliver(BODY).get_json() == {"received": True, "new": False}
    assert deliver({"id": "evt_2", "type": "customer.created"}).status_code == 200
    assert len(handler.seen) == 1
    assert stored(inbox) == {"evt_1": False, "evt_2": True}

    capsys.readouterr()
    for later, failing, handled in [(1, True, False), (2, False, True), (3, False, True)]:
        handler.failing = failing
        monkeypatch.setattr(script, "STARTED", time.time() + later)
        start("--database", str(inbox))
        assert stored(inbox) == {"evt_1": handled, "evt_2": True}
    assert handler.seen == [{"invoiceNumber": "INV-1"}] * 3
    assert capsys.readouterr().out == ""  # evt_2 had been handled


def test_a_clock_that_runs_backwards_is_no_endless_loop(inbox: Path, handler: Handler, monkeypatch: Patch) -> None:
    early = script.STARTED - 1000
    monkeypatch.setattr(time, "time", lambda: early)
    for _ in range(2):
        assert deliver(BODY).status_code == 200
    assert len(handler.seen) == 1
    assert stored(inbox) == {"evt_1": False}


def test_a_start_handles_what_was_stored_in_its_order(
    inbox: Path, start: Start, monkeypatch: Patch, capsys: Capture
) -> None:
    ids = ["evt_b", "evt_c", "evt_a"]
    with monkeypatch.context() as killed:
        killed.setattr(script, "handle_events", lambda: None)
        for identity in ids:
            deliver({"id": identity, "type": "invoice.paid", "data": {"invoiceNumber": identity}})
    assert stored(inbox) == dict.fromkeys(ids, False)

    for expected in [ids, []]:
        start("--database", str(inbox))
        assert [line.split()[2] for line in capsys.readouterr().out.splitlines()] == expected
    assert stored(inbox) == dict.fromkeys(ids, True)


def test_what_another_process_keeps_from_us_waits_in_the_inbox(
    inbox: Path, handler: Handler, monkeypatch: Patch, caplog: Log
) -> None:
    handler.failing, connect = False, sqlite3.connect
    with closing(connect(f"{inbox}-lock")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with monkeypatch.context() as impatient:
            impatient.setattr(sqlite3, "connect", lambda path, timeout: connect(path, timeout=0.01))
            assert deliver(BODY).status_code == 200
    assert (stored(inbox), handler.seen) == ({"evt_1": False}, [])
    assert "wait in the inbox" in caplog.text

    deliver({"id": "evt_2", "type": "invoice.paid", "data": {}})
    assert handler.seen == [{"invoiceNumber": "INV-1"}, {}]
    assert stored(inbox) == {"evt_1": True, "evt_2": True}


# Chunked bodies: the streams of werkzeug (raw) and of other servers


def send_stream(stream: Any) -> int:
    sent = {**headers(FORMS[0], int(time.time()), sign(BODY, int(time.time()))), "Transfer-Encoding": "chunked"}
    environ = {"wsgi.input": stream, "wsgi.input_terminated": True}
    return int(script.app.test_client().post("/", environ_overrides=environ, headers=sent).status_code)


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (io.BytesIO(BODY), 200),
        (io.BytesIO(BODY + b" "), 401),
        (io.BytesIO(b" " * 1_000_000), 401),
        (io.BytesIO(b" " * 1_000_001), 413),
        (DechunkedInput(io.BytesIO(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY))), 200),
        (DechunkedInput(io.BytesIO(b"f4241\r\n" + b" " * 1_000_001 + b"\r\n0\r\n\r\n")), 413),
        (DechunkedInput(io.BytesIO(b"zz\r\n{}")), 400),
        (DechunkedInput(io.BytesIO(b"ffff\r\n{")), 400),  # breaks off
        (DechunkedInput(io.BytesIO(b"f4241\r\n{")), 400),
        (DechunkedInput(io.BytesIO(b"fffffffff\r\n{")), 400),
    ],
    ids=range(10),
)
def test_a_chunked_body(inbox: Path, stream: Any, status: int) -> None:
    assert send_stream(stream) == status
    assert stored(inbox) == ({"evt_1": True} if status == 200 else {})


def test_a_stream_that_fails_in_a_way_of_its_own() -> None:
    class ParseError(Exception):
        pass

    class Stream(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ParseError

    assert send_stream(Stream()) == 400


@pytest.mark.parametrize("failure", [SystemExit("no key"), RecursionError(), AssertionError()])
def test_whatever_a_handler_raises_stops_no_other_event(
    inbox: Path, monkeypatch: Patch, caplog: Log, failure: BaseException
) -> None:
    def fail(data: object) -> None:
        raise failure

    monkeypatch.setitem(script.HANDLERS, "invoice.paid", fail)
    assert deliver(BODY).status_code == 200
    assert deliver({"id": "evt_2", "type": "customer.created", "data": {}}).status_code == 200
    assert stored(inbox) == {"evt_1": False, "evt_2": True}
    assert "event evt_1 failed" in caplog.text


def test_an_inbox_that_cannot_be_written_after_the_handler_still_answers(inbox: Path, caplog: Log) -> None:
    deliver({"id": "evt_0"})
    with closing(sqlite3.connect(inbox)) as database:
        database.execute("CREATE TRIGGER full BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    assert deliver(BODY).status_code == 200
    assert "disk is full" in caplog.text


def test_ids_that_look_alike_are_two_events(inbox: Path) -> None:
    for identity in ["\u00e9", "\\u00e9", "\\xe9"]:
        assert deliver({"id": identity}).get_json()["new"]
    assert len(stored(inbox)) == 3


def test_unhandled_events_are_found_by_index() -> None:
    with closing(script.open_inbox()) as database:
        plan = database.execute("EXPLAIN QUERY PLAN SELECT id FROM events WHERE handled_at IS NULL ORDER BY rowid")
        assert "unhandled" in str(plan.fetchall())


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_stream_without_the_letter_shows_its_number(monkeypatch: Patch, encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", stream)
    script.say("\u6c38 Sdn Bhd")
    assert stream.buffer.getvalue() == b"\\u6c38 Sdn Bhd" + os.linesep.encode()  # type: ignore[attr-defined]


@pytest.mark.parametrize("padding", ["\xe9", "\u0661", "\udcff", "\0"])
def test_letters_around_a_good_signature_are_refused(padding: str) -> None:
    for signature in [sign(BODY, 1000) + padding, padding + sign(BODY, 1000)]:
        assert not script.verify_signature(BODY, headers(FORMS[0], 1000, signature), [SECRET], now=1000)


@pytest.mark.parametrize("secret", ["\ud800", "\0"])
def test_a_secret_of_odd_letters_does_no_harm(secret: str) -> None:
    assert not script.verify_signature(BODY, headers(FORMS[0], 1000, "0" * 64), [secret], now=1000)


def test_sixteen_digits_are_no_timestamp(caplog: Log) -> None:
    timestamp = "0" * 12 + "1000"
    assert not script.verify_signature(BODY, headers(FORMS[0], timestamp, sign(BODY, timestamp)), [SECRET], now=1000)
    assert script.verify_signature(
        BODY, headers(FORMS[0], timestamp[1:], sign(BODY, timestamp[1:])), [SECRET], now=1000
    )


# How it starts


def test_it_listens_on_this_machine_only_and_without_a_debugger(start: Start) -> None:
    started = start()
    assert started["exit"] == 0
    assert (started["host"], started["port"], started["app"]) == ("127.0.0.1", 3456, script.app)
    assert started["options"]["threaded"] is True
    assert not any(value for name, value in started["options"].items() if name.startswith("use_"))
    assert start("--host", "0.0.0.0")["host"] == "0.0.0.0"


@pytest.mark.parametrize(
    ("environ", "arguments", "port"),
    [("", [], 3456), ("8080", [], 8080), ("8080", ["--port", "9090"], 9090), ("x", ["--port", "65535"], 65535)],
)
def test_the_port_comes_from_the_option_or_the_environment(
    start: Start, monkeypatch: Patch, environ: str, arguments: list[str], port: int
) -> None:
    monkeypatch.setenv("PORT", environ)
    assert start(*arguments)["port"] == port


@pytest.mark.parametrize("port", ["0", "65536", "-1", "+80", "http", "1e3", "80.0", " 80", "\u0668\u0660", "123456"])
@pytest.mark.parametrize("source", ["option", "environment"])
def test_what_is_no_port_is_refused(start: Start, monkeypatch: Patch, capsys: Capture, port: str, source: str) -> None:
    monkeypatch.setenv("PORT", port if source == "environment" else "")
    with pytest.raises(SystemExit) as stop:
        start(*[f"--port={port}"] if source == "option" else [])
    assert stop.value.code == 2
    assert "is not a port number" in capsys.readouterr().err


def test_the_inbox_is_where_the_option_says(start: Start, inbox: Path) -> None:
    other = inbox.parent / "other.db"
    start("--database", str(other))
    deliver(BODY)
    assert stored(other) == {"evt_1": True}
    assert stored(inbox) == {}


@pytest.mark.parametrize("database", [".", "missing/events.db", "not-sqlite.db"])
def test_an_inbox_that_cannot_be_opened_is_said_at_once(start: Start, inbox: Path, database: str) -> None:
    (inbox.parent / "not-sqlite.db").write_text("no database" * 100)
    path = str(inbox.parent / database)
    with pytest.raises(SystemExit) as stop:
        start("--database", path)
    assert isinstance(stop.value.code, str)  # printed, exit code 1
    assert path in stop.value.code
    assert "--database" in stop.value.code
    assert "\n" not in stop.value.code


@pytest.mark.parametrize("secrets", ["", " ", ",", " , "])
def test_without_a_secret_it_does_not_start(start: Start, inbox: Path, monkeypatch: Patch, secrets: str) -> None:
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", secrets)
    with pytest.raises(SystemExit) as stop:
        start()
    assert isinstance(stop.value.code, str)
    assert "CYNCO_WEBHOOK_SECRET" in stop.value.code
    assert "python tests/sandbox.py 05_webhooks.py" in stop.value.code
    assert "\n" not in stop.value.code
    assert not inbox.exists()


def test_help_needs_no_secret(start: Start, monkeypatch: Patch, capsys: Capture) -> None:
    monkeypatch.delenv("CYNCO_WEBHOOK_SECRET")
    with pytest.raises(SystemExit) as stop:
        start("--help")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert all(part in shown for part in ["--host", "--port", "--database", "3456", "127.0.0.1"])


def test_an_interrupt_ends_it_without_a_traceback(start: Start, capsys: Capture) -> None:
    assert start(interrupt=True)["exit"] == 1
    assert capsys.readouterr().err.splitlines()[-1] == "Stopped."


def test_it_says_where_it_listens(start: Start, capsys: Capture) -> None:
    start("--port", "4000")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "Listening on http://127.0.0.1:4000/webhooks/cynco until Ctrl-C.\n")


@pytest.mark.parametrize("database", ["", ":memory:"])
def test_an_inbox_must_be_a_file(start: Start, capsys: Capture, database: str) -> None:
    with pytest.raises(SystemExit) as stop:
        start("--database", database)
    assert stop.value.code == 2
    assert "--database must be a file" in capsys.readouterr().err


def test_without_a_secret_a_wsgi_server_is_told_so(monkeypatch: Patch, caplog: Log) -> None:
    monkeypatch.delenv("CYNCO_WEBHOOK_SECRET")
    assert deliver(BODY).status_code == 401
    assert "CYNCO_WEBHOOK_SECRET is not set" in caplog.text


def test_one_secret_is_not_read_letter_by_letter() -> None:
    sent = headers(FORMS[0], 1000, sign(BODY, 1000, "w"))
    assert not script.verify_signature(BODY, sent, SECRET, now=1000)
    sent = headers(FORMS[0], 1000, sign(BODY, 1000, SECRET))
    assert script.verify_signature(BODY, sent, SECRET, now=1000)
