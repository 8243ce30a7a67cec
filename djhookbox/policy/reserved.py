"""Channels reserved for this package: no policy, handler or receiver decides for them.

There is one, on which the Hookbox process reports its state while the admin's server page is open.
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

#: Subscribers of that channel must be staff with this permission, which the page also requires.
REPORT_PERMISSION = "djhookbox.view_server"


def is_reserved(channel: str) -> bool:
    """Return whether a channel is reserved for this package."""
    return channel.startswith(PREFIX)


#: The rules before all policies; they are not rows, so nobody can edit them.
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
