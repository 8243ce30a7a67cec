"""The webhooks that the server makes: one record for each; `replies` has what comes back.

A webhook is a POST of its fields, as a form or as JSON (see `bodies`), with `action`, which is
its name, `secret`, and the fields of `Caller`. The names of webhooks and fields are those of
Hookbox 0.3.3 and 0.3.4; what this package adds is marked "ours".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Protocol, TypeAlias, TypeVar

from . import names
from .records import Name, Named, from_form, to_form

ConnectionId: TypeAlias = Annotated[str, Named(names.CONNECTION_LENGTH)]
Token: TypeAlias = Annotated[str, Named(names.TOKEN_LENGTH)]


class Webhook(Protocol):
    """A webhook: a record with the name that it has in its address."""

    name: ClassVar[str]


AnyWebhook = TypeVar("AnyWebhook", bound=Webhook)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose webhook it is.

    Attributes:
        conn_id: The connection that caused it; "" if none did.
        user: The name of its user; "" before it has connected.
        identity: What the connect reply called its session or token (ours).

    """

    conn_id: ConnectionId = ""
    user: Name = ""
    identity: Name = ""


#: Of a webhook that no connection caused.
NOBODY = Caller()


@dataclass(frozen=True, slots=True)
class Connect:
    """Ask who somebody is that connects.

    Attributes:
        payload: What the client says, as JSON text.
        token: Says who it is where no cookie does (ours).
        expected_user: The only name to be connected as, if it is not empty (ours).
        transport: How it is connected (ours, as is all that follows).
        remote_addr: Its address.
        user_agent: What its browser calls itself.
        origin: Where its page is from.

    """

    name: ClassVar[str] = "connect"

    payload: str = "null"
    token: Token = ""
    expected_user: Name = ""
    transport: str = ""
    remote_addr: str = ""
    user_agent: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Say that the last connection of a user has gone."""

    name: ClassVar[str] = "disconnect"

    user_name: Name = field(metadata={"as": "name"})


@dataclass(frozen=True, slots=True)
class CreateChannel:
    """Ask for the options of a channel that will be created."""

    name: ClassVar[str] = "create_channel"

    channel_name: Name


@dataclass(frozen=True, slots=True)
class DestroyChannel:
    """Ask whether a channel may go that nobody is subscribed to."""

    name: ClassVar[str] = "destroy_channel"

    channel_name: Name


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Ask whether a user may read a channel."""

    name: ClassVar[str] = "subscribe"

    channel_name: Name
    user: Name


@dataclass(frozen=True, slots=True)
class Wanted:
    """A channel that a connection wants, and what must be decided about it."""

    channel_name: Name
    create: bool = False
    subscribe: bool = False


@dataclass(frozen=True, slots=True)
class SubscribeMany:
    """Ask whether a user may read channels, each of them once (ours).

    A channel that is to be created, and would then ask who may read it, is decided about at once.
    """

    name: ClassVar[str] = "subscribe_many"

    channels: tuple[Wanted, ...]
    user: Name


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Say that a user leaves a channel."""

    name: ClassVar[str] = "unsubscribe"

    channel_name: Name
    user: Name


@dataclass(frozen=True, slots=True)
class Publish:
    """Ask whether something may be published.

    Attributes:
        channel_name: Where.
        payload: The message: JSON text from the embedded server and from 0.3.4, and what
            Python 2 made of the value from 0.3.3.
        user: Who publishes; 0.3.3 does not say so.
        originator: The same for the subscribers, unless the channel is anonymous (0.3.4).

    """

    name: ClassVar[str] = "publish"

    channel_name: Name
    payload: str = field(metadata={"empty": True})
    user: Name = ""
    originator: str | None = field(default=None, metadata={"empty": True})


@dataclass(frozen=True, slots=True)
class Message:
    """Ask whether a user may send a message to another (0.3.4).

    Attributes:
        sender: Who sends it.
        recipient: Who is to get it.
        recipient_exists: "True" or "False": whether there is a connection of that name.
        payload: The message as JSON text.

    """

    name: ClassVar[str] = "message"

    sender: Name
    recipient: Name
    recipient_exists: str = ""
    payload: str = "null"


@dataclass(frozen=True, slots=True)
class Events:
    """Report what no webhook decided (ours).

    Attributes:
        events: A list of events as JSON text, see `events`.
        node: The machine and port of the process.

    """

    name: ClassVar[str] = "events"

    events: str
    node: Name = ""


@dataclass(frozen=True, slots=True)
class Recheck:
    """Ask again who may read channels (ours): users by channel."""

    name: ClassVar[str] = "recheck"

    channels: Mapping[Name, tuple[Name, ...]]


@dataclass(frozen=True, slots=True)
class Prune:
    """Remind the site to delete old entries of its audit log (ours)."""

    name: ClassVar[str] = "prune"


#: Those that Hookbox 0.3.3 and 0.3.4 make too.
HOOKBOX: tuple[type[Webhook], ...] = (
    Connect, Disconnect, CreateChannel, DestroyChannel, Subscribe, Unsubscribe, Publish, Message,
)  # fmt: skip
#: All of them.
ALL: tuple[type[Webhook], ...] = (*HOOKBOX, Events, Recheck, Prune, SubscribeMany)


def write(webhook: Webhook, caller: Caller = NOBODY, secret: str = "") -> dict[str, str]:
    """Return the fields of a webhook; what its record says goes before what its caller says."""
    fields = {"action": webhook.name, **to_form(caller), **to_form(webhook)}
    return fields | {"secret": secret} if secret else fields


def read(kind: type[AnyWebhook], fields: Mapping[str, str]) -> tuple[AnyWebhook, Caller]:
    """Return the webhook that fields describe, and whose it is.

    Raises:
        FieldProblem: A field is missing or wrong.

    """
    return from_form(kind, fields), from_form(Caller, fields)
