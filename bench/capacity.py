"""What nodes and one Redis carry: `python -m bench.capacity` prints the table of the documentation.

The costs were measured with `bench.engine` on an idle machine with two slow cores; that of a
further reader was measured earlier, with scripts that one process runs. Measure yours, and change
`COSTS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured costs, in microseconds of CPU unless a comment says otherwise.

    Attributes:
        delivery: Of a node, for each message written to a client.
        publication: Of a node, for each publication that it makes.
        following: Of a node, for each publication of another node that its clients receive.
        arrival: Of a node, for each client that connects and subscribes.
        memory: Bytes for each idle connection.
        redis_publication: Of Redis, for each publication.
        redis_reader: The same for each further node that has subscribers of the channel.
        redis_arrival: Of Redis, for each client that connects and subscribes.

    """

    delivery: float = 8.0
    publication: float = 171.0
    following: float = 43.0
    arrival: float = 986.0
    memory: float = 5 * 1024
    redis_publication: float = 68.0
    redis_reader: float = 5.4
    redis_arrival: float = 152.0


COSTS = Costs()
#: The share of a core that may be busy, so that peaks do not queue.
BUSY = 0.6
#: HOOKBOX_MAX_CONNECTIONS, and seconds over which all clients come back after a restart.
MOST_CONNECTIONS, STORM_SECONDS = 50_000, 120


@dataclass(frozen=True, slots=True)
class Load:
    """What a site does.

    Attributes:
        connections: Connected clients, each subscribed to one channel.
        audience: Subscribers of each channel.
        rate: Messages that each client receives per second.

    """

    connections: int
    audience: int
    rate: float


@dataclass(frozen=True, slots=True)
class Need:
    """What a load needs.

    Attributes:
        nodes: Processes, each with a core.
        limit: What determines their number.
        readers: Nodes that have subscribers of a channel, on average.
        redis: The share of the core of one Redis, without reconnects.
        storm: Seconds in which one Redis lets all clients come back.
        memory: GiB of memory of all nodes for connections.

    """

    nodes: int
    limit: str
    readers: float
    redis: float
    storm: float
    memory: float


def need(load: Load, costs: Costs = COSTS) -> Need:
    """Return what a load needs: as many nodes as each limit requires."""
    publications = load.connections * load.rate / load.audience
    deliveries = load.connections * load.rate * costs.delivery / 1e6
    by_limit = {
        "connections": load.connections / MOST_CONNECTIONS,
        "reconnects": load.connections * costs.arrival / 1e6 / STORM_SECONDS / BUSY,
    }
    # More nodes read each channel, so that they follow more: find the smallest number.
    nodes = 1
    while True:
        readers = nodes * (1 - (1 - 1 / nodes) ** load.audience)
        each = costs.publication + (readers - 1) * costs.following
        by_limit["CPU"] = (deliveries + publications * each / 1e6) / BUSY
        enough = max(1, *(ceil(value) for value in by_limit.values()))
        if enough <= nodes:
            break
        nodes += 1
    redis = publications * (costs.redis_publication + (readers - 1) * costs.redis_reader) / 1e6
    return Need(
        nodes=nodes,
        limit=max(by_limit, key=lambda name: by_limit[name]),
        readers=readers,
        redis=redis,
        storm=load.connections * costs.redis_arrival / 1e6 / BUSY,
        memory=load.connections * costs.memory / 2**30,
    )


#: The rows of the table: a message every 10 seconds to 20, and every second to 1,000.
LOADS = tuple(
    Load(connections, audience, rate)
    for audience, rate in ((20, 0.1), (1000, 1.0))
    for connections in (10_000, 100_000, 1_000_000)
)


def rows() -> list[tuple[str, ...]]:
    """Return the table of the documentation."""
    found = []
    for load in LOADS:
        what = need(load)
        found.append(
            (
                f"{load.connections:,}",
                f"{load.audience:,}",
                f"{load.connections * load.rate:,.0f}",
                f"{load.connections * load.rate / load.audience:,.0f}",
                f"{what.nodes}",
                what.limit,
                f"{what.readers:.1f}",
                f"{what.redis:.0%}",
                f"{what.storm:.0f} s",
                f"{what.memory:.2f} GiB",
            )
        )
    return found


HEADINGS = (
    "Connections", "Per channel", "Deliveries/s", "Publications/s", "Nodes", "Limit",
    "Readers", "Redis", "Reconnects", "Memory",
)  # fmt: skip


def table() -> str:
    """Return the table as reStructuredText."""
    found = [HEADINGS, *rows()]
    widths = [max(len(row[column]) for row in found) for column in range(len(HEADINGS))]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in found
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


if __name__ == "__main__":
    print(table())
