"""Any sequence in each set-up: in memory, on one node, and on two nodes with clients on both.

The models are those of the core, in `test_hub_sequences` and `test_resume_sequences`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sized
from itertools import count
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from djhookbox.server.core.model import Channel
from djhookbox.server.core.stream import Position
from djhookbox.wire.replies import Refused

from ..redis_server import RedisServer
from ..stand_ins.clock import Clock
from ..tries import tries
from .setups import SETUPS, Group, make_group
from .test_hub_sequences import CHANNELS, OPTIONS, AnySequence
from .test_resume_sequences import LINGER, Page
from .test_resume_sequences import AnySequence as Pages

T = TypeVar("T")

pytestmark = [pytest.mark.slow, pytest.mark.once]

_examples = count(1)


class Bench:
    """A group of servers, and a loop that only runs while a rule is carried out."""

    def __init__(self, setup: str, redis: Callable[[], RedisServer]) -> None:
        self._setup, self._redis = setup, redis
        self._loop = asyncio.new_event_loop()
        self.clock = Clock(1_300_000_000.0)

    @property
    def redis(self) -> RedisServer:
        return self._redis()

    def start(self, recovery: int = 20) -> None:
        """Start servers; each time others, with nothing left of those before."""
        self.run(self._start(recovery))

    async def _start(self, recovery: int) -> None:
        # No example may take so long that a lease ends.
        lease = {"lease": 600.0} if SETUPS[self._setup] else {}
        self.group = await make_group(
            self._setup, lambda: self.redis.url, clock=self.clock,
            recovery_seconds=recovery, history_linger=LINGER, **lease,
        ).start()  # fmt: skip

    def stop(self) -> None:
        self.run(self.group.stop())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        self._loop.close()


@pytest.fixture(params=SETUPS)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(request.param, lambda: request.getfixturevalue("redis"))
    bench.start()
    yield bench
    bench.stop()
    bench.close()


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


# ---- who has received what -----------------------------------------------------------------------


def _two_are_there(machine: Any) -> bool:
    """Return whether it is worth while to break something."""
    return sum(page.subscribed for page in machine.pages) >= 2


class Resuming(Pages):
    """Pages that come back to any server; servers that are killed, and Redis that is emptied."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.example = next(_examples)
        self.lives = 0
        super().__init__()

    @initialize(seed=st.integers(0, 2**16))
    def spread(self, seed: int) -> None:
        self.group.chance.seed(seed)
        for number in range(3):
            self.come(number, False)

    def begin(self) -> None:
        self.bench.stop()
        if SETUPS[self.bench._setup]:
            self.bench.redis.command("FLUSHALL")
        self.lives += 1
        self.bench.start(recovery=20 * (self.lives % 2))
        self.bench.clock.now = self.now
        self.tell()

    def tell(self) -> None:
        self.bench.group.answers("create_channel", self.options)

    @property
    def group(self) -> Group:
        return self.bench.group

    def channels(self) -> Iterable[Channel]:
        return self.group.channels("room")

    def call(self, name: str, **form: str) -> None:
        self.bench.run(self.group.rest(name, channel_name="room", **form))
        self.read()

    def do_come(self, page: Page, since: Position | None) -> None:
        if page.client is None:
            page.client = self.bench.run(self.group.connect(page.name, ack=True))
        more = {} if since is None else {"since": str(since)}
        self.bench.run(self.group.send(page.client, "SUBSCRIBE", channel_name="room", **more))
        self.read()
        assert page.subscribed

    def do_go(self, client: Any) -> None:
        self.bench.run(self.group.leave(client))
        self.read()

    def do_publish(self, origin: Page | None) -> None:
        form = {"channel_name": "room", "payload": str(self.sent)}
        if origin is None:
            self.call("publish", payload=str(self.sent))
            return
        self.bench.run(self.group.send(origin.client, "PUBLISH", **form))
        acks = [args for name, args in origin.client.frames if name == "ACK"]
        self.read()
        if origin.subscribed and not self.options["reflective"]:
            origin.acknowledged(acks[-1], self.sent)

    def do_change(self) -> None:
        self.tell()
        if list(self.channels()):
            self.call("set_channel_options", **{k: json.dumps(v) for k, v in self.options.items()})

    def do_wait(self) -> None:
        self.bench.clock.now = self.now
        self.bench.run(self.group.expire(self.now))
        self.read()

    def do_destroy(self) -> None:
        if list(self.channels()):
            self.call("destroy_channel")

    def ask_position(self, number: int) -> None:
        self.bench.run(self.group.rest("cursor", channel_name=f"other{number}"))

    @precondition(_two_are_there)
    @rule()
    def crash(self) -> None:
        super().crash()

    @precondition(lambda self: self.group.nodes and _two_are_there(self))
    @rule()
    def kill(self) -> None:
        node = self.group.any_node()
        for page in self.pages:
            if page.client is not None and self.group.home[page.client] is node:
                page.client, page.subscribed = None, False
        self.bench.run(self.group.kill(node, self.bench.redis))
        self.tell()
        self.read()

    @precondition(lambda self: self.group.nodes and _two_are_there(self))
    @rule()
    def lose_all(self) -> None:
        self.bench.run(self.group.lose_all(self.bench.redis))
        self.read()

    @invariant()
    def nothing_is_left_behind(self) -> None:
        self.group.check()


def test_any_sequence_of_pages(bench: Bench) -> None:
    check(lambda: Resuming(bench), 10, 30)
