"""The calls of the Hookbox process's REST API: one function for each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from django.utils.translation import gettext as _

from .. import isolation
from ..conf import settings
from ..exceptions import HookboxMisconfigured, PayloadError
from ..wire import answers, records, rest
from ..wire.closing import BY_SITE
from ..wire.listing import MAX_LISTED
from ..wire.revocations import Revocation
from ..wire.streams import Pushed
from . import poking
from .http import rest_call
from .payloads import to_json

Answer = TypeVar("Answer")


def _ask(request: rest.Request, kind: type[Answer], seconds: float | None = None) -> Answer:
    """Make a REST call; missing or invalid fields of the answer have their defaults."""
    return records.read(kind, _send(request, seconds), lenient=True)


def _send(request: rest.Request, seconds: float | None = None) -> dict[str, object]:
    return rest_call(request.name, seconds, **records.to_form(request, to_json))


def _options(options: Mapping[str, object], others: Collection[str]) -> Mapping[str, object]:
    """Return channel options that are sent as separate fields, next to the others."""
    for name in options:
        if name in others:
            raise PayloadError(
                _("Unknown channel option “%(name)s”.") % {"name": name}, code="malformed"
            )
    return options


def publish(
    channel: str,
    payload: str,
    *,
    options: Mapping[str, object] | None = None,
    originator: str | None = None,
    origin: rest.Origin | None = None,
    key: str = "",
    made: float | None = None,
    trace: str = "",
) -> answers.Published:
    """Publish a JSON text and return the answer; the genuine 0.3.3 does not count receivers.

    Args:
        channel: The channel's name.
        payload: The message as JSON text.
        options: The options decided for the channel, in case this call creates it. With them the
            server sends no webhook.
        originator: The name of the user it is from.
        origin: What the server reports about it. Without it, or if the answer does not say that it
            will be reported, the caller records the publication.
        key: The server publishes a message with the same key once.
        made: When it was made, in seconds since the epoch.
        trace: The trace in which it was made, as a `traceparent`.

    """
    if settings.executable:
        made = None  # another program does not know it
    request = rest.Publish(
        channel, originator, options, recorded=True, key=key, origin=origin, payload=payload,
        made=made, traceparent=trace,
    )  # fmt: skip
    return _ask(request, answers.Published)


def poke(timeout: float, push: Callable[[], Pushed | None] | None = None) -> None:
    """Notify the server that the outbox has something for it, if it does not look soon anyway.

    Args:
        timeout: Maximum seconds to wait for it.
        push: Numbers what was committed, and returns it if it can be sent along.

    """
    poking.poke(timeout, push)


def publish_many(
    publications: Sequence[rest.Publishing], *, made: float | None = None, trace: str = ""
) -> tuple[answers.Outcome, ...]:
    """Publish JSON texts with one call, and return what has become of each.

    Args:
        publications: The messages.
        made: When they were made, and `trace`, in which trace, as for `publish`.
        trace: See there.

    Raises:
        HookboxMisconfigured: The process does not report each.

    """
    if isolation.is_isolated() and isolation.stand_in() is None:
        return (answers.Outcome(0),) * len(publications)
    request = rest.PublishMany(tuple(publications), recorded=True, made=made, traceparent=trace)
    outcomes = _ask(request, answers.PublishedMany).outcomes
    if len(outcomes) != len(publications):
        raise HookboxMisconfigured(
            _("The Hookbox process is an older version. Restart it: “manage.py runhookbox”.")
        )
    return outcomes


def create_channel(channel: str, options: Mapping[str, object]) -> None:
    """Create a channel with these options."""
    given = _options(options, ("channel_name", "options", "send_hook", *rest.SECRET_FIELDS))
    _send(rest.CreateChannel(channel, given=given))


def get_channel_info(channel: str) -> dict[str, object]:
    """Return a channel's name, subscribers and options."""
    return _send(rest.GetChannelInfo(channel))


def tail(channel: str, *, payloads: bool) -> answers.ChannelTail:
    """Return a channel's latest publications, the newest first; with or without payloads."""
    return _ask(rest.Tail(channel, payloads), answers.ChannelTail)


def set_channel_options(channel: str, options: Mapping[str, object]) -> None:
    """Change options of a channel."""
    given = _options(options, ("channel_name", "send_hook", *rest.SECRET_FIELDS))
    _send(rest.SetChannelOptions(channel, given))


def state_set_key(channel: str, key: str, value: object) -> None:
    """Set a key of a channel's state."""
    _send(rest.StateSetKey(channel, key, to_json(value)))


def state_delete_key(channel: str, key: str) -> None:
    """Delete a key of a channel's state."""
    _send(rest.StateDeleteKey(channel, key))


def subscribe(channel: str, user: str, *, options: Mapping[str, object] | None = None) -> None:
    """Subscribe all connections of a user; `options` as for `publish`."""
    _send(rest.Subscribe(channel, user, options))


def unsubscribe(channel: str, user: str, *, reason: str = "") -> None:
    """Unsubscribe all connections of a user; their pages receive the reason."""
    _send(rest.Unsubscribe(channel, user, reason))


def disconnect(
    *,
    user: str | None = None,
    connection: str | None = None,
    identity: str | None = None,
    code: int = BY_SITE.code,
    reason: str = "",
) -> int:
    """Close the connections of a user or an identity, or one connection; return the number."""
    request = rest.Disconnect(user, connection, identity, code=code, reason=reason)
    return _ask(request, answers.Disconnected).disconnected


def disconnect_all(
    *,
    users: Sequence[str] = (),
    identities: Sequence[str] = (),
    addresses: Sequence[str] = (),
    seconds: float | None = None,
    code: int = BY_SITE.code,
    reason: str = "",
) -> int:
    """Close the connections of all these users, identities and addresses; return the number.

    Those that connect within `seconds` are closed too.
    """
    request = rest.Disconnect(
        names=tuple(users),
        identities=tuple(identities),
        # An older process must not be sent a field that it does not need.
        addresses=tuple(addresses) or None,
        seconds=seconds,
        code=code,
        reason=reason,
    )
    return _ask(request, answers.Disconnected).disconnected


def revoke(revocations: Sequence[Revocation], seconds: float | None = None) -> answers.Revoked:
    """Carry out revocations that the server has not carried out yet.

    Args:
        revocations: The revocations.
        seconds: Maximum time to wait for the answer, if not `HOOKBOX_TIMEOUT`.

    """
    return _ask(rest.Revoke(tuple(revocations)), answers.Revoked, seconds)


def list_channels(
    prefix: str = "", limit: int = MAX_LISTED, patterns: Sequence[str] | None = None
) -> answers.ChannelList:
    """Return the live channels whose names start with a prefix, and how many there are.

    Those with the most subscribers come first.

    Args:
        prefix: The beginning of the names.
        limit: How many to list, at most `MAX_LISTED`.
        patterns: Regular expressions; a name must match one of them.

    """
    chosen = None if patterns is None else tuple(patterns)
    return _ask(rest.ListChannels(prefix, limit, chosen), answers.ChannelList)


def list_connections(user: str = "", limit: int = MAX_LISTED) -> answers.ConnectionList:
    """Return open connections, of one user or of all."""
    return _ask(rest.ListConnections(user, limit), answers.ConnectionList)


def list_users(channel: str = "") -> tuple[str, ...]:
    """Return the names of all connected users, or of a channel's subscribers."""
    return _ask(rest.ListUsers(channel), answers.UserNames).names


def cursor(channel: str, *, options: Mapping[str, object]) -> str:
    """Return the cursor of a channel, "" if it has none; `options` as for `publish`."""
    return _ask(rest.Cursor(channel, options), answers.CursorAnswer).cursor


def get_server_info(base: str = "") -> answers.ServerInfo:
    """Return the server's version, uptime and counts.

    Args:
        base: Which URL of `HOOKBOX_REST_URL` to ask; by default, the first one that answers.

    """
    answer = rest_call(rest.GetServerInfo.name, None, base)
    return records.read(answers.ServerInfo, answer, lenient=True)


def get_server_report(
    channel: str = "",
    user: str = "",
    *,
    channel_sort: str = "",
    channel_page: int = 1,
    user_sort: str = "",
    user_page: int = 1,
) -> answers.ServerInfo:
    """Return the same with rates and lists; a server without them omits them.

    Args:
        channel: Text that the names of listed channels contain.
        user: Text that the user names of listed connections contain.
        channel_sort: Which channels come first, see `rest.GetServerInfo`.
        channel_page: Which part of the channels is listed, from 1.
        user_sort: Which connections come first.
        user_page: Which part of them is listed, from 1.

    """
    request = rest.GetServerInfo(
        report=True,
        channel=channel,
        user=user,
        channel_sort=channel_sort,
        channel_page=channel_page if channel_page > 1 else None,
        user_sort=user_sort,
        user_page=user_page if user_page > 1 else None,
    )
    return _ask(request, answers.ServerInfo)
