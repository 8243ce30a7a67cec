"""The outbox: what waits, what is numbered, what is pulled, and what is kept."""

from __future__ import annotations

import datetime
import json
import math
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import djhookbox
from djhookbox import client
from djhookbox.decisions.store import cache
from djhookbox.exceptions import HookboxRefused, HookboxUnreachable, PayloadError
from djhookbox.models import (
    ChannelPolicy,
    Outbox,
    Publication,
    Revocation,
    StreamChannel,
    StreamEntry,
    StreamHead,
)
from djhookbox.outbox import failed, heads, inserting, numbering, pulling, retention
from djhookbox.wire import webhooks
from djhookbox.wire.streams import Pulled, Wanted

pytestmark = pytest.mark.django_db(transaction=True)


class Node:
    """A process that pulls."""

    def __init__(self) -> None:
        self.last = Pulled("", 0, "")

    def pull(self, *streams: str, keys: Any = None) -> Pulled:
        wanted = tuple(Wanted(name) for name in streams)
        self.last = pulling.pull(
            webhooks.Outbox(
                self.last.incarnation, self.last.number, self.last.token, wanted, keys or {}
            )
        )
        return self.last

    def payloads(self) -> list[Any]:
        found: list[Any] = []
        while True:
            pulled = self.pull()
            found += [entry.payload for entry in pulled.entries]
            if not pulled.more:
                return found


@pytest.fixture
def node() -> Node:
    node = Node()
    node.pull()
    return node


@pytest.fixture(autouse=True)
def policy() -> ChannelPolicy:
    return ChannelPolicy.objects.create(
        name="orders", pattern="/orders/<int:pk>/", durable=True, history_size=3,
        history_duration=0,
    )  # fmt: skip


@pytest.fixture
def pokes(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(client, "poke", lambda seconds, push: found.append(seconds))
    monkeypatch.setattr(inserting, "_quiet_until", 0.0)
    return found


# ---- publishing


def test_a_publication_is_one_insert_and_a_poke_after_commit(pokes: list[float]) -> None:
    djhookbox.publish("/orders/1/", 0)  # loads the policies
    pokes.clear()
    with transaction.atomic():
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert djhookbox.publish("/orders/1/", {"a": 1}, user="alice") is None
        assert [query["sql"].split()[0] for query in queries] == ["INSERT"]
        for number in range(5):
            djhookbox.publish("/orders/1/", number)
        assert pokes == []
    assert pokes == [inserting.POKE_SECONDS]
    row = Outbox.objects.get(user_name="alice")
    assert (row.channel, row.payload, row.opened_by) == ("/orders/1/", '{"a":1}', "policy:orders")
    assert not Publication.objects.exists()


def test_rolled_back_it_never_was(pokes: list[float], node: Node) -> None:
    with transaction.atomic():
        djhookbox.publish("/orders/1/", 1)
        with transaction.atomic():
            djhookbox.publish("/orders/1/", 2)
            transaction.set_rollback(True)
        djhookbox.publish("/orders/1/", 3)
    with transaction.atomic():
        djhookbox.publish("/orders/1/", 4)
        transaction.set_rollback(True)
    assert len(pokes) == 1
    assert node.payloads() == ["1", "3"]
    djhookbox.publish("/orders/1/", 5)
    assert len(pokes) == 2
    assert node.payloads() == ["5"]


def test_after_a_failed_poke_requests_do_not_wait(
    pokes: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(seconds: float, push: object) -> None:
        pokes.append(seconds)
        raise HookboxUnreachable("down", code="unavailable")

    monkeypatch.setattr(client, "poke", fail)
    for number in range(3):
        djhookbox.publish("/orders/1/", number)
    assert len(pokes) == 1
    assert Outbox.objects.count() == 3


def test_a_bug_in_the_poke_does_not_reach_the_caller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(seconds: float, push: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(client, "poke", fail)
    monkeypatch.setattr(inserting, "_quiet_until", 0.0)
    djhookbox.publish("/orders/1/", 1)
    with transaction.atomic():
        djhookbox.publish("/orders/1/", 2)
    assert caplog.text.count("RuntimeError: a bug") == 2
    assert Outbox.objects.count() == 2


def test_what_is_too_large_is_refused_before_it_is_stored() -> None:
    with pytest.raises(PayloadError, match="durable channel"):
        djhookbox.publish("/orders/1/", "x" * 1_048_577)
    assert not Outbox.objects.exists()


def test_another_program_cannot_do_it(settings: Any) -> None:
    settings.HOOKBOX_EXECUTABLE = "hookbox"
    with pytest.raises(HookboxRefused, match="HOOKBOX_EXECUTABLE"):
        djhookbox.publish("/orders/1/", 1)
    assert not Outbox.objects.exists()


# ---- numbering


#: Values that are easily changed on their way through SQL and JSON.
ODD = [
    None, True, 0, -1.5, 2**53, "", "%s %(a)s %%", "'\"\\", "\x00", "🙂 é", "\u2028", [], {},
    {"": {"'": [None]}}, {"password": "secret", "list": [{"a": "<b>"}]},
]  # fmt: skip


@pytest.mark.parametrize("count", [1, 4, 5, len(ODD)])
def test_what_was_published_is_stored_unchanged(
    node: Node, monkeypatch: pytest.MonkeyPatch, settings: Any, count: int
) -> None:
    """Also in the publish history, with the same statements: one row, a few, and many."""
    settings.HOOKBOX_REDACT = ["password"]
    monkeypatch.setattr(numbering._Work, "_record", None)
    with transaction.atomic():
        for number, value in enumerate(ODD[:count]):
            djhookbox.publish(f"/orders/{number}/", value, user="é'%s", key=f"k{number}")
    texts = list(Outbox.objects.order_by("pk").values_list("payload", flat=True))
    created = list(Outbox.objects.order_by("pk").values_list("created", flat=True))
    assert [json.loads(text) for text in texts] == ODD[:count]
    node.pull()
    assert [entry.payload for entry in node.last.entries] == texts
    for number, entry in enumerate(
        StreamEntry.objects.order_by("number").select_related("channel")
    ):
        assert (entry.payload, entry.created) == (texts[number], created[number])
        assert (entry.channel.name, entry.channel.offset) == (f"/orders/{number}/", 1)
        assert (entry.user_name, entry.key, entry.offset) == ("é'%s", f"k{number}", 1)
        assert entry.channel.opened_by == "policy:orders"
    history = Publication.objects.order_by("number")
    assert [row.created for row in history] == created
    for value, row in zip(ODD, history, strict=False):
        if value == "\x00":
            assert row.payload == "�"
        elif isinstance(value, dict) and "password" in value:
            assert row.payload == {**value, "password": "***"}
        else:
            assert row.payload == value
        assert (row.status, row.delivered, row.user_name) == ("sent", 0, "é'%s")
        assert (row.note, row.error) == ("", "")
    assert not Outbox.objects.exists()


def test_numbers_and_offsets(node: Node) -> None:
    for channel in (1, 2, 1):
        djhookbox.publish(f"/orders/{channel}/", channel, user="bob")
    pulled = node.pull()
    assert [(e.number, e.channel, e.offset) for e in pulled.entries] == [
        (1, "/orders/1/", 1), (2, "/orders/2/", 1), (3, "/orders/1/", 2),
    ]  # fmt: skip
    assert {entry.user for entry in pulled.entries} == {"bob"}
    assert not Outbox.objects.exists()
    assert pulled.number == 3
    rows = Publication.objects.order_by("number").values_list("number", "payload", "delivered")
    assert list(rows) == [(1, 1, 0), (2, 2, 0), (3, 1, 0)]
    again = node.pull()
    assert (again.entries, again.more, again.over) == ((), False, False)


def test_an_idle_look_is_one_query(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_next_sweep", math.inf)  # none is due
    djhookbox.publish("/orders/1/", 1)
    node.pull()
    with CaptureQueriesContext(connection) as queries:
        node.pull()
    assert len(queries) == 1, [query["sql"] for query in queries]


def test_many_come_in_parts(node: Node) -> None:
    with transaction.atomic():
        for number in range(1100):
            djhookbox.publish("/orders/1/", number)
    assert node.payloads() == [str(number) for number in range(1100)]
    with transaction.atomic():
        for _ in range(5):
            djhookbox.publish("/orders/1/", "x" * 400_000)
    sizes = []
    while True:
        pulled = node.pull()
        sizes.append(len(pulled.entries))
        if not pulled.more:
            break
    assert sizes == [2, 2, 1]


def test_upper_and_lower_case_are_two_channels(node: Node, policy: ChannelPolicy) -> None:
    policy.pattern = "/<slug:name>/"
    policy.save()
    for name in ("a", "A", "a"):
        djhookbox.publish(f"/{name}/", name)
    assert [(e.channel, e.offset) for e in node.pull().entries] == [
        ("/a/", 1), ("/A/", 1), ("/a/", 2),
    ]  # fmt: skip


def test_a_key_is_stored_once(node: Node) -> None:
    for number in range(3):
        djhookbox.publish("/orders/1/", number, key="k")
    djhookbox.publish("/orders/2/", 3, key="k")
    djhookbox.publish("/orders/1/", 4, key="K")
    assert node.payloads() == ["0", "3", "4"]
    djhookbox.publish("/orders/1/", 5, key="k")
    pulled = node.pull(keys={"/orders/1/": ("k", "unknown")})
    assert pulled.entries == ()
    assert [(k.key, k.offset, k.number) for k in pulled.keys] == [("k", 1, 1)]
    with pytest.raises(PayloadError, match="browser:"):
        djhookbox.publish("/orders/1/", 5, key="browser:1")


def test_rows_fail_before_they_are_numbered(node: Node, policy: ChannelPolicy) -> None:
    djhookbox.publish("/orders/1/", 1)
    djhookbox.publish("/orders/1/", 2, key="k")
    policy.delete()
    ChannelPolicy.objects.create(name="all", pattern="/other/", durable=True)
    djhookbox.publish("/other/", 3)
    pulled = node.pull(keys={"/orders/1/": ("k",)})
    assert [(e.number, e.payload) for e in pulled.entries] == [(1, "3")]
    assert [row.failed for row in Outbox.objects.all()] == [True, True]
    assert "No policy" in Outbox.objects.all()[0].error
    assert ["No policy" in key.error for key in pulled.keys] == [True]
    assert Publication.objects.filter(status="failed").count() == 2
    assert node.pull().entries == ()


def test_another_policy_begins_an_epoch(node: Node, policy: ChannelPolicy) -> None:
    djhookbox.publish("/orders/1/", 1)
    first = node.pull().entries[0]
    ChannelPolicy.objects.create(name="new", pattern="/orders/1/", durable=True, order=1)
    djhookbox.publish("/orders/1/", 2)
    second = node.pull("/orders/1/")
    assert (second.entries[0].offset, second.entries[0].number) == (1, 2)
    assert second.entries[0].epoch != first.epoch
    assert (second.streams[0].began, second.streams[0].renewed) == (1, True)


def test_the_same_policy_by_another_name_does_not(node: Node, policy: ChannelPolicy) -> None:
    for number, name in enumerate(("orders", "orders of shops", "orders")):
        policy.name = name
        policy.save()
        djhookbox.publish("/orders/1/", number)
        assert node.payloads() == [str(number)]
    rules = cache.get()
    policy.name = "whose new name not all processes know yet"
    policy.save()
    with cache.replaced(rules):
        djhookbox.publish("/orders/1/", 3)
        assert node.payloads() == ["3"]
    djhookbox.publish("/orders/1/", 4)
    assert node.payloads() == ["4"]
    assert StreamEntry.objects.values("epoch").distinct().count() == 1
    assert StreamChannel.objects.get().offset == 5


def test_two_pullers_number_nothing_twice(node: Node) -> None:
    other = Node()
    other.pull()
    djhookbox.publish("/orders/1/", 1)
    assert node.payloads() == ["1"]
    djhookbox.publish("/orders/1/", 2)
    assert other.payloads() == ["1", "2"]
    assert node.payloads() == ["2"]


# ---- streams


def test_a_stream_as_of_a_number(node: Node) -> None:
    pulled = node.pull("/orders/1/")
    assert pulled.streams[0].epoch == f"{pulled.incarnation}-0"
    cursor = djhookbox.cursor("/orders/1/")
    assert cursor == f"{pulled.incarnation}-0:0"
    for number in range(5):
        djhookbox.publish("/orders/1/", number)
    pulled = node.pull("/orders/1/", "/orders/2/")
    stream, nothing = pulled.streams
    assert pulled.as_of == 5
    assert [(e.offset, e.payload) for e in stream.entries] == [
        (n + 1, str(n)) for n in range(5)
    ]  # fmt: skip
    assert nothing.entries == ()
    with CaptureQueriesContext(connection) as queries:
        assert djhookbox.cursor("/orders/1/") == f"{stream.epoch}:5"
    assert len(queries) == 1
    older = pulling.pull(webhooks.Outbox(streams=(Wanted("/orders/1/", stream.epoch, 3),)))
    assert [entry.offset for entry in older.streams[0].entries] == [1, 2]


# ---- incarnations


def test_a_new_process_starts_where_the_site_is(node: Node) -> None:
    djhookbox.publish("/orders/1/", 1)
    node.pull()
    pulled = Node().pull()
    assert (pulled.over, pulled.entries, pulled.number) == (True, (), 1)


@pytest.mark.parametrize("loss", ["backup", "flush", "head"])
def test_a_table_that_was_restored(node: Node, loss: str) -> None:
    djhookbox.publish("/orders/1/", 1)
    epoch = node.pull().entries[0].epoch
    other = Node()
    other.last = node.last
    before = StreamHead.objects.get(), list(StreamEntry.objects.all())
    djhookbox.publish("/orders/1/", 2)
    node.pull()
    other.pull()
    if loss == "backup":
        StreamEntry.objects.filter(number=2).delete()
        before[0].save()
        StreamChannel.objects.update(offset=F("offset") - 1)
        djhookbox.publish("/orders/1/", "2b")
    elif loss == "flush":
        for model in (StreamHead, StreamEntry, StreamChannel):
            model.objects.all().delete()
    else:
        StreamHead.objects.all().delete()
    incarnation = node.last.incarnation
    pulled = node.pull()
    assert pulled.over
    assert pulled.incarnation != incarnation
    assert other.pull().over
    assert other.last.incarnation == pulled.incarnation, "each starts over once"
    djhookbox.publish("/orders/1/", 3)
    entries = node.pull().entries
    assert [entry.payload for entry in entries] == ["3"]
    assert entries[0].epoch != epoch
    assert node.pull("/orders/1/").streams[0].renewed is (loss != "flush")
    assert not other.pull().over


def test_a_process_that_was_away_for_long_starts_over_alone(node: Node) -> None:
    djhookbox.publish("/orders/1/", 1)
    node.pull()
    djhookbox.publish("/orders/1/", 2)
    other = Node()
    other.pull()
    StreamEntry.objects.filter(number=1).delete()
    incarnation = node.last.incarnation
    assert node.pull().over
    assert node.last.incarnation == incarnation
    assert not other.pull().over


# ---- retention


def _age(seconds: float) -> None:
    """Let everything that is stored have been there for longer."""
    StreamEntry.objects.update(numbered=F("numbered") - datetime.timedelta(seconds=seconds))
    StreamChannel.objects.update(published=F("published") - datetime.timedelta(seconds=seconds))


def test_what_nobody_needs_is_deleted(node: Node) -> None:
    for number in range(5):
        djhookbox.publish("/orders/1/", number)
    node.pull()
    assert not retention.sweep("default")
    _age(86_390)
    assert not retention.sweep("default")
    _age(20)
    djhookbox.publish("/orders/2/", 5)
    node.pull()
    retention.sweep("default")
    assert [entry.number for entry in StreamEntry.objects.all()] == [3, 4, 5, 6]
    (stream,) = node.pull("/orders/1/").streams
    assert [entry.payload for entry in stream.entries] == ["2", "3", "4"], "the history"
    retention.sweep("default")
    djhookbox.publish("/orders/1/", 7)
    node.pull()
    retention.forget("default", 1)  # once a day
    retention.sweep("default")
    assert [entry.number for entry in StreamEntry.objects.all()] == [4, 5, 6, 7]


def test_silent_channels_are_forgotten(node: Node) -> None:
    djhookbox.publish("/orders/1/", 1)
    epoch = node.pull().entries[0].epoch
    _age(40 * 86_400)
    djhookbox.publish("/orders/2/", 1)
    node.pull()
    retention.forget("default", 30)
    assert [channel.name for channel in StreamChannel.objects.all()] == ["/orders/2/"]
    djhookbox.publish("/orders/1/", 1)
    (entry,) = node.pull().entries
    assert (entry.offset, entry.epoch == epoch) == (1, False)


def test_the_lock_is_short(node: Node) -> None:
    """The connection has its own timeout again afterwards."""
    djhookbox.publish("/orders/1/", 1)
    if connection.vendor == "sqlite":
        ask = "PRAGMA busy_timeout"
    elif connection.vendor == "mysql":
        ask = "SELECT @@SESSION.innodb_lock_wait_timeout"
    else:
        ask = "SHOW lock_timeout"

    def now() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(ask)
            return cursor.fetchone()[0]

    before = now()
    with heads.locked("default"):
        assert connection.vendor == "sqlite" or now() != before
    assert now() == before


# ---- by hand


def test_new_epochs(node: Node) -> None:
    djhookbox.publish("/orders/1/", 1)
    epoch = node.pull().entries[0].epoch
    call_command("hookbox", "new-epochs")
    assert node.pull().over
    djhookbox.publish("/orders/1/", 2)
    assert node.pull().entries[0].epoch != epoch
    with pytest.raises(CommandError, match="no database “other”"):
        call_command("hookbox", "new-epochs", "--database", "other")


def test_code_cannot_make_a_channel_durable(policy: ChannelPolicy) -> None:
    ChannelPolicy.objects.create(name="other", pattern="/other/")
    for channel, durable in (("/orders/1/", False), ("/other/", True)):
        with pytest.raises(HookboxRefused, match="is decided by policy:"):
            djhookbox.create(channel, {"durable": durable})
        with pytest.raises(HookboxRefused, match="is decided by policy:"):
            djhookbox.set_channel_options(channel, durable=durable)


def test_nothing_is_stored_where_nobody_looks() -> None:
    with pytest.raises(HookboxRefused, match="pulled from the database “default”"):
        djhookbox.publish("/orders/1/", 1, using="other")
    djhookbox.publish("/orders/1/", 1, using="default")
    assert Outbox.objects.count() == 1


def test_failed_rows_are_tried_again_or_discarded(
    node: Node, policy: ChannelPolicy, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        status = 0
        try:
            call_command("hookbox", "outbox", *arguments)
        except SystemExit as ended:
            status = int(ended.code or 0)
        return status, capsys.readouterr().out

    for number in range(3):
        djhookbox.publish("/orders/1/", number)
    policy.durable = False
    policy.save()
    node.pull()
    status, text = run()
    assert status == 1
    assert "Waiting: 0. Failed: 3." in text
    assert "/orders/1/" in text
    policy.durable = True
    policy.save()
    djhookbox.publish("/orders/1/", 3)
    first, second, third = Outbox.objects.filter(failed=True).values_list("pk", flat=True)
    assert "2" in run("--try-again", str(first), str(third))[1]
    assert "1" in run("--discard", str(second))[1]
    assert node.payloads() == ["3", "0", "2"], "after what was published in the meantime"
    assert run("--try-again")[0] == 1, "there is none any more"


@pytest.mark.skipif(connection.vendor != "sqlite", reason="others wait for each other")
def test_trying_again_waits_for_those_who_write(node: Node, policy: ChannelPolicy) -> None:
    """A transaction of SQLite that has only read cannot write once another has."""
    djhookbox.publish("/orders/1/", 1)
    policy.delete()
    node.pull()
    with CaptureQueriesContext(connection) as queries:
        assert failed.try_again() == 1
    words = [query["sql"].split()[0] for query in queries]
    assert words[:3] == ["BEGIN", "UPDATE", "SELECT"]


def test_the_command_shows_waiting_revocations(capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        status = 0
        try:
            call_command("hookbox", "outbox", *arguments)
        except SystemExit as ended:
            status = int(ended.code or 0)
        return status, capsys.readouterr().out

    Revocation.objects.all().delete()  # of the policy
    assert "revocations" not in run()[1].lower()
    old = timezone.now() - datetime.timedelta(seconds=20)
    for key in ("k", "l"):
        Revocation.objects.create(key=key, text="{}", created=old)
    status, text = run()
    assert status == 1, "they are late"
    assert "Waiting revocations: 2 (the oldest for 2" in text
    found = json.loads(run("--json")[1])
    assert found["revocations"]["waiting"] == 2
    assert found["revocations"]["seconds"] >= 20
    Revocation.objects.update(number=1)
    assert run()[0] == 0


def test_the_first_page_has_a_cursor_before_anything_was_pulled(policy: ChannelPolicy) -> None:
    """Otherwise it would miss what is published until it has subscribed."""
    StreamHead.objects.all().delete()
    cursor = djhookbox.cursor("/orders/1/")
    head = StreamHead.objects.get()
    assert cursor == f"{head.incarnation}-{head.number}:0"
    StreamHead.objects.all().delete()
    with transaction.atomic():
        assert djhookbox.cursor("/orders/1/") == "", "a page's transaction does not wait for a lock"
