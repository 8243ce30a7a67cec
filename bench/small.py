"""What small channels and arriving clients cost, compared with nchan and with bare protocols."""

from __future__ import annotations

from statistics import median

from . import nchan
from .processes import BenchError, target
from .races import PAYLOAD, Figure, Results, Scale, against_nchan, note, race, ratio

KIB = 1024
#: Channels, subscribers of each, and how many times nchan's CPU a delivery may cost.
SIZES = ((200, 5, 2.0), (1, 100, 1.3), (1, 1000, 1.05))
#: Clients that arrive at once.
CROWD = 1000
STORM = 4000


def small(scale: Scale) -> list[Figure]:
    """Publish one message at a time to channels of a few subscribers."""
    if not nchan.installed():
        raise BenchError("nchan is not installed: apt install nginx libnginx-mod-nchan")
    figures = []
    for channels, each, bound in SIZES:
        note(f"small: {channels} channels of {each} subscribers")
        results = race(
            scale, channels * each, "fanout", {"messages": 50, "seconds": 0.5},
            channels=channels, kinds=("hookbox", "baseline", "nchan"),
            messages=scale.deliveries // 4 // each, size=PAYLOAD, seconds=scale.seconds * 2,
        )  # fmt: skip
        what = f"CPU per delivery, {channels} channels of {each}"
        figures += against_nchan("small", what, results, bound)
    return figures


def connect(scale: Scale) -> list[Figure]:
    """Let many clients connect and subscribe at once, and look at their memory."""
    kinds = ("hookbox", "exchange", "bare", *(("nchan",) if nchan.installed() else ()))
    results: Results = {}
    memory: dict[str, list[float]] = {"calm": [], "storm": []}
    for number in range(scale.runs):
        note(f"connect: {CROWD} clients at once, run {number + 1} of {scale.runs}")
        for kind in kinds:
            with target(kind) as measured:
                measured("connect", count=50)
                measured("settle", seconds=0.2)
                result = measured("connect", count=CROWD, wave=CROWD)
                result["cost"] = result["cpu"] / result["received"]
                results.setdefault(kind, []).append(result)
        for name, wave in (("calm", 100), ("storm", STORM)):
            with target("hookbox") as measured:
                measured("connect", count=50)
                before = measured.private_memory()
                measured("connect", count=STORM, wave=wave)
                measured("settle", seconds=2.0)
                memory[name].append((measured.private_memory() - before) / STORM / KIB)
    each = {
        kind: f"{median(result['cost'] for result in found) * 1e6:.0f} µs"
        for kind, found in results.items()
    }
    details = "; ".join(f"{kind} {cost}" for kind, cost in each.items())
    own = [result["cost"] * 1e6 for result in results["hookbox"]]
    return [
        Figure("connect", "CPU per client that connects and subscribes", median(own), "µs", 600.0,
               details),
        Figure("connect", "the same ÷ a bare protocol that makes the exchange",
               ratio(results, "cost", base="exchange"), "x", 4.0, details),
        Figure("connect", "the same ÷ a bare protocol that answers with constants",
               ratio(results, "cost", base="bare"), "x", None, details),
        Figure("connect", f"memory per idle connection, {STORM} in waves of 100",
               median(memory["calm"]), "KiB", 5.0, "Cookie header of 500 bytes"),
        Figure("connect", f"memory per idle connection, {STORM} at once",
               median(memory["storm"]), "KiB", 16.0, "Cookie header of 500 bytes"),
    ]  # fmt: skip
