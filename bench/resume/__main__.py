"""Do clients miss anything? `python -m bench.resume [RUN …] [--nodes N] [--quick]`.

A hundred clients (Node, and pages in headless Chromium) are subscribed to a channel with a
history while ten thousand messages are published by `djhookbox.publish()`.

cuts    The network between clients and server is cut twenty times, for a random duration and in
        two ways (reset and silence); the server keeps running.
kills   The server is killed (SIGKILL) and restarted twenty times.
        With --nodes 2, the clients are spread over two nodes that share a Redis of their own; one
        of them is killed, and its clients continue on the other.
tabs    Tabs that share one connection, including the one that holds it, are frozen, closed,
        reloaded and left at random; the server and the network keep running.
stalls  Only with --nodes 2: in turn, a node is stopped (SIGSTOP) for longer than its lease, Redis
        is stopped for 30 seconds, and Redis is killed (SIGKILL) and started with an older snapshot.
chaos   Only with --nodes 2 or more: at random, Redis drops connections, sleeps, pauses, stops,
        forgets the scripts, has another password, becomes a replica, is full, is emptied, or is
        killed and started with an older snapshot, and nodes are stopped and killed, also both.
        After each, all nodes must know the same subscribers.

The exit status is 1 if anything was lost silently, duplicated or reordered, or, in `cuts` and
`tabs` and with several nodes, announced as lost other than once for each Redis that was
killed, and 2 if it could not be measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

from bench.processes import BenchError, python
from tests.ports import free_port
from tests.redis_server import RedisServer, redis_server
from tests.stand_ins.waiting import TimedOut, wait_for

from .blows import CHANNEL, Blows
from .chaos import PASSWORD, REDIS_OPTIONS, USER
from .network import Network
from .servers import PATIENCE, Hookboxes, Servers, Workers
from .verdict import Verdict, judge

RUNS = ["cuts", "kills", "tabs", "stalls", "chaos"]
#: More than is published during the longest cut and until the clients are back.
HISTORY = 8000
#: Seconds between two messages while failures are caused.
PAUSE = 0.02
#: Milliseconds within which the heartbeat notices a silent cut.
CLIENT_OPTIONS = {"heartbeat": {"interval": 2000, "timeout": 2000}}


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a run.

    Attributes:
        nodes: Clients in Node.
        pages: Clients in Chromium.
        tabs: Tabs of one page.
        messages: What is published at least.
        blows: Failures.
        servers: Processes of Hookbox.

    """

    nodes: int
    pages: int
    tabs: int
    messages: int
    blows: int
    servers: int = 1


class Clients:
    """Subscribed clients of one kind, in a separate process."""

    def __init__(self, stack: contextlib.ExitStack, *command: str) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.callback(self._process.wait)
        stack.callback(self._process.terminate)

    def expect_ready(self) -> None:
        """Wait until all of them are subscribed."""
        if self._line() != "ready":
            raise BenchError("the clients did not subscribe")

    def records(self, which: str = "") -> list[list[int | str]]:
        """Return what each client has received so far."""
        records: list[list[int | str]] = json.loads(self.ask(which))
        return records

    def ask(self, line: str) -> str:
        """Send a line and return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise BenchError("a process of clients has ended")
        return line


def all_clients(stack: contextlib.ExitStack, scale: Scale, ports: dict[str, int]) -> list[Clients]:
    """Start the clients of both kinds; return when all are subscribed."""
    node = shutil.which("node")
    if node is None:
        raise BenchError("there is no node")
    options = json.dumps(CLIENT_OPTIONS)
    script = str(Path(__file__).with_name("clients.mjs"))
    public = f"http://127.0.0.1:{ports['public']}"
    site = f"http://127.0.0.1:{ports['site']}"
    kinds = [
        Clients(
            stack, node, "--experimental-websocket", "--no-warnings",
            script, public, str(scale.nodes), options,
        ),
        Clients(
            stack, sys.executable, "-m", "bench.resume.pages",
            f"{site}/#{quote(options)}", str(scale.pages),
        ),
    ]  # fmt: skip
    for kind in kinds:
        kind.expect_ready()
    return kinds


def shared_tabs(
    stack: contextlib.ExitStack, scale: Scale, ports: dict[str, int], seed: int
) -> list[Clients]:
    """Start the tabs that share a connection; return when all are subscribed."""
    from djhookbox.users.identity import issue_anonymous_id

    # The same token proves that it is the same user.
    options = CLIENT_OPTIONS | {"shared": True, "token": issue_anonymous_id()}
    address = f"http://127.0.0.1:{ports['site']}/#{quote(json.dumps(options))}"
    tabs = Clients(
        stack, sys.executable, "-m", "bench.resume.tabs", address, str(scale.tabs), str(seed)
    )
    tabs.expect_ready()
    return [tabs]


class Publisher:
    """Publishes numbered messages, and records which were accepted."""

    def __init__(self) -> None:
        self._life = secrets.token_hex(4)
        self.taken: list[int] = []
        self.failures: Counter[str] = Counter()
        self.number = 0
        self.went_well = False

    def taken_between(self, first: int, last: int) -> list[int]:
        """Return the accepted numbers after the first of these and up to the last."""
        return self.taken[bisect_right(self.taken, first) : bisect_right(self.taken, last)]

    def publish(self) -> None:
        """Publish one message; after a failure, it may have been sent or not."""
        from djhookbox import HookboxError, publish

        self.number += 1
        try:
            # By its key, what one node has not answered is repeated at another.
            publish(CHANNEL, {"n": self.number}, key=f"{self._life}.{self.number}")
        except HookboxError as error:
            self.failures[f"{type(error).__name__} {error.code}".strip()] += 1
            self.went_well = False
            time.sleep(0.02)
        else:
            self.went_well = True
            self.taken.append(self.number)


def migrate(ports: dict[str, str]) -> None:
    """Create the database and the policy of the channel."""
    os.environ.update(ports)
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.resume.site"
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from djhookbox.models import ChannelPolicy

    ChannelPolicy.objects.get_or_create(
        name="figures",
        defaults={
            "pattern": "/figures/<int:number>/", "subscribe_audience": "everyone",
            "publish_audience": "nobody", "history_size": HISTORY, "history_duration": 600,
            "presenceful": True,
        },
    )  # fmt: skip


def run(
    name: str, scale: Scale, seed: int, network: Network, ports: dict[str, int],
    hookbox: Servers, redis: RedisServer | None,
) -> bool:  # fmt: skip
    """Perform one of the runs; return whether no client missed anything."""
    publisher = Publisher()
    with contextlib.ExitStack() as stack:
        stack.callback(hookbox.kill)
        hookbox.start()
        shares = name == "tabs"
        if shares:
            kinds = shared_tabs(stack, scale, ports, seed)
        else:
            kinds = all_clients(stack, scale, ports)
        started = time.monotonic()
        chance = random.Random(seed)
        clients = 1 if shares else scale.nodes + scale.pages
        disturb = partial(kinds[0].ask, "blow")
        blows = Blows(name, scale.blows, clients, chance, hookbox, network, disturb, redis)
        blows.start()
        while blows.is_alive() or len(publisher.taken) < scale.messages or not publisher.went_well:
            publisher.publish()
            if blows.is_alive():
                time.sleep(PAUSE)  # an outage has to lie within the history
        if blows.problem is not None:
            raise blows.problem
        records = wait_for(
            lambda: complete([r for kind in kinds for r in kind.records()], publisher.number),
            "the last message at each client",
            PATIENCE,
            1.0,
        )
        seconds = time.monotonic() - started
        ended = kinds[0].records("ended") if shares else []
    total = Verdict()
    causes = blows.causes()
    for record in records:
        first = int(record.pop(0)) if shares else 0
        total.add(judge(record, publisher.taken_between(first, publisher.number), causes))
    for earliest, *record in ended:
        total.add(judge(record, publisher.taken_between(int(earliest), last_of(record)), causes))
    report(name, scale, publisher, total, seconds)
    return total.fine


def engine(redis: RedisServer) -> str:
    """Return the address of a Redis for the nodes."""
    return redis.url.replace("//", f"//{USER}:{PASSWORD}@")


def last_of(record: list[int | str]) -> int:
    """Return the last number of a record, or 0 if it has none."""
    return next((entry for entry in reversed(record) if isinstance(entry, int)), 0)


def complete(records: list[list[int | str]], last: int) -> list[list[int | str]] | None:
    """Return the records when each contains the last message."""
    return records if all(record and record[-1] == last for record in records) else None


def report(name: str, scale: Scale, publisher: Publisher, total: Verdict, seconds: float) -> None:
    """Print the figures."""
    clients = scale.nodes + scale.pages
    who = f"{clients} ({scale.nodes} Node, {scale.pages} Chromium pages)"
    received = f"{total.received} of {clients * len(publisher.taken)}"
    if name == "tabs":
        who = f"{scale.tabs} Chromium tabs with one connection"
        received = f"{total.received}, by all pages that there were"
    what = {
        "cuts": "network cuts", "kills": "kill -9 and restarts", "tabs": "tabs disturbed",
        "stalls": "nodes and Redis stopped, Redis killed", "chaos": "faults of Redis and nodes",
    }[name]  # fmt: skip
    rows = [
        ("clients", who),
        ("nodes", str(scale.servers)),
        (what, str(scale.blows)),
        ("published", f"{publisher.number}, of which {len(publisher.taken)} were taken"),
        ("not taken", ", ".join(f"{n} {kind}" for kind, n in publisher.failures.items()) or "0"),
        ("received", received),
        ("duplicates", str(total.duplicates)),
        ("out of order", f"{total.disordered}, and {total.late} that were not taken"),
        ("gaps announced", f"{total.gaps}, with {total.announced} messages in them"),
        ("lost in silence", str(total.silent)),
        ("clients with more gaps than allowed", str(total.crowded)),
        ("seconds", f"{seconds:.0f}"),
    ]
    print(f"\n{name}")
    for label, value in rows:
        print(f"  {label:38}{value}")


def main() -> int:
    """Perform the requested runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", nargs="*", choices=RUNS, metavar="|".join(RUNS))
    parser.add_argument("--quick", action="store_true", help="ten clients, 1,000 messages, 3 blows")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--nodes", type=int, default=1, help="processes that share a Redis")
    parser.add_argument("--workers", action="store_true", help="the nodes have a supervisor")
    parser.add_argument("--kills", type=int, help="kills, cuts or disturbances of a run")
    given = parser.parse_args()
    if given.workers and given.nodes < 2:
        parser.error("--workers needs --nodes 2")
    for name in ("stalls", "chaos"):
        if name in given.runs and given.nodes < 2:
            parser.error(f"{name} needs --nodes 2")
    scale = Scale(8, 2, 2, 1000, 3) if given.quick else Scale(90, 10, 2, 10_000, 20)
    scale = replace(scale, servers=given.nodes, blows=given.kills or scale.blows)
    print(f"seed {given.seed}", flush=True)
    fine = True
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ports = {name: free_port() for name in ("site", "public")}
        hookboxes = [free_port() for _ in range(1 if given.workers else scale.servers)]
        redis = None
        if scale.servers > 1:
            redis = stack.enter_context(redis_server(*REDIS_OPTIONS))
        migrate({
            "RESUME_FOLDER": folder,
            "RESUME_SITE_PORT": str(ports["site"]),
            "RESUME_HOOKBOX_PORT": str(hookboxes[0]),
            "RESUME_REST_URLS": " ".join(f"http://127.0.0.1:{port}" for port in hookboxes),
            "RESUME_ENGINE": "memory" if redis is None else engine(redis),
            "RESUME_PUBLIC_URL": f"http://127.0.0.1:{ports['public']}",
        })  # fmt: skip
        stack.enter_context(
            python("bench.resume.site", str(ports["site"]), cpu=1, port=ports["site"])
        )
        try:
            network = Network(ports["public"], hookboxes)
            hookbox: Servers = Hookboxes(hookboxes, Path(folder))
            if given.workers:
                hookbox = Workers(hookboxes[0], Path(folder) / "run", given.nodes)
            several = ["cuts", "kills", "stalls", "chaos"]
            for name in given.runs or (several if redis else ["cuts", "kills", "tabs"]):
                size = replace(scale, blows=min(scale.blows, 6)) if name == "stalls" else scale
                fine = run(name, size, given.seed, network, ports, hookbox, redis) and fine
        except (BenchError, TimedOut) as error:
            print(f"could not be measured: {error}", file=sys.stderr)
            return 2
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
