"""The sandbox's command line, as a user runs it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sandbox
from conftest import ROOT, run
from flask import Flask
from sandbox_server import SandboxServer

Serve = Callable[..., SandboxServer]
Capture = pytest.CaptureFixture[str]
SANDBOX = str(ROOT / "tests" / "sandbox.py")

OWN_SCRIPT = """
import os, sys
import requests
print(sys.argv[1:])
headers = {"Authorization": "Bearer " + os.environ["CYNCO_API_KEY"]}
url = os.environ["CYNCO_BASE_URL"] + "/invoices?limit=1&stauts=paid&page=1"
print(list(requests.get(url, headers=headers).json()["data"][0]))
sys.exit(7)
"""

# A receiver that refuses the last two deliveries, or does what --then says.
STUB = """
import argparse, os, threading
from flask import Flask, request
parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--then", default="refuse")
args = parser.parse_args()
if args.then == "leave":
    raise SystemExit(3)
app = Flask("stub")
count = 0

@app.post("/webhooks/cynco")
def receive():
    global count
    count += 1
    if count == 1:
        print("secret", os.environ["CYNCO_WEBHOOK_SECRET"])
        print("inbox", os.environ["CYNCO_INBOX"])
    if count == 9 and args.then == "end":
        threading.Timer(0.2, os._exit, [0]).start()
    if count >= 8 and args.then != "accept":
        return "no", 401
    return "yes"

app.run("127.0.0.1", args.port)
"""


@pytest.fixture
def stub(tmp_path: Path) -> str:
    """A receiver of our own, which is started because of its name."""
    script = tmp_path / "05_webhooks.py"
    script.write_text(STUB, encoding="utf-8")
    return str(script)


@pytest.fixture
def receiver() -> Iterator[SandboxServer]:
    """A receiver that accepts everything."""
    app = Flask("receiver")

    @app.post("/api/v1/hook")
    def receive() -> str:
        return "yes"

    with SandboxServer(app) as server:
        yield server


# Scripts


def test_a_script_of_your_own_runs_against_the_sandbox(tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text(OWN_SCRIPT, encoding="utf-8")
    result = run(SANDBOX, "--shape", "sdk", str(script), "--limit", "3")
    assert result.returncode == 7
    assert "['--limit', '3']" in result.stdout
    assert "'lineItems'" in result.stdout
    assert result.stderr == "ignored: stauts\n"


def test_quiet_logs_nothing(tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text(OWN_SCRIPT, encoding="utf-8")
    result = run(SANDBOX, "--quiet", str(script))
    assert result.stderr == ""


def test_options_reach_the_application(tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text(OWN_SCRIPT, encoding="utf-8")
    result = run(SANDBOX, "--invoices", "0", str(script))
    assert result.returncode == 1
    assert "IndexError" in result.stderr


# The receiver


def test_the_receiver_is_started_by_its_name(stub: str) -> None:
    result = run(SANDBOX, stub)
    assert result.returncode == 0
    assert "secret whsec_sandbox" in result.stdout
    assert "events.db" in result.stdout
    assert "sent invoice.created, Cynco-Signature header: 200 yes" in result.stdout
    assert "9 of 9 deliveries answered as expected." in result.stdout


def test_a_wrong_answer_of_the_receiver_is_an_exit_code_of_1(stub: str) -> None:
    result = run(SANDBOX, stub, "--then", "accept")
    assert result.returncode == 1
    assert "7 of 9 deliveries answered as expected." in result.stdout


def test_a_receiver_that_ends_before_it_listens_is_reported(stub: str) -> None:
    result = run(SANDBOX, stub, "--then", "leave")
    assert result.returncode == 3
    assert "sent" not in result.stdout


def test_a_receiver_that_ends_by_itself_is_an_exit_code_of_1(stub: str) -> None:
    result = run(SANDBOX, stub, "--then", "end")
    assert result.returncode == 1
    assert "9 of 9 deliveries answered as expected." in result.stdout
    assert "The receiver ended by itself." in result.stderr


def test_the_help_of_the_receiver_is_only_printed(stub: str) -> None:
    result = run(SANDBOX, stub, "--help")
    assert result.returncode == 0
    assert "--then" in result.stdout
    assert "sent" not in result.stdout


# The command line


def test_the_first_screen_says_how_to_connect() -> None:
    command = [sys.executable, SANDBOX, "--port", "0", "--shape", "openapi"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout
        screen = [process.stdout.readline() for _ in range(7)]
        process.terminate()
    assert screen[0].startswith("Serving http://127.0.0.1:")
    assert screen[0].endswith("in the openapi shape until Ctrl-C.\n")
    assert "--shape sdk" in screen[1]
    assert screen[2] == "The books end at 2026-03-31T09:00:00Z.\n"
    assert "cak_sandbox_read_only" in screen[3]
    assert "export CYNCO_BASE_URL=http://127.0.0.1:" in screen[5]
    assert '$env:CYNCO_API_KEY="cak_sandbox"' in screen[6]


def test_webhooks_go_to_a_receiver_of_your_own(
    receiver: SandboxServer, capsys: Capture
) -> None:
    exit_code = sandbox.main(["--webhooks", f"{receiver.url}/hook"])
    out = capsys.readouterr().out
    assert exit_code == 1
    assert out.endswith("7 of 9 deliveries answered as expected.\n")


def test_event_sends_only_that_one(receiver: SandboxServer, capsys: Capture) -> None:
    url = f"{receiver.url}/hook"
    exit_code = sandbox.main(["--webhooks", url, "--event", "invoice.paid"])
    out = capsys.readouterr().out
    assert exit_code == 0
    assert "sent invoice.paid, X-Webhook-Signature header: 200 yes\n" in out
    assert out.endswith("1 of 1 deliveries answered as expected.\n")


def usage_error(capsys: Capture, *arguments: str) -> str:
    """Return what is said of wrong arguments; the exit code is 2."""
    with pytest.raises(SystemExit) as stop:
        sandbox.main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_event_sends_a_new_one_each_time(receiver: SandboxServer) -> None:
    command = ["--webhooks", f"{receiver.url}/hook", "--event", "invoice.paid"]

    sandbox.main(command)
    sandbox.main(command)

    first = json.loads(receiver.seen[0]["body"])
    second = json.loads(receiver.seen[1]["body"])
    assert first["data"] == second["data"]
    assert first["id"] != second["id"]


def test_an_unknown_event_lists_the_six(capsys: Capture) -> None:
    err = usage_error(capsys, "--webhooks", "http://127.0.0.1:1/", "--event", "paid")

    assert "invoice.created" in err
    assert "bill.paid" in err


def test_event_needs_webhooks(capsys: Capture) -> None:
    err = usage_error(capsys, "--event", "invoice.paid")

    assert "--event needs --webhooks URL" in err


def test_an_unknown_fault_lists_the_six(capsys: Capture) -> None:
    err = usage_error(capsys, "--faults", "503,boom")

    assert "choose from 500,503,429,drop,lost,truncate" in err


@pytest.mark.parametrize("option", ["--port", "--invoices", "--rate-limit"])
def test_a_negative_number_is_a_usage_error(capsys: Capture, option: str) -> None:
    err = usage_error(capsys, f"{option}=-1")

    assert "--port, --invoices or --rate-limit is out of range" in err


def test_a_wrong_script_name_lists_the_six(capsys: Capture) -> None:
    err = usage_error(capsys, "1_list_invoices.py")

    assert err.startswith("There is no 1_list_invoices.py. The examples are 01_list")
    assert err.count("\n") == 1
    assert err.count(".py") == 7


def test_a_port_in_use_is_one_line(serve: Serve, capsys: Capture) -> None:
    port = serve().server_port
    assert sandbox.main(["--port", str(port)]) == 1
    assert capsys.readouterr().err == (
        f"Port {port} is in use; choose another with --port.\n"
    )


def test_missing_requirements_are_one_line() -> None:
    result = run("-S", SANDBOX)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "pip install -r requirements.txt" in result.stderr
