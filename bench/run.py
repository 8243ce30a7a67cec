"""Run the benchmarks and print one table: `python -m bench.run [--quick] [name …]`.

The exit status is 1 if a figure exceeds its bound, and 2 if one could not be measured.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from statistics import median

from . import nchan
from .blocks import blocks
from .growth import growth
from .processes import KINDS, BenchError, channels_installed, target
from .races import PAYLOAD, Figure, Scale, against_nchan, compared, costs, note, race, ratio
from .small import connect, small

KIB = 1024


def fanout(scale: Scale) -> list[Figure]:
    """(1) Fan out one message at a time."""
    figures = []
    for count in (1000, 5000):
        note(f"fanout: {count} subscribers")
        # In seconds too, because the in-memory layer needs many for one message to thousands.
        results = race(
            scale, count, "fanout", {"messages": 5, "seconds": 0.5},
            messages=scale.deliveries // count, size=PAYLOAD, seconds=scale.seconds * 2,
        )  # fmt: skip
        what = f"CPU per delivery, {count} subscribers"
        figures += [
            Figure("fanout", what, ratio(results, "cost"), "x", 1.15, costs(results)),
            *compared("fanout", what, results),
        ]
    return figures


def burst(scale: Scale) -> list[Figure]:
    """(2) Publishing as fast as answered on four connections."""
    note("burst: 1000 subscribers, 4 publishers")
    results = race(
        scale, 1000, "burst", {"seconds": 0.3}, publishers=4, size=PAYLOAD, seconds=scale.seconds
    )
    rates = "; ".join(
        f"{kind} {median(r['published'] / r['seconds'] for r in results[kind]):.0f}/s"
        for kind in results
    )
    return [
        Figure("burst", "CPU per delivery", ratio(results, "cost"), "x", 0.6, costs(results)),
        Figure("burst", "p99 latency", ratio(results, "p99"), "x", 1.0, f"published {rates}"),
        *compared("burst", "CPU per delivery", results),
        *against_nchan("burst", "CPU per delivery", results, 0.35),
    ]


def memory(scale: Scale) -> list[Figure]:
    """(3) Memory of an idle, subscribed connection."""
    count = 5000
    taken: dict[str, list[float]] = {kind: [] for kind in scale.kinds}
    for number in range(scale.runs):
        note(f"memory: {count} subscribers, run {number + 1} of {scale.runs}")
        for kind in scale.kinds:
            if kind == "channels" and number:
                continue  # takes a minute to connect this many, and has no bound
            with target(kind) as measured:
                measured("connect", count=1)  # what the first one loads is not a cost of each
                before = measured.private_memory()
                measured("connect", count=count)
                measured("settle", seconds=2.0)
                taken[kind].append((measured.private_memory() - before) / count / KIB)
    extra = median(
        one - base for one, base in zip(taken["hookbox"], taken["baseline"], strict=True)
    )
    details = "; ".join(f"{kind} {median(values):.2f} KiB" for kind, values in taken.items())
    return [Figure("memory", "per idle connection, above baseline", extra, "KiB", 4.0, details)]


def stuck(scale: Scale) -> list[Figure]:
    """(4) Subscribers that never read."""
    readers, blocked, unsent = 100, 10, 1_048_576
    arguments = {"seconds": 6.0, "rate": 200, "size": 8192, "bound": unsent}
    slower, grown, closed, lost = [], [], [], 0
    p99 = []
    for number in range(scale.runs):
        note(f"stuck: run {number + 1} of {scale.runs}")
        with target("hookbox") as measured:
            measured("connect", count=readers)
            measured("paced", **{**arguments, "seconds": 1.0})  # warm up
            without = measured("paced", **arguments)
            measured("connect", count=0, stuck=blocked)
            result = measured("paced", **arguments)
        p99.append((without["p99"] * 1e3, result["p99"] * 1e3))
        slower.append((result["p99"] - without["p99"]) * 1e3)
        lost += result["expected"] - result["received"]
        grown.append((result["grown"] - without["grown"]) / blocked / KIB / KIB)
        late = result["closed_after"]
        closed.append(float("inf") if late is None else late)
    times = f"p99 {median(a for a, _ in p99):.1f} ms without, {median(b for _, b in p99):.1f} with"
    return [
        Figure("stuck", "others' p99 latency, longer by", median(slower), "ms", 5.0, times),
        Figure("stuck", "deliveries to others lost", lost, "", 0.0, f"{readers} readers"),
        Figure("stuck", "server's memory per stuck connection", median(grown), "MiB", 2.0,
               f"{blocked} stuck, at most 1 MiB unsent each"),
        Figure("stuck", "closed after passing its bound", median(closed), "s", 2.0,
               "the last of them; what the kernel buffers included"),
    ]  # fmt: skip


def webhook(scale: Scale) -> list[Figure]:
    """(5) The cost of a subscribe webhook in Django."""
    note("webhook: subscribe webhook and bare view")
    command = [sys.executable, "-m", "bench.webhook_cost", "--runs", str(scale.runs)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise BenchError("bench.webhook_cost failed")
    result = json.loads(done.stdout)
    details = (
        f"webhook {result['webhook'] * 1e3:.2f} ms, {result['webhook_queries']} queries; "
        f"bare view {result['bare'] * 1e3:.2f} ms, {result['bare_queries']} queries"
    )
    return [Figure("webhook", "subscribe ÷ bare Django view", result["ratio"], "x", 1.5, details)]


def batch(scale: Scale) -> list[Figure]:
    """(6) The cost of webhooks in batches in Django."""
    bounds = {
        "connect 100": 0.15, "connect 25": 0.22, "subscribe 100": 0.2, "subscribe 25": None,
    }  # fmt: skip
    figures = []
    for database in ("sqlite", "postgres"):
        note(f"batch: webhooks in batches and alone, {database}")
        command = [sys.executable, "-m", "bench.batch_cost", "--database", database]
        command += ["--runs", str(scale.runs)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise BenchError(f"bench.batch_cost --database {database} failed")
        result = json.loads(done.stdout)
        for name, bound in bounds.items():
            kind, size = name.split()
            details = f"{database}; a single one takes {result[f'{kind} alone, µs']} µs of CPU"
            what = f"{kind} in batches of {size} ÷ alone"
            figures.append(Figure("batch", what, result[name], "x", bound, details))
    return figures


def storm(scale: Scale) -> list[Figure]:
    """(7) All clients come back after a restart of the process."""
    note("storm: 1,000 clients come back, with batches and without")
    command = [sys.executable, "-m", "bench.storm", "--runs", str(scale.runs)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise BenchError("bench.storm failed")
    results = [json.loads(line) for line in done.stdout.splitlines()]

    def value(name: str, *, batched: bool) -> float:
        return median(result[name] for result in results if result["batched"] is batched)

    bounds = {
        "site's CPU per client, with SQLite": ("site", "ms", 2.5),
        "server's CPU per client": ("server", "ms", 1.2),
        "an ordinary page during that, p99": ("page p99", "s", 0.5),
        "an ordinary page during that, slowest": ("page max", "s", 1.0),
        "everybody is back after": ("seconds", "s", None),
    }
    return [
        Figure(
            "storm", what, value(name, batched=True), unit, bound,
            f"without batches {value(name, batched=False):.2f} {unit}",
        )
        for what, (name, unit, bound) in bounds.items()
    ]  # fmt: skip


BENCHES: dict[str, Callable[[Scale], list[Figure]]] = {
    "small": small,
    "connect": connect,
    "blocks": blocks,
    "fanout": fanout,
    "burst": burst,
    "memory": memory,
    "stuck": stuck,
    "webhook": webhook,
    "batch": batch,
    "storm": storm,
    "growth": growth,
}


def table(figures: list[Figure]) -> str:
    """Return the figures as text."""
    lines = []
    for figure in figures:
        verdict = "" if figure.bound is None else "OVER" if figure.over else "OK"
        bound = "" if figure.bound is None else f"≤ {figure.bound:g}"
        value = f"{figure.value:.2f} {figure.unit}"
        lines.append(
            f"{figure.bench:<8} {figure.what:<55} {value:>10}  {bound:<7} {verdict:<5}\n"
            f"{'':<9}  {figure.details}"
        )
    return "\n".join(lines)


def main() -> int:
    """Run the requested benchmarks; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHES)}")
    parser.add_argument("--runs", type=int, default=5, help="rounds; the median counts (5)")
    parser.add_argument("--quick", action="store_true", help="one short round, for a look only")
    parser.add_argument("--no-channels", action="store_true", help="do not compare with Channels")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    kinds: tuple[str, ...] = KINDS
    if options.no_channels:
        kinds = KINDS[:2]
    elif not channels_installed():
        note("Django Channels is not measured: pip install 'django-hookbox[bench]' for that.")
        kinds = KINDS[:2]
    if nchan.installed():
        kinds = (*kinds, "nchan")
    else:
        note("nchan is not measured: apt install nginx libnginx-mod-nchan for that.")
    if options.quick:
        scale = Scale(1, kinds, 50_000, 0.5)
    else:
        scale = Scale(options.runs, kinds, 200_000, 2.0)
    figures: list[Figure] = []
    failed = False
    for name in options.names or BENCHES:
        try:
            figures += BENCHES[name](scale)
        except BenchError as error:
            failed = True
            note(f"{name}: {error}")
    print(
        f"Python {platform.python_version()}, {platform.machine()}, "
        f"median of {scale.runs}\n{table(figures)}"
    )
    if options.json:
        with open(options.json, "w") as file:
            json.dump([{**asdict(f), "over": f.over} for f in figures], file, indent=1)
    return 2 if failed else int(any(figure.over for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
