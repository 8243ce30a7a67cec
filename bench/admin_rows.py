"""Many rows for the logs of the admin, which the database generates, and many policies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: The rows of a log that is compared with one of many.
FEW = 1_000

#: From so many rows on, PostgreSQL builds the indexes when the rows are there, which is faster.
BULK = 100_000

#: The value of each column of row `i`, as SQL that both databases accept. `{rare}` is so large that
#: rare values fill a page in every table, and they are rarer the more rows there are: otherwise
#: pages that show less would be compared with pages that show more. Refusals are every tenth row
#: of two logs; one in a hundred of them has a rare reason.
NOTHING = "''"
SHARED = {
    "user_name": "CASE WHEN i % 10 = 0 THEN 'alice' WHEN i % {rare} = 1 THEN 'user77' "
    "ELSE 'user' || (i * 7919 % 1000 + 1000) END",
    "connection_id": "'c' || substr(CAST(100000000 + i / 4 AS varchar), 2)",
    "decided_by": "'policy:Rooms'",
    "reason": "CASE WHEN i % 1000 = 5 THEN 'Locked.' WHEN i % 10 = 5 THEN 'Only staff.' "
    "ELSE '' END",
    "note": NOTHING,
}
CHANNEL = (
    "CASE WHEN i % 3 = 0 THEN '/news/today/' WHEN i % {rare} = 1 THEN '/rooms/77/' "
    "ELSE '/rooms/' || (i * 31 % 300 + 300) || '/' END"
)
NODE = {"node": "'node' || (i * 7 / {rare})", "assumed": "i % {rare} = 9"}
ROWS = {
    "connectionlog": {
        **SHARED,
        **NODE,
        "event": "CASE WHEN i % {rare} = 10 THEN 'refused' WHEN i % 2 = 0 THEN 'connect' "
        "ELSE 'disconnect' END",
        "transport": "CASE WHEN i % {rare} = 3 THEN 'csp' ELSE 'websocket' END",
        "ip": "CASE WHEN i % {rare} = 5 THEN '10.0.0.7' ELSE '10.0.1.' || (i % 250) END",
        "user_agent": "'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0'",
        "origin": "'https://example.com'",
        "code": "CASE WHEN i % 2 = 0 THEN NULL ELSE 1001 END",
    },
    "subscriptionlog": {
        **SHARED,
        **NODE,
        "event": "CASE WHEN i % {rare} = 7 THEN 'refused' WHEN i % 10 = 5 THEN 'create_refused' "
        "WHEN i % 2 = 0 THEN 'subscribe' ELSE 'unsubscribe' END",
        "channel": CHANNEL,
    },
    "publication": {
        **SHARED,
        "channel": CHANNEL,
        "payload": """'{"text": "Hello, hello, hello, hello, hello", "from": "alice"}'""",
        "preview": """'{"text": "Hello, hello, hello, hello, hello", "from": "alice"}'""",
        "size": "61",
        "kept": "'whole'",
        "source": "CASE WHEN i % {rare} = 3 THEN 'admin' WHEN i % 2 = 0 THEN 'client' "
        "ELSE 'code' END",
        "status": "CASE WHEN i % {rare} = 7 THEN 'failed' WHEN i % 10 = 5 THEN 'refused' "
        "ELSE 'sent' END",
        "error": NOTHING,
        "delivered": "i % 40",
    },
}  # fmt: skip


def fill(alias: str, most: int, others: int | None = None, *, vacuum: bool = True) -> None:
    """Write rows of the past ten days: so many to the connection log, and to the others."""
    from django.apps import apps
    from django.db import connections

    connection = connections[alias]
    postgresql = connection.vendor == "postgresql"
    casts = {"ip": "inet", "payload": "jsonb"} if postgresql else {}
    with connection.cursor() as cursor:
        for name, columns in ROWS.items():
            count = rows_of(name, most, others)
            seconds = 10 * 86_400 / count
            rare = str(max(FEW // 100, count // 1000) * 2)
            if postgresql:
                series = f"generate_series(CAST(1 AS bigint), {count}) AS series(i)"
                created = f"now() - make_interval(secs => ({count} - i) * {seconds})"
            else:
                series = (
                    f"(WITH RECURSIVE series(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM series "
                    f"WHERE i < {count}) SELECT i FROM series)"
                )
                created = f"datetime('now', '-' || (({count} - i) * {seconds}) || ' seconds')"
            table = apps.get_model("djhookbox", name)._meta.db_table
            values = [
                f"CAST({value} AS {casts[column]})" if column in casts else value
                for column, value in (
                    (column, value.replace("{rare}", rare)) for column, value in columns.items()
                )
            ]
            with _without_indexes(cursor, table, postgresql and count >= BULK):
                cursor.execute(
                    f"INSERT INTO {table} (created, {', '.join(columns)}) "
                    f"SELECT {created}, {', '.join(values)} FROM {series} ORDER BY i"
                )
        if postgresql and vacuum:
            cursor.execute("VACUUM ANALYZE")  # as its own daemon does it


def rows_of(log: str, most: int, others: int | None) -> int:
    """Return how many rows a log has."""
    return most if others is None or log == "connectionlog" else others


@contextmanager
def _without_indexes(cursor: Any, table: str, wanted: bool) -> Iterator[None]:
    """Drop the indexes of a table of PostgreSQL, and build them at the end."""
    found = []
    if wanted:
        cursor.execute(
            "SELECT relname, pg_get_indexdef(indexrelid) FROM pg_index "
            "JOIN pg_class ON pg_class.oid = indexrelid "
            "WHERE indrelid = %s::regclass AND NOT indisunique",
            [table],
        )
        found = cursor.fetchall()
    for name, _definition in found:
        cursor.execute(f"DROP INDEX {name}")
    yield
    for _name, definition in found:
        cursor.execute(definition)


def write_policies(alias: str, count: int) -> None:
    """Write policies: most of their patterns begin differently, some alike."""
    from djhookbox.models import ChannelPolicy

    ChannelPolicy.objects.using(alias).bulk_create(
        ChannelPolicy(
            name=f"Rooms {number}",
            pattern=f"/<slug:team>/n{number}/" if number % 50 == 0 else f"/rooms-{number}/<int:r>/",
            order=number,
            history_size=number % 3,
        )
        for number in range(count)
    )
