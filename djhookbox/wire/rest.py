"""The REST calls that the site makes: one record for each; `answers` has what comes back.

A call is a POST of a form to `/rest/<name>`; the secret travels in the field `secret`. The names
of calls and fields are those of Hookbox 0.3.3 and 0.3.4; what this package adds is marked "ours".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from .closing import BY_SITE
from .records import spread

#: The most channels, connections or names that an answer lists.
MAX_LISTED = 100

#: Fields that carry the secret, in the words of 0.3.3 and of 0.3.4.
SECRET_FIELDS = ("secret", "security_token")


class Request(Protocol):
    """A call: a record with the name that the call has in its address."""

    name: ClassVar[str]


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

    name: ClassVar[str] = "publish"

    channel_name: str
    payload: str = "null"
    originator: str | None = None
    options: Mapping[str, object] | None = None
    recorded: bool = False
    send_hook: bool = False


@dataclass(frozen=True, slots=True)
class PublishMulti:
    """Publish to several channels; those that do not exist are left out.

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
    """Ask where the stream of a channel stands (ours); `options` as for `Publish`."""

    name: ClassVar[str] = "cursor"

    channel_name: str
    options: Mapping[str, object] | None = None


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
    """Close one connection that everything given applies to, or those of many users.

    Attributes:
        user_name: The name of its user.
        conn_id: Its id.
        identity: What the connect reply called its session or token (ours).
        names: Users, any of whom (ours); not together with the three above.
        identities: Identities, any of which (ours).
        code: The close code (ours).
        reason: The reason sent to the page.

    """

    name: ClassVar[str] = "disconnect"

    user_name: str | None = field(default=None, metadata={"as": "name"})
    conn_id: str | None = None
    identity: str | None = None
    names: tuple[str, ...] | None = None
    identities: tuple[str, ...] | None = None
    code: int = BY_SITE.code
    reason: str = BY_SITE.reason


@dataclass(frozen=True, slots=True)
class Recheck:
    """Ask the site again about subscriptions on channels whose names match (ours).

    Attributes:
        patterns: Regular expressions, matched against whole names.
        users: The users it is about; None for all.

    """

    name: ClassVar[str] = "recheck"

    patterns: tuple[str, ...]
    users: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ListConnections:
    """List open connections, the newest first (ours); of one user if `user_name` is given."""

    name: ClassVar[str] = "list_connections"

    user_name: str = field(default="", metadata={"as": "name"})
    limit: int = MAX_LISTED


# ---- channels ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CreateChannel:
    """Create a channel; the given options come on top of the decided ones.

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
class SetChannelOptions:
    """Change options of a channel, each as a separate field; all or none."""

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
        prefix: How their names begin.
        limit: How many to list.
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
        report: Whether rates and lists are wanted as well.
        channel: What the names of the channels listed contain.
        user: What the names of the users whose connections are listed contain.

    """

    name: ClassVar[str] = "get_server_info"

    report: bool = False
    channel: str = ""
    user: str = ""
