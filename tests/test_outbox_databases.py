"""An outbox in a database of its own: it is where `db_for_write` of the site's router says."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connections, router, transaction
from django.db.models.signals import class_prepared, post_delete, post_save

import djhookbox
from djhookbox.exceptions import HookboxRefused
from djhookbox.models import ChannelPolicy, Outbox, StreamEntry, StreamHead
from djhookbox.outbox import answering, heads, inserting, looking
from djhookbox.wire import webhooks
from djhookbox.wire.revocations import Position
from djhookbox.wire.streams import Pulled

pytestmark = pytest.mark.django_db(transaction=True)

ALIAS = "streams"
STREAMS = frozenset({"outbox", "streamchannel", "streamentry", "streamhead"})


class Router:
    """Keeps the streams apart from everything else."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return ALIAS if model._meta.model_name in STREAMS else None

    db_for_write = db_for_read


@pytest.fixture
def streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any
) -> Iterator[str]:
    """A site with an outbox in a file of SQLite, as the documentation recommends."""
    entry = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / ALIAS),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
    connections.settings[ALIAS] = connections.configure_settings({"default": {}, ALIAS: entry})[
        ALIAS
    ]
    monkeypatch.setattr(inserting, "poke", lambda channels: None)
    with django_db_blocker.unblock():
        call_command("migrate", "djhookbox", database=ALIAS, verbosity=0)
        monkeypatch.setattr(router, "routers", [Router()])
        yield ALIAS
    connections[ALIAS].close()
    delattr(connections._connections, ALIAS)  # type: ignore[attr-defined]
    del connections.settings[ALIAS]


@pytest.fixture(autouse=True)
def policy() -> ChannelPolicy:
    return ChannelPolicy.objects.create(name="orders", pattern="/orders/", durable=True)


def pull(last: Pulled) -> Pulled:
    return answering.answer(
        webhooks.Outbox(last.incarnation, last.number, last.token, revoked=Position())
    )


def test_the_router_says_where_it_is(
    streams: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inserting, "_warned", set())
    assert heads.database() == streams
    last = pull(Pulled("", 0, ""))
    with transaction.atomic(using=streams):
        djhookbox.publish("/orders/", 1)
    with transaction.atomic(using=streams):
        djhookbox.publish("/orders/", 2)
        transaction.set_rollback(True, using=streams)
    assert not caplog.records
    with caplog.at_level(logging.WARNING), transaction.atomic():
        djhookbox.publish("/orders/", 3)
        transaction.set_rollback(True)
    assert "even after a rollback" in caplog.text
    with pytest.raises(HookboxRefused, match=streams):
        djhookbox.publish("/orders/", 4, using="default")
    pulled = pull(last)
    assert [entry.payload for entry in pulled.entries] == ["1", "3"]
    assert pulled.revocations is not None, "they are in the other database"
    assert looking.look() is None, "no query reaches both"
    assert StreamEntry.objects.using(streams).count() == 2
    for model in (Outbox, StreamEntry, StreamHead):
        assert not model._base_manager.using("default").exists()


def test_changes_in_another_database_are_stored_after_their_commit(streams: str) -> None:
    notifier = djhookbox.notify(Group, channel=lambda group: "/orders/", fields=["name"])
    try:
        with transaction.atomic():
            Group.objects.create(name="never")
            transaction.set_rollback(True)
        with transaction.atomic():
            Group.objects.create(name="a")
            assert not Outbox.objects.exists()
        assert ["a" in row.payload for row in Outbox.objects.all()] == [True]
    finally:
        post_save.disconnect(notifier._saved, sender=Group)
        post_delete.disconnect(notifier._deleted, sender=Group)
        class_prepared.disconnect(notifier._prepared)


def test_sqlite_under_load(streams: str) -> None:
    """With the recommended settings, writers and the puller wait for each other."""
    last = pull(Pulled("", 0, ""))
    djhookbox.publish("/orders/", "first")  # loads the policies
    problems: list[BaseException] = []

    def publish(name: str) -> None:
        try:
            for number in range(15):
                with transaction.atomic(using=streams):
                    Outbox.objects.using(streams).count()  # reads before it writes
                    djhookbox.publish("/orders/", [name, number])
        except BaseException as error:
            problems.append(error)
        finally:
            connections.close_all()

    writers = [threading.Thread(target=publish, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    found: list[str] = []
    is_over = False
    while not is_over or last.entries:
        is_over = not any(writer.is_alive() for writer in writers)
        last = pull(last)
        found += [entry.payload for entry in last.entries]
    assert problems == []
    assert len(found) == len(set(found)) == 61
    for name in "abcd":
        own = [text for text in found if text.startswith(f'["{name}"')]
        assert own == [f'["{name}",{number}]' for number in range(15)]
