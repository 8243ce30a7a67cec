"""What is known about the Hookbox process."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..wire.answers import ServerInfo


class State(str, Enum):
    """The state of the process."""

    RUNNING = "running"
    STARTING = "starting"
    STOPPED = "stopped"
    #: It should answer, but does not.
    UNREACHABLE = "unreachable"
    SECRET_REFUSED = "secret_refused"  # noqa: S105 - not a secret
    VERSION_DIFFERS = "version_differs"
    #: Something else answers at the address.
    NOT_HOOKBOX = "not_hookbox"
    MISCONFIGURED = "misconfigured"


#: States in which something that speaks our protocol answers.
ANSWERING = frozenset({State.RUNNING, State.VERSION_DIFFERS, State.SECRET_REFUSED})


def _nothing() -> ServerInfo:
    """Return the report of a process that has not been asked."""
    from ..wire.answers import ServerInfo  # the admin needs this module in every process

    return ServerInfo()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """What is known about the process at a given moment."""

    state: State
    #: What that means, and what to do next.
    message: str
    #: The address at which it is called.
    address: str = ""
    #: Its pid on this machine if it is identified; otherwise the pid that the server reports.
    pid: int | None = None
    #: Whether it is identified by the lock that it holds, so that it can be signalled.
    identified: bool = False
    #: Whether HOOKBOX_PROCESS_CONTROL lets the site start and stop it.
    control: bool = True
    version: str = ""
    #: Seconds since its start.
    uptime: float | None = None
    engine: str = ""
    connections: int | None = None
    users: int | None = None
    channels: int | None = None
    messages_in: int | None = None
    messages_out: int | None = None
    #: Everything it reported about itself when asked.
    info: ServerInfo = field(default_factory=_nothing, repr=False)
    #: The shell command that starts it.
    command: str = "manage.py runhookbox"

    @property
    def can_start(self) -> bool:
        """Whether start() may succeed."""
        silent = self.state in (State.STOPPED, State.UNREACHABLE)
        return self.control and silent and not self.identified

    @property
    def can_stop(self) -> bool:
        """Whether stop() may signal it."""
        return self.control and self.identified
