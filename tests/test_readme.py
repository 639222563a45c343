"""The README says nothing that is not so. `python tests/test_readme.py` writes the outputs anew."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import sandbox

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPTS = sorted(path.name for path in ROOT.glob("0*.py"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(match[1], match[2]) for match in FENCE.finditer(README)]
COMMANDS = [line for kind, block in BLOCKS if kind in ("bash", "powershell") for line in block.splitlines()]


def run_on_sandbox(command: list[str], cwd: Path = ROOT, shape: str = "guide") -> subprocess.CompletedProcess[str]:
    with sandbox.SandboxServer(sandbox.create_app(shape=shape)) as server:
        own = {"CYNCO_BASE_URL": server.url, "CYNCO_API_KEY": sandbox.API_KEY, "PYTHONIOENCODING": "utf-8"}
        command = [sys.executable, *command]
        environ = {**os.environ, **own, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, encoding="utf-8", timeout=60)


def outputs() -> list[tuple[str, str]]:
    """Each command of the README that an output follows, with that output."""
    found, command = [], ""
    for kind, block in BLOCKS:
        if kind == "bash":
            command = block.strip().rpartition("&& ")[2]
        elif kind == "text":
            found.append((command, block))
    return found


@pytest.mark.parametrize(("command", "output"), outputs())
def test_output_is_what_the_command_prints(command: str, output: str) -> None:
    python, *arguments = shlex.split(command)
    result = run_on_sandbox(arguments)
    assert python == "python"
    assert result.returncode == 0, result.stderr
    assert result.stdout == output


def test_every_script_has_an_output() -> None:
    assert {word for command, _ in outputs() for word in command.split() if word in SCRIPTS} == set(SCRIPTS)


@pytest.mark.parametrize("shape", ["guide", "openapi"])
@pytest.mark.parametrize("block", [block for kind, block in BLOCKS if kind == "python"])
def test_python_runs_as_pasted(block: str, shape: str, tmp_path: Path) -> None:
    (tmp_path / "pasted.py").write_text(block, encoding="utf-8")
    result = run_on_sandbox(["pasted.py"], tmp_path, shape)
    assert (result.returncode, result.stderr) == (0, "")
    assert "timeout=" in block


def test_commands_exist() -> None:
    known = {"python3", "py", "pip", "export", "python", "gunicorn", "ngrok", ".", ".venv\\Scripts\\Activate.ps1"}
    for line in COMMANDS:
        for command in re.split(r" && |; (?=\S)(?!from|serve)", line):
            word = command.split()[0]
            assert word in known or word.startswith("$env:CYNCO_"), command
            for file in re.findall(r"[\w/]+\.(?:py|txt)\b", command):
                assert (ROOT / file).is_file(), command


@pytest.mark.parametrize("script", [*SCRIPTS, "tests/sandbox.py"])
def test_options_are_in_help(script: str) -> None:
    result = subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    docstring = re.findall(r'"""(.*?)"""', (ROOT / script).read_text(encoding="utf-8"), re.DOTALL)[0]
    lines = [*COMMANDS, *re.findall(r"`([^`\n]+)`", README), *docstring.splitlines()]
    arguments = " ".join(line.partition(script)[2] for line in lines)
    named = set(re.findall(r"(?<!\S)--[a-z-]+", arguments))
    if script == "tests/sandbox.py":
        named = {"--port", "--invoices", "--rate-limit", "--faults", "--shape"}
    assert result.returncode == 0
    assert named <= set(re.findall(r"--[a-z-]+", result.stdout))


def test_options_named_in_prose_belong_to_a_script() -> None:
    helps = [
        subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
        for script in [*SCRIPTS, "tests/sandbox.py"]
    ]
    prose = FENCE.sub("", README)
    assert set(re.findall(r"`(--[a-z-]+)", prose)) <= set(re.findall(r"--[a-z-]+", "".join(helps)))


def test_environment_variables_are_the_same_set() -> None:
    code = "".join((ROOT / name).read_text(encoding="utf-8") for name in ["_common.py", *SCRIPTS])
    read = set(re.findall(r"environ(?:\.get\(|\[)[\"'](\w+)[\"']", code))
    table = README.partition("| variable | what it is |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == read
    assert set(re.findall(r"CYNCO_\w+", README)) == {name for name in read if name.startswith("CYNCO_")}


def test_the_same_commands_everywhere() -> None:
    test = "pip install -r tests/requirements.txt && python -m pytest"
    assert test in README
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    for command in ["pip install -r tests/requirements.txt", "python -m pytest"]:
        assert command in workflow
        assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_links_and_functions_exist() -> None:
    headings = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)", README, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", README)) <= headings
    code = "".join((ROOT / name).read_text(encoding="utf-8") for name in ["_common.py", *SCRIPTS])
    for function in re.findall(r"`(\w+)\(\)`", README):
        assert f"def {function}(" in code


def write_outputs() -> None:
    printed = iter([run_on_sandbox(shlex.split(command)[1:]).stdout for command, _ in outputs()])
    text = FENCE.sub(lambda block: f"```text\n{next(printed)}```" if block[1] == "text" else block[0], README)
    (ROOT / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_outputs()
