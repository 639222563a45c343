"""05_webhooks.py as a process: it responds at once, and survives kills, hangs and odd clients."""

import json
import os
import re
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen
from typing import Any
from unittest.mock import Mock

import pytest
import requests
import sandbox
from conftest import ROOT, load, run

PATIENCE = 20  # seconds, for what takes a fraction of one
SECRET = "whsec_live"
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals, or gunicorn")

# A program of the reader's own, whose handler waits for a line of stdin, or its end.
PROGRAM = r"""
import importlib, os, sys
webhooks = importlib.import_module("05_webhooks")
app = webhooks.app
def wait(number):
    os.write(1, b"Begins %d\n" % number)
    sys.stdin.readline()
    os.write(1, b"Ends %d\n" % number)
webhooks.HANDLERS["invoice.paid"] = wait
if __name__ == "__main__":
    webhooks.run(webhooks.main)
"""
PYTHON = ["program.py", "--port", "0"]
# --preload: its two processes start together, so neither takes the other's work for abandoned.
GUNICORN = "-m gunicorn --workers 2 --threads 4 --preload --bind 127.0.0.1:0 program:app".split()
WAITRESS = "-m waitress --listen 127.0.0.1:0 program:app".split()
SCRIPT = str(ROOT / "05_webhooks.py")


class Receiver(Popen[str]):
    """A receiver with its inbox in `folder`; it is killed at the end of the block."""

    def __init__(self, folder: Path, command: list[str] = PYTHON, secret: str = SECRET) -> None:
        (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
        own = {"CYNCO_WEBHOOK_SECRET": secret, "PYTHONPATH": str(ROOT), "HOME": "."}
        own["PORT"] = "70000" if "--port" in command else "0"  # the option wins
        pipes: dict[str, Any] = {"stdin": PIPE, "stdout": PIPE, "stderr": STDOUT}
        options = {"cwd": folder, "env": os.environ | own, "encoding": "utf-8", **pipes}
        super().__init__([sys.executable, *command], start_new_session=True, **options)
        self.watchdog = threading.Timer(PATIENCE, self.kill)
        self.watchdog.start()
        self.port = int(re.findall(r"//127.0.0.1:(\d+)", self.until("//127.0.0.1:")[-1])[0])

    def __exit__(self, *error: Any) -> None:
        self.watchdog.cancel()
        self.kill()
        super().__exit__(*error)

    def kill(self) -> None:
        if sys.platform == "win32":
            super().kill()
        else:  # and the workers of gunicorn
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def until(self, pattern: str) -> list[str]:
        """Return the lines it prints, up to one with this pattern."""
        lines = []
        for line in self.stdout:
            lines.append(line.rstrip("\n"))
            assert SECRET not in line
            if re.search(pattern, line):
                return lines
        raise AssertionError(f"{pattern} is not in {lines}")

    def deliver(self, number: int, chunked: bool = False, **event: Any) -> requests.Response:
        event = {"id": f"evt_{number}", "type": "invoice.paid", "data": number} | event
        body = json.dumps(event).encode()
        sent = sandbox.webhook_headers("Cynco-Signature", body, secret=SECRET)
        data = iter([body[:9], body[9:]]) if chunked else body
        url = f"http://127.0.0.1:{self.port}/"
        return requests.post(url, data=data, headers=sent, timeout=PATIENCE)

    def raw(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return client.recv(1000)


SERVERS = [PYTHON, pytest.param(GUNICORN, marks=on_posix), WAITRESS]


# --- A 200 at once
@pytest.mark.parametrize("command", SERVERS, ids=["python", "gunicorn", "waitress"])
def test_a_200_waits_for_no_handler_and_no_other_client(tmp_path: Path, command: list[str]) -> None:
    with Receiver(tmp_path, command) as receiver:
        with socket.create_connection(("127.0.0.1", receiver.port)):  # it never sends anything
            for number in range(10):
                response = receiver.deliver(number)
                assert response.status_code == 200
                assert response.json() == {"received": True, "new": True}
        receiver.stdin.close()  # now the handlers go on, without another delivery
        lines = [line for _ in range(10) for line in receiver.until("Ends")]
        handled = [line for line in lines if re.match("Begins|Ends", line)]
        expected = [f"{what} {number}" for number in range(10) for what in ("Begins", "Ends")]
        assert sorted(handled) == sorted(expected)
        assert handled == expected or command is GUNICORN  # it has a second process


# --- Kill and restart
@pytest.mark.parametrize("end", ["kill", pytest.param("Ctrl-C", marks=on_posix)])
def test_only_what_was_in_flight_at_the_end_is_handled_again(tmp_path: Path, end: str) -> None:
    with Receiver(tmp_path) as first:
        assert [first.deliver(number).status_code for number in (1, 2, 3, 4)] == [200] * 4
        print(file=first.stdin, flush=True)
        first.until("Begins 2")  # and it hangs
        first.send_signal(signal.SIGINT) if end == "Ctrl-C" else first.kill()
        assert (first.stdout.read(), first.wait()) == ("Stopped.\n", 1) or end == "kill"
    with Receiver(tmp_path) as second:
        second.until("Begins 3")  # without a delivery
        assert second.deliver(5).status_code == 200
        second.stdin.close()
        assert [second.until("Ends")[-1] for _ in range(4)] == [f"Ends {n}" for n in (3, 4, 5, 2)]


@on_posix
def test_two_processes_of_gunicorn_handle_each_event_once(tmp_path: Path) -> None:
    with Receiver(tmp_path) as killed:
        killed.deliver(0)
        killed.until("Begins 0")
    with Receiver(tmp_path, GUNICORN) as receiver:
        receiver.stdin.close()
        with ThreadPoolExecutor(8) as pool:
            responses = list(pool.map(receiver.deliver, [1, 2, 3, 4] * 4))
        receiver.send_signal(signal.SIGINT)  # it ends what it has begun
        handled = [line for line in receiver.stdout.read().splitlines() if "Ends" in line]
    assert [response.status_code for response in responses] == [200] * 16
    assert sum(response.json()["new"] for response in responses) == 4
    assert sorted(handled) == [f"Ends {number}" for number in range(5)]


# --- What goes wrong
@on_posix
def test_under_gunicorn_a_missing_secret_is_a_500_and_the_log_says_why(tmp_path: Path) -> None:
    with Receiver(tmp_path, GUNICORN, secret="") as receiver:
        assert receiver.deliver(1).status_code == 500
        receiver.until("ConfigError: CYNCO_WEBHOOK_SECRET is not set")


def test_a_mistake_in_a_handler_is_shown_with_its_line(tmp_path: Path) -> None:
    with Receiver(tmp_path, [SCRIPT]) as receiver:
        receiver.deliver(1, type="customer.created", data={"nmae": "Acme"})
        lines = receiver.until("KeyError: 'name'")
        assert any("The handler of evt_1 failed" in line for line in lines)
        assert any("{customer['name']}" in line for line in lines)
        receiver.deliver(2, type="customer.created", data={"name": "Acme"})
        receiver.until("New customer Acme")


def test_malformed_chunks_end_no_process(tmp_path: Path) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = {
        "negative": b"-5\r\n{}\r\n0\r\n\r\n",
        "broken off": b"f0000\r\n{}",
        "huge": b"fffffffff\r\n{}",
        "no terminator": b"2\r\n{}XX0\r\n\r\n",
    }
    invoice = {"invoiceNumber": "INV-1", "status": "paid"}
    with Receiver(tmp_path, [SCRIPT]) as receiver:
        answers = {name: receiver.raw(head + data).split()[1:2] for name, data in chunks.items()}
        assert answers == {name: [b"400"] for name in chunks}
        assert receiver.deliver(1, chunked=True, data=invoice).json()["new"] is True
        receiver.until("Invoice INV-1 is paid")


# --- main
def test_it_listens_on_this_machine_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = load("05_webhooks")
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", SECRET)
    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setattr(socket, "create_server", create := Mock())
    monkeypatch.setattr(module, "make_server", make := Mock())
    options = {"threaded": True, "fd": create.return_value.fileno()}
    for environ, port in [("", 3456), ("8080", 8080)]:
        monkeypatch.setenv("PORT", environ)
        with pytest.raises(SystemExit, match="1"):
            module.main(["--database", str(tmp_path / "inbox.db")])
        module.worker.submit(int).result()
        create.assert_called_with(("127.0.0.1", port))
        make.assert_called_with("127.0.0.1", port, module.app, **options)


WRONG = ["--database .", "--database no/inbox", "--port 70000", "--port {}", "CYNCO_WEBHOOK_SECRET"]


@pytest.mark.parametrize("problem", WRONG)
def test_what_it_cannot_use_is_one_line_and_exit_code_1(tmp_path: Path, problem: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        problem = problem.format(taken.getsockname()[1])
        arguments, secret = (problem.split(), SECRET) if " " in problem else ([], "")
        result = run(SCRIPT, *arguments, cwd=tmp_path, CYNCO_WEBHOOK_SECRET=secret, PORT="0")
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(f"Error: .*{problem}.+\n", result.stderr)
