"""File descriptors and memory that this process uses, and the limits that apply to it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

#: Where control groups say how much memory a container may use: version 2, then 1.
CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
#: Where Linux lists the open file descriptors, and how many are listed at most.
OPEN_FILES = "/proc/self/fd"
MOST_LISTED = 1000
#: From this value on, a limit means that there is no limit.
NO_LIMIT = 2**50


def files() -> tuple[int | None, int | None]:
    """Return the number of open file descriptors and its limit, if the system tells."""
    try:
        import resource

        return _open_files(), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except (ImportError, OSError):
        return None, None


def _open_files() -> int:
    """Return the number of open file descriptors; listing 20,000 takes 90 ms and more."""
    if number := os.stat(OPEN_FILES).st_size:  # Linux 6.2 and later
        return number
    with open(os.devnull) as lowest:
        # The system gives out the lowest number that is free. Among thousands, few are free.
        number = lowest.fileno()
    return number if number > MOST_LISTED else len(os.listdir(OPEN_FILES))


def memory() -> tuple[int | None, int | None]:
    """Return the resident memory in bytes and its limit, if the system tells.

    Without a limit there is no figure to compare, so that neither is returned.
    """
    limit = memory_limit()
    return (None, None) if limit is None else (resident(), limit)


def resident() -> int | None:
    """Return the resident memory of this process in bytes, if the system tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


@cache
def memory_limit() -> int | None:
    """Return the smallest limit on the memory of this process in bytes, or None without any."""
    found = [limit for path in CGROUPS if (limit := _number(path)) is not None]
    try:
        import resource

        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            soft = resource.getrlimit(kind)[0]
            if soft != resource.RLIM_INFINITY:
                found.append(soft)
    except (ImportError, OSError):
        pass
    limit = min(found, default=NO_LIMIT)
    return None if limit >= NO_LIMIT else limit


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # "max"
        return None
