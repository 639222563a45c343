"""Measure paging and webhooks on this machine. Prints tables; nothing here passes or fails.

Usage:
    python tests/benchmark.py

Each pass over the invoices runs in a process of its own; its memory is the most that the whole
process ever held (Linux only). The sandbox answers from this process, and its share of the time is
in the figures. On 127.0.0.1 a new connection costs only computing; over the internet it costs two
or three round trips as well. A webhook delivery waits for the disk, twice.
"""

import hmac
import importlib
import itertools
import json
import math
import os
import re
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import requests
import sandbox
import trustme

sys.path.insert(0, str(sandbox.ROOT))

SIZES = [1_000, 10_000, 100_000]  # invoices
CLIENTS = 8
EVENTS = 300


def bare_loop() -> Iterator[dict[str, Any]]:
    """What one writes first: no session, so a new connection for every page."""
    url, headers = f"{os.environ['CYNCO_BASE_URL']}/invoices", {"Authorization": f"Bearer {sandbox.API_KEY}"}
    params: dict[str, Any] = {"limit": 100}
    while True:
        page = requests.get(url, headers=headers, params=params, timeout=30).json()
        yield from page["data"]
        if not page["pagination"]["hasMore"]:
            return
        params["cursor"] = page["pagination"]["nextCursor"]


def measure_pass(name: str, size: int) -> None:
    """In a process of its own: consume one pass; print its seconds, and the peak memory before and after it."""
    pagination = importlib.import_module("03_pagination")
    read = {"offset": pagination.list_by_offset, "cursor": pagination.iterate_invoices, "bare": bare_loop}[name]
    before, start = peak_memory(), time.perf_counter()
    assert sum(1 for _ in read()) == size
    print(f"{time.perf_counter() - start:.2f} {before} {peak_memory()}")


def peak_memory() -> str:
    """In MB. Not by getrusage(): there, a process inherits the peak of the one that started it."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+([0-9]+) kB", status.read_text() if status.exists() else "")
    return f"{int(found[1]) / 1000:.1f}" if found else "-"


class TLSServer(sandbox.SandboxServer):
    """The sandbox behind TLS; the handshake happens with the first read, in the thread of its connection."""

    def __init__(self, app: Any, authority: trustme.CA) -> None:
        super().__init__(app)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.url = self.url.replace("http:", "https:")


def run_pass(server: sandbox.SandboxServer, name: str, size: int, bundle: Path) -> list[str]:
    own = {"CYNCO_BASE_URL": server.url, "CYNCO_API_KEY": sandbox.API_KEY, "no_proxy": "*"}
    environ = {**os.environ, **own, "REQUESTS_CA_BUNDLE": str(bundle)}
    command = [sys.executable, __file__, name, str(size)]
    return subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True, text=True).stdout.split()


def compare_passes(folder: str) -> None:
    authority = trustme.CA()
    bundle = Path(folder, "ca.pem")
    authority.cert_pem.write_to_path(bundle)
    rows = []
    for size, transport in itertools.product(SIZES, ["HTTP", "TLS"]):
        app = sandbox.create_app(invoices=size, rate_limit=10**9)
        with TLSServer(app, authority) if transport == "TLS" else sandbox.SandboxServer(app) as server:
            for name in ("offset", "cursor", "bare"):
                server.connections = 0
                server.seen.clear()
                measured = run_pass(server, name, size, bundle)
                counts = [len(server.seen), math.ceil(size / 100), server.connections]
                rows.append([f"{size:,}", transport, name, *counts, *measured])
    show(["invoices", "over", "pass", "requests", "fewest", "connections", "seconds", "MB before", "peak MB"], rows)


def time_verification() -> None:
    verify_signature = importlib.import_module("05_webhooks").verify_signature
    secret = sandbox.WEBHOOK_SECRET
    rows = []
    for size in (500, 5_000, 50_000):
        body = json.dumps({"id": "evt_1", "type": "invoice.paid", "data": {"notes": "x" * size}}).encode()
        signed = f"{int(time.time())}.".encode() + body
        calls: list[Callable[[], object]] = [lambda signed=signed: hmac.digest(secret.encode(), signed, "sha256")]
        for form in ("X-Webhook-Signature", "Cynco-Signature"):
            headers = sandbox.webhook_headers(form, body)
            assert verify_signature(body, headers, [secret])
            calls.append(lambda body=body, headers=headers: verify_signature(body, headers, [secret]))
        best = [min(timeit.repeat(call, number=2_000, repeat=5)) / 2_000 * 1e6 for call in calls]
        rows.append([f"{len(body):,}", *(f"{microseconds:.1f}" for microseconds in best)])
    show(["bytes", "bare hmac.digest", "X-Webhook-Signature", "Cynco-Signature"], rows)


def deliver(url: str, numbers: Sequence[int]) -> int:
    """Send one event for each number; return how many were new."""
    new = 0
    with requests.Session() as session:
        session.trust_env = False
        for number in numbers:
            invoice = sandbox.make_invoice(number + 1)
            body = json.dumps({"id": f"evt_{number}", "type": "invoice.paid", "data": invoice}).encode()
            response = session.post(
                url, data=body, headers=sandbox.webhook_headers("Cynco-Signature", body), timeout=60
            )
            response.raise_for_status()
            new += response.json()["new"]
    return new


def count_deliveries(folder: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, str(sandbox.ROOT / "05_webhooks.py"), "--port", str(port)]
    command += ["--database", str(Path(folder, "events.db"))]
    environ = {**os.environ, "CYNCO_WEBHOOK_SECRET": sandbox.WEBHOOK_SECRET}
    rows = []
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as receiver:
        try:
            while receiver.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except ConnectionRefusedError:
                    time.sleep(0.05)
            for title in ("distinct", "repeats of them"):
                start = time.perf_counter()
                with ThreadPoolExecutor(CLIENTS) as pool:
                    shares = [range(client, EVENTS, CLIENTS) for client in range(CLIENTS)]
                    new = sum(pool.map(lambda share: deliver(f"http://127.0.0.1:{port}/", share), shares))
                seconds = time.perf_counter() - start
                rows.append([title, EVENTS, new, f"{seconds:.2f}", f"{EVENTS / seconds:,.0f}"])
        finally:
            receiver.terminate()
    show(["events", "sent", "new", "seconds", "deliveries per second"], rows)


def time_disk(folder: str) -> str:
    """What bounds the deliveries: an event is stored with one commit, and marked as handled with another."""
    with closing(sqlite3.connect(Path(folder, "disk.db"), isolation_level=None)) as database:
        database.execute("CREATE TABLE events (body)")
        return f"{100 / timeit.timeit(lambda: database.execute('INSERT INTO events VALUES (1)'), number=100):,.0f}"


def show(header: list[str], rows: list[list[Any]]) -> None:
    importlib.import_module("_common").print_table(header, rows, right=header)
    print(flush=True)


def main() -> None:
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} processors\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        print("Every invoice once, in pages of 100")
        compare_passes(folder)
        print("Microseconds to verify one delivery")
        time_verification()
        print(f"Deliveries through the whole receiver, from {CLIENTS} clients at once")
        count_deliveries(folder)
        print(f"Commits to an SQLite database per second: {time_disk(folder)}")


if __name__ == "__main__":
    measure_pass(sys.argv[1], int(sys.argv[2])) if sys.argv[1:] else main()
