"""Redis and nodes that fail in all ways at random, as in the run `chaos`."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from tests.redis_server import RedisServer

from .servers import Servers, Workers

#: The user of Redis that the nodes connect as; the run itself connects as another.
USER, PASSWORD = "hookbox", "right"
#: What lets Redis know the user, and sleep.
REDIS_OPTIONS = (
    "--save", "3600 1000000", "--enable-debug-command", "yes",
    "--user", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all",
)  # fmt: skip
#: The share of blows at which a node fails together with Redis.
TOGETHER = 0.3


class Chaos:
    """Chooses what fails, and for how long.

    Args:
        chance: Chooses.
        hookbox: The nodes.
        redis: Their Redis, started with `REDIS_OPTIONS`.

    Attributes:
        losses: How many times Redis has lost data.

    """

    def __init__(self, chance: random.Random, hookbox: Servers, redis: RedisServer) -> None:
        self._chance = chance
        self._hookbox = hookbox
        self._redis = redis
        self.losses = 0

    def strike(self) -> None:
        """Let something fail, and wait until it works again."""
        keeping = [
            self._drop_connections, self._drop_inboxes, self._let_sleep, self._change_password,
            self._make_replica, self._fill, self._stop_redis, self._forget_scripts,
            self._pause_clients,
        ]  # fmt: skip
        alone = [self._empty, self._kill_redis, self._kill_node, self._stop_node]
        if isinstance(self._hookbox, Workers):
            alone.append(self._replace_workers)
        fault = self._chance.choice([*keeping, *alone])
        node_fails = fault in keeping and self._chance.random() < TOGETHER
        seconds = self._chance.choice([0.5, 2.5, 6.0])
        names = [fault.__name__.strip("_").replace("_", " ")]
        if not node_fails:
            print(f"  {names[0]}, {seconds:g} s", flush=True)
            fault(seconds)
            return
        other = self._chance.choice([self._kill_node, self._stop_node])
        names.append(other.__name__.strip("_").replace("_", " "))
        print(f"  {' and '.join(names)}, {seconds:g} s", flush=True)
        at_once(lambda: fault(seconds), lambda: other(seconds))

    # ---- Redis keeps its data --------------------------------------------

    def _drop_connections(self, seconds: float) -> None:
        self._redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def _drop_inboxes(self, seconds: float) -> None:
        self._redis.command("CLIENT", "KILL", "TYPE", "pubsub")

    def _let_sleep(self, seconds: float) -> None:
        self._redis.command("DEBUG", "SLEEP", f"{min(seconds, 4.0)}")

    def _change_password(self, seconds: float) -> None:
        self._redis.command("ACL", "SETUSER", USER, "resetpass", ">another")
        self._redis.command("CLIENT", "KILL", "USER", USER)
        time.sleep(seconds)
        self._redis.command("ACL", "SETUSER", USER, f">{PASSWORD}")

    def _make_replica(self, seconds: float) -> None:
        self._redis.command("REPLICAOF", "127.0.0.1", "1")
        time.sleep(seconds)
        self._redis.command("REPLICAOF", "NO", "ONE")

    def _fill(self, seconds: float) -> None:
        self._redis.command("CONFIG", "SET", "maxmemory", "1")
        time.sleep(seconds)
        self._redis.command("CONFIG", "SET", "maxmemory", "0")

    def _stop_redis(self, seconds: float) -> None:
        self._redis.pause()
        time.sleep(seconds)
        self._redis.resume()

    def _forget_scripts(self, seconds: float) -> None:
        self._redis.command("SCRIPT", "FLUSH")

    def _pause_clients(self, seconds: float) -> None:
        self._redis.command("CLIENT", "PAUSE", f"{seconds * 1000:.0f}", "ALL")
        time.sleep(seconds)

    # ---- Redis loses data ------------------------------------------------

    def _empty(self, seconds: float) -> None:
        self.losses += 1
        self._redis.command("FLUSHALL")

    def _kill_redis(self, seconds: float) -> None:
        self.losses += 1
        self._redis.command("SAVE")
        time.sleep(self._chance.uniform(0.5, 2.0))
        self._redis.kill()
        time.sleep(min(seconds, 1.0))
        self._redis.start()
        time.sleep(2.0)  # until the nodes are connected, and each client has been told

    # ---- nodes -----------------------------------------------------------

    def _kill_node(self, seconds: float) -> None:
        self._hookbox.strike(self._chance)

    def _replace_workers(self, seconds: float) -> None:
        assert isinstance(self._hookbox, Workers)
        self._hookbox.roll_over()

    def _stop_node(self, seconds: float) -> None:
        self._hookbox.pause(self._chance, 2 * seconds)  # a lease lasts ten


def at_once(*works: Callable[[], None]) -> None:
    """Do several things at the same time; return when all are done."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
