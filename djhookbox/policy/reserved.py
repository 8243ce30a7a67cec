"""Channels that belong to this package: no policy, handler or receiver decides about them.

There is one: where the Hookbox process reports about itself while somebody has the admin's
server page open.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..wire.names import RESERVED_PREFIX
from .patterns import compile_pattern
from .rules import Audience, Rule

#: Begins their names.
PREFIX = RESERVED_PREFIX

#: Where the process reports.
REPORT_CHANNEL = f"{PREFIX}server"

#: Whoever reads that must be staff and hold this, as for the page.
REPORT_PERMISSION = "djhookbox.view_server"


def is_reserved(channel: str) -> bool:
    """Return whether a channel belongs to this package."""
    return channel.startswith(PREFIX)


#: What stands before all policies, and is no row that anybody could edit.
RULES: Sequence[Rule] = (
    Rule(
        name="built-in",
        text=REPORT_CHANNEL,
        pattern=compile_pattern(REPORT_CHANNEL),
        create=Audience.PERMISSION,
        subscribe=Audience.PERMISSION,
        publish=Audience.NOBODY,
        permission=REPORT_PERMISSION,
        options={"moderated": True, "anonymous": True},
        reserved=True,
    ),
    # Without a pattern a rule refuses whatever begins like it.
    Rule(
        name="built-in",
        text=PREFIX,
        pattern=None,
        create=Audience.NOBODY,
        subscribe=Audience.NOBODY,
        publish=Audience.NOBODY,
        reserved=True,
    ),
)
