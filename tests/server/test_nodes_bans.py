"""Bans hold on all nodes: the site is asked by each, and each closes what is open on it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from djhookbox.bans.rules import Kind
from djhookbox.conf import settings
from djhookbox.models import Ban, ConnectionLog
from djhookbox.users.identity import connect_token, token_identity
from djhookbox.wire.closing import BY_SITE

from ..redis_server import RedisServer
from .nodes import Node
from .rig import FakeConnection
from .setups import Group

pytestmark = pytest.mark.django_db

HERE, THERE = "192.0.2.7", "198.51.100.7"


T = TypeVar("T")


def ask_django(form: Mapping[str, str]) -> list[Any]:
    """Let the views of the site answer a webhook."""
    fields = {"secret": settings.webhook_secrets[0], **form}
    headers = {"X-Hookbox-Version": "djhookbox/test"}
    loop = asyncio.get_running_loop()
    asyncio._set_running_loop(None)  # Django runs in a separate process without a loop
    try:
        response = Client().post(f"/hookbox/{form['action']}", fields, headers=headers)
    finally:
        asyncio._set_running_loop(loop)
    found: list[Any] = json.loads(response.content)
    return found


class Site:
    """Two nodes, and a loop that only runs while they are called."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._group = self.run(Group([Node(url), Node(url)]).start())
        self.nodes = self._group.nodes
        for node in self.nodes:
            node.site.answer = ask_django  # type: ignore[method-assign]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def connect(self, node: Node, user: User, address: str) -> FakeConnection:
        client = node.client()
        client.handshake = replace(client.handshake, remote_addr=address)
        self.run(node.send(client, "CONNECT", cookie_string="", token=connect_token(user)))
        return client

    def connect_to_each(self, user: User, address: str) -> list[FakeConnection]:
        return [self.connect(node, user, address) for node in self.nodes]

    def disconnect(self, node: Node, **form: str) -> int:
        number: int = self.run(node.rest("disconnect", **form))["disconnected"]
        return number

    def close(self) -> None:
        self.run(self._group.stop())
        self._loop.close()


@pytest.fixture
def site(redis: RedisServer) -> Iterator[Site]:
    site = Site(redis.url)
    yield site
    site.close()


def test_a_ban_on_a_range_of_addresses_holds_on_both_nodes_until_it_ends(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = User.objects.create_user("bob")
    inside, outside = site.connect_to_each(bob, HERE), site.connect_to_each(bob, THERE)
    assert all(client.user for client in (*inside, *outside))
    until = timezone.now() + timedelta(hours=1)
    Ban.objects.create(kind=Kind.ADDRESS, value="192.0.2.0/24", reason="Spam.", until=until)
    assert site.disconnect(site.nodes[0], addresses='["192.0.2.0/24"]', reason="Spam.") == 2
    assert [client.end for client in inside] == [replace(BY_SITE, reason="Spam.")] * 2
    assert [client.end for client in outside] == [None, None]
    for refused in site.connect_to_each(bob, "192.0.2.200"):
        assert (refused.user, refused.names()) == (None, ["ERROR"])
    assert all(client.user for client in site.connect_to_each(bob, THERE))
    assert ConnectionLog.objects.filter(event="refused", reason="Spam.").count() == 2
    now = time.time()
    later = SimpleNamespace(time=lambda: now + 3601)
    monkeypatch.setattr("djhookbox.decisions.decide.time", later)
    assert all(client.user for client in site.connect_to_each(bob, HERE))


@pytest.mark.parametrize("kind", [Kind.USER, Kind.SESSION])
def test_a_banned_user_or_session_cannot_connect_to_any_node(site: Site, kind: Kind) -> None:
    bob = User.objects.create_user("bob")
    there = site.connect_to_each(bob, HERE)
    value = "bob" if kind is Kind.USER else token_identity(bob)
    ban = Ban.objects.create(kind=kind, value=value)
    lists = {Kind.USER: "names", Kind.SESSION: "identities"}
    assert site.disconnect(site.nodes[1], **{lists[kind]: json.dumps([value])}) == 2
    assert all(client.closed for client in there)
    assert not any(client.user for client in site.connect_to_each(bob, HERE))
    ban.lifted = timezone.now()
    ban.save()
    assert all(client.user for client in site.connect_to_each(bob, HERE))


def test_for_a_moment_both_nodes_close_what_a_process_with_older_bans_accepts(site: Site) -> None:
    bob = User.objects.create_user("bob")
    assert site.disconnect(site.nodes[0], addresses='["192.0.2.0/24"]', seconds="30") == 0
    assert all(client.end for client in site.connect_to_each(bob, HERE))
    assert not any(client.end for client in site.connect_to_each(bob, THERE))
    for node in site.nodes:
        node.connections._lasting = [(0.0, *each[1:]) for each in node.connections._lasting]
    assert not any(client.end for client in site.connect_to_each(bob, HERE))
