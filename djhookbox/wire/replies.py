"""The site's replies to webhooks: one record for each.

A reply is `[true, {…}]` if the site grants what the webhook asks for, and `[false, {…}]` if it
refuses. A field that has its default is omitted. The names of fields are those of Hookbox 0.3.3
and 0.3.4; additions of this package are marked "ours".

An application that was written for those may send anything. Most fields with an invalid value have
a substitute, named in the metadata `invalid`: an unusable `auto_subscribe` must not cost what was
granted, and an unusable `only_to_sender` must not publish to everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, cast

from . import records
from .fields import ABSENT, Fault, FieldProblem, Name
from .options import UserOptions
from .records import spread

R = TypeVar("R")

#: The reason and the code of a refusal that does not state them.
UNAUTHORIZED, REFUSED = "Unauthorized", "refused"


class WrongShape(ValueError):
    """A reply is JSON, but not in the expected form; the text is that of 0.3.3."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The site refuses.

    Attributes:
        reason: A plain sentence for the browser.
        code: A short code for programs (ours).
        decided_by: Which policy, handler or receiver refuses, if the server asks for it (ours).

    """

    reason: str = UNAUTHORIZED
    code: str = REFUSED
    decided_by: str = ""


@dataclass(frozen=True, slots=True)
class Unusable:
    """A decision in a reply cannot be used; it grants nothing.

    Attributes:
        problem: What is wrong with it.

    """

    problem: str


class FollowUp(Protocol):
    """A reply that subscribes and unsubscribes the user too."""

    @property
    def auto_subscribe(self) -> tuple[str, ...]:
        """The channels to subscribe the user to."""

    @property
    def auto_unsubscribe(self) -> tuple[str, ...]:
        """The channels to unsubscribe the user from."""


def _auto() -> tuple[str, ...]:
    return field(default=(), metadata={"invalid": ()})


@dataclass(frozen=True, slots=True)
class ConnectReply:
    """The user of a new connection.

    Attributes:
        name: The user's name.
        identity: The identifier of the session or token, which only the site understands (ours).
        single_use: The number of seconds for which no other connection may use the token (ours).
        expires: The number of seconds after which the site should be asked again, because the
            session expires then (ours).
        payload: What CONNECTED contains; `override_payload` takes precedence.
        override_payload: What CONNECTED contains.
        reflective: A user option of 0.3.4, like the other ones.
        decided_by: As for `Refused`, also in the other replies.

    """

    name: Name
    identity: str = field(default="", metadata={"invalid": ""})
    single_use: float | None = field(default=None, metadata={"invalid": None})
    expires: float | None = field(default=None, metadata={"invalid": None})
    payload: object = ABSENT
    override_payload: object = ABSENT
    reflective: bool = True
    moderated_message: bool = True
    per_connection_subscriptions: bool = False
    global_unsubscriptions: bool = False
    auto_subscribe: tuple[Name, ...] = _auto()
    auto_unsubscribe: tuple[Name, ...] = _auto()
    decided_by: str = field(default="", metadata={"invalid": ""})

    def user_options(self) -> UserOptions:
        """Return the user's options."""
        return UserOptions(
            reflective=self.reflective,
            moderated_message=self.moderated_message,
            per_connection_subscriptions=self.per_connection_subscriptions,
            global_unsubscriptions=self.global_unsubscriptions,
        )


@dataclass(frozen=True, slots=True)
class CreateReply:
    """The options of a channel that may be created."""

    options: Mapping[str, object] = spread()
    decided_by: str = field(default="", metadata={"invalid": ""})


@dataclass(frozen=True, slots=True)
class SubscribeReply:
    """The user may subscribe.

    Attributes:
        initial_data: Data for the subscriber.

    """

    initial_data: object = ABSENT
    auto_subscribe: tuple[Name, ...] = _auto()
    auto_unsubscribe: tuple[Name, ...] = _auto()
    decided_by: str = field(default="", metadata={"invalid": ""})


@dataclass(frozen=True, slots=True)
class UnsubscribeReply:
    """The user may unsubscribe."""

    auto_subscribe: tuple[Name, ...] = _auto()
    auto_unsubscribe: tuple[Name, ...] = _auto()
    decided_by: str = field(default="", metadata={"invalid": ""})


@dataclass(frozen=True, slots=True)
class PublishReply:
    """The message may be published.

    Attributes:
        override_payload: What is published instead.
        only_to_sender: Whether to send it to the sender's connection only (0.3.4).
        publication: The key of the site's row about it (ours).
        stored: On a durable channel, the key under which the site has stored it (ours).
        epoch: Its position, if it was stored and numbered earlier (ours).

    """

    override_payload: object = ABSENT
    only_to_sender: bool = field(default=False, metadata={"invalid": True})
    publication: int | None = field(default=None, metadata={"invalid": None})
    auto_subscribe: tuple[Name, ...] = _auto()
    auto_unsubscribe: tuple[Name, ...] = _auto()
    stored: str = field(default="", metadata={"invalid": ""})
    epoch: str = field(default="", metadata={"invalid": ""})
    offset: int = field(default=0, metadata={"invalid": 0})
    decided_by: str = field(default="", metadata={"invalid": ""})


@dataclass(frozen=True, slots=True)
class MessageReply:
    """The message may be sent to another user (0.3.4).

    Attributes:
        override_payload: What is sent instead.
        override_recipient_name: The user to send it to instead.

    """

    override_payload: object = ABSENT
    override_recipient_name: str | None = None
    auto_subscribe: tuple[Name, ...] = _auto()
    auto_unsubscribe: tuple[Name, ...] = _auto()
    decided_by: str = field(default="", metadata={"invalid": ""})


@dataclass(frozen=True, slots=True)
class BatchReply:
    """The answers to the calls of a batch, in order (ours); see `batches`."""

    answers: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class MoreReply:
    """The work is done.

    Attributes:
        more: Whether there is more to do (ours).

    """

    more: bool = field(default=False, metadata={"invalid": False})


@dataclass(frozen=True, slots=True)
class EventsReply:
    """Events are recorded (ours).

    Attributes:
        more: Whether there is more to do.
        recorded: The number of the last event that was recorded, if the time was not sufficient
            for all of them.

    """

    more: bool = field(default=False, metadata={"invalid": False})
    recorded: int | None = field(default=None, metadata={"invalid": None})


@dataclass(frozen=True, slots=True)
class ConfirmReply:
    """The connections that must end (ours).

    Attributes:
        answered: How many of the connections were looked at, from the first; the others must be
            asked about again.
        expired: The ids of those whose session has ended or whose password was changed.
        gone: The ids of those whose account is inactive or deleted.
        expires: The number of seconds until the sessions of others expire, by id.

    """

    answered: int
    expired: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    expires: Mapping[str, float] = field(default_factory=dict, metadata={"invalid": {}})


@dataclass(frozen=True, slots=True)
class EmptyReply:
    """The reply to webhooks that need no more than a yes."""


@dataclass(frozen=True, slots=True)
class Rechecked:
    """The current state of a live channel's rights.

    Attributes:
        options: The options that the channel should have.
        refused: The reason for each user who may no longer read it.

    """

    options: Mapping[str, object] = field(default_factory=dict)
    refused: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecheckReply:
    """The current rights by channel (ours)."""

    channels: Mapping[str, Rechecked]


@dataclass(frozen=True, slots=True)
class Decided:
    """The decisions about a channel; None for those that were not needed."""

    create: CreateReply | Refused | Unusable | None = None
    subscribe: SubscribeReply | Refused | Unusable | None = None


@dataclass(frozen=True, slots=True)
class SubscribeManyReply:
    """The decisions by channel (ours)."""

    channels: Mapping[str, Decided]


def write(reply: object) -> list[object]:
    """Return a reply, which may be a refusal, as a JSON value."""
    if isinstance(reply, Refused):
        # 0.3.3 reads `error`; django-hookbox of 2011 sent `msg`.
        reason = reply.reason or UNAUTHORIZED
        decider = {"decided_by": reply.decided_by} if reply.decided_by else {}
        return [False, {"error": reason, "msg": reason, "code": reply.code, **decider}]
    if isinstance(reply, SubscribeManyReply):
        channels = {name: _write_decided(decided) for name, decided in reply.channels.items()}
        return [True, {"channels": channels}]
    return [True, records.write(reply, defaults=False)]


def read(kind: type[R], value: object, tolerated: list[FieldProblem] | None = None) -> R | Refused:
    """Return the reply that a JSON value contains.

    Args:
        kind: The class of the reply to a granted webhook.
        value: The value.
        tolerated: Receives the problems of fields that have a substitute.

    Raises:
        WrongShape: If it is not a reply.
        FieldProblem: If a required field is missing, or a field without a substitute is invalid.

    """
    if not isinstance(value, list) or len(value) != 2:
        raise WrongShape("Invalid response (expected json list of length 2)")
    allowed, fields = value
    if not isinstance(fields, dict):
        raise WrongShape("Invalid response (expected json object in response index 1)")
    if not allowed:
        code, decided_by = fields.get("code"), fields.get("decided_by")
        return Refused(
            _reason(fields.get("error")),
            code if isinstance(code, str) and code else REFUSED,
            decided_by if isinstance(decided_by, str) else "",
        )
    if kind is SubscribeManyReply:
        return cast("R", _read_many(fields))
    return records.read(kind, fields, lenient=kind is RecheckReply, tolerated=tolerated)


# ---- parts -----------------------------------------------------------------


def _reason(error: object) -> str:
    """Return the text of a refusal: even an empty one is the application's choice."""
    if isinstance(error, str):
        return error
    is_number = isinstance(error, int | float) and not isinstance(error, bool)
    return str(error) if is_number else UNAUTHORIZED


def _write_decided(decided: Decided) -> dict[str, object]:
    decisions = {"create": decided.create, "subscribe": decided.subscribe}
    return {name: write(each) for name, each in decisions.items() if each is not None}


def _read_many(fields: Mapping[str, object]) -> SubscribeManyReply:
    channels = fields.get("channels")
    if not isinstance(channels, dict):
        raise FieldProblem("channels", Fault.OBJECT)
    return SubscribeManyReply({
        name: Decided(
            _decision(CreateReply, each.get("create")),
            _decision(SubscribeReply, each.get("subscribe")),
        )
        for name, each in channels.items()
        if isinstance(each, dict)
    })  # fmt: skip


def _decision(kind: type[R], value: object) -> R | Refused | Unusable | None:
    if value is None:
        return None
    try:
        return read(kind, value)
    except ValueError as problem:
        return Unusable(str(problem))
