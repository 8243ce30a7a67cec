"""What the kernel knows about a process."""

from __future__ import annotations

import os
import time


def cpu_time(pid: int) -> float:
    """Return the user and system time of a process, dead threads included, in seconds.

    The process's CPU clock, which is what /proc/<pid>/stat rounds to hundredths.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def established(port: int) -> set[int]:
    """Return the peers' ports of a server's open connections.

    The kernel's view: a client that does not read is not told that it was closed either.
    """
    peers = set()
    with open("/proc/net/tcp") as connections:
        next(connections)
        for line in connections:
            local, peer, state = line.split()[1:4]
            if state == "01" and int(local.rpartition(":")[2], 16) == port:
                peers.add(int(peer.rpartition(":")[2], 16))
    return peers


def memory(pid: int) -> dict[str, int]:
    """Return the Vm… lines of a process's status, in bytes."""
    with open(f"/proc/{pid}/status") as status:
        rows = (line.split() for line in status if line.startswith("Vm"))
        return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows}
