"""The REST calls that the site makes and the answers it gets: one record for each.

A call is a POST of a form to `/rest/<name>`; the secret travels in the field `secret`. An answer
is `[true, {…}]`, or `[false, {"msg": …, "code": …}]`. The names of calls and fields are those of
Hookbox 0.3.3 and 0.3.4; what this package adds is marked "ours".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from .closing import BY_SITE
from .records import spread

#: The most channels, connections or names that an answer lists.
MAX_LISTED = 100

#: Fields that carry the secret, in the words of 0.3.3 and of 0.3.4.
SECRET_FIELDS = ("secret", "security_token")


# ---- publishing --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish to a channel.

    Attributes:
        payload: The message as JSON text.
        originator: The name of the user it is from.
        options: The decided options of the channel, should it not exist (ours); with them the
            server asks nobody.
        recorded: Whether the site keeps a row of it, so that no event reports it (ours).
        send_hook: Whether the site's publish webhook decides.

    """

    name: ClassVar = "publish"

    channel_name: str
    payload: str = "null"
    originator: str | None = None
    options: Mapping[str, object] | None = None
    recorded: bool = False
    send_hook: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """How many connections a publication reached, and its place in the channel's stream.

    The genuine 0.3.3 says nothing of either.
    """

    delivered: int | None = None
    epoch: str | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class PublishMulti:
    """Publish to several channels; those that do not exist are left out.

    Attributes:
        channel_names: Their names, separated by commas.
        payload: The message as JSON text.
        originator: The name of the user it is from.

    """

    name: ClassVar = "publish_multi"

    channel_names: str
    payload: str = "null"
    originator: str | None = None
    send_hook: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """Send a message to a user (0.3.4)."""

    name: ClassVar = "message"

    sender_name: str
    recipient_name: str
    payload: str = "null"
    send_hook: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """Ask where the stream of a channel stands (ours); `options` as for `Publish`."""

    name: ClassVar = "cursor"

    channel_name: str
    options: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class CursorAnswer:
    """A position as `epoch:offset`, "" if the channel has no stream."""

    cursor: str = ""


# ---- subscriptions and connections -------------------------------------------


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Subscribe all connections of a user; `options` as for `Publish`."""

    name: ClassVar = "subscribe"

    channel_name: str
    user_name: str = field(metadata={"as": "name"})
    options: Mapping[str, object] | None = None
    send_hook: bool = False


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Unsubscribe all connections of a user, whose pages are told the reason."""

    name: ClassVar = "unsubscribe"

    channel_name: str
    user_name: str = field(metadata={"as": "name"})
    reason: str = ""
    send_hook: bool = False


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connections that everything given applies to.

    Attributes:
        user_name: The name of their user.
        conn_id: The id of one.
        identity: What the connect reply called their session or token (ours).
        code: The close code (ours).
        reason: What the page is told.

    """

    name: ClassVar = "disconnect"

    user_name: str | None = field(default=None, metadata={"as": "name"})
    conn_id: str | None = None
    identity: str | None = None
    code: int = BY_SITE.code
    reason: str = BY_SITE.reason


@dataclass(frozen=True, slots=True)
class Disconnected:
    """How many connections were closed."""

    disconnected: int = 0


@dataclass(frozen=True, slots=True)
class Recheck:
    """Ask the site again about subscriptions on channels whose names match (ours).

    Attributes:
        patterns: Regular expressions, matched against whole names.
        users: The users it is about; None for all.

    """

    name: ClassVar = "recheck"

    patterns: tuple[str, ...]
    users: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Rechecking:
    """How much a recheck is about; it goes on in the background."""

    channels: int = 0
    subscriptions: int = 0
    connections: int = 0


@dataclass(frozen=True, slots=True)
class ListConnections:
    """List open connections, the newest first (ours); of one user if `user_name` is given."""

    name: ClassVar = "list_connections"

    user_name: str = field(default="", metadata={"as": "name"})
    limit: int = MAX_LISTED


@dataclass(frozen=True, slots=True)
class ListedConnection:
    """An open connection; `since` is in seconds since the epoch."""

    conn_id: str
    user: str = ""
    transport: str = ""
    remote_addr: str = ""
    since: float | None = None
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConnectionList:
    """The connections listed, and how many there are."""

    total: int = 0
    connections: tuple[ListedConnection, ...] = ()


# ---- channels ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateChannel:
    """Create a channel; the given options come on top of the decided ones.

    Attributes:
        options: The decided options (ours).
        given: Options by name, each a field of its own.
        send_hook: Whether the site's create_channel webhook decides.

    """

    name: ClassVar = "create_channel"

    channel_name: str
    options: Mapping[str, object] | None = None
    send_hook: bool = False
    given: Mapping[str, object] = spread()


@dataclass(frozen=True, slots=True)
class DestroyChannel:
    """Destroy a channel, whose subscribers are told."""

    name: ClassVar = "destroy_channel"

    channel_name: str
    send_hook: bool = False


@dataclass(frozen=True, slots=True)
class GetChannelInfo:
    """Ask for a channel's subscribers and options."""

    name: ClassVar = "get_channel_info"

    channel_name: str


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """A live channel; its options hold its history and its state too."""

    name: str = ""
    subscribers: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetChannelOptions:
    """Change options of a channel, each a field of its own; all of them or none."""

    name: ClassVar = "set_channel_options"

    channel_name: str
    given: Mapping[str, object] = spread()


@dataclass(frozen=True, slots=True)
class StateSetKey:
    """Set a key of a channel's state; `val` is JSON text."""

    name: ClassVar = "state_set_key"

    channel_name: str
    key: str
    val: str


@dataclass(frozen=True, slots=True)
class StateDeleteKey:
    """Delete a key of a channel's state."""

    name: ClassVar = "state_delete_key"

    channel_name: str
    key: str


@dataclass(frozen=True, slots=True)
class ListChannels:
    """List live channels, those with the most subscribers first (ours).

    Attributes:
        prefix: How their names begin.
        limit: How many to list.
        patterns: Regular expressions; a whole name must match one of them.

    """

    name: ClassVar = "list_channels"

    prefix: str = ""
    limit: int = MAX_LISTED
    patterns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ListedChannel:
    """A live channel in a list."""

    name: str
    subscribers: int | None = None
    connections: int | None = None
    history: int | None = None


@dataclass(frozen=True, slots=True)
class ChannelList:
    """The channels listed, and how many there are."""

    total: int | None = None
    channels: tuple[ListedChannel, ...] = ()


# ---- users, configuration, the server itself -----------------------------------


@dataclass(frozen=True, slots=True)
class SetUserOptions:
    """Change options of a connected user, each a field of its own (0.3.4)."""

    name: ClassVar = "set_user_options"

    user_name: str
    given: Mapping[str, object] = spread()


@dataclass(frozen=True, slots=True)
class GetUserInfo:
    """Ask for a connected user's channels and options (0.3.4)."""

    name: ClassVar = "get_user_info"

    user_name: str


@dataclass(frozen=True, slots=True)
class UserInfo:
    """A connected user."""

    name: str
    connections: int = 0
    channels: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetConfig:
    """Change the server's configuration, each value a field of its own."""

    name: ClassVar = "set_config"

    given: Mapping[str, object] = spread()


@dataclass(frozen=True, slots=True)
class GetServerInfo:
    """Ask the server for its version and counts (ours).

    Attributes:
        report: Whether rates and lists are wanted as well.
        channel: What the names of the channels listed contain.
        user: What the names of the users whose connections are listed contain.

    """

    name: ClassVar = "get_server_info"

    report: bool = False
    channel: str = ""
    user: str = ""


@dataclass(frozen=True, slots=True)
class WebhookFigures:
    """How the webhooks fare; `p95_ms` is in milliseconds."""

    url: str = ""
    total: int | None = None
    failed: int | None = None
    p95_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """Messages per second in steps of `step` seconds, oldest first."""

    step: float | None = None
    incoming: tuple[float, ...] = field(default=(), metadata={"as": "in"})
    outgoing: tuple[float, ...] = field(default=(), metadata={"as": "out"})


@dataclass(frozen=True, slots=True)
class BusyChannel:
    """A channel in a report; `rate` is in publications per second."""

    name: str
    subscribers: int | None = None
    history: int | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class BusyChannels:
    """The channels with the most subscribers, and how many there are."""

    total: int
    listed: tuple[BusyChannel, ...]


@dataclass(frozen=True, slots=True)
class LatestConnection:
    """A connection in a report; `since` is in seconds since the epoch."""

    id: str
    user: str
    transport: str = ""
    since: float | None = None
    channels: int | None = None


@dataclass(frozen=True, slots=True)
class LatestConnections:
    """The newest connections, and how many there are."""

    total: int
    listed: tuple[LatestConnection, ...]


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What the server says of itself; the last three only in a report.

    Attributes:
        uptime: Seconds since it started.

    """

    version: str = ""
    pid: int | None = None
    uptime: float | None = None
    engine: str = ""
    connections: int | None = None
    users: int | None = None
    channels: int | None = None
    connections_total: int | None = None
    connections_refused: int | None = None
    connections_too_slow: int | None = None
    messages_in: int | None = None
    messages_out: int | None = None
    messages_in_per_second: float | None = None
    messages_out_per_second: float | None = None
    webhooks: WebhookFigures | None = None
    events_dropped: int | None = None
    rates: Rates | None = None
    channel_list: BusyChannels | None = None
    connection_list: LatestConnections | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The answer of calls that have nothing to say."""
