from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model, update_session_auth_hash
from django.contrib.auth.models import Group, Permission
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import NotSupportedError, OperationalError, connection, transaction
from django.db.models.signals import post_delete
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from djhookbox import notices
from djhookbox.decisions.store import cache
from djhookbox.exceptions import HookboxNotRunning, HookboxUnreachable
from djhookbox.models import ChannelPolicy
from djhookbox.policy.patterns import compile_pattern
from djhookbox.users.identity import session_identity

from .conftest import Told

pytestmark = pytest.mark.django_db(transaction=True)

MakePolicy = Callable[..., ChannelPolicy]


# ---- policies


def test_an_edit_reaches_live_channels_old_pattern_and_new(
    told: Told, make_policy: MakePolicy
) -> None:
    edited = make_policy("/rooms/<int:room>/")
    regex = compile_pattern("/rooms/<int:room>/").regex
    assert told.rechecked() == ([regex], [])
    cache.get()
    edited.pattern = "/halls/"
    edited.save()
    assert told.rechecked() == (sorted([regex, "/halls/"]), [])
    assert cache.get()[0].text == "/halls/"
    edited.delete()
    assert told.rechecked() == (["/halls/"], [])
    assert cache.get() == ()


@pytest.mark.usefixtures("real_process")
def test_policies_that_cannot_be_loaded_after_a_commit_are_loaded_later(
    make_policy: MakePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OperationalError("the database has gone")

    make_policy(pattern="/rooms/")
    cache.drop()
    with monkeypatch.context() as patch, transaction.atomic():
        cache.get()  # for this transaction
        patch.setattr(cache, "_load", fail)
    assert [rule.text for rule in cache.get()] == ["/rooms/"]


def test_groups_of_a_policy_count(told: Told, make_policy: MakePolicy) -> None:
    edited = make_policy("/g/", subscribe_audience="groups")
    group = Group.objects.create(name="readers")
    told.forget()
    for change in (
        lambda: edited.groups.add(group),
        lambda: edited.groups.clear(),
        lambda: edited.groups.set([group]),
        lambda: edited.groups.remove(group),
    ):
        cache.get()
        change()
        assert told.rechecked() == (["/g/"], [])
        assert cache.get()[0].groups == frozenset(edited.groups.values_list("pk", flat=True))


def test_nothing_is_told_before_the_commit_nor_after_a_rollback(
    told: Told, make_policy: MakePolicy
) -> None:
    with transaction.atomic():
        make_policy("/a/")
        make_policy("/b/")
        with transaction.atomic():
            make_policy("/c/")
            transaction.set_rollback(True)
        make_policy("/d/")
        assert not told.calls
    assert told.rechecked() == (["/a/", "/b/", "/d/"], [])
    with transaction.atomic():
        make_policy("/e/")
        transaction.set_rollback(True)
    assert not told.calls


def test_a_failed_savepoint_takes_its_own_with_it(
    told: Told, make_user: Any, make_policy: MakePolicy
) -> None:
    alice = make_user("alice")
    with transaction.atomic():
        with transaction.atomic():
            alice.is_active = False
            alice.save()
            transaction.set_rollback(True)
        make_policy("/a/")
    assert told.closed() == []


def test_a_malformed_pattern_is_rechecked_by_its_beginning(
    told: Told, make_policy: MakePolicy
) -> None:
    make_policy("/rooms/<hex:x>/")
    assert told.rechecked() == (["/rooms/.*"], [])


@pytest.mark.usefixtures("real_process")
def test_a_process_that_is_off_is_no_reason_for_alarm(
    settings: Any, make_policy: MakePolicy, make_user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Deploy scripts save policies before they start the process."""
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        settings.HOOKBOX_PORT = closed_soon.getsockname()[1]
    caplog.set_level("INFO", "djhookbox")
    with notices.listening() as told_of:
        make_policy("/rooms/")
    make_user("alice").delete()
    assert {record.levelname for record in caplog.records} == {"INFO"}
    assert "Hookbox is not running, so a change affects no connections" in caplog.text
    assert isinstance(told_of[0].error, HookboxNotRunning)  # shown in the admin


def test_a_process_that_is_down_costs_a_warning(
    told: Told, make_policy: MakePolicy, make_user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob = make_user("alice"), make_user("bob")
    told.error = HookboxUnreachable("nobody listens")
    with transaction.atomic():
        make_policy("/a/")
        alice.delete()
        bob.delete()
    assert len(told.calls) == 1
    assert "nobody listens" in caplog.text
    assert ChannelPolicy.objects.count() == 1


# ---- users


def test_deactivation_deletion_and_password(told: Told, make_user: Any) -> None:
    alice = make_user("alice")
    assert not told.calls
    alice.set_password("another")
    alice.save()
    assert told.closed() == [("alice", 4000)]
    alice.is_active = False
    alice.save()
    assert told.closed() == [("alice", 4501)]
    alice.is_active = True
    alice.save()
    assert not told.calls
    alice.delete()
    assert told.closed() == [("alice", 4501)]


def test_a_new_name_ends_the_old(told: Told, make_user: Any) -> None:
    alice = make_user("alice")
    alice.username = "alicia"
    alice.save()
    assert told.closed() == [("alice", 4000)]


def test_gone_outweighs_changed(told: Told, make_user: Any) -> None:
    alice = make_user("alice")
    with transaction.atomic():
        alice.is_active = False
        alice.save()
        alice.set_password("another")
        alice.save()
    # The process carries out the highest code.
    assert told.closed() == [("alice", 4501)]


def test_saves_that_change_no_right_tell_nothing(
    told: Told, make_user: Any, django_assert_num_queries: Any
) -> None:
    alice = make_user("alice")
    alice.first_name = "Alice"
    alice.save()
    with django_assert_num_queries(1):  # as at each login
        alice.save(update_fields=["last_login"])
    alice.password = "changed, but not saved"
    alice.save(update_fields=["first_name", "is_active"])
    assert not told.calls
    alice.save(update_fields=["password"])
    assert told.closed() == [("alice", 4000)]


def test_a_save_that_fails_tells_nothing(told: Told, make_user: Any) -> None:
    alice = make_user("alice")
    alice.is_active = False
    with (
        mock.patch("django.db.models.base.Model._do_update", side_effect=RuntimeError),
        pytest.raises(RuntimeError),
    ):
        alice.save()
    assert not told.calls


def test_status_is_asked_about_again(told: Told, make_user: Any) -> None:
    alice = make_user("alice")
    for field in ("is_staff", "is_superuser"):
        for value in (True, False):
            setattr(alice, field, value)
            alice.save()
            assert told.rechecked() == ([], ["alice"])


def test_groups_and_permissions_of_users(told: Told, make_user: Any) -> None:
    users = [make_user(name) for name in ("alice", "bob", "carol")]
    alice, bob, _carol = users
    group = Group.objects.create(name="readers")
    permission = Permission.objects.get(codename="view_server")
    only_alice, all_three = ["alice"], ["alice", "bob", "carol"]
    for change, expected in (
        (lambda: alice.groups.add(group), only_alice),
        (lambda: alice.groups.remove(group), only_alice),
        (lambda: alice.groups.clear(), only_alice),
        (lambda: group.user_set.add(*users), all_three),
        (lambda: group.user_set.remove(bob), ["bob"]),
        (lambda: group.user_set.clear(), ["alice", "carol"]),
        (lambda: alice.user_permissions.add(permission), only_alice),
        (lambda: permission.user_set.clear(), only_alice),
    ):
        change()
        assert told.rechecked() == ([], expected)


def test_bulk_edits_cause_few_calls(
    told: Told, make_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [make_user(f"u{number}") for number in range(5)]
    group = Group.objects.create(name="readers")
    with transaction.atomic():
        for user in users:
            user.groups.add(group)
            user.is_staff = True
            user.save()
    assert len(told.calls) == 1
    assert told.rechecked() == ([], [f"u{number}" for number in range(5)])
    monkeypatch.setattr(notices, "_MANY_USERS", 3)
    with transaction.atomic():
        for user in users:
            user.groups.remove(group)
    assert told.rechecked() == ([".*"], ["u0", "u1", "u2"])


def test_permissions_of_groups_and_groups_that_go(told: Told, make_policy: MakePolicy) -> None:
    group = Group.objects.create(name="readers")
    make_policy("/p/", subscribe_audience="permission", permission="a.b")
    make_policy("/g/", subscribe_audience="groups").groups.add(group)
    make_policy("/off/", subscribe_audience="groups", enabled=False)
    make_policy("/s/", subscribe_audience="staff")
    told.forget()
    group.permissions.add(Permission.objects.get(codename="view_server"))
    assert told.rechecked() == (["/p/", "djhookbox:server"], [])
    cache.get()
    group.delete()
    assert told.rechecked() == (["/g/", "/p/", "djhookbox:server"], [])
    assert all(not rule.groups for rule in cache.get())


# ---- sessions


def test_logout_closes_the_sessions_connections(told: Told, make_user: Any) -> None:
    alice = make_user("alice")
    here, there = Client(), Client()
    for client in (here, there):
        client.force_login(alice)
    key = here.session.session_key
    told.forget()
    here.logout()
    assert told.closed() == [(session_identity(key), 4000)]


def test_a_deleted_session_closes_its_connections(told: Told, make_user: Any) -> None:
    client = Client()
    client.force_login(make_user("alice"))
    key = client.session.session_key
    told.forget()
    Session.objects.all().delete()
    assert told.closed() == [(session_identity(key), 4000)]


def test_expired_and_anonymous_sessions_concern_nobody(told: Told, make_user: Any) -> None:
    client = Client()
    client.force_login(make_user("alice"))
    Session.objects.update(expire_date=timezone.now() - timedelta(days=1))
    anonymous = Client().session
    anonymous["basket"] = [1]
    anonymous.save()
    told.forget()
    assert Session.objects.count() == 2
    Session.objects.all().delete()
    assert not told.calls


def test_many_deleted_sessions_cost_one_call(
    told: Told, make_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = make_user("alice")
    store = Session.get_session_store_class()()
    data = store.encode({"_auth_user_id": str(alice.pk)})
    ends = timezone.now() + timedelta(days=1)
    keys = [f"k{number:03}" for number in range(30)]
    rows = [Session(session_key=key, session_data=data, expire_date=ends) for key in keys]
    expired = timezone.now() - timedelta(days=1)
    for size in (100, 10):
        monkeypatch.setattr(notices, "_MANY_DISCONNECTS", size)
        Session.objects.bulk_create(rows)
        Session.objects.create(session_key="old", session_data=data, expire_date=expired)
        with transaction.atomic():
            assert Session.objects.all().delete() == (31, {"sessions.Session": 31})
            assert not told.calls
        assert len(told.calls) == 1
        assert len(told.calls[0]) == -(-len(keys) // size)
        assert sorted(told.closed()) == sorted((session_identity(key), 4000) for key in keys)


def test_many_users_who_go_cost_one_call(told: Told, make_user: Any) -> None:
    for name in ("alice", "bob", "carol"):
        make_user(name)
    get_user_model().objects.all().delete()
    assert len(told.calls) == 1
    assert sorted(told.closed()) == [("alice", 4501), ("bob", 4501), ("carol", 4501)]


def test_expired_sessions_are_deleted_by_one_statement(told: Told, make_user: Any) -> None:
    ended = timezone.now() - timedelta(days=1)
    Session.objects.bulk_create(
        Session(session_key=f"k{number}", session_data="", expire_date=ended)
        for number in range(500)
    )
    live = Client()
    live.force_login(make_user("alice"))
    told.forget()
    with CaptureQueriesContext(connection) as queries:
        call_command("clearsessions")
    # The first asks for those that concern somebody; PostgreSQL declares a cursor for it.
    statements = [query["sql"].split()[0].replace("DECLARE", "SELECT") for query in queries]
    assert [name for name in statements if name not in ("BEGIN", "COMMIT")] == ["SELECT", "DELETE"]
    assert Session.objects.count() == 1
    assert not told.calls


def test_other_receivers_still_see_each_session_that_is_deleted(told: Told, make_user: Any) -> None:
    seen = []

    def receiver(instance: Session, **kwargs: Any) -> None:
        seen.append(instance.session_key)

    clients = [Client(), Client()]
    for client in clients:
        client.force_login(make_user(f"u{id(client)}"))
    told.forget()
    post_delete.connect(receiver, sender=Session)
    try:
        Session.objects.all().delete()
    finally:
        post_delete.disconnect(receiver, sender=Session)
    assert len(seen) == 2
    assert len(told.calls) == 1


def test_what_cannot_be_deleted_is_refused_as_ever(told: Told) -> None:
    with pytest.raises(TypeError, match="delete"):
        Session.objects.all()[:5].delete()
    with pytest.raises(NotSupportedError, match="delete"):
        Session.objects.all().union(Session.objects.all()).delete()
    assert not told.calls


def test_a_deletion_that_is_rolled_back_ends_nothing(told: Told, make_user: Any) -> None:
    client = Client()
    client.force_login(make_user("alice"))
    told.forget()
    for delete in (Session.objects.all().delete, Session.objects.get().delete):
        with transaction.atomic():
            delete()
            transaction.set_rollback(True)
    assert not told.calls
    key = client.session.session_key
    Session.objects.get().delete()
    ended = session_identity(key)
    assert told.closed() == [(ended, 4000)]


async def test_asynchronous_deletion(told: Told) -> None:
    user = await get_user_model().objects.acreate(username="alice")
    for _number in range(2):
        client = Client()
        await sync_to_async(client.force_login)(user)
    told.forget()
    await (await Session.objects.afirst()).adelete()  # type: ignore[union-attr]
    await Session.objects.all().adelete()
    assert len(told.calls) == 2


def test_a_rotated_key_closes_the_old_ones_connections(told: Told, make_user: Any) -> None:
    alice = make_user("alice")
    client = Client()
    client.force_login(alice)
    request = RequestFactory().get("/")
    request.session = client.session
    request.user = alice
    key = request.session.session_key
    told.forget()
    update_session_auth_hash(request, alice)
    assert request.session.session_key != key
    assert told.closed() == [(session_identity(key), 4000)]


def test_logout_of_sessions_without_rows(told: Told, make_user: Any) -> None:
    request = RequestFactory().get("/")
    request.session = CacheStore("the-key-of-a-cached-session")
    alice = make_user("alice")
    user_logged_out.send(sender=type(alice), request=request, user=alice)
    assert told.closed() == [(session_identity("the-key-of-a-cached-session"), 4000)]
    for odd in ({"request": request, "user": None}, {"request": None, "user": alice}):
        user_logged_out.send(sender=type(alice), **odd)
    assert not told.calls
