"""The failures that the runs cause."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from tests.redis_server import RedisServer
from tests.stand_ins.waiting import TimedOut, wait_for

from .chaos import Chaos
from .network import Network
from .servers import PATIENCE, Servers, Workers

CHANNEL = "/figures/1/"
#: Seconds for which a node is stopped, whose lease is 10 seconds, and for which Redis is.
NODE_STALL, REDIS_STALL = 12.0, 30.0
#: Seconds for which a worker is stopped, of which its supervisor waits for 15.
HANG = 25.0


class Blows(threading.Thread):
    """Causes the failures, distributed over the messages.

    Args:
        name: The run.
        count: How many there are.
        clients: How many clients have to be back after each.
        chance: Chooses.
        hookbox: The processes.
        network: Lies between clients and processes.
        disturb: Disturbs the tabs.
        redis: The Redis of several nodes.

    Attributes:
        problem: Why it has ended early.

    """

    def __init__(
        self, name: str, count: int, clients: int, chance: random.Random, hookbox: Servers,
        network: Network, disturb: Callable[[], object], redis: RedisServer | None,
    ) -> None:  # fmt: skip
        super().__init__(daemon=True)
        self._count, self._clients, self._chance = count, clients, chance
        self._hookbox, self._network, self._disturb = hookbox, network, disturb
        self._redis = redis
        self._stalls = [self._stop_node, self._stop_redis, self._kill_redis]
        if isinstance(hookbox, Workers):
            self._stalls.append(self._let_hang)
        self._chaos = Chaos(chance, hookbox, redis) if name == "chaos" and redis else None
        self._strike = {
            "kills": self._kill, "cuts": self._cut, "tabs": self._disturb_tabs,
            "stalls": self._stall, "chaos": self._confuse,
        }[name]  # fmt: skip
        self._name = name
        #: How many users are subscribed when nothing has failed yet; they stay the same.
        self._users = 0
        self.problem: TimedOut | None = None

    def causes(self) -> int:
        """Return how many of them each client may notice as a gap."""
        if self._chaos is not None:
            return self._chaos.losses
        if self._name == "stalls":
            return self._count // len(self._stalls)
        return self._count if self._name == "kills" and self._redis is None else 0

    def run(self) -> None:
        """Cause each failure after all clients have recovered from the previous one."""
        try:
            for blow in range(self._count):
                self._wait()
                time.sleep(self._chance.uniform(0.0, 2.0))
                self._strike(blow)
            self._wait()
        except TimedOut as problem:
            self.problem = problem

    def _wait(self) -> None:
        wait_for(self._all_there, "all clients to be connected", PATIENCE)

    def _all_there(self) -> bool:
        """Return whether each process knows that all clients are subscribed."""
        infos = [info for info in self._hookbox.infos(CHANNEL) if info is not None]
        if len(infos) < self._hookbox.count:
            return False
        subscribers = {tuple(sorted(info["subscribers"])) for info in infos}
        if len(subscribers) > 1 or any(info["connections"] < self._clients for info in infos):
            return False
        users = len(subscribers.pop())
        self._users = self._users or users
        return users == self._users

    def _kill(self, blow: int) -> None:
        self._hookbox.strike(self._chance)

    def _confuse(self, blow: int) -> None:
        assert self._chaos is not None
        self._chaos.strike()

    def _stall(self, blow: int) -> None:
        self._stalls[blow % len(self._stalls)]()

    def _stop_node(self) -> None:
        self._hookbox.pause(self._chance, NODE_STALL)

    def _let_hang(self) -> None:
        self._hookbox.pause(self._chance, HANG)

    def _stop_redis(self) -> None:
        assert self._redis is not None
        self._redis.pause()
        try:
            time.sleep(REDIS_STALL)
        finally:
            self._redis.resume()

    def _kill_redis(self) -> None:
        assert self._redis is not None
        self._redis.command("SAVE")
        time.sleep(self._chance.uniform(0.5, 2.0))
        self._redis.kill()
        time.sleep(self._chance.uniform(0.0, 1.0))
        self._redis.start()
        time.sleep(2.0)  # until the nodes are connected, and each client has been told

    def _disturb_tabs(self, blow: int) -> None:
        self._disturb()

    def _cut(self, blow: int) -> None:
        self._network.cut(silent=bool(blow % 2))
        time.sleep(self._chance.uniform(0.05, 5.0))
        self._network.restore()
