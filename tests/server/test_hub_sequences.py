"""The core under any sequence of calls: a simple model says who must get what."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from .house import NOW, Client, House, deliver

USERS = ("alice", "bob", "carol")
CHANNELS = ("plain", "presence", "shy")
OPTIONS = {
    "plain": {"history_size": 3},
    "presence": {"presenceful": True, "history_size": 2},
    "shy": {"reflective": False, "anonymous": True},
}


class AnySequence(RuleBasedStateMachine):
    """Connect, subscribe, publish, leave in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.house = House()
        self.clients: list[Client] = []
        self.channels = {
            name: self.house.channel(name, **options) for name, options in OPTIONS.items()
        }
        #: Who is in, in order, and by which connections (None: all of theirs).
        self.inside: dict[str, dict[str, set[Client] | None]] = {name: {} for name in CHANNELS}
        self.apart: dict[str, bool] = {}
        self.everywhere: dict[str, bool] = {}
        self.number = 0

    def of(self, user: str) -> set[Client]:
        return {c for c in self.clients if c.user is not None and c.user.name == user}

    def audience(self, channel: str) -> set[Client]:
        return {
            client
            for user, own in self.inside[channel].items()
            for client in (self.of(user) if own is None else own)
        }

    def pick(self, number: int) -> Client | None:
        return self.clients[number % len(self.clients)] if self.clients else None

    def check(self, expected: dict[Client, list[str]]) -> None:
        for client in self.clients:
            assert client.names() == expected.get(client, []), client

    @rule(user=st.sampled_from(USERS), apart=st.booleans(), everywhere=st.booleans())
    def connect(self, user: str, apart: bool, everywhere: bool) -> None:
        options = {"per_connection_subscriptions": apart, "global_unsubscriptions": everywhere}
        self.apart[user], self.everywhere[user] = apart, everywhere
        self.number += 1
        client = self.house.connect(user, f"{user}{self.number}", **options)
        joined = sum(1 for inside in self.inside.values() if inside.get(user, 0) is None)
        self.clients.append(client)
        self.check({client: ["CONNECTED"] + ["SUBSCRIBE"] * joined})

    @rule(number=st.integers(0, 99), name=st.sampled_from(CHANNELS), code=st.booleans())
    def subscribe(self, number: int, name: str, code: bool) -> None:
        client = self.pick(number)
        if client is None or client.user is None:
            return
        user, channel, inside = client.user.name, self.channels[name], self.inside[name]
        before, history = self.audience(name), channel.history_list(NOW)
        arrives = user not in inside
        if arrives:
            inside[user] = {client} if self.apart[user] and not code else None
        elif (own := inside[user]) is not None:
            if code:
                inside[user] = None
            else:
                own.add(client)
        joining = self.audience(name) - before
        where = None if code else client
        deliver(self.house.hub.subscribe(client.user, channel, where, NOW, by_code=code))
        own_frames = ["CHANNEL_INIT", "SUBSCRIBE"] if history else ["SUBSCRIBE"]
        expected = dict.fromkeys(joining, own_frames)
        if arrives and name == "presence":
            expected |= {key: ["SUBSCRIBE"] for key in before}
        self.check(expected)

    def leave(self, user: str, name: str, expected: dict[Client, list[str]]) -> None:
        leaving = self.audience(name)
        del self.inside[name][user]
        leaving -= self.audience(name)
        others = self.audience(name) if name == "presence" else set()
        for client in leaving | others:
            expected.setdefault(client, []).append("UNSUBSCRIBE")

    @rule(number=st.integers(0, 99), name=st.sampled_from(CHANNELS))
    def unsubscribe(self, number: int, name: str) -> None:
        client = self.pick(number)
        if client is None or client.user is None:
            return
        expected: dict[Client, list[str]] = {}
        if client.user.name in self.inside[name]:
            self.leave(client.user.name, name, expected)
        self.house.unsubscribe(client, self.channels[name])
        self.check(expected)

    @rule(number=st.integers(0, 99))
    def detach(self, number: int) -> None:
        client = self.pick(number)
        if client is None or client.user is None:
            return
        user = client.user.name
        order = list(client.user.subscriptions)
        self.clients.remove(client)
        expected: dict[Client, list[str]] = {}
        left = []
        for name in order:
            own = self.inside[name][user]
            subscribed = own is None or client in own
            if own is not None:
                own.discard(client)
            if not self.of(user) or own == set() or (subscribed and self.everywhere[user]):
                self.leave(user, name, expected)
                left.append(name)
        assert [channel.name for channel in self.house.detach(client)] == left
        self.check(expected)

    @rule(number=st.integers(0, 99), name=st.sampled_from(CHANNELS), code=st.booleans())
    def publish(self, number: int, name: str, code: bool) -> None:
        origin = None if code else self.pick(number)
        self.house.publish(self.channels[name], self.number, origin=origin)
        reached = self.audience(name) - ({origin} if name == "shy" else set())
        self.check({key: ["PUBLISH"] for key in reached})

    @rule(name=st.sampled_from(CHANNELS))
    def destroy(self, name: str) -> None:
        expected = {key: ["UNSUBSCRIBE"] for key in self.audience(name)}
        deliver(self.house.hub.destroy_channel(self.channels[name], NOW))
        self.channels[name] = self.house.channel(name, **OPTIONS[name])
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


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
