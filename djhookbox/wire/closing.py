"""Why the server ends a connection, and what the client should do then.

Codes from 4000 to 4499 mean "come back", codes from 4500 to 4999 "stay away". After an abnormal
end (1006) and a restart (1012) a client comes back too.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A close code (RFC 6455, section 7.4) and a plain reason.

    Attributes:
        spread: Over how many seconds all who are told this should spread their return; 0 if they
            may come back as they like.

    """

    code: int
    reason: str
    spread: int = 0

    def args(self) -> dict[str, int | str]:
        """Return the arguments of the DISCONNECT frame that says it."""
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

#: How the end of a lost TCP connection is recorded; never sent (RFC 6455, section 7.1.5).
ABNORMAL = Disconnect(1006, "The connection was lost")

#: A connection costs the site a webhook: so many at most come back in a second after a restart,
#: and nobody is asked to stay away for longer than this.
RETURNS_PER_SECOND = 200
LONGEST_SPREAD = 120


def restart(connections: int) -> Disconnect:
    """Say that the server restarts, and over how many seconds so many connections come back."""
    spread = min(connections // RETURNS_PER_SECOND, LONGEST_SPREAD)
    return Disconnect(RESTART.code, RESTART.reason, spread)


def is_valid_code(code: int) -> bool:
    """Tell whether an application may send a code in a close frame."""
    return code in (1000, 1001, 1008, 1011, 1012, 1013) or 3000 <= code < 5000
