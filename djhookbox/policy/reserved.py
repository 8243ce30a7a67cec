"""Channels reserved for this package: no policy, handler or receiver decides about them.

There is one: where the Hookbox process reports about itself while somebody has the admin's
server page open.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..wire.names import RESERVED_PREFIX
from .patterns import compile_pattern
from .rules import Audience, Rule

#: The prefix of their names.
PREFIX = RESERVED_PREFIX

#: The channel on which the process reports.
REPORT_CHANNEL = f"{PREFIX}server"

#: Readers of that channel must be staff and have this permission, as for the page.
REPORT_PERMISSION = "djhookbox.view_server"


def is_reserved(channel: str) -> bool:
    """Return whether a channel is reserved for this package."""
    return channel.startswith(PREFIX)


#: The rule before all policies; it is not a row that anybody could edit.
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
    # A rule without a pattern refuses every name with its prefix.
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
