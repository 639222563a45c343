"""05_webhooks.py as processes: signals, kills, web servers, README.md's commands."""

import json
import os
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest
import requests
from conftest import ROOT, blocks, load, run
from sandbox import find_free_port, is_listening
from sandbox_webhooks import webhook_headers

script = load("05_webhooks")
PATIENCE = 30  # seconds, for what takes a fraction of one
SECRET = "whsec_live"
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")

# A program of the reader's own, whose handler waits for the end of stdin.
PROGRAM = """
import importlib
import sys

webhooks = importlib.import_module("05_webhooks")
create_app = webhooks.create_app

def wait(customer):
    print("Begins", customer["name"])
    sys.stdin.read()
    print("Ends", customer["name"])

webhooks.HANDLERS["customer.created"] = wait
if __name__ == "__main__":
    webhooks.run(webhooks.main)
"""


class Receiver:
    """A process, started as a reader does: in the project's folder."""

    def __init__(self, command, environ):
        self.output = ""
        self.process = subprocess.Popen(
            [sys.executable, *shlex.split(command)],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,  # so that killpg() ends gunicorn's workers, too
        )

    def until(self, text):
        """Read what the process prints; return the first line with this text."""
        for line in self.process.stdout:
            self.output += line
            if text in line:
                return line
        raise AssertionError(f"{text!r} is not in: {self.output}")

    def address(self):
        """Read until the server says where it listens."""
        line = self.until("//127.0.0.1:")
        port = line.partition("//127.0.0.1:")[2].split()[0]
        return ("127.0.0.1", int(port))

    def end(self):
        """Let the handler of PROGRAM go on, and wait for the end of the process."""
        output, _ = self.process.communicate(timeout=PATIENCE)
        self.output += output

    def kill(self):
        if sys.platform == "win32":
            self.process.kill()
        else:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self):
        self.kill()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start processes with one inbox, which is that of this process, too."""
    receivers = []
    inbox = str(tmp_path / "inbox.db")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    monkeypatch.setattr(script, "INBOX_FILE", inbox)
    monkeypatch.setattr(script, "LOCK_FILE", f"{inbox}.lock")
    script.open_inbox()
    environ = dict(os.environ)
    environ.pop("PYTHONUNBUFFERED", None)  # 05 shows by itself what is printed
    environ["CYNCO_WEBHOOK_SECRET"] = SECRET
    environ["CYNCO_INBOX"] = inbox
    environ["PYTHONPATH"] = str(tmp_path)  # for the program
    environ["HOME"] = str(tmp_path)  # of gunicorn's control socket

    def start(command, **more):
        receiver = Receiver(command, {**environ, **more})
        receivers.append(receiver)
        return receiver

    yield start
    for receiver in receivers:
        receiver.close()


def make_event(name):
    event = {
        "id": f"evt_{name}",
        "type": "customer.created",
        "data": {"name": name, "email": "c@example.com"},
    }
    return json.dumps(event).encode()


def store(name):
    script.store_event(f"evt_{name}", make_event(name))


def deliver(address, name):
    body = make_event(name)
    headers = webhook_headers("Cynco-Signature", body, secret=SECRET)
    url = f"http://127.0.0.1:{address[1]}/webhooks/cynco"
    return requests.post(url, data=body, headers=headers, timeout=PATIENCE)


# Without an option, it receives and handles


def test_what_a_handler_prints_appears_at_once_also_if_the_console_cannot_show_it(
    start,
):
    receiver = start("05_webhooks.py --port 0", PYTHONIOENCODING="ascii")
    address = receiver.address()

    deliver(address, "\u6c38\u767c")

    receiver.until(r"New customer: \u6c38\u767c, c@example.com")


def test_deliveries_are_answered_while_a_handler_runs(start):
    receiver = start("-m program --port 0")
    address = receiver.address()
    deliver(address, "C1")
    receiver.until("Begins C1")

    with socket.create_connection(address):  # and it sends nothing
        response = deliver(address, "C2")

    assert response.status_code == 200
    assert "Ends" not in receiver.output


@on_posix
def test_sigterm_finishes_the_event_in_hand(start):
    receiver = start("-m program --port 0")
    address = receiver.address()
    deliver(address, "C1")
    receiver.until("Begins C1")
    deliver(address, "C2")

    receiver.process.send_signal(signal.SIGTERM)
    receiver.end()

    assert receiver.process.returncode == 0
    assert "Ends C1" in receiver.output
    assert "C2" not in receiver.output
    assert "Traceback" not in receiver.output


# --handle


def test_after_a_kill_the_next_process_begins_with_another_event(start):
    store("C1")
    first = start("-m program --handle")
    first.until("Handling what comes into ")
    first.until("Begins C1")
    second = start("05_webhooks.py --handle")  # waits for the lock of the first
    store("C2")

    first.kill()

    second.until("New customer: C2")
    assert "C1" not in second.output


@on_posix
def test_the_lock_holds_although_the_handler_opens_the_inbox_again(start, tmp_path):
    call = "    webhooks.open_inbox()\n"
    opens_again = PROGRAM.replace('    print("Begins', f'{call}    print("Begins')
    (tmp_path / "opens_again.py").write_text(opens_again, encoding="utf-8")
    store("C1")
    handler = start("-m opens_again --handle")
    handler.until("Begins C1")

    with (
        closing(sqlite3.connect(script.LOCK_FILE, timeout=0)) as rival,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        rival.execute("BEGIN EXCLUSIVE")


EIGHT_PROCESSES = """
import importlib
import os

webhooks = importlib.import_module("05_webhooks")
reader, writer = os.pipe()
children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        os.close(writer)
        os.read(reader, 1)  # until all have started
        webhooks.open_inbox()
        os._exit(0)
    children.append(child)
os.close(writer)
for child in children:
    print(os.waitpid(child, 0)[1])
"""


@on_posix
def test_eight_processes_that_start_together_on_a_new_inbox_all_start(tmp_path):
    result = run("-c", EIGHT_PROCESSES, CYNCO_INBOX=str(tmp_path / "inbox.db"))

    assert result.stderr == ""
    assert result.stdout == "0\n0\n0\n0\n0\n0\n0\n0\n"


# create_app in a WSGI server


GUNICORN = (
    "-m gunicorn --preload --workers 2 --threads 4 --bind 127.0.0.1:0 "
    "05_webhooks:create_app()"
)
WAITRESS = "-m waitress --listen 127.0.0.1:0 --call program:create_app"
in_gunicorn = pytest.param(GUNICORN, id="gunicorn --preload", marks=on_posix)
in_waitress = pytest.param(WAITRESS, id="waitress")


@pytest.mark.parametrize("command", [in_gunicorn, in_waitress])
def test_a_wsgi_server_stores_each_event_once_and_handles_none(start, command, capsys):
    server = start(command)
    address = server.address()
    names = ["C1", "C2", "C3", "C4"] * 4

    with socket.create_connection(address), ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(deliver, [address] * 16, names))

    for response in responses:
        assert response.status_code == 200
    handled = []
    while script.handle_next_event():
        handled.append(capsys.readouterr().out)
    assert sorted(handled) == [
        "New customer: C1, c@example.com\n",
        "New customer: C2, c@example.com\n",
        "New customer: C3, c@example.com\n",
        "New customer: C4, c@example.com\n",
    ]


# README.md, Webhooks in production

README = (ROOT / "README.md").read_text(encoding="utf-8")
PRODUCTION = "Webhooks in production"


def production_commands(language):
    """Return the commands that receive and handle, without the one that installs."""
    _, receive, handle = blocks(README, language, PRODUCTION)[0].splitlines()
    return receive.removeprefix("python "), handle.removeprefix("python ")


@on_posix
def test_gunicorn_receives_and_handle_handles(start):
    receive, handle = production_commands("bash")
    server = start(f"-m {receive}".replace("3456", "0"))
    handler = start(handle)

    response = deliver(server.address(), "C1")

    assert response.status_code == 200
    handler.until("New customer: C1")


def test_waitress_receives_and_handle_handles(start):
    receive, handle = production_commands("powershell")
    port = find_free_port()
    server = start(receive.replace("3456", str(port)))
    handler = start(handle)
    while not is_listening(port):  # waitress does not say when it is
        assert server.process.poll() is None

    response = deliver(("127.0.0.1", port), "C1")

    assert response.status_code == 200
    handler.until("New customer: C1")


@pytest.fixture
def save_celery_receiver(tmp_path):
    (block,) = blocks(README, "python", PRODUCTION)
    (tmp_path / "receiver.py").write_text(block, encoding="utf-8")


@on_posix
@pytest.mark.skipif("BROKER_URL" not in os.environ, reason="needs RabbitMQ")
def test_gunicorn_receives_and_celery_handles(start, save_celery_receiver):
    server = start("-m gunicorn --bind 127.0.0.1:0 receiver:app")
    worker = start("-m celery --app receiver.queue worker --pool solo")

    response = deliver(server.address(), "C1")

    assert response.status_code == 200
    worker.until("New customer: C1")


@on_posix
@pytest.mark.skipif("BROKER_URL" not in os.environ, reason="needs RabbitMQ")
def test_celery_handles_again_what_a_killed_worker_had_in_hand(
    start, save_celery_receiver, tmp_path
):
    waiting = f"{PROGRAM}\nimport receiver\nqueue = receiver.queue\n"
    (tmp_path / "waiting.py").write_text(waiting, encoding="utf-8")
    server = start("-m gunicorn --bind 127.0.0.1:0 receiver:app")
    worker = start("-m celery --app waiting.queue worker --pool solo")
    deliver(server.address(), "C2")
    worker.until("Begins")  # Celery logs what print writes, a word a line

    worker.kill()

    other_worker = start("-m celery --app receiver.queue worker --pool solo")
    other_worker.until("New customer: C2")


@on_posix
def test_without_a_broker_the_response_is_500(start, save_celery_receiver):
    nobody = "amqp://127.0.0.1:1"
    server = start("-m gunicorn --bind 127.0.0.1:0 receiver:app", BROKER_URL=nobody)

    response = deliver(server.address(), "C1")

    assert response.status_code == 500
