"""The sandbox's command line, mostly in the process of the tests."""

import itertools
import json
import os
import socket
import subprocess
import sys
from unittest.mock import Mock

import pytest
import sandbox
from conftest import ROOT, run
from flask import Flask
from sandbox_server import SandboxServer

SANDBOX = str(ROOT / "tests" / "sandbox.py")


@pytest.fixture(autouse=True)
def interrupts(monkeypatch):
    """Ctrl-C must go on to stop the tests, though a script is run."""
    monkeypatch.setattr("signal.signal", Mock())


# Scripts

OWN_SCRIPT = """
import os, sys
from urllib.request import Request, urlopen
print(sys.argv[1:])
url = os.environ["CYNCO_BASE_URL"] + "/invoices?limit=1&stauts=paid&page=1"
headers = {"Authorization": "Bearer " + os.environ["CYNCO_API_KEY"]}
print(urlopen(Request(url, headers=headers)).read())
sys.exit(7)
"""


@pytest.fixture
def own_script(tmp_path):
    script = tmp_path / "own.py"
    script.write_text(OWN_SCRIPT, encoding="utf-8")
    return str(script)


def test_a_script_of_your_own_runs_against_the_sandbox(own_script, capfd):
    exit_code = sandbox.main(["--shape", "sdk", own_script, "--limit", "3"])

    out, err = capfd.readouterr()
    assert exit_code == 7
    assert "['--limit', '3']" in out
    assert '"lineItems"' in out
    assert err == "ignored: stauts\n"


def test_quiet_logs_nothing(own_script, capfd):
    sandbox.main(["--quiet", own_script])

    assert capfd.readouterr().err == ""


def test_options_reach_the_application(own_script, capfd):
    sandbox.main(["--invoices", "0", own_script])

    assert '"data":[]' in capfd.readouterr().out


@pytest.fixture
def refusing_script(tmp_path):
    """A script that ends as argparse does when it refuses an option."""
    script = tmp_path / "refusing.py"
    script.write_text("raise SystemExit(2)", encoding="utf-8")
    return str(script)


@pytest.mark.parametrize("option", ["--faults=503", "--rate-limit"])
def test_an_option_of_the_sandbox_behind_the_script_is_named(
    refusing_script, capfd, option
):
    exit_code = sandbox.main([refusing_script, "--limit", option])

    name, _, _ = option.partition("=")
    assert exit_code == 2
    assert capfd.readouterr().err == (
        f"{name} is an option of the sandbox. Put it first: "
        f"python tests/sandbox.py {name} ... {refusing_script}\n"
    )


def test_an_option_of_the_script_is_not_named(refusing_script, capfd):
    sandbox.main([refusing_script, "--limit", "webhooks"])

    assert capfd.readouterr().err == ""


def test_an_option_that_a_script_takes_is_not_named(own_script, capfd):
    sandbox.main(["--quiet", own_script, "--port"])

    assert capfd.readouterr().err == ""


# The receiver

# Refuses the last two deliveries; its argument says what else it does.
RECEIVER = """
import os, sqlite3, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
if sys.argv[1] == "--help":
    print("usage")
    sys.exit()
_, _, port, does = sys.argv
if does == "--leave":
    sys.exit(3)
print(os.environ["CYNCO_WEBHOOK_SECRET"], os.environ.get("PYTHONUNBUFFERED"))
sys.stdout.flush()
if does in ("--fail", "--end"):
    inbox = sqlite3.connect(os.environ["CYNCO_INBOX"])
    inbox.execute("CREATE TABLE events (id, done)")
    inbox.execute("INSERT INTO events VALUES ('evt_0001', 1), ('evt_0002', 0)")
    inbox.commit()

class Receiver(BaseHTTPRequestHandler):
    count = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Receiver.count += 1
        status = 200
        if Receiver.count >= 8 and does != "--accept":
            status = 401
        self.send_response(status)
        self.end_headers()
        if Receiver.count == 9 and does == "--end":
            os._exit(0)

HTTPServer(("127.0.0.1", int(port)), Receiver).serve_forever()
"""


@pytest.fixture
def receive(tmp_path, monkeypatch):
    """Run a receiver, which is one because of its name; return the exit code."""
    script = tmp_path / "05_webhooks.py"
    script.write_text(RECEIVER, encoding="utf-8")
    monkeypatch.setattr(sandbox, "PRINTING_TIME", 0)
    monkeypatch.setattr(sandbox, "HANDLING_TIME", 0.2)

    def receive(does):
        return sandbox.main([str(script), does])

    return receive


def test_the_receiver_is_started_by_its_name(receive, capfd, monkeypatch):
    # With it, print() would write the end of a line after a line of the sandbox.
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")

    exit_code = receive("--refuse")

    out = capfd.readouterr().out
    assert exit_code == 0
    assert "whsec_sandbox None\n" in out
    assert "sent invoice.created, Cynco-Signature header: 200 \n" in out
    assert "9 of 9 deliveries answered as expected.\n" in out


def test_a_wrong_answer_of_the_receiver_is_an_exit_code_of_1(receive, capfd):
    exit_code = receive("--accept")

    assert exit_code == 1
    assert "7 of 9 deliveries answered as expected." in capfd.readouterr().out


def test_an_event_that_no_handler_finished_is_an_exit_code_of_1(receive, capfd):
    exit_code = receive("--fail")

    out, err = capfd.readouterr()
    assert exit_code == 1
    assert "9 of 9 deliveries answered as expected." in out
    assert "No handler finished invoice.paid (evt_0002).\n" in err
    assert err.count("No handler finished") == 1


def test_a_receiver_that_ends_before_it_listens_is_reported(receive, capfd):
    exit_code = receive("--leave")

    assert exit_code == 3
    assert "sent" not in capfd.readouterr().out


def test_a_receiver_that_ends_by_itself_is_an_exit_code_of_1(receive, capfd):
    exit_code = receive("--end")

    assert exit_code == 1
    assert "The receiver ended by itself.\n" in capfd.readouterr().err


def test_the_help_of_the_receiver_is_only_printed(receive, capfd):
    exit_code = receive("--help")

    assert exit_code == 0
    assert capfd.readouterr().out == "usage\n"


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes two seconds at each look."""
    monkeypatch.setattr("time.monotonic", Mock(side_effect=itertools.count(0, 2)))
    monkeypatch.setattr("time.sleep", Mock())


def wait_for_handlers(monkeypatch, *unfinished, exit_code=None):
    """Wait; `unfinished` are the events found at each look at the inbox."""
    monkeypatch.setattr(sandbox, "find_unfinished", Mock(side_effect=unfinished))
    receiver = Mock()
    receiver.poll.return_value = exit_code
    return sandbox.wait_for_handlers(receiver, "events.db")


def test_handlers_have_time_as_long_as_they_finish_events(clock, monkeypatch):
    both = ["evt_1", "evt_2"]
    one = ["evt_2"]

    assert wait_for_handlers(monkeypatch, both, both, one, one, []) == []


def test_handlers_that_finish_nothing_for_a_while_have_failed(clock, monkeypatch):
    one = ["evt_1"]

    assert wait_for_handlers(monkeypatch, one, one, one) == ["evt_1"]


def test_handlers_of_a_receiver_that_ended_are_not_waited_for(clock, monkeypatch):
    assert wait_for_handlers(monkeypatch, ["evt_1"], exit_code=0) == ["evt_1"]


# Webhooks to a receiver of your own


@pytest.fixture
def own_receiver():
    """A receiver that accepts everything."""
    app = Flask("receiver")

    @app.post("/api/v1/hook")
    def receive():
        return "yes"

    with SandboxServer(app) as server:
        yield server


def ids(server):
    """Return the ids of the events that a receiver has got."""
    return [json.loads(request["body"])["id"] for request in server.seen]


def test_webhooks_go_to_a_receiver_of_your_own(own_receiver, capsys):
    exit_code = sandbox.main(["--webhooks", f"{own_receiver.url}/hook"])

    out = capsys.readouterr().out
    assert exit_code == 1
    assert out.endswith("7 of 9 deliveries answered as expected.\n")


def test_event_sends_only_that_one(own_receiver, capsys):
    url = f"{own_receiver.url}/hook"

    exit_code = sandbox.main(["--webhooks", url, "--event", "invoice.paid"])

    out = capsys.readouterr().out
    assert exit_code == 0
    assert "sent invoice.paid, X-Webhook-Signature header: 200 yes\n" in out
    assert out.endswith("1 of 1 deliveries answered as expected.\n")


def test_event_sends_a_new_one_each_time(own_receiver):
    command = ["--webhooks", f"{own_receiver.url}/hook", "--event", "invoice.paid"]

    sandbox.main(command)
    sandbox.main(command)

    first, second = ids(own_receiver)
    assert first != second


def test_event_id_sends_the_same_event_again(own_receiver):
    command = ["--webhooks", f"{own_receiver.url}/hook", "--event", "invoice.paid"]
    command += ["--event-id", "evt_mine"]

    sandbox.main(command)
    sandbox.main(command)

    first, second = own_receiver.seen
    assert ids(own_receiver) == ["evt_mine", "evt_mine"]
    assert first["body"] == second["body"]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs POSIX")
def test_each_line_is_written_whole(own_receiver):
    """Those of another program would come between: a datagram is what one write was."""
    command = [sys.executable, SANDBOX, "--webhooks", f"{own_receiver.url}/hook"]
    command += ["--event", "invoice.paid"]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)

    with reader, writer:
        reader.settimeout(10)
        subprocess.run(command, stdout=writer, env=environ, check=True)
        first = reader.recv(1000)
        second = reader.recv(1000)

    assert first.startswith(b"sent invoice.paid, ")
    assert second == b"1 of 1 deliveries answered as expected.\n"


# The command line


def test_the_first_screen_says_how_to_connect():
    command = [sys.executable, SANDBOX, "--port", "0", "--shape", "openapi"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        screen = [process.stdout.readline() for _ in range(7)]
        process.terminate()

    assert screen[0].startswith("Serving http://127.0.0.1:")
    assert screen[0].endswith("in the openapi shape until Ctrl-C.\n")
    assert "--shape sdk" in screen[1]
    assert screen[2] == "The books end at 2026-03-31T09:00:00Z.\n"
    assert "cak_sandbox_read_only" in screen[3]
    assert "export CYNCO_BASE_URL=http://127.0.0.1:" in screen[5]
    assert '$env:CYNCO_API_KEY="cak_sandbox"' in screen[6]


def usage_error(capsys, *arguments):
    """Return what is said of wrong arguments; the exit code is 2."""
    with pytest.raises(SystemExit) as stop:
        sandbox.main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_an_unknown_event_lists_the_six(capsys):
    err = usage_error(capsys, "--webhooks", "http://127.0.0.1:1/", "--event", "paid")

    assert "invoice.created" in err
    assert "bill.paid" in err


def test_an_unknown_fault_lists_the_six(capsys):
    err = usage_error(capsys, "--faults", "503,boom")

    assert "choose from 500,503,429,drop,lost,truncate" in err


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--port=-1", "--port: must be from 0 to 65535"),
        ("--port=65536", "--port: must be from 0 to 65535"),
        ("--invoices=-1", "--invoices: must be 0 or more"),
        ("--rate-limit=-1", "--rate-limit: must be 0 or more"),
        ("--webhooks=localhost", "--webhooks: must begin with http:// or https://"),
        ("--webhooks=", "--webhooks: must begin with http:// or https://"),
    ],
)
def test_a_wrong_value_is_named(capsys, option, problem):
    err = usage_error(capsys, option)

    assert f"argument {problem}" in err


@pytest.mark.parametrize("option", ["--event=invoice.paid", "--secret=whsec_1"])
def test_an_option_of_webhooks_needs_a_url(capsys, option):
    err = usage_error(capsys, option)

    name, _, _ = option.partition("=")
    assert f"{name} needs --webhooks URL" in err


@pytest.mark.parametrize(
    "option",
    [
        "--port=0",
        "--invoices=5",
        "--rate-limit=5",
        "--faults=503",
        "--shape=sdk",
        "--unbalanced",
        "--changing",
        "--quiet",
    ],
)
def test_an_option_of_the_api_has_no_effect_with_webhooks(capsys, option):
    err = usage_error(capsys, "--webhooks", "http://127.0.0.1:1/", option)

    name, _, _ = option.partition("=")
    assert f"{name} has no effect with --webhooks" in err


def test_a_script_has_no_effect_with_webhooks(capsys):
    err = usage_error(capsys, "--webhooks", "http://127.0.0.1:1/", "05_webhooks.py")

    assert "a script has no effect with --webhooks" in err


def test_event_id_needs_event(capsys):
    err = usage_error(capsys, "--webhooks", "http://127.0.0.1:1/", "--event-id=evt_1")

    assert "--event-id needs --event NAME" in err


def test_a_wrong_script_name_lists_the_examples(capsys):
    err = usage_error(capsys, "1_list_invoices.py")

    assert err.startswith("There is no 1_list_invoices.py. The examples are 01_list")
    assert err.count("\n") == 1
    assert "06_reports.py" in err


def test_a_port_in_use_is_one_line(serve, capsys):
    port = serve().server_port

    exit_code = sandbox.main(["--port", str(port)])

    assert exit_code == 1
    assert capsys.readouterr().err == (
        f"Port {port} is in use; choose another with --port.\n"
    )


def test_missing_requirements_are_one_line():
    result = run("-S", SANDBOX)

    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "pip install -r requirements.txt" in result.stderr
