"""The HTTP server of the sandbox: HTTP/1.1, faults on purpose, a log."""

import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

# What every third request meets: a status; or the connection is closed before the
# request is read ("drop"), after it was carried out ("lost"), or halfway ("truncate").
FAULTS = ["500", "503", "429", "drop", "lost", "truncate"]
FAULT_EVERY = 3


def printable(text: str) -> str:
    """Escape what would control the terminal."""
    escaped = ""
    for character in text:
        if not character.isprintable():
            character = ascii(character)[1:-1]
        escaped += character
    return escaped


class SandboxServer(ThreadingHTTPServer):
    """Serves an application; Flask's own server closes the connection every time."""

    daemon_threads = True
    request_queue_size = 128
    # On Windows, it would let two servers share a port.
    allow_reuse_address = sys.platform != "win32"
    quiet = True
    only_ignored = False  # log only parameters that were ignored

    def __init__(
        self, app: Flask, port: int = 0, faults: Sequence[str] = (), delay: float = 0
    ) -> None:
        self.app: Any = app  # a SandboxAPI, or an application of a test
        self.faults = faults
        self.delay = delay  # seconds, before each response
        self.connections = 0
        self.seen: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", port), SandboxHandler)
        self.url = f"http://127.0.0.1:{self.server_port}/api/v1"

    def __enter__(self) -> "SandboxServer":
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""

    def add_request(self, request: dict[str, Any]) -> None:
        """Note a request, and which fault it meets: each third one, the first too."""
        with self.lock:
            turn, pause = divmod(len(self.seen), FAULT_EVERY)
            request["fault"] = None
            if self.faults and pause == 0:
                request["fault"] = self.faults[turn % len(self.faults)]
            self.seen.append(request)


class SandboxHandler(BaseHTTPRequestHandler):
    server: SandboxServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen: dict[str, Any] = {
            "method": self.command,
            "path": self.path,
            "headers": dict(self.headers.items()),
            "body": body,
            "ignored": [],  # the application adds the parameters that it does not know
        }
        self.server.add_request(seen)
        fault = seen["fault"]
        response = None
        if fault != "drop":
            response = self.call_application(seen)
        if self.server.delay:
            time.sleep(self.server.delay)
        self.log_response(seen, response)
        if fault in ("drop", "lost", "truncate"):
            self.close_connection = True
        if response is not None and fault != "lost":
            self.send(response, fault)

    def call_application(self, seen: dict[str, Any]) -> TestResponse:
        client = self.server.app.test_client(use_cookies=False)
        return client.open(
            self.path,
            method=self.command,
            headers=self.headers.items(),
            data=seen["body"],
            environ_overrides={
                "sandbox.fault": seen["fault"],
                "sandbox.ignored": seen["ignored"],
            },
        )

    def send(self, response: TestResponse, fault: str | None) -> None:
        self.send_response(response.status_code)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        body = response.data
        if fault == "truncate":
            body = body[: len(body) // 2]
        self.wfile.write(body)

    do_GET = respond  # noqa: N815
    do_POST = respond  # noqa: N815
    do_PUT = respond  # noqa: N815
    do_PATCH = respond  # noqa: N815
    do_DELETE = respond  # noqa: N815

    def log_response(self, seen: dict[str, Any], response: TestResponse | None) -> None:
        if self.server.quiet:
            return
        ignored = ", ".join(seen["ignored"])
        if self.server.only_ignored:
            if ignored:
                print(printable(f"ignored: {ignored}"), file=sys.stderr, flush=True)
            return
        status = "-"
        if response is not None:
            status = str(response.status_code)
        line = f"{self.command} {self.path} {status}"
        if ignored:
            line += f" (ignored: {ignored})"
        if seen["fault"]:
            line += f" (fault: {seen['fault']})"
        print(printable(line), file=sys.stderr, flush=True)

    def log_message(self, format: str, *args: Any) -> None:
        """log_response() has a line of its own."""
