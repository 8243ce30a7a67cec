"""Try a channel: the page that says who decides, and why."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

import djhookbox
from djhookbox.admin.policies.trying import SHOWN
from djhookbox.models import ChannelPolicy

from .stand_in import APP, Hookbox, person, signed_in

TRY = f"{APP}channelpolicy/try/"


def asked(client: Client, **query: str) -> Any:
    return client.get(f"{TRY}?{urlencode(query)}")


def test_the_address_is_what_the_logs_link_to() -> None:
    assert reverse("admin:djhookbox_channelpolicy_try") == TRY


def test_who_may_try(
    root: Client, viewer: Client, staff: Client, stranger: Client, rows: Any, hookbox: Hookbox
) -> None:
    page = root.get(f"{APP}channelpolicy/").content.decode()
    assert f'href="{TRY}"' in page
    for client in (root, viewer):
        assert client.get(TRY).status_code == 200
        assert asked(client, channel="/front/").status_code == 200
        assert client.post(TRY).status_code == 405
    assert staff.get(TRY).status_code == 403
    assert stranger.get(TRY).status_code == 302
    assert not hookbox.calls, "nothing of it is the process's business"


def test_a_refusal_is_explained(viewer: Client, rows: Any, django_assert_num_queries: Any) -> None:
    person("alice", staff=False)
    ChannelPolicy.objects.create(name="Fro<nt> off", pattern="/front/", enabled=False)
    ChannelPolicy.objects.filter(name="Front").update(subscribe_audience="staff")
    with django_assert_num_queries(12):
        page = asked(viewer, user="alice", channel="/front/", operation="subscribe")
    html = page.content.decode()
    assert "<p>Only staff may do this here.</p>" in html
    news = rows["channelpolicy"]
    assert f'<a href="{APP}channelpolicy/{news.pk}/change/"><bdi>Policy News</bdi></a>' in html
    assert "Its pattern does not match." in html
    assert "Fro&lt;nt&gt; off" in html
    assert "signal receivers" in html
    assert "Handlers are called" in html
    assert 'value="alice"' in html
    assert 'value="/front/"' in html


@pytest.fixture
def alice(db: None) -> User:
    user = person("alice", staff=False)
    user.groups.add(Group.objects.create(name="readers <b>"))
    return user


def seen_by(*permissions: str, channel: str = "/front/", user: str = "alice") -> str:
    reader = signed_in(person("reader", "view_channelpolicy"))
    for codename in permissions:
        User.objects.get(username="reader").user_permissions.add(
            Permission.objects.get(codename=codename)
        )
    return asked(reader, user=user, channel=channel, operation="subscribe").content.decode()


def test_the_groups_that_are_needed_are_named(rows: Any, alice: User) -> None:
    policy = ChannelPolicy.objects.get(name="Front")
    policy.subscribe_audience = "groups"
    policy.save()
    policy.groups.set([Group.objects.create(name=name) for name in ("editors", "chiefs")])
    html = seen_by("view_user")
    assert "It requires one of the groups chiefs or editors." in html
    assert "alice is only in the group readers &lt;b&gt;." in html
    alice.groups.clear()
    client = signed_in(User.objects.get(username="reader"))
    assert (
        "alice is not in any group."
        in asked(client, user="alice", channel="/front/").content.decode()
    )
    html = asked(client, channel="/front/").content.decode()
    assert "chiefs or editors" in html
    assert "in any group" not in html, "an anonymous visitor"


def test_the_groups_of_a_user_are_shown_to_those_who_may_see_users(rows: Any, alice: User) -> None:
    policy = ChannelPolicy.objects.get(name="Front")
    policy.subscribe_audience = "groups"
    policy.save()
    policy.groups.add(Group.objects.create(name="editors"))
    html = seen_by()
    assert "It requires the group editors." in html
    assert "readers" not in html


def test_the_permission_that_is_needed_is_named(rows: Any, alice: User) -> None:
    ChannelPolicy.objects.filter(name="Front").update(
        create_audience="permission", subscribe_audience="everyone", permission="auth.add_user"
    )
    html = seen_by()
    text = "It requires the permission auth.add_user. alice does not have it."
    assert html.count(text) == 1, "for creating the channel only"


def test_what_admits_nobody_is_said(rows: Any, alice: User) -> None:
    ChannelPolicy.objects.filter(name="Front").update(subscribe_audience="groups")
    assert "The policy names no group, so it admits nobody." in seen_by()


def test_inactive_accounts_need_something_else(rows: Any, alice: User) -> None:
    ChannelPolicy.objects.filter(name="Front").update(
        subscribe_audience="permission", permission="auth.add_user"
    )
    alice.is_active = False
    alice.save()
    assert "It requires" not in seen_by()


def test_a_yes_shows_the_options(viewer: Client, rows: Any) -> None:
    person("alice", staff=False)
    html = asked(viewer, user=" alice ", channel="/front/").content.decode()
    assert "hookbox-good" in html
    assert "<code>history_size</code>" in html
    ChannelPolicy.objects.update(create_audience="nobody")
    html = asked(viewer, user="alice", channel="/front/").content.decode()
    assert "Allowed while the channel exists." in html
    assert "<code>history_size</code>" not in html


def test_handlers_are_named(viewer: Client, db: None) -> None:
    class Rooms:
        def create(self, user: Any, channel: str) -> None:
            return None

    djhookbox.register_channel_handler(Rooms())
    html = asked(viewer, channel="/x/", operation="create").content.decode()
    assert "Rooms" in html
    assert "It has no opinion." in html
    assert "No policy or handler opens this channel." in html


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"user": "nobody", "channel": "/x/"}, "There is no user “nobody”."),
        ({"user": "", "channel": ""}, "This field is required."),
        ({"user": "", "channel": "x" * 256}, "at most 255"),
        ({"user": "", "channel": "/a\nb/"}, "control characters"),
        ({"user": "a\0b", "channel": "/x/"}, "Null characters are not allowed."),
        ({"user": "", "channel": "/x/", "operation": "fly"}, "Select a valid choice"),
        ({"user": "", "channel": "/x/", "payload": "{"}, "This is not JSON"),
        ({"user": "x" * 300, "channel": "/x/"}, "at most 255"),
    ],
)
def test_mistakes_are_said_plainly(viewer: Client, query: dict[str, str], words: str) -> None:
    page = asked(viewer, **query)
    assert page.status_code == 200
    assert words in page.content.decode()
    assert page.context["trial"] is None


@pytest.mark.parametrize("name", ["<b>&\"'", "💬" * 255, "/ünïcode/", "%2F", " ", "../x"])
def test_odd_names(viewer: Client, db: None, name: str) -> None:
    page = asked(viewer, channel=name)
    assert page.status_code == 200
    assert page.context["trial"].channel == name
    assert "<b>&" not in page.content.decode()


def test_anonymous_visitors_of_the_logs(viewer: Client, rows: Any) -> None:
    html = asked(viewer, user=" _q1W2e3", channel="/front/").content.decode()
    assert "an anonymous visitor" in html
    assert "Only signed-in users may do this here." in html


def test_names_are_completed_for_those_who_may_see_users(
    root: Client, viewer: Client, stranger: Client
) -> None:
    users = f"{TRY}users/"
    for name in ("bea", "Ben", "bob", "carl"):
        person(name, staff=False)
    # In which order is the database's business: MariaDB sorts without regard to case.
    assert sorted(root.get(users, {"q": "b"}).json()["names"]) == ["Ben", "bea", "bob"]
    assert root.get(users, {"q": "b\0%"}).json() == {"names": []}
    assert users in root.get(TRY).content.decode()
    assert viewer.get(users, {"q": "b"}).status_code == 403
    assert users not in viewer.get(TRY).content.decode()
    assert stranger.get(users).status_code == 302
    only_users = signed_in(User.objects.create_user("clerk", is_staff=True))
    assert only_users.get(users).status_code == 403


def test_a_built_in_rule_decides_about_reserved_channels(viewer: Client, db: None) -> None:
    html = asked(viewer, channel="djhookbox:server", operation="subscribe").content.decode()
    assert "Built-in rule" in html


@pytest.mark.parametrize("decides", [False, True])
def test_many_policies_that_do_not_match_are_summed_up(
    viewer: Client, db: None, decides: bool
) -> None:
    count = SHOWN + 2
    ChannelPolicy.objects.bulk_create(
        ChannelPolicy(name=f"p{number:02}", pattern=f"/p{number}/", order=number)
        for number in range(count)
    )
    if decides:
        ChannelPolicy.objects.create(name="last", pattern="/x/", order=count)
    html = asked(viewer, channel="/x/").content.decode()
    shown = ["".join(found) for found in re.findall(r"Policy (\w+)|(\d+ further policies)", html)]
    steps = [*(f"p{number:02}" for number in range(SHOWN)), "2 further policies"]
    assert shown[: len(steps) + decides] == [*steps, *(["last"] if decides else [])]
