"""The records of the sandbox, in the words of OpenAPI. All invented, always the same.

Invoices come first, then customers and the vendor, then the ledger and its reports.
Amounts are computed in minor units, which are exact, and recorded in major units.
"""

from datetime import date, timedelta
from typing import Any

Record = dict[str, Any]
Amounts = dict[str, int]  # by account code, in sen

CLOCK = "2026-03-31T09:00:00Z"  # the books stop here, so that responses never change
TODAY = date(2026, 3, 31)
ITEM_ID = "itm_01m3q6s9u5"
DECIMALS = {"JPY": 0, "KWD": 3}  # any other currency has two


def to_major(minor: int, currency: str) -> float:
    """Return 1620.0 for 162000 sen."""
    factor: int = 10 ** DECIMALS.get(currency, 2)
    return minor / factor


def to_minor(major: float, currency: str) -> int:
    """Return 162000 for 1620.0 ringgit."""
    factor: int = 10 ** DECIMALS.get(currency, 2)
    return round(major * factor)


# Customers and the vendor

CUSTOMER_TABLE = """
Teh Tarik Trading Sdn Bhd,12 Jalan Alor,Kuala Lumpur,50200,MY,MYR,+60 3-5550 0101
Batik Nusantara Enterprise,8 Jalan Gaya,Kota Kinabalu,88000,MY,MYR,+60 88-555 0102
Sakura Precision KK,2-4-1 Nishiki,Nagoya,460-0003,JP,JPY,+81 52-555-0103
Kuching Timber Supplies Sdn Bhd,7 Jalan Padungan,Kuching,93100,MY,MYR,
Straits Robotics Pte Ltd,1 Fusionopolis Way,Singapore,138632,SG,SGD,+65 5550 0105
Penang Marine Works Sdn Bhd,3 Pengkalan Weld,George Town,10300,MY,MYR,+60 4-555 0106
Persatuan Peniaga Pasar Malam,,Seremban,70000,MY,MYR,
Gulf Dates Trading WLL,Block 6 Fahad Al-Salem St,Kuwait City,13001,KW,KWD,
Perniagaan Yong Fatt (\u6c38\u767c),21 Jalan Besar,Ipoh,30000,MY,MYR,+60 5-555 0109
Orkid Interiors Sdn Bhd,5 Persiaran Gurney,George Town,10250,MY,MYR,+60 4-555 0110
"""

# What a request may set.
CUSTOMER_FIELDS = (
    "name email phone address city state zip country taxId registrationNumber website"
    " paymentTerms preferredCurrency notes"
)


def make_customer(customer_id: str, created_at: str, fields: Record) -> Record:
    customer: Record = {"id": customer_id}
    customer.update(dict.fromkeys(CUSTOMER_FIELDS.split()))
    customer.update(
        dict.fromkeys(["preferredPaymentMethod", "creditLimit", "category"])
    )
    customer["isActive"] = True
    customer["createdAt"] = created_at
    customer["updatedAt"] = created_at
    customer.update(fields)
    return customer


def read_customer_table() -> list[Record]:
    customers = []
    for number, row in enumerate(CUSTOMER_TABLE.strip().splitlines(), 1):
        name, address, city, postcode, country, currency, phone = row.split(",")
        fields: Record = {
            "name": name,
            "email": f"accounts{number}@example.com",
            "phone": phone or None,
            "address": address or None,
            "city": city,
            "zip": postcode,
            "country": country,
            "paymentTerms": "Net 30",
            "preferredCurrency": currency,
            "preferredPaymentMethod": "bank_transfer",
        }
        if currency == "MYR":
            fields["creditLimit"] = 50_000.0
        if number == 7:  # they come by, and pay at the counter
            fields["email"] = None
            fields["isActive"] = False
        customer_id = f"cus_{number:04d}"
        customers.append(make_customer(customer_id, "2025-01-02T08:00:00Z", fields))
    return customers


CUSTOMERS = read_customer_table()


def make_vendor() -> Record:
    fields = {
        "name": "Pembekal Utama Sdn Bhd",
        "email": "sales@example.com",
        "phone": "+60 3-5550 0199",
        "address": "40 Jalan Klang Lama",
        "city": "Kuala Lumpur",
        "zip": "58000",
        "country": "MY",
        "paymentTerms": "Net 30",
        "preferredCurrency": "MYR",
        "category": "Office supplies",
        "totalAmount": 48_250.0,
        "totalPayments": 41_000.0,
    }
    return make_customer("ven_01k2p5r8t4", "2025-01-02T08:00:00Z", fields)


# Invoices

# What we sell: a description, the price in sen, and how many are sold at the most.
PRICES = [
    ("Office rental, {month}", 450_000, 1),
    ("Bookkeeping, {month}", 150_000, 1),
    ("Accounting software, licence", 8_950, 12),
    ("Payroll processing, employee", 3_500, 40),
    ("Training, half day", 120_000, 3),
    ("Meeting room, hour", 6_500, 8),
    ("Courier delivery", 4_500, 6),
]
# Minor units for one sen: how our prices are quoted abroad.
EXCHANGE_RATES = {"MYR": 1.0, "SGD": 0.3, "JPY": 0.34, "KWD": 0.7012}
TAX_RATES = {"MYR": 8}  # percent; no service tax on exports
DISCOUNT_RATES = {"KWD": 5}  # percent
NOT_YET_DUE = [
    "finalized",
    "partially_paid",
    "finalized",
    "deposit_due",
    "paid",
    "finalized",
    "deposit_paid",
]


def make_invoice(number: int) -> Record:
    """Return invoice `number`, from 1. One is created each day, 300 is the newest."""
    created = date(2025, 6, 1) + timedelta(days=(number - 1) % 300)
    due = created + timedelta(days=30)
    customer = CUSTOMERS[number * 7 % len(CUSTOMERS)]
    status = choose_status(number, due)
    if status == "overdue" and customer["preferredCurrency"] == "JPY":
        # An example in yen, which has no decimals, would hide what minor units are.
        customer = CUSTOMERS[0]
    currency = customer["preferredCurrency"]

    line_items = make_line_items(number, created, currency)
    subtotal = 0
    for item in line_items:
        subtotal += to_minor(item["amount"], currency)
    taxes = round(subtotal * TAX_RATES.get(currency, 0) / 100)
    total = subtotal + taxes
    deposit = 0
    if status in ("deposit_due", "deposit_paid"):
        deposit = total * 3 // 10
    paid = choose_paid_amount(number, status, total, deposit)

    invoice = {
        "id": f"inv_{number:08d}",
        "invoiceNumber": f"INV-{number:05d}",
        "status": status,
        "customerId": customer["id"],
        "customerName": customer["name"],
        "customerEmail": customer["email"],
        "currency": currency,
        "lineItems": line_items,
        "taxes": to_major(taxes, currency),
        "totalAmount": to_major(total, currency),
        "paidAmount": to_major(paid, currency),
        "hasDeposit": deposit > 0,
        "depositAmount": to_major(deposit, currency),
        "dueDate": str(due),
        "paymentTerms": "Net 30",
        "memo": None,
        "source": "normal",
        "createdAt": f"{created}T08:00:00Z",
        "updatedAt": f"{created}T08:00:00Z",
    }
    if status == "overdue":
        invoice["memo"] = "Reminder sent"
        invoice["updatedAt"] = f"{due + timedelta(days=1)}T01:00:00Z"
    if paid > 0:
        paid_on = min(created + timedelta(days=21), TODAY)
        invoice["updatedAt"] = f"{paid_on}T04:30:00Z"
    if status == "draft":
        invoice["dueDate"] = None
    if status == "paid" and number % 29 == 0:
        invoice["customerId"] = None
        invoice["customerName"] = None
        invoice["customerEmail"] = None
        invoice["dueDate"] = None
        invoice["paymentTerms"] = None
        invoice["memo"] = "Counter sale"
        invoice["updatedAt"] = invoice["createdAt"]
    return invoice


def choose_status(number: int, due: date) -> str:
    if number % 13 == 1:
        return "draft"
    if due >= TODAY:
        return NOT_YET_DUE[number % len(NOT_YET_DUE)]
    if number % 11 == 0:
        return "overdue"
    return "paid"


def choose_paid_amount(number: int, status: str, total: int, deposit: int) -> int:
    if status == "paid":
        return total
    if status == "deposit_paid":
        return deposit
    if status == "partially_paid":
        return total // 2
    if status == "overdue" and number % 5 == 0:
        return total // 4
    return 0


def make_line_items(number: int, created: date, currency: str) -> list[Record]:
    """Return one to three of PRICES."""
    items = []
    for line in range(1 + number % 3):
        description, sen, most = PRICES[(number * 2 + line) % len(PRICES)]
        price = round(sen * EXCHANGE_RATES[currency])
        quantity = 1 + number % most
        discount_rate = DISCOUNT_RATES.get(currency)
        amount = price * quantity
        if discount_rate:
            amount -= round(amount * discount_rate / 100)
        item = {
            "description": description.format(month=f"{created:%B}"),
            "quantity": quantity,
            "unitPrice": to_major(price, currency),
            "amount": to_major(amount, currency),
            "taxRate": TAX_RATES.get(currency),
            "discountRate": discount_rate,
        }
        items.append(item)
    return items


def pay(invoice: Record) -> None:
    invoice["status"] = "paid"
    invoice["paidAmount"] = invoice["totalAmount"]
    invoice["updatedAt"] = CLOCK


# The ledger, in sen

# Each account's code, name, type, and section of a statement.
ACCOUNTS = [
    ("1000", "Cash at Bank", "asset", "Current assets"),
    ("1100", "Accounts Receivable", "asset", "Current assets"),
    ("1500", "Office Equipment", "asset", "Fixed assets"),
    ("2000", "Accounts Payable", "liability", "Liabilities"),
    ("2200", "SST Payable", "liability", "Liabilities"),
    ("3000", "Share Capital", "equity", "Equity"),
    ("4000", "Sales", "revenue", "Revenue"),
    ("5000", "Cost of Sales", "expense", "Cost of sales"),
    ("6000", "Rent", "expense", "Operating expenses"),
    ("6100", "Salaries", "expense", "Operating expenses"),
]
# Postings: the day, the account that is debited, the one that is credited, the amount.
# The books were moved to Cynco at the start of 2026. What customers owed then leaves
# what the 300 invoices say that they owe now, in ringgit.
OPENING = [
    ("2026-01-01", "1000", "3000", 8_883_033),
    ("2026-01-01", "1100", "3000", 6_116_967),
    ("2026-01-01", "1500", "2000", 1_850_000),
]
EACH_MONTH = [
    ("01", "6000", "1000", 450_000),  # rent
    ("05", "1100", "4000", 2_915_000),  # sales
    ("05", "1100", "2200", 233_200),  # service tax on them
    ("12", "5000", "2000", 1_720_035),  # purchases
    ("19", "1100", "4000", 1_947_050),
    ("19", "1100", "2200", 155_764),
    ("22", "1000", "1100", 4_072_251),  # received from customers
    ("25", "2000", "1000", 1_500_000),  # paid to suppliers
    ("28", "6100", "1000", 1_230_000),  # salaries
]


def make_postings() -> list[tuple[str, str, str, int]]:
    postings = list(OPENING)
    for month in ("2026-01", "2026-02", "2026-03"):
        for day, debit, credit, amount in EACH_MONTH:
            postings.append((f"{month}-{day}", debit, credit, amount))
    return postings


POSTINGS = make_postings()


def add_up(first: str, last: str) -> tuple[Amounts, Amounts, Amounts]:
    """Return each account's debits, credits, and number of postings, first to last."""
    debits = {account[0]: 0 for account in ACCOUNTS}
    credits = dict(debits)
    counts = dict(debits)
    for day, debit, credit, amount in POSTINGS:
        if first <= day <= last:
            debits[debit] += amount
            credits[credit] += amount
            counts[debit] += 1
            counts[credit] += 1
    return debits, credits, counts


# Reports


def trial_balance(last: str, balance_type: str, unbalanced: bool) -> Record:
    """Return the trial balance as of `last`, whose month is the period."""
    first = f"{last[:7]}-01"
    day_before = str(date.fromisoformat(first) - timedelta(days=1))
    earlier_debits, earlier_credits, _ = add_up("", day_before)
    debits, credits, counts = add_up(first, last)
    if unbalanced:
        debits["1000"] += 1  # and nothing is credited
    line_items = []
    total_debit = 0
    total_credit = 0
    for code, name, account_type, _ in ACCOUNTS:
        opening = earlier_debits[code] - earlier_credits[code]
        closing = opening + debits[code] - credits[code]
        normal = normal_balance(account_type)
        sign = 1
        if normal == "credit":
            sign = -1
        debit = max(closing, 0)
        credit = max(-closing, 0)
        item = {
            "accountId": f"acc_{code}",
            "accountCode": code,
            "accountName": name,
            "accountType": account_type,
            "normalBalance": normal,
            "openingBalance": sign * opening / 100,
            "periodDebit": debits[code] / 100,
            "periodCredit": credits[code] / 100,
            "closingBalance": sign * closing / 100,
            "debitBalance": debit / 100,
            "creditBalance": credit / 100,
            "transactionCount": counts[code],
        }
        line_items.append(item)
        total_debit += debit
        total_credit += credit
    return {
        "period": last[:7],
        "asOfDate": last,
        "balanceType": balance_type,
        "lineItems": line_items,
        "totalDebit": total_debit / 100,
        "totalCredit": total_credit / 100,
        "isBalanced": total_debit == total_credit,
        "difference": (total_debit - total_credit) / 100,
        "accountCount": len(line_items),
    }


def profit_loss(first: str, last: str) -> Record:
    """Return OpenAPI's financial statement in every shape: the guide prints none."""
    revenue = make_section("Revenue", first, last)
    cost_of_sales = make_section("Cost of sales", first, last)
    expenses = make_section("Operating expenses", first, last)
    profit = revenue["total"] - cost_of_sales["total"] - expenses["total"]
    return {
        "period": last[:7],
        "asOfDate": last,
        "reportType": "profit_loss",
        "sections": [revenue, cost_of_sales, expenses],
        "totals": {"netProfit": round(profit, 2)},
    }


def balance_sheet(last: str) -> Record:
    """Return OpenAPI's financial statement in every shape: the guide prints none."""
    current = make_section("Current assets", "", last)
    fixed = make_section("Fixed assets", "", last)
    total_assets = round(current["total"] + fixed["total"], 2)
    assets = {
        "label": "Assets",
        "total": total_assets,
        "accounts": [],
        "subsections": [current, fixed],
    }
    liabilities = make_section("Liabilities", "", last)
    equity = make_section("Equity", "", last)
    profit = profit_loss("", last)["totals"]["netProfit"]
    equity["accounts"].append(make_account("3900", "Current Earnings", profit))
    equity["total"] = round(equity["total"] + profit, 2)
    return {
        "period": last[:7],
        "asOfDate": last,
        "reportType": "balance_sheet",
        "sections": [assets, liabilities, equity],
        "totals": {"totalAssets": total_assets, "netProfit": profit},
    }


def make_section(label: str, first: str, last: str) -> Record:
    debits, credits, _ = add_up(first, last)
    accounts = []
    total = 0
    for code, name, account_type, section in ACCOUNTS:
        if section == label:
            sen = debits[code] - credits[code]
            if normal_balance(account_type) == "credit":
                sen = -sen
            accounts.append(make_account(code, name, sen / 100))
            total += sen
    return {
        "label": label,
        "total": total / 100,
        "accounts": accounts,
        "subsections": None,
    }


def make_account(code: str, name: str, balance: float) -> Record:
    return {
        "accountId": f"acc_{code}",
        "accountCode": code,
        "accountName": name,
        "balance": balance,
    }


def normal_balance(account_type: str) -> str:
    if account_type in ("asset", "expense"):
        return "debit"
    return "credit"
