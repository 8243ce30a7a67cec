"""The function of PostgreSQL that numbers what one transaction has published."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from django.db import connection, transaction

import djhookbox
from djhookbox import client
from djhookbox.models import ChannelPolicy, Outbox, Publication, StreamChannel, StreamEntry
from djhookbox.outbox import heads, inserting, procedure, pulling, pushing
from djhookbox.revocations import pulling as revoking
from djhookbox.revocations import storing
from djhookbox.wire import webhooks
from djhookbox.wire.revocations import Position, Revocation
from djhookbox.wire.streams import Pushed

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="for PostgreSQL"),
]


@pytest.fixture(autouse=True)
def policy() -> ChannelPolicy:
    return ChannelPolicy.objects.create(
        name="orders", pattern="/orders/<int:pk>/", durable=True, history_size=3
    )


@pytest.fixture(autouse=True)
def called(policy: ChannelPolicy, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """For each commit, whether the function has numbered it."""
    found: list[bool] = []
    push = procedure.push

    def noted(*given: Any) -> Pushed | None:
        pushed = push(*given)
        found.append(pushed is not None)
        return pushed

    def poke(seconds: float, push: Callable[[], Pushed | None] | None) -> None:
        if push is not None:
            push()

    monkeypatch.setattr(procedure, "push", noted)
    monkeypatch.setattr(client, "poke", poke)
    monkeypatch.setattr(inserting, "_quiet_until", 0.0)
    monkeypatch.setattr(pushing, "_quiet_until", 0.0)
    monkeypatch.setattr(pushing, "_allowance", pushing._Allowance())
    pulling.pull(webhooks.Outbox())
    revoking.pull(Position())
    djhookbox.publish("/orders/1/", "which creates the channel")
    assert found.pop() is False
    yield found
    procedure._without.clear()


def rows(after: int) -> list[dict[str, Any]]:
    """What the tables have, apart from what differs between two publications of the same."""
    entries = StreamEntry.objects.filter(number__gt=after).order_by("number").values()
    history = Publication.objects.filter(number__gt=after).order_by("number").values()
    found = [*entries, *history, *StreamChannel.objects.values()]
    for each in found:
        for name in ("id", "token", "created", "numbered", "published"):
            each.pop(name, None)
        for name in ("number", "offset"):
            if name in each:
                each[name] -= after
    return found


def test_it_writes_what_the_general_way_writes(called: list[bool]) -> None:
    found = []
    for _ in range(2):
        last = heads.look("default").number
        with transaction.atomic():
            djhookbox.publish("/orders/1/", {"password": "geheim", "text": "ü\x00"}, user="alice")
            djhookbox.publish("/orders/1/", None)
        found.append(rows(last))
        procedure._without.add("default")
    assert called == [True, False]
    assert found[0] == found[1]
    assert not Outbox.objects.exists()


def test_the_next_number_and_its_token_are_those_of_the_head(called: list[bool]) -> None:
    djhookbox.publish("/orders/1/", 2)
    head = heads.look("default")
    assert (head.number, head.pending) == (2, False)
    assert StreamEntry.objects.get(number=2).token == head.token
    assert called == [True]


def in_two_savepoints() -> None:
    with transaction.atomic():
        djhookbox.publish("/orders/1/", 1)
        with transaction.atomic():
            djhookbox.publish("/orders/1/", "is rolled back")
            transaction.set_rollback(True)


def after_a_revocation() -> None:
    with transaction.atomic():
        storing.store([Revocation("k", users=("alice",))])
        djhookbox.publish("/orders/1/", 1)


def while_another_waits() -> None:
    with mock.patch.object(inserting, "poke_after_commit"):
        djhookbox.publish("/orders/1/", 1)
    djhookbox.publish("/orders/1/", 2)


def under_another_policy() -> None:
    ChannelPolicy.objects.create(name="own", pattern="/orders/1/", durable=True, order=0)
    revoking.pull(Position())
    djhookbox.publish("/orders/1/", 1)


def in_snapshots() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_isolation = 'repeatable read'")
        djhookbox.publish("/orders/1/", 1)
        cursor.execute("RESET default_transaction_isolation")


@pytest.mark.parametrize(
    "publish",
    [
        lambda: djhookbox.publish("/orders/1/", 1, key="k"),
        lambda: djhookbox.publish("/orders/2/", 1),
        in_two_savepoints, after_a_revocation, while_another_waits, under_another_policy,
        in_snapshots,
    ],
)  # fmt: skip
def test_whatever_is_not_simple_is_left_to_others(
    called: list[bool], publish: Callable[[], None]
) -> None:
    last = heads.look("default").number
    publish()
    assert called[0] is False
    entries = StreamEntry.objects.filter(number__gt=last).count()
    assert entries + Outbox.objects.count() == (2 if publish is while_another_waits else 1)


def test_what_was_rolled_back_before_is_forgotten(called: list[bool]) -> None:
    with transaction.atomic():
        djhookbox.publish("/orders/1/", 1)
        transaction.set_rollback(True)
    with transaction.atomic():
        djhookbox.publish("/orders/1/", 2)
    assert called == [True]


def test_what_is_published_after_the_commit_comes_after_it(called: list[bool]) -> None:
    with transaction.atomic():
        transaction.on_commit(lambda: djhookbox.publish("/orders/1/", 2))
        djhookbox.publish("/orders/1/", 1)
    assert called[0] is False, "the function does not know that 1 waits, too"
    payloads = StreamEntry.objects.filter(number__gt=1).order_by("number").values_list("payload")
    assert [text for (text,) in payloads] == ["1", "2"]


def test_databases_without_the_function_do_without_it(called: list[bool]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER FUNCTION djhookbox_number RENAME TO elsewhere")
        djhookbox.publish("/orders/1/", 1)
        djhookbox.publish("/orders/1/", 2)
        cursor.execute("ALTER FUNCTION elsewhere RENAME TO djhookbox_number")
    assert called == [False, False]
    assert StreamEntry.objects.count() == 3
