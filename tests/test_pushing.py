"""Numbering by the thread that has committed, which sends it with the poke."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

import djhookbox
from djhookbox import client, publishing
from djhookbox.models import ChannelPolicy, Outbox, Publication, StreamEntry
from djhookbox.outbox import heads, inserting, numbering, pulling, pushing
from djhookbox.outbox.rows import Draft
from djhookbox.revocations import pulling as revoking
from djhookbox.revocations import storing
from djhookbox.wire import webhooks
from djhookbox.wire.revocations import Position, Revocation
from djhookbox.wire.streams import Pulled, Pushed

from .locks import held_elsewhere

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor == "mysql", reason="its shortest wait for a lock is a second"
    ),
]


@pytest.fixture(autouse=True)
def policy() -> ChannelPolicy:
    return ChannelPolicy.objects.create(name="orders", pattern="/orders/<int:pk>/", durable=True)


@pytest.fixture(autouse=True)
def position() -> Position:
    """How far the process has pulled revocations; also creates the heads of both tables."""
    pulling.pull(webhooks.Outbox())
    pulled = revoking.pull(Position())
    return Position(pulled.number, pulled.token)


@pytest.fixture(autouse=True)
def pushed(monkeypatch: pytest.MonkeyPatch) -> list[Pushed | None]:
    """What was sent with each poke."""
    found: list[Pushed | None] = []

    def poke(seconds: float, push: Callable[[], Pushed | None] | None) -> None:
        found.append(None if push is None else push())

    monkeypatch.setattr(client, "poke", poke)
    monkeypatch.setattr(inserting, "_quiet_until", 0.0)
    monkeypatch.setattr(pushing, "_quiet_until", 0.0)
    monkeypatch.setattr(pushing, "_allowance", pushing._Allowance())
    return found


def left_behind(channel: str, text: str = "0") -> None:
    """Commit something, and die before the poke."""
    decision = publishing.decided(channel, None)
    inserting.insert(Draft(decision, channel, text, "", "", "code"), pokes=False)


def timeless(pulled: Pulled) -> Pulled:
    return replace(pulled, entries=tuple(replace(each, age=0.0) for each in pulled.entries))


def test_what_is_committed_is_what_a_pull_would_return(
    pushed: list[Pushed | None], position: Position
) -> None:
    head = heads.look("default")
    with transaction.atomic():
        djhookbox.publish("/orders/1/", {"a": 1}, user="alice")
        djhookbox.publish("/orders/1/", 2, key="k")
    (first,) = pushed
    assert first is not None
    assert (first.number, first.token, first.revoked) == (head.number, head.token, position)
    again = pulling.pull(webhooks.Outbox(head.incarnation, head.number, head.token))
    assert timeless(again) == timeless(first.pulled), "the process may pull it nevertheless"
    found = [(each.offset, each.payload) for each in first.pulled.entries]
    assert found == [(1, '{"a":1}'), (2, "2")]
    djhookbox.publish("/orders/2/", 3)
    second = pushed[-1]
    assert second is not None
    assert (second.number, second.token) == (first.pulled.number, first.pulled.token)
    assert not Outbox.objects.exists()
    assert Publication.objects.count() == 3


def test_of_several_channels_and_of_others(pushed: list[Pushed | None]) -> None:
    left_behind("/orders/3/")
    with transaction.atomic():
        djhookbox.publish("/orders/1/", 1)
        djhookbox.publish("/orders/2/", 2)
    djhookbox.publish("/orders/2/", 3)
    entries = [each for one in pushed if one is not None for each in one.pulled.entries]
    assert [(each.channel, each.offset, each.payload) for each in entries] == [
        ("/orders/3/", 1, "0"), ("/orders/1/", 1, "1"), ("/orders/2/", 1, "2"),
        ("/orders/2/", 2, "3"),
    ]  # fmt: skip


def test_revocations_come_first(pushed: list[Pushed | None]) -> None:
    with transaction.atomic():
        storing.store([Revocation("k", users=("alice",))])
        djhookbox.publish("/orders/1/", "not for alice any more")
    assert pushed == [None]
    assert Outbox.objects.count() == 1, "the process pulls both"


@pytest.mark.parametrize(
    "payloads", [list(range(pushing.MOST_ROWS + 1)), ["x" * pushing.MOST_TEXT]]
)
def test_much_is_left_to_the_process(pushed: list[Pushed | None], payloads: list[Any]) -> None:
    with transaction.atomic():
        for payload in payloads:
            djhookbox.publish("/orders/1/", payload)
    djhookbox.publish("/orders/1/", "little, but more waits")
    assert pushed == [None, None]
    assert Outbox.objects.count() == len(payloads) + 1


def test_nobody_waits_for_the_lock(
    pushed: list[Pushed | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack, transaction.atomic():
        transaction.on_commit(lambda: stack.enter_context(held_elsewhere()))
        djhookbox.publish("/orders/1/", 1)
    assert pushed == [None]
    if connection.vendor == "sqlite":  # which has waited for a moment
        djhookbox.publish("/orders/1/", 2)
        assert pushed == [None, None], "nor does the next one try at once"
        monkeypatch.setattr(pushing, "_quiet_until", 0.0)
    else:
        left_behind("/orders/1/", "2")
    djhookbox.publish("/orders/1/", 3)
    assert pushed[-1] is not None
    assert [each.payload for each in pushed[-1].pulled.entries] == ["1", "2", "3"]


def test_those_who_commit_often_leave_it_to_the_process() -> None:
    allowance = pushing._Allowance()
    most = int(pushing.BURST)
    assert [allowance.take(1000.0) for _ in range(most + 2)] == [True] * most + [False] * 2
    assert [allowance.take(1000.0 + 2.5 / pushing.RATE) for _ in range(3)] == [True, True, False]
    assert sum(allowance.take(5000.0) for _ in range(2 * most)) == most


def test_without_an_allowance_nothing_is_numbered(
    pushed: list[Pushed | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "RATE", 0.0)
    while pushing._allowance.take(time.monotonic()):
        pass
    djhookbox.publish("/orders/1/", 1)
    assert pushed == [None]
    assert Outbox.objects.count() == 1


def test_what_the_publish_history_cannot_store_is_left_to_the_process(
    pushed: list[Pushed | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **more: object) -> None:
        raise ValueError("a value that does not fit")

    monkeypatch.setattr(numbering, "recorded", fail)
    djhookbox.publish("/orders/1/", 1)
    assert pushed == [None]
    assert Outbox.objects.count() == 1
    assert not StreamEntry.objects.exists()


def test_policies_are_looked_at_again(pushed: list[Pushed | None], policy: ChannelPolicy) -> None:
    left_behind("/orders/1/")
    policy.delete()
    ChannelPolicy.objects.create(name="other", pattern="/other/", durable=True)
    revoking.pull(Position())  # which the edit has stored
    djhookbox.publish("/other/", 1)
    (only,) = pushed
    assert only is not None
    assert [each.channel for each in only.pulled.entries] == ["/other/"]
    assert Outbox.objects.get().failed


def test_nothing_is_numbered_in_a_transaction(pushed: list[Pushed | None]) -> None:
    with transaction.atomic():
        djhookbox.publish("/orders/1/", 1)
        assert pushing.push() is None
    assert pushed[0] is not None


def test_it_takes_few_queries(pushed: list[Pushed | None]) -> None:
    djhookbox.publish("/orders/1/", 1)
    with CaptureQueriesContext(connection) as queries:
        djhookbox.publish("/orders/1/", 2)
    assert pushed[-1] is not None
    words = [query["sql"].split()[0] for query in queries]
    if connection.vendor == "postgresql":
        assert words == ["INSERT", "SELECT"]
        with CaptureQueriesContext(connection) as queries:
            djhookbox.publish("/orders/1/", 3, key="k")
        assert pushed[-1] is not None
        # The lock with what is read, and the writes with the commit.
        words = [query["sql"].split()[0] for query in queries]
        assert words[:3] + words[-2:] == ["INSERT", "BEGIN", "SET", "INSERT", "COMMIT"]
    else:
        assert words.count("SELECT") == 3
        assert words.count("INSERT") == 3
