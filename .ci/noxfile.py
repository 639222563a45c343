"""The checks: `nox -f .ci/noxfile.py` runs all of them, `-s style` one of them."""

import os
import shutil
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent.parent
nox.options.envdir = ROOT / ".nox"
nox.options.default_venv_backend = "uv|virtualenv"  # uv installs ten times as fast
nox.options.download_python = "never"
TESTS = "tests/requirements.txt"

# pyenv has all its Pythons in folders of their own, only one of which is on the PATH.
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
for folder in PYENV.glob("versions/3.*/bin"):
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


@nox.session
def coverage(session):
    """Run the tests, those that need a broker too, and see which lines they reach."""
    session.chdir(ROOT)
    session.install("-r", TESTS)
    session.run("coverage", "run", "-m", "pytest")
    session.run("coverage", "report")


@nox.session(python=["3.10", "3.11", "3.12", "3.13", "3.14"])
def tests(session):
    """Run the tests in every Python that is found."""
    session.chdir(ROOT)
    session.install("-r", TESTS)
    run_tests(session)


@nox.session(python="3.10")
def lowest(session):
    """Run the tests with the lowest versions that requirements.txt allows."""
    session.chdir(ROOT)
    lowest_versions = ""
    for line in Path("requirements.txt").read_text().splitlines():
        lowest_version, _, _ = line.partition(",")
        lowest_versions += lowest_version.replace(">=", "==") + "\n"
    constraints = Path(session.create_tmp()) / "lowest.txt"
    constraints.write_text(lowest_versions)

    session.install("-r", TESTS, "-c", str(constraints))
    run_tests(session)


def run_tests(session):
    # Sessions run side by side, and a broker serves one of them: coverage.
    session.run("python", "-m", "pytest", env={"BROKER_URL": None})


@nox.session
def style(session):
    """Check the style of every file."""
    session.chdir(ROOT)
    session.install("-c", TESTS, "ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session):
    """Check the types of the scripts and of the sandbox."""
    session.chdir(ROOT)
    session.install("-r", "requirements.txt", "-c", TESTS, "mypy")
    session.run("mypy")


MUTANTS = """
[cosmic-ray]
module-path = "{script}"
timeout = 60.0
test-command = "python -m pytest -x -q {tests}"
distributor.name = "local"
"""


@nox.session(default=False)
def mutants(session):
    """Break a script in every small way: which of them does no test of it notice?

    nox -f .ci/noxfile.py -s mutants -- 03_pagination.py
    """
    session.chdir(ROOT)
    (script,) = session.posargs
    name = Path(script).stem.lstrip("_")
    test_files = [str(path) for path in sorted(Path("tests").glob(f"test_{name}*.py"))]

    work = Path(session.create_tmp()) / "copy"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(ROOT, work, ignore=shutil.ignore_patterns(".git", ".nox", ".venv"))
    session.install("-r", TESTS)

    session.chdir(work)
    settings = MUTANTS.format(script=script, tests=" ".join(test_files))
    Path("mutants.toml").write_text(settings)
    session.run("cosmic-ray", "baseline", "mutants.toml")
    session.run("cosmic-ray", "init", "mutants.toml", "mutants.sqlite")
    session.run("cosmic-ray", "exec", "mutants.toml", "mutants.sqlite")
    session.run("cr-report", "--surviving-only", "--show-diff", "mutants.sqlite")
