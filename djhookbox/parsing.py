"""Webhook forms as typed values."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from .genuine import payloads
from .wire import names, nodes, values


class MalformedCall(ValueError):
    """A webhook that is not what a Hookbox server sends; the text says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A channel that a connection wants to be subscribed to, and what is to be decided for it."""

    channel: str
    create: bool
    subscribe: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A webhook, as far as its action uses it; what the server did not send is empty.

    Attributes:
        ours: Whether the embedded server sent it, and not the genuine Hookbox.
        node: The id of the life of the process that sent it.
        address: Where that process is, in `events`.
        user: The name of the user whose connection caused it.
        identity: What Django gave the connection when it was accepted.
        client: What a connecting browser says of itself: transport, user agent, origin.

    """

    action: str
    ours: bool
    node: str = ""
    address: str = ""
    connection: str = ""
    user: str = ""
    identity: str = ""
    channel: str = ""
    payload: object = None
    token: str = ""
    expected_user: str = ""
    recipient: str = ""
    ip: str | None = None
    client: Mapping[str, str] = field(default_factory=dict)
    events: tuple[object, ...] = ()
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wanted: tuple[Wanted, ...] = ()


def parse(action: str, form: Mapping[str, str], *, ours: bool, boot: str = "") -> Call:
    """Read a webhook's fields.

    Args:
        action: Which webhook it must be.
        form: The fields.
        ours: Whether the embedded server sent it.
        boot: What its header says of the process; not used unless it is a boot id.

    Raises:
        MalformedCall: A field is missing, or is not what it should be.

    """
    if form.get("action") != action:
        raise MalformedCall(_("This address takes the action “%(name)s”.") % {"name": action})
    fields: dict[str, Any] = {
        "connection": _name(form, "conn_id", limit=names.CONNECTION_LENGTH, needed=False),
        "user": _name(form, "user", needed=False),
        "identity": _name(form, "identity", needed=False),
    }
    read = _READERS.get(action)
    if read is not None:
        fields.update(read(form, ours))
    return Call(action, ours, node=boot if nodes.is_boot_id(boot) else "", **fields)


# ---- fields ----------------------------------------------------------------


def _name(
    form: Mapping[str, str], field: str, *, limit: int = names.MAX_LENGTH, needed: bool = True
) -> str:
    value = form.get(field, "")
    if not value:
        if needed:
            raise MalformedCall(_("“%(field)s” is missing.") % {"field": field})
        return ""
    return _usable(value, field, limit)


def _usable(value: object, field: str, limit: int = names.MAX_LENGTH) -> str:
    fault = names.find_fault(value, limit)
    if fault is names.Fault.LENGTH:
        raise MalformedCall(
            _("“%(field)s” is longer than %(limit)d characters.") % {"field": field, "limit": limit}
        )
    if fault is names.Fault.CHARACTERS:
        raise MalformedCall(_("“%(field)s” has control characters.") % {"field": field})
    if fault is not None or not isinstance(value, str):
        raise MalformedCall(_("“%(field)s” is missing.") % {"field": field})
    return value


def _json(form: Mapping[str, str], field: str, default: str | None = None) -> object:
    text = form.get(field, default)
    if text is None:
        raise MalformedCall(_("“%(field)s” is missing.") % {"field": field})
    try:
        # Lists of ours hold payloads that may be nested as deeply as payloads may be.
        return values.loads(text, max_depth=values.MAX_DOCUMENT_DEPTH)
    except ValueError as error:
        raise MalformedCall(_("“%(field)s” is not JSON.") % {"field": field}) from error


def _payload(form: Mapping[str, str], ours: bool) -> object:
    # 0.3.4 sends JSON, and it says from whom it is.
    if ours or "originator" in form:
        return _json(form, "payload")
    text = form.get("payload")
    if text is None:
        raise MalformedCall(_("“%(field)s” is missing.") % {"field": "payload"})
    return payloads.value(text)


def ip_address(text: str) -> str | None:
    """Return an address in its usual spelling, or None if it is none."""
    try:
        return str(ipaddress.ip_address(text.strip().partition("%")[0]))
    except ValueError:
        return None


# ---- actions ---------------------------------------------------------------


def _connect(form: Mapping[str, str], ours: bool) -> dict[str, object]:
    return {
        "payload": _json(form, "payload", "null"),
        "token": _name(form, "token", limit=names.TOKEN_LENGTH, needed=False),
        "expected_user": _name(form, "expected_user", needed=False),
        "ip": ip_address(form.get("remote_addr", "")),
        "client": {name: form.get(name, "") for name in ("transport", "user_agent", "origin")},
    }


def _disconnect(form: Mapping[str, str], ours: bool) -> dict[str, object]:
    return {"user": _name(form, "name")}


def _channel(form: Mapping[str, str], ours: bool) -> dict[str, object]:
    return {"channel": _name(form, "channel_name")}


def _channel_of_user(form: Mapping[str, str], ours: bool) -> dict[str, object]:
    return {"channel": _name(form, "channel_name"), "user": _name(form, "user")}


def _publish(form: Mapping[str, str], ours: bool) -> dict[str, object]:
    # 0.3.3 does not say who publishes; only the cookie does.
    user = _name(form, "user", needed=ours)
    return {
        "channel": _name(form, "channel_name"),
        "payload": _payload(form, ours),
        "user": user or _name(form, "originator", needed=False),
    }


def _message(form: Mapping[str, str], ours: bool) -> dict[str, object]:
    return {
        "user": _name(form, "sender"),
        "recipient": _name(form, "recipient"),
        "payload": _json(form, "payload", "null"),
    }


def _events(form: Mapping[str, str], ours: bool) -> dict[str, object]:
    events = _json(form, "events")
    if not isinstance(events, list):
        raise MalformedCall(_("“%(field)s” is not a list.") % {"field": "events"})
    return {"events": tuple(events), "address": _name(form, "node", needed=False)}


def _recheck(form: Mapping[str, str], ours: bool) -> dict[str, object]:
    channels = _json(form, "channels")
    if not isinstance(channels, dict) or not all(
        isinstance(users, list) and all(isinstance(user, str) for user in users)
        for users in channels.values()
    ):
        raise MalformedCall(
            _("“%(field)s” is not an object of lists of names.") % {"field": "channels"}
        )
    return {
        "channels": {
            _usable(name, "channels"): tuple(_usable(user, "channels") for user in users)
            for name, users in channels.items()
        }
    }


def _subscribe_many(form: Mapping[str, str], ours: bool) -> dict[str, object]:
    channels = _json(form, "channels")
    if not isinstance(channels, list) or not all(isinstance(each, dict) for each in channels):
        raise MalformedCall(_("“%(field)s” is not a list of objects.") % {"field": "channels"})
    wanted = {}
    for each in channels:
        name = _usable(each.get("channel_name"), "channel_name")
        if name in wanted:
            raise MalformedCall(_("“%(name)s” is there twice.") % {"name": name})
        wanted[name] = Wanted(name, each.get("create") is True, each.get("subscribe") is True)
    return {"user": _name(form, "user"), "wanted": tuple(wanted.values())}


_READERS: Mapping[str, Callable[[Mapping[str, str], bool], dict[str, object]]] = {
    "connect": _connect,
    "disconnect": _disconnect,
    "create_channel": _channel,
    "destroy_channel": _channel,
    "subscribe": _channel_of_user,
    "unsubscribe": _channel_of_user,
    "publish": _publish,
    "message": _message,
    "events": _events,
    "recheck": _recheck,
    "subscribe_many": _subscribe_many,
}
