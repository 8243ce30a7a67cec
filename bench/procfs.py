"""Read what the kernel reports about a process."""

from __future__ import annotations

import contextlib
import os
import time


def cpu_time(pid: int) -> float:
    """Return the user and system time of a process in seconds, including ended threads.

    This is the process's CPU clock, which /proc/<pid>/stat rounds to hundredths.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that have not ended."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def cpu_time_of_family(pid: int) -> float:
    """Return the user and system time of a process and its children, ended ones included."""
    ticks = 0
    for member, last in ((pid, 15), *((child, 13) for child in children(pid))):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{member}/stat") as stat:
            # utime, stime and, of ended children that were waited for, cutime and cstime
            ticks += sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:last]))
    return ticks / os.sysconf("SC_CLK_TCK")


def accepted(pid: int, port: int, peers: set[int]) -> dict[str, str]:
    """Return a server's file descriptors for the connections from these ports, as links."""
    inodes = set()
    with open("/proc/net/tcp") as connections:
        next(connections)
        for line in connections:
            fields = line.split()
            local, peer = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
            if local == port and peer in peers:
                inodes.add(f"socket:[{fields[9]}]")
    links = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{fd}"
        with contextlib.suppress(OSError):
            if (link := os.readlink(path)) in inodes:
                links[path] = link
    return links


def still_open(links: dict[str, str]) -> bool:
    """Return whether any of these descriptors is still the same connection."""
    for path, link in links.items():
        with contextlib.suppress(OSError):
            if os.readlink(path) == link:
                return True
    return False


def memory(pid: int) -> dict[str, int]:
    """Return the Vm… lines of a process's status, in bytes."""
    with open(f"/proc/{pid}/status") as status:
        rows = (line.split() for line in status if line.startswith("Vm"))
        return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows}
