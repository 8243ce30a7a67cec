"""For how long our event loop blocks at most, with as many subscribers as the system allows.

The bound is for processor time, because a machine that shares its processors takes them away for
longer than that. A turn that waits for something else than the processor shows only by the clock.
"""

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
        while_arriving = measured.longest_block()
        measured("fanout", messages=20, size=PAYLOAD, seconds=scale.seconds * 5)
        one_by_one = measured.longest_block()
        burst = measured("burst", publishers=4, size=PAYLOAD, seconds=scale.seconds)
        in_bursts = measured.longest_block()
    each = f"{arriving['cpu'] / arriving['received'] * 1e6:.0f} µs of CPU per client"
    rate = f"{burst['published'] / burst['seconds']:.0f} publications per second"
    what = "longest block of the loop"
    found = {
        f"{what}, {count} arrive, {WAVE} at once": (while_arriving, each),
        f"{what}, publishing to {count}": (one_by_one, "one message at a time"),
        f"{what}, the same in bursts": (in_bursts, rate),
    }
    return [
        Figure("blocks", what, used, "ms", bound, f"{late:.1f} ms by the clock; {details}")
        for what, ((late, used), details) in found.items()
    ]
