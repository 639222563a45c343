"""05_webhooks.py in this process: signatures, the inbox, handlers, responses, the start."""

import asyncio
import hmac
import inspect
import io
import itertools
import json
import logging
import re
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
import sandbox
from conftest import load
from werkzeug.serving import DechunkedInput

script, sign = load("05_webhooks"), load("sandbox").sign

NOW, BODY, SECRET = 1_700_000_000, b'{"id":"evt_1"}', "whsec_example"
# printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_example
GOOD = "2f6f24854ba5c8d505c37e6fc0a06fc74456f1a4042208e7acdd4bd0bdbd599e"
TIME, SIGNATURE, CYNCO = "X-Webhook-Timestamp", "X-Webhook-Signature", "Cynco-Signature"
FORMS = {SIGNATURE: {TIME: str(NOW), SIGNATURE: GOOD}, CYNCO: {CYNCO: f"t={NOW},v1={GOOD}"}}


def accepts(sent: Any, secrets: str = SECRET, now: float | None = NOW) -> Any:
    return script.verify_signature(BODY, sent, secrets, now)


# --- verify_signature
@pytest.mark.parametrize("change", [str, str.lower, str.upper])
@pytest.mark.parametrize("form", FORMS)
def test_a_signature_of_openssl_is_ours_in_either_form_and_any_case(form: str, change: Any) -> None:
    assert accepts({change(name): value for name, value in FORMS[form].items()}) is True


@pytest.mark.parametrize("secrets", [f"whsec_\xe9\udcff,{SECRET}", f" {SECRET} , whsec_new,"])
@pytest.mark.parametrize("sent", ["t={t},v1=0,v1={v1}", "v0=0, v1={v1}, v1=0, unknown, t={t}"])
def test_while_secrets_rotate_any_of_ours_and_any_v1_will_do(secrets: str, sent: str) -> None:
    assert accepts({CYNCO: sent.format(t=NOW, v1=GOOD)}, secrets)


@pytest.mark.parametrize("age", [0, 300, -300, 301, -301])
def test_a_stale_delivery_is_refused_after_five_minutes(monkeypatch: Any, age: int) -> None:
    monkeypatch.setattr(time, "time", lambda: float(NOW + age))
    for now in (NOW + age, None):
        assert accepts(FORMS[CYNCO], now=now) is (abs(age) <= 300)


REFUSED: dict[str, dict[str, Any]] = {
    "no header": {},
    "no time": {SIGNATURE: sign(BODY, "", SECRET)},
    "no v1": {CYNCO: f"t={NOW},v1,v1=,v1=\xe9,v1=\udcff,v0={GOOD},v2={GOOD}"},
    "other time": {TIME: NOW + 1, SIGNATURE: GOOD},
    "other body": {TIME: NOW, SIGNATURE: sign(BODY + b"\n", NOW, SECRET)},
    "other secret": {TIME: NOW, SIGNATURE: sign(BODY, NOW, "whsec_other")},
    "secret without its prefix": {TIME: NOW, SIGNATURE: sign(BODY, NOW, "example")},
    "upper case": {TIME: NOW, SIGNATURE: GOOD.upper()},
    "odd letters": {TIME: "\udcff", SIGNATURE: "\udcff" * 64},
    "no text": {TIME: NOW, SIGNATURE: GOOD.encode(), CYNCO: None},
    "no number": {TIME: "\xb2", SIGNATURE: sign(BODY, "\xb2", SECRET)},
    "fraction": {TIME: f"{NOW}.0", SIGNATURE: sign(BODY, f"{NOW}.0", SECRET)},
    "huge": {TIME: "9" * 5000, SIGNATURE: sign(BODY, "9" * 5000, SECRET)},
}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
def test_a_forged_or_odd_delivery_is_refused(sent: dict[str, Any]) -> None:
    assert accepts(sent) is False


@pytest.mark.parametrize("secrets", ["", " , ", f"{SECRET},,"])
def test_nobody_can_sign_with_an_empty_secret(secrets: str) -> None:
    assert accepts({TIME: NOW, SIGNATURE: sign(BODY, NOW, "")}, secrets) is False


def test_the_only_comparison_is_the_one_in_constant_time(monkeypatch: Any) -> None:
    monkeypatch.setattr(hmac, "compare_digest", lambda ours, theirs: False)
    assert not accepts(FORMS[CYNCO])


@pytest.mark.parametrize("framework", ["fastapi", "django"])
def test_pasted_alone_into_another_framework_it_tells_a_forgery(framework: str) -> None:
    pasted: dict[str, Any] = {}
    exec("import hashlib, hmac, time\nfrom collections.abc import Mapping", pasted)
    exec(inspect.getsource(script.verify_signature), pasted)
    for sent in FORMS.values():
        if framework == "fastapi":
            raw = [(name.lower().encode(), value.encode()) for name, value in sent.items()]
            receive = AsyncMock(return_value={"type": "http.request", "body": BODY})
            request = load("fastapi").Request({"type": "http", "headers": raw}, receive)
            body = asyncio.run(request.body())
        else:
            if not load("django.conf").settings.configured:
                load("django.conf").settings.configure()
            request = load("django.test").RequestFactory().generic("POST", "/", BODY, headers=sent)
            body = request.body
        for secret in (SECRET, "whsec_other"):
            genuine = pasted["verify_signature"](body, request.headers, secret, NOW)
            assert genuine is (secret == SECRET)


# --- The receiver, started as often as a test needs it
@pytest.fixture
def start(monkeypatch: Any, tmp_path: Path, caplog: Any) -> Any:
    """Import the script as a next process, a second later, would; with one inbox for all."""
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    seconds = itertools.count(NOW)

    def start(on_paid: Any = print, database: str = "inbox.db") -> Any:
        monkeypatch.setattr(time, "time", Mock(return_value=float(next(seconds))))
        monkeypatch.delitem(sys.modules, "05_webhooks")
        module = load("05_webhooks")
        module.app.config["DATABASE"] = database
        module.HANDLERS["invoice.paid"] = on_paid
        return module

    yield start
    assert SECRET not in caplog.text  # whatever the test was about


def deliver(module: Any, event: Any, form: str = SIGNATURE, **options: Any) -> Any:
    """Send an event, or bytes; return once it is handled: is it new? Else the status."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    sent = sandbox.webhook_headers(form, body, secret=SECRET) | options.pop("headers", {})
    options = {"path": "/", "data": body, "headers": sent} | options
    response = module.app.test_client().post(**options)
    if response.status_code != 200:
        return response.status_code
    module.worker.submit(int).result()  # it has one thread: what came before is done
    return response.get_json()["new"]


def paid(number: int) -> dict[str, Any]:
    return {"id": f"evt_{number}", "type": "invoice.paid", "data": number}


def start_and_kill(start: Any, *numbers: int) -> None:
    """Leave events in the inbox that were acknowledged, but never tried."""
    module = start()
    module.worker = Mock()
    assert all(deliver(module, paid(number)) is True for number in numbers)


# --- query and store_event
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other files")
@pytest.mark.parametrize("name", ["inbox.db", "link.db", ":memory:", "file::memory:"])
def test_the_inbox_is_a_file_for_its_owner_only(start: Any, name: str) -> None:
    Path("link.db").symlink_to("inbox.db")
    module, inbox = start(database=name), Path(name).resolve()
    module.worker = Mock()
    deliver(module, paid(1))
    with closing(sqlite3.connect(inbox)) as reader:
        reader.execute("SELECT * FROM events")  # while somebody reads, it has its companions
        modes = {path.name: path.stat().st_mode & 0o777 for path in Path().glob(f"{inbox.name}*")}
    assert modes == {f"{inbox.name}{end}": 0o600 for end in ("", "-wal", "-shm")}


def test_an_event_is_known_by_its_id_or_else_by_its_bytes(start: Any) -> None:
    ids = ["evt_1", "EVT_1", 5, True, ["a"], {"a": 1}, "\xe9", "\\xe9", "a\0b", "\ud800", "';--"]
    module = start()
    module.worker = Mock()  # what is handled matters elsewhere
    for delivery in ("del_1", "del_2"):
        header = {"X-Webhook-Id": delivery}  # it is not signed
        new = [deliver(module, {"id": each, "type": delivery}, headers=header) for each in ids]
        assert new == [delivery == "del_1"] * len(ids)
    new = [deliver(module, {"id": "", "type": "a", "data": data}) for data in "abab"]
    assert new == [True, True, False, False]


# --- handle_pending and report_failed
def test_each_event_is_handled_once_first_the_untried_by_age(start: Any) -> None:
    deliver(start(Mock(side_effect=ValueError)), paid(5))
    start_and_kill(start, 3, 1, 2)
    handled = list[int]()
    for _ in "ab":  # a WSGI server handles what was left with the first delivery
        deliver(start(handled.append), paid(4))
        assert handled == [3, 1, 2, 4, 5]


@pytest.mark.parametrize("failure", [ValueError("no"), SystemExit("no"), sqlite3.Error("no")])
def test_a_failing_handler_is_tried_at_three_starts(start: Any, caplog: Any, failure: Any) -> None:
    handler = Mock(side_effect=failure)
    for number, tried in enumerate([1, 2, 3, 3]):
        module = start(handler)
        assert deliver(module, paid(1)) is (number == 0)
        assert deliver(module, {"id": f"other_{number}"}) is True
        assert handler.call_count == tried
        assert f"Handled other_{number}" in caplog.messages
    failed = [record for record in caplog.records if "evt_1 failed" in record.getMessage()]
    assert [record.exc_info[1] for record in failed if record.exc_info] == [failure] * 3


def test_an_inbox_that_fails_once_stops_no_later_event(start: Any, caplog: Any) -> None:
    handled = list[int]()
    module = start(handled.append)
    query, fail = module.query, Mock(side_effect=sqlite3.Error("disk I/O error"))
    module.query = lambda sql, **values: (query if "INSERT" in sql else fail)(sql, **values)
    assert deliver(module, paid(1)) is True
    assert ("disk I/O error" in caplog.text, handled) == (True, [])
    module.query = query
    assert (deliver(module, paid(2)), handled) == (True, [1, 2])


def test_after_three_failures_each_start_says_how_to_retry(start: Any, caplog: Any) -> None:
    start_and_kill(start, 1, 2)
    handler = Mock(side_effect=[ValueError] * 5 + [None])  # evt_2 is handled at last
    for _ in range(3):
        deliver(start(handler), {"id": 0})
    module = start(handler := Mock())
    assert [deliver(module, paid(1)), deliver(module, {"id": 2})] == [False, True]
    (said,) = [line for line in caplog.messages if "3 times" in line]
    assert re.fullmatch("1 events? failed 3 times; .*attempts.*0.*", said)
    with closing(sqlite3.connect("inbox.db", isolation_level=None)) as inbox:
        inbox.execute("UPDATE events SET attempts = 0")
    deliver(start(handler), {"id": 3})
    handler.assert_called_once_with(1)


def test_of_two_processes_one_handles_an_event(start: Any) -> None:
    handled = list[int]()
    start_and_kill(start, 1, 2)
    first = start(handled.append)
    second: Any = start(lambda _: vars(second).update(STARTED=0))  # it stops after evt_1
    query, be_faster = first.query, iter([second.handle_pending])
    first.query = lambda *sql, **values: (query(*sql, **values), next(be_faster, bool)())[0]
    first.handle_pending()
    assert handled == [2]


def test_a_handler_gets_exact_decimals(start: Any, capsys: Any) -> None:
    deliver(start(), b'{"id": "evt_1", "type": "invoice.paid", "data": 1.10}')
    assert capsys.readouterr().out == "1.10\n"


# --- HANDLERS
PRINTED: dict[str, tuple[Any, str]] = {
    "invoice.created": ({"invoiceNumber": "1\n", "status": "\x1b[2J"}, "Invoice 1  is  [2J"),
    "invoice.overdue": ({"invoiceNumber": "1\n", "status": "\x1b[2J"}, "Invoice 1  is  [2J"),
    "customer.created": ({"name": "Acme\r\u202e"}, "New customer Acme  "),
    "payment.received": ({"amount": 250000, "currency": "MYR\n"}, "Received MYR  2,500.00"),
    "bill.paid\n": ({}, "No handler for bill.paid , acknowledged"),
}


@pytest.mark.parametrize("kind", PRINTED)
@pytest.mark.parametrize("name", ["type", "event"])
def test_what_a_handler_prints_at_once(start: Any, monkeypatch: Any, name: str, kind: str) -> None:
    monkeypatch.setattr(sys, "stdout", out := io.TextIOWrapper(io.BytesIO(), newline="\n"))
    assert deliver(start(), {"id": "evt_1", name: kind, "data": PRINTED[kind][0]}) is True
    assert out.buffer.getvalue().decode() == PRINTED[kind][1] + "\n"


# --- receive
@pytest.mark.parametrize("path", ["/webhooks/cynco", "/"])
@pytest.mark.parametrize("form", FORMS)
def test_a_delivery_in_either_form_at_either_path(start: Any, form: str, path: str) -> None:
    module = start()
    assert [deliver(module, paid(1), form, path=path) for _ in "ab"] == [True, False]
    assert module.app.test_client().get(path).status_code == 405


@pytest.mark.parametrize("body", [BODY, b"no JSON"])
def test_what_cynco_did_not_sign_is_refused_unread(start: Any, caplog: Any, body: bytes) -> None:
    module = start()
    stale = sandbox.webhook_headers(SIGNATURE, body, NOW - 301, SECRET)
    for sent in ({}, stale, sandbox.webhook_headers(CYNCO, body, NOW, "whsec_other")):
        response = module.app.test_client().post("/", data=body, headers=sent)
        assert (response.status_code, list(response.get_json())) == (401, ["error"])
    assert caplog.messages == ["Rejected: wrong signature, or signed more than 300 s from now"] * 3
    assert deliver(module, BODY) is True


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[{}]", b'"\xff"', b'{"id":' * 99_999])
def test_what_is_no_json_object_is_a_400(start: Any, body: bytes) -> None:
    assert deliver(start(), body) == 400


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_have_a_megabyte_and_no_more(start: Any, chunked: bool) -> None:
    module = start()
    for size, expected in [(1_000_001, 401 if chunked else 413), (1_000_000, True)]:
        body = BODY.ljust(size)
        stream = DechunkedInput(io.BytesIO(b"%x\r\n%s\r\n0\r\n\r\n" % (size, body)))
        environ = {"wsgi.input": stream, "wsgi.input_terminated": True}
        options: Any = {"data": None, "environ_overrides": environ} if chunked else {}
        assert deliver(module, body, **options) == expected


@pytest.mark.parametrize("database", [".", "missing/inbox.db", "text.db"])
def test_what_cannot_be_stored_is_a_500_and_is_sent_again(start: Any, database: str) -> None:
    Path("text.db").write_text("no database" * 100)
    module = start(database=database)
    assert deliver(module, paid(1)) == 500
    module.app.config["DATABASE"] = "inbox.db"
    assert deliver(module, paid(1)) is True


def test_a_missing_secret_is_a_500(start: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", " , ")
    assert deliver(start(), paid(1)) == 500
