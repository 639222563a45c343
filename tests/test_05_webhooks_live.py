"""05_webhooks.py over real sockets: hostile clients, many at once, several processes, kill and restart."""

import contextlib
import json
import os
import queue
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
import sandbox
from conftest import ROOT, run

SCRIPT = "05_webhooks.py"
PATIENCE = 20  # seconds, for what should take a fraction of one
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals, or gunicorn")

# The receiver with a handler that says that it is at work, and never ends.
STUCK = """
import importlib, sys, threading
webhooks = importlib.import_module("05_webhooks")
def work(data):
    webhooks.say("At work on " + data["invoiceNumber"])
    threading.Event().wait()
webhooks.HANDLERS["invoice.paid"] = work
sys.exit(webhooks.main(sys.argv[1:]))
"""


class Receiver:
    """A receiver in a process of its own, listening on a free port; stopped at the end of the block."""

    def __init__(self, folder: Path, *command: str) -> None:
        """`command` replaces 05_webhooks.py; "{port}" in it is the port."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.url, self.database = f"http://127.0.0.1:{self.port}/webhooks/cynco", folder / "webhook_events.db"
        shipped = [str(ROOT / SCRIPT), "--port", "{port}", "--database", str(self.database)]
        self.command = [sys.executable, *(part.format(port=self.port) for part in command or shipped)]
        self.folder, self.lines = folder, queue.Queue[str]()

    def __enter__(self) -> "Receiver":
        environ = {**os.environ, "CYNCO_WEBHOOK_SECRET": sandbox.WEBHOOK_SECRET, "PYTHONPATH": str(ROOT)}
        environ["PYTHONIOENCODING"] = "utf-8"
        self.errors = (self.folder / f"stderr-{self.port}").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            self.command, cwd=self.folder, env=environ, stdout=subprocess.PIPE, stderr=self.errors, encoding="utf-8"
        )
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        try:
            wait_for(self.listens)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.kill()
        self.reader.join(PATIENCE)
        self.errors.close()

    def read(self) -> None:
        with self.process.stdout as output:  # type: ignore[union-attr]
            for line in output:
                self.lines.put(line.rstrip())

    def listens(self) -> bool:
        assert self.process.poll() is None, self.stderr()
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE).close()
            return True
        return False

    def line(self) -> str:
        return self.lines.get(timeout=PATIENCE)

    def handled(self) -> list[str]:
        """The invoices that a handler has named since the last time, up to a last event of another type."""
        end = f"end-{time.monotonic_ns()}"
        assert self.send({"id": end, "type": end}).status_code == 200
        lines = list(iter(self.line, f"No handler for {end}, acknowledged"))
        return [line.split()[2] for line in lines]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)

    def stderr(self) -> str:
        return Path(self.errors.name).read_text(encoding="utf-8")

    def raw(self, data: bytes) -> bytes:
        """Send bytes as they are; return the beginning of the answer, b"" if there is none."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as client:
            with contextlib.suppress(OSError):  # it may have hung up already
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                return client.recv(1000)
        return b""

    def send(self, event: dict[str, Any], path: str = "/webhooks/cynco") -> requests.Response:
        body = json.dumps(event).encode()
        sent = sandbox.webhook_headers("Cynco-Signature", body)
        return requests.post(f"http://127.0.0.1:{self.port}{path}", data=body, headers=sent, timeout=PATIENCE)

    def begin(self, event: dict[str, Any]) -> socket.socket:
        """Send an event and wait for no answer."""
        body = json.dumps(event).encode()
        sent = {**sandbox.webhook_headers("Cynco-Signature", body), "Host": "x", "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        client = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        client.sendall(f"POST / HTTP/1.1\r\n{head}\r\n".encode() + body)
        return client

    def stored(self) -> dict[str, bool]:
        """The events in the inbox in their order, and whether each is handled."""
        with closing(sqlite3.connect(self.database, timeout=PATIENCE)) as inbox:
            return dict(inbox.execute("SELECT id, handled_at IS NOT NULL FROM events ORDER BY rowid"))


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def stuck(folder: Path) -> Receiver:
    path = folder / "stuck.py"
    path.write_text(STUCK, encoding="utf-8")
    return Receiver(folder, str(path), "--port", "{port}")


def gunicorn(folder: Path) -> Receiver:
    """The application as a production server runs it: two processes on one inbox."""
    config = pytest.importorskip("gunicorn.config")
    options = ["--workers", "2", "--threads", "8", "--bind", "127.0.0.1:{port}"]
    if any(setting.name == "control_socket_disable" for setting in config.KNOWN_SETTINGS):
        options.append("--no-control-socket")  # a file in the home directory
    return Receiver(folder, "-m", "gunicorn", *options, "05_webhooks:app")


def invoice_paid(number: int) -> dict[str, Any]:
    return {"id": f"evt_{number}", "type": "invoice.paid", "data": {"invoiceNumber": f"INV-{number}"}}


@pytest.fixture(scope="module", params=[Receiver, pytest.param(gunicorn, marks=on_posix)], ids=["shipped", "gunicorn"])
def receiver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """05_webhooks.py started as it is, and by gunicorn; both with their inbox in the current folder."""
    with request.param(tmp_path_factory.mktemp("receiver")) as started:
        yield started


# As a reader tries it


def test_the_sandbox_plays_deliveries(tmp_path: Path) -> None:
    result = run("tests/sandbox.py", SCRIPT, PYTHONIOENCODING="utf-8", TMPDIR=str(tmp_path), TEMP=str(tmp_path))
    assert result.returncode == 0
    sent = [line for line in result.stdout.splitlines() if line.startswith("sent ")]
    assert [line.split(": ")[1][:3] for line in sent] == ["200"] * 7 + ["401"] * 2
    assert [line.split()[0] for line in result.stdout.splitlines() if line not in sent] == [
        "Created:",
        "Paid:",
        "Overdue",
        "New",
        "Received:",
        "No",
    ]
    assert re.search("60[0-9] s ago", result.stderr)
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_a_secret_one_line_and_no_server(tmp_path: Path) -> None:
    result = run(str(ROOT / SCRIPT), cwd=tmp_path, CYNCO_WEBHOOK_SECRET="")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("CYNCO_WEBHOOK_SECRET is not set")
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@on_posix  # Windows lets two servers share a port
def test_a_port_in_use_is_said_without_a_traceback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run(str(ROOT / SCRIPT), "--port", port, cwd=tmp_path, CYNCO_WEBHOOK_SECRET="whsec_1")
    assert result.returncode == 1
    assert port in result.stderr
    assert "Traceback" not in result.stderr


@on_posix
def test_an_interrupt_stops_it_quietly(tmp_path: Path) -> None:
    with Receiver(tmp_path) as receiver:
        assert receiver.send(invoice_paid(1)).status_code == 200
        receiver.process.send_signal(signal.SIGINT)
        assert receiver.process.wait(PATIENCE) == 0
        assert "Traceback" not in receiver.stderr()


def test_the_wsgi_server_of_the_readme_for_windows_serves_it(tmp_path: Path) -> None:
    code = re.search(r'python -c "(.*waitress.*)"', (ROOT / "README.md").read_text(encoding="utf-8"))
    assert code
    with Receiver(tmp_path, "-c", code[1].replace("3456", "{port}")) as receiver:
        assert receiver.send(invoice_paid(1)).status_code == 200
        assert receiver.stored() == {"evt_1": True}


# Hostile clients

POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",  # a TLS client
        b"GARBAGE\r\n\r\n",
        b"POST\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"POST /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + b"X: x\r\n" * 1000 + b"\r\n",
        b"POST \xff\xfe/%00%ff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST http://[::x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"",
        POST + b"\r\n",
        POST + b"Content-Length: 100\r\n\r\n{",
        POST + b"Content-Length: -1\r\n\r\n{}",
        POST + b"Content-Length: many\r\n\r\n{}",
        POST + b"Content-Length: \xb2\r\n\r\n{}",
        POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}",
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        POST + b"X-Webhook-Timestamp: \xff\x00\r\nX-Webhook-Signature: \xff\r\nContent-Length: 2\r\n\r\n{}",
        CHUNKED + b"5\r\n{",
        CHUNKED + b"2\r\n{}\r\n",
        CHUNKED + b"fffffffff\r\n{",
        CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"-5\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"2\r\n{}XX0\r\n\r\n",
        CHUNKED + b"f" * 5000 + b"\r\n{",
    ],
    ids=range(25),
)
def test_bytes_of_any_kind_cause_no_server_error(receiver: Receiver, data: bytes) -> None:
    status = receiver.raw(data).partition(b" ")[2][:3]
    assert not status.startswith(b"5")
    assert not status.startswith(b"2")


@pytest.mark.parametrize("length", [1_000_001, 10**11, 10**25])
def test_a_body_over_a_megabyte_is_refused_before_it_comes(receiver: Receiver, length: int) -> None:
    assert b" 413 " in receiver.raw(POST + b"Content-Length: %d\r\n\r\n" % length)


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])


@pytest.mark.parametrize("sizes", [[1_000_001], [600_000, 400_001], [1] * 1_001 + [999_000]])
def test_a_chunked_body_over_a_megabyte_is_refused(receiver: Receiver, sizes: list[int]) -> None:
    assert b" 413 " in receiver.raw(CHUNKED + chunked(*(b" " * size for size in sizes)))


@pytest.mark.parametrize("step", [1, 7, 10**6])
def test_a_chunked_delivery_is_as_good_as_any(receiver: Receiver, step: int) -> None:
    body = json.dumps(invoice_paid(900 + step)).encode()
    signed = sandbox.webhook_headers("Cynco-Signature", body)["Cynco-Signature"].encode()
    head = POST + b"Transfer-Encoding: chunked\r\nCynco-Signature: " + signed + b"\r\n\r\n"
    assert b" 200 " in receiver.raw(head + chunked(*(body[i : i + step] for i in range(0, len(body), step))))
    assert receiver.stored()[f"evt_{900 + step}"]


def test_after_all_that_it_still_serves(receiver: Receiver) -> None:
    for number, path in enumerate(["/webhooks/cynco", "/"]):
        response = receiver.send(invoice_paid(number), path)
        assert (response.status_code, response.json()) == (200, {"received": True, "new": True})
    assert receiver.stored()["evt_0"]
    assert receiver.stored()["evt_1"]
    assert receiver.handled()[-2:] == ["INV-0", "INV-1"]


# Many at once


def test_fifty_copies_at_once_are_handled_once(receiver: Receiver) -> None:
    event = invoice_paid(50)
    together = threading.Barrier(50, timeout=PATIENCE)

    def send(_: int) -> requests.Response:
        together.wait()
        return receiver.send(event)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(send, range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["new"] for answer in answers) == 1
    assert receiver.handled() == ["INV-50"]
    assert receiver.stored()["evt_50"]


def test_many_events_at_once_are_each_handled_once(receiver: Receiver) -> None:
    numbers = range(100, 140)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(receiver.send, [invoice_paid(number) for number in numbers for _ in "ab"]))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["new"] for answer in answers) == len(numbers)
    assert sorted(receiver.handled()) == [f"INV-{number}" for number in numbers]
    assert all(receiver.stored().values())


# Kill and restart


@on_posix
def test_an_event_at_work_when_killed_is_handled_at_the_next_start(tmp_path: Path) -> None:
    with stuck(tmp_path) as first, first.begin(invoice_paid(1)):
        assert first.line() == "At work on INV-1"
        first.kill()
        assert first.stored() == {"evt_1": False}
    for expected in ["Paid: invoice INV-1", "New customer: Acme"]:  # the second start finds nothing left
        with Receiver(tmp_path) as again:
            if expected.startswith("New"):
                again.send({"id": "evt_2", "type": "customer.created", "data": {"name": "Acme"}})
            assert again.line().startswith(expected)
            wait_for(lambda receiver=again: all(receiver.stored().values()))  # type: ignore[misc]


@on_posix
def test_what_one_process_is_at_work_on_another_leaves_alone(tmp_path: Path) -> None:
    with stuck(tmp_path) as first, first.begin(invoice_paid(1)):
        assert first.line() == "At work on INV-1"
        with Receiver(tmp_path) as second, second.begin(invoice_paid(2)) as waiting:
            wait_for(lambda: second.stored() == {"evt_1": False, "evt_2": False})
            with pytest.raises(queue.Empty):
                second.lines.get(timeout=0.3)

            first.kill()
            assert [second.line().split()[2] for _ in "12"] == ["INV-1", "INV-2"]
            assert b" 200 " in waiting.recv(1000)
            assert second.stored() == {"evt_1": True, "evt_2": True}


@on_posix
def test_no_acknowledged_event_is_lost_when_killed(tmp_path: Path) -> None:
    acknowledged = []
    with Receiver(tmp_path) as first:

        def send(number: int) -> None:
            with contextlib.suppress(requests.RequestException):
                if first.send(invoice_paid(number)).status_code == 200:
                    acknowledged.append(f"evt_{number}")
                    if len(acknowledged) == 10:
                        first.process.kill()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(send, range(100)))
        assert 10 <= len(acknowledged) < 100
        assert set(acknowledged) <= set(first.stored())
    with Receiver(tmp_path) as again:
        wait_for(lambda: all(again.stored().values()))
    handled = {line.split()[2] for receiver in (first, again) for line in receiver.lines.queue}
    assert handled >= {identity.replace("evt_", "INV-") for identity in acknowledged}
