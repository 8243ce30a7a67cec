"""For how long our event loop blocks at most, with as many subscribers as the system allows."""

from __future__ import annotations

import resource

from .processes import target
from .races import PAYLOAD, Figure, Scale, note

#: Subscribers, if there may be as many open files.
MOST = 20_000
#: Clients that arrive at once.
WAVE = 500


def blocks(scale: Scale) -> list[Figure]:
    """Let clients arrive, publish to all of them, and look how late a ticking task is."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = min(MOST, limit - 500)
    note(f"blocks: {count} subscribers of one channel")
    bound = 50.0
    with target("hookbox", ticking=True) as measured:
        measured("connect", count=100)
        measured.longest_block()
        arriving = measured("connect", count=count - 100, wave=WAVE)
        while_arriving = measured.longest_block() * 1e3
        measured("fanout", messages=20, size=PAYLOAD, seconds=scale.seconds * 5)
        one_by_one = measured.longest_block() * 1e3
        burst = measured("burst", publishers=4, size=PAYLOAD, seconds=scale.seconds)
        in_bursts = measured.longest_block() * 1e3
    each = f"{arriving['cpu'] / arriving['received'] * 1e6:.0f} µs of CPU per client"
    rate = f"{burst['published'] / burst['seconds']:.0f} publications per second"
    what = "longest block of the loop"
    return [
        Figure("blocks", f"{what}, {count} arrive, {WAVE} at once", while_arriving, "ms", bound,
               each),
        Figure("blocks", f"{what}, publishing to {count}", one_by_one, "ms", bound,
               "one message at a time"),
        Figure("blocks", f"{what}, the same in bursts", in_bursts, "ms", bound, rate),
    ]  # fmt: skip
