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
from django.db import NotSupportedError, connection, transaction
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

pytestmark = pytest.mark.django_db(transaction=True)

MakePolicy = Callable[..., ChannelPolicy]


def rechecked(told: mock.MagicMock) -> list[Any]:
    """Return the requested rechecks, and clear the list."""
    calls = [(*call.args, *call.kwargs.values()) for call in told.recheck.call_args_list]
    told.reset_mock()
    return calls


def closed(told: mock.MagicMock) -> list[dict[str, Any]]:
    """Return whose connections were closed, without the reasons, and clear the list."""
    calls = [dict(call.kwargs) for call in told.disconnect.call_args_list]
    assert all(call.pop("reason") for call in calls)
    told.reset_mock()
    return calls


# ---- policies


def test_an_edit_reaches_live_channels_old_pattern_and_new(
    told: mock.MagicMock, make_policy: MakePolicy
) -> None:
    edited = make_policy("/rooms/<int:room>/")
    regex = compile_pattern("/rooms/<int:room>/").regex
    assert rechecked(told) == [([regex],)]
    cache.get()
    edited.pattern = "/halls/"
    edited.save()
    assert rechecked(told) == [(sorted([regex, "/halls/"]),)]
    assert cache.get()[0].text == "/halls/"
    edited.delete()
    assert rechecked(told) == [(["/halls/"],)]
    assert cache.get() == ()


def test_groups_of_a_policy_count(told: mock.MagicMock, make_policy: MakePolicy) -> None:
    edited = make_policy("/g/", subscribe_audience="groups")
    group = Group.objects.create(name="readers")
    told.reset_mock()
    for change in (
        lambda: edited.groups.add(group),
        lambda: edited.groups.clear(),
        lambda: edited.groups.set([group]),
        lambda: edited.groups.remove(group),
    ):
        cache.get()
        change()
        assert ["/g/"] in [call[0] for call in rechecked(told)]
        assert cache.get()[0].groups == frozenset(edited.groups.values_list("pk", flat=True))


def test_nothing_is_told_before_the_commit_nor_after_a_rollback(
    told: mock.MagicMock, make_policy: MakePolicy
) -> None:
    with transaction.atomic():
        make_policy("/a/")
        make_policy("/b/")
        with transaction.atomic():
            make_policy("/c/")
            transaction.set_rollback(True)
        make_policy("/d/")
        assert not told.mock_calls
    assert rechecked(told) == [(["/a/", "/b/", "/d/"],)]
    with transaction.atomic():
        make_policy("/e/")
        transaction.set_rollback(True)
    assert not told.mock_calls


def test_a_failed_savepoint_takes_its_own_with_it(
    told: mock.MagicMock, make_user: Any, make_policy: MakePolicy
) -> None:
    alice = make_user("alice")
    with transaction.atomic():
        with transaction.atomic():
            alice.is_active = False
            alice.save()
            transaction.set_rollback(True)
        make_policy("/a/")
    assert closed(told) == []


def test_a_malformed_pattern_is_rechecked_by_its_beginning(
    told: mock.MagicMock, make_policy: MakePolicy
) -> None:
    make_policy("/rooms/<hex:x>/")
    assert rechecked(told) == [(["/rooms/.*"],)]


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
    make_policy: MakePolicy, make_user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob = make_user("alice"), make_user("bob")
    down = HookboxUnreachable("nobody listens")
    with (
        mock.patch("djhookbox.client.disconnect", side_effect=down) as disconnect,
        mock.patch("djhookbox.client.disconnect_all", side_effect=down) as disconnect_all,
        mock.patch("djhookbox.client.recheck", side_effect=down) as recheck,
        transaction.atomic(),
    ):
        make_policy("/a/")
        alice.delete()
        bob.delete()
    # One refused connection, not three.
    assert disconnect.call_count + disconnect_all.call_count + recheck.call_count == 1
    assert "nobody listens" in caplog.text
    assert ChannelPolicy.objects.count() == 1


# ---- users


def test_deactivation_deletion_and_password(told: mock.MagicMock, make_user: Any) -> None:
    alice = make_user("alice")
    assert not told.mock_calls
    alice.set_password("another")
    alice.save()
    assert closed(told) == [{"user": "alice", "code": 4000}]
    alice.is_active = False
    alice.save()
    assert closed(told) == [{"user": "alice", "code": 4501}]
    alice.is_active = True
    alice.save()
    assert not told.mock_calls
    alice.delete()
    assert closed(told) == [{"user": "alice", "code": 4501}]


def test_a_new_name_ends_the_old(told: mock.MagicMock, make_user: Any) -> None:
    alice = make_user("alice")
    alice.username = "alicia"
    alice.save()
    assert closed(told) == [{"user": "alice", "code": 4000}]


def test_gone_outweighs_changed(told: mock.MagicMock, make_user: Any) -> None:
    alice = make_user("alice")
    with transaction.atomic():
        alice.is_active = False
        alice.save()
        alice.set_password("another")
        alice.save()
    assert closed(told) == [{"user": "alice", "code": 4501}]


def test_saves_that_change_no_right_tell_nothing(
    told: mock.MagicMock, make_user: Any, django_assert_num_queries: Any
) -> None:
    alice = make_user("alice")
    alice.first_name = "Alice"
    alice.save()
    with django_assert_num_queries(1):  # as at each login
        alice.save(update_fields=["last_login"])
    alice.password = "changed, but not saved"
    alice.save(update_fields=["first_name", "is_active"])
    assert not told.mock_calls
    alice.save(update_fields=["password"])
    assert closed(told) == [{"user": "alice", "code": 4000}]


def test_a_save_that_fails_tells_nothing(told: mock.MagicMock, make_user: Any) -> None:
    alice = make_user("alice")
    alice.is_active = False
    with (
        mock.patch("django.db.models.base.Model._do_update", side_effect=RuntimeError),
        pytest.raises(RuntimeError),
    ):
        alice.save()
    assert not told.mock_calls


def test_status_is_asked_about_again(told: mock.MagicMock, make_user: Any) -> None:
    alice = make_user("alice")
    for field in ("is_staff", "is_superuser"):
        for value in (True, False):
            setattr(alice, field, value)
            alice.save()
            assert rechecked(told) == [([".*"], ["alice"])]


def test_groups_and_permissions_of_users(told: mock.MagicMock, make_user: Any) -> None:
    users = [make_user(name) for name in ("alice", "bob", "carol")]
    alice, bob, _carol = users
    group = Group.objects.create(name="readers")
    permission = Permission.objects.get(codename="view_server")
    only_alice, all_three = [([".*"], ["alice"])], [([".*"], ["alice", "bob", "carol"])]
    for change, expected in (
        (lambda: alice.groups.add(group), only_alice),
        (lambda: alice.groups.remove(group), only_alice),
        (lambda: alice.groups.clear(), only_alice),
        (lambda: group.user_set.add(*users), all_three),
        (lambda: group.user_set.remove(bob), [([".*"], ["bob"])]),
        (lambda: group.user_set.clear(), [([".*"], ["alice", "carol"])]),
        (lambda: alice.user_permissions.add(permission), only_alice),
        (lambda: permission.user_set.clear(), only_alice),
    ):
        change()
        assert rechecked(told) == expected


def test_bulk_edits_cause_few_calls(
    told: mock.MagicMock, make_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [make_user(f"u{number}") for number in range(5)]
    group = Group.objects.create(name="readers")
    with transaction.atomic():
        for user in users:
            user.groups.add(group)
            user.is_staff = True
            user.save()
    assert rechecked(told) == [([".*"], [f"u{number}" for number in range(5)])]
    monkeypatch.setattr(notices, "_MANY_USERS", 4)
    with transaction.atomic():
        for user in users:
            user.groups.remove(group)
    assert rechecked(told) == [([".*"],)]


def test_permissions_of_groups_and_groups_that_go(
    told: mock.MagicMock, make_policy: MakePolicy
) -> None:
    group = Group.objects.create(name="readers")
    make_policy("/p/", subscribe_audience="permission", permission="a.b")
    make_policy("/g/", subscribe_audience="groups").groups.add(group)
    make_policy("/off/", subscribe_audience="groups", enabled=False)
    make_policy("/s/", subscribe_audience="staff")
    told.reset_mock()
    group.permissions.add(Permission.objects.get(codename="view_server"))
    assert rechecked(told) == [(["/p/", "djhookbox:server"],)]
    cache.get()
    group.delete()
    assert rechecked(told) == [(["/g/", "/p/", "djhookbox:server"],)]
    assert all(not rule.groups for rule in cache.get())


# ---- sessions


def test_logout_closes_the_sessions_connections(told: mock.MagicMock, make_user: Any) -> None:
    alice = make_user("alice")
    here, there = Client(), Client()
    for client in (here, there):
        client.force_login(alice)
    key = here.session.session_key
    told.reset_mock()
    here.logout()
    assert closed(told) == [{"identity": session_identity(key), "code": 4000}]


def test_a_deleted_session_closes_its_connections(told: mock.MagicMock, make_user: Any) -> None:
    client = Client()
    client.force_login(make_user("alice"))
    key = client.session.session_key
    told.reset_mock()
    Session.objects.all().delete()
    assert closed(told) == [{"identity": session_identity(key), "code": 4000}]


def test_expired_and_anonymous_sessions_concern_nobody(
    told: mock.MagicMock, make_user: Any
) -> None:
    client = Client()
    client.force_login(make_user("alice"))
    Session.objects.update(expire_date=timezone.now() - timedelta(days=1))
    anonymous = Client().session
    anonymous["basket"] = [1]
    anonymous.save()
    told.reset_mock()
    assert Session.objects.count() == 2
    Session.objects.all().delete()
    assert not told.mock_calls


def test_many_deleted_sessions_cost_one_call(
    told: mock.MagicMock, make_user: Any, monkeypatch: pytest.MonkeyPatch
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
            assert not told.mock_calls
        calls = told.mock_calls
        assert len(calls) == -(-len(keys) // size)
        assert all(call[0] == "disconnect_all" and call[2]["code"] == 4000 for call in calls)
        ended = [identity for call in calls for identity in call[2]["identities"]]
        assert sorted(ended) == sorted(map(session_identity, keys))
        told.reset_mock()


def test_many_users_who_go_cost_one_call(told: mock.MagicMock, make_user: Any) -> None:
    for name in ("alice", "bob", "carol"):
        make_user(name)
    get_user_model().objects.all().delete()
    (call,) = told.mock_calls
    assert (call[0], sorted(call[2]["users"])) == ("disconnect_all", ["alice", "bob", "carol"])


def test_expired_sessions_are_deleted_by_one_statement(
    told: mock.MagicMock, make_user: Any
) -> None:
    ended = timezone.now() - timedelta(days=1)
    Session.objects.bulk_create(
        Session(session_key=f"k{number}", session_data="", expire_date=ended)
        for number in range(500)
    )
    live = Client()
    live.force_login(make_user("alice"))
    told.reset_mock()
    with CaptureQueriesContext(connection) as queries:
        call_command("clearsessions")
    # The first asks for those that concern somebody; PostgreSQL declares a cursor for it.
    statements = [query["sql"].split()[0].replace("DECLARE", "SELECT") for query in queries]
    assert [name for name in statements if name not in ("BEGIN", "COMMIT")] == ["SELECT", "DELETE"]
    assert Session.objects.count() == 1
    assert not told.mock_calls


def test_other_receivers_still_see_each_session_that_is_deleted(
    told: mock.MagicMock, make_user: Any
) -> None:
    seen = []

    def receiver(instance: Session, **kwargs: Any) -> None:
        seen.append(instance.session_key)

    clients = [Client(), Client()]
    for client in clients:
        client.force_login(make_user(f"u{id(client)}"))
    told.reset_mock()
    post_delete.connect(receiver, sender=Session)
    try:
        Session.objects.all().delete()
    finally:
        post_delete.disconnect(receiver, sender=Session)
    assert len(seen) == 2
    assert told.disconnect_all.call_count == 1


def test_what_cannot_be_deleted_is_refused_as_ever(told: mock.MagicMock) -> None:
    with pytest.raises(TypeError, match="delete"):
        Session.objects.all()[:5].delete()
    with pytest.raises(NotSupportedError, match="delete"):
        Session.objects.all().union(Session.objects.all()).delete()
    assert not told.mock_calls


def test_a_deletion_that_is_rolled_back_ends_nothing(told: mock.MagicMock, make_user: Any) -> None:
    client = Client()
    client.force_login(make_user("alice"))
    told.reset_mock()
    for delete in (Session.objects.all().delete, Session.objects.get().delete):
        with transaction.atomic():
            delete()
            transaction.set_rollback(True)
    assert not told.mock_calls
    key = client.session.session_key
    Session.objects.get().delete()
    ended = session_identity(key)
    assert closed(told) == [{"identity": ended, "code": 4000}]


async def test_asynchronous_deletion(told: mock.MagicMock) -> None:
    user = await get_user_model().objects.acreate(username="alice")
    for _number in range(2):
        client = Client()
        await sync_to_async(client.force_login)(user)
    told.reset_mock()
    await (await Session.objects.afirst()).adelete()  # type: ignore[union-attr]
    await Session.objects.all().adelete()
    assert told.disconnect.call_count == 2


def test_a_rotated_key_closes_the_old_ones_connections(
    told: mock.MagicMock, make_user: Any
) -> None:
    alice = make_user("alice")
    client = Client()
    client.force_login(alice)
    request = RequestFactory().get("/")
    request.session = client.session
    request.user = alice
    key = request.session.session_key
    told.reset_mock()
    update_session_auth_hash(request, alice)
    assert request.session.session_key != key
    assert closed(told) == [{"identity": session_identity(key), "code": 4000}]


def test_logout_of_sessions_without_rows(told: mock.MagicMock, make_user: Any) -> None:
    request = RequestFactory().get("/")
    request.session = CacheStore("the-key-of-a-cached-session")
    alice = make_user("alice")
    user_logged_out.send(sender=type(alice), request=request, user=alice)
    assert closed(told) == [
        {"identity": session_identity("the-key-of-a-cached-session"), "code": 4000}
    ]
    for odd in ({"request": request, "user": None}, {"request": None, "user": alice}):
        user_logged_out.send(sender=type(alice), **odd)
    assert not told.mock_calls
