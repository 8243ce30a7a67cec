"""Measure servers against each other, in alternation, and compare what they need."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

from .processes import BenchError, Target, target

#: Bytes of a publication's payload.
PAYLOAD = 128


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table. `bound` limits `value`; without it, the row is only informative."""

    bench: str
    what: str
    value: float
    unit: str
    bound: float | None
    details: str

    @property
    def over(self) -> bool:
        """Whether the bound is exceeded."""
        return self.bound is not None and self.value > self.bound


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a run."""

    runs: int
    kinds: tuple[str, ...]
    deliveries: int
    seconds: float


def note(text: str) -> None:
    """Report progress to the user."""
    print(text, file=sys.stderr, flush=True)


Results = dict[str, list[dict[str, Any]]]


def race(
    scale: Scale,
    count: int,
    command: str,
    warm_up: dict[str, Any],
    *,
    channels: int = 1,
    kinds: tuple[str, ...] = (),
    **arguments: Any,
) -> Results:
    """Measure new servers with this many subscribers, each once per round.

    Measure all kinds of the scale, or only the given ones. The order alternates between rounds.
    Channels has at most two rounds: it has no bound and takes longer than all others together. If
    it fails, the others do not.
    """
    targets: dict[str, Target] = {}
    results: Results = {}

    def measure(kind: str, **more: Any) -> None:
        try:
            if kind not in targets:
                targets[kind] = stack.enter_context(target(kind))
                targets[kind]("connect", count=count, channels=channels)
            result = targets[kind](command, **{**arguments, **more})
            if not result["received"]:
                raise BenchError(f"{kind}: {command}: nothing was delivered")
            result["cost"] = result["cpu"] / result["received"]
            results.setdefault(kind, []).append(result)
        except BenchError as error:
            if kind != "channels":
                raise
            note(f"not compared: {error}")
            racing.remove(kind)

    with ExitStack() as stack:
        racing = list(kinds or scale.kinds)
        for kind in list(racing):
            measure(kind, **warm_up)
        results.clear()
        for number in range(scale.runs):
            for kind in racing[:] if number % 2 == 0 else racing[::-1]:
                if kind != "channels" or number < 2:
                    measure(kind)
    return results


def ratio(results: Results, key: str, kind: str = "hookbox", base: str = "baseline") -> float:
    """Return the median over the rounds of one kind's figure divided by another's."""
    pairs = zip(results[kind], results[base], strict=False)
    return float(median(one[key] / other[key] for one, other in pairs))


def middle(results: Results, kind: str, key: str) -> float:
    """Return the median over the rounds of one kind's figure."""
    return float(median(result[key] for result in results[kind]))


def costs(results: Results) -> str:
    """Describe CPU per delivery, latency and what was lost, for each kind."""
    parts = []
    for kind in results:
        part = (
            f"{kind} {middle(results, kind, 'cost') * 1e6:.2f} µs"
            f", p99 {middle(results, kind, 'p99') * 1e3:.1f} ms"
        )
        lost = 1 - sum(r["received"] for r in results[kind]) / sum(
            r["expected"] for r in results[kind]
        )
        if lost > 0:
            part += f", {lost:.0%} lost"
        if middle(results, kind, "load") > 0.9:
            part += ", load generator busy"
        parts.append(part)
    return "; ".join(parts)


def compared(bench: str, what: str, results: Results) -> list[Figure]:
    """Return the row that says what Django Channels costs, if it was measured."""
    if "channels" not in results:
        return []
    value = ratio(results, "cost", "channels")
    return [Figure(bench, f"{what}: Channels ÷ baseline", value, "x", None, "for comparison")]


def against_nchan(bench: str, what: str, results: Results, bound: float) -> list[Figure]:
    """Return the row that compares with nchan, if it was measured."""
    if "nchan" not in results:
        return []
    value = ratio(results, "cost", base="nchan")
    return [Figure(bench, f"{what} ÷ nchan", value, "x", bound, costs(results))]
