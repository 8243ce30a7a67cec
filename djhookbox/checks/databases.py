"""System checks of the databases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from ..exceptions import PatternError
from ..models import ChannelPolicy, ConnectionLog, Node, Outbox, Publication, SubscriptionLog
from ..policy.patterns import compile_pattern
from .registering import explicit, site_check

#: Seconds to wait for a lock on SQLite, at least.
_LEAST_TIMEOUT = 5

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
            "in SQLite, a transaction that begins with a read cannot write while another one does.",
            hint=f"Set DATABASES[{alias!r}]['OPTIONS'] = {{'transaction_mode': 'IMMEDIATE'}}; "
            "requests then wait for each other.",
            id="djhookbox.W028",
        )


@site_check
def check_tenants() -> Iterator[CheckMessage]:
    """W036, W037: tenants have tables of their own that the process needs in one place."""
    if _is_per_tenant("djhookbox"):
        yield Warning(
            "TENANT_APPS contains djhookbox, so each tenant has its own policies, logs and outbox. "
            "The Hookbox process uses those of one tenant.",
            hint="Move it to SHARED_APPS.",
            id="djhookbox.W036",
        )
    user = get_user_model()._meta
    if _is_per_tenant(user.app_label):
        yield Warning(
            f"TENANT_APPS contains the app of {user.label}, so each tenant has its own accounts. "
            "The Hookbox process treats accounts with the same name as one user, and when a policy "
            "is edited, users whose account is not in the public schema lose their subscriptions.",
            hint="Move the app to SHARED_APPS, or run a process and a site for each tenant. See "
            "“Tenants” in the documentation.",
            id="djhookbox.W037",
        )


def _is_per_tenant(app_label: str) -> bool:
    """Return whether django-tenants creates the tables of an app in the schema of each tenant."""
    config = apps.get_app_config(app_label)
    names = {config.name, f"{type(config).__module__}.{type(config).__qualname__}"}
    return not names.isdisjoint(explicit("TENANT_APPS") or ())


@register(Tags.database)
def check_saved_patterns(
    databases: Sequence[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """W030: a saved policy has a pattern that cannot be used, so its channels are refused."""
    return [message for alias in databases or () for message in _unusable(alias)]


@register(Tags.database)
def check_durable_on_sqlite(
    databases: Sequence[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """W032: there are durable policies, and SQLite is not set up for several writers."""
    outbox = router.db_for_write(Outbox)
    if outbox not in (databases or ()) or connections[outbox].vendor != "sqlite":
        return []
    if not any(_has_durable_policies(alias) for alias in databases or ()):
        return []
    lacks = list(_lacks(connections[outbox]))
    if not lacks:
        return []
    return [
        Warning(
            f"There are durable policies, and the database {outbox!r} is SQLite {_listed(lacks)}. "
            "While messages are published, transactions can fail with “database is locked”.",
            hint=f"Set OPTIONS of DATABASES[{outbox!r}] as described in “Delivery guarantees”, "
            "under SQLite.",
            id="djhookbox.W032",
        )
    ]


@register(Tags.database)
def check_order_of_keys(
    databases: Sequence[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """W034: there are durable policies, and keys of the outbox do not grow with time."""
    outbox = router.db_for_write(Outbox)
    if outbox not in (databases or ()):
        return []
    connection = connections[outbox]
    ask = _KEYS.get(connection.vendor)
    if ask is None or not any(_has_durable_policies(alias) for alias in databases or ()):
        return []
    return [
        Warning(
            f"There are durable policies, and in the database {outbox!r} {what}. Messages are "
            "published in the order of their keys, so those of different transactions can be "
            "published in a different order from that of their commits.",
            hint=hint,
            id="djhookbox.W034",
        )
        for what, hint in ask(connection)
    ]


def _cached_keys(connection: BaseDatabaseWrapper) -> Iterator[tuple[str, str]]:
    """Yield what is wrong if each connection to PostgreSQL takes several keys in advance."""
    table = Outbox._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seqrelid::regclass::text, seqcache FROM pg_sequence "
            "WHERE seqrelid = to_regclass(pg_get_serial_sequence(%s, 'id')) AND seqcache > 1",
            [connection.ops.quote_name(table)],
        )
        for sequence, cache in cursor.fetchall():
            yield (
                f"the sequence {sequence} of the table {table} has a cache of {cache} values",
                f"Run: ALTER SEQUENCE {sequence} CACHE 1;",
            )


def _interleaved_keys(connection: BaseDatabaseWrapper) -> Iterator[tuple[str, str]]:
    """Yield what is wrong if several servers of MySQL or MariaDB assign keys in turn."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.auto_increment_increment")
        step = int(cursor.fetchone()[0])
    if step > 1:
        yield (
            f"auto_increment_increment is {step}, as in clusters with several writing servers",
            "Let all web processes write to the same server of the cluster, and set "
            "auto_increment_increment = 1 on it; or ignore this if they all do.",
        )


_KEYS = {"postgresql": _cached_keys, "mysql": _interleaved_keys}


def _has_durable_policies(alias: str) -> bool:
    return _has_table(alias) and ChannelPolicy.objects.using(alias).filter(durable=True).exists()


def _lacks(connection: BaseDatabaseWrapper) -> Iterator[str]:
    """Yield what a connection to SQLite lacks for several writers."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        journal = str(cursor.fetchone()[0]).lower()
        cursor.execute("PRAGMA busy_timeout")
        timeout = int(cursor.fetchone()[0])
    mode = connection.settings_dict.get("OPTIONS", {}).get("transaction_mode")
    if str(mode).upper() not in ("IMMEDIATE", "EXCLUSIVE"):
        yield "without transaction_mode “IMMEDIATE”"
    if journal not in ("wal", "memory"):  # in memory, in tests
        yield "without WAL"
    if timeout < _LEAST_TIMEOUT * 1000:
        yield f"with a timeout of less than {_LEAST_TIMEOUT} seconds"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _has_table(alias: str) -> bool:
    """Return whether policies are in a database, and have been migrated."""
    if not router.allow_migrate_model(alias, ChannelPolicy):
        return False
    connection = connections[alias]
    with connection.cursor() as cursor:
        return ChannelPolicy._meta.db_table in connection.introspection.table_names(cursor)


def _unusable(alias: str) -> Iterator[CheckMessage]:
    if not _has_table(alias):
        return
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
