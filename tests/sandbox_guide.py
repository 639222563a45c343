"""The shape of Cynco's guide: its query parameters and its records."""

from sandbox_data import Record, to_minor

PARAMETERS = {
    "invoices": "status sort order limit offset cursor customerId createdAfter"
    " createdBefore fields",
    "customers": "status sort order limit offset cursor search fields",
    "reports": "asOf from to",
}
CHOICES = {
    "invoices status": "draft sent paid overdue",
    "invoices sort": "createdAt dueDate total",
    "customers sort": "name email createdAt",
}
SORTS = {"createdAt": "created_at", "dueDate": "due_date"}
FILTERS = {"createdAfter": "created_from", "createdBefore": "created_to"}
# The guide knows nothing of part payments: such an invoice has been sent.
SENT = "finalized partially_paid deposit_paid deposit_due"


def read_query(query: dict[str, str]) -> dict[str, str]:
    """Put a query into OpenAPI's words."""
    translated = {}
    for name, value in query.items():
        if name == "sort":
            value = SORTS.get(value, value)
        if name == "status" and value == "sent":
            value = SENT
        translated[FILTERS.get(name, name)] = value
    return translated


def invoice(record: Record) -> Record:
    currency = record["currency"]
    status = record["status"]
    if status in SENT.split():
        status = "sent"
    total = to_minor(record["totalAmount"], currency)
    tax = to_minor(record["taxes"], currency)
    return {
        "id": record["id"],
        "invoiceNumber": record["invoiceNumber"],
        "status": status,
        "customerId": record["customerId"],
        "customerName": record["customerName"],
        "currency": currency,
        "subtotal": total - tax,
        "tax": tax,
        "total": total,
        "issuedDate": record["createdAt"][:10],
        "dueDate": record["dueDate"],
        "createdAt": record["createdAt"],
    }


def customer(record: Record) -> Record:
    return {
        "id": record["id"],
        "name": record["name"],
        "email": record["email"],
        "phone": record["phone"],
        "address": {
            "line1": record["address"],
            "line2": None,
            "city": record["city"],
            "state": record["state"],
            "postalCode": record["zip"],
            "country": record["country"],
        },
        "taxId": record["taxId"],
        "registrationNumber": record["registrationNumber"],
        "website": record["website"],
        "paymentTerms": record["paymentTerms"],
        "preferredCurrency": record["preferredCurrency"],
        "notes": record["notes"],
        "createdAt": record["createdAt"],
    }


def vendor(record: Record) -> Record:
    translated = customer(record)
    translated["category"] = record["category"]
    return translated


def trial_balance(record: Record) -> Record:
    accounts = []
    for item in record["lineItems"]:
        account = {
            "code": item["accountCode"],
            "name": item["accountName"],
            "debit": to_minor(item["debitBalance"], "MYR"),
            "credit": to_minor(item["creditBalance"], "MYR"),
        }
        accounts.append(account)
    totals = {
        "debit": to_minor(record["totalDebit"], "MYR"),
        "credit": to_minor(record["totalCredit"], "MYR"),
    }
    return {
        "asOf": record["asOfDate"],
        "currency": "MYR",
        "accounts": accounts,
        "totals": totals,
    }
