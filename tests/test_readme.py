"""The README: what its commands print, what its blocks do when they are pasted."""

import asyncio
import code
import csv
import inspect
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
import sandbox
import sandbox_api
from conftest import ROOT, blocks, load, run, success
from sandbox_webhooks import WEBHOOK_SECRET, webhook_headers

from _common import CyncoAPIError

README = (ROOT / "README.md").read_text(encoding="utf-8")
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")


def paste(folder, code):
    """Write a block as a program into a folder; return its path."""
    program = folder / "pasted.py"
    program.write_text(code, encoding="utf-8")
    return str(program)


def copy_scripts(folder):
    for file in ROOT.glob("*.py"):
        shutil.copy(file, folder)


# Commands and what they print


def commands():
    """Return each command with the output that is shown below it."""
    pairs = []
    command = ""
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```", README, re.M | re.S):
        if language == "bash":
            command = text
        if language == "text":
            _, _, arguments = command.rpartition("python tests/sandbox.py ")
            pairs.append(pytest.param(arguments, text, id=arguments.strip()))
    return pairs


@pytest.mark.parametrize(("arguments", "shown"), commands())
def test_a_command_prints_what_is_shown(capfd, arguments, shown):
    pattern = re.escape(shown).replace(r"\.\.\.", r"[\s\S]*?")

    exit_code = sandbox.main(shlex.split(arguments))

    out, err = capfd.readouterr()
    printed = err + out
    if "05_webhooks.py" in arguments:  # two programs, in any order
        for line in shown.replace("...\n", "").splitlines():
            assert f"{line}\n" in printed
    else:
        assert re.fullmatch(pattern, printed)
    assert exit_code == int(shown.startswith("Error: "))


@pytest.mark.parametrize("language", ["bash", "powershell"])
def test_no_command_has_a_comment(language):
    commands = "".join(blocks(README, language))

    assert "python" in commands
    assert "#" not in commands  # in zsh and cmd, it would be an argument


# Patterns to paste

PATTERNS = blocks(README, "python", "Patterns to paste")
REQUESTS = [
    "GET /api/v1/invoices",
    "POST /api/v1/customers",
    "PATCH /api/v1/vendors/ven_01k2p5r8t4",
    "DELETE /api/v1/items/itm_01m3q6s9u5",
]


def requests_seen(server):
    seen = []
    for request in server.seen:
        path, _, _ = request["path"].partition("?")
        seen.append(f"{request['method']} {path}")
    return seen


@pytest.fixture
def use(monkeypatch, connect):
    """Let what is pasted call a sandbox: use(server)."""

    def change(server, key=sandbox_api.API_KEY):
        for name in ("02_create_customer", "03_pagination"):
            connect(load(name), server)
        monkeypatch.setenv("CYNCO_BASE_URL", f"{server.url}/")
        monkeypatch.setenv("CYNCO_API_KEY", key)

    return change


@pytest.mark.parametrize(
    ("shape", "deleted"),
    [("guide", "deleted 200"), ("openapi", "deleted 204"), ("sdk", "deleted 204")],
)
def test_get_post_patch_and_delete_work_as_pasted(
    tmp_path, serve, use, capsys, shape, deleted
):
    server = serve(shape=shape)
    use(server)

    runpy.run_path(paste(tmp_path, "\n".join(PATTERNS)))

    assert requests_seen(server) == REQUESTS
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "INV-00077 overdue"
    assert lines[-3] == "cus_0011"
    assert lines[-2] == "orders@pembekal.example"
    assert lines[-1] == deleted


def test_the_patterns_that_write_follow_no_redirect(tmp_path, api):
    api.replies = [
        success([]),
        success({"id": "cus_1"}),
        success({"email": "orders@pembekal.example"}),
        success({"deleted": True}),
    ]

    runpy.run_path(paste(tmp_path, "\n".join(PATTERNS)))

    _, post, patch, delete = api.requests
    assert post.follows_redirects is False
    assert patch.follows_redirects is False
    assert delete.follows_redirects is False


def test_check_shows_the_message_of_the_api(tmp_path, serve, use):
    use(serve(), "cak_wrong")
    program = paste(tmp_path, "\n".join(PATTERNS))

    with pytest.raises(RuntimeError, match=r"^401: .*The API key is missing, wrong"):
        runpy.run_path(program)


@pytest.mark.parametrize("key", ["cak_secret\ncak_second", "cak_secret\u00e9\u6c38"])
def test_the_patterns_never_show_a_key_that_cannot_be_sent(tmp_path, serve, use, key):
    use(serve(), key)
    program = paste(tmp_path, "\n".join(PATTERNS))

    with pytest.raises((RuntimeError, UnicodeEncodeError)) as caught:
        runpy.run_path(program)

    assert "secret" not in "".join(traceback.format_exception(caught.value))


OVERDUE = blocks(README, "python", "Use the scripts in a program")[0]
EXPORT = blocks(README, "python", "Export to CSV")[0]
GO_ON = blocks(README, "python", "Resume where you stopped")[0]
ONCE = blocks(README, "python", "Create once, across restarts")[0]


def test_each_block_can_be_pasted_into_the_interpreter(
    tmp_path, monkeypatch, serve, use, capsys
):
    use(serve(shape="sdk"))
    monkeypatch.chdir(tmp_path)
    console = code.InteractiveConsole()
    lines = "\n".join([*PATTERNS, OVERDUE, EXPORT, GO_ON, ONCE, ""]).splitlines()

    for line in lines:
        console.push(line)

    out, err = capsys.readouterr()
    assert "Error" not in err
    assert "orders@pembekal.example\n" in out
    assert "INV-00033 MYR 1,285.20\n" in out
    assert "new: INV-00300 2026-03-27T08:00:00Z\n" in out
    assert out.endswith("cus_0012\n")
    assert (tmp_path / "invoices.csv").exists()


# Export to CSV


def read_csv(folder):
    with open(folder / "invoices.csv", encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def export(tmp_path, monkeypatch):
    """Run the block in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    program = paste(tmp_path, EXPORT)
    return lambda: runpy.run_path(program)


def test_the_export_has_every_invoice_with_its_exact_total(
    tmp_path, serve, use, shape, export
):
    use(serve(shape=shape, invoices=101))

    export()

    rows = read_csv(tmp_path)
    assert len(rows) == 102
    assert rows[0][-2:] == ["currency", "total"]
    assert rows[33][0] == "INV-00033"
    assert rows[33][-2:] == ["MYR", "1285.20"]


def test_the_export_begins_with_the_mark_that_excel_needs(tmp_path, serve, use, export):
    use(serve(invoices=1))

    export()

    assert (tmp_path / "invoices.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_an_export_that_fails_leaves_the_previous_one(tmp_path, serve, use, export):
    use(serve(), "cak_wrong")
    (tmp_path / "invoices.csv").write_text("yesterday's")

    with pytest.raises(CyncoAPIError):
        export()

    assert (tmp_path / "invoices.csv").read_text() == "yesterday's"


def make_invoices(names):
    for name in names:
        yield {
            "invoiceNumber": "INV-1",
            "customerName": name,
            "status": "paid",
            "dueDate": None,
            "currency": "MYR",
            "total": 162000,
        }


@pytest.fixture
def names_in_export(tmp_path, monkeypatch, export):
    """Export invoices of customers with odd names."""
    names = ["=1", "+1", "-1", "@A1", "\t=1", "\r=1", "1="]
    module = load("03_pagination")
    monkeypatch.setattr(module, "iterate_invoices", lambda: make_invoices(names))
    export()
    return [row[1] for row in read_csv(tmp_path)]


@pytest.mark.parametrize(
    "name",
    ["'=1", "'+1", "'-1", "'@A1", "'\t=1", "'\r=1"],
    ids=["equals", "plus", "minus", "at", "tab", "carriage return"],
)
def test_the_export_escapes_what_a_spreadsheet_runs_as_a_formula(names_in_export, name):
    assert name in names_in_export


def test_the_export_leaves_other_names_as_they_are(names_in_export):
    assert "1=" in names_in_export


# Other programs


def test_the_scripts_can_be_used_in_a_program(tmp_path, serve, use, capsys):
    use(serve(shape="sdk"))

    runpy.run_path(paste(tmp_path, OVERDUE))

    assert capsys.readouterr().out.splitlines()[0] == "INV-00033 MYR 1,285.20"


@pytest.mark.parametrize(
    ("shape", "first"), [("openapi", "INV-00299"), ("guide", "INV-00001")]
)
def test_going_on_from_created_from_brings_no_invoice_twice(
    tmp_path, serve, use, capsys, shape, first
):
    use(serve(shape=shape))

    runpy.run_path(paste(tmp_path, GO_ON))

    out = capsys.readouterr().out
    assert out.startswith(f"new: {first} ")
    assert out.endswith("new: INV-00300 2026-03-27T08:00:00Z\n")
    assert "INV-00297" not in out
    assert "INV-00298" not in out


def test_two_runs_at_once_and_one_later_create_one_customer(tmp_path, serve):
    server = serve(delay=0.1)
    copy_scripts(tmp_path)
    program = paste(tmp_path, ONCE)

    with ThreadPoolExecutor() as pool:
        one = pool.submit(run, program, server=server)
        other = pool.submit(run, program, server=server)
    later = run(program, server=server)

    assert one.result().stdout == "cus_0011\n"
    assert other.result().stdout == "cus_0011\n"
    assert later.stdout == "cus_0011\n"
    assert requests_seen(server) == ["POST /api/v1/customers"] * 3


# Verify a webhook elsewhere

FASTAPI, DJANGO = blocks(README, "python", "Verify a webhook elsewhere")
BODY = b'{"id": "evt_1"}'
VERIFY_IMPORTS = """
import hashlib
import hmac
import logging
import os
import time
from collections.abc import Mapping
"""
FASTAPI_IMPORTS = """
from fastapi import FastAPI, HTTPException, Request

app = FastAPI()
"""
DJANGO_IMPORTS = """
from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt
"""


@pytest.fixture
def receiver(tmp_path, monkeypatch):
    """Import a receiver of the reader's own: verify_signature, and a block below it."""

    def save_and_import(name, block):
        verify = inspect.getsource(load("05_webhooks").verify_signature)
        code = f"{VERIFY_IMPORTS}\n\n{verify}\n\n{block}"
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        return load(name)

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("CYNCO_WEBHOOK_SECRET", f"{WEBHOOK_SECRET}\n")
    return save_and_import


@pytest.fixture(params=["right", "wrong"])
def delivery(request):
    """The headers of a delivery, and whether they are right."""
    secret = WEBHOOK_SECRET if request.param == "right" else "whsec_of_somebody_else"
    headers = webhook_headers("X-Webhook-Signature", BODY, secret=secret)
    return headers, request.param == "right"


def test_a_fastapi_application_verifies_a_webhook(receiver, delivery):
    app = receiver("fastapi_receiver", FASTAPI_IMPORTS + FASTAPI).app
    headers, is_right = delivery
    sent = []

    async def receive():
        return {"type": "http.request", "body": BODY}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/webhooks/cynco",
        "query_string": b"",
        "headers": [(n.lower().encode(), v.encode()) for n, v in headers.items()],
    }
    asyncio.run(app(scope, receive, send))

    assert sent[0]["status"] == (200 if is_right else 401)


def test_a_django_view_verifies_a_webhook(receiver, delivery):
    settings = load("django.conf").settings
    if not settings.configured:
        settings.configure()
    view = receiver("django_receiver", DJANGO_IMPORTS + DJANGO).receive
    headers, is_right = delivery
    factory = load("django.test").RequestFactory()

    response = view(factory.generic("POST", "/", BODY, headers=headers))

    assert response.status_code == (200 if is_right else 401)


# Run a script every night


@pytest.fixture
def cron(tmp_path, monkeypatch):
    """Return a function that runs the command of the crontab as cron does."""
    (crontab,) = blocks(README, "crontab")
    command = crontab.splitlines()[-1].removeprefix("0 6 * * * ")
    command = command.replace("/srv/cynco-quickstart", shlex.quote(str(tmp_path)))
    command = command.replace(".venv/bin/python", shlex.quote(sys.executable))
    copy_scripts(tmp_path)

    def run_command(server, key):
        monkeypatch.setenv("CYNCO_BASE_URL", server.url)
        monkeypatch.setenv("CYNCO_API_KEY", key)
        return subprocess.run(
            ["sh", "-c", command], capture_output=True, check=False, encoding="utf-8"
        )

    return run_command


@on_posix
def test_cron_mails_nothing_if_the_script_succeeds(cron, serve):
    done = cron(serve(), "cak_sandbox")

    assert done.stdout == ""
    assert done.stderr == ""
    assert done.returncode == 0


@on_posix
def test_cron_mails_why_the_script_failed(cron, serve):
    done = cron(serve(), "cak_wrong")

    assert done.stdout.startswith("Error: 401 UNAUTHORIZED: ")


# Links and names


def test_every_link_within_the_page_leads_somewhere():
    anchors = set()
    for title in re.findall(r"^#+ (.+)$", README, re.M):
        anchors.add(re.sub(r"[^\w -]", "", title).lower().replace(" ", "-"))

    links = re.findall(r"\]\(#(.+?)\)", README)

    assert set(links) <= anchors
    assert len(links) >= 3


def test_every_file_that_is_linked_or_named_exists():
    names = re.findall(r"`(_?\w+\.py)`", README)
    names += re.findall(r"\]\(([\w/.]+)\)", README)

    for name in set(names) - {"my_program.py", "receiver.py"}:
        assert (ROOT / name).exists()
