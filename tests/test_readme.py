"""The README: what it prints, what it pastes, and what it says of the code."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import sandbox
from conftest import ROOT, load, run

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^#{1,3} (.+?)\n(.*?)(?=^#{1,3} |\Z)", README, re.M | re.S))
Serve = Callable[..., sandbox.SandboxServer]


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def matches(shown: str, printed: str) -> bool:
    """Whether the output in the README is what was printed; a line of ... stands for any lines."""
    pattern = re.escape(shown).replace(re.escape("...\n"), r"(.*\n)*?")
    return re.fullmatch(pattern, printed) is not None


def shown_outputs() -> list[tuple[str, str]]:
    """Return each output with the command before it."""
    pairs = []
    for match in re.finditer(r"^```text\n(.*?)^```", README, re.M | re.S):
        command = blocks("bash", README[: match.start()])[-1].strip().split(" && ")[-1]
        pairs.append((command.partition(" > ")[0], match[1]))
    return pairs


@pytest.mark.parametrize(("command", "shown"), shown_outputs())
def test_an_output_is_what_its_command_prints(serve: Serve, command: str, shown: str) -> None:
    args = shlex.split(command)[1:]
    result = run(*args, server=serve())
    assert matches(shown, result.stdout), result.stdout + result.stderr
    assert result.returncode == 0


# --- Patterns


PATTERNS = blocks("python", SECTIONS["Patterns to paste"])


def paste(tmp_path: Path, *code: str) -> str:
    """Write code as a program in a folder of its own, beside the shipped files."""
    for file in [*ROOT.glob("0*.py"), ROOT / "_common.py"]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pasted.py").write_text("\n".join(code), encoding="utf-8")
    return str(tmp_path / "pasted.py")


@pytest.mark.parametrize(
    ("code", "sent"),
    [
        (PATTERNS[1], ["GET /api/v1/invoices", "POST /api/v1/customers"]),
        (
            PATTERNS[2],
            ["PATCH /api/v1/vendors/ven_01k2p5r8t4", "DELETE /api/v1/items/itm_01m3q6s9u5"],
        ),
    ],
    ids=["GET and POST", "PATCH and DELETE"],
)
def test_a_pattern_works_as_pasted(
    tmp_path: Path, serve: Serve, shape: str, code: str, sent: list[str]
) -> None:
    server = serve(shape=shape)
    result = run(paste(tmp_path, PATTERNS[0], code), server=server)
    assert (result.returncode, result.stderr) == (0, "")
    assert [f"{r['method']} {r['path'].partition('?')[0]}" for r in server.seen] == sent


@pytest.mark.parametrize("key", ["cak_secret\ncak_second", "cak_secret\u00e9\u6c38"])
def test_a_pattern_never_shows_a_key_that_cannot_be_sent(
    tmp_path: Path, serve: Serve, key: str
) -> None:
    program = paste(tmp_path, *PATTERNS[:2])
    result = run(program, CYNCO_BASE_URL=serve().url, CYNCO_API_KEY=key)
    assert result.returncode == 1
    assert "secret" not in result.stdout + result.stderr


def test_verify_signature_is_that_of_the_receiver_word_for_word() -> None:
    source = (ROOT / "05_webhooks.py").read_text(encoding="utf-8")
    (pasted,) = re.findall(
        r"^def verify_signature.*", blocks("python", SECTIONS["Verify a webhook"])[0], re.M | re.S
    )
    assert f"\n{pasted}\n\ndef " in source


@pytest.mark.parametrize(
    ("section", "printed"),
    [
        ("Use `_common.py`", "Teh Tarik Trading Sdn Bhd\n"),
        ("Import from a numbered file", "INV-00013\nINV-00143\nINV-00273\n"),
        ("Create once, across restarts", "cus_0011\n"),
    ],
)
def test_a_program_works_as_pasted(
    tmp_path: Path, serve: Serve, section: str, printed: str
) -> None:
    (code,) = blocks("python", SECTIONS[section])
    program, server = paste(tmp_path, code), serve()
    results = [run(program, server=server, cwd=tmp_path) for _ in range(2)]
    assert [(result.stdout, result.stderr) for result in results] == [(printed, "")] * 2


def test_the_table_of_common_names_what_it_has() -> None:
    common = load("_common")
    for name, arguments in re.findall(r"^`(\w+)\((.*?)\)`", SECTIONS["Use `_common.py`"], re.M):
        code = getattr(common, name).__code__
        names = [argument.partition("=")[0] for argument in arguments.split(", ") if argument]
        assert list(code.co_varnames[: code.co_argcount]) == names


# --- Reference


def test_the_status_table_says_what_the_script_says() -> None:
    rows = dict(re.findall(r"^(\d\d\d|5xx) \| (.*)$", SECTIONS["Reference"], re.M))
    assert rows == load("04_error_handling").ADVICE


def test_every_link_and_every_file_exists() -> None:
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in SECTIONS}
    assert set(re.findall(r"\]\(#(.+?)\)", README)) <= anchors
    files = set(re.findall(r"[\w./-]+\.(?:py|txt|toml)\b", README))
    assert {file for file in files if not (ROOT / file).exists()} == set()
