"""Prove that durable channels neither lose, duplicate nor reorder messages: `make durable`.

`python -m tests.integration.durable_proof [--database postgresql] [--kills 1000] [--seed N]`

Publishers write to a database in transactions, some of which are rolled back. At random moments,
the Hookbox process, a publisher or the site is killed, replies to webhooks are lost or garbled, and
clients come and go, also between a publish and its answer. Then a backup of the database is
restored, which every client must receive as one gap. In the end, every client must have received
what is in the database.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake

from bench.postgres import Cluster

from ..stand_ins.client import Refused, client
from ..stand_ins.waiting import wait_for
from .backups import postgresql_backup, sqlite_backup
from .flaky import FlakyProxy
from .processes import Pair, Process

#: The channels that are published to.
CHANNELS = [f"/durable/{number}/" for number in range(5)]
#: Seconds after which the proof gives up; it may get little of the processor.
PATIENCE = 400.0
#: What is caught while everything is being killed.
TROUBLE = (ConnectionClosed, InvalidHandshake, OSError, AssertionError, Refused)


class Page(threading.Thread):
    """A client that comes and goes, reads all channels, and publishes to them.

    Attributes:
        got: What it has shown, by channel, with gaps as None.
        sent: What it has published, as it was acknowledged.

    """

    def __init__(self, proof: Proof, number: int) -> None:
        super().__init__(daemon=True)
        self._proof = proof
        self._chance = random.Random(f"{proof.seed} page {number}")
        self.number = number
        self.got: dict[str, list[Any]] = {channel: [] for channel in CHANNELS}
        self.positions: dict[str, tuple[str, int]] = {}
        self.sent: list[int] = []
        self._sending: tuple[int, str] | None = None
        self._next = 0
        self.over = False
        #: The key of a session: a page that comes back is the same user, whose keys count.
        self.session = ""
        self.error: BaseException | None = None

    def run(self) -> None:
        """Visit until it is over."""
        while not self.over:
            try:
                self._visit(time.monotonic() + self._chance.uniform(0.2, 4))
            except TROUBLE:
                time.sleep(self._chance.uniform(0, 0.3))
            except BaseException as error:
                self.error = error
                raise

    def _visit(self, until: float) -> None:
        pair = self._proof.pair
        with client(pair.hookbox.websocket, origin=pair.site.pages, session=self.session) as page:
            page.connect()
            wanted: list[dict[str, str]] = []
            for channel in CHANNELS:
                at = self.positions.get(channel)
                since = {} if at is None else {"since": f"{at[0]}:{at[1]}"}
                wanted.append({"channel_name": channel, **since})
            page.send("SUBSCRIBE", channels=wanted)
            sent_at = None
            while not (self.over and self._sending is None):
                late = time.monotonic() - until
                # Not yet, without a position, or if everything is to arrive: on a busy machine,
                # a visit may be over before the page is connected. A subscription may have been
                # refused, though.
                short = self._proof.sends and len(self.positions) == len(CHANNELS)
                if late > (0 if short else 15):
                    break
                if self._proof.sends and self._sending is None and not self.over:
                    self._next += 1
                    self._sending = (self._next, self._chance.choice(CHANNELS))
                if self._sending is not None and sent_at is None:
                    payload = json.dumps({"page": self.number, "n": self._sending[0]})
                    key = f"{self.number}.{self._sending[0]}"
                    sent_at = page.send(
                        "PUBLISH", channel_name=self._sending[1], payload=payload, key=key
                    )
                with suppress(AssertionError):
                    page._receive(time.monotonic() + 0.1)
                frames, page.inbox = page.inbox, []
                for name, args in frames:
                    if name in ("ACK", "ERROR") and args.get("id") == sent_at is not None:
                        if name == "ACK" and self._sending is not None:
                            self.sent.append(self._sending[0])
                            self._sending = None
                        sent_at = None
                    self._take(name, args)

    def _take(self, name: str, args: dict[str, Any]) -> None:
        channel = args.get("channel_name", "")
        if channel not in self.got:
            return
        if name == "SUBSCRIBE" and "history" in args:
            self._snapshot(channel, args)
        elif name == "PUBLISH":
            epoch, offset = self.positions[channel]
            if args.get("epoch", epoch) != epoch:
                epoch, offset = args["epoch"], args["offset"] - 1
            if args["offset"] <= offset:
                raise Doubled(f"{channel} {args} at {epoch}:{offset}")
            if args["offset"] != offset + 1:
                raise Lost(f"{channel} {args} at {epoch}:{offset}")
            self.positions[channel] = (epoch, args["offset"])
            self.got[channel].append(args["payload"])

    def _snapshot(self, channel: str, args: dict[str, Any]) -> None:
        at = self.positions.get(channel)
        if at is not None:
            if args.get("missed", 0) != 0:
                self.got[channel].append(None)
            same = args["epoch"] == at[0]
            for each in args.get("recovered", ()):
                if not same or each["offset"] > at[1]:
                    self.got[channel].append(each["payload"])
        self.positions[channel] = (args["epoch"], args["offset"])


class Lost(Exception):
    """A publication did not arrive."""


class Doubled(Exception):
    """A publication arrived twice."""


class Proof:
    """Everything that runs, and what is wrong in the end."""

    def __init__(self, folder: Path, database: dict[str, Any], seed: int, pages: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.sends = False
        self.kills = 0
        sqlite = folder / "site.sqlite3"
        self.pair = Pair(
            folder,
            sqlite,
            # Much longer than the site takes if it gets little of the processor: what is killed
            # or garbled fails at once.
            {"DATABASES": {"default": database}, "HOOKBOX_WEBHOOK_TIMEOUT": 15.0},
        )
        self.proxy = FlakyProxy(self.pair.site.port, seed)
        self.pair.hookbox.set(HOOKBOX_CBPORT=self.proxy.port)
        self.publishers = [
            Process(folder, f"publisher{number}", self.pair.environment) for number in range(3)
        ]
        self.pages = [Page(self, number) for number in range(pages)]
        # Importing Django takes longer than everything else that a restart does.
        self.pair.site.preload("django.core.wsgi", "tests.integration.urls")
        self.pair.hookbox.preload(
            "djhookbox.management.commands.runhookbox", "djhookbox.server.running"
        )
        for publisher in self.publishers:
            publisher.preload("djhookbox.publishing")
        for process in (self.pair.site, self.pair.hookbox, *self.publishers):
            process.patience = PATIENCE

    # ---- running ---------------------------------------------------------

    def prepare(self) -> None:
        """Make the database and start everything."""
        result = self.pair.manage("migrate", "-v0")
        assert result.returncode == 0, result.stderr
        self.pair.site.run()
        self.pair.hookbox.run()
        self.pair.site.do(
            "policy", "/durable/<int:n>/", durable=True, order=1, subscribe_audience="everyone",
            publish_audience="everyone", history_size=3,
        )  # fmt: skip
        for page in self.pages:
            page.session = self.pair.site.do("sign_in", f"user{page.number}")
            page.start()
        # All of them begin before anything is published.
        wait_for(
            lambda: all(len(page.positions) == len(CHANNELS) for page in self.pages),
            "pages",
            PATIENCE,
        )
        self.go_on()

    def _publish(self, number: int) -> None:
        self.publishers[number].start(
            "-m", "tests.integration.durable_publisher", f"p{number}", f"{self.seed} {number}",
            *CHANNELS,
        )  # fmt: skip

    def disturb(self, kills: int, share: float) -> None:
        """Kill something at random moments, so often; lose and garble some replies."""
        self.proxy.share = share
        for _ in range(kills):
            time.sleep(self.chance.uniform(0.05, 0.8))
            victim = self.chance.choice(("hookbox", "hookbox", "site", "publisher"))
            if victim == "hookbox":
                self.pair.hookbox.kill()
                self.pair.hookbox.run(wait=self.chance.random() < 0.7)
            elif victim == "site":
                self.pair.site.kill()
                self.pair.site.run()
            else:
                number = self.chance.randrange(len(self.publishers))
                self.publishers[number].kill()
                self._publish(number)
            self.kills += 1
        self.proxy.share = 0.0

    def settle(self) -> None:
        """Let everything arrive, and stop."""
        self.quieten()

        def arrived() -> bool:
            if self.pair.site.do("rows", "Outbox", failed=False):
                return False
            rows = self.pair.site.do("rows", "StreamChannel")
            heads = {row["name"]: (row["epoch"], row["offset"]) for row in rows}
            return all(
                page.positions[channel] == heads.get(channel, page.positions[channel])
                for page in self.pages
                for channel in CHANNELS
            )

        wait_for(arrived, "everything to arrive", PATIENCE, 0.5)

    def quieten(self) -> None:
        """Stop all publishers."""
        for publisher in self.publishers:
            publisher.kill()
        self.sends = False
        wait_for(lambda: all(page._sending is None for page in self.pages), "the senders", PATIENCE)

    def restore(self, backup: Callable[[], Callable[[], None]], kills: int) -> None:
        """Restore a backup of the database, after more was published and received."""
        self.pair.site.kill()
        undo = backup()
        self.pair.site.run()
        self.go_on()
        time.sleep(3)
        self.settle()
        self.pair.site.kill()
        undo()
        self.pair.site.run()
        wait_for(
            lambda: all(None in got for page in self.pages for got in page.got.values()),
            "the gaps", PATIENCE, 0.2,
        )  # fmt: skip
        self.go_on()
        self.disturb(kills, 0.05)
        self.settle()

    def go_on(self) -> None:
        """Let everybody publish again."""
        self.sends = True
        for number in range(len(self.publishers)):
            self._publish(number)

    def end(self) -> None:
        """End the pages."""
        for page in self.pages:
            page.over = True
        for page in self.pages:
            page.join(30)

    def stop(self) -> None:
        """End all processes."""
        for page in self.pages:
            page.over = True
        for publisher in self.publishers:
            publisher.stop()
        self.pair.stop()
        self.proxy.close()

    # ---- the verdict -----------------------------------------------------

    def problems(self) -> list[str]:
        """Return what is wrong."""
        marks = set(self.pair.site.do("group_names"))
        found = [f"page {p.number} stopped: {p.error!r}" for p in self.pages if p.error]
        first = self.pages[0]
        self.total = sum(len(got) for got in first.got.values())
        for page in self.pages:
            for channel, got in page.got.items():
                if None in got:
                    found.append(f"page {page.number} {channel}: {got.count(None)} gaps")
                if got != first.got[channel]:
                    missing = [each for each in first.got[channel] if each not in got]
                    more = [each for each in got if each not in first.got[channel]]
                    found.append(
                        f"page {page.number} {channel} has {len(got)}, page 0 "
                        f"{len(first.got[channel])}: {missing[:3]} {more[:3]}"
                    )
        seen: set[tuple[str, int, int]] = set()
        for channel, got in first.got.items():
            last: dict[str, tuple[int, int]] = {}
            for each in filter(None, got):
                by = each.get("by", f"page{each.get('page')}")
                place = (each.get("tx", 0), each["n"])
                if "by" in each and (each["undone"] or f"{by}.{each['tx']}" not in marks):
                    found.append(f"{channel}: {each} was rolled back")
                if (by, *place) in seen:
                    found.append(f"{channel}: {each} came twice")
                if place < last.get(by, (0, -1)):
                    found.append(f"{channel}: {each} came too late")
                seen.add((by, *place))
                last[by] = place
        stored = self.pair.site.do("stored_payloads")
        if len(seen) != len(stored):
            found.append(f"{len(stored)} are stored, {len(seen)} arrived")
        self.marks = len({(by, tx) for by, tx, _ in seen if by.startswith("p") and tx})
        arrived = {f"{by}.{tx}" for by, tx, _ in seen if tx}
        found += [f"all of {mark} is lost" for mark in marks - arrived if self._had_some(mark)]
        for page in self.pages:
            lost = {n for n in page.sent if (f"page{page.number}", 0, n) not in seen}
            found += [f"page {page.number}: {n} was acknowledged and is lost" for n in lost]
        return found

    def problems_since_restored(self) -> list[str]:
        """Return what is wrong since the backup was restored: each channel has one gap."""
        found = [f"page {p.number} stopped: {p.error!r}" for p in self.pages if p.error]
        stored = self.pair.site.do("current_payloads")
        for page in self.pages:
            for channel, got in page.got.items():
                if got.count(None) != 1:
                    found.append(f"page {page.number} {channel}: {got.count(None)} gaps, not one")
                    continue
                since = got[got.index(None) + 1 :]
                if since != stored.get(channel, []):
                    found.append(
                        f"page {page.number} {channel} has {len(since)} since the gap, "
                        f"{len(stored.get(channel, []))} are stored"
                    )
        return found

    def _had_some(self, mark: str) -> bool:
        """Return whether a transaction has published anything that was not undone."""
        return bool(self.pair.site.do("payloads_of", mark))


def prove(
    folder: Path,
    database: dict[str, Any],
    backup: Callable[[], Callable[[], None]],
    *,
    seed: int,
    kills: int,
    pages: int,
) -> dict[str, Any]:
    """Run the proof; return what happened, with what is wrong in `problems`.

    Args:
        folder: A folder for logs.
        database: An entry of Django's DATABASES.
        backup: Makes a backup of it, and returns what restores it.
        seed: Of everything that is random.
        kills: How often something is killed: a quarter of it after a restored backup.
        pages: The number of clients.

    """
    proof = Proof(folder, database, seed, pages)
    started = time.monotonic()
    try:
        proof.prepare()
        proof.disturb(kills - kills // 4, 0.05)
        proof.settle()
        problems = proof.problems()
        proof.restore(backup, kills // 4)
        proof.end()
        problems += proof.problems_since_restored()
        return {
            "seed": seed,
            "database": database["ENGINE"].rpartition(".")[2],
            "kills": proof.kills,
            "pages": pages,
            "publications": proof.total,
            "acknowledged": sum(len(page.sent) for page in proof.pages),
            "transactions": proof.marks,
            "busy": sum(p.log().count("busy:") for p in proof.publishers),
            "seconds": round(time.monotonic() - started),
            "problems": problems,
        }
    finally:
        proof.stop()


def sqlite_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of SQLite that the documentation recommends."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(folder / "site.sqlite3"),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


def main() -> int:
    """Run the proof and print its summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hookbox-durable-"))
    print(f"seed {options.seed}, logs in {folder}", flush=True)
    with ExitStack() as stack:
        if options.database == "sqlite":
            database = sqlite_settings(folder)
            backup = partial(sqlite_backup, database)
        else:
            cluster = stack.enter_context(Cluster())
            database = cluster.settings()
            backup = partial(postgresql_backup, cluster)
        summary = prove(
            folder, database, backup, seed=options.seed, kills=options.kills, pages=options.pages
        )
    problems = summary.pop("problems")
    print(json.dumps(summary))
    for problem in problems[:50]:
        print(problem)
    print(f"{len(problems)} problems")
    if options.keep or problems:
        print(f"The logs are in {folder}.")
    else:
        shutil.rmtree(folder)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
