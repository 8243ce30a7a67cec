"""Whether a delivery and a client that arrives cost more as everything grows."""

from __future__ import annotations

import resource
from statistics import median

from .processes import target
from .races import PAYLOAD, Figure, Scale, note

#: Subscribers of one channel; the last number is lower if there may not be as many open files.
AUDIENCES = (100, 1000, 5000, 20_000)
#: Channels, each with one subscriber, and the most connections that these subscribers share.
CHANNELS, SHARED_BY = (10, 1000, 10_000, 50_000), 1000
#: Clients whose arrival is measured, and how many arrive at once.
ARRIVING, WAVE = 500, 100
#: Publications that are measured, to different channels where there are as many.
PUBLICATIONS = 2000
#: How many times as high as the first cost the highest one may be.
MOST = 1.5
#: Seconds in which what has been joined is reported to the site.
SETTLE = 3.0


def growth(scale: Scale) -> list[Figure]:
    """Measure the same with few and with many subscribers, connections and channels."""
    arrivals: dict[int, list[float]] = {}
    deliveries: dict[int, list[float]] = {}
    publications: dict[int, list[float]] = {}
    most = min(AUDIENCES[-1], resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 500)
    for number in range(scale.runs):
        note(f"growth: up to {most} subscribers, run {number + 1} of {scale.runs}")
        _with_subscribers(scale, (*AUDIENCES[:-1], most), arrivals, deliveries)
        for channels in CHANNELS:
            note(f"growth: {channels} channels, run {number + 1} of {scale.runs}")
            publications.setdefault(channels, []).append(_with_channels(scale, channels))
    return [
        _figure("CPU per delivery", "subscribers", deliveries),
        _figure("CPU per publication to one subscriber", "channels", publications),
        _figure("CPU per client that arrives", "connections", arrivals),
    ]


def _figure(what: str, of: str, found: dict[int, list[float]]) -> Figure:
    """Compare the highest cost with that of the smallest number."""
    costs = {count: median(each) for count, each in found.items()}
    details = "; ".join(f"{count:,}: {cost * 1e6:.1f} µs" for count, cost in costs.items())
    value = max(costs.values()) / next(iter(costs.values()))
    return Figure("growth", f"{what}, by {of}: highest ÷ first", value, "x", MOST, details)


def _with_subscribers(
    scale: Scale,
    audiences: tuple[int, ...],
    arrivals: dict[int, list[float]],
    deliveries: dict[int, list[float]],
) -> None:
    """Let one channel grow; add the costs of clients that arrive and of deliveries."""
    with target("hookbox") as measured:
        measured("connect", count=50)
        connected = 50
        for audience in audiences:
            arriving = min(ARRIVING, audience - connected)
            measured("connect", count=audience - connected - arriving, wave=WAVE)
            measured("settle", seconds=SETTLE)
            result = measured("connect", count=arriving, wave=WAVE)
            before = audience - arriving
            arrivals.setdefault(before, []).append(result["cpu"] / result["received"])
            connected = audience
            messages = max(3, scale.deliveries // audience)
            measured("fanout", messages=3, size=PAYLOAD, seconds=scale.seconds)
            result = measured("fanout", messages=messages, size=PAYLOAD, seconds=scale.seconds * 2)
            deliveries.setdefault(audience, []).append(result["cpu"] / result["received"])


def _with_channels(scale: Scale, channels: int) -> float:
    """Return the cost of a publication to one subscriber, with this many channels."""
    sharing = min(channels, SHARED_BY)
    with target("hookbox") as measured:
        measured("connect", count=sharing, channels=sharing)
        measured("spread", channels=channels)
        measured("settle", seconds=SETTLE)
        measured("fanout", messages=PUBLICATIONS // 4, size=PAYLOAD, seconds=scale.seconds)
        result = measured("fanout", messages=PUBLICATIONS, size=PAYLOAD, seconds=scale.seconds * 4)
    return float(result["cpu"] / result["received"])
