"""The API that the sandbox serves: a Flask application. Its data is invented and always the same.

The routes speak the shape of Cynco's guide: amounts in minor units, `offset`, `asOf`. For the
other shapes, OpenAPI's and the SDK's, read_query() translates requests and success() responses.
"""

import itertools
import json
import math
import re
import threading
import time
from calendar import monthrange
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, cast

from flask import Blueprint, Flask, Response, abort, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException

Record = dict[str, Any]

API_KEY = "cak_sandbox"
READ_ONLY_KEY = "cak_sandbox_read_only"
SHAPES = ["guide", "openapi", "sdk"]
CLOCK = "2026-03-31T09:00:00Z"  # the books stop here, so that responses never change
CODES = {400: "BAD_REQUEST", 401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT_FOUND"}
CODES |= {405: "BAD_REQUEST", 409: "CONFLICT", 422: "VALIDATION_ERROR", 429: "RATE_LIMITED"}
DECIMALS = {"JPY": 0, "KWD": 3}  # any other currency has two
CUSTOMERS = [
    ("Teh Tarik Trading Sdn Bhd", "MYR"),
    ("Batik Nusantara Enterprise", "MYR"),
    ("Sakura Precision KK", "JPY"),
    ("Kuching Timber Supplies Sdn Bhd", "MYR"),
    ("Straits Robotics Pte Ltd", "SGD"),
    ("Penang Marine Works Sdn Bhd", "MYR"),
    ("Persatuan Peniaga Pasar Malam", "MYR"),
    ("Gulf Dates Trading WLL", "KWD"),
    ("Perniagaan Yong Fatt (\u6c38\u767c)", "MYR"),
    ("Orkid Interiors Sdn Bhd", "MYR"),
]
CUSTOMER_FIELDS = """name email phone address city state zip country taxId registrationNumber
    website paymentTerms preferredCurrency notes"""
VENDOR_FIELDS = "name email phone category notes"
# Each account with its opening balance and what a month adds: debit less credit, in cents.
ACCOUNTS = {
    "1000": ("Cash at Bank", 10_000_000, 795_010),
    "1100": ("Accounts Receivable", 0, 1_178_763),
    "1500": ("Office Equipment", 1_850_000, 0),
    "2000": ("Accounts Payable", -1_850_000, -220_035),
    "2200": ("SST Payable", 0, -291_723),
    "3000": ("Share Capital", -10_000_000, 0),
    "4000": ("Sales", 0, -4_862_050),
    "5000": ("Cost of Sales", 0, 1_720_035),
    "6000": ("Rent", 0, 450_000),
    "6100": ("Salaries", 0, 1_230_000),
}


def make_invoice(number: int) -> Record:
    """Return invoice `number` (from 1) in the guide's shape."""
    name, currency = CUSTOMERS[number * 7 % len(CUSTOMERS)]
    status = ["overdue", "draft", "draft", "sent", "sent", "sent", *["paid"] * 7][number % 13]
    created = date(2026, 2, 28) - timedelta(days=number % 365)
    no_due_date = status == "draft" or number % 31 == 0
    return {
        "id": f"inv_{number:08d}",
        "invoiceNumber": f"INV-{number:05d}",
        "status": status,
        "customerId": f"cus_{number * 7 % len(CUSTOMERS) + 1:04d}",
        "customerName": None if number % 17 == 0 else name,
        "currency": currency,
        "total": (number**3 * 31 % 99_991 + 1) * 25,
        "dueDate": None if no_due_date else str(created + timedelta(days=30)),
        "createdAt": f"{created}T08:00:00Z",
    }


api = Blueprint("api", __name__, url_prefix="/api/v1")


class SandboxAPI(Flask):
    """The API in one of SHAPES, and all that it remembers until it stops.

    `window`: seconds of a rate limit. `unbalanced` puts the trial balance out by one cent.
    """

    def __init__(
        self,
        invoices: int = 300,
        rate_limit: int = 200,
        window: int = 60,
        shape: str = "guide",
        unbalanced: bool = False,
    ) -> None:
        super().__init__("sandbox")
        self.shape, self.unbalanced = shape, unbalanced
        self.dialect = "guide" if shape == "guide" else "openapi"  # the SDK differs only in paging
        self.rate_limit, self.window, self.window_ends, self.used = rate_limit, window, 0, 0
        self.request_ids, self.lock = itertools.count(1), threading.Lock()
        self.replays: dict[str | None, tuple[bytes, Response]] = {}  # by idempotency key
        self.invoices = [make_invoice(number) for number in range(1, invoices + 1)]
        self.customers: dict[str, Record] = {}
        for number, (name, currency) in enumerate(CUSTOMERS, 1):
            fields = {"name": name, "email": f"accounts{number}@example.com"}
            self.add_customer("2025-01-02T08:00:00Z", {**fields, "preferredCurrency": currency})
        vendor = {"id": "ven_01k2p5r8t4", **dict.fromkeys(VENDOR_FIELDS.split())}
        vendor |= {"name": "Pembekal Utama Sdn Bhd", "email": "sales@example.com"}
        self.vendors: dict[str, Record] = {"ven_01k2p5r8t4": vendor}
        self.items = {"itm_01m3q6s9u5"}
        self.config.update(INVOICES=self.invoices, CUSTOMERS=self.customers)
        self.json.sort_keys = False  # type: ignore[attr-defined]
        self.register_blueprint(api)

    def add_customer(self, created_at: str, fields: Record) -> Record:
        """Keep a customer with a flat address, as requests send it in every shape."""
        customer_id = f"cus_{len(self.customers) + 1:04d}"
        unset = dict.fromkeys(CUSTOMER_FIELDS.split())
        customer = {"id": customer_id, **unset, **fields, "createdAt": created_at}
        self.customers[customer_id] = customer
        return customer


create_app = SandboxAPI
state = cast(SandboxAPI, current_app)  # of the request at hand


@api.before_app_request
def check_request() -> Response | None:
    """Count a request, fail on purpose, check its key, replay the response to a repeated write."""
    request_id = f"req_{next(state.request_ids):06d}"
    g.meta = {"requestId": request_id, "apiVersion": "v1", "timestamp": CLOCK}
    g.idempotency_key = request.headers.get("Idempotency-Key") if request.method != "GET" else None
    g.resource = request.path.removeprefix("/api/v1/").partition("/")[0]
    words = PARAMETERS.get(f"{state.dialect} {g.resource}", "").split()
    g.parameters = {name: choices for name, _, choices in (word.partition("=") for word in words)}
    known = [*g.parameters, *FOR_OTHER_SHAPES[state.dialect].split()]
    ignored = [name for name in request.args if name not in known]
    request.environ.get("sandbox.ignored", []).extend(ignored)  # the server logs them
    with state.lock:
        if time.time() >= state.window_ends:
            state.window_ends, state.used = int(time.time()) + state.window, 0
        state.used += 1

    fault = request.environ.get("sandbox.fault")
    if fault in ("500", "503"):
        abort(int(fault), "The sandbox was told to fail")
    if fault == "429" or state.used > state.rate_limit:
        abort(429, "Too many requests")

    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or key not in (API_KEY, READ_ONLY_KEY):
        abort(401, "The API key is missing, wrong or revoked")
    if key == READ_ONLY_KEY and request.method != "GET":
        abort(403, f"The API key lacks the scope {g.resource}:write")

    g.asked = f"{request.method} {request.path} ".encode() + request.get_data()
    with state.lock:
        first, response = state.replays.get(g.idempotency_key, (b"", None))
    if response and first != g.asked:
        abort(409, "This Idempotency-Key was used with another body")
    return response


@api.after_app_request
def finish_response(response: Response) -> Response:
    if response.status_code < 400 and g.idempotency_key:
        with state.lock:
            state.replays.setdefault(g.idempotency_key, (g.asked, response))
    response.headers["X-RateLimit-Limit"] = str(state.rate_limit)
    response.headers["X-RateLimit-Remaining"] = str(max(0, state.rate_limit - state.used))
    response.headers["X-RateLimit-Reset"] = str(state.window_ends)
    if response.status_code == 429 and state.dialect == "guide":  # OpenAPI does not promise it
        wait = 1 if request.environ.get("sandbox.fault") else state.window_ends - time.time()
        response.headers["Retry-After"] = str(max(1, math.ceil(wait)))
    return response


@api.app_errorhandler(HTTPException)
def send_failure(error: HTTPException) -> tuple[Response, int]:
    """Send what abort(status, message) was given: to a 422, a message for each wrong field."""
    status, message, details = error.code or 500, cast(Any, error.description), []
    if isinstance(message, dict):
        details = [{"field": name, "message": problem} for name, problem in message.items()]
        message = "Validation failed"
    code = CODES.get(status, "INTERNAL_ERROR")
    if status == 401 and state.dialect == "openapi":
        code = "AUTHENTICATION_ERROR"
    failure = {"code": code, "message": message, "details": details}
    return jsonify({"success": False, "error": failure, "meta": g.meta}), status


# Invoices


@api.get("/invoices")
def list_invoices() -> Response:
    query = read_query()
    limit, start, sort = int(query["limit"]), int(query["offset"]), query["sort"]

    def position(invoice: Record) -> str:
        """The sort key. As a cursor it stays put, whatever invoices come and go."""
        value = f"{major_units(invoice):016.3f}" if sort == "total" else invoice[sort] or ""
        return f"{value} {invoice['id']}"

    found = [invoice for invoice in state.invoices if matches(invoice, query)]
    descending = query["order"] == "desc"
    found.sort(key=position, reverse=descending)
    if "cursor" in query:
        last = bytes.fromhex(query["cursor"]).decode(errors="replace")
        # The invoice at the cursor and those before it were sent already.
        start = sum(at == last or (at > last) == descending for at in map(position, found))
    page, has_more = found[start : start + limit], start + limit < len(found)
    cursor = position(page[-1]).encode().hex() if has_more else None
    pagination = {"total": len(found), "limit": limit, "offset": start}
    return success(page, pagination={**pagination, "hasMore": has_more, "nextCursor": cursor})


def matches(invoice: Record, query: dict[str, str]) -> bool:
    """Whether an invoice passes the filters; the guide's shape has only `status`."""
    text = f"{invoice['invoiceNumber']} {invoice['customerName'] or ''}".casefold()
    created: str = invoice["createdAt"][:10]
    due, amount = invoice["dueDate"], major_units(invoice)
    return bool(
        query.get("status", invoice["status"]) == invoice["status"]
        and query.get("search", "").casefold() in text
        and query.get("created_from", created) <= created <= query.get("created_to", created)
        and query.get("due_from", "") <= (due or "")
        and (due or "9999") <= query.get("due_to", "9999")
        and Decimal(query.get("min_amount", 0)) <= amount
        and amount <= Decimal(query.get("max_amount", "Infinity"))
    )


def major_units(invoice: Record) -> Decimal:
    return Decimal(invoice["total"]).scaleb(-DECIMALS.get(invoice["currency"], 2))


# Customers, vendors, items


@api.post("/customers")
def create_customer() -> Response:
    fields = read_body(CUSTOMER_FIELDS, name=None)
    with state.lock:
        emails = [customer["email"] for customer in state.customers.values()]
        if fields.get("email") and fields["email"] in emails:
            abort(409, f"A customer with the email {fields['email']} exists")
        customer = state.add_customer(CLOCK, fields)
    return success(nest_address(customer), 201)


@api.get("/customers/<customer_id>")
def get_customer(customer_id: str) -> Response:
    if customer_id not in state.customers:
        abort(404, f"There is no customer {customer_id}")
    return success(nest_address(state.customers[customer_id]))


def nest_address(customer: Record) -> Record:
    flat = dict(customer)
    address = {"line1": flat.pop("address"), "line2": None, "city": flat.pop("city")}
    address |= {"state": flat.pop("state"), "postalCode": flat.pop("zip")}
    return {**flat, "address": {**address, "country": flat.pop("country")}}


@api.patch("/vendors/<vendor_id>")
def update_vendor(vendor_id: str) -> Response:
    if vendor_id not in state.vendors:
        abort(404, f"There is no vendor {vendor_id}")
    state.vendors[vendor_id].update(read_body(VENDOR_FIELDS))
    return success(state.vendors[vendor_id])


@api.delete("/items/<item_id>")
def delete_item(item_id: str) -> Response:
    if item_id not in state.items:
        abort(404, f"There is no item {item_id}")
    state.items.remove(item_id)
    return success({"id": item_id, "deleted": True})


# Reports


@api.get("/reports/trial-balance")
def trial_balance() -> Response:
    as_of = read_query()["asOf"]
    net = net_balances("", as_of)
    net["1000"] += state.unbalanced  # one cent
    accounts: list[Record] = [
        {"code": code, "name": ACCOUNTS[code][0], "debit": max(0, cents), "credit": max(0, -cents)}
        for code, cents in net.items()
    ]
    totals = {side: sum(account[side] for account in accounts) for side in ("debit", "credit")}
    return success({"asOf": as_of, "currency": "MYR", "accounts": accounts, "totals": totals})


@api.get("/reports/profit-loss")
def profit_loss() -> Response:
    query = read_query()
    net = net_balances(query["from"], query["to"])
    dates = {"from": query["from"], "to": query["to"], "currency": "MYR"}
    sections = {"revenue": section(net, "4", -1), "expenses": section(net, "56", 1)}
    net_profit = sum(row["amount"] for row in section(net, "456", -1))
    return success({**dates, **sections, "netProfit": net_profit})


@api.get("/reports/balance-sheet")
def balance_sheet() -> Response:
    as_of = read_query()["asOf"]
    net = net_balances("", as_of)
    sections = {"assets": section(net, "1", 1), "liabilities": section(net, "2", -1)}
    net_profit = sum(row["amount"] for row in section(net, "456", -1))
    earnings = {"code": "3900", "name": "Current Earnings", "amount": net_profit}
    sections["equity"] = [*section(net, "3", -1), earnings]
    return success({"asOf": as_of, "currency": "MYR", **sections})


@api.get("/reports/aged-receivables")
def aged_receivables() -> Response:
    as_of = read_query()["asOf"]
    buckets = {"current": 0, "1-30": 0, "31-60": 0, "61-90": 0, "over 90": 0}
    for invoice in state.invoices:
        unpaid = invoice["status"] in ("sent", "overdue") and invoice["dueDate"]
        if unpaid and invoice["currency"] == "MYR":
            overdue = date.fromisoformat(as_of) - date.fromisoformat(invoice["dueDate"])
            bucket = min(4, max(0, math.ceil(overdue.days / 30)))
            buckets[list(buckets)[bucket]] += invoice["total"]
    return success({"asOf": as_of, "currency": "MYR", "buckets": buckets})


def net_balances(first: str, last: str) -> dict[str, int]:
    """Return debit less credit of each account, in cents, as posted from `first` to `last`."""
    posted = [day for day in ("2026-01-01", "2026-02-01", "2026-03-01") if first <= day <= last]
    opened, rows = "2026-01-01" in posted, ACCOUNTS.items()
    return {code: opening * opened + month * len(posted) for code, (_, opening, month) in rows}


def section(net: dict[str, int], classes: str, sign: int) -> list[Record]:
    """Return the accounts whose code starts with one of `classes`."""
    codes = [code for code in net if code[0] in classes]
    return [{"code": each, "name": ACCOUNTS[each][0], "amount": sign * net[each]} for each in codes]


# Reading requests: all that is sent is checked, and a query is put into the guide's words

# The query parameters of each shape, with the values allowed if they can be listed.
PARAMETERS = {
    "guide invoices": """status=draft,sent,paid,overdue sort=createdAt,dueDate,total
        order=asc,desc limit offset cursor""",
    "guide reports": "asOf from to",
    "openapi invoices": """sort=created_at,due_date,total order=asc,desc limit page cursor
        status=draft,finalized,paid,overdue,partially_paid,deposit_paid,deposit_due
        created_from created_to due_from due_to min_amount max_amount search fields""",
    "openapi reports": "period balanceType=preliminary,adjusted,final",
}
# What programs send for the sake of the other shapes: no mistake, so the log does not name it.
FOR_OTHER_SHAPES = {"guide": "page period", "openapi": "offset asOf from to"}
GUIDE_WORDS = {"finalized": "sent", "created_at": "createdAt", "due_date": "dueDate"}
DEFAULTS = {"sort": "createdAt", "order": "desc", "limit": "20", "offset": "0"}
DEFAULTS |= dict.fromkeys(["asOf", "from", "to"], CLOCK[:10])
DATE = "[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", "must be a date, YYYY-MM-DD"
RULES = {
    "name": ("(?s).{1,300}", "is required, up to 300 characters"),
    "email": (r"([^@\s]+@[^@\s]+\.[^@\s]+)?", "must be a valid email address"),
    "preferredCurrency": ("([A-Z]{3})?", "must be three letters"),
    "limit": ("[1-9][0-9]?|100", "must be a whole number from 1 to 100"),
    "offset": ("[0-9]{1,9}", "must be a whole number"),
    "page": ("[1-9][0-9]{0,6}", "must be a whole number from 1"),
    "cursor": ("([0-9a-f]{2})+", "is not a cursor of this list"),
    "period": ("[12][0-9]{3}-(0[1-9]|1[0-2])", "must be a month, YYYY-MM"),
    **dict.fromkeys(["asOf", "from", "to"], DATE),
    **dict.fromkeys(["created_from", "created_to", "due_from", "due_to"], DATE),
    **dict.fromkeys(["min_amount", "max_amount"], ("[0-9]+([.][0-9]+)?", "must be an amount")),
}


def read_query() -> dict[str, str]:
    """Return what the endpoint reads from the query, in the guide's words."""
    query = {name: request.args[name] for name in g.parameters if name in request.args}
    if "period" in g.parameters:
        query.setdefault("period", "")  # it is required
    check(query, g.parameters)
    query = {**DEFAULTS, **query}
    for name in query.keys() & {"status", "sort"}:
        query[name] = GUIDE_WORDS.get(query[name], query[name])
    if "page" in query:
        if "cursor" in query and query["page"] != "1":
            abort(422, {"cursor": "cannot go with a page above 1"})
        query["offset"] = str((int(query["page"]) - 1) * int(query["limit"]))
    if "period" in query:
        last = f"{query['period']}-{last_day(query['period'])}"
        query |= {"from": f"{query['period']}-01", "to": last, "asOf": last}
    return query


def read_body(known: str, **required: None) -> Record:
    """Return the JSON object sent, which has fields that are `known`."""
    try:
        body = json.loads(request.get_data())
    except (ValueError, RecursionError):
        abort(400, "The body is not valid JSON")
    if not isinstance(body, dict):
        abort(400, "The body must be a JSON object")
    body = {**required, **body}
    check(body, dict.fromkeys(known.split(), ""))
    return body


def check(values: Record, known: dict[str, str]) -> None:
    """End in a 422 that names each wrong value; `known` lists the choices of some."""
    problems = {}
    for name, value in values.items():
        pattern, problem = RULES.get(name, ("(?s).*", ""))
        choices, text = known.get(name), value or ""
        if choices is None:
            problems[name] = "is not a known field"
        elif value is not None and not isinstance(value, str):
            problems[name] = "must be a string"
        elif choices and text not in choices.split(","):
            problems[name] = f"must be one of: {choices.replace(',', ', ')}"
        elif not re.fullmatch(pattern, text):
            problems[name] = problem
        elif pattern == DATE[0] and int(text[8:]) > last_day(text):
            problems[name] = f"is no day of {text[:7]}"
    if problems:
        abort(422, problems)


def last_day(day: str) -> int:
    return monthrange(int(day[:4]), int(day[5:7]))[1]


# Sending responses: what a route gives in the guide's shape is put into the sandbox's


def success(data: Any, status: int = 200, pagination: Record | None = None) -> Response:
    """Return the envelope of `data`, which is in the guide's shape."""
    if state.dialect == "openapi":
        data = TRANSLATIONS[g.resource](data)
        pagination = pagination and translate_pagination(pagination)
    if data is None:
        return Response(status=204)
    page = {"pagination": pagination} if pagination else {}
    response = jsonify({"success": True, "data": data, **page, "meta": g.meta})
    response.status_code = status
    return response


def translate_pagination(guide: Record) -> Record:
    if state.shape == "sdk":
        by_page, by_cursor = "total limit offset hasMore", "limit hasMore nextCursor"
        names = by_cursor if "cursor" in request.args else by_page
        return {name: guide[name] for name in names.split()}
    limit, total = guide["limit"], guide["total"]
    position = {"page": guide["offset"] // limit + 1, "limit": limit, "total": total}
    more = {"hasMore": guide["hasMore"], "nextCursor": guide["nextCursor"]}
    return {**position, "totalPages": math.ceil(total / limit), **more}


def translate_invoice(guide: Record) -> Record:
    status = "finalized" if guide["status"] == "sent" else guide["status"]
    invoice = {**guide, "status": status, "totalAmount": float(major_units(guide))}
    names = (request.args.get("fields") or ",".join(invoice)).split(",")
    return {name: invoice[name] for name in invoice if name in names and name != "total"}


def translate_report(guide: Record) -> Record:
    # Every integer in a report is an amount in cents.
    report = json.loads(json.dumps(guide), parse_int=lambda cents: int(cents) / 100)
    last = report.pop("asOf", None) or report.pop("to")
    if "accounts" not in guide:
        sections = {name: report[name] for name in report if name not in ("from", "currency")}
        return {"period": last[:7], **sections}
    names = {"code": "accountCode", "name": "accountName"}
    names |= {"debit": "debitBalance", "credit": "creditBalance"}
    debit, credit = guide["totals"]["debit"], guide["totals"]["credit"]
    return {
        "period": last[:7],
        "asOfDate": last,
        "balanceType": request.args.get("balanceType", "final"),
        "lineItems": [{names[key]: row[key] for key in row} for row in report["accounts"]],
        "totalDebit": debit / 100,
        "totalCredit": credit / 100,
        "isBalanced": debit == credit,
        "difference": (debit - credit) / 100,
        "accountCount": len(guide["accounts"]),
    }


TRANSLATIONS: dict[str, Callable[[Any], Any]] = {
    "invoices": lambda page: [translate_invoice(invoice) for invoice in page],
    "customers": lambda customer: state.customers[customer["id"]],  # kept with a flat address
    "vendors": lambda vendor: vendor,
    "items": lambda _: None,
    "reports": translate_report,
}
