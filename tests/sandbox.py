"""A sandbox of the Cynco API on localhost, with invented data: it needs no account.

Usage:
    python tests/sandbox.py 01_list_invoices.py        run an example, or your own
    python tests/sandbox.py 05_webhooks.py             start it and send it webhooks
    python tests/sandbox.py --faults 503,drop 03_pagination.py      watch it retry
    python tests/sandbox.py --webhooks http://localhost:8000/hook   test your receiver
    python tests/sandbox.py                            serve until Ctrl-C
"""

import argparse
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from io import TextIOWrapper
from pathlib import Path

try:
    from sandbox_api import API_KEY, READ_ONLY_KEY, SHAPES, create_app
    from sandbox_data import CLOCK
    from sandbox_server import FAULTS, SandboxServer
    from sandbox_webhooks import (
        EVENTS,
        WEBHOOK_SECRET,
        make_deliveries,
        make_delivery,
        send_webhooks,
    )
except ModuleNotFoundError as missing:
    print(
        f"{missing.name} is not installed; activate your virtual environment,"
        " then run: pip install -r requirements.txt",
        file=sys.stderr,
    )
    sys.exit(1)

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted(path.name for path in ROOT.glob("[0-9][0-9]_*.py"))
RECEIVER = "05_webhooks.py"
START_TIME = 30  # seconds for a receiver to accept connections
HANDLING_TIME = 5  # seconds for its handlers to finish the next event
PRINTING_TIME = 1  # seconds for a receiver without an inbox to print its last lines


def run_script(script: Path, args: list[str], url: str) -> int:
    """Run a script against the sandbox at `url`; return its exit code."""
    environ = dict(os.environ)
    environ["CYNCO_BASE_URL"] = url
    environ["CYNCO_API_KEY"] = API_KEY
    environ["CYNCO_WEBHOOK_SECRET"] = WEBHOOK_SECRET
    # No proxy for localhost; and a .netrc entry would replace the key.
    environ["NO_PROXY"] = "127.0.0.1,localhost"
    environ["no_proxy"] = "127.0.0.1,localhost"
    environ["NETRC"] = os.devnull
    asks_for_help = "-h" in args or "--help" in args
    if script.name == RECEIVER and not asks_for_help:
        return run_receiver(script, args, environ)
    # Ctrl-C reaches the script, too: it decides what happens.
    signal.signal(signal.SIGINT, leave_it_to_the_script)
    return subprocess.run(
        [sys.executable, str(script), *args], env=environ, check=False
    ).returncode


def leave_it_to_the_script(*_: object) -> None:
    pass


# The receiver


def run_receiver(script: Path, args: list[str], environ: dict[str, str]) -> int:
    """Start the receiver, with an inbox of its own, and send it webhooks."""
    port = find_free_port()
    command = [sys.executable, str(script), "--port", str(port), *args]
    # With it, print() writes a line and its end separately: our lines come between.
    environ.pop("PYTHONUNBUFFERED", None)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        inbox = str(Path(folder, "events.db"))
        environ["CYNCO_INBOX"] = inbox
        receiver = subprocess.Popen(command, env=environ)
        try:
            return send_to_receiver(receiver, port, inbox)
        finally:
            stop(receiver)


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def send_to_receiver(receiver: subprocess.Popen[bytes], port: int, inbox: str) -> int:
    deadline = time.monotonic() + START_TIME
    while not is_listening(port):
        if receiver.poll() is not None:
            return receiver.returncode or 1
        if time.monotonic() > deadline:
            print(f"Nothing listens on port {port} after 30 s.", file=sys.stderr)
            return 1
        time.sleep(0.1)
    url = f"http://127.0.0.1:{port}/webhooks/cynco"
    deliveries = make_deliveries()
    as_expected = send_webhooks(url, WEBHOOK_SECRET, deliveries)
    unfinished = wait_for_handlers(receiver, inbox)
    for delivery in deliveries[: len(EVENTS)]:
        event_id = delivery.event["id"]
        if event_id in unfinished:
            name = f"{delivery.event_type} ({event_id})"
            print(f"No handler finished {name}.", file=sys.stderr)
    if receiver.poll() is not None:
        print("The receiver ended by itself.", file=sys.stderr)
        return 1
    if unfinished or not as_expected:
        return 1
    return 0


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_for_handlers(receiver: subprocess.Popen[bytes], inbox: str) -> list[str]:
    """Wait until all events are done, or no more are; return the ids of the rest."""
    try:
        unfinished = find_unfinished(inbox)
    except sqlite3.Error:  # a receiver without an inbox like that of 05_webhooks.py
        time.sleep(PRINTING_TIME)
        return []
    deadline = time.monotonic() + HANDLING_TIME
    while unfinished and receiver.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
        before = unfinished
        unfinished = find_unfinished(inbox)
        if unfinished != before:
            deadline = time.monotonic() + HANDLING_TIME
    return unfinished


def find_unfinished(inbox: str) -> list[str]:
    with closing(sqlite3.connect(inbox)) as database:
        rows = database.execute("SELECT id FROM events WHERE done = 0").fetchall()
    return [event_id for (event_id,) in rows]


def stop(receiver: subprocess.Popen[bytes]) -> None:
    receiver.terminate()
    try:
        receiver.wait(timeout=5)
    except subprocess.TimeoutExpired:
        receiver.kill()
        receiver.wait()


# The command line


def serve(server: SandboxServer, shape: str) -> None:
    variables = {
        "CYNCO_BASE_URL": server.url,
        "CYNCO_API_KEY": API_KEY,
        "CYNCO_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "NO_PROXY": "127.0.0.1,localhost",
    }
    bash = "export"
    powershell = ""
    for name, value in variables.items():
        bash += f" {name}={value}"
        powershell += f'$env:{name}="{value}"; '
    print(f"Serving {server.url} in the {shape} shape until Ctrl-C.")
    print("The live service most likely sends what --shape sdk does: build on that.")
    print(f"The books end at {CLOCK}.")
    print(f"To practise a 403, use the read-only key {READ_ONLY_KEY}.")
    print("In another terminal, paste the line for bash and zsh, or for PowerShell:")
    print(bash)
    print(powershell, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="A sandbox of the Cynco API on localhost."
    )
    add = parser.add_argument
    add("--port", type=int, help="(default: 8765, or a free one to run a script)")
    add("--invoices", type=int, default=300, help="(default: 300)")
    add("--rate-limit", type=int, default=200, help="requests a minute (default: 200)")
    add("--faults", default="", help=f"for each third request: {','.join(FAULTS)}")
    add("--shape", choices=SHAPES, default="guide", help="most likely live: sdk")
    add("--unbalanced", action="store_true", help="put the trial balance out by a cent")
    add("--changing", action="store_true", help="pay one a page (--invoices 3000)")
    add("--quiet", action="store_true", help="do not log requests")
    add("--webhooks", metavar="URL", help="send webhooks to a receiver of your own")
    add("--event", choices=list(EVENTS), help="send only this one")
    add("--event-id", metavar="ID", help="its id: the same event again")
    add("--secret", default=WEBHOOK_SECRET, help="signs them (default: %(default)s)")
    add("script", nargs="?", type=Path, help="an example or a script of your own")
    add("args", nargs=argparse.REMAINDER, default=[], help="its arguments")
    return parser


def check_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a usage error for a wrong value, or an option that has no effect."""
    url = args.webhooks
    if url is not None and not url.startswith(("http://", "https://")):
        parser.error("argument --webhooks: must begin with http:// or https://")
    if args.port is not None and not 0 <= args.port <= 65535:
        parser.error("argument --port: must be from 0 to 65535")
    if args.invoices < 0:
        parser.error("argument --invoices: must be 0 or more")
    if args.rate_limit < 0:
        parser.error("argument --rate-limit: must be 0 or more")
    if url and args.script:
        parser.error("a script has no effect with --webhooks")
    if args.event_id and not args.event:
        parser.error("--event-id needs --event NAME")
    for name, value in vars(args).items():
        if value != parser.get_default(name):
            option = f"--{name.replace('_', '-')}"
            is_for_webhooks = name in ("webhooks", "event", "event_id", "secret")
            if is_for_webhooks and not url:
                parser.error(f"{option} needs --webhooks URL")
            if url and not is_for_webhooks:
                parser.error(f"{option} has no effect with --webhooks")


def send_to_url(args: argparse.Namespace) -> int:
    deliveries = make_deliveries()
    if args.event:
        deliveries = [make_delivery(args.event)]
    run = time.time_ns()  # events that the receiver has not seen in another run
    for delivery in deliveries:
        delivery.event["id"] += f"_{run}"
        if args.event_id:
            delivery.event["id"] = args.event_id
    as_expected = send_webhooks(args.webhooks, args.secret, deliveries)
    if not as_expected:
        return 1
    return 0


def explain_refusal(args: argparse.Namespace) -> None:
    """Name our options among the arguments of a script, which refused them."""
    for argument in args.args:
        option, _, _ = argument.partition("=")
        name = option.removeprefix("--").replace("-", "_")
        if option.startswith("--") and name in vars(args):
            command = f"python tests/sandbox.py {option} ... {args.script}"
            line = f"{option} is an option of the sandbox. Put it first: {command}"
            print(line, file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    parser = make_parser()
    args = parser.parse_args(argv)
    check_options(parser, args)
    if args.webhooks:
        return send_to_url(args)

    faults = []
    if args.faults:
        faults = args.faults.split(",")
    for fault in faults:
        if fault not in FAULTS:
            parser.error(f"argument --faults: choose from {','.join(FAULTS)}")
    script = args.script
    port = args.port
    if port is None:
        port = 0 if script else 8765
    if script and not script.is_file():
        if str(script) not in EXAMPLES:
            names = ", ".join(EXAMPLES)
            parser.exit(2, f"There is no {script}. The examples are {names}.\n")
        script = ROOT / script

    app = create_app(
        invoices=args.invoices,
        rate_limit=args.rate_limit,
        shape=args.shape,
        unbalanced=args.unbalanced,
        changing=args.changing,
    )
    try:
        server = SandboxServer(app, port, faults)
    except OSError:
        print(f"Port {port} is in use; choose another with --port.", file=sys.stderr)
        return 1
    server.quiet = args.quiet
    if script is None:
        serve(server, args.shape)
        return 0
    server.only_ignored = True
    with server:
        exit_code = run_script(script, args.args, server.url)
    if exit_code == 2:  # as argparse has it
        explain_refusal(args)
    return exit_code


if __name__ == "__main__":
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace",  # a console lacks letters
            line_buffering=True,
            write_through=False,  # each line at once, even with PYTHONUNBUFFERED
        )
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
