"""What must not be read from a replica, which may not have an edit of a moment ago."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connections, transaction
from django.utils.connection import ConnectionDoesNotExist

from djhookbox.bans import store as bans
from djhookbox.bans.rules import Subject
from djhookbox.decisions.rechecks import recheck
from djhookbox.decisions.store import cache
from djhookbox.models import Ban, ChannelPolicy

pytestmark = pytest.mark.django_db


class Replicas:
    """The router of a site with replicas; they are not there, so reading from them fails."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


@pytest.fixture(autouse=True)
def replicas(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [Replicas()]
    cache.drop()
    bans.cache.drop()


def test_there_are_replicas() -> None:
    with pytest.raises(ConnectionDoesNotExist):
        ChannelPolicy.objects.exists()
    assert "replica" not in connections


def test_policies() -> None:
    ChannelPolicy.objects.create(name="News", pattern="/news/")
    assert [rule.name for rule in cache.get(fresh=True)] == ["News"]


def test_policies_that_a_transaction_has_edited() -> None:
    policy = ChannelPolicy.objects.create(name="News", pattern="/news/")
    cache.get(fresh=True)
    with transaction.atomic():
        policy.name = "Today"
        policy.save()
        assert [rule.name for rule in cache.get()] == ["Today"]


def test_bans() -> None:
    Ban.objects.create(kind="user", value="bob")
    assert bans.find(Subject("bob")) is not None


@pytest.mark.parametrize("audience", ["signed_in", "groups", "permission"])
def test_users_who_are_rechecked(audience: str) -> None:
    alice, bob = (User.objects.create_user(name) for name in ("alice", "bob"))
    group = Group.objects.create(name="readers")
    permission = Permission.objects.using("default").get(codename="view_user")
    policy = ChannelPolicy.objects.create(
        name="News",
        pattern="/news/",
        subscribe_audience=audience,
        permission="auth.view_user" if audience == "permission" else "",
    )
    policy.groups.through.objects.create(channelpolicy_id=policy.pk, group_id=group.pk)
    User.groups.through.objects.create(user_id=alice.pk, group_id=group.pk)
    User.user_permissions.through.objects.create(user_id=alice.pk, permission_id=permission.pk)
    bob.is_active = False
    bob.save()
    assert list(recheck({"/news/": ["alice", "bob"]})["/news/"].refused) == ["bob"]
