"""The REST calls that the site makes: one record for each; `answers` has the answers.

A call is a POST of a form to `/rest/<name>`, with the secret in the field `secret`. The names of
calls and fields are those of Hookbox 0.3.3 and 0.3.4; additions of this package are marked "ours".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from . import streams
from .closing import BY_SITE
from .listing import MAX_LISTED
from .records import spread
from .revocations import Revocation

#: Names of the field with the secret, in 0.3.3 and in 0.3.4.
SECRET_FIELDS = ("secret", "security_token")


class Request(Protocol):
    """A call: a record with the name used in the call's URL."""

    name: ClassVar[str]


# ---- publishing --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Origin:
    """What an event reports about a publication from code (ours).

    Attributes:
        source: Its source: `code`.
        user: The name recorded in the publish history.
        decided_by: The policy or handler that decided.
        reason: Why.

    """

    source: str = ""
    user: str = ""
    decided_by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish to a channel.

    Attributes:
        originator: The name of the sending user.
        options: The decided options of the channel, in case it does not exist (ours); with them
            the server does not ask the site.
        recorded: Whether the site keeps a row of it, so that no event reports it, unless there is
            an `origin` (ours).
        send_hook: Whether the site's publish webhook decides.
        key: Identifies the message: the server publishes it once in five minutes (ours).
        origin: What an event reports about it, as in `Origin` (ours).
        payload: The message as JSON text.
        made: When it was made, in seconds since the epoch by the caller's clock (ours).
        traceparent: The trace in which it was made, in the format of W3C Trace Context (ours).

    """

    name: ClassVar[str] = "publish"

    channel_name: str
    originator: str | None = None
    options: Mapping[str, object] | None = None
    recorded: bool = False
    send_hook: bool = False
    key: str = ""
    origin: Origin | None = None
    # What differs from one message to the next comes last: the server remembers the rest.
    payload: str = "null"
    made: float | None = None
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Publishing:
    """A publication of `PublishMany`; the attributes are those of `Publish`."""

    channel_name: str
    payload: str = "null"
    originator: str | None = None
    options: Mapping[str, object] | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class PublishMany:
    """Publish different messages to channels, in order; each succeeds or fails by itself (ours).

    Attributes:
        publications: The messages.
        recorded: Whether the site keeps rows of them, so that no event reports those without an
            `origin`.
        made: When they were made, and in which trace, as for `Publish`.

    """

    name: ClassVar[str] = "publish_many"

    publications: tuple[Publishing, ...]
    recorded: bool = False
    made: float | None = None
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class PublishMulti:
    """Publish to several channels; channels that do not exist are skipped.

    Attributes:
        channel_names: Their names, separated by commas; the rest is as for `Publish`.

    """

    name: ClassVar[str] = "publish_multi"

    channel_names: str = ""
    payload: str = "null"
    originator: str | None = None
    options: Mapping[str, object] | None = None
    recorded: bool = False
    send_hook: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """Send a message to a user (0.3.4)."""

    name: ClassVar[str] = "message"

    sender_name: str
    recipient_name: str
    payload: str = "null"
    send_hook: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """Ask for the position of a channel's stream (ours); `options` as for `Publish`."""

    name: ClassVar[str] = "cursor"

    channel_name: str
    options: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Poke:
    """Notify the server that something was committed to the outbox (ours); it answers first.

    Attributes:
        pushed: What was committed, if the site has numbered it.

    """

    name: ClassVar[str] = "poke"

    pushed: streams.Pushed | None = None


# ---- subscriptions and connections -------------------------------------------


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe all connections of a user; `options` as for `Publish`."""

    name: ClassVar[str] = "subscribe"

    channel_name: str
    user_name: str = field(metadata={"as": "name"})
    options: Mapping[str, object] | None = None
    send_hook: bool = False


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Unsubscribe all connections of a user; their pages receive the reason."""

    name: ClassVar[str] = "unsubscribe"

    channel_name: str
    user_name: str = field(metadata={"as": "name"})
    reason: str = ""
    send_hook: bool = False


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connections that match all given fields, or any member of the given lists.

    Attributes:
        user_name: The name of the user.
        conn_id: The connection's id.
        identity: The connect reply's identifier of the session or token (ours).
        names: Users, any of whom match (ours); not together with the three fields above.
        identities: Identities, any of which match (ours).
        addresses: IP addresses and ranges, any of which match (ours).
        seconds: For how long matching connections are closed that are still to come (ours).
        code: The close code (ours).
        reason: The reason sent to the page.

    """

    name: ClassVar[str] = "disconnect"

    user_name: str | None = field(default=None, metadata={"as": "name"})
    conn_id: str | None = None
    identity: str | None = None
    names: tuple[str, ...] | None = None
    identities: tuple[str, ...] | None = None
    addresses: tuple[str, ...] | None = None
    seconds: float | None = None
    code: int = BY_SITE.code
    reason: str = BY_SITE.reason


@dataclass(frozen=True, slots=True)
class Recheck:
    """Ask the site again about subscriptions on channels whose names match (ours).

    Attributes:
        patterns: Regular expressions, matched against whole names.
        users: The users to recheck, or None for all.

    """

    name: ClassVar[str] = "recheck"

    patterns: tuple[str, ...]
    users: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Revoke:
    """Carry out revocations, each of them once, however often it is received (ours)."""

    name: ClassVar[str] = "revoke"

    revocations: tuple[Revocation, ...]


@dataclass(frozen=True, slots=True)
class ListConnections:
    """List open connections, newest first (ours); only one user's if `user_name` is given."""

    name: ClassVar[str] = "list_connections"

    user_name: str = field(default="", metadata={"as": "name"})
    limit: int = MAX_LISTED


@dataclass(frozen=True, slots=True)
class ListUsers:
    """List the names of all connected users (ours); only a channel's subscribers if it is given."""

    name: ClassVar[str] = "list_users"

    channel_name: str = ""


# ---- channels ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateChannel:
    """Create a channel; the given options override the decided ones.

    Attributes:
        options: The decided options (ours).
        given: Options by name, each as a separate field.
        send_hook: Whether the site's create_channel webhook decides.

    """

    name: ClassVar[str] = "create_channel"

    channel_name: str
    options: Mapping[str, object] | None = None
    send_hook: bool = False
    given: Mapping[str, object] = spread()


@dataclass(frozen=True, slots=True)
class DestroyChannel:
    """Destroy a channel and notify its subscribers."""

    name: ClassVar[str] = "destroy_channel"

    channel_name: str
    send_hook: bool = False


@dataclass(frozen=True, slots=True)
class GetChannelInfo:
    """Ask for a channel's subscribers and options."""

    name: ClassVar[str] = "get_channel_info"

    channel_name: str


@dataclass(frozen=True, slots=True)
class Tail:
    """Ask for a channel's latest publications (ours); `payloads` says whether with payloads."""

    name: ClassVar[str] = "tail"

    channel_name: str
    payloads: bool = False


@dataclass(frozen=True, slots=True)
class SetChannelOptions:
    """Change options of a channel, each as a separate field; all are changed or none."""

    name: ClassVar[str] = "set_channel_options"

    channel_name: str
    given: Mapping[str, object] = spread()


@dataclass(frozen=True, slots=True)
class StateSetKey:
    """Set a key of a channel's state; `val` is JSON text."""

    name: ClassVar[str] = "state_set_key"

    channel_name: str
    key: str = ""
    val: str = ""


@dataclass(frozen=True, slots=True)
class StateDeleteKey:
    """Delete a key of a channel's state."""

    name: ClassVar[str] = "state_delete_key"

    channel_name: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class ListChannels:
    """List live channels, those with the most subscribers first (ours).

    Attributes:
        prefix: The beginning of their names.
        limit: Maximum number of channels to list.
        patterns: Regular expressions; a whole name must match one of them.

    """

    name: ClassVar[str] = "list_channels"

    prefix: str = ""
    limit: int = MAX_LISTED
    patterns: tuple[str, ...] | None = None


# ---- users, configuration, the server itself -----------------------------------


@dataclass(frozen=True, slots=True)
class SetUserOptions:
    """Change options of a connected user, each as a separate field (0.3.4)."""

    name: ClassVar[str] = "set_user_options"

    user_name: str
    given: Mapping[str, object] = spread()


@dataclass(frozen=True, slots=True)
class GetUserInfo:
    """Ask for a connected user's channels and options (0.3.4)."""

    name: ClassVar[str] = "get_user_info"

    user_name: str


@dataclass(frozen=True, slots=True)
class SetConfig:
    """Change the server's configuration, each value as a separate field."""

    name: ClassVar[str] = "set_config"

    given: Mapping[str, object] = spread()


@dataclass(frozen=True, slots=True)
class GetServerInfo:
    """Ask the server for its version and counts (ours).

    Attributes:
        report: Whether to include rates and lists.
        channel: List only channels whose names contain this text.
        user: List only connections of users whose names contain this text.
        channel_sort: Which channels come first: those with the most `subscribers` (the default),
            the highest `rate` or the longest `history`, the `newest` or the `oldest`.
        channel_page: Which part of them is listed, from 1, the default.
        user_sort: Which connections come first: those with the most `unsent` bytes or `channels`,
            the `newest` or the `oldest`; by default those with unsent bytes, then the newest.
        user_page: Which part of them is listed, from 1, the default.

    """

    name: ClassVar[str] = "get_server_info"

    report: bool = False
    channel: str = ""
    user: str = ""
    channel_sort: str = ""
    channel_page: int | None = None
    user_sort: str = ""
    user_page: int | None = None
