"""Who is online: one call, no query for each user."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from django.contrib import admin
from django.contrib.admin.sites import AdminSite
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.test import RequestFactory
from django.urls import resolve
from pytest_django import DjangoAssertNumQueries

from djhookbox import online
from djhookbox.admin.online import OnlineAdminMixin
from djhookbox.exceptions import ChannelNameError, HookboxNotRunning, HookboxUnreachable
from djhookbox.models import ConnectionLog
from djhookbox.testing import in_process, override_policies

pytestmark = pytest.mark.django_db


def answering(*names: str) -> Any:
    return mock.patch("djhookbox.client.list_users", return_value=names)


@pytest.fixture
def people(make_user: Any) -> list[Any]:
    return [make_user(name) for name in ("alice", "bob", "carol")]


def test_the_process_knows(people: list[Any]) -> None:
    """The real server: connections, channels and visitors."""
    with in_process() as hookbox:
        assert online.online_count() == 0
        alice = hookbox.connect(people[0])
        hookbox.connect(people[0])
        bob = hookbox.connect(people[1])
        hookbox.connect()
        assert set(online.users()) == {people[0], people[1]}
        assert online.online_count() == 2
        assert online.online_count(visitors=True) == 3
        with override_policies("/a/"):
            bob.subscribe("/a/")
            assert list(online.users("/a/")) == [people[1]]
            assert online.online_count("/b/") == 0
            assert online.is_online(people[1], "/a/")
            assert not online.is_online(people[0], "/a/")
        bob.disconnect()
        assert [user.username for user in online.users()] == ["alice"]
        seen = {user.username: user for user in online.annotate(User.objects.all())}
        assert {name: user.is_online for name, user in seen.items()} == {
            "alice": True, "bob": False, "carol": False,
        }  # fmt: skip
        gone = ConnectionLog.objects.get(user_name="bob", event="disconnect")
        assert seen["bob"].last_seen == gone.created
        assert seen["carol"].last_seen is None
        alice.disconnect()
        assert seen["alice"].last_seen is not None


def test_one_query_for_any_number(
    make_user: Any, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        make_user(f"user{number}")
    with answering("user1", "user2", " _visitor") as asked, django_assert_num_queries(1):
        rows = list(online.annotate(User.objects.order_by("pk")))
    assert [row.username for row in rows if row.is_online] == ["user1", "user2"]
    assert asked.call_count == 1
    with answering("user1", "nobody of this site"), django_assert_num_queries(1):
        assert online.users().count() == 1
    with answering("user1"), django_assert_num_queries(0):
        assert online.online_count() == 1


def test_they_are_querysets(people: list[Any]) -> None:
    with answering("alice", "bob"):
        rows = online.annotate(User.objects.all())
        assert rows.filter(is_online=True).count() == 2
        assert online.users().filter(username__startswith="b").get() == people[1]
        assert rows.order_by("-is_online", "username").last() == people[2]


def test_a_process_that_is_not_running_holds_no_connections(people: list[Any]) -> None:
    with mock.patch("djhookbox.client.list_users", side_effect=HookboxNotRunning("down")):
        assert online.users().count() == 0
        assert online.online_count() == 0
        assert not any(user.is_online for user in online.annotate(User.objects.all()))


def test_what_is_not_known_is_an_error() -> None:
    with (
        mock.patch("djhookbox.client.list_users", side_effect=HookboxUnreachable("slow")),
        pytest.raises(HookboxUnreachable),
    ):
        online.online_count()
    with pytest.raises(ChannelNameError):
        online.users("a\n")


def test_in_a_test_run_nobody_is_online(people: list[Any]) -> None:
    assert online.online_count() == 0


# ---- the admin -----------------------------------------------------------------------------------


class OnlineUserAdmin(OnlineAdminMixin, UserAdmin):  # type: ignore[type-arg]
    """The admin of a site."""


def change_list(staff: Any, **query: str) -> tuple[Any, list[str]]:
    request = RequestFactory().get("/admin/auth/user/", query)
    request.user = staff
    request.resolver_match = resolve("/admin/auth/user/")
    SessionMiddleware(lambda _: mock.Mock()).process_request(request)
    MessageMiddleware(lambda _: mock.Mock()).process_request(request)
    page = OnlineUserAdmin(User, AdminSite()).changelist_view(request)
    page.render()
    return page, [str(message) for message in get_messages(request)]


def test_the_list_of_users(people: list[Any], django_user_model: Any) -> None:
    root = django_user_model.objects.create_superuser("root")
    with answering("bob") as asked:
        page, _said = change_list(root)
        assert asked.call_count == 1
        html = page.content.decode()
        assert "column-hookbox_is_online" in html
        assert html.count("icon-yes.svg") == 2  # bob is online, root is staff
        only, _said = change_list(root, online="1")
        assert [user.username for user in only.context_data["cl"].result_list] == ["bob"]
        rest, _said = change_list(root, online="0")
        assert rest.context_data["cl"].result_count == 3
    with mock.patch("djhookbox.client.list_users", side_effect=HookboxUnreachable("It is slow.")):
        page, said = change_list(root)
    assert said == ["Cannot determine who is online: It is slow."]
    assert page.context_data["cl"].result_count == 4


def test_other_pages_do_not_ask(people: list[Any]) -> None:
    request = RequestFactory().get("/admin/auth/user/1/change/")
    request.resolver_match = resolve("/admin/auth/user/1/change/")
    with answering("bob") as asked:
        OnlineUserAdmin(User, admin.site).get_queryset(request)
    assert not asked.called
