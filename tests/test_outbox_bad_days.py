"""Failures of the outbox: nothing is lost, duplicated or half done; callers receive an error."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, OperationalError, connection, connections, transaction
from django.db.models import F
from django.test import Client

import djhookbox
from djhookbox.audit import payloads
from djhookbox.exceptions import HookboxDatabaseError
from djhookbox.models import ChannelPolicy, Outbox, Publication, StreamEntry
from djhookbox.outbox import inserting, numbering, pulling
from djhookbox.outbox.rows import Recorded, Row
from djhookbox.wire import webhooks
from djhookbox.wire.revocations import Position
from djhookbox.wire.streams import Pulled

from .locks import held_elsewhere

pytestmark = pytest.mark.django_db(transaction=True)


class Node:
    """A process that pulls."""

    def __init__(self) -> None:
        self.last = Pulled("", 0, "")
        self.pull()

    def pull(self) -> list[str]:
        self.last = pulling.pull(
            webhooks.Outbox(self.last.incarnation, self.last.number, self.last.token)
        )
        return [entry.payload for entry in self.last.entries]


@pytest.fixture(autouse=True)
def policy(monkeypatch: pytest.MonkeyPatch) -> ChannelPolicy:
    monkeypatch.setattr(inserting, "poke", lambda channels: None)
    return ChannelPolicy.objects.create(name="orders", pattern="/orders/", durable=True)


def broken(*args: object, **kwargs: object) -> Any:
    raise OperationalError("database or disk is full")


def test_the_table_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller learns it, and its transaction can still be rolled back as a whole."""
    node = Node()

    @transaction.atomic
    def order() -> None:
        Group.objects.create(name="of the order")
        djhookbox.publish("/orders/", 1)

    with monkeypatch.context() as patch:
        patch.setattr(inserting._insert, "execute", broken)
        with pytest.raises(HookboxDatabaseError, match="disk is full"):
            order()
    assert not Group.objects.exists()
    djhookbox.publish("/orders/", 2)
    assert node.pull() == ["2"]


@pytest.mark.parametrize("step", ["insert", "update", "delete", "execute"])
def test_the_database_fails_while_rows_are_numbered(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    node = Node()
    djhookbox.publish("/orders/", 1)
    node.pull()
    for number in (2, 3):
        djhookbox.publish("/orders/", number)
    with monkeypatch.context() as patch:
        patch.setattr(numbering.Writes, step, broken)
        with pytest.raises(OperationalError):
            node.pull()
    assert StreamEntry.objects.count() == 1, "nothing of it is left"
    assert node.pull() == ["2", "3"]
    assert Publication.objects.filter(status="sent").count() == 3


def test_the_publish_history_cannot_store_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is published does not depend on it: the rows are numbered again, without that value."""
    node = Node()
    djhookbox.publish("/orders/", 1)
    djhookbox.publish("/orders/", 2)
    usual = numbering.recorded

    def unfit(row: Row, rules: payloads.Rules, **rest: Any) -> Recorded:
        found = usual(row, rules, **rest)
        if row.payload == "2":
            found.fields["status"] = None  # NOT NULL
        return found

    monkeypatch.setattr(numbering, "recorded", unfit)
    assert node.pull() == ["1", "2"]
    assert [row.number for row in StreamEntry.objects.order_by("number")] == [1, 2]
    assert [row.payload for row in Publication.objects.all()] == [1]
    assert not Outbox.objects.exists()


def test_somebody_holds_the_lock() -> None:
    """A pull gives up after a moment, so that it keeps no web process, and is repeated."""
    node = Node()
    djhookbox.publish("/orders/", 1)
    with held_elsewhere(), pytest.raises(DatabaseError):
        node.pull()
    assert node.pull() == ["1"]


@pytest.mark.parametrize("hours", [-5, 5])
def test_the_clock_of_the_database_jumps(hours: int) -> None:
    node, other = Node(), Node()
    djhookbox.publish("/orders/", 1)
    assert node.pull() == ["1"]
    jump = datetime.timedelta(hours=hours)
    StreamEntry.objects.update(numbered=F("numbered") + jump)  # before the clock was set
    djhookbox.publish("/orders/", 2)
    assert node.pull() == ["2"]
    assert other.pull() == ["1", "2"]
    assert all(entry.age >= 0 for entry in other.last.entries)


def test_two_processes_were_started_by_mistake() -> None:
    one, two = Node(), Node()
    for number in range(3):
        djhookbox.publish("/orders/", number)
        if number == 1:
            assert one.pull() == ["0", "1"]
    assert two.pull() == ["0", "1", "2"]
    assert one.pull() == ["2"]
    assert (one.pull(), two.pull()) == ([], [])


def test_a_policy_is_deleted_while_rows_wait(policy: ChannelPolicy) -> None:
    node = Node()
    djhookbox.publish("/orders/", 1)
    policy.delete()
    ChannelPolicy.objects.create(name="notes", pattern="/notes/", durable=True)
    djhookbox.publish("/notes/", 2)
    assert node.pull() == ["2"], "one that fails does not stop the others"
    (row,) = Outbox.objects.all()
    assert row.failed
    assert "No policy opens this channel" in row.error
    assert Publication.objects.get(status="failed").error == row.error


def test_a_cut_connection_is_the_end_of_one_pull_only() -> None:
    node = Node()
    djhookbox.publish("/orders/", 1)
    cut: Callable[[], None] = connection.close
    cut()
    assert node.pull() == ["1"]


def test_the_database_is_gone_for_a_minute(
    client: Client, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Each pull is answered `unavailable`; what was committed is there when it is back."""
    settings.HOOKBOX_WEBHOOK_SECRET = "s"
    node = Node()
    djhookbox.publish("/orders/", 1)
    attempts: list[str] = []

    def gone(self: Any) -> None:
        attempts.append(self.alias)
        raise OperationalError("could not connect to server")

    def post() -> Any:
        form = webhooks.write(webhooks.Outbox(revoked=Position()), secret="s")
        return client.post("/hookbox/outbox", form)

    with monkeypatch.context() as patch:
        connection.close()
        patch.setattr(type(connections["default"]), "connect", gone)
        for _ in range(3):
            response = post()
            assert response.status_code == 503
            assert response.json()[1]["code"] == "unavailable"
        assert len(attempts) == 3, "one attempt for each, as each may take long"
        with pytest.raises(HookboxDatabaseError, match="could not connect"):
            djhookbox.publish("/orders/", 2)
    assert post().json()[0] is True
    assert node.pull() == ["1"]


def test_the_table_is_locked() -> None:
    """The caller learns it instead of waiting for ever, and publishes the message again."""
    node = Node()
    djhookbox.publish("/orders/", 0)  # loads the policies
    held, over = threading.Event(), threading.Event()
    limits = {
        "sqlite": "PRAGMA busy_timeout = 50",
        "postgresql": "SET lock_timeout = 50",
        "mysql": "SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1",
    }

    def hold() -> None:
        table = Outbox._meta.db_table
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                if connection.vendor == "postgresql":
                    cursor.execute(f"LOCK TABLE {table}")
                elif connection.vendor == "mysql":
                    cursor.execute(f"LOCK TABLES {table} WRITE")
                else:
                    Group.objects.create(name="holder")
                held.set()
                over.wait(60)
        finally:
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(30)
    try:
        with connection.cursor() as cursor:
            cursor.execute(limits[connection.vendor])
        with pytest.raises(HookboxDatabaseError):
            djhookbox.publish("/orders/", 1)
    finally:
        over.set()
        holder.join()
        connection.close()
    djhookbox.publish("/orders/", 2)
    assert node.pull() == ["0", "2"]
