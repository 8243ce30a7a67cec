"""How much of a list an answer has."""

from __future__ import annotations

#: Maximum number of channels, connections or names in an answer.
MAX_LISTED = 100
#: Channels and connections in each part of a report, and how many parts can be asked for.
PAGE, MAX_PAGES = 20, 500

#: Publications in the tail of a channel.
MAX_TAIL = 50
