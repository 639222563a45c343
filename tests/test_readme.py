"""The README: what its commands print, what its blocks do when they are pasted."""

import os
import re
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from conftest import ROOT, load, run

README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title):
    """Return the text below a heading, up to the next one."""
    _, _, rest = README.partition(f"# {title}\n")
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.M)[0]


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def paste(folder, code):
    """Write a block as a program in a folder with the scripts; return its path."""
    for file in ROOT.glob("*.py"):
        shutil.copy(file, folder)
    program = folder / "pasted.py"
    program.write_text(code, encoding="utf-8")
    return str(program)


# Commands and what they print


def outputs():
    """Return each command with the output that is shown below it."""
    pairs = []
    command = ""
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```", README, re.M | re.S):
        if language == "bash":
            command = text
        if language == "text":
            pairs.append((command, text))
    return pairs


@pytest.mark.parametrize(("command", "shown"), outputs())
def test_a_command_prints_what_is_shown(command, shown):
    _, _, command = command.rpartition("&& ")
    arguments = shlex.split(command)[1:]
    pattern = re.escape(shown).replace(re.escape("...\n"), r"(.*\n)*?")

    done = run(*arguments)

    if "05_webhooks.py" in command:  # two programs, in any order
        for line in shown.replace("...\n", "").splitlines():
            assert f"{line}\n" in done.stdout
    else:
        assert re.fullmatch(pattern, done.stdout)
    assert done.returncode == 0


@pytest.mark.parametrize("language", ["bash", "powershell"])
def test_no_command_has_a_comment(language):
    for block in blocks(language):
        assert "#" not in block
    assert len(blocks(language)) >= 4


# Patterns to paste

PATTERNS = blocks("python", section("Patterns to paste"))
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


def test_the_patterns_work_as_pasted(tmp_path, serve, shape):
    server = serve(shape=shape)
    program = paste(tmp_path, "\n".join(PATTERNS))

    done = run(program, server=server)

    assert done.stderr == ""
    assert done.returncode == 0
    assert requests_seen(server) == REQUESTS
    assert done.stdout.splitlines()[-3:-1] == ["cus_0011", "orders@pembekal.example"]


def test_the_patterns_take_a_base_url_with_a_slash(monkeypatch):
    monkeypatch.setenv("CYNCO_BASE_URL", "https://staging.cynco.io/api/v1/")
    pasted = {}

    exec(PATTERNS[0], pasted)

    assert pasted["BASE_URL"] == "https://staging.cynco.io/api/v1"


def test_check_shows_the_message_of_the_api(tmp_path, serve):
    program = paste(tmp_path, "\n".join(PATTERNS))

    done = run(program, CYNCO_BASE_URL=serve().url, CYNCO_API_KEY="cak_wrong")

    assert done.returncode == 1
    assert "RuntimeError: 401: " in done.stderr
    assert "The API key is missing, wrong or revoked" in done.stderr


@pytest.mark.parametrize("status", [199, 302, 400, 503])
def test_check_takes_nothing_but_a_2xx_for_a_success(status):
    pasted = {}
    exec(PATTERNS[0], pasted)
    response = requests.Response()
    response.status_code = status

    with pytest.raises(RuntimeError, match=f"^{status}: "):
        pasted["check"](response)


@pytest.mark.parametrize("key", ["cak_secret\ncak_second", "cak_secret\u00e9\u6c38"])
def test_the_patterns_never_show_a_key_that_cannot_be_sent(tmp_path, serve, key):
    program = paste(tmp_path, "\n".join(PATTERNS))

    done = run(program, CYNCO_BASE_URL=serve().url, CYNCO_API_KEY=key)

    assert done.returncode == 1
    assert "secret" not in done.stderr


# Programs

OVERDUE = blocks("python", section("Use the scripts in a program"))[0]
ONCE = blocks("python", section("Create once, across restarts"))[0]


def test_the_scripts_can_be_used_in_a_program(tmp_path, serve):
    program = paste(tmp_path, OVERDUE)

    done = run(program, server=serve(shape="sdk"))

    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == "INV-00033 MYR 1,285.20"


def test_two_runs_at_once_and_one_later_create_one_customer(tmp_path, serve):
    server = serve(delay=0.1)
    program = paste(tmp_path, ONCE)

    with ThreadPoolExecutor() as pool:
        one = pool.submit(run, program, server=server)
        other = pool.submit(run, program, server=server)
    later = run(program, server=server)

    assert one.result().stdout == "cus_0011\n"
    assert other.result().stdout == "cus_0011\n"
    assert later.stdout == "cus_0011\n"
    assert requests_seen(server) == ["POST /api/v1/customers"] * 3


def test_each_block_can_be_pasted_into_the_interpreter(tmp_path, serve):
    paste(tmp_path, "")
    lines = "\n".join([*PATTERNS, OVERDUE, ONCE, ""])
    (tmp_path / "lines.txt").write_text(lines, encoding="utf-8")
    session = """
import code
console = code.InteractiveConsole()
for line in open("lines.txt", encoding="utf-8"):
    console.push(line.rstrip())
"""

    done = run("-c", session, server=serve(), cwd=tmp_path)

    assert "Error" not in done.stderr
    assert "orders@pembekal.example\n" in done.stdout
    assert "INV-00033 MYR 1,285.20\n" in done.stdout
    assert done.stdout.endswith("cus_0012\n")


# Webhooks in production


def test_the_commands_for_the_inbox_retry_and_remove_events(tmp_path, monkeypatch):
    (block,) = blocks("bash", section("Going to production"))[1:2]
    retry, remove = block.strip().splitlines()
    webhooks = load("05_webhooks")
    monkeypatch.setattr(webhooks, "INBOX_FILE", str(tmp_path / "webhook_events.db"))
    webhooks.open_inbox()
    insert = "INSERT INTO events VALUES (?, '{}', ?, 0, 3, ?)"
    webhooks.inbox(insert, "done long ago", 1_700_000_000, 1)
    webhooks.inbox(insert, "failed long ago", 1_700_000_000, 0)
    webhooks.inbox(insert, "done today", 4_000_000_000, 1)

    run(*shlex.split(retry)[1:], cwd=tmp_path)
    run(*shlex.split(remove)[1:], cwd=tmp_path)

    rows, _ = webhooks.inbox("SELECT id, attempts FROM events ORDER BY id")
    assert rows == [("done today", 3), ("failed long ago", 0)]


@pytest.mark.skipif("DATABASE_URL" not in os.environ, reason="needs PostgreSQL")
def test_on_postgresql_each_event_is_handled_once(tmp_path, monkeypatch):
    psycopg = load("psycopg")
    (sql,) = blocks("sql")
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        database.execute("DROP TABLE IF EXISTS events")
        database.execute(sql)
    (block,) = blocks("python", section("Going to production"))
    pasted = {}
    exec(block, pasted)
    webhooks = load("05_webhooks")
    handled = []
    monkeypatch.setitem(webhooks.HANDLERS, "invoice.paid", handled.append)
    event = b'{"id": "evt_1", "type": "invoice.paid", "data": 1}'

    webhooks.open_inbox()
    first = webhooks.store_event("evt_1", event)
    second = webhooks.store_event("evt_1", event)
    webhooks.handle_pending()
    webhooks.handle_pending()

    assert first is True
    assert second is False
    assert handled == [1]
    pasted["pool"].close()


# Links and names


def test_every_link_within_the_page_leads_somewhere():
    anchors = set()
    for title in re.findall(r"^#+ (.+)$", README, re.M):
        anchors.add(re.sub(r"[^\w -]", "", title).lower().replace(" ", "-"))

    links = re.findall(r"\]\(#(.+?)\)", README)

    assert set(links) <= anchors
    assert len(links) >= 3


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(_?\w+\.py)`", README))))
def test_every_script_that_is_named_exists(name):
    if name not in ("my_program.py", "receiver.py"):
        assert (ROOT / name).exists()


def test_the_test_that_is_named_exists():
    (name,) = re.findall(r"-k (\w+)", section("Contributing"))

    source = (ROOT / "tests" / "test_03_pagination.py").read_text(encoding="utf-8")

    assert name in source
