"""What Redis costs a node: `python -m bench.engine [--quick]`.

The engine in memory and the one on Redis are measured in alternation, with the same load. The exit
status is 1 if a figure exceeds its bound.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from statistics import median
from time import process_time
from typing import Any

from tests.ports import free_port

from .processes import BenchError, Target, program, target
from .procfs import cpu_time
from .races import PAYLOAD, Figure, note
from .run import table

KIB = 1024
#: Subscribers of a fan-out, clients that join, and idle connections.
AUDIENCE, CROWD, IDLE = 1000, 500, 2000
#: REST connections, and publications in a request of a batch.
PUBLISHERS, BATCH = 64, 100
#: Publications per second through one node, at least.
RATE = 8000.0
#: How many times as much two nodes deliver as one, at least.
GAIN = 1.6

Measure = Callable[[Target], dict[str, Any]]


@contextlib.contextmanager
def redis() -> Iterator[tuple[str, int]]:
    """Run a Redis server on the processor of everything else; yield its URL and process."""
    name = shutil.which("redis-server") or shutil.which("valkey-server")
    if name is None:
        raise BenchError("there is no redis-server: apt install redis-server")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        command = [
            name, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder,
            "--daemonize", "no", "--logfile", f"{folder}/log",
        ]  # fmt: skip
        with program(command, cpu=1, port=port) as process:
            yield f"redis://127.0.0.1:{port}/0", process.pid


class Race:
    """The same measurements with both engines."""

    def __init__(self, runs: int, url: str, redis_pid: int) -> None:
        self.runs = runs
        self.url = url
        self._options = {"memory": (), "redis": ("--engine", url)}
        self.redis_pid = redis_pid

    def measure(
        self, prepare: Measure, measure: Measure, *, anew: bool = False
    ) -> dict[str, list[dict[str, Any]]]:
        """Measure each engine once per round, in alternating order.

        Args:
            prepare: What precedes the first measurement of a server.
            measure: The measurement; the result has the CPU of the server, and what it is for.
            anew: Whether each measurement needs a new server.

        """
        found: dict[str, list[dict[str, Any]]] = {"memory": [], "redis": []}
        with contextlib.ExitStack() as stack:
            targets: dict[str, Target] = {}
            for number in range(self.runs):
                for name in sorted(found, reverse=bool(number % 2)):
                    with contextlib.ExitStack() as brief:
                        measured = targets.get(name)
                        if measured is None:
                            owner = brief if anew else stack
                            measured = owner.enter_context(target("hookbox", *self._options[name]))
                            prepare(measured)
                            if not anew:
                                targets[name] = measured
                        before = cpu_time(self.redis_pid)
                        result = measure(measured)
                        result["redis cpu"] = cpu_time(self.redis_pid) - before
                        found[name].append(result)
        return found


def compared(
    bench: str, what: str, found: dict[str, list[dict[str, Any]]], count: str, bound: float
) -> Figure:
    """Return the row that compares CPU per message, delivery or join."""
    costs = {name: [each["cpu"] / each[count] for each in found[name]] for name in found}
    value = median(one / other for one, other in zip(costs["redis"], costs["memory"], strict=True))
    lua = median(each["redis cpu"] / each[count] for each in found["redis"])
    details = "; ".join(f"{name} {median(each) * 1e6:.1f} µs" for name, each in costs.items())
    return Figure(bench, what, value, "x", bound, f"{details}; Redis itself {lua * 1e6:.1f} µs")


def fanout(race: Race, seconds: float) -> list[Figure]:
    """Publish one message at a time to many subscribers."""
    found = race.measure(
        lambda one: one("connect", count=AUDIENCE),
        lambda one: one("fanout", messages=400, size=PAYLOAD, seconds=seconds * 2),
    )
    what = f"CPU per delivery, {AUDIENCE} subscribers"
    return [compared("fanout", what, found, "received", 1.15)]


def nodes(race: Race, seconds: float) -> list[Figure]:
    """Publish to many subscribers of one node, and of two nodes with half of them each.

    The two nodes have a processor each, and both are busy, because the load generators use what
    the nodes leave. What two nodes would deliver if they had both to themselves follows from the
    CPU of the busier one.
    """
    options = ("hookbox", "--engine", race.url)
    load = {"messages": 400, "size": PAYLOAD, "seconds": seconds * 2}
    alone, shared = [], []
    for _ in range(race.runs):
        with target(*options) as one:
            one("connect", count=AUDIENCE)
            result = one("fanout", **load)
            alone.append(result["cpu"] / result["published"])
        with target(*options) as one, target(*options) as two:
            os.sched_setaffinity(two.pid, {1})
            one("connect", count=AUDIENCE // 2)
            two("connect", count=AUDIENCE // 2)
            before = cpu_time(two.pid)
            result = one("fanout", **load)
            two("settle", seconds=0.5)
            busier = max(result["cpu"], cpu_time(two.pid) - before)
            shared.append(busier / result["published"])
    gain = median(one / half for one, half in zip(alone, shared, strict=True))
    told = (
        f"per publication to {AUDIENCE}: one node {median(alone) * 1e3:.2f} ms, the busier of two "
        f"{median(shared) * 1e3:.2f} ms, so that two deliver {gain:.2f} times as much"
    )
    return [Figure("nodes", f"two nodes deliver ≥ {GAIN} times", GAIN / gain, "x", 1.0, told)]


def follow(race: Race, seconds: float) -> list[Figure]:
    """Publish to one subscriber by REST, while another node has none or one of its own."""
    options = ("hookbox", "--engine", race.url)
    costs: dict[str, list[float]] = defaultdict(list)
    for _ in range(race.runs):
        with target(*options) as one, target(*options) as two:
            one("connect", count=1)
            for readers in (1, 2):
                if readers == 2:
                    two("connect", count=1)
                begun, redis_begun = cpu_time(two.pid), cpu_time(race.redis_pid)
                result = one("burst", publishers=PUBLISHERS, size=PAYLOAD, seconds=seconds)
                number = result["published"]
                costs[f"redis {readers}"].append((cpu_time(race.redis_pid) - redis_begun) / number)
            two("settle", seconds=0.5)
            costs["following"].append((cpu_time(two.pid) - begun) / number)
            costs["publishing"].append(result["cpu"] / number)
    best = {name: min(each) * 1e6 for name, each in costs.items()}
    told = "; ".join(f"{name} {cost:.1f} µs" for name, cost in best.items())
    value = best["following"] / best["publishing"]
    return [Figure("follow", "CPU of a node that follows, for each message", value, "x", 1.0, told)]


def floor(url: str, rounds: int = 200) -> float:
    """Return how many scripts per second of CPU redis-py alone has run, a batch at a time."""
    import redis

    with redis.Redis.from_url(url) as client:
        digest = client.script_load("return {'OK', redis.call('INCR', KEYS[1])}")
        words = ("bench:", "room", "n" * 16, "r" * 40, "o" * 16, "1", "2", 600_000, "x" * PAYLOAD)
        begun = process_time()
        for _ in range(rounds):
            pipeline = client.pipeline(transaction=False)
            for _ in range(BATCH):
                pipeline.evalsha(digest, 2, *words)
            pipeline.execute()
        taken = process_time() - begun
        client.delete("bench:")
    return rounds * BATCH / taken


def publish(race: Race, seconds: float) -> list[Figure]:
    """Publish to one subscriber by REST, on many connections and in batches."""
    single = race.measure(
        lambda one: one("connect", count=1),
        lambda one: one("burst", publishers=PUBLISHERS, size=PAYLOAD, seconds=seconds),
    )
    batched = race.measure(
        lambda one: one("connect", count=1),
        lambda one: one("burst", publishers=4, size=PAYLOAD, seconds=seconds, batch=BATCH),
    )
    rates = {
        name: (
            median(each["published"] / each["seconds"] for each in batched[name]),
            median(each["published"] / each["cpu"] for each in batched[name]),
        )
        for name in batched
    }
    told = "; ".join(
        f"{name} {wall:.0f}/s, {cpu:.0f} per second of CPU" for name, (wall, cpu) in rates.items()
    )
    told += f"; redis-py alone {floor(race.url):.0f} scripts per second of CPU"
    return [
        compared("publish", f"CPU per message, {PUBLISHERS} connections", single, "published", 2.0),
        compared("publish", f"CPU per message, {BATCH} at a time", batched, "published", 2.0),
        Figure("publish", f"≥ {RATE:.0f} per second of CPU", RATE / rates["redis"][1], "x", 1.0,
               told),
    ]  # fmt: skip


def join(race: Race, seconds: float) -> list[Figure]:
    """Let many clients join a channel, and let them connect and join."""
    joins = race.measure(
        lambda one: one("connect", count=CROWD), lambda one: one("join", channels=4), anew=True
    )
    arrivals = race.measure(
        lambda one: one("connect", count=50),
        lambda one: one("connect", count=CROWD, wave=CROWD),
        anew=True,
    )
    return [
        compared("join", "CPU per SUBSCRIBE of a connected client", joins, "received", 2.0),
        compared("join", "CPU per client that connects and joins", arrivals, "received", 2.0),
    ]


def memory(race: Race, seconds: float) -> list[Figure]:
    """Look at the memory of idle connections."""

    def measure(one: Target) -> dict[str, Any]:
        before = one.private_memory()
        one("connect", count=IDLE)
        one("settle", seconds=2.0)
        return {"each": (one.private_memory() - before) / IDLE / KIB}

    found = race.measure(lambda one: one("connect", count=50), measure, anew=True)
    taken = {name: [each["each"] for each in found[name]] for name in found}
    value = median(one / other for one, other in zip(taken["redis"], taken["memory"], strict=True))
    details = "; ".join(f"{name} {median(each):.2f} KiB" for name, each in taken.items())
    return [Figure("memory", "per idle connection", value, "x", 1.1, details)]


BENCHES: dict[str, Callable[[Race, float], list[Figure]]] = {
    "fanout": fanout,
    "nodes": nodes,
    "follow": follow,
    "publish": publish,
    "join": join,
    "memory": memory,
}


def main() -> int:
    """Run the requested benchmarks; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHES)}")
    parser.add_argument("--runs", type=int, default=5, help="rounds; the median counts (5)")
    parser.add_argument("--quick", action="store_true", help="one short round, for a look only")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    figures: list[Figure] = []
    with redis() as (url, pid):
        race = Race(1 if options.quick else options.runs, url, pid)
        for name in options.names or BENCHES:
            note(name)
            found = BENCHES[name](race, 1.0 if options.quick else 3.0)
            print(table(found), flush=True)
            figures += found
    if options.json:
        with open(options.json, "w") as file:
            json.dump([{"bench": f.bench, "what": f.what, "value": f.value} for f in figures], file)
    return int(any(figure.over for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
