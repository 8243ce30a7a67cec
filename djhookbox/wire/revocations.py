"""Revocations as they are sent: in the reply to the webhook `outbox` and the REST call `revoke`.

Both carry the same records with the same keys, so that a server carries each of them out once.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Maximum number of revocations in a reply, and of their characters.
MOST_REVOCATIONS = 500
MOST_REVOCATION_TEXT = 1_048_576


@dataclass(frozen=True, slots=True)
class Revocation:
    """The end of some rights.

    With a code, the connections of `users` and `identities` are closed. Without one, the site is
    asked again about all subscriptions of `users`, and about those of all users to channels that
    match `patterns`.

    Attributes:
        key: Identifies it.
        code: A close code, or 0.
        reason: The reason sent to the pages.
        users: Names of users.
        identities: Identifiers of sessions or tokens, as in the connect reply.
        patterns: Regular expressions, matched against whole names of channels.

    """

    key: str
    code: int = 0
    reason: str = ""
    users: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Position:
    """How far a node has pulled revocations; the default is that of a node that has just started.

    Attributes:
        number: The last number that it knows.
        token: The token of that number.

    """

    number: int = 0
    token: str = ""


@dataclass(frozen=True, slots=True)
class Revocations:
    """What a node lacks.

    Attributes:
        number: The last number that this reply covers.
        token: The token of that number.
        over: Whether the node may have missed revocations, and must confirm all connections.
        more: Whether there is more to pull at once.
        entries: The revocations, in order.

    """

    number: int
    token: str
    over: bool = False
    more: bool = False
    entries: tuple[Revocation, ...] = ()
