"""A sandbox of the Cynco API on 127.0.0.1, with invented data, to try it without an account.

Usage:
    python tests/sandbox.py 01_list_invoices.py           run an example, or a program of your own
    python tests/sandbox.py 05_webhooks.py                start the receiver and send it webhooks
    python tests/sandbox.py --faults 503,drop 03_pagination.py       watch the retries at work
    python tests/sandbox.py --webhooks http://localhost:8000/hook    test a receiver of your own
    python tests/sandbox.py                               serve until Ctrl-C
"""

import argparse
import hashlib
import hmac
import itertools
import json
import os
import queue
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import TextIOWrapper
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from typing import Any, NamedTuple, TextIO

try:
    import requests
    from flask import Flask
    from sandbox_api import API_KEY, CLOCK, SHAPES, create_app, make_invoice
except ModuleNotFoundError as missing:
    advice = "activate your virtual environment, then run: pip install -r requirements.txt"
    sys.exit(f"{missing.name} is not installed; {advice}")

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted(path.name for path in ROOT.glob("0[1-6]_*.py"))
WEBHOOK_SECRET = "whsec_sandbox"
FAULTS = ["500", "503", "429", "drop", "lost", "truncate"]
FAULT_EVERY = 3  # requests
PATIENCE = 10  # seconds for a receiver to respond, and for its handler to be done
START_TIME = 30  # seconds for a receiver to listen
LOCAL = "127.0.0.1,localhost"


def printable(text: str) -> str:
    """Escape what would control the terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class SandboxServer(ThreadingHTTPServer):
    """Serves an application over HTTP/1.1 (Flask's own server cannot keep a connection open)."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = os.name != "nt"  # on Windows, that would let two servers share a port
    quiet = True

    def __init__(
        self, app: Flask, port: int = 0, faults: Sequence[str] = (), delay: float = 0
    ) -> None:
        self.app, self.delay = app, delay
        self.connections, self.seen = 0, list[dict[str, Any]]()
        pause = [None] * (FAULT_EVERY - 1)
        turns = [turn for fault in faults for turn in (fault, *pause)]
        self.faults = itertools.cycle(turns or pause)
        super().__init__(("127.0.0.1", port), SandboxHandler)
        self.url = f"http://127.0.0.1:{self.server_port}/api/v1"

    def __enter__(self) -> "SandboxServer":
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def process_request(self, *connection: Any) -> None:
        self.connections += 1
        super().process_request(*connection)

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news."""


class SandboxHandler(BaseHTTPRequestHandler):
    server: SandboxServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault, ignored, headers = next(self.server.faults), list[str](), self.headers.items()
        seen = {"method": self.command, "path": self.path, "headers": dict(headers), "body": body}
        self.server.seen.append({**seen, "fault": fault, "ignored": ignored})
        notes = {"sandbox.fault": fault, "sandbox.ignored": ignored}
        response = None
        if fault != "drop":
            response = self.server.app.test_client(use_cookies=False).open(
                self.path, method=self.command, headers=headers, data=body, environ_overrides=notes
            )
        if self.server.delay:
            time.sleep(self.server.delay)
        if not self.server.quiet:
            line = f"{self.command} {self.path} {response.status_code if response else '-'}"
            line += f" (ignored: {', '.join(ignored)})" if ignored else ""
            line += f" (fault: {fault})" if fault else ""
            print(printable(line), file=sys.stderr, flush=True)
        self.close_connection = fault in ("drop", "lost", "truncate") or self.close_connection
        if response is None or fault == "lost":
            return
        self.send_response(response.status_code)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        half = len(response.data) // 2
        self.wfile.write(response.data[:half] if fault == "truncate" else response.data)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = respond  # noqa: N815

    def log_message(self, *_: object) -> None:
        """respond() has a line of its own."""


# Webhooks


def sign(body: bytes, timestamp: int, secret: str = WEBHOOK_SECRET) -> str:
    return hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def webhook_headers(
    form: str, body: bytes, timestamp: int | None = None, secret: str = WEBHOOK_SECRET
) -> dict[str, str]:
    """Return the headers of a delivery: form "X-Webhook-Signature" or "Cynco-Signature"."""
    timestamp = int(time.time()) if timestamp is None else timestamp
    signature = sign(body, timestamp, secret)
    if form == "Cynco-Signature":
        return {form: f"t={timestamp},v1={signature}"}
    delivery_id = f"del_{hashlib.sha256(body).hexdigest()[:8]}"
    return {"X-Webhook-Id": delivery_id, "X-Webhook-Timestamp": str(timestamp), form: signature}


def make_events() -> list[tuple[str, dict[str, Any]]]:
    """Return six events, each with the form of its headers; both shapes of a body by turns."""
    overdue, created = make_invoice(13), {**make_invoice(13), "status": "sent"}
    paid = {**make_invoice(14), "status": "paid", "totalAmount": 3_405.50}
    del paid["total"]
    customer = {"id": "cus_0011", "name": "Acme Corp", "email": "billing@acme.example"}
    payment = {"id": "pay_0001", "amount": 250_000, "currency": "JPY", "method": "bank_transfer"}
    guide, sdk, dated = "Cynco-Signature", "X-Webhook-Signature", {"createdAt": CLOCK}
    return [
        (guide, {"id": "evt_0001", "type": "invoice.created", "data": created}),
        (sdk, {"id": "evt_0002", "event": "invoice.paid", **dated, "data": paid}),
        (guide, {"id": "evt_0003", "type": "invoice.overdue", "data": overdue}),
        (sdk, {"id": "evt_0004", "event": "customer.created", **dated, "data": customer}),
        (guide, {"id": "evt_0005", "type": "payment.received", "data": payment}),
        (sdk, {"id": "evt_0006", "event": "bill.paid", **dated, "data": {"id": "bil_1"}}),
    ]


class Delivery(NamedTuple):
    form: str
    event: dict[str, Any]
    remark: str = ""
    age: int = 0  # seconds since it was signed
    forged: bool = False

    def __str__(self) -> str:
        return f"{self.event.get('type') or self.event.get('event')}{self.remark}"


def make_deliveries(both_forms: bool = False) -> list[Delivery]:
    """Return six events, one of them once more, and what a receiver has to refuse."""
    events = [Delivery(form, event) for form, event in make_events()]
    again = events[1]._replace(remark=" once more")
    stale = again._replace(remark=", signed ten minutes ago", age=600)
    forged = again._replace(remark=", forged", forged=True)
    refused = [stale, forged._replace(form="Cynco-Signature")]
    if both_forms:
        refused += [stale._replace(form="Cynco-Signature"), forged]
    return [*events, again, *refused]


def send_delivery(delivery: Delivery, url: str, secret: str) -> requests.Response:
    # Not as json.dumps writes it: who parses the body and writes it again finds another signature.
    body = json.dumps(delivery.event, ensure_ascii=False, separators=(",", ":")).encode()
    key = "whsec_of_somebody_else" if delivery.forged else secret
    headers = webhook_headers(delivery.form, body, int(time.time()) - delivery.age, key)
    headers["Content-Type"] = "application/json"
    with requests.Session() as session:
        session.trust_env = False  # no proxy for localhost
        options: dict[str, Any] = {"timeout": PATIENCE, "allow_redirects": False}
        return session.post(url, data=body, headers=headers, **options)


def play_webhooks(
    url: str,
    secret: str,
    deliveries: list[Delivery],
    after: Callable[[Delivery, requests.Response], bool] = lambda *_: True,
) -> int:
    """Send deliveries and print the responses; return 0 if all went as expected, else 1."""
    right, handled = 0, True
    for delivery in deliveries:
        try:
            response = send_delivery(delivery, url, secret)
        except (requests.RequestException, ValueError) as error:
            cause: BaseException = error
            while cause.__context__:
                cause = cause.__context__
            print(printable(f"No response from {url}: {cause}"), file=sys.stderr)
            return 1
        expected = "a refusal" if delivery.age or delivery.forged else "a 2xx"
        as_expected = response.status_code // 100 == (4 if delivery.age or delivery.forged else 2)
        right += as_expected
        text = f"{response.status_code} {printable(response.text.strip())[:200]}".rstrip()
        mark = "" if as_expected else f"  <- expected {expected}"
        print(f"sent {delivery}, {delivery.form} header: {text}{mark}", flush=True)
        handled &= after(delivery, response)
    print(f"{right} of {len(deliveries)} deliveries answered as expected.")
    return 0 if handled and right == len(deliveries) else 1


# The receiver: its stderr is shown at once and tells what it does, its stdout is kept in a file


def relay(stderr: Iterable[str], lines: queue.Queue[str]) -> None:
    for line in stderr:
        print(line, end="", file=sys.stderr, flush=True)
        lines.put(line)
    lines.put("")  # the receiver has ended


def wait_for(pattern: str, lines: queue.Queue[str], seconds: float) -> re.Match[str] | None:
    """Return the next line that matches, None if the receiver ends first. Raises queue.Empty."""
    deadline = time.monotonic() + seconds
    while line := lines.get(timeout=max(0, deadline - time.monotonic())):
        if match := re.match(pattern, line):
            return match
    return None


def show_handler(
    lines: queue.Queue[str], output: TextIO, delivery: Delivery, response: requests.Response
) -> bool:
    """Print what the handler of a new event printed, once it is done; return whether it is."""
    problem, event_id = "", delivery.event["id"]
    is_new = not delivery.remark and '"new":false' not in response.text
    if is_new and response.status_code == 200:
        try:
            pattern = rf"Handled {event_id}\b|The handler of {event_id} (failed)"
            done = wait_for(pattern, lines, PATIENCE)
            problem = f"its handler {done[1]}" if done and done[1] else ""
        except queue.Empty:
            problem = f"its handler is still running after {PATIENCE} s"
    for line in output.read().splitlines():
        print(f"  {line}", flush=True)
    if problem:
        print(f"{delivery}: {problem}.", file=sys.stderr)
    return not problem


def run_receiver(command: list[str], args: list[str], environ: dict[str, str]) -> int:
    """Start the receiver on any free port, with an inbox of its own, and send it webhooks."""
    environ = {**environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    lines: queue.Queue[str] = queue.Queue()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # The reader's own options come later: they win.
        command += ["--port", "0", "--database", str(Path(folder, "events.db")), *args]
        output = Path(folder, "output.txt")
        with (
            output.open("w") as stdout,
            output.open(encoding="utf-8") as printed,
            Popen(command, env=environ, stdout=stdout, stderr=PIPE, encoding="utf-8") as receiver,
        ):
            watch = threading.Thread(target=relay, args=[receiver.stderr, lines], daemon=True)
            watch.start()
            try:
                listening = wait_for(r"Listening on (\S+)", lines, START_TIME)
                if not listening:
                    print(printed.read(), end="")
                    return receiver.wait()
                events, after = make_deliveries(), partial(show_handler, lines, printed)
                return play_webhooks(listening[1], WEBHOOK_SECRET, events, after)
            except queue.Empty:
                print(f"The receiver is not listening after {START_TIME} s.", file=sys.stderr)
                return 1
            finally:
                receiver.terminate()
                with suppress(TimeoutExpired):
                    receiver.wait(5)
                receiver.kill()
                watch.join(5)


# The command line


def run_script(script: Path, args: list[str], url: str) -> int:
    """Run a script against the sandbox at `url`; return its exit code."""
    environ = {**os.environ, "CYNCO_BASE_URL": url, "CYNCO_API_KEY": API_KEY}
    environ["CYNCO_WEBHOOK_SECRET"] = WEBHOOK_SECRET
    # A proxy is not for localhost, and a .netrc entry would replace the key.
    environ |= {"NO_PROXY": LOCAL, "no_proxy": LOCAL, "NETRC": os.devnull}
    command = [sys.executable, str(script)]
    is_receiver = script.name == EXAMPLES[4] or b"\nHANDLERS = " in script.read_bytes()  # a copy
    if is_receiver and not {"-h", "--help"} & set(args):
        return run_receiver(command, args, environ)
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the script too: it decides
    with Popen([*command, *args], env=environ) as example:
        return example.wait()


def serve(server: SandboxServer, shape: str) -> int:
    values = {"CYNCO_BASE_URL": server.url, "CYNCO_API_KEY": API_KEY}
    values |= {"CYNCO_WEBHOOK_SECRET": WEBHOOK_SECRET, "NO_PROXY": LOCAL}
    print(f"Serving {server.url} in the {shape} shape until Ctrl-C.")
    print("The live service most likely sends what --shape sdk does: build on that one.")
    print("In another terminal, paste the line for bash or the one for PowerShell:")
    print("  export " + " ".join(f"{name}={value}" for name, value in values.items()))
    print("  " + "; ".join(f'$env:{name}="{value}"' for name, value in values.items()), flush=True)
    with suppress(KeyboardInterrupt):
        server.serve_forever()
    server.server_close()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A sandbox of the Cynco API on localhost.")
    add = parser.add_argument
    add("--port", type=int, help="(default: 8765, or a free one to run a script)")
    add("--invoices", type=int, default=300, help="(default: 300)")
    add("--rate-limit", type=int, default=200, help="requests a minute (default: 200)")
    add("--faults", help=f"what every third request meets: {','.join(FAULTS)}")
    add("--shape", choices=SHAPES, default="guide", help="(default: guide; most likely live: sdk)")
    add("--unbalanced", action="store_true", help="put the trial balance out by one cent")
    add("--quiet", action="store_true", help="do not log requests")
    add("--webhooks", metavar="URL", help="send webhooks to a receiver of your own")
    add("--secret", default=WEBHOOK_SECRET, help="that signs them (default: %(default)s)")
    add("script", nargs="?", type=Path, help="an example or a program of your own")
    add("args", nargs=argparse.REMAINDER, help="its arguments")
    args = parser.parse_args(argv)

    faults = [] if args.faults is None else args.faults.split(",")
    if not set(faults) <= set(FAULTS):
        parser.error(f"argument --faults: choose from {','.join(FAULTS)}")
    port = args.port
    if port is None:
        port = 0 if args.script else 8765
    if min(port, args.invoices, args.rate_limit) < 0 or port > 65535:
        parser.error("--port is 0 to 65535, --invoices and --rate-limit are not negative")
    script = args.script
    if script and not script.is_file():
        if str(script) not in EXAMPLES:
            parser.exit(2, f"There is no {script}. The examples are {', '.join(EXAMPLES)}.\n")
        script = ROOT / script
    if args.webhooks is not None:
        return play_webhooks(args.webhooks, args.secret, make_deliveries(both_forms=True))

    app = create_app(args.invoices, args.rate_limit, 60, args.shape, args.unbalanced)
    try:
        server = SandboxServer(app, port, faults)
    except OSError:
        print(f"Port {port} cannot be used; choose another with --port.", file=sys.stderr)
        return 1
    if not script:
        server.quiet = args.quiet
        return serve(server, args.shape)
    with server:
        return run_script(script, args.args, server.url)


if __name__ == "__main__":
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a console that lacks a letter
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
