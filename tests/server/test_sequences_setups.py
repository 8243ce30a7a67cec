"""Any sequence in each set-up: in memory, on one node, and on two nodes with clients on both.

The model is that of the core, in `test_hub_sequences`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator, Sized
from itertools import count
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    run_state_machine_as_test,
)

from djhookbox.wire.replies import Refused

from ..tries import tries
from .setups import SETUPS, Group, make_group
from .test_hub_sequences import CHANNELS, OPTIONS, AnySequence

T = TypeVar("T")

pytestmark = [pytest.mark.slow, pytest.mark.once]

_examples = count(1)


class Clock:
    """The time, which tests set."""

    now = 1_300_000_000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A group of servers, and a loop that only runs while a rule is carried out."""

    def __init__(self, loop: asyncio.AbstractEventLoop, group: Group, clock: Clock) -> None:
        self.loop = loop
        self.group = group
        self.clock = clock

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)


@pytest.fixture(params=SETUPS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    loop = asyncio.new_event_loop()
    clock = Clock()

    def url() -> str:
        found: str = request.getfixturevalue("redis").url
        return found

    async def start() -> Group:
        # No example may take so long that a lease ends.
        lease = {"lease": 600.0} if SETUPS[request.param] else {}
        group = make_group(request.param, url, clock=clock, recovery_seconds=20, **lease)
        return await group.start()

    bench = Bench(loop, loop.run_until_complete(start()), clock)
    yield bench
    bench.run(bench.group.stop())
    loop.close()


def check(machine: Any, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=tries(
            examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.reuse, Phase.generate),  # shrinking would take minutes
        ),
    )


# ---- who is where, and who is notified -----------------------------------------------------------


class Servers(AnySequence):
    """The same calls as frames of clients, and as calls by code."""

    CORE = False

    def __init__(self, bench: Bench) -> None:
        self.bench, self.group = bench, bench.group
        self.example = next(_examples)
        self.group.answers("destroy_channel", Refused("it is kept"))
        super().__init__()

    @initialize(seed=st.integers(0, 2**16))
    def spread(self, seed: int) -> None:
        self.group.chance.seed(seed)

    def make_channel(self, name: str) -> Any:
        form = {"channel_name": self.named(name), "options": json.dumps(OPTIONS[name])}
        self.bench.run(self.group.rest("create_channel", **form))
        return None

    def named(self, name: str) -> str:
        return f"{name}{self.example}"

    def user(self, name: str) -> str:
        return f"{name}{self.example}"

    def order(self, client: Any) -> list[str]:
        return [name for name in CHANNELS if self.owner[client] in self.inside[name]]

    def history(self, name: str) -> Sized:
        found = [list(channel.history) for channel in self.group.channels(self.named(name))]
        assert all(len(each) == len(found[0]) for each in found)
        return found[0]

    def do_connect(self, user: str, apart: bool, options: dict[str, bool]) -> Any:
        self.group.answers("connect", {"name": self.user(user), **options})
        return self.bench.run(self.group.join(user, per_connection_subscriptions=apart))

    def do_subscribe(self, client: Any, name: str, code: bool) -> None:
        if code:
            form = {"channel_name": self.named(name), "name": client.user.name}
            self.bench.run(self.group.rest("subscribe", **form))
        else:
            self.bench.run(self.group.send(client, "SUBSCRIBE", channel_name=self.named(name)))

    def do_unsubscribe(self, client: Any, name: str, code: bool) -> None:
        if code:
            form = {"channel_name": self.named(name), "name": client.user.name}
            self.bench.run(self.group.rest("unsubscribe", **form))
        else:
            self.bench.run(self.group.send(client, "UNSUBSCRIBE", channel_name=self.named(name)))

    def do_detach(self, client: Any, left: list[str]) -> None:
        self.bench.run(self.group.leave(client))

    def do_publish(self, name: str, origin: Any) -> None:
        form = {"channel_name": self.named(name), "payload": "1"}
        if origin is None:
            self.bench.run(self.group.rest("publish", **form))
        else:
            self.bench.run(self.group.send(origin, "PUBLISH", **form))

    def do_destroy(self, name: str) -> None:
        self.bench.run(self.group.rest("destroy_channel", channel_name=self.named(name)))

    def teardown(self) -> None:
        for client in list(self.group.home):
            self.bench.run(self.group.leave(client))
        for name in CHANNELS:
            self.do_destroy(name)

    @invariant()
    def nothing_is_left_behind(self) -> None:
        self.group.check()
        for server in self.group.servers:
            here: set[Any] = {c for c, home in self.group.home.items() if home is server}
            mine = here & set(self.clients)
            assert set(server.hub.users) == {self.user(self.owner[c]) for c in mine}
            for name in CHANNELS:
                channel = server.channels.get(self.named(name))
                inside = self.inside[name]
                if channel is None:  # then nobody here is in it
                    assert not self.audience(name) & mine
                    continue
                assert set(channel.audience) == self.audience(name) & mine
                assert list(channel.subscribers) == [self.user(user) for user in inside]


def test_any_sequence_of_calls(bench: Bench) -> None:
    check(lambda: Servers(bench), 10, 30)
