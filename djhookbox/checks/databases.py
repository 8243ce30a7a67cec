"""System checks of the databases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import connections, router

from ..exceptions import PatternError
from ..models import ChannelPolicy, ConnectionLog, Node, Publication, SubscriptionLog
from ..policy.patterns import compile_pattern
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


@register(Tags.database)
def check_saved_patterns(
    databases: Sequence[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """W030: a saved policy has a pattern that cannot be used, so its channels are refused."""
    return [message for alias in databases or () for message in _unusable(alias)]


def _unusable(alias: str) -> Iterator[CheckMessage]:
    connection = connections[alias]
    if not router.allow_migrate_model(alias, ChannelPolicy):
        return
    with connection.cursor() as cursor:
        if ChannelPolicy._meta.db_table not in connection.introspection.table_names(cursor):
            return  # to be migrated
    rows = ChannelPolicy.objects.using(alias).order_by("name")
    for name, pattern in rows.values_list("name", "pattern"):
        try:
            compile_pattern(pattern)
        except PatternError as error:
            yield Warning(
                f"The policy {name!r} refuses every channel that its pattern {pattern!r} might "
                f"match, because the pattern cannot be used: {error}",
                hint="Edit the policy in the admin, or the converter in your code.",
                id="djhookbox.W030",
            )
