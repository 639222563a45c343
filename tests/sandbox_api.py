"""The API of the sandbox: a Flask application that speaks one of SHAPES.

Its routes and records use OpenAPI's words. For the guide's shape, sandbox_guide
translates a query when it is read, and a record before it is sent.
"""

import hashlib
import itertools
import json
import math
import re
import threading
import time
from calendar import monthrange
from collections.abc import Callable
from datetime import date, datetime, timezone
from typing import Any, cast
from urllib.parse import urlencode

import sandbox_data
import sandbox_guide
from flask import Blueprint, Flask, Response, abort, current_app, g, jsonify, request
from sandbox_data import CLOCK, CUSTOMER_FIELDS, Record, make_customer, make_invoice
from werkzeug.exceptions import HTTPException

API_KEY = "cak_sandbox"
READ_ONLY_KEY = "cak_sandbox_read_only"
SHAPES = ["guide", "openapi", "sdk"]
CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "BAD_REQUEST",
    409: "CONFLICT",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMITED",
}

PREFIX = "/api/v1"
api = Blueprint("api", __name__, url_prefix=PREFIX)


class SandboxAPI(Flask):
    """The application, and all that it remembers until it stops.

    `window`: seconds of a rate limit. `unbalanced` puts the trial balance out by one
    cent. `changing` pays an invoice after each page of invoices.
    """

    def __init__(
        self,
        invoices: int = 300,
        rate_limit: int = 200,
        window: int = 60,
        shape: str = "guide",
        unbalanced: bool = False,
        changing: bool = False,
    ) -> None:
        super().__init__("sandbox", static_folder=None)
        self.rate_limit = rate_limit
        self.window = window
        self.shape = shape
        self.unbalanced = unbalanced
        self.changing = changing
        self.window_ends = 0
        self.requests_left = rate_limit
        self.request_ids = itertools.count(1)
        self.lock = threading.Lock()
        self.write_lock = threading.Lock()  # so that an idempotency key counts once
        self.replays: dict[str | None, tuple[bytes, Response]] = {}
        self.invoices = [make_invoice(number) for number in range(1, invoices + 1)]
        self.customers: dict[str, Record] = {}
        for customer in sandbox_data.CUSTOMERS:
            self.customers[customer["id"]] = dict(customer)
        vendor = sandbox_data.make_vendor()
        self.vendors = {vendor["id"]: vendor}
        self.items = {sandbox_data.ITEM_ID}
        self.json.sort_keys = False  # type: ignore[attr-defined]
        self.register_blueprint(api)


create_app = SandboxAPI
state = cast(SandboxAPI, current_app)  # the application of the request at hand


# Invoices


@api.get("/invoices")
def list_invoices() -> Response:
    query = read_query()
    found = [invoice for invoice in state.invoices if invoice_matches(invoice, query)]
    page, paging = paginate(found, query)
    response = send_list(page, paging, sandbox_guide.invoice)
    if state.changing:
        pay_one(page)
    return response


def invoice_matches(invoice: Record, query: dict[str, str]) -> bool:
    """Return whether an invoice passes all filters that were sent."""
    amount = invoice["totalAmount"]
    text = f"{invoice['invoiceNumber']} {invoice['customerName'] or ''}"
    if "status" in query and invoice["status"] not in query["status"].split():
        return False
    if "customerId" in query and invoice["customerId"] != query["customerId"]:
        return False
    if "search" in query and query["search"].casefold() not in text.casefold():
        return False
    if "min_amount" in query and amount < float(query["min_amount"]):
        return False
    if "max_amount" in query and amount > float(query["max_amount"]):
        return False
    if not in_time(invoice["createdAt"], query, "created"):
        return False
    return in_time(invoice["dueDate"], query, "due")


def in_time(value: str | None, query: dict[str, str], name: str) -> bool:
    first = query.get(f"{name}_from")
    last = query.get(f"{name}_to")
    if value is None:
        return first is None and last is None
    if first is not None and read_time(value) < read_time(first):
        return False
    if last is not None and len(last) == len("2026-03-31"):
        last += "T23:59:59Z"  # the whole day
    return last is None or read_time(value) <= read_time(last)


def read_time(text: str) -> datetime:
    """Read an ISO 8601 date or date-time, which is in UTC unless it says otherwise."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment


def pay_one(page: list[Record]) -> None:
    for invoice in page:
        if invoice["status"] != "paid":
            sandbox_data.pay(invoice)
            return


# Customers, vendors, items


@api.get("/customers")
def list_customers() -> Response:
    query = read_query()
    customers = list(state.customers.values())
    found = [customer for customer in customers if customer_matches(customer, query)]
    page, paging = paginate(found, query)
    return send_list(page, paging, sandbox_guide.customer)


def customer_matches(customer: Record, query: dict[str, str]) -> bool:
    text = f"{customer['name']} {customer['email'] or ''}"
    status = query.get("status", "all")
    if status == "active" and not customer["isActive"]:
        return False
    if status == "inactive" and customer["isActive"]:
        return False
    return query.get("search", "").casefold() in text.casefold()


@api.post("/customers")
def create_customer() -> Response:
    fields = read_body(CUSTOMER_FIELDS, {"name": ""})
    emails = [customer["email"] for customer in state.customers.values()]
    email = fields.get("email")
    if email and email in emails:
        abort(409, f"A customer with the email {email} exists")
    customer_id = f"cus_{len(state.customers) + 1:04d}"
    customer = make_customer(customer_id, CLOCK, fields)
    state.customers[customer_id] = customer
    return send(in_shape(customer, sandbox_guide.customer), 201)


@api.get("/customers/<customer_id>")
def get_customer(customer_id: str) -> Response:
    if customer_id not in state.customers:
        abort(404, f"There is no customer {customer_id}")
    return send(in_shape(state.customers[customer_id], sandbox_guide.customer))


@api.patch("/vendors/<vendor_id>")
def update_vendor(vendor_id: str) -> Response:
    if vendor_id not in state.vendors:
        abort(404, f"There is no vendor {vendor_id}")
    vendor = state.vendors[vendor_id]
    vendor.update(read_body(f"{CUSTOMER_FIELDS} category", {}))
    vendor["updatedAt"] = CLOCK
    return send(in_shape(vendor, sandbox_guide.vendor))


@api.delete("/items/<item_id>")
def delete_item(item_id: str) -> Response:
    if item_id not in state.items:
        abort(404, f"There is no item {item_id}")
    state.items.remove(item_id)
    if state.shape == "guide":
        return send({"id": item_id, "deleted": True})
    return Response(status=204)


# Reports


@api.get("/reports/trial-balance")
def trial_balance() -> Response:
    query = read_query()
    report = sandbox_data.trial_balance(
        query["asOf"], query["balanceType"], state.unbalanced
    )
    return send(in_shape(report, sandbox_guide.trial_balance))


@api.get("/reports/profit-loss")
def profit_loss() -> Response:
    query = read_query()
    return send(sandbox_data.profit_loss(query["from"], query["to"]))


@api.get("/reports/balance-sheet")
def balance_sheet() -> Response:
    return send(sandbox_data.balance_sheet(read_query()["asOf"]))


@api.get("/reports/aged-receivables")
def aged_receivables() -> Response:
    """Send what is owed in ringgit; this form is ours, OpenAPI has no such report."""
    if state.shape != "guide":
        abort(404, "There is no such endpoint")
    as_of = date.fromisoformat(read_query()["asOf"])
    names = ["current", "1-30", "31-60", "61-90", "over 90"]
    buckets = dict.fromkeys(names, 0)
    for invoice in state.invoices:
        is_unpaid = invoice["status"] not in ("draft", "paid")
        if is_unpaid and invoice["currency"] == "MYR":
            late = as_of - date.fromisoformat(invoice["dueDate"])
            months_late = math.ceil(late.days / 30)
            name = names[min(max(0, months_late), 4)]
            unpaid = invoice["totalAmount"] - invoice["paidAmount"]
            buckets[name] += sandbox_data.to_minor(unpaid, "MYR")
    return send({"asOf": str(as_of), "currency": "MYR", "buckets": buckets})


# Pages

SORT_FIELDS = {
    "created_at": "createdAt",
    "due_date": "dueDate",
    "total": "totalAmount",
    "name": "name",
    "email": "email",
}
PAGINATION = {
    "guide": ["total", "limit", "offset", "hasMore", "nextCursor"],
    "openapi": ["page", "limit", "total", "totalPages", "hasMore", "nextCursor"],
    "sdk": ["total", "limit", "offset", "hasMore"],
    "sdk by cursor": ["limit", "hasMore", "nextCursor"],
}


def paginate(found: list[Record], query: dict[str, str]) -> tuple[list[Record], Record]:
    """Return one page of the records, sorted, and all there is to say about paging."""
    by_position = {position(record, query["sort"]): record for record in found}
    positions = sorted(by_position, reverse=query["order"] == "desc")
    limit = int(query["limit"])
    start = int(query["offset"])
    if "cursor" in query:
        cursor = bytes.fromhex(query["cursor"]).decode(errors="replace")
        start = count_sent(positions, cursor, query["order"])
    end = start + limit
    paging: Record = {
        "page": start // limit + 1,
        "limit": limit,
        "total": len(found),
        "totalPages": math.ceil(len(found) / limit),
        "offset": start,
        "hasMore": end < len(found),
        "nextCursor": None,
    }
    if paging["hasMore"]:
        paging["nextCursor"] = positions[end - 1].encode().hex()
    return [by_position[place] for place in positions[start:end]], paging


def position(record: Record, sort: str) -> str:
    """Return where a record stands: as a cursor it stays, whatever comes and goes."""
    value = record[SORT_FIELDS[sort]]
    if sort == "total":
        value = f"{value:016.3f}"
    return f"{value or ''} {record['id']}"


def count_sent(positions: list[str], cursor: str, order: str) -> int:
    """Return how many of the sorted positions are at the cursor or before it."""
    count = 0
    for place in positions:
        if order == "desc" and place < cursor:
            break
        if order == "asc" and place > cursor:
            break
        count += 1
    return count


def make_links(paging: Record) -> Record:
    page = paging["page"]
    last_page = max(1, paging["totalPages"])
    links = {
        "self": request.url,
        "first": page_url("page", 1),
        "next": None,
        "prev": None,
        "last": page_url("page", last_page),
    }
    if page > 1:
        links["prev"] = page_url("page", min(page - 1, last_page))
    if paging["hasMore"]:
        links["next"] = page_url("page", page + 1)
        if "cursor" in request.args:
            links["next"] = page_url("cursor", paging["nextCursor"])
    return links


def page_url(name: str, value: Any) -> str:
    query = request.args.to_dict()
    query.pop("cursor", None)
    query.pop("page", None)
    query[name] = value
    return f"{request.base_url}?{urlencode(query)}"


# Sending responses


def in_shape(record: Record, to_guide: Callable[[Record], Record]) -> Record:
    if state.shape == "guide":
        return to_guide(record)
    return record


def send_list(
    page: list[Record], paging: Record, to_guide: Callable[[Record], Record]
) -> Response:
    data = [choose_fields(in_shape(record, to_guide)) for record in page]
    names = PAGINATION[state.shape]
    if state.shape == "sdk" and "cursor" in request.args:
        names = PAGINATION["sdk by cursor"]
    more: Record = {"pagination": {name: paging[name] for name in names}}
    if state.shape != "guide":
        more["links"] = make_links(paging)
    return send(data, **more)


def choose_fields(record: Record) -> Record:
    names = request.args.get("fields", "").split(",")
    if names == [""]:
        return record
    return {name: record[name] for name in record if name in names}


def send(data: Any, status: int = 200, **more: Any) -> Response:
    """Return the envelope of a success; `more` is what a list has besides its data."""
    content = {"success": True, "data": data, **more}
    response = jsonify({**content, "meta": g.meta})
    response.status_code = status
    if request.method == "GET" and state.shape != "guide":
        # Not of `meta`, which is another one in each response.
        response.set_etag(hashlib.sha256(json.dumps(content).encode()).hexdigest())
        response.make_conditional(request)
    return response


@api.app_errorhandler(HTTPException)
def send_failure(error: HTTPException) -> tuple[Response, int]:
    """Send what abort(status, message) was given: for a 422, a dict of fields."""
    status = error.code or 500
    message = cast(Any, error.description)
    details = []
    if isinstance(message, dict):
        for name, problem in message.items():
            details.append({"field": name, "message": problem})
        message = "Validation failed"
    if status in (404, 405) and request.url_rule is None:
        message = explain_unknown_endpoint()
    code = CODES.get(status, "INTERNAL_ERROR")
    if status == 401 and state.shape != "guide":
        code = "AUTHENTICATION_ERROR"
    failure = {"code": code, "message": message, "details": details}
    return jsonify({"success": False, "error": failure, "meta": g.meta}), status


def explain_unknown_endpoint() -> str:
    message = f"The sandbox has no {request.method} {request.path}"
    if not request.path.startswith(f"{PREFIX}/"):
        message += f"; the base URL ends in {PREFIX}"
    endpoints = []
    for rule in state.url_map.iter_rules():
        for method in ("GET", "POST", "PATCH", "DELETE"):
            if method in (rule.methods or ()):
                endpoints.append(f"{method} {rule.rule.removeprefix(PREFIX)}")
    return f"{message}. It has: {', '.join(endpoints)}"


# Each request, before and after its route


@api.before_app_request
def begin_request() -> Response | None:
    """Note what is ignored, fail on purpose, check the key, replay an earlier write."""
    request_id = f"req_{next(state.request_ids):06d}"
    g.meta = {"requestId": request_id, "apiVersion": "v1", "timestamp": CLOCK}
    g.resource = request.path.removeprefix(f"{PREFIX}/").partition("/")[0]
    g.idempotency_key = request.headers.get("Idempotency-Key")
    g.is_writing = False
    note_what_is_ignored()
    count_request()
    fault = request.environ.get("sandbox.fault")
    if fault in ("500", "503"):
        abort(int(fault), "The sandbox was told to fail")
    if fault == "429" or state.requests_left < 0:
        abort(429, "Too many requests")
    check_key()
    if request.method == "GET":
        return None
    state.write_lock.acquire()
    g.is_writing = True
    return find_replay()


def note_what_is_ignored() -> None:
    """Tell the server, which logs it, so that a misspelt filter is noticed."""
    parameters = PARAMETERS
    g.choices = CHOICES
    sent_for_other_shapes = "offset asOf from to"
    if state.shape == "guide":
        parameters = sandbox_guide.PARAMETERS
        g.choices = {**CHOICES, **sandbox_guide.CHOICES}
        sent_for_other_shapes = "page period"
    g.parameters = []
    expected = []
    if g.resource in parameters:
        g.parameters = parameters[g.resource].split()
        expected = g.parameters + sent_for_other_shapes.split()
    ignored = request.environ.get("sandbox.ignored", [])
    for name in request.args:
        if name not in expected:
            ignored.append(name)
    if request.method == "GET" and request.get_data():
        ignored.append("the body of a GET: use params=")


def count_request() -> None:
    with state.lock:
        if time.time() >= state.window_ends:
            state.window_ends = int(time.time()) + state.window
            state.requests_left = state.rate_limit
        state.requests_left -= 1


def check_key() -> None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or key not in (API_KEY, READ_ONLY_KEY):
        abort(401, "The API key is missing, wrong or revoked")
    if key == READ_ONLY_KEY and request.method != "GET":
        abort(403, f"The API key lacks the scope {g.resource}:write")


def find_replay() -> Response | None:
    """Return the first response to an idempotency key, whatever is sent with it now.

    A comment in the SDK speaks of a 409 for other data.
    """
    g.sent = f"{request.method} {request.path} ".encode() + request.get_data()
    first_sent, response = state.replays.get(g.idempotency_key, (b"", None))
    if response is not None and first_sent != g.sent and state.shape == "sdk":
        abort(409, "This Idempotency-Key was used with other data")
    return response


@api.after_app_request
def end_request(response: Response) -> Response:
    if g.is_writing and g.idempotency_key and response.status_code < 400:
        state.replays.setdefault(g.idempotency_key, (g.sent, response))
    response.headers["X-RateLimit-Limit"] = str(state.rate_limit)
    response.headers["X-RateLimit-Remaining"] = str(max(0, state.requests_left))
    window_ends = state.window_ends
    if request.environ.get("sandbox.fault") == "429":
        window_ends = int(time.time()) + 2  # long enough for practice
    response.headers["X-RateLimit-Reset"] = str(window_ends)
    if response.status_code == 429 and state.shape == "guide":
        wait = math.ceil(window_ends - time.time())
        response.headers["Retry-After"] = str(max(1, wait))
    return response


@api.teardown_app_request
def release_write_lock(_: BaseException | None) -> None:
    if g.is_writing:
        state.write_lock.release()


# Reading requests: all that is sent is checked

PARAMETERS = {
    "invoices": "status sort order limit page cursor search min_amount max_amount"
    " created_from created_to due_from due_to fields",
    "customers": "status sort order limit page cursor search fields",
    "reports": "period balanceType",
}
CHOICES = {
    "invoices status": f"draft paid overdue {sandbox_guide.SENT}",
    "invoices sort": "created_at due_date total",
    "invoices order": "asc desc",
    "customers status": "active inactive all",
    "customers sort": "name email created_at",
    "customers order": "asc desc",
    "reports balanceType": "preliminary adjusted final",
}
DEFAULTS = {
    "sort": "created_at",
    "order": "desc",
    "limit": "20",
    "offset": "0",
    "balanceType": "preliminary",
    "asOf": CLOCK[:10],
    "to": CLOCK[:10],
}
# How other values must look, and what is wrong otherwise.
RULES = {
    "name": ("(?s).{1,300}", "is required, up to 300 characters"),
    "email": (r"([^@\s]+@[^@\s]+\.[^@\s]+)?", "must be a valid email address"),
    "preferredCurrency": ("([A-Z]{3})?", "must be three letters"),
    "limit": ("[1-9][0-9]?|100", "must be a whole number from 1 to 100"),
    "offset": ("[0-9]{1,9}", "must be a whole number"),
    "page": ("[1-9][0-9]{0,6}", "must be a whole number from 1"),
    "cursor": ("([0-9a-f]{2})+", "is not a cursor of this list"),
    "period": ("[12][0-9]{3}-(0[1-9]|1[0-2])", "must be a month, YYYY-MM"),
    "min_amount": ("[0-9]+([.][0-9]+)?", "must be an amount"),
    "max_amount": ("[0-9]+([.][0-9]+)?", "must be an amount"),
}
DATE = "[12][0-9]{3}-[0-9]{2}-[0-9]{2}"
DATES = ["asOf", "from", "to"]
TIMES = ["created_from", "created_to", "due_from", "due_to"]
TIMES += ["createdAfter", "createdBefore"]


def read_query() -> dict[str, str]:
    """Return what the endpoint knows of the query, in OpenAPI's words, with defaults.

    `page` becomes `offset`, and `period` becomes `from`, `to` and `asOf`.
    """
    query = {name: request.args[name] for name in g.parameters if name in request.args}
    if "period" in g.parameters:
        query.setdefault("period", "")  # it is required
    check(query, g.parameters)
    if state.shape == "guide":
        query = sandbox_guide.read_query(query)
    elif query.get("fields"):
        check_field_names(query["fields"])
    query = {**DEFAULTS, **query}
    query.setdefault("from", f"{query['to'][:7]}-01")
    if "page" in query:
        if "cursor" in query and query["page"] != "1":
            abort(422, {"cursor": "cannot go with a page above 1"})
        query["offset"] = str((int(query["page"]) - 1) * int(query["limit"]))
    if "period" in query:
        year, month = query["period"].split("-")
        _, days = monthrange(int(year), int(month))
        query["from"] = f"{query['period']}-01"
        query["to"] = f"{query['period']}-{days}"
        query["asOf"] = query["to"]
    return query


def check_field_names(fields: str) -> None:
    known = make_invoice(1)
    if g.resource == "customers":
        known = sandbox_data.CUSTOMERS[0]
    for name in fields.split(","):
        if name not in known:
            abort(422, {"fields": f"there is no field {name}"})


def read_body(known: str, required: Record) -> Record:
    """Return the JSON object that was sent, if all its fields are known and valid."""
    try:
        body = json.loads(request.get_data())
    except (ValueError, RecursionError):
        abort(400, "The body is not valid JSON")
    if not isinstance(body, dict):
        abort(400, "The body must be a JSON object")
    body = {**required, **body}
    check(body, known.split())
    return body


def check(values: Record, known: list[str]) -> None:
    """Abort with a 422 that names each wrong value."""
    problems = {}
    for name, value in values.items():
        problem = find_problem(name, value, known)
        if problem:
            problems[name] = problem
    if problems:
        abort(422, problems)


def find_problem(name: str, value: Any, known: list[str]) -> str | None:
    if value is None:
        value = ""
    if name not in known:
        return "is not a known field"
    if not isinstance(value, str):
        return "must be a string"
    choices = g.choices.get(f"{g.resource} {name}", "").split()
    if choices and value not in choices:
        return f"must be one of: {', '.join(choices)}"
    if name in DATES and not re.fullmatch(DATE, value):
        return "must be a date, YYYY-MM-DD"
    if name in DATES + TIMES and not is_time(value):
        return "must be a date or date-time of ISO 8601"
    if name in RULES:
        pattern, problem = RULES[name]
        if not re.fullmatch(pattern, value):
            return problem
    return None


def is_time(text: str) -> bool:
    try:
        read_time(text)
    except ValueError:
        return False
    # Since Python 3.11, datetime reads 20260331, too.
    return re.match(DATE, text) is not None
