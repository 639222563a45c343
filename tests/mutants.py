"""Break the shipped files on purpose, one line at a time, and see a test fail each time.

Usage:
    python tests/mutants.py            every mutant; exit code 1 if one survives
    python tests/mutants.py verify     only those whose text contains a word
"""

import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# File, what stands there, what it becomes.
MUTANTS = [
    ("_common.py", 'f"Bearer {key}"', "key"),
    ("_common.py", '.rstrip("/")', ""),
    ("_common.py", "http://({this_machine})", "http://({host})"),
    ("_common.py", '"CYNCO_API_KEY", "").strip()', '"CYNCO_API_KEY", "")'),
    ("_common.py", 'r"cak_[!-~]+", key', 'r"cak_.+", key'),
    ("_common.py", "{408, 429, 500, 502, 503, 504}", "{404, 408, 429, 500, 502, 503, 504}"),
    ("_common.py", "{408, 429, 500, 502, 503, 504}", "{429, 500, 502, 503, 504}"),
    ("_common.py", "MAX_WAIT = 60 ", "MAX_WAIT = 61 "),
    ("_common.py", "ISK JPY KMF", "ISK KMF"),
    ("_common.py", "IQD JOD KWD", "IQD KWD"),
    ("_common.py", "response.status_code == 204 and not response.history", "response.status_code == 204"),
    ("_common.py", "200 <= response.status_code < 300", "200 <= response.status_code < 400"),
    ("_common.py", "< 300 and not response.history", "< 300"),
    ("_common.py", 'body.get("success") is not False and well_formed', "well_formed"),
    ("_common.py", ", parse_float=Decimal", ""),
    ("_common.py", "(ValueError, ArithmeticError, RecursionError)", "ValueError"),
    ("_common.py", "min(8, 0.5 * 2 ** (attempt - 1))", "min(9, 0.5 * 2 ** (attempt - 1))"),
    ("_common.py", "2 ** (attempt - 1)", "2 ** attempt"),
    ("_common.py", "random.uniform(0.5, 1)", "random.uniform(0.4, 1)"),
    ("_common.py", "wait = max(wait, ", "wait = min(wait, "),
    ("_common.py", "attempts: int = 4", "attempts: int = 5"),
    ("_common.py", "response.status_code == 429 and ", ""),
    ("_common.py", 'response.headers.get("Date", "")', '""'),
    ("_common.py", "CERTIFICATE_|CertificateError", "no such text"),
    ("_common.py", '("pagination", "links", "meta")', '("pagination", "links")'),
    ("_common.py", "body is None and 200 <=", "200 <="),
    ("_common.py", '.get("Retry-After", "").strip()', '.get("Retry-After", "")'),
    ("_common.py", 'in "WF"', 'in "W"'),
    ("_common.py", "tzinfo=moment.tzinfo or timezone.utc", "tzinfo=moment.tzinfo"),
    ("_common.py", " and data_type is object", ""),
    ("_common.py", ' or error.code == "BROKEN_OFF"', ""),
    ("_common.py", ".scaleb(-DECIMALS", ".scaleb(DECIMALS"),
    ("_common.py", "amount + 0:,", "amount:,"),
    ("_common.py", 're.sub(r"cak_[!-~]+", "cak_***", line)', "line"),
    ("_common.py", 'errors="backslashreplace"', 'errors="strict"'),
    ("01_list_invoices.py", "headers=auth_headers(),", "headers={},"),
    ("01_list_invoices.py", "timeout=TIMEOUT", "timeout=None"),
    ("01_list_invoices.py", '"--sort", default="total"', '"--sort", default="createdAt"'),
    ("01_list_invoices.py", "[1-9][0-9]?|100", "[0-9]{1,3}"),
    ("01_list_invoices.py", 'invoice["dueDate"] or "-"', 'invoice["dueDate"]'),
    ("01_list_invoices.py", "with_retry(lambda: list_invoices(args.status, args.sort, args.order, args.limit))",
     "list_invoices(args.status, args.sort, args.order, args.limit)"),
    ("02_create_customer.py", ', "Idempotency-Key": idempotency_key', ""),
    ("02_create_customer.py", "create_customer(fields, key)", "create_customer(fields, str(uuid.uuid4()))"),
    ("02_create_customer.py", "in_doubt = in_doubt or not", "in_doubt = not"),
    ("02_create_customer.py", "error.status_code in {400, 422})", "error.status_code in {400})"),
    ("02_create_customer.py", "{400, 401, 403, 404, 409, 422, 429}", "{400, 401, 403, 404, 422, 429}"),
    ("02_create_customer.py", "{400, 401, 403, 404, 409, 422, 429}", "{400, 401, 403, 404, 409, 422, 429, 500}"),
    ("02_create_customer.py", 'repeat += ["--idempotency-key", key]', "pass"),
    ("02_create_customer.py", "json=customer", "data=customer"),
    ("02_create_customer.py", "OSError, ValueError, KeyboardInterrupt)", "OSError, ValueError)"),
    ("03_pagination.py", "offset=offset, page=offset // 100 + 1", "offset=offset"),
    ("03_pagination.py", "offset // 100 + 1", "offset // 100"),
    ("03_pagination.py", 'if invoice["id"] not in seen', ""),
    ("03_pagination.py", "offset += len(invoices)", "offset += len(new)"),
    ("03_pagination.py", "if not new and (invoices or has_more):", "if not new and has_more:"),
    ("03_pagination.py", "if has_more and hash(cursor) in seen:", "if False:"),
    ("03_pagination.py", 'if invoices and hash(invoices[0]["id"]) in seen:', "if False:"),
    ("03_pagination.py", "if has_more and not cursor:", "if False:"),
    ("03_pagination.py", "session.get(url", "requests.get(url"),
    ("03_pagination.py", 'array("q")', "[]"),
    ("03_pagination.py", 'totals[invoice["currency"]] += amount or 0', 'totals["MYR"] += amount or 0'),
    ("04_error_handling.py", "case CyncoAPIError(status_code=409):", "case CyncoAPIError(status_code=410):"),
    ("04_error_handling.py", "if status >= 500:", "if status > 500:"),
    ("04_error_handling.py", 'headers={"Authorization": "Bearer cak_wrong"}', "headers=auth_headers()"),
    ("04_error_handling.py", 'print(f"{status}  {title}: no error here, the call succeeded.\\n")', "raise"),
    ("04_error_handling.py", "if attempts <= 2:", "if attempts <= 1:"),
    ("05_webhooks.py", "tolerance: int = 300", "tolerance: int = 301"),
    ("05_webhooks.py", "abs(age) > tolerance", "abs(age) > 9 * tolerance"),
    ("05_webhooks.py", "return abs(age) <= tolerance", "return abs(age) < tolerance"),
    ("05_webhooks.py", "return abs(age) <= tolerance", "return age <= tolerance"),
    ("05_webhooks.py", "filter(None, secrets)", "secrets"),
    ("05_webhooks.py", '"[0-9]{1,15}"', r'r"\d{1,15}"'),
    ("05_webhooks.py", "{1,15}", "{1,4299}"),
    ("05_webhooks.py", "len(times) == 1", "times"),
    ("05_webhooks.py", 'b"." + body', "body"),
    ("05_webhooks.py", "[secrets] if isinstance(secrets, str) else secrets", "secrets"),
    ("05_webhooks.py", "(Exception, SystemExit)", "Exception"),
    ("05_webhooks.py", "except sqlite3.Error as error:", "except sqlite3.OperationalError as error:"),
    ("05_webhooks.py", "json.dumps(key)[1:-1]", "key"),
    ("05_webhooks.py", '.encode(encoding, "backslashreplace").decode(encoding)', ""),
    ("05_webhooks.py", 'errors="surrogatepass"', 'errors="strict"'),
    ("05_webhooks.py", 'errors="replace"', 'errors="ignore"'),
    ("05_webhooks.py", "ON events (handled_at) WHERE", "ON events (failed_at) WHERE"),
    ("05_webhooks.py", "io.BufferedReader(stream) if isinstance(stream, io.RawIOBase) else stream", "stream"),
    ("05_webhooks.py", "body if len(body) <= limit else abort(413)", "body"),
    ("05_webhooks.py", "max(time.time(), STARTED)", "time.time()"),
    ("05_webhooks.py", "INSERT OR IGNORE", "INSERT OR REPLACE"),
    ("05_webhooks.py", 'lock.execute("BEGIN EXCLUSIVE")', "pass"),
    ("05_webhooks.py", "failed_at IS NULL OR failed_at < ?", "failed_at IS NULL"),
    ("05_webhooks.py", "MAX_CONTENT_LENGTH=1_000_000, ", ""),
    ("05_webhooks.py", '@app.post("/", ', '@app.post("/x", '),
    ("05_webhooks.py", ', provide_automatic_options=False)\n@app', ")\n@app"),
    ("05_webhooks.py", 'send it again"}, 500', 'send it again"}, 200'),
    ("05_webhooks.py", 'default="127.0.0.1"', 'default="0.0.0.0"'),
    ("05_webhooks.py", "isinstance(key, str) and key else", "isinstance(key, str) else"),
    ("06_reports.py", '"debit", debit_field', '"credit", debit_field'),
    ("06_reports.py", "else str(amount)", "else float(amount)"),
    ("06_reports.py", "if a != b", "if abs(a - b) > Decimal('0.01')"),
    ("06_reports.py", '        ("total debit", totals[0], "total credit", totals[1]),\n', ""),
    ("06_reports.py", "return 1 if differences else 0", "return 0"),
    ("06_reports.py", '"period": str(last)[:7]', '"period": str(last)'),
    ("06_reports.py", "first > last", "first >= last"),
    ("06_reports.py", 'report.get("currency") or "MYR"', '"MYR"'),
]  # fmt: skip


def attempt(mutant: tuple[str, str, str]) -> tuple[bool, str]:
    """Return whether a test fails on a mutant, and a line for the report."""
    name, old, new = mutant
    source = (ROOT / name).read_text(encoding="utf-8")
    title = f"{name}: {old.strip()} -> {new.strip() or '(nothing)'}".replace("\n", " ")
    if source.count(old) < 1:
        return False, f"STALE     {title}"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "*.db*"))
        (copy / name).write_text(source.replace(old, new, 1), encoding="utf-8")
        own = sorted(path.name for path in (copy / "tests").glob(f"test_{name[:2]}*.py")) if name[0] == "0" else []
        first = [f"tests/{test}" for test in own or ["test_common.py"]]
        for tests in (first, ["tests"]):  # its own tests first, then all
            command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *tests]
            try:
                result = subprocess.run(command, cwd=copy, capture_output=True, encoding="utf-8", timeout=120)
            except subprocess.TimeoutExpired:
                return True, f"caught    {title}\n          by never ending"
            if result.returncode:
                failed = re.search(r"^(?:FAILED|ERROR) (\S+)", result.stdout, re.MULTILINE)
                return True, f"caught    {title}\n          by {failed[1] if failed else result.stdout[-200:]}"
    return False, f"SURVIVED  {title}"


def main() -> int:
    chosen = [mutant for mutant in MUTANTS if all(word in " ".join(mutant) for word in sys.argv[1:])]
    survivors = 0
    with ThreadPoolExecutor(2) as pool:
        for caught, line in pool.map(attempt, chosen):
            print(line, flush=True)
            survivors += not caught
    print(f"{len(chosen)} mutants, {survivors} not caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
