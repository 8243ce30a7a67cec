"""System checks of the databases."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Warning
from django.db import connections, router

from ..models import ConnectionLog, Node, Publication, SubscriptionLog
from .registering import site_check

_WRITTEN = (ConnectionLog, SubscriptionLog, Publication, Node)


@site_check
def check_sqlite_transactions() -> Iterator[CheckMessage]:
    """W028: requests fail on SQLite if the process reports at the same time."""
    for alias in sorted({router.db_for_write(model) for model in _WRITTEN}):
        connection = connections[alias]
        if connection.vendor != "sqlite" or not connection.settings_dict.get("ATOMIC_REQUESTS"):
            continue
        mode = connection.settings_dict.get("OPTIONS", {}).get("transaction_mode")
        if str(mode).upper() in ("IMMEDIATE", "EXCLUSIVE"):
            continue
        yield Warning(
            f"The database {alias!r} is SQLite with ATOMIC_REQUESTS. If the Hookbox process "
            "reports something during a request, the request may fail with “database is locked”: "
            "SQLite does not let a transaction that has read write while another writes.",
            hint=f"Set DATABASES[{alias!r}]['OPTIONS'] = {{'transaction_mode': 'IMMEDIATE'}}; "
            "requests then wait for each other.",
            id="djhookbox.W028",
        )
