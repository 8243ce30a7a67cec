"""The core under any sequence of calls, compared with a simple model."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from djhookbox.server.core.model import Channel

from ..tries import tries
from .house import NOW, Client, House, deliver

USERS = ("alice", "bob", "carol")
CHANNELS = ("plain", "presence", "shy")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"history_size": 3},
    "presence": {"presenceful": True, "history_size": 2},
    "shy": {"reflective": False, "anonymous": True},
}


@dataclass
class Inside:
    """A user in a channel: by which connections, and whether others of theirs join."""

    members: set[Client]
    shared: bool = False
    by_code: bool = False

    def covers(self, client: Client) -> bool:
        return self.shared and (self.by_code or not client.apart)


class AnySequence(RuleBasedStateMachine):
    """Connect, subscribe, publish, leave in any order."""

    #: Whether a connection can unsubscribe its user from a channel that it is not in itself.
    CORE = True

    def __init__(self) -> None:
        super().__init__()
        self.house = House()
        self.clients: list[Client] = []
        self.channels = {name: self.make_channel(name) for name in CHANNELS}
        #: Who is in, in order.
        self.inside: dict[str, dict[str, Inside]] = {name: {} for name in CHANNELS}
        self.owner: dict[Client, str] = {}
        self.apart: dict[str, bool] = {}
        self.everywhere: dict[str, bool] = {}
        self.number = 0

    # ---- what is done to the core --------------------------------------------------------------

    def make_channel(self, name: str) -> Channel:
        return self.house.channel(name, **OPTIONS[name])

    def order(self, client: Client) -> list[str]:
        """Return the channels of a client's user in the order in which they are left."""
        assert client.user is not None
        return list(client.user.subscriptions)

    def history(self, name: str) -> Sized:
        return self.channels[name].history_list(NOW)

    def do_connect(self, user: str, apart: bool, options: dict[str, bool]) -> Client:
        return self.house.connect(user, f"{user}{self.number}", apart=apart, **options)

    def do_subscribe(self, client: Client, name: str, code: bool) -> None:
        assert client.user is not None
        where = None if code else client
        deliver(
            self.house.hub.subscribe(client.user, self.channels[name], where, NOW, by_code=code)
        )

    def do_unsubscribe(self, client: Client, name: str, code: bool) -> None:
        if code:
            self.house.unsubscribe(client, self.channels[name])
        else:
            self.house.leave(client, self.channels[name])

    def do_detach(self, client: Client, left: list[str]) -> None:
        assert [channel.name for channel in self.house.detach(client)] == left

    def do_publish(self, name: str, origin: Client | None) -> None:
        self.house.publish(self.channels[name], self.number, origin=origin)

    def do_destroy(self, name: str) -> None:
        deliver(self.house.hub.destroy_channel(self.channels[name], NOW))

    # ---- the model -----------------------------------------------------------------------------

    def of(self, user: str) -> set[Client]:
        return {client for client in self.clients if self.owner[client] == user}

    def audience(self, channel: str) -> set[Client]:
        return {client for one in self.inside[channel].values() for client in one.members}

    def pick(self, number: int) -> Client | None:
        return self.clients[number % len(self.clients)] if self.clients else None

    def check(self, expected: dict[Client, list[str]]) -> None:
        for client in self.clients:
            assert client.names() == expected.get(client, []), client

    @rule(
        user=st.sampled_from(USERS),
        apart=st.booleans(),
        everywhere=st.booleans(),
        own=st.booleans(),
    )
    def connect(self, user: str, apart: bool, everywhere: bool, own: bool) -> None:
        options = {"per_connection_subscriptions": apart, "global_unsubscriptions": everywhere}
        self.apart[user], self.everywhere[user] = apart, everywhere
        self.number += 1
        client = self.do_connect(user, own, options)
        joined = [one[user] for one in self.inside.values() if user in one]
        joined = [one for one in joined if one.covers(client)]
        for one in joined:
            one.members.add(client)
        self.clients.append(client)
        self.owner[client] = user
        self.check({client: ["CONNECTED"] + ["SUBSCRIBE"] * len(joined)})

    @rule(number=st.integers(0, 99), name=st.sampled_from(CHANNELS), code=st.booleans())
    def subscribe(self, number: int, name: str, code: bool) -> None:
        client = self.pick(number)
        if client is None:
            return
        user, inside = self.owner[client], self.inside[name]
        before, history = self.audience(name), self.history(name)
        arrives = user not in inside
        one = inside.setdefault(user, Inside(set()))
        one.by_code |= code
        if code or (client not in one.members and not (self.apart[user] or client.apart)):
            one.shared = True
            one.members |= {other for other in self.of(user) if one.covers(other)}
        else:
            one.members.add(client)
        joining = self.audience(name) - before
        self.do_subscribe(client, name, code)
        own_frames = ["CHANNEL_INIT", "SUBSCRIBE"] if history else ["SUBSCRIBE"]
        expected = dict.fromkeys(joining, own_frames)
        if arrives and name == "presence":
            expected |= {key: ["SUBSCRIBE"] for key in before}
        self.check(expected)

    def leave(
        self, user: str, name: str, leaving: set[Client], expected: dict[Client, list[str]]
    ) -> bool:
        """Take connections out; return whether the user has left with them."""
        one = self.inside[name][user]
        one.members -= leaving
        gone = not one.members
        if gone:
            del self.inside[name][user]
        others = self.audience(name) if gone and name == "presence" else set()
        for client in leaving | others:
            expected.setdefault(client, []).append("UNSUBSCRIBE")
        return gone

    @rule(number=st.integers(0, 99), name=st.sampled_from(CHANNELS), code=st.booleans())
    def unsubscribe(self, number: int, name: str, code: bool) -> None:
        client = self.pick(number)
        if client is None:
            return
        user, expected = self.owner[client], dict[Client, list[str]]()
        if user in self.inside[name]:
            if not (code or client in self.inside[name][user].members or self.CORE):
                return
            one = self.inside[name][user]
            if code or self.everywhere[user]:
                leaving = set(one.members)
            elif client.apart:
                leaving = one.members & {client}
            else:
                leaving = {other for other in one.members if not other.apart}
            gone = self.leave(user, name, leaving, expected)
            if not (gone or client.apart):
                one.shared = False
        self.do_unsubscribe(client, name, code)
        self.check(expected)

    @rule(number=st.integers(0, 99))
    def detach(self, number: int) -> None:
        client = self.pick(number)
        if client is None:
            return
        order = self.order(client)
        self.clients.remove(client)
        user = self.owner.pop(client)
        expected: dict[Client, list[str]] = {}
        left = []
        for name in order:
            one = self.inside[name][user]
            inside = client in one.members
            one.members.discard(client)
            if inside and (self.everywhere[user] or not one.members):
                assert self.leave(user, name, set(one.members), expected)
                left.append(name)
        self.do_detach(client, left)
        self.check(expected)

    @rule(number=st.integers(0, 99), name=st.sampled_from(CHANNELS), code=st.booleans())
    def publish(self, number: int, name: str, code: bool) -> None:
        origin = None if code else self.pick(number)
        self.do_publish(name, origin)
        reached = self.audience(name) - ({origin} if name == "shy" else set())
        self.check({key: ["PUBLISH"] for key in reached})

    @rule(name=st.sampled_from(CHANNELS))
    def destroy(self, name: str) -> None:
        expected = {key: ["UNSUBSCRIBE"] for key in self.audience(name)}
        self.do_destroy(name)
        self.channels[name] = self.make_channel(name)
        self.inside[name] = {}
        self.check(expected)

    @invariant()
    def nothing_is_left_behind(self) -> None:
        hub = self.house.hub
        assert set(hub.users) == {c.user.name for c in self.clients if c.user}
        for name, user in hub.users.items():
            assert set(user.connections) == self.of(name)
            assert all(hub.channels[c.name] is c for c in user.subscriptions.values())
        for name, channel in self.channels.items():
            assert set(channel.audience) == self.audience(name)
            assert list(channel.subscribers) == list(self.inside[name])
            for user_name, subscription in channel.subscribers.items():
                assert hub.users[user_name] is subscription.user
                assert subscription.user.subscriptions[name] is channel
            assert (channel.empty_since is None) is bool(channel.subscribers)
            assert len(channel.history) <= channel.options.history_size
        assert set(hub.empty) == {each for each in self.channels.values() if not each.subscribers}


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = tries(60, stateful_step_count=40)
