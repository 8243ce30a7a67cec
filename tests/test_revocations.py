"""Revocations: stored with the change, numbered after the commit, pulled by every process."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from djhookbox import notices
from djhookbox.exceptions import HookboxRefused, HookboxUnreachable
from djhookbox.models import ChannelPolicy, Outbox, Revocation, RevocationHead
from djhookbox.outbox import answering, heads, looking, retention
from djhookbox.revocations import pruning, pulling, storing
from djhookbox.users.identity import session_identity
from djhookbox.wire import webhooks
from djhookbox.wire.revocations import Position, Revocations
from djhookbox.wire.revocations import Revocation as Record

from .conftest import Told

pytestmark = pytest.mark.django_db(transaction=True)

MakeUser = Callable[..., Any]


class Node:
    """A process that pulls."""

    def __init__(self) -> None:
        self.position = Position()
        self.last = Revocations(0, "")

    def pull(self) -> list[Record]:
        self.last = pulling.pull(self.position)
        self.position = Position(self.last.number, self.last.token)
        return list(self.last.entries)

    def all(self) -> list[Record]:
        found = self.pull()
        while self.last.more:
            found += self.pull()
        return found

    def names(self) -> list[str]:
        return [name for each in self.all() for name in each.users]


@pytest.fixture(autouse=True)
def _no_pruning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is due unless a test says so."""
    monkeypatch.setattr(pulling, "_next_pruning", math.inf)
    monkeypatch.setattr(storing, "_next_tidying", math.inf)


@pytest.fixture
def node() -> Node:
    node = Node()
    assert node.pull() == []
    assert node.last.over
    return node


def revoke(*names: str) -> None:
    """Store a revocation for each of these users."""
    storing.store([
        Record(storing.new_key(), 4000, "session ended", users=(name,)) for name in names
    ])  # fmt: skip


def stored() -> list[Record]:
    """Return what is stored, and forget it."""
    found = [storing.from_text(row.key, row.text) for row in Revocation.objects.order_by("id")]
    Revocation.objects.all().delete()
    return found


# ---- storing


def test_every_way_to_end_a_right_stores_what_is_sent(told: Told, make_user: MakeUser) -> None:
    alice, bob = make_user("alice"), make_user("bob")
    group = Group.objects.create(name="readers")
    policy = ChannelPolicy.objects.create(name="p", pattern="/p/", subscribe_audience="groups")
    client = Client()
    client.force_login(alice)
    told.forget()
    stored()

    def set_password() -> None:
        alice.set_password("another")
        alice.save()

    def set_field(user: Any, name: str, value: object) -> Callable[[], None]:
        def change() -> None:
            setattr(user, name, value)
            user.save()

        return change

    for change in (
        client.logout,
        lambda: client.force_login(alice),
        lambda: client.force_login(bob),  # ends alice's session
        Session.objects.all().delete,
        set_password,
        set_field(alice, "username", "alicia"),
        set_field(alice, "is_staff", True),
        set_field(alice, "is_active", False),
        lambda: bob.groups.add(group),
        lambda: group.user_set.clear(),
        lambda: policy.groups.add(group),
        set_field(policy, "pattern", "/q/"),
        policy.delete,
        group.delete,
        bob.delete,
    ):
        change()
        sent = told.revoked()
        assert stored() == sent
        assert sent or change is not client.logout
        assert len({each.key for each in sent}) == len(sent)


def test_rolled_back_it_never_was(told: Told, make_user: MakeUser, node: Node) -> None:
    alice = make_user("alice")
    bob = make_user("bob")
    with transaction.atomic():
        alice.is_active = False
        alice.save()
        assert Revocation.objects.count() == 1
        transaction.set_rollback(True)
    with transaction.atomic():
        with transaction.atomic():
            alice.save()
            transaction.set_rollback(True)
        bob.delete()
    assert node.names() == ["bob"]
    assert [each.users for each in told.revoked()] == [("bob",)]


@pytest.mark.parametrize("model", ["user", "policy", "session", "sessions"])
def test_without_a_transaction_it_has_its_own(told: Told, make_user: MakeUser, model: str) -> None:
    """Otherwise a process that dies after the first of two commits would lose the revocation."""
    alice = make_user("alice")
    policy = ChannelPolicy.objects.create(name="p", pattern="/p/")
    client = Client()
    client.force_login(alice)
    stored()
    alice.is_active = False
    policy.pattern = "/q/"
    change = {
        "user": alice.save,
        "policy": policy.save,
        "session": lambda: Session.objects.get().delete(),
        "sessions": Session.objects.all().delete,
    }[model]  # fmt: skip
    told.forget()
    with (
        mock.patch.object(storing, "store", side_effect=OperationalError("full")),
        pytest.raises(DatabaseError, match="full"),
    ):
        change()
    assert get_user_model().objects.get().is_active
    assert ChannelPolicy.objects.get().pattern == "/p/"
    assert Session.objects.count() == 1
    assert not told.calls
    change()
    assert len(stored()) == 1


def test_what_it_costs(told: Told, make_user: MakeUser) -> None:
    alice = make_user("alice")
    client = Client()
    with CaptureQueriesContext(connection) as first:
        client.force_login(alice)
    assert not [query for query in first if "revocation" in query["sql"]]
    with CaptureQueriesContext(connection) as queries:
        client.logout()
    found = [query["sql"].split()[0] for query in queries if "revocation" in query["sql"]]
    if connection.vendor == "sqlite":
        assert found.pop(0) == "UPDATE"  # takes the lock
    assert found == ["INSERT"]
    with CaptureQueriesContext(connection) as queries:
        alice.save(update_fields=["last_login"])
    assert len(queries) == 1


def test_many_sessions_are_few_rows(told: Told, make_user: MakeUser) -> None:
    data = Session.get_session_store_class()().encode({"_auth_user_id": str(make_user("a").pk)})
    ends = timezone.now() + datetime.timedelta(days=1)
    Session.objects.bulk_create(
        Session(session_key=f"k{number:05}", session_data=data, expire_date=ends)
        for number in range(6000)
    )
    Session.objects.all().delete()
    assert sorted(len(each.identities) for each in stored()) == [1000, 5000]


def test_expired_sessions_cost_nothing(told: Told) -> None:
    ended = timezone.now() - datetime.timedelta(days=1)
    Session.objects.bulk_create(
        Session(session_key=f"k{number}", session_data="", expire_date=ended)
        for number in range(500)
    )
    with CaptureQueriesContext(connection) as queries:
        call_command("clearsessions")
    assert not Session.objects.exists()
    assert not [query for query in queries if "revocation" in query["sql"]]
    assert not told.calls


def test_the_same_is_stored_once_in_a_transaction(told: Told, make_user: MakeUser) -> None:
    alice = make_user("alice")
    groups = [Group.objects.create(name=name) for name in "abc"]
    stored()
    with transaction.atomic():
        for group in groups:
            alice.groups.add(group)
    assert [each.users for each in stored()] == [("alice",)]


def test_another_program_has_nothing_stored(told: Told, make_user: MakeUser, settings: Any) -> None:
    settings.HOOKBOX_EXECUTABLE = "hookbox"
    make_user("alice").delete()
    assert not Revocation.objects.exists()
    assert told.revoked()[0].users == ("alice",)


def test_with_autocommit_off_the_process_finds_it(
    told: Told, make_user: MakeUser, node: Node
) -> None:
    alice = make_user("alice")
    transaction.set_autocommit(False)
    try:
        alice.delete()
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert node.names() == ["alice"]


def test_rows_that_nobody_pulls_are_deleted(
    told: Told, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    revoke("alice")
    monkeypatch.setattr(pruning, "KEPT", datetime.timedelta(seconds=-60))
    monkeypatch.setattr(storing, "_next_tidying", 0.0)
    make_user("bob").delete()
    assert not Revocation.objects.exists()
    revoke("carol")
    make_user("dora").delete()
    assert Revocation.objects.count() == 2, "once in an hour"


# ---- the call after the commit


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float | None]]:
    """Note how long a call may take; each fails."""
    found: list[float | None] = []

    def fail(revocations: object, seconds: float | None) -> None:
        found.append(seconds)
        raise HookboxUnreachable("no answer", code="unavailable")

    monkeypatch.setattr("djhookbox.client.revoke", fail)
    return found


def test_a_process_that_hangs_costs_one_short_call(
    calls: list[float | None], make_user: MakeUser, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [make_user(name) for name in ("a", "b", "c")]
    with notices.listening() as told_of:
        for user in users:
            user.groups.add(Group.objects.get_or_create(name="g")[0])
    assert calls == [notices.CALL_SECONDS]
    assert len(told_of) == 3
    assert all(isinstance(each.error, HookboxUnreachable) for each in told_of)
    assert node.names() == ["a", "b", "c"]
    monkeypatch.setattr(notices.time, "monotonic", lambda: math.inf)
    users[0].delete()
    assert len(calls) == 2


def test_another_program_is_waited_for(
    calls: list[float | None], make_user: MakeUser, settings: Any
) -> None:
    settings.HOOKBOX_EXECUTABLE = "hookbox"
    for name in "ab":
        make_user(name).delete()
    assert calls == [None, None]


def test_a_refused_call_does_not_keep_the_others_back(
    make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []

    def refuse(revocations: list[Record], seconds: float | None) -> None:
        sent.append(len(revocations))
        raise HookboxRefused("too large", code="limit")

    monkeypatch.setattr("djhookbox.client.revoke", refuse)
    monkeypatch.setattr(notices, "_MANY_NAMES", 2)
    for name in "abcde":
        make_user(name)
    with transaction.atomic():
        for user in get_user_model().objects.all():
            user.delete()
    assert sent == [2, 2, 1]


# ---- pulling


def test_a_bug_after_the_commit_does_not_reach_the_caller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(storing, "tidy_sometimes", mock.Mock(side_effect=RuntimeError("a bug")))
    notices.recheck(None, users=["alice"])
    with transaction.atomic():
        notices.recheck(None, users=["alice"])
    assert caplog.text.count("RuntimeError: a bug") == 2


def test_each_node_pulls_everything(node: Node) -> None:
    other = Node()
    other.pull()
    revoke("alice")
    assert node.names() == ["alice"]
    assert node.names() == []
    revoke("bob", "carol")
    assert node.names() == ["bob", "carol"]
    assert other.names() == ["alice", "bob", "carol"]
    assert not other.last.over
    late = Node()
    assert late.names() == []
    assert late.last.over
    revoke("dora")
    assert [each.names() for each in (node, other, late)] == [["dora"]] * 3


def test_what_a_node_gets_is_what_was_stored(node: Node) -> None:
    records = [
        Record("k1", 4501, "gone", users=("alice", "ä\ud800"), identities=("session:x",)),
        Record("k2", users=("bob",), patterns=("/a/.*",)),
    ]
    storing.store(records[:1])
    storing.store(records[1:])
    assert node.all() == records


def test_an_idle_look_is_one_query(node: Node) -> None:
    with CaptureQueriesContext(connection) as queries:
        node.pull()
    assert len(queries) == 1, [query["sql"] for query in queries]


def test_many_come_in_parts(node: Node) -> None:
    names = [f"u{number}" for number in range(1200)]
    revoke(*names)
    assert len(node.pull()) == 500
    other = Node()
    other.position = Position(node.position.number, node.position.token)
    revoke("late")
    assert node.names() == [*names[500:], "late"]
    assert node.position.number == 3
    assert other.names() == [*names[500:], "late"], "by numbers that others have given"


def test_large_ones_come_in_parts(node: Node) -> None:
    identities = tuple(session_identity(str(number)) for number in range(5000))
    for number in range(4):
        storing.store([Record(f"k{number}", 4000, "session ended", identities=identities)])
    sizes = []
    while True:
        sizes.append(len(node.pull()))
        if not node.last.more:
            break
    assert sizes == [2, 2]


def test_one_that_cannot_be_read_does_not_hold_up_the_others(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    revoke("alice")
    bad = ('{"code": "x"}', "[]", "nonsense")
    for number, text in enumerate(bad):
        row = Revocation(key=f"k{number}", text=text, created=timezone.now())
        row.save()
    revoke("bob")
    assert node.names() == ["alice", "bob"]
    assert caplog.text.count("cannot be read") == len(bad)
    assert node.names() == []


def test_a_restored_backup_is_noticed(node: Node) -> None:
    revoke("alice")
    backup = list(RevocationHead.objects.values()), list(Revocation.objects.values())
    node.pull()
    revoke("bob")
    node.pull()
    for model, rows in zip((RevocationHead, Revocation), backup, strict=True):
        model.objects.all().delete()
        model.objects.bulk_create(model(**row) for row in rows)
    assert node.names() == []
    assert node.last.over, "the number is one that this table has not given"
    node.position = Position(2, "token of another life")
    revoke("carol")
    Node().pull()
    node.pull()
    assert node.last.over, "the number is known, and its token is another one"
    assert node.names() == []
    assert not node.last.over


def test_a_missing_head_is_created_again_and_nodes_start_over(node: Node) -> None:
    revoke("alice")
    node.pull()
    RevocationHead.objects.all().delete()
    revoke("bob")
    node.pull()
    assert node.last.over
    assert node.position.number == 2
    revoke("carol")
    assert node.names() == ["carol"]


def test_old_rows_are_deleted(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    current, behind = Node(), Node()
    current.pull()
    behind.pull()
    revoke("alice")
    revoke("bob")
    current.pull()
    monkeypatch.setattr(pulling, "_next_pruning", 0.0)
    current.pull()
    assert Revocation.objects.count() == 2, "they are not old"
    monkeypatch.setattr(pruning, "KEPT", datetime.timedelta(seconds=-60))
    assert pruning.prune("default") is False
    assert not Revocation.objects.exists()
    current.pull()
    assert not current.last.over
    behind.pull()
    assert behind.last.over, "it has missed alice and bob"
    monkeypatch.setattr(pruning, "KEPT", datetime.timedelta(hours=1))
    revoke("carol")
    for each in (current, behind):
        assert each.names() == ["carol"]
        assert not each.last.over


def test_the_first_ones_do_not_make_a_node_start_over() -> None:
    node = Node()
    node.pull()
    revoke("alice")
    assert node.names() == ["alice"]
    assert not node.last.over


# ---- the webhook


def ask(node: Node, **more: Any) -> Any:
    return answering.answer(webhooks.Outbox(revoked=node.position, **more))


def test_an_idle_look_for_both_is_one_query(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_next_sweep", math.inf)  # none is due
    known = ask(node)
    with CaptureQueriesContext(connection) as queries:
        again = ask(node, incarnation=known.incarnation, number=known.number, token=known.token)
    assert (again.over, again.more, again.entries, again.revocations.entries) == (
        False, False, (), (),
    )  # fmt: skip
    assert len(queries) == 1, [query["sql"] for query in queries]


def test_one_query_sees_what_waits(node: Node) -> None:
    def seen() -> looking.Seen:
        found = looking.look()
        assert found is not None
        return found

    known = ask(node)
    assert not seen().publications.pending
    assert not seen().revocations.pending
    Outbox.objects.create(channel="/a/", payload="1", source="code", opened_by="handler:x")
    assert seen().publications.pending
    revoke("alice")
    assert seen().revocations.pending
    pulled = ask(node, incarnation=known.incarnation, number=known.number, token=known.token)
    assert [entry.payload for entry in pulled.entries] == ["1"]
    assert [each.users for each in pulled.revocations.entries] == [("alice",)]


def test_they_come_with_the_outbox(node: Node) -> None:
    revoke("alice")
    pulled = ask(node)
    assert [each.users for each in pulled.revocations.entries] == [("alice",)]
    assert pulled.over
    assert answering.answer(webhooks.Outbox()).revocations is None, "an older process"


def test_they_come_without_publications_if_those_cannot_be_read(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    revoke("alice")
    with mock.patch.object(heads, "look", side_effect=OperationalError("locked")):
        pulled = ask(node, incarnation="i", number=7, token="t")
        assert pulled.unavailable
        assert (pulled.incarnation, pulled.number, pulled.token) == ("i", 7, "t")
        assert [each.users for each in pulled.revocations.entries] == [("alice",)]
        assert ask(node, only_revocations=True).revocations.entries
    assert "locked" in caplog.text


def test_publications_come_without_them_if_they_cannot_be_read(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    Outbox.objects.create(channel="/a/", payload="1", source="code", opened_by="handler:x")
    broken = mock.patch.object(pulling, "look", side_effect=OperationalError("locked"))
    # A query for both fails if one of them cannot be read.
    with broken, mock.patch.object(looking, "look", return_value=None):
        pulled = ask(node)
        assert pulled.revocations is None
        assert pulled.number == 1
        with pytest.raises(DatabaseError):
            ask(node, only_revocations=True)
    assert "Revocations could not be read now: locked" in caplog.text
