"""The sandbox's HTTP server: connections, faults, its log."""

import socket

import pytest
import requests
from sandbox_api import API_KEY

HEADERS = {"Authorization": f"Bearer {API_KEY}"}


def get(server, path="/invoices"):
    return requests.get(server.url + path, headers=HEADERS, timeout=10)


def test_a_connection_is_kept_open(serve):
    server = serve()
    url = f"{server.url}/invoices"

    with requests.Session() as session:
        session.get(url, headers=HEADERS, timeout=10)
        session.get(url, headers=HEADERS, timeout=10)

    assert server.connections == 1
    assert len(server.seen) == 2


def test_a_client_that_hangs_up_is_no_news(serve, capsys):
    server = serve()
    client = socket.create_connection(("127.0.0.1", server.server_port))

    client.sendall(b"GET /api/v1/invoices HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
    client.close()

    assert get(server).status_code == 200
    assert capsys.readouterr().err == ""


def test_what_was_sent_is_noted(serve):
    server = serve()

    requests.post(f"{server.url}/customers", data=b"{}", headers=HEADERS, timeout=10)

    (seen,) = server.seen
    assert seen["method"] == "POST"
    assert seen["path"] == "/api/v1/customers"
    assert seen["headers"]["Authorization"] == "Bearer cak_sandbox"
    assert seen["body"] == b"{}"
    assert seen["fault"] is None


# Faults


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_fault_can_be_a_status(serve, status):
    server = serve(faults=[str(status)])

    assert get(server).status_code == status


@pytest.mark.parametrize("fault", ["drop", "lost", "truncate"])
def test_a_fault_can_break_the_connection(serve, fault):
    server = serve(faults=[fault])

    with pytest.raises(requests.RequestException):
        get(server)


def test_a_response_is_lost_after_the_request_was_carried_out(serve):
    server = serve(faults=["lost"])
    url = f"{server.url}/customers"

    with pytest.raises(requests.ConnectionError):
        requests.post(url, json={"name": "A"}, headers=HEADERS, timeout=10)

    assert len(server.app.customers) == 11


def test_each_third_request_meets_a_fault(serve):
    server = serve(faults=["503", "500"])

    for _ in range(6):
        get(server)

    faults = [request["fault"] for request in server.seen]
    assert faults == ["503", None, None, "500", None, None]


# The log


def test_the_log_has_a_line_for_each_request(serve, capsys):
    server = serve(faults=["503"])
    server.quiet = False

    get(server, "/invoices?stauts=paid")
    get(server, "/customers/cus_0001")

    first, second = capsys.readouterr().err.splitlines()
    assert first == (
        "GET /api/v1/invoices?stauts=paid 503 (ignored: stauts) (fault: 503)"
    )
    assert second == "GET /api/v1/customers/cus_0001 200"


@pytest.fixture
def server(serve):
    """A server that logs only what is ignored."""
    server = serve()
    server.quiet = False
    server.only_ignored = True
    return server


def test_the_log_can_name_only_what_is_ignored(server, capsys):
    get(server, "/invoices")
    get(server, "/invoices?stauts=paid&page=1&colour=red")

    assert capsys.readouterr().err == "ignored: stauts, colour\n"


def test_the_log_tells_a_get_with_a_body_to_use_params(server, capsys):
    url = f"{server.url}/invoices"

    requests.get(url, json={"status": "paid"}, headers=HEADERS, timeout=10)

    assert capsys.readouterr().err == "ignored: the body of a GET: use params=\n"


def test_the_log_cannot_control_the_terminal(server, capsys):
    get(server, "/invoices?%1B[2J=1")

    assert capsys.readouterr().err == "ignored: \\x1b[2J\n"
