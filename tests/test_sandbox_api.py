"""The sandbox's API, in each published shape."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
import sandbox_guide
from sandbox_api import API_KEY, READ_ONLY_KEY
from sandbox_data import make_invoice
from sandbox_server import SandboxServer

Serve = Callable[..., SandboxServer]
Record = dict[str, Any]
Properties = dict[str, Any]

# Every property of each record, as Cynco publishes it; a list has one of its elements.
LINE_ITEM = {
    "description": str,
    "quantity": int,
    "unitPrice": float,
    "amount": float,
}
INVOICE: Properties = {
    "id": str,
    "invoiceNumber": str,
    "status": str,
    "customerId": str,
    "customerName": str,
    "customerEmail": str,
    "currency": str,
    "lineItems": [LINE_ITEM],
    "taxes": float,
    "totalAmount": float,
    "paidAmount": float,
    "hasDeposit": bool,
    "depositAmount": float,
    "dueDate": str,
    "paymentTerms": str,
    "memo": None,
    "source": str,
    "createdAt": str,
    "updatedAt": str,
}
GUIDE_INVOICE: Properties = {
    "id": str,
    "invoiceNumber": str,
    "status": str,
    "customerId": str,
    "customerName": str,
    "currency": str,
    "subtotal": int,
    "tax": int,
    "total": int,
    "issuedDate": str,
    "dueDate": str,
    "createdAt": str,
}
CUSTOMER: Properties = {
    "id": str,
    "name": str,
    "email": str,
    "phone": str,
    "address": str,
    "city": str,
    "state": None,
    "zip": str,
    "country": str,
    "taxId": None,
    "registrationNumber": None,
    "website": None,
    "paymentTerms": str,
    "preferredCurrency": str,
    "notes": None,
    "preferredPaymentMethod": str,
    "creditLimit": float,
    "category": None,
    "isActive": bool,
    "createdAt": str,
    "updatedAt": str,
}
GUIDE_CUSTOMER: Properties = {
    "id": str,
    "name": str,
    "email": str,
    "phone": str,
    "address": {
        "line1": str,
        "line2": None,
        "city": str,
        "state": None,
        "postalCode": str,
        "country": str,
    },
    "taxId": None,
    "registrationNumber": None,
    "website": None,
    "paymentTerms": str,
    "preferredCurrency": str,
    "notes": None,
    "createdAt": str,
}
VENDOR: Properties = {
    **CUSTOMER,
    "preferredPaymentMethod": None,
    "creditLimit": None,
    "category": str,
    "totalAmount": float,
    "totalPayments": float,
}
GUIDE_VENDOR: Properties = {**GUIDE_CUSTOMER, "category": str}
TRIAL_BALANCE_LINE = {
    "accountId": str,
    "accountCode": str,
    "accountName": str,
    "accountType": str,
    "normalBalance": str,
    "openingBalance": float,
    "periodDebit": float,
    "periodCredit": float,
    "closingBalance": float,
    "debitBalance": float,
    "creditBalance": float,
    "transactionCount": int,
}
TRIAL_BALANCE: Properties = {
    "period": str,
    "asOfDate": str,
    "balanceType": str,
    "lineItems": [TRIAL_BALANCE_LINE],
    "totalDebit": float,
    "totalCredit": float,
    "isBalanced": bool,
    "difference": float,
    "accountCount": int,
}
GUIDE_ACCOUNT = {
    "code": str,
    "name": str,
    "debit": int,
    "credit": int,
}
GUIDE_TRIAL_BALANCE: Properties = {
    "asOf": str,
    "currency": str,
    "accounts": [GUIDE_ACCOUNT],
    "totals": {"debit": int, "credit": int},
}
ACCOUNT = {
    "accountId": str,
    "accountCode": str,
    "accountName": str,
    "balance": float,
}
SECTION = {
    "label": str,
    "total": float,
    "accounts": [ACCOUNT],
    "subsections": None,
}
PARENT_SECTION = {**SECTION, "accounts": [], "subsections": [SECTION]}
PROFIT_LOSS: Properties = {
    "period": str,
    "asOfDate": str,
    "reportType": str,
    "sections": [SECTION],
    "totals": {"netProfit": float},
}
LINKS = {
    "self": str,
    "first": str,
    "next": str,
    "prev": None,
    "last": str,
}

MARCH = "?period=2026-03&asOf=2026-03-31&from=2026-03-01&to=2026-03-31"
VENDOR_PATH = "/vendors/ven_01k2p5r8t4"
ITEM_PATH = "/items/itm_01m3q6s9u5"


def send(
    server: SandboxServer, method: str, path: str, body: Any = None, **headers: str
) -> requests.Response:
    headers.setdefault("Authorization", f"Bearer {API_KEY}")
    url = server.url + path
    return requests.request(method, url, headers=headers, json=body, timeout=10)


def get(server: SandboxServer, path: str) -> Any:
    """Return the envelope of a success."""
    response = send(server, "GET", path)
    assert response.status_code == 200
    return response.json()


def get_data(server: SandboxServer, path: str) -> Any:
    return get(server, path)["data"]


def post(server: SandboxServer, body: Any) -> requests.Response:
    """Create a customer, with the same idempotency key every time."""
    headers = {"Idempotency-Key": "first"}
    return send(server, "POST", "/customers", body, **headers)


def change_vendor(server: SandboxServer) -> Any:
    """Change the telephone number of the vendor; return the vendor."""
    changes = {"phone": "1"}
    response = send(server, "PATCH", VENDOR_PATH, changes)
    return response.json()["data"]


def assert_properties(value: Any, expected: Any) -> None:
    """Assert that a record has all the properties, of the types, and no others."""
    if isinstance(expected, dict):
        assert set(value) == set(expected)
        for name in expected:
            assert_properties(value[name], expected[name])
    elif isinstance(expected, list):
        for element in value:
            assert_properties(element, expected[0])
    elif expected is None:
        assert value is None
    else:
        assert type(value) is expected


def numbers(server: SandboxServer, path: str) -> list[str]:
    """Return the numbers of the invoices at `path`."""
    return [invoice["invoiceNumber"] for invoice in get_data(server, path)]


def accounts_of(statement: Record) -> dict[str, float]:
    """Return the balances in a financial statement, by account code."""
    balances = {}
    for section in statement["sections"]:
        for part in section["subsections"] or [section]:
            for account in part["accounts"]:
                balances[account["accountCode"]] = account["balance"]
    return balances


# Records


@pytest.mark.parametrize("shape", ["openapi", "sdk"])
def test_an_invoice_has_every_property(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    paid = get_data(server, "/invoices?limit=1&status=paid&search=INV-00010")
    assert_properties(paid, [INVOICE])


def test_an_invoice_has_every_property_of_the_guide(serve: Serve) -> None:
    server = serve(shape="guide")
    paid = get_data(server, "/invoices?limit=1&status=paid")
    assert_properties(paid, [GUIDE_INVOICE])


@pytest.mark.parametrize("shape", ["openapi", "sdk"])
def test_a_customer_has_every_property(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    customer = get_data(server, "/customers/cus_0001")
    assert_properties(customer, CUSTOMER)


def test_a_customer_has_every_property_of_the_guide(serve: Serve) -> None:
    server = serve(shape="guide")
    customer = get_data(server, "/customers/cus_0001")
    assert_properties(customer, GUIDE_CUSTOMER)


@pytest.mark.parametrize("shape", ["openapi", "sdk"])
def test_a_vendor_has_every_property(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    vendor = change_vendor(server)
    assert_properties(vendor, VENDOR)


def test_a_vendor_has_every_property_of_the_guide(serve: Serve) -> None:
    server = serve(shape="guide")
    vendor = change_vendor(server)
    assert_properties(vendor, GUIDE_VENDOR)


@pytest.mark.parametrize("shape", ["openapi", "sdk"])
def test_a_trial_balance_has_every_property(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    report = get_data(server, f"/reports/trial-balance{MARCH}")
    assert_properties(report, TRIAL_BALANCE)
    assert report["balanceType"] == "preliminary"


def test_a_trial_balance_has_every_property_of_the_guide(serve: Serve) -> None:
    server = serve(shape="guide")
    report = get_data(server, f"/reports/trial-balance{MARCH}")
    assert_properties(report, GUIDE_TRIAL_BALANCE)


def test_profit_and_loss_has_every_property(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    report = get_data(server, f"/reports/profit-loss{MARCH}")
    assert_properties(report, PROFIT_LOSS)
    assert report["reportType"] == "profit_loss"


def test_a_balance_sheet_has_every_property(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    report = get_data(server, f"/reports/balance-sheet{MARCH}")
    assets, liabilities, equity = report.pop("sections")
    assert_properties(assets, PARENT_SECTION)
    assert_properties(liabilities, SECTION)
    assert_properties(equity, SECTION)
    assert report == {
        "period": "2026-03",
        "asOfDate": "2026-03-31",
        "reportType": "balance_sheet",
        "totals": {"totalAssets": 230_630.42, "netProfit": 43_860.45},
    }


def test_the_amounts_of_each_invoice_agree(serve: Serve) -> None:
    server = serve(shape="openapi")
    for invoice in all_invoices(server):
        total = invoice["taxes"]
        for item in invoice["lineItems"]:
            amount = item["quantity"] * item["unitPrice"]
            assert amount == pytest.approx(item["amount"])
            total += item["amount"]
        assert total == pytest.approx(invoice["totalAmount"])


def all_invoices(server: Any) -> Any:
    return server.app.invoices


def with_status(serve: Serve, status: str) -> list[Record]:
    """Return all invoices of a status."""
    server = serve(shape="openapi")
    invoices: list[Record] = []
    for invoice in all_invoices(server):
        if invoice["status"] == status:
            invoices.append(invoice)
    assert invoices
    return invoices


def test_a_paid_invoice_is_paid_in_full(serve: Serve) -> None:
    for invoice in with_status(serve, "paid"):
        assert invoice["paidAmount"] == invoice["totalAmount"]


@pytest.mark.parametrize("status", ["draft", "finalized", "deposit_due"])
def test_nothing_is_paid_of_a_new_invoice(serve: Serve, status: str) -> None:
    for invoice in with_status(serve, status):
        assert invoice["paidAmount"] == 0


def test_a_partially_paid_invoice_is_paid_in_part(serve: Serve) -> None:
    for invoice in with_status(serve, "partially_paid"):
        assert 0 < invoice["paidAmount"] < invoice["totalAmount"]


def test_an_overdue_invoice_is_paid_in_part_at_most(serve: Serve) -> None:
    for invoice in with_status(serve, "overdue"):
        assert 0 <= invoice["paidAmount"] < invoice["totalAmount"]
        assert invoice["dueDate"] < "2026-03-31"


@pytest.mark.parametrize("status", ["deposit_due", "deposit_paid"])
def test_a_deposit_is_part_of_the_total(serve: Serve, status: str) -> None:
    for invoice in with_status(serve, status):
        assert invoice["hasDeposit"] is True
        assert 0 < invoice["depositAmount"] < invoice["totalAmount"]


def test_a_paid_deposit_is_the_amount_paid(serve: Serve) -> None:
    for invoice in with_status(serve, "deposit_paid"):
        assert invoice["paidAmount"] == invoice["depositAmount"]


def test_other_invoices_have_no_deposit(serve: Serve) -> None:
    for invoice in with_status(serve, "overdue"):
        assert invoice["hasDeposit"] is False
        assert invoice["depositAmount"] == 0


def test_the_books_hold_invoices_of_each_status(serve: Serve) -> None:
    server = serve(shape="openapi")
    counts: dict[str, int] = {}
    for invoice in all_invoices(server):
        status = invoice["status"]
        counts[status] = counts.get(status, 0) + 1
    assert counts == {
        "draft": 24,
        "finalized": 10,
        "deposit_due": 4,
        "deposit_paid": 3,
        "partially_paid": 3,
        "overdue": 22,
        "paid": 234,
    }


def test_the_highest_overdue_invoices_are_in_ringgit(serve: Serve) -> None:
    server = serve(shape="openapi")
    invoices = get_data(server, "/invoices?status=overdue&sort=total&limit=100")
    currencies = [invoice["currency"] for invoice in invoices]
    assert currencies[:5] == ["MYR", "MYR", "MYR", "MYR", "MYR"]
    assert "JPY" not in currencies


@pytest.mark.parametrize(
    ("number", "currency", "major", "minor"),
    [
        (3, "MYR", 194.40, 19_440),
        (2, "SGD", 1179.00, 117_900),
        (6, "JPY", 15_470.0, 15_470),
        (11, "KWD", 209.580, 209_580),
    ],
)
def test_the_guide_has_totals_in_minor_units(
    number: int, currency: str, major: float, minor: int
) -> None:
    record = make_invoice(number)
    translated = sandbox_guide.invoice(record)
    assert record["currency"] == currency
    assert record["totalAmount"] == major
    assert translated["total"] == minor
    assert translated["subtotal"] + translated["tax"] == minor


# Lists


@pytest.mark.parametrize(
    "query",
    ["status=overdue", "status=paid", "status=draft", "sort=total", "order=asc"],
)
def test_each_shape_lists_the_same_invoices(serve: Serve, query: str) -> None:
    path = f"/invoices?limit=50&{query}"
    guide = serve(shape="guide")
    openapi = serve(shape="openapi")
    sdk = serve(shape="sdk")
    expected = numbers(guide, path)
    assert numbers(openapi, path) == expected
    assert numbers(sdk, path) == expected


def test_the_guide_shows_part_payments_as_sent(serve: Serve) -> None:
    server = serve(shape="guide")
    envelope = get(server, "/invoices?status=sent&limit=100")
    assert envelope["pagination"]["total"] == 20
    for invoice in envelope["data"]:
        assert invoice["status"] == "sent"


PAGINATION = {
    "guide": {"total": 300, "limit": 20, "offset": 20, "hasMore": True},
    "openapi": {
        "page": 2,
        "limit": 20,
        "total": 300,
        "totalPages": 15,
        "hasMore": True,
    },
    "sdk": {"total": 300, "limit": 20, "offset": 20, "hasMore": True},
}


def test_each_shape_has_its_own_pagination(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    pagination = get(server, "/invoices?offset=20&page=2")["pagination"]
    pagination.pop("nextCursor", None)
    assert pagination == PAGINATION[shape]


def test_the_sdk_has_a_cursor_only_when_it_pages_by_cursor(serve: Serve) -> None:
    server = serve(shape="openapi")
    cursor = get(server, "/invoices")["pagination"]["nextCursor"]
    server = serve(shape="sdk")
    first = get(server, "/invoices")["pagination"]
    second = get(server, f"/invoices?cursor={cursor}")["pagination"]
    assert "nextCursor" not in first
    assert set(second) == {"limit", "hasMore", "nextCursor"}


@pytest.mark.parametrize("shape", ["guide", "openapi"])
def test_cursors_lead_to_every_invoice_once(serve: Serve, shape: str) -> None:
    server = serve(shape=shape, invoices=45)
    first = get(server, "/invoices")
    cursor = first["pagination"]["nextCursor"]
    second = get(server, f"/invoices?cursor={cursor}")
    cursor = second["pagination"]["nextCursor"]
    third = get(server, f"/invoices?cursor={cursor}")
    invoices = first["data"] + second["data"] + third["data"]
    ids = {invoice["id"] for invoice in invoices}
    assert len(ids) == 45
    assert third["pagination"]["hasMore"] is False
    assert third["pagination"]["nextCursor"] is None


@pytest.mark.parametrize("shape", ["openapi", "sdk"])
@pytest.mark.parametrize("path", ["/invoices?limit=2&sort=total", "/customers?limit=2"])
def test_the_links_of_a_list_work(serve: Serve, shape: str, path: str) -> None:
    server = serve(shape=shape, invoices=10)
    first = get(server, path)
    assert_properties(first["links"], LINKS)
    second = follow(first["links"]["next"])
    assert follow(second["links"]["self"])["data"] == second["data"]
    assert follow(second["links"]["prev"])["data"] == first["data"]
    assert follow(second["links"]["first"])["data"] == first["data"]
    last = follow(second["links"]["last"])
    assert last["links"]["next"] is None
    assert len(last["data"]) == 2


def test_the_next_link_of_a_page_by_cursor_has_a_cursor(serve: Serve) -> None:
    server = serve(shape="openapi", invoices=6)
    first = get(server, "/invoices?limit=2")
    cursor = first["pagination"]["nextCursor"]
    second = get(server, f"/invoices?limit=2&cursor={cursor}")
    third = follow(second["links"]["next"])
    assert third["data"] == get_data(server, "/invoices?limit=2&page=3")


def follow(url: str) -> Any:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    return requests.get(url, headers=headers, timeout=10).json()


def test_a_page_after_the_last_is_empty(serve: Serve) -> None:
    server = serve(shape="openapi", invoices=4)
    envelope = get(server, "/invoices?limit=2&page=9")
    assert envelope["data"] == []
    assert envelope["links"]["prev"].endswith("limit=2&page=2")


def test_the_guide_has_no_links(serve: Serve) -> None:
    server = serve(shape="guide")
    envelope = get(server, "/invoices")
    assert "links" not in envelope


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("search=inv-00299", ["INV-00299"]),
        ("created_from=2026-02-26&created_to=2026-02-26", ["INV-00271"]),
        ("created_from=2026-03-27T08:00:00Z", ["INV-00300"]),
        ("created_from=2026-03-27T16:00:00.000%2B08:00", ["INV-00300"]),
        ("created_from=2026-03-27T08:00:01Z", []),
        ("created_to=2025-06-01T07:59:59Z", []),
        ("due_from=2026-03-21&due_to=2026-03-21", ["INV-00264"]),
        ("search=orkid&created_from=2026-03-20", ["INV-00297"]),
        ("min_amount=7059.96&max_amount=7059.96&status=overdue", ["INV-00077"]),
    ],
)
def test_openapi_filters_invoices(serve: Serve, query: str, found: list[str]) -> None:
    server = serve(shape="openapi")
    assert numbers(server, f"/invoices?{query}") == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("createdAfter=2026-03-27", ["INV-00300"]),
        ("createdBefore=2025-06-01", ["INV-00001"]),
        ("customerId=cus_0002&createdBefore=2025-06-07", ["INV-00003"]),
    ],
)
def test_the_guide_filters_invoices(serve: Serve, query: str, found: list[str]) -> None:
    server = serve(shape="guide")
    assert numbers(server, f"/invoices?{query}") == found


def test_fields_chooses_the_fields(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    invoices = get_data(server, "/invoices?limit=1&fields=id,status")
    assert invoices == [{"id": "inv_00000300", "status": "draft"}]


def test_changing_pays_the_first_unpaid_invoice_of_a_page(serve: Serve) -> None:
    server = serve(shape="openapi", changing=True)
    path = "/invoices?status=overdue&limit=2"
    first, second = numbers(server, path)
    assert numbers(server, path)[0] == second
    paid = get_data(server, f"/invoices?search={first}")[0]
    assert paid["status"] == "paid"
    assert paid["paidAmount"] == paid["totalAmount"]


def test_by_cursor_every_invoice_comes_though_they_change(serve: Serve) -> None:
    server = serve(shape="guide")
    expected = numbers(server, "/invoices?status=overdue&limit=100")
    server = serve(shape="guide", changing=True)
    first = get(server, "/invoices?status=overdue&limit=15")
    cursor = first["pagination"]["nextCursor"]
    second = get(server, f"/invoices?status=overdue&limit=15&cursor={cursor}")
    invoices = first["data"] + second["data"]
    assert [invoice["invoiceNumber"] for invoice in invoices] == expected


# Customers, vendors, items


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("search=yong", ["Perniagaan Yong Fatt (\u6c38\u767c)"]),
        ("search=accounts3@", ["Sakura Precision KK"]),
        ("status=active&search=persatuan", []),
        ("status=inactive", ["Persatuan Peniaga Pasar Malam"]),
        ("sort=name&order=asc&limit=1", ["Batik Nusantara Enterprise"]),
        ("sort=email&order=desc&limit=1", ["Perniagaan Yong Fatt (\u6c38\u767c)"]),
    ],
)
def test_customers_are_searched(
    serve: Serve, shape: str, query: str, names: list[str]
) -> None:
    server = serve(shape=shape)
    customers = get_data(server, f"/customers?{query}")
    assert [customer["name"] for customer in customers] == names


def test_a_new_customer_can_be_read_again(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    response = post(server, {"name": "Kedai Kopi Seri", "city": "Ipoh"})
    assert response.status_code == 201
    created = response.json()["data"]
    assert created["id"] == "cus_0011"
    assert get_data(server, "/customers/cus_0011") == created


def test_an_email_that_exists_is_a_409(serve: Serve) -> None:
    server = serve()
    response = post(server, {"name": "A", "email": "accounts1@example.com"})
    assert response.status_code == 409


def test_an_unknown_customer_is_a_404(serve: Serve) -> None:
    server = serve()
    response = send(server, "GET", "/customers/cus_9999")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "NOT_FOUND"


def test_patch_leaves_other_fields_as_they_are(serve: Serve) -> None:
    server = serve()
    vendor = change_vendor(server)
    assert vendor["phone"] == "1"
    assert vendor["name"] == "Pembekal Utama Sdn Bhd"


def test_an_unknown_vendor_is_a_404(serve: Serve) -> None:
    server = serve()
    response = send(server, "PATCH", "/vendors/ven_9", {"phone": "1"})
    assert response.status_code == 404


def test_the_guide_confirms_a_deletion(serve: Serve) -> None:
    server = serve(shape="guide")
    response = send(server, "DELETE", ITEM_PATH)
    assert response.json()["data"] == {"id": "itm_01m3q6s9u5", "deleted": True}


@pytest.mark.parametrize("shape", ["openapi", "sdk"])
def test_openapi_responds_204_to_a_deletion(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    assert send(server, "DELETE", ITEM_PATH).status_code == 204
    assert send(server, "DELETE", ITEM_PATH).status_code == 404


# Reports


def test_the_trial_balance_adds_up(serve: Serve) -> None:
    server = serve(shape="sdk")
    report = get_data(server, f"/reports/trial-balance{MARCH}")
    debit = 0.0
    credit = 0.0
    for item in report["lineItems"]:
        debit += item["debitBalance"]
        credit += item["creditBalance"]
        change = item["periodDebit"] - item["periodCredit"]
        if item["normalBalance"] == "credit":
            change = -change
        closing = item["openingBalance"] + change
        assert closing == pytest.approx(item["closingBalance"])
    assert debit == pytest.approx(report["totalDebit"])
    assert credit == pytest.approx(report["totalCredit"])
    assert report["totalDebit"] == report["totalCredit"]
    assert report["isBalanced"] is True


def test_the_trial_balance_is_the_same_in_the_guide(serve: Serve) -> None:
    path = f"/reports/trial-balance{MARCH}"
    guide_server = serve(shape="guide")
    guide = get_data(guide_server, path)
    openapi_server = serve(shape="openapi")
    openapi = get_data(openapi_server, path)
    assert guide["accounts"][0]["debit"] == 11_559_786
    assert openapi["lineItems"][0]["debitBalance"] == 115_597.86
    assert guide["totals"] == {"debit": 33_263_147, "credit": 33_263_147}
    assert openapi["totalDebit"] == 332_631.47


def test_profit_and_loss_agrees_with_the_trial_balance(serve: Serve) -> None:
    server = serve(shape="openapi")
    trial_balance = get_data(server, f"/reports/trial-balance{MARCH}")
    statement = get_data(server, f"/reports/profit-loss{MARCH}")
    balances = accounts_of(statement)
    profit = 0.0
    for item in trial_balance["lineItems"]:
        change = item["periodCredit"] - item["periodDebit"]
        if item["accountType"] == "revenue":
            assert balances[item["accountCode"]] == pytest.approx(change)
            profit += change
        if item["accountType"] == "expense":
            assert balances[item["accountCode"]] == pytest.approx(-change)
            profit += change
    assert statement["totals"]["netProfit"] == pytest.approx(profit)


def test_the_balance_sheet_agrees_with_the_trial_balance(serve: Serve) -> None:
    server = serve(shape="openapi")
    trial_balance = get_data(server, f"/reports/trial-balance{MARCH}")
    statement = get_data(server, f"/reports/balance-sheet{MARCH}")
    balances = accounts_of(statement)
    for item in trial_balance["lineItems"]:
        if item["accountType"] in ("asset", "liability", "equity"):
            assert balances[item["accountCode"]] == item["closingBalance"]


@pytest.mark.parametrize("report", ["profit-loss", "balance-sheet"])
def test_the_sections_of_a_statement_add_up(serve: Serve, report: str) -> None:
    server = serve(shape="openapi")
    statement = get_data(server, f"/reports/{report}{MARCH}")
    for section in statement["sections"]:
        total = 0.0
        for part in section["subsections"] or [section]:
            for account in part["accounts"]:
                total += account["balance"]
        assert total == pytest.approx(section["total"])


def test_assets_equal_liabilities_and_equity(serve: Serve) -> None:
    server = serve(shape="openapi")
    statement = get_data(server, f"/reports/balance-sheet{MARCH}")
    assets, liabilities, equity = statement["sections"]
    assert assets["total"] == 230_630.42
    assert liabilities["total"] == 36_769.97
    assert equity["total"] == 193_860.45


@pytest.mark.parametrize(
    ("period", "opening", "debit"),
    [
        ("2025-12", 0.0, 0.0),
        ("2026-01", 0.0, 129_552.84),
        ("2026-03", 106_675.35, 40_722.51),
        ("2026-04", 115_597.86, 0.0),
    ],
)
def test_the_books_are_of_the_first_quarter(
    serve: Serve, period: str, opening: float, debit: float
) -> None:
    server = serve(shape="openapi")
    report = get_data(server, f"/reports/trial-balance?period={period}")
    cash = report["lineItems"][0]
    assert cash["openingBalance"] == opening
    assert cash["periodDebit"] == debit


def test_unbalanced_puts_the_books_out_by_one_cent(serve: Serve) -> None:
    openapi = serve(shape="openapi", unbalanced=True)
    guide = serve(shape="guide", unbalanced=True)
    report = get_data(openapi, f"/reports/trial-balance{MARCH}")
    totals = get_data(guide, f"/reports/trial-balance{MARCH}")["totals"]
    assert report["difference"] == 0.01
    assert report["isBalanced"] is False
    assert totals["debit"] - totals["credit"] == 1


@pytest.mark.parametrize("balance_type", ["preliminary", "adjusted", "final"])
def test_the_balance_type_comes_back(serve: Serve, balance_type: str) -> None:
    path = f"/reports/trial-balance?period=2026-03&balanceType={balance_type}"
    server = serve(shape="openapi")
    report = get_data(server, path)
    assert report["balanceType"] == balance_type


@pytest.mark.parametrize("report", ["trial-balance", "profit-loss", "balance-sheet"])
@pytest.mark.parametrize("shape", ["openapi", "sdk"])
def test_openapi_requires_a_period(serve: Serve, shape: str, report: str) -> None:
    server = serve(shape=shape)
    response = send(server, "GET", f"/reports/{report}?asOf=2026-03-31")
    assert response.status_code == 422
    assert response.json()["error"]["details"][0]["field"] == "period"


def test_aged_receivables_agree_with_the_ledger(serve: Serve) -> None:
    server = serve(shape="guide")
    buckets = get_data(server, "/reports/aged-receivables")["buckets"]
    accounts = get_data(server, f"/reports/trial-balance{MARCH}")["accounts"]
    assert accounts[1]["name"] == "Accounts Receivable"
    assert sum(buckets.values()) == accounts[1]["debit"]


@pytest.mark.parametrize("shape", ["openapi", "sdk"])
def test_openapi_has_no_aged_receivables(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    response = send(server, "GET", f"/reports/aged-receivables{MARCH}")
    assert response.status_code == 404


# Caching


@pytest.mark.parametrize("shape", ["openapi", "sdk"])
def test_an_etag_is_answered_with_304(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    etag = send(server, "GET", "/invoices").headers["ETag"]
    response = send(server, "GET", "/invoices", **{"If-None-Match": etag})
    assert response.status_code == 304
    assert response.content == b""


def test_a_change_changes_the_etag(serve: Serve) -> None:
    server = serve(shape="openapi", changing=True)
    etag = send(server, "GET", "/invoices").headers["ETag"]
    response = send(server, "GET", "/invoices", **{"If-None-Match": etag})
    assert response.status_code == 200
    assert response.headers["ETag"] != etag


# Refusals


CODE_OF_401 = {
    "guide": "UNAUTHORIZED",
    "openapi": "AUTHENTICATION_ERROR",
    "sdk": "AUTHENTICATION_ERROR",
}


def test_a_wrong_key_is_a_401(serve: Serve, shape: str) -> None:
    server = serve(shape=shape)
    response = send(server, "GET", "/invoices", Authorization="Bearer cak_wrong")
    assert response.status_code == 401
    assert response.json()["error"]["code"] == CODE_OF_401[shape]


def test_a_403_names_the_missing_scope(serve: Serve) -> None:
    key = f"Bearer {READ_ONLY_KEY}"
    server = serve()
    response = send(server, "POST", "/customers", {"name": "A"}, Authorization=key)
    assert response.status_code == 403
    assert "customers:write" in response.json()["error"]["message"]


def test_the_read_only_key_reads(serve: Serve) -> None:
    key = f"Bearer {READ_ONLY_KEY}"
    server = serve()
    response = send(server, "GET", "/invoices", Authorization=key)
    assert response.status_code == 200


def test_a_request_above_the_rate_limit_is_a_429(serve: Serve, shape: str) -> None:
    server = serve(shape=shape, rate_limit=1)
    allowed = send(server, "GET", "/invoices")
    refused = send(server, "GET", "/invoices")
    assert allowed.status_code == 200
    assert allowed.headers["X-RateLimit-Remaining"] == "0"
    assert refused.status_code == 429
    assert refused.headers["X-RateLimit-Limit"] == "1"
    assert "X-RateLimit-Reset" in refused.headers
    assert ("Retry-After" in refused.headers) == (shape == "guide")


def test_an_idempotency_key_replays_the_first_response(serve: Serve) -> None:
    server = serve()
    first = post(server, {"name": "A"})
    second = post(server, {"name": "A"})
    assert second.status_code == 201
    assert second.content == first.content
    assert len(server.app.customers) == 11


def test_an_idempotency_key_with_another_body_is_a_409(serve: Serve) -> None:
    server = serve()
    post(server, {"name": "A"})
    assert post(server, {"name": "B"}).status_code == 409


def test_an_idempotency_key_can_be_used_again_after_a_failure(serve: Serve) -> None:
    server = serve()
    assert post(server, {"name": ""}).status_code == 422
    assert post(server, {"name": "A"}).status_code == 201


def wrong_fields(response: requests.Response) -> list[str]:
    assert response.status_code == 422
    return [detail["field"] for detail in response.json()["error"]["details"]]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("status=sent&limit=0&due_to=2026-02-30", ["status", "limit", "due_to"]),
        ("sort=dueDate&page=0&min_amount=ten", ["sort", "page", "min_amount"]),
        ("created_from=yesterday", ["created_from"]),
        ("cursor=xyz", ["cursor"]),
        ("cursor=ab&page=2", ["cursor"]),
        ("fields=id,totl", ["fields"]),
    ],
)
def test_a_422_names_each_wrong_parameter(
    serve: Serve, query: str, fields: list[str]
) -> None:
    server = serve(shape="sdk")
    response = send(server, "GET", f"/invoices?{query}")
    assert wrong_fields(response) == fields


def test_dates_of_a_report_are_checked(serve: Serve) -> None:
    server = serve(shape="guide")
    path = "/reports/trial-balance?asOf=2026-02-30&from=March&to=20260331"
    response = send(server, "GET", path)
    assert wrong_fields(response) == ["asOf", "from", "to"]


def test_customers_have_other_fields_than_invoices(serve: Serve) -> None:
    server = serve(shape="openapi")
    response = send(server, "GET", "/customers?fields=name,dueDate")
    assert wrong_fields(response) == ["fields"]


def test_the_guide_refuses_what_only_openapi_knows(serve: Serve) -> None:
    path = "/invoices?status=finalized&sort=due_date&offset=-1"
    server = serve(shape="guide")
    response = send(server, "GET", path)
    assert wrong_fields(response) == ["status", "sort", "offset"]


def test_a_422_names_each_wrong_field(serve: Serve, shape: str) -> None:
    body = {
        "email": "nobody",
        "notes": 5,
        "fax": "1",
        "address": {"city": "Ipoh"},
    }
    server = serve(shape=shape)
    response = post(server, body)
    assert wrong_fields(response) == ["name", "email", "notes", "fax", "address"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"[" * 100_000])
def test_a_malformed_body_is_a_400(serve: Serve, body: bytes) -> None:
    server = serve()
    headers = {"Authorization": f"Bearer {API_KEY}"}
    url = f"{server.url}/customers"
    response = requests.post(url, data=body, headers=headers, timeout=10)
    assert response.status_code == 400


# What is ignored


@pytest.mark.parametrize(
    ("shape", "query", "ignored"),
    [
        ("guide", "page=2&period=2026-03&stauts=paid", ["stauts"]),
        ("guide", "search=acme&due_to=2026-03-31", ["search", "due_to"]),
        ("sdk", "offset=0&asOf=2026-03-31&from=1&to=2", []),
        ("sdk", "search=acme&customerId=cus_0001", ["customerId"]),
    ],
)
def test_what_is_ignored_is_noted(
    serve: Serve, shape: str, query: str, ignored: list[str]
) -> None:
    server = serve(shape=shape)
    send(server, "GET", f"/invoices?{query}")
    assert server.seen[0]["ignored"] == ignored
