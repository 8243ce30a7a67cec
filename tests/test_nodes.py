"""Runs of processes: events are written once, and unreported ends are assumed."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from djhookbox import signals
from djhookbox.audit import nodes
from djhookbox.models import ChannelPolicy, ConnectionLog, Node, Publication, SubscriptionLog
from djhookbox.wire.closing import RESTART

from .runs import Busy, Run

pytestmark = pytest.mark.django_db

BEAT = datetime.timedelta(seconds=1)


class Process(Run):
    """One run of a server process, as the site sees it."""

    def event(self, event: str, **fields: Any) -> dict[str, Any]:
        self.number += 1
        return {"event": event, "id": self.number, **fields}

    def report(self, *events: dict[str, Any]) -> Any:
        return self.post("events", events=json.dumps(events), node=self.address)

    def connect(self, conn: str, user: str = "") -> str:
        """Connect the visitor " _<user>"."""
        from django.core import signing

        token = signing.Signer(salt="djhookbox.anonymous").sign(user or conn)
        name: str = self.post("connect", conn=conn, token=token)["name"]
        return name

    def subscribe(self, conn: str, user: str, channel: str = "/a/") -> None:
        self.post("subscribe", conn=conn, user=user, channel_name=channel)

    def published(self, payload: Any) -> dict[str, Any]:
        return self.event("publish", channel_name="/a/", source="client", payload=payload)

    def dies(self, ago: float = 0.0) -> None:
        """Pretend that it has been silent for this many seconds."""
        seen = timezone.now() - datetime.timedelta(seconds=ago)
        Node.objects.filter(boot=self.boot).update(seen=seen, steady=seen)

    @property
    def row(self) -> Node:
        return Node.objects.get(boot=self.boot)


@pytest.fixture
def open_channel(make_policy: Callable[..., ChannelPolicy]) -> None:
    make_policy("/<slug:room>/")


@pytest.fixture
def left(open_channel: None) -> Iterator[list[tuple[str, str, str]]]:
    """Collect the signals sent when users leave: signal, user and channel."""
    heard: list[tuple[str, str, str]] = []

    def unsubscribed(sender: Any, **kwargs: Any) -> None:
        heard.append(("unsubscribe", "", kwargs["channel"]))

    def disconnected(sender: Any, **kwargs: Any) -> None:
        heard.append(("disconnect", "", ""))

    signals.signals["unsubscribe"].connect(unsubscribed)
    signals.signals["disconnect"].connect(disconnected)
    yield heard
    signals.signals["unsubscribe"].disconnect(unsubscribed)
    signals.signals["disconnect"].disconnect(disconnected)


def payloads() -> list[Any]:
    return list(Publication.objects.order_by("pk").values_list("payload", flat=True))


# ---- each event once -----------------------------------------------------------


def test_a_batch_that_comes_again_is_written_once() -> None:
    process = Process()
    events = [process.published(number) for number in range(3)]
    process.report(*events)
    process.report(*events)
    process.report(*events, process.published(3))
    process.report(events[1])  # a try of before that was slow
    assert payloads() == [0, 1, 2, 3]


def test_another_life_has_numbers_of_its_own() -> None:
    for number in range(2):
        process = Process()
        process.report(process.published(number))
    assert payloads() == [0, 1]


def test_a_batch_that_could_not_be_written_counts_as_not_written() -> None:
    process = Process()
    events = [process.published(1), process.event("delivered", publication=1, delivered=1)]
    with (
        mock.patch("djhookbox.audit.reported._count", side_effect=OperationalError("locked")),
        pytest.raises(AssertionError, match="busy"),
    ):
        process.report(*events)
    assert payloads() == []
    process.report(*events)
    assert payloads() == [1]


def test_an_odd_event_is_skipped_for_good(caplog: pytest.LogCaptureFixture) -> None:
    process = Process()
    events = [process.event("nonsense"), process.published(1), {"event": "publish"}, 5]
    process.report(*events)
    process.report(*events[:2])
    assert payloads() == [1]
    assert caplog.text.count("nonsense") == 1


@pytest.mark.parametrize("number", [True, -1, 0, 2**63, "5", None, 1.5])
def test_numbers_that_are_none(number: object) -> None:
    process = Process()
    process.report({**process.published(1), "id": number})
    assert payloads() == [1]
    assert process.row.last_event == 0


def test_a_server_that_says_nothing_of_itself_is_believed() -> None:
    process = Process()
    process.boot = "no id"
    process.report(process.published(1))
    assert payloads() == [1]
    assert not Node.objects.exists()


# ---- ends that nobody reported ---------------------------------------------------


def test_the_next_start_closes_what_was_open(left: list[Any]) -> None:
    first = Process()
    first.report()
    alice, bob = first.connect("c1", "alice"), first.connect("c2", "bob")
    first.subscribe("c1", alice)
    first.subscribe("c2", bob)
    gone = {"conn_id": "c2", "user": bob, "code": 1000, "reason": ""}
    first.report(
        first.event("unsubscribe", channel_name="/a/", user=bob, conn_id="c2", by="disconnect"),
        first.event("disconnect", **gone),
    )
    second = Process()
    assert second.report() == {}
    (end,) = ConnectionLog.objects.filter(event="disconnect", assumed=True)
    assert (end.connection_id, end.user_name, end.code) == ("c1", alice, 1006)
    assert end.created == first.row.ended == first.row.seen
    assert end.duration is not None
    assert end.node == first.boot
    (end_of_subscription,) = SubscriptionLog.objects.filter(event="unsubscribe", assumed=True)
    assert (end_of_subscription.channel, end_of_subscription.user_name) == ("/a/", alice)
    assert left == [("unsubscribe", "", "/a/"), ("disconnect", "", "")]
    second.report()
    Process().report()
    assert ConnectionLog.objects.filter(event="disconnect").count() == 2
    assert len(left) == 2


def test_who_does_not_come_back_after_a_stop_has_left(left: list[Any]) -> None:
    first, second = Process(), Process()
    first.report()
    names = {}
    for user in ("alice", "bob", "carol", "dave"):
        names[user] = first.connect(f"of-{user}", user)
        for channel in ("/a/", "/b/"):
            first.subscribe(f"of-{user}", names[user], channel)
    closed = {"code": 1012, "reason": RESTART.reason}
    ends = []
    for user, name in names.items():
        about = {"user": name, "conn_id": f"of-{user}"}
        if user == "dave":  # left earlier, as reported by webhooks
            closed = {"code": 1000, "reason": ""}
        for channel in ("/a/", "/b/"):
            end = {"channel_name": channel, "by": "disconnect", "reason": closed["reason"]}
            ends.append(first.event("unsubscribe", **about, **end))
        ends.append(first.event("disconnect", **about, **closed))
    first.report(*ends, first.event("stopped"))
    written = ConnectionLog.objects.count(), SubscriptionLog.objects.count()
    assert not left  # nearly everybody comes back
    second.report()
    second.connect("back", "bob")
    second.subscribe("back", names["bob"], "/a/")
    for ago in (30, 70):
        moment = timezone.now() - datetime.timedelta(seconds=ago)
        Node.objects.filter(boot=first.boot).update(seen=moment - BEAT, ended=moment)
        Node.objects.filter(boot=second.boot).update(steady=timezone.now())
        second.report()
        assert not left  # there has been nowhere to come back to for long enough
        Node.objects.filter(boot=second.boot).update(steady=moment)
        second.report()
        assert bool(left) == (ago == 70)
    everything = [("unsubscribe", "", channel) for channel in ("/a/", "/b/")]
    assert sorted(left) == sorted(
        [*2 * everything, ("unsubscribe", "", "/b/"), *2 * [("disconnect", "", "")]]
    )
    assert not ConnectionLog.objects.filter(assumed=True).exists()  # all of it is written
    assert (ConnectionLog.objects.count() - 1, SubscriptionLog.objects.count() - 1) == written
    second.report()
    assert len(left) == 7


def test_who_has_come_back_is_not_said_to_have_left(left: list[Any]) -> None:
    first, second = Process(), Process()
    first.report()
    alice = first.connect("c1", "alice")
    first.subscribe("c1", alice, "/a/")
    first.subscribe("c1", alice, "/b/")
    second.connect("c2", "alice")  # before the first report of its process
    second.subscribe("c2", alice, "/a/")
    second.report()
    assert ConnectionLog.objects.filter(assumed=True).count() == 1
    assert SubscriptionLog.objects.filter(assumed=True).count() == 2
    assert left == [("unsubscribe", "", "/b/")]


def test_connections_of_one_user_leave_with_the_last(left: list[Any]) -> None:
    first = Process()
    first.report()
    alice = first.connect("c1", "alice")
    first.subscribe("c1", alice)
    first.connect("c2", "alice")
    with mock.patch.object(nodes, "CHUNK", 1):
        Process().report()
    assert ConnectionLog.objects.filter(assumed=True).count() == 2
    assert left == [("unsubscribe", "", "/a/"), ("disconnect", "", "")]


def test_two_processes_do_not_close_each_others_connections(left: list[Any]) -> None:
    one, other = Process("host:8001"), Process("host:8002")
    for process in (one, other):
        process.report()
        process.connect(process.address, process.address)
    again = Process("host:8001")
    again.report()
    assert list(ConnectionLog.objects.filter(assumed=True).values_list("node", flat=True)) == [
        one.boot
    ]
    assert other.row.ended is None
    other.report()
    again.report()
    assert len(left) == 1


def test_a_process_at_a_new_address_is_succeeded_after_a_while(left: list[Any]) -> None:
    """As in containers, whose names are new at each start."""
    old, new = Process("old:8001"), Process("new:8001")
    old.report()
    old.connect("c1", "alice")
    old.dies(ago=400)
    new.report()
    assert not left  # perhaps the site was down, and the old one is about to report
    new.dies(ago=400)
    new.report()
    assert not left
    Node.objects.filter(boot=new.boot).update(steady=timezone.now() - nodes.LEASE * 1.1)
    new.report()
    assert left == [("disconnect", "", "")]


def test_who_was_taken_for_dead_and_is_heard_of_lives(left: list[Any]) -> None:
    old, new = Process("old:8001"), Process("new:8001")
    for process in (old, new):
        process.report()
    Node.objects.filter(boot=old.boot).update(ended=timezone.now())
    old.report()
    assert old.row.ended is None


def test_a_report_that_comes_late_wakes_nobody(open_channel: None) -> None:
    process = Process()
    events = [process.published(1), process.event("stopped")]
    process.report(*events)
    ended = process.row.ended
    assert ended is not None
    process.report(*events)
    assert process.row.ended == ended


def test_closing_takes_turns_with_other_work(left: list[Any], settings: Any) -> None:
    first = Process()
    first.report()
    for number in range(5):
        first.connect(f"c{number}", f"u{number}")
    settings.HOOKBOX_WEBHOOK_TIMEOUT = 1e-6
    second = Process()
    with mock.patch.object(nodes, "CHUNK", 2):
        answers = [second.report() for _ in range(4)]
    assert answers == [{"more": True}, {"more": True}, {"more": True}, {}]
    assert len(left) == 5


def test_webhooks_that_were_still_at_work_are_closed_later(left: list[Any]) -> None:
    first, second = Process(), Process()
    first.report()
    second.report()
    first.connect("c1", "alice")  # its webhook was slow
    second.report()
    assert left == [("disconnect", "", "")]
    Node.objects.filter(boot=first.boot).update(ended=timezone.now() - 2 * nodes.SETTLED)
    second.report()
    assert first.row.closed


def test_the_genuine_server_and_older_rows_are_left_alone(left: list[Any]) -> None:
    ConnectionLog.objects.create(event="connect", user_name="alice", connection_id="c1")
    Process().report()
    Process().report()
    assert ConnectionLog.objects.count() == 1
    assert not left


def test_trouble_with_closing_does_not_keep_events_out(
    left: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    process = Process()
    with mock.patch.object(nodes, "_take_for_dead", side_effect=OperationalError("locked")):
        process.report(process.published(1))
    assert payloads() == [1]
    assert "Could not close what an ended" in caplog.text


def test_lives_are_forgotten_with_their_logs() -> None:
    process = Process()
    process.report(process.event("stopped"))
    Node.objects.update(closed=True, seen=timezone.now() - datetime.timedelta(days=40))
    living = Process()
    living.report()
    living.post("prune")
    assert list(Node.objects.values_list("boot", flat=True)) == [living.boot]


# ---- at once -----------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_same_reports_at_once_are_written_once() -> None:
    """A report that timed out may still be at work when it is made again."""
    process = Process()
    events = [process.published(number) for number in range(20)]

    def report(upto: int) -> None:
        try:
            for _ in range(10):
                # MariaDB may call it a deadlock; the process then makes its report again.
                with suppress(Busy):
                    process.report(*events[:upto])
                    break
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as workers:
        for upto in (5, 10, 15, 20):
            list(workers.map(report, [upto] * 4))
    assert payloads() == list(range(20))
    assert Node.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_closing_at_once_closes_once(left: list[Any]) -> None:
    first, second = Process(), Process()
    first.report()
    for number in range(20):
        first.connect(f"c{number}", f"u{number}")

    def report(_: int) -> None:
        try:
            for _ in range(10):
                # MariaDB may call it a deadlock; the process then makes its report again.
                with suppress(Busy):
                    second.report()
                    break
        finally:
            connection.close()

    with mock.patch.object(nodes, "CHUNK", 3), ThreadPoolExecutor(4) as workers:
        list(workers.map(report, range(4)))
    second.report()
    assert ConnectionLog.objects.filter(event="disconnect").count() == 20
    assert len(left) == 20


# ---- the migration -----------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_migration_keeps_the_rows_of_before() -> None:
    before, after = [("djhookbox", "0004_publishing")], [("djhookbox", "0005_nodes")]
    executor = MigrationExecutor(connection)
    newest = executor.loader.graph.leaf_nodes()
    try:
        executor.migrate(before)
        old = executor.loader.project_state(before).apps
        for number in range(3):
            old.get_model("djhookbox", "ConnectionLog").objects.create(
                event="connect", user_name=f"u{number}", connection_id=f"c{number}"
            )
            old.get_model("djhookbox", "SubscriptionLog").objects.create(
                event="subscribe", user_name=f"u{number}", channel="/a/"
            )
        executor = MigrationExecutor(connection)
        executor.migrate(after)
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(newest)
    for model in (ConnectionLog, SubscriptionLog):
        rows = model.objects.order_by("pk").values_list("user_name", "node", "assumed")
        assert list(rows) == [(f"u{number}", "", False) for number in range(3)]


# ---- names that a database may take for each other -------------------------------------


def test_names_that_differ_in_case_or_in_spaces_are_different_names(left: list[Any]) -> None:
    """MySQL and MariaDB take “Bob” for “bob”, and “bob ” too."""
    first = Process()
    first.report()
    users = {conn: first.connect(conn, conn) for conn in ("bob", "Bob", "BOB")}
    assert len(set(users.values())) == 3
    for conn in ("bob", "Bob"):
        for channel in ("/a/", "/A/"):
            first.subscribe(conn, users[conn], channel)
    first.subscribe("BOB", users["BOB"], "/a/")
    SubscriptionLog.objects.create(
        event="subscribe", channel="/a/ ", user_name=users["bob"], node=first.boot
    )
    ended = {"user": users["bob"], "conn_id": "bob", "by": "client"}
    first.report(first.event("unsubscribe", channel_name="/A/", **ended))
    second = Process()
    # Bob and BOB come back, bob does not.
    for conn in ("Bob", "BOB"):
        second.connect(f"again {conn}", conn)
    second.subscribe("again Bob", users["Bob"], "/a/")
    second.report()
    assumed = SubscriptionLog.objects.filter(event="unsubscribe", assumed=True)
    assert sorted(assumed.values_list("user_name", "channel")) == sorted(
        [
            (users["bob"], "/a/"),
            (users["bob"], "/a/ "),
            (users["Bob"], "/a/"),
            (users["Bob"], "/A/"),
            (users["BOB"], "/a/"),
        ]
    )
    assert sorted(left) == sorted(
        [
            ("disconnect", "", ""),  # bob
            ("unsubscribe", "", "/a/"),  # bob
            ("unsubscribe", "", "/a/ "),  # bob
            ("unsubscribe", "", "/A/"),  # Bob
            ("unsubscribe", "", "/a/"),  # BOB
        ]
    )


def test_others_of_nearly_the_same_name_stay_subscribed(left: list[Any]) -> None:
    first = Process()
    first.report()
    users = {conn: first.connect(conn, conn) for conn in ("bob", "Bob")}
    for conn, name in users.items():
        first.subscribe(conn, name, "/a/")
    with mock.patch.object(nodes, "CHUNK", 1):
        second = Process()
        with mock.patch.object(nodes, "_close_some", _once(nodes._close_some)):
            second.report()
        (end,) = SubscriptionLog.objects.filter(event="unsubscribe")
        assert end.user_name == users["bob"], "the other connection has not been closed yet"
        second.report()
    assert SubscriptionLog.objects.filter(event="unsubscribe", assumed=True).count() == 2
    assert left == 2 * [("unsubscribe", "", "/a/"), ("disconnect", "", "")]


def _once(close_some: Callable[[Node], bool]) -> Callable[[Node], bool]:
    def close(node: Node) -> bool:
        close_some(node)
        return False

    return close
