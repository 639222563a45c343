"""The page tests/README.md: its commands run, its records are what is sent."""

import json
import re
import shlex
from unittest.mock import Mock

import pytest
import sandbox
import sandbox_api
import sandbox_guide
import sandbox_webhooks
from conftest import ROOT, blocks, run
from flask import Flask
from sandbox_api import API_KEY, SHAPES, create_app
from sandbox_data import CUSTOMER_FIELDS
from sandbox_server import FAULTS, SandboxServer

PAGE = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")


# Commands


@pytest.mark.parametrize("command", re.findall(r"^python (tests/.+)$", PAGE, re.M))
def test_a_command_runs(command):
    done = run(*shlex.split(command))

    assert done.returncode == 0


def test_the_tests_that_are_named_exist():
    (command,) = re.findall(r"^python -m pytest (.+)$", PAGE, re.M)
    file, _, word = command.split()

    source = (ROOT / file).read_text(encoding="utf-8")

    assert re.search(rf"^def test_\w*{word}", source, re.M)


# Tables


def test_every_option_is_named():
    options = re.findall(r"^  (--[a-z-]+)", sandbox.make_parser().format_help(), re.M)

    assert len(options) == 12
    for option in options:
        assert f"| `{option}" in PAGE


def test_every_fault_and_shape_is_named():
    for name in FAULTS + SHAPES:
        assert f"`{name}`" in PAGE


def test_every_endpoint_is_named():
    response = (
        create_app()
        .test_client()
        .get("/api/v1/unknown", headers={"Authorization": f"Bearer {API_KEY}"})
    )

    _, _, endpoints = response.json["error"]["message"].partition("It has: ")
    for endpoint in endpoints.split(", "):
        assert f"| `{endpoint}`" in PAGE


@pytest.mark.parametrize("resource", list(sandbox_api.PARAMETERS))
def test_every_parameter_is_named(resource):
    guide = sandbox_guide.PARAMETERS.get(resource, "").replace(" ", "`, `")
    openapi = sandbox_api.PARAMETERS[resource].replace(" ", "`, `")

    assert f"| {resource} | `{guide}` | `{openapi}` |" in PAGE


def test_every_field_of_a_new_customer_is_named():
    for name in CUSTOMER_FIELDS.split():
        assert f"`{name}`" in PAGE


# Records


def shown(method):
    """Return the records below requests of a method, with their paths and shapes."""
    pattern = rf"^`{method} (\S+)` \((\w+)\)\n\n```json\n(.*?)^```"
    records = []
    for path, shape, text in re.findall(pattern, PAGE, re.M | re.S):
        records.append(pytest.param(path, shape, text, id=f"{shape} {path}"))
        if shape == "openapi":
            records.append(pytest.param(path, "sdk", text, id=f"sdk {path}"))
    return records


def send(shape, method, path):
    client = create_app(shape=shape).test_client()
    headers = {"Authorization": f"Bearer {API_KEY}"}
    response = client.open(f"/api/v1{path}", method=method, headers=headers, json={})
    return response.json["data"]


def cut(value):
    """Leave the first element of each list, as the page does."""
    if isinstance(value, list):
        return [cut(element) for element in value[:1]]
    if isinstance(value, dict):
        return {name: cut(value[name]) for name in value}
    return value


def as_text(record):
    """Return JSON, where 1 and 1.0 and true are not the same."""
    return json.dumps(record, indent=2) + "\n"


@pytest.mark.parametrize(("path", "shape", "text"), shown("GET"))
def test_a_record_is_sent_as_shown(path, shape, text):
    data = send(shape, "GET", path)

    if isinstance(data, list):
        data = data[0]
    assert as_text(cut(data)) == text


def test_each_kind_of_record_is_shown():
    assert len(shown("GET")) == 11


@pytest.mark.parametrize(("path", "shape", "text"), shown("PATCH"))
def test_a_vendor_adds_the_fields_that_are_shown(path, shape, text):
    vendor = send(shape, "PATCH", path)
    customer = send(shape, "GET", "/customers/cus_0001")

    added = {name: vendor[name] for name in vendor if name not in customer}
    assert as_text(added) == text
    assert set(customer) <= set(vendor)
    assert vendor["category"] == "Office supplies"


@pytest.mark.parametrize("event_type", ["invoice.created", "invoice.paid"])
def test_an_event_is_sent_as_shown(monkeypatch, event_type):
    monkeypatch.setattr("time.time", Mock(return_value=1774947600))
    delivery = sandbox_webhooks.make_delivery(event_type)

    with SandboxServer(Flask("receiver")) as server:
        sandbox_webhooks.send_delivery(delivery, server.url, "whsec_sandbox")

    (request,) = server.seen
    text = ""
    for name, value in request["headers"].items():
        if name.startswith(("X-Webhook", "Cynco", "Content-Type")):
            text += f"{name}: {value}\n"
    assert f"{text}\n{request['body'].decode()}\n" in blocks(PAGE, "http")


# Links


def test_every_link_within_the_page_leads_somewhere():
    titles = re.findall(r"^#+ (.+)$", PAGE.lower(), re.M)

    links = re.findall(r"\]\(#(.+?)\)", PAGE)

    assert len(links) == 6
    for link in links:
        assert link.replace("-", " ") in titles
