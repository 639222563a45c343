"""The sandbox's API, in each published shape.

That each record is as published is seen in tests/README.md, and tested with that page.
"""

import pytest
import sandbox_guide
from sandbox_api import API_KEY, READ_ONLY_KEY, SHAPES, create_app
from sandbox_data import make_invoice

MARCH = "?period=2026-03&asOf=2026-03-31&from=2026-03-01&to=2026-03-31"
VENDOR_PATH = "/vendors/ven_01k2p5r8t4"
ITEM_PATH = "/items/itm_01m3q6s9u5"
# For tests that only read: making an application takes longer than its response.
APPS = {shape: create_app(shape=shape, rate_limit=10_000) for shape in SHAPES}
INVOICES = [make_invoice(number) for number in range(1, 301)]


def send(app, method, path, body=None, **headers):
    headers.setdefault("Authorization", f"Bearer {API_KEY}")
    client = app.test_client()
    return client.open(f"/api/v1{path}", method=method, json=body, headers=headers)


def get(app, path):
    """Return the envelope of a success."""
    response = send(app, "GET", path)
    assert response.status_code == 200
    return response.json


def get_data(app, path):
    return get(app, path)["data"]


def post(app, body):
    """Create a customer, with the same idempotency key every time."""
    headers = {"Idempotency-Key": "first"}
    return send(app, "POST", "/customers", body, **headers)


def numbers(app, path):
    """Return the numbers of the invoices at `path`."""
    return [invoice["invoiceNumber"] for invoice in get_data(app, path)]


# Invoices


def with_status(status):
    """Return all invoices of a status."""
    invoices = []
    for invoice in INVOICES:
        if invoice["status"] == status:
            invoices.append(invoice)
    assert invoices
    return invoices


def test_the_amounts_of_each_invoice_agree():
    for invoice in INVOICES:
        subtotal = 0
        for item in invoice["lineItems"]:
            amount = item["quantity"] * item["unitPrice"]
            discount = amount * (item["discountRate"] or 0) / 100
            assert amount - discount == pytest.approx(item["amount"], abs=0.001)
            subtotal += item["amount"]
        assert subtotal + invoice["taxes"] == pytest.approx(invoice["totalAmount"])


def test_a_line_item_has_a_tax_rate_in_ringgit():
    (item,) = make_invoice(3)["lineItems"]

    assert item["taxRate"] == 8
    assert item["discountRate"] is None


def test_a_line_item_has_a_discount_rate_in_dinars():
    item, _, _ = make_invoice(11)["lineItems"]

    assert item["taxRate"] is None
    assert item["discountRate"] == 5


def test_each_total_in_dinars_has_a_third_decimal():
    for invoice in INVOICES:
        if invoice["currency"] == "KWD":
            total = f"{invoice['totalAmount']:.3f}"
            assert not total.endswith("0")


def test_a_paid_invoice_is_paid_in_full():
    for invoice in with_status("paid"):
        assert invoice["paidAmount"] == invoice["totalAmount"]


@pytest.mark.parametrize("status", ["draft", "finalized", "deposit_due"])
def test_nothing_is_paid_of_a_new_invoice(status):
    for invoice in with_status(status):
        assert invoice["paidAmount"] == 0


def test_a_partially_paid_invoice_is_paid_in_part():
    for invoice in with_status("partially_paid"):
        assert 0 < invoice["paidAmount"] < invoice["totalAmount"]


def test_an_overdue_invoice_is_paid_in_part_at_most():
    for invoice in with_status("overdue"):
        assert 0 <= invoice["paidAmount"] < invoice["totalAmount"]
        assert invoice["dueDate"] < "2026-03-31"


@pytest.mark.parametrize("status", ["deposit_due", "deposit_paid"])
def test_a_deposit_is_part_of_the_total(status):
    for invoice in with_status(status):
        assert invoice["hasDeposit"] is True
        assert 0 < invoice["depositAmount"] < invoice["totalAmount"]


def test_a_paid_deposit_is_the_amount_paid():
    for invoice in with_status("deposit_paid"):
        assert invoice["paidAmount"] == invoice["depositAmount"]


def test_other_invoices_have_no_deposit():
    for invoice in with_status("overdue"):
        assert invoice["hasDeposit"] is False
        assert invoice["depositAmount"] == 0


def test_the_books_hold_invoices_of_each_status():
    assert len(with_status("draft")) == 24
    assert len(with_status("finalized")) == 10
    assert len(with_status("deposit_due")) == 4
    assert len(with_status("deposit_paid")) == 3
    assert len(with_status("partially_paid")) == 3
    assert len(with_status("overdue")) == 22
    assert len(with_status("paid")) == 234


def test_the_highest_overdue_invoices_are_in_ringgit():
    app = APPS["openapi"]

    invoices = get_data(app, "/invoices?status=overdue&sort=total&limit=100")

    currencies = [invoice["currency"] for invoice in invoices]
    assert currencies[:5] == ["MYR", "MYR", "MYR", "MYR", "MYR"]
    assert "JPY" not in currencies


@pytest.mark.parametrize(
    ("number", "currency", "major", "minor"),
    [
        (3, "MYR", 194.40, 19_440),
        (2, "SGD", 1179.00, 117_900),
        (6, "JPY", 15_470.0, 15_470),
        (11, "KWD", 199.443, 199_443),
    ],
)
def test_the_guide_has_totals_in_minor_units(number, currency, major, minor):
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
def test_each_shape_lists_the_same_invoices(query):
    path = f"/invoices?limit=50&{query}"

    expected = numbers(APPS["guide"], path)

    assert numbers(APPS["openapi"], path) == expected
    assert numbers(APPS["sdk"], path) == expected


def test_the_guide_shows_part_payments_as_sent():
    envelope = get(APPS["guide"], "/invoices?status=sent&limit=100")

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


def test_each_shape_has_its_own_pagination(shape):
    pagination = get(APPS[shape], "/invoices?offset=20&page=2")["pagination"]

    pagination.pop("nextCursor", None)
    assert pagination == PAGINATION[shape]


def test_the_sdk_has_a_cursor_only_when_it_pages_by_cursor():
    openapi = APPS["openapi"]
    cursor = get(openapi, "/invoices")["pagination"]["nextCursor"]
    app = APPS["sdk"]

    first = get(app, "/invoices")["pagination"]
    second = get(app, f"/invoices?cursor={cursor}")["pagination"]

    assert "nextCursor" not in first
    assert set(second) == {"limit", "hasMore", "nextCursor"}


@pytest.mark.parametrize("shape", ["guide", "openapi"])
def test_cursors_lead_to_every_invoice_once(shape):
    app = create_app(shape=shape, invoices=45)

    first = get(app, "/invoices")
    cursor = first["pagination"]["nextCursor"]
    second = get(app, f"/invoices?cursor={cursor}")
    cursor = second["pagination"]["nextCursor"]
    third = get(app, f"/invoices?cursor={cursor}")

    invoices = first["data"] + second["data"] + third["data"]
    assert len({invoice["id"] for invoice in invoices}) == 45
    assert third["pagination"]["hasMore"] is False
    assert third["pagination"]["nextCursor"] is None


def follow(app, url):
    return get(app, url.removeprefix("http://localhost/api/v1"))


@pytest.mark.parametrize("shape", ["openapi", "sdk"])
@pytest.mark.parametrize("path", ["/invoices?limit=2&sort=total", "/customers?limit=2"])
def test_the_links_of_a_list_work(shape, path):
    app = create_app(shape=shape, invoices=10)

    first = get(app, path)
    second = follow(app, first["links"]["next"])
    last = follow(app, second["links"]["last"])

    assert set(first["links"]) == {"self", "first", "next", "prev", "last"}
    assert first["links"]["prev"] is None
    assert follow(app, second["links"]["self"])["data"] == second["data"]
    assert follow(app, second["links"]["prev"])["data"] == first["data"]
    assert follow(app, second["links"]["first"])["data"] == first["data"]
    assert last["links"]["next"] is None
    assert len(last["data"]) == 2


def test_the_next_link_of_a_page_by_cursor_has_a_cursor():
    app = create_app(shape="openapi", invoices=6)
    first = get(app, "/invoices?limit=2")
    cursor = first["pagination"]["nextCursor"]

    second = get(app, f"/invoices?limit=2&cursor={cursor}")
    third = follow(app, second["links"]["next"])

    assert third["data"] == get_data(app, "/invoices?limit=2&page=3")


def test_a_page_after_the_last_is_empty():
    app = create_app(shape="openapi", invoices=4)

    envelope = get(app, "/invoices?limit=2&page=9")

    assert envelope["data"] == []
    assert envelope["links"]["prev"].endswith("limit=2&page=2")


def test_the_guide_has_no_links():
    envelope = get(APPS["guide"], "/invoices")

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
def test_openapi_filters_invoices(query, found):
    assert numbers(APPS["openapi"], f"/invoices?{query}") == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("createdAfter=2026-03-27", ["INV-00300"]),
        ("createdBefore=2025-06-01", ["INV-00001"]),
        ("customerId=cus_0002&createdBefore=2025-06-07", ["INV-00003"]),
    ],
)
def test_the_guide_filters_invoices(query, found):
    assert numbers(APPS["guide"], f"/invoices?{query}") == found


def test_fields_chooses_the_fields(shape):
    invoices = get_data(APPS[shape], "/invoices?limit=1&fields=id,status")

    assert invoices == [{"id": "inv_00000300", "status": "draft"}]


def test_changing_pays_the_first_unpaid_invoice_of_a_page():
    app = create_app(shape="openapi", changing=True)
    path = "/invoices?status=overdue&limit=2"

    first, second = numbers(app, path)

    assert numbers(app, path)[0] == second
    paid = get_data(app, f"/invoices?search={first}")[0]
    assert paid["status"] == "paid"
    assert paid["paidAmount"] == paid["totalAmount"]


def test_by_cursor_every_invoice_comes_though_they_change():
    path = "/invoices?status=overdue&limit"
    expected = numbers(APPS["guide"], f"{path}=100")
    app = create_app(changing=True)

    first = get(app, f"{path}=15")
    cursor = first["pagination"]["nextCursor"]
    second = get(app, f"{path}=15&cursor={cursor}")

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
def test_customers_are_searched(shape, query, names):
    customers = get_data(APPS[shape], f"/customers?{query}")

    assert [customer["name"] for customer in customers] == names


def test_a_new_customer_can_be_read_again(shape):
    app = create_app(shape=shape)

    response = post(app, {"name": "Kedai Kopi Seri", "city": "Ipoh"})

    assert response.status_code == 201
    created = response.json["data"]
    assert created["id"] == "cus_0011"
    assert get_data(app, "/customers/cus_0011") == created


def test_an_email_that_exists_is_a_409():
    response = post(create_app(), {"name": "A", "email": "accounts1@example.com"})

    assert response.status_code == 409


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/customers/cus_9"), ("PATCH", "/vendors/ven_9"), ("DELETE", "/items/9")],
)
def test_an_unknown_id_is_a_404(method, path):
    response = send(APPS["guide"], method, path, {"phone": "1"})

    assert response.status_code == 404
    assert response.json["error"]["code"] == "NOT_FOUND"
    assert "There is no" in response.json["error"]["message"]


def test_patch_leaves_other_fields_as_they_are():
    response = send(create_app(), "PATCH", VENDOR_PATH, {"phone": "1"})

    vendor = response.json["data"]
    assert vendor["phone"] == "1"
    assert vendor["name"] == "Pembekal Utama Sdn Bhd"


def test_the_guide_confirms_a_deletion():
    response = send(create_app(shape="guide"), "DELETE", ITEM_PATH)

    assert response.json["data"] == {"id": "itm_01m3q6s9u5", "deleted": True}


@pytest.mark.parametrize("shape", ["openapi", "sdk"])
def test_openapi_responds_204_to_a_deletion(shape):
    app = create_app(shape=shape)

    assert send(app, "DELETE", ITEM_PATH).status_code == 204
    assert send(app, "DELETE", ITEM_PATH).status_code == 404


# Reports


def accounts_of(statement):
    """Return the balances in a financial statement, by account code."""
    balances = {}
    for section in statement["sections"]:
        for part in section["subsections"] or [section]:
            for account in part["accounts"]:
                balances[account["accountCode"]] = account["balance"]
    return balances


def test_the_trial_balance_adds_up():
    report = get_data(APPS["sdk"], f"/reports/trial-balance{MARCH}")

    debit = 0
    credit = 0
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


def test_the_trial_balance_is_the_same_in_the_guide():
    path = f"/reports/trial-balance{MARCH}"

    guide = get_data(APPS["guide"], path)
    openapi = get_data(APPS["openapi"], path)

    assert guide["accounts"][0]["debit"] == 11_559_786
    assert openapi["lineItems"][0]["debitBalance"] == 115_597.86
    assert guide["totals"] == {"debit": 33_263_147, "credit": 33_263_147}
    assert openapi["totalDebit"] == 332_631.47


def test_profit_and_loss_agrees_with_the_trial_balance():
    app = APPS["openapi"]

    trial_balance = get_data(app, f"/reports/trial-balance{MARCH}")
    statement = get_data(app, f"/reports/profit-loss{MARCH}")

    balances = accounts_of(statement)
    profit = 0
    for item in trial_balance["lineItems"]:
        change = item["periodCredit"] - item["periodDebit"]
        if item["accountType"] == "revenue":
            assert balances[item["accountCode"]] == pytest.approx(change)
            profit += change
        if item["accountType"] == "expense":
            assert balances[item["accountCode"]] == pytest.approx(-change)
            profit += change
    assert statement["totals"]["netProfit"] == pytest.approx(profit)


def test_profit_and_loss_has_the_form_of_a_balance_sheet(shape):
    app = APPS[shape]

    balance_sheet = get_data(app, f"/reports/balance-sheet{MARCH}")
    statement = get_data(app, f"/reports/profit-loss{MARCH}")

    assert statement["reportType"] == "profit_loss"
    assert set(statement) == set(balance_sheet)
    for section in statement["sections"]:
        assert set(section) == set(balance_sheet["sections"][0])
        assert section["subsections"] is None


def test_the_balance_sheet_agrees_with_the_trial_balance():
    app = APPS["openapi"]

    trial_balance = get_data(app, f"/reports/trial-balance{MARCH}")
    statement = get_data(app, f"/reports/balance-sheet{MARCH}")

    balances = accounts_of(statement)
    for item in trial_balance["lineItems"]:
        if item["accountType"] in ("asset", "liability", "equity"):
            assert balances[item["accountCode"]] == item["closingBalance"]


@pytest.mark.parametrize("report", ["profit-loss", "balance-sheet"])
def test_the_sections_of_a_statement_add_up(report):
    statement = get_data(APPS["openapi"], f"/reports/{report}{MARCH}")

    for section in statement["sections"]:
        total = 0
        for part in section["subsections"] or [section]:
            for account in part["accounts"]:
                total += account["balance"]
        assert total == pytest.approx(section["total"])


def test_assets_equal_liabilities_and_equity(shape):
    statement = get_data(APPS[shape], f"/reports/balance-sheet{MARCH}")

    assets, liabilities, equity = statement["sections"]
    assert assets["total"] == 230_630.42
    assert liabilities["total"] == 36_769.97
    assert equity["total"] == 193_860.45
    assert statement["totals"] == {"totalAssets": 230_630.42, "netProfit": 43_860.45}


@pytest.mark.parametrize(
    ("period", "opening", "debit"),
    [
        ("2025-12", 0.0, 0.0),
        ("2026-01", 0.0, 129_552.84),
        ("2026-03", 106_675.35, 40_722.51),
        ("2026-04", 115_597.86, 0.0),
    ],
)
def test_the_books_are_of_the_first_quarter(period, opening, debit):
    report = get_data(APPS["openapi"], f"/reports/trial-balance?period={period}")

    cash = report["lineItems"][0]
    assert cash["openingBalance"] == opening
    assert cash["periodDebit"] == debit


def test_unbalanced_puts_the_books_out_by_one_cent():
    path = f"/reports/trial-balance{MARCH}"

    report = get_data(create_app(shape="openapi", unbalanced=True), path)
    guide = get_data(create_app(shape="guide", unbalanced=True), path)

    assert report["difference"] == 0.01
    assert report["isBalanced"] is False
    assert guide["totals"]["debit"] - guide["totals"]["credit"] == 1


@pytest.mark.parametrize("balance_type", ["preliminary", "adjusted", "final"])
def test_the_balance_type_comes_back(balance_type):
    path = f"/reports/trial-balance?period=2026-03&balanceType={balance_type}"

    report = get_data(APPS["openapi"], path)

    assert report["balanceType"] == balance_type


@pytest.mark.parametrize("report", ["trial-balance", "profit-loss", "balance-sheet"])
@pytest.mark.parametrize("shape", ["openapi", "sdk"])
def test_openapi_requires_a_period(shape, report):
    response = send(APPS[shape], "GET", f"/reports/{report}?asOf=2026-03-31")

    assert wrong_fields(response) == ["period"]


def test_aged_receivables_agree_with_the_ledger():
    app = APPS["guide"]

    buckets = get_data(app, "/reports/aged-receivables")["buckets"]
    accounts = get_data(app, f"/reports/trial-balance{MARCH}")["accounts"]

    assert accounts[1]["name"] == "Accounts Receivable"
    assert sum(buckets.values()) == accounts[1]["debit"]


@pytest.mark.parametrize("shape", ["openapi", "sdk"])
def test_openapi_has_no_aged_receivables(shape):
    response = send(APPS[shape], "GET", f"/reports/aged-receivables{MARCH}")

    assert response.status_code == 404


# Caching


@pytest.mark.parametrize("shape", ["openapi", "sdk"])
def test_an_etag_is_answered_with_304(shape):
    app = APPS[shape]

    etag = send(app, "GET", "/invoices").headers["ETag"]
    response = send(app, "GET", "/invoices", **{"If-None-Match": etag})

    assert response.status_code == 304
    assert response.data == b""


def test_a_change_changes_the_etag():
    app = create_app(shape="openapi", changing=True)

    etag = send(app, "GET", "/invoices").headers["ETag"]
    response = send(app, "GET", "/invoices", **{"If-None-Match": etag})

    assert response.status_code == 200
    assert response.headers["ETag"] != etag


# Refusals


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        ("guide", "UNAUTHORIZED"),
        ("openapi", "AUTHENTICATION_ERROR"),
        ("sdk", "AUTHENTICATION_ERROR"),
    ],
)
@pytest.mark.parametrize("path", ["/invoices", "/unknown"])
def test_a_wrong_key_is_a_401(shape, code, path):
    response = send(APPS[shape], "GET", path, Authorization="Bearer cak_wrong")

    error = response.json["error"]
    assert response.status_code == 401
    assert error["code"] == code
    assert error["message"] == "The API key is missing, wrong or revoked"


def test_a_403_names_the_missing_scope():
    key = f"Bearer {READ_ONLY_KEY}"

    response = send(APPS["guide"], "POST", "/customers", {}, Authorization=key)

    assert response.status_code == 403
    assert "customers:write" in response.json["error"]["message"]


def test_the_read_only_key_reads():
    key = f"Bearer {READ_ONLY_KEY}"

    response = send(APPS["guide"], "GET", "/invoices", Authorization=key)

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/invoice"), ("DELETE", "/customers")]
)
def test_an_unknown_endpoint_lists_those_there_are(method, path):
    response = send(create_app(), method, path)

    message = response.json["error"]["message"]
    assert response.status_code in (404, 405)
    assert f"The sandbox has no {method} /api/v1{path}. It has: " in message
    assert "GET /invoices, GET /customers, POST /customers, " in message
    assert "PATCH /vendors/<vendor_id>" in message


def test_an_unknown_path_without_api_v1_is_told_the_base_url():
    client = APPS["guide"].test_client()

    response = client.get("/invoices", headers={"Authorization": f"Bearer {API_KEY}"})

    message = response.json["error"]["message"]
    assert response.status_code == 404
    assert "The sandbox has no GET /invoices; the base URL ends in /api/v1" in message


def test_a_request_above_the_rate_limit_is_a_429(shape):
    app = create_app(shape=shape, rate_limit=1)

    allowed = send(app, "GET", "/invoices")
    refused = send(app, "GET", "/invoices")

    assert allowed.status_code == 200
    assert allowed.headers["X-RateLimit-Remaining"] == "0"
    assert refused.status_code == 429
    assert refused.headers["X-RateLimit-Limit"] == "1"
    assert "X-RateLimit-Reset" in refused.headers
    assert ("Retry-After" in refused.headers) == (shape == "guide")


# Idempotency-Key


def test_an_idempotency_key_replays_the_first_response():
    app = create_app()

    first = post(app, {"name": "A"})
    second = post(app, {"name": "A"})

    assert second.status_code == 201
    assert second.data == first.data
    assert len(app.customers) == 11


@pytest.mark.parametrize("shape", ["guide", "openapi"])
def test_an_idempotency_key_replays_it_for_other_data_too(shape):
    app = create_app(shape=shape)

    post(app, {"name": "A"})
    response = post(app, {"name": "B"})

    assert response.status_code == 201
    assert response.json["data"]["name"] == "A"
    assert len(app.customers) == 11


def test_the_sdk_has_a_409_for_an_idempotency_key_with_other_data():
    app = create_app(shape="sdk")

    post(app, {"name": "A"})
    response = post(app, {"name": "B"})

    assert response.status_code == 409
    assert "Idempotency-Key" in response.json["error"]["message"]


def test_an_idempotency_key_can_be_used_again_after_a_failure(shape):
    app = create_app(shape=shape)

    assert post(app, {"name": ""}).status_code == 422
    assert post(app, {"name": "A"}).status_code == 201


# What is sent


def wrong_fields(response):
    assert response.status_code == 422
    return [detail["field"] for detail in response.json["error"]["details"]]


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
def test_a_422_names_each_wrong_parameter(query, fields):
    response = send(APPS["sdk"], "GET", f"/invoices?{query}")

    assert wrong_fields(response) == fields


def test_dates_of_a_report_are_checked():
    path = "/reports/trial-balance?asOf=2026-02-30&from=March&to=20260331"

    response = send(APPS["guide"], "GET", path)

    assert wrong_fields(response) == ["asOf", "from", "to"]


def test_customers_have_other_fields_than_invoices():
    response = send(APPS["openapi"], "GET", "/customers?fields=name,dueDate")

    assert wrong_fields(response) == ["fields"]


def test_the_guide_refuses_what_only_openapi_knows():
    path = "/invoices?status=finalized&sort=due_date&offset=-1"

    response = send(APPS["guide"], "GET", path)

    assert wrong_fields(response) == ["status", "sort", "offset"]


def test_a_422_names_each_wrong_field(shape):
    body = {
        "email": "nobody",
        "notes": 5,
        "fax": "1",
        "address": {"city": "Ipoh"},
    }

    response = post(create_app(shape=shape), body)

    assert wrong_fields(response) == ["name", "email", "notes", "fax", "address"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"[" * 100_000])
def test_a_malformed_body_is_a_400(body):
    client = create_app().test_client()
    headers = {"Authorization": f"Bearer {API_KEY}"}

    response = client.post("/api/v1/customers", data=body, headers=headers)

    assert response.status_code == 400


# What is ignored


def ignored(app, path):
    """Return what the application tells the server, which logs it."""
    names = []
    environ = {"sandbox.ignored": names}
    app.test_client().get(f"/api/v1{path}", environ_overrides=environ)
    return names


@pytest.mark.parametrize(
    ("shape", "query", "names"),
    [
        ("guide", "page=2&period=2026-03&stauts=paid", ["stauts"]),
        ("guide", "search=acme&due_to=2026-03-31", ["search", "due_to"]),
        ("sdk", "offset=0&asOf=2026-03-31&from=1&to=2", []),
        ("sdk", "search=acme&customerId=cus_0001", ["customerId"]),
    ],
)
def test_what_is_ignored_is_noted(shape, query, names):
    assert ignored(APPS[shape], f"/invoices?{query}") == names


def test_an_endpoint_without_parameters_ignores_all_of_them(shape):
    names = ignored(APPS[shape], "/bills?status=paid&limit=5&offset=0&page=1")

    assert names == ["status", "limit", "offset", "page"]
