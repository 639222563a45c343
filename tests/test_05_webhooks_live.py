"""05_webhooks.py as a process: quick responses, kills, WSGI servers, odd clients."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from conftest import ROOT, run
from sandbox_webhooks import webhook_headers

PATIENCE = 15  # seconds, for what takes a fraction of one
SECRET = "whsec_live"
SCRIPT = str(ROOT / "05_webhooks.py")
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")

# A program of the reader's own, whose handler waits for the end of stdin.
PROGRAM = """
import importlib
import sys

webhooks = importlib.import_module("05_webhooks")
create_app = webhooks.create_app

def wait(customer):
    print("Begins", customer["name"], flush=True)
    sys.stdin.read()
    print("Ends", customer["name"], flush=True)

webhooks.HANDLERS["customer.created"] = wait
if __name__ == "__main__":
    webhooks.run(webhooks.main)
"""
PYTHON = "05_webhooks.py --port 0"
OWN_PROGRAM = "-m program --port 0"
GUNICORN = "-m gunicorn --workers 2 --threads 4 --bind 127.0.0.1:0"
WAITRESS = "-m waitress --listen 127.0.0.1:0 --call program:create_app"


class Receiver:
    """A receiver as a process, started as a reader does: in the project's folder."""

    def __init__(self, command, environ):
        self.output = ""
        self.process = subprocess.Popen(
            [sys.executable, *command.split()],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,  # so that killpg() ends gunicorn's workers, too
        )
        line = self.until("//127.0.0.1:")
        self.port = int(line.partition("//127.0.0.1:")[2].split()[0])

    def until(self, text):
        """Read what the process prints; return the first line with this text."""
        for line in self.process.stdout:
            self.output += line
            if text in line:
                return line
        raise AssertionError(f"{text!r} is not in: {self.output}")

    def lines(self, start):
        """Return the lines that it printed with this start, in alphabetical order."""
        return sorted(re.findall(f"^{start}.*", self.output, re.MULTILINE))

    def release(self):
        """Let the handlers of PROGRAM go on."""
        self.process.stdin.close()

    def kill(self):
        if sys.platform == "win32":
            self.process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self):
        """Kill it, and read the rest of its output."""
        self.kill()
        self.output += self.process.stdout.read()

    def close(self):
        self.release()
        self.kill()
        self.process.stdout.close()

    def url(self):
        return f"http://127.0.0.1:{self.port}/webhooks/cynco"

    def deliver(self, number, event_type="customer.created", data=None, secret=SECRET):
        if data is None:
            data = {"name": f"C{number}", "email": f"{number}@example.com"}
        event = {"id": f"evt_{number}", "type": event_type, "data": data}
        body = json.dumps(event).encode()
        headers = webhook_headers("Cynco-Signature", body, secret=secret)
        return requests.post(self.url(), data=body, headers=headers, timeout=PATIENCE)

    def send_bytes(self, data):
        address = ("127.0.0.1", self.port)
        with socket.create_connection(address, timeout=PATIENCE) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return client.recv(1000)


@pytest.fixture
def start(tmp_path):
    """Start receivers with one inbox: start(command)."""
    receivers = []
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    environ = dict(os.environ)
    environ.pop("PYTHONUNBUFFERED", None)  # 05 shows by itself what is printed
    environ["CYNCO_WEBHOOK_SECRET"] = SECRET
    environ["CYNCO_INBOX"] = str(tmp_path / "inbox.db")
    environ["PYTHONPATH"] = str(tmp_path)  # for the program
    environ["HOME"] = str(tmp_path)  # of gunicorn's control socket
    # A job in the background ignores Ctrl-C, and so would its children.
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)

    def start(command=PYTHON, **more):
        receiver = Receiver(command, {**environ, **more})
        receivers.append(receiver)
        return receiver

    yield start
    signal.signal(signal.SIGINT, usual)
    for receiver in receivers:
        receiver.close()


# A 200 at once

in_python = pytest.param(OWN_PROGRAM, id="python")
in_gunicorn = pytest.param(
    f"{GUNICORN} program:create_app()", id="gunicorn", marks=on_posix
)
in_waitress = pytest.param(WAITRESS, id="waitress")


@pytest.mark.parametrize("command", [in_python, in_gunicorn, in_waitress])
def test_deliveries_wait_for_no_handler_and_no_silent_client(start, command):
    receiver = start(command)
    address = ("127.0.0.1", receiver.port)
    with socket.create_connection(address), ThreadPoolExecutor(10) as pool:
        responses = list(pool.map(receiver.deliver, range(10)))
    for response in responses:
        assert response.status_code == 200
        assert response.json() == {"received": True, "new": True}
    receiver.until("Begins")
    assert receiver.lines("Ends") == []


def test_each_is_handled_once_without_another_delivery(start):
    receiver = start(OWN_PROGRAM)
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(receiver.deliver, range(10)))
    receiver.release()
    for _ in range(10):
        receiver.until("Handled evt_")
    receiver.end()
    assert receiver.lines("Ends") == [
        "Ends C0",
        "Ends C1",
        "Ends C2",
        "Ends C3",
        "Ends C4",
        "Ends C5",
        "Ends C6",
        "Ends C7",
        "Ends C8",
        "Ends C9",
    ]


@on_posix
def test_two_processes_of_gunicorn_handle_each_event_once(start):
    receiver = start(f"{GUNICORN} 05_webhooks:create_app()")
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(receiver.deliver, [1, 2, 3, 4] * 4))
    for _ in range(4):
        receiver.until("Handled evt_")
    receiver.end()
    new = []
    for response in responses:
        assert response.status_code == 200
        new.append(response.json()["new"])
    assert new.count(True) == 4
    assert receiver.lines("New customer") == [
        "New customer: C1, 1@example.com",
        "New customer: C2, 2@example.com",
        "New customer: C3, 3@example.com",
        "New customer: C4, 4@example.com",
    ]


# The end


def test_after_a_kill_what_was_not_tried_is_handled_at_once(start):
    first = start(OWN_PROGRAM)
    first.deliver(1)
    first.until("Begins C1")
    assert first.deliver(2).status_code == 200
    assert first.deliver(3).status_code == 200
    first.kill()
    second = start()
    second.until("Handled evt_3")
    second.end()
    assert second.output.count("New customer: ") == 2
    assert second.output.count("New customer: C2") == 1
    assert second.output.count("New customer: C3") == 1


@on_posix
def test_ctrl_c_ends_it_although_a_handler_hangs(start):
    receiver = start(OWN_PROGRAM)
    receiver.deliver(1)
    receiver.until("Begins C1")
    receiver.process.send_signal(signal.SIGINT)
    receiver.process.wait(timeout=5)
    receiver.end()
    assert receiver.lines("Ends") == []
    assert "Traceback" not in receiver.output


@on_posix
@pytest.mark.parametrize("command", [in_python, in_gunicorn])
def test_sigterm_ends_it_although_a_handler_hangs(start, command):
    receiver = start(command)
    receiver.deliver(1)
    receiver.until("Begins C1")
    receiver.process.send_signal(signal.SIGTERM)
    receiver.process.wait(timeout=5)
    receiver.end()
    assert receiver.lines("Ends") == []
    assert "Traceback" not in receiver.output


# What goes wrong


def test_a_mistake_in_a_handler_is_shown_with_its_line_and_ends_nothing(start):
    receiver = start()
    receiver.deliver(1, data={"nmae": "Acme"})
    receiver.until("KeyError: 'name'")
    assert "Could not handle evt_1" in receiver.output
    assert "{customer['name']}" in receiver.output
    receiver.deliver(2)
    receiver.until("New customer: C2")


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_malformed_chunks_are_refused_and_good_ones_are_read(start):
    receiver = start()
    negative = receiver.send_bytes(CHUNKED + b"-5\r\n{}\r\n0\r\n\r\n")
    no_terminator = receiver.send_bytes(CHUNKED + b"2\r\n{}XX0\r\n\r\n")
    assert negative.startswith(b"HTTP/1.1 400")
    assert no_terminator.startswith(b"HTTP/1.1 400")
    body = b'{"id":"evt_1","type":"bill.paid","data":{}}'
    headers = webhook_headers("Cynco-Signature", body, secret=SECRET)
    chunks = iter([body[:9], body[9:]])
    requests.post(receiver.url(), data=chunks, headers=headers, timeout=PATIENCE)
    receiver.until("No handler for bill.paid")


def test_no_output_has_the_secret_or_a_body(start):
    receiver = start()
    private = {"note": "PRIVATE"}
    assert receiver.deliver(1, "bill.paid", private).status_code == 200
    assert receiver.deliver(2, "invoice.paid", private).status_code == 200
    assert receiver.deliver(3, "bill.paid", private, "whsec_no").status_code == 401
    receiver.until("KeyError")
    receiver.end()
    assert "Handled evt_1" in receiver.output
    assert "Rejected" in receiver.output
    assert "PRIVATE" not in receiver.output
    assert "whsec_" not in receiver.output


@on_posix
def test_a_name_that_the_console_cannot_show_stops_no_handler(start):
    receiver = start(f"{GUNICORN} 05_webhooks:create_app()", PYTHONIOENCODING="ascii")
    receiver.deliver(1, data={"name": "\u6c38\u767c", "email": None})
    receiver.until(r"New customer: \u6c38\u767c, None")


# What it cannot use


def test_a_missing_secret_is_one_line(tmp_path):
    result = run(SCRIPT, "--port", "0", cwd=tmp_path, CYNCO_WEBHOOK_SECRET=" , ")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: CYNCO_WEBHOOK_SECRET is not set. ")
    assert result.stderr.count("\n") == 1


UNUSABLE = [
    pytest.param("missing/inbox.db", "Error: ", id="a missing folder"),
    pytest.param("text.db", "Error: cannot use the inbox ", id="no database"),
]


@pytest.mark.parametrize(("inbox", "message"), UNUSABLE)
def test_an_unusable_inbox_is_one_line(tmp_path, inbox, message):
    (tmp_path / "text.db").write_text("no database" * 100)
    result = run(
        SCRIPT,
        "--port",
        "0",
        cwd=tmp_path,
        CYNCO_WEBHOOK_SECRET=SECRET,
        CYNCO_INBOX=inbox,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith(message)
    assert Path(inbox).name in result.stderr
    assert result.stderr.count("\n") == 1


@on_posix  # on Windows, two programs can listen on one port
def test_a_port_in_use_is_a_short_message(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run(SCRIPT, "--port", port, cwd=tmp_path, CYNCO_WEBHOOK_SECRET=SECRET)
    assert result.returncode == 1
    assert f"Port {port} is in use" in result.stderr
    assert result.stderr.count("\n") == 2


@on_posix
def test_under_gunicorn_a_missing_secret_ends_it_and_the_log_says_why(tmp_path):
    result = run(
        "-m",
        "gunicorn",
        "--bind=127.0.0.1:0",
        "05_webhooks:create_app()",
        HOME=str(tmp_path),
        CYNCO_WEBHOOK_SECRET="",
    )
    assert result.returncode != 0
    assert "CyncoError: CYNCO_WEBHOOK_SECRET is not set" in result.stderr
