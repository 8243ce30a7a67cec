"""The reasons why the server ends a connection, and how the client should react.

Codes from 4000 to 4499 mean "reconnect", codes from 4500 to 4999 "do not reconnect". Clients also
reconnect after an abnormal end (1006) and a restart (1012).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A close code (RFC 6455, section 7.4) and a plain reason.

    Attributes:
        spread: Number of seconds over which the clients should spread their reconnects; 0 if they
            may reconnect at any time.

    """

    code: int
    reason: str
    spread: int = 0

    def args(self) -> dict[str, int | str]:
        """Return the arguments of the DISCONNECT frame."""
        args: dict[str, int | str] = {"code": self.code, "reason": self.reason}
        return args | {"spread": self.spread} if self.spread else args


NORMAL = Disconnect(1000, "")
RESTART = Disconnect(1012, "The server restarts; come back")
SESSION_EXPIRED = Disconnect(4000, "session expired")
TOKEN_SPENT = Disconnect(4000, "The connect token has been used already")
TOO_SLOW = Disconnect(4001, "The connection does not read fast enough")
NO_PONG = Disconnect(4002, "The connection does not answer")
NOT_CONNECTED = Disconnect(4003, "The connection did not send CONNECT in time")
BY_SITE = Disconnect(4500, "Disconnected by the site")
ACCOUNT_GONE = Disconnect(4501, "The account is no longer active")

#: The recorded end of a lost TCP connection; never sent (RFC 6455, section 7.1.5).
ABNORMAL = Disconnect(1006, "The connection was lost")

#: Each connection costs the site a webhook: allow at most this many reconnects a second after a
#: restart, and ask no client to wait longer than this.
RETURNS_PER_SECOND = 200
LONGEST_SPREAD = 120


def restart(connections: int) -> Disconnect:
    """Return the disconnect for a restart, with the spread for this many connections."""
    spread = min(connections // RETURNS_PER_SECOND, LONGEST_SPREAD)
    return Disconnect(RESTART.code, RESTART.reason, spread)


def is_valid_code(code: int) -> bool:
    """Return whether an application may send this code in a close frame."""
    return code in (1000, 1001, 1008, 1011, 1012, 1013) or 3000 <= code < 5000
