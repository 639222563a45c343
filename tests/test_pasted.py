"""Each function meant for pasting works in a file that holds it, its imports, and nothing else."""

import ast
from pathlib import Path

import pytest
import sandbox
from conftest import ROOT, run

PASTED = [
    ("01_list_invoices.py", "list_invoices", "len(list_invoices('paid', 'total', 'asc', 5)['data'])", "5"),
    ("02_create_customer.py", "create_customer", "create_customer({'name': 'Acme'}, 'key-1')['id']", "cus_0011"),
    ("02_create_customer.py", "format_address", "format_address({'address': {'line1': 'A', 'city': 'B'}})", "A, B"),
    ("03_pagination.py", "list_by_offset", "len(list(list_by_offset()))", "300"),
    ("03_pagination.py", "iterate_invoices", "len(list(iterate_invoices('overdue')))", "23"),
    ("04_error_handling.py", "explain", "explain(CyncoAPIError(429, '', ''))[0]", "Too many requests this minute."),
    ("05_webhooks.py", "verify_signature", "verify_signature(b'{}', {}, ['whsec_1'])", "False"),
    ("05_webhooks.py", "verify_signature", "verify_signature(b'{}', SIGNED, ['whsec_sandbox'], 0)", "False"),
    ("05_webhooks.py", "verify_signature", "verify_signature(b'{}', SIGNED, ['whsec_sandbox'], 1e9)", "True"),
    ("06_reports.py", "get_report", "get_report('balance-sheet', None, date(2026, 3, 31))['asOf']", "2026-03-31"),
    ("06_reports.py", "iso_date", "iso_date('2026-03-31')", "2026-03-31"),
]


@pytest.mark.parametrize(("script", "function", "expression", "printed"), PASTED)
def test_function_as_pasted(script: str, function: str, expression: str, printed: str, serve, tmp_path: Path) -> None:
    source = (ROOT / script).read_text(encoding="utf-8")
    nodes = ast.parse(source).body
    pieces = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
    pieces += [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == function]
    signed = repr(sandbox.webhook_headers("Cynco-Signature", b"{}", 10**9))
    lines = [ast.get_source_segment(source, piece) or "" for piece in pieces]
    code = "\n".join([*lines, f"SIGNED = {signed}", f"print({expression})"])
    (tmp_path / "pasted.py").write_text(code, encoding="utf-8")
    (tmp_path / "_common.py").write_bytes((ROOT / "_common.py").read_bytes())
    result = run("pasted.py", server=serve(), cwd=tmp_path)
    assert (result.returncode, result.stdout.strip()) == (0, printed), result.stderr
