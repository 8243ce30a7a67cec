"""How a server process tells the site which one it is.

A node is one server process. Each of its lives, from start to end, has a boot id of its own.
"""

from __future__ import annotations

import re
import secrets

#: The header of each webhook that holds the boot id.
BOOT_HEADER = "X-Hookbox-Boot"

#: Seconds between two reports at most, by which the site knows that a process lives.
BEAT = 60.0

_BOOT_ID = re.compile("[0-9a-f]{32}")


def new_boot_id() -> str:
    """Return an id that no other life of a process has."""
    return secrets.token_hex(16)


def is_boot_id(text: str) -> bool:
    """Tell whether a text can be a boot id."""
    return _BOOT_ID.fullmatch(text) is not None
