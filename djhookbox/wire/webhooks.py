"""The webhooks that the server makes: one record for each.

A webhook is a POST of its fields, as a form or as JSON (see `bodies`), with its name in `action`,
the `secret`, and the fields of `Caller`. The names of webhooks and fields are those of Hookbox
0.3.3 and 0.3.4; additions of this package are marked "ours".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Generic, TypeAlias, TypeVar

from . import names, replies
from .fields import Name, Named
from .records import from_form, to_form
from .revocations import Position
from .streams import Pulled
from .streams import Wanted as WantedStream

ConnectionId: TypeAlias = Annotated[str, Named(names.CONNECTION_LENGTH)]
Token: TypeAlias = Annotated[str, Named(names.TOKEN_LENGTH)]
Key: TypeAlias = Annotated[str, Named(names.KEY_LENGTH)]


R = TypeVar("R", covariant=True)


class Webhook(Generic[R]):
    """A webhook, whose reply is an `R` unless the site refuses.

    Attributes:
        name: The name used in its URL.
        reply: The class of its reply.

    """

    __slots__ = ()

    name: ClassVar[str]
    reply: ClassVar[type[object]]


AnyWebhook = TypeVar("AnyWebhook", bound=Webhook[object])


@dataclass(frozen=True, slots=True)
class Caller:
    """The connection that caused a webhook.

    Attributes:
        conn_id: The connection's id; "" if no connection caused it.
        user: The name of its user; "" before it has connected.
        identity: The connect reply's identifier of its session or token (ours).

    """

    conn_id: ConnectionId = ""
    user: Name = ""
    identity: Name = ""


#: The caller of a webhook that no connection caused.
NOBODY = Caller()


@dataclass(frozen=True, slots=True)
class Connect(Webhook[replies.ConnectReply]):
    """Ask the site to identify a client that connects.

    Attributes:
        payload: The client's payload as JSON text.
        token: A token that identifies the client when there is no cookie (ours).
        expected_user: The only acceptable user name, if it is not empty (ours).
        transport: The client's transport (ours, like all fields below).
        remote_addr: Its address.
        user_agent: Its browser's User-Agent header.
        origin: The origin of its page.

    """

    name: ClassVar[str] = "connect"
    reply: ClassVar[type[object]] = replies.ConnectReply

    payload: str = "null"
    token: Token = ""
    expected_user: Name = ""
    transport: str = ""
    remote_addr: str = ""
    user_agent: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Disconnect(Webhook[replies.EmptyReply]):
    """Notify the site that the last connection of a user has gone."""

    name: ClassVar[str] = "disconnect"
    reply: ClassVar[type[object]] = replies.EmptyReply

    user_name: Name = field(metadata={"as": "name"})


@dataclass(frozen=True, slots=True)
class CreateChannel(Webhook[replies.CreateReply]):
    """Ask for the options of a channel that is about to be created."""

    name: ClassVar[str] = "create_channel"
    reply: ClassVar[type[object]] = replies.CreateReply

    channel_name: Name


@dataclass(frozen=True, slots=True)
class DestroyChannel(Webhook[replies.EmptyReply]):
    """Ask whether a channel without subscribers may be destroyed."""

    name: ClassVar[str] = "destroy_channel"
    reply: ClassVar[type[object]] = replies.EmptyReply

    channel_name: Name


@dataclass(frozen=True, slots=True)
class Subscribe(Webhook[replies.SubscribeReply]):
    """Ask whether a user may read a channel."""

    name: ClassVar[str] = "subscribe"
    reply: ClassVar[type[object]] = replies.SubscribeReply

    channel_name: Name
    user: Name


@dataclass(frozen=True, slots=True)
class Wanted:
    """A channel that a connection wants, and the decisions needed for it."""

    channel_name: Name
    create: bool = False
    subscribe: bool = False


@dataclass(frozen=True, slots=True)
class SubscribeMany(Webhook[replies.SubscribeManyReply]):
    """Ask whether a user may read several channels, each of them once (ours).

    For a channel that must be created and moderates subscriptions, both decisions are made at
    once.
    """

    name: ClassVar[str] = "subscribe_many"
    reply: ClassVar[type[object]] = replies.SubscribeManyReply

    channels: tuple[Wanted, ...]
    user: Name


@dataclass(frozen=True, slots=True)
class Unsubscribe(Webhook[replies.UnsubscribeReply]):
    """Notify the site that a user leaves a channel."""

    name: ClassVar[str] = "unsubscribe"
    reply: ClassVar[type[object]] = replies.UnsubscribeReply

    channel_name: Name
    user: Name


@dataclass(frozen=True, slots=True)
class Publish(Webhook[replies.PublishReply]):
    """Ask whether something may be published.

    Attributes:
        channel_name: The channel.
        payload: The message: JSON text from the bundled server and from 0.3.4; from 0.3.3,
            Python 2's string form of the value.
        user: The sender; 0.3.3 does not send it.
        originator: The sender as shown to subscribers, unless the channel is anonymous (0.3.4).
        key: On a durable channel, identifies the message: it is stored once (ours).

    """

    name: ClassVar[str] = "publish"
    reply: ClassVar[type[object]] = replies.PublishReply

    channel_name: Name
    payload: str = field(metadata={"empty": True})
    user: Name = ""
    originator: str | None = field(default=None, metadata={"empty": True})
    key: Key = ""


@dataclass(frozen=True, slots=True)
class Message(Webhook[replies.MessageReply]):
    """Ask whether a user may send a message to another user (0.3.4).

    Attributes:
        sender: The sending user.
        recipient: The receiving user.
        recipient_exists: "True" or "False": whether a user of that name is connected.
        payload: The message as JSON text.

    """

    name: ClassVar[str] = "message"
    reply: ClassVar[type[object]] = replies.MessageReply

    sender: Name
    recipient: Name
    recipient_exists: str = ""
    payload: str = "null"


@dataclass(frozen=True, slots=True)
class Events(Webhook[replies.EventsReply]):
    """Report events that no webhook decided (ours).

    Attributes:
        events: A list of events as JSON text; see `events`.
        node: The machine and port of the process.

    """

    name: ClassVar[str] = "events"
    reply: ClassVar[type[object]] = replies.EventsReply

    events: str
    node: Name = ""


@dataclass(frozen=True, slots=True)
class Recheck(Webhook[replies.RecheckReply]):
    """Ask again who may read channels (ours): users by channel."""

    name: ClassVar[str] = "recheck"
    reply: ClassVar[type[object]] = replies.RecheckReply

    channels: Mapping[Name, tuple[Name, ...]]


@dataclass(frozen=True, slots=True)
class Prune(Webhook[replies.MoreReply]):
    """Remind the site to delete old entries of its audit log (ours)."""

    name: ClassVar[str] = "prune"
    reply: ClassVar[type[object]] = replies.MoreReply


@dataclass(frozen=True, slots=True)
class Outbox(Webhook[Pulled]):
    """Ask for what was revoked, and published to durable channels, since the last call (ours).

    Attributes:
        incarnation: As in the last reply, like the next two; all are omitted in the first call.
        streams: Channels whose streams are needed as well.
        keys: Publications of browsers whose outcome is awaited: keys by channel.
        revoked: How far revocations were pulled.
        only_revocations: Whether to leave publications for later.

    """

    name: ClassVar[str] = "outbox"
    reply: ClassVar[type[object]] = Pulled

    incarnation: str = ""
    number: int = 0
    token: str = ""
    streams: tuple[WantedStream, ...] = ()
    keys: Mapping[Name, tuple[str, ...]] = field(default_factory=dict)
    revoked: Position | None = None
    only_revocations: bool = False


@dataclass(frozen=True, slots=True)
class Batched:
    """One webhook of a batch.

    Attributes:
        fields: Its fields with its action, but without the secret.
        cookie: The Cookie header that it would have had.

    """

    fields: Mapping[str, str]
    cookie: str = ""


@dataclass(frozen=True, slots=True)
class Batch(Webhook[replies.BatchReply]):
    """Make many webhooks of many connections with one request (ours)."""

    name: ClassVar[str] = "batch"
    reply: ClassVar[type[object]] = replies.BatchReply

    calls: tuple[Batched, ...]


@dataclass(frozen=True, slots=True)
class Identified:
    """A connection whose identity the site should confirm.

    Attributes:
        conn_id: Its id.
        user: The name of its user.
        identity: The connect reply's identifier of its session or token.
        cookie: The Cookie header of its webhooks.

    """

    conn_id: ConnectionId
    user: Name
    identity: Name
    cookie: str = ""


@dataclass(frozen=True, slots=True)
class Confirm(Webhook[replies.ConfirmReply]):
    """Ask which connections' sessions or accounts have ended (ours).

    Attributes:
        connections: At most `MOST_CONFIRMED`.

    """

    name: ClassVar[str] = "confirm"
    reply: ClassVar[type[object]] = replies.ConfirmReply

    connections: tuple[Identified, ...]


#: Maximum number of connections to confirm in one call; some databases accept only 999 parameters
#: in a query.
MOST_CONFIRMED = 900

#: Webhooks that Hookbox 0.3.3 and 0.3.4 make too.
HOOKBOX: tuple[type[Webhook[object]], ...] = (
    Connect, Disconnect, CreateChannel, DestroyChannel, Subscribe, Unsubscribe, Publish, Message,
)  # fmt: skip
#: All webhooks.
ALL: tuple[type[Webhook[object]], ...] = (
    *HOOKBOX, Events, Recheck, Prune, SubscribeMany, Outbox, Batch, Confirm,
)  # fmt: skip
#: Webhooks that may be part of a batch: those that decide.
BATCHABLE: tuple[type[Webhook[object]], ...] = (*HOOKBOX, SubscribeMany)


def write(webhook: Webhook[object], caller: Caller = NOBODY, secret: str = "") -> dict[str, str]:
    """Return the fields of a webhook; those of its record override those of its caller."""
    fields = {"action": webhook.name, **to_form(caller), **to_form(webhook)}
    return fields | {"secret": secret} if secret else fields


def read(kind: type[AnyWebhook], fields: Mapping[str, str]) -> tuple[AnyWebhook, Caller]:
    """Return the webhook described by its fields, and its caller.

    Raises:
        FieldProblem: If a field is missing or invalid.

    """
    return from_form(kind, fields), from_form(Caller, fields)
