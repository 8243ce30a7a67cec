"""The identity of a server process, as reported to the site.

A node is one server process. Each run of it, from start to end, has its own boot id.
"""

from __future__ import annotations

import re
import secrets

#: The webhook header that contains the boot id.
BOOT_HEADER = "X-Hookbox-Boot"

#: The webhook header that asks for the decider in each reply, for the server's log.
EXPLAIN_HEADER = "X-Hookbox-Explain"

#: Maximum number of seconds between two reports, which show the site that a process is alive.
BEAT = 60.0

_BOOT_ID = re.compile("[0-9a-f]{32}")


def new_boot_id() -> str:
    """Return an id that no other run of a process has."""
    return secrets.token_hex(16)


def is_boot_id(text: str) -> bool:
    """Return whether a text can be a boot id."""
    return _BOOT_ID.fullmatch(text) is not None
