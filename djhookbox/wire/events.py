"""The events that the server reports in the webhook `events`: one record for each (ours).

An event is sent as a JSON object with its kind in `event`, a number in `id` that increases with
each event of a process, and the time in seconds since the epoch in `at`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, TypeAlias

from . import records
from .fields import Fault, FieldProblem
from .values import dumps


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection has ended.

    Attributes:
        code: The close code.
        reason: The reason in the close frame.
        duration: How long the connection was open, in seconds.
        last: Whether it was its user's last one, and the site sends its signal now, because no
            webhook reports it.

    """

    kind: ClassVar[str] = "disconnect"

    user: str = ""
    conn_id: str = ""
    code: int | None = None
    reason: str = ""
    duration: object = None
    transport: str = ""
    remote_addr: str = ""
    last: bool | None = None


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A user has been subscribed to a channel.

    Attributes:
        by: What caused it: `client`, `auto` or `rest`.

    """

    kind: ClassVar[str] = "subscribe"

    channel_name: str
    user: str = ""
    conn_id: str = ""
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """A user has been unsubscribed from a channel.

    Attributes:
        by: What caused it: `client`, `auto`, `rest`, `policy` or `disconnect`.
        signal: Whether the site sends its signal now, because no webhook reports it.

    """

    kind: ClassVar[str] = "unsubscribe"

    channel_name: str
    user: str = ""
    conn_id: str = ""
    by: str = ""
    reason: str = ""
    signal: bool | None = None


@dataclass(frozen=True, slots=True)
class Destroyed:
    """A channel without subscribers has been destroyed, and no webhook has reported it."""

    kind: ClassVar[str] = "destroy"

    channel_name: str


@dataclass(frozen=True, slots=True)
class Published:
    """A publication that the site has no row of.

    Attributes:
        source: Its source: `client`, `code`, `rest` or `poll`.
        delivered: The number of connections it was sent to.
        payload: The message.
        payload_size: The length of its JSON, if it was too large to be reported.
        decided_by: The policy or handler that decided, if it is from code.
        reason: Why.

    """

    kind: ClassVar[str] = "publish"

    channel_name: str
    user: str = ""
    conn_id: str = ""
    source: str = ""
    delivered: int | None = None
    payload: object = None
    payload_size: int | None = None
    decided_by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """The number of connections that received a publication that the site has a row of.

    Attributes:
        publication: The key of that row.
        number: On a durable channel, its number in place of the key; counts of several processes
            are added up.

    """

    kind: ClassVar[str] = "delivered"

    publication: int | None = None
    delivered: int = 0
    number: int | None = None


#: Upper bounds in seconds of the histograms of webhooks; one more bucket has all longer ones.
WEBHOOK_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Measured:
    """What the process has counted in a minute.

    Attributes:
        begin: When the minute began, in seconds since the epoch.
        seconds: How much of it was measured.
        connections: The highest number, like the next two.
        opened: Connections that were opened.
        refused: Connections that the process refused without a webhook, or closed at once.
        closed: Connections that ended, by close code.
        refusals: What the site refused, by webhook.
        webhooks: Histograms by webhook and outcome: how many took up to each of `WEBHOOK_BOUNDS`
            and longer than the one before.

    """

    kind: ClassVar[str] = "measured"

    begin: float
    seconds: float
    connections: int = 0
    users: int = 0
    channels: int = 0
    messages_in: int = 0
    messages_out: int = 0
    bytes_out: int = 0
    opened: int = 0
    refused: int = 0
    too_slow: int = 0
    gaps: int = 0
    events_lost: int = 0
    closed: Mapping[str, int] = field(default_factory=dict)
    refusals: Mapping[str, int] = field(default_factory=dict)
    webhooks: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stopped:
    """The process is stopping."""

    kind: ClassVar[str] = "stopped"


Event: TypeAlias = (
    Disconnected
    | Subscribed
    | Unsubscribed
    | Destroyed
    | Published
    | Delivered
    | Measured
    | Stopped
)

#: All event types.
ALL: tuple[type[Event], ...] = (
    Disconnected, Subscribed, Unsubscribed, Destroyed, Published, Delivered, Measured, Stopped,
)  # fmt: skip

_KINDS: Mapping[object, type[Event]] = {kind.kind: kind for kind in ALL}
_NAMES = {kind: tuple(each.name for each in fields(kind)) for kind in ALL}


def write(event: Event, number: int, at: float) -> str:
    """Return an event as ASCII JSON; omit fields that contain None.

    Args:
        event: The event.
        number: Its number.
        at: Its time in seconds since the epoch.

    """
    # `records.write` is slower, and this runs for every publication.
    found: dict[str, object] = {"event": event.kind, "id": number, "at": at}
    for name in _NAMES[type(event)]:
        value = getattr(event, name)
        if value is not None:
            found[name] = value
    return dumps(found)


def read(data: object) -> Event:
    """Return the event described by a JSON object.

    Raises:
        FieldProblem: If a field is missing or invalid, or `data` is not an object.
        ValueError: If its kind is unknown.

    """
    if not isinstance(data, dict):
        raise FieldProblem("event", Fault.OBJECT)
    kind = data.get("event")
    record = _KINDS.get(kind) if isinstance(kind, str) else None
    if record is None:
        raise ValueError("unknown kind")
    return records.read(record, data)
