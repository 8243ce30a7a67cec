"""Publish, subscribe, disconnect: what a site's code asks of Hookbox.

Audiences do not restrict code, but a channel that no policy or handler opens is refused. Django
decides before it calls the server and sends the decided options along, so that the server never
has to call back while the caller waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from . import client
from .client.payloads import to_json
from .decisions.decide import Decision
from .exceptions import HookboxRefused, UserNameError
from .guards import synchronous
from .publishing import apublish as apublish
from .publishing import apublish_many as apublish_many
from .publishing import publish as publish
from .publishing import publish_many as publish_many
from .vouching import name_of as name_of
from .vouching import validate_channel as validate_channel
from .vouching import vouch as vouch
from .vouching import warn_of_rounding
from .wire import records
from .wire.closing import BY_SITE

if TYPE_CHECKING:
    from .vouching import User

#: Options that make Hookbox ask Django. Code cannot turn off those that a decision requires.
MODERATION = ("moderated", "moderated_subscribe", "moderated_publish", "moderated_unsubscribe")


# ---- channels --------------------------------------------------------------------------------


@synchronous()
def create(channel: str, options: Mapping[str, object] | None = None) -> None:
    """Create a channel with the options decided for it, overridden by the given ones."""
    decision = vouch(channel)
    chosen = _permitted(decision, channel, options or {})
    client.create_channel(channel, {**decision.options, **chosen})


@synchronous()
def channel_info(channel: str) -> dict[str, object]:
    """Return a live channel's `name`, `subscribers` and `options`."""
    validate_channel(channel)
    return client.get_channel_info(channel)


@synchronous()
def set_channel_options(channel: str, **options: object) -> None:
    """Change options of a live channel, such as `history_size=20`."""
    client.set_channel_options(channel, _permitted(vouch(channel), channel, options))


@synchronous()
def state_set(channel: str, key: str, value: object) -> None:
    """Set a key of a live channel's state and notify all subscribers."""
    validate_channel(channel)
    warn_of_rounding(channel, to_json(value))
    client.state_set_key(channel, key, value)


@synchronous()
def state_delete(channel: str, key: str) -> None:
    """Delete a key of a live channel's state and notify all subscribers."""
    validate_channel(channel)
    client.state_delete_key(channel, key)


# ---- users -----------------------------------------------------------------------------------


@synchronous()
def subscribe(channel: str, user: User) -> None:
    """Subscribe all connections of a user, a Django user or a name, without asking policies."""
    decision = vouch(channel, user)
    client.subscribe(channel, name_of(user), options=decision.options)


@synchronous()
def unsubscribe(channel: str, user: User, *, reason: str = "") -> None:
    """Unsubscribe all connections of a user; their pages receive the reason."""
    validate_channel(channel)
    client.unsubscribe(channel, name_of(user), reason=reason)


@synchronous()
def disconnect(
    user: User | None = None,
    *,
    connection: str | None = None,
    reason: str = "",
    code: int = BY_SITE.code,
) -> int:
    """Close all connections of a user, or one connection by its id, and return the number.

    Args:
        user: The user whose connections to close, a Django user or a name.
        connection: The id of one connection, as in the audit log.
        reason: The reason sent to the page, at most 120 bytes.
        code: 4000 to 4499 lets the page reconnect, 4500 to 4999 does not.

    """
    if user is None and connection is None:
        raise TypeError("disconnect() requires a user or a connection.")
    if user is not None and not name_of(user):
        raise UserNameError(
            _(
                "An anonymous user has no account name. Pass the name of the connections, or "
                "the id of one."
            ),
            code="malformed",
        )
    return client.disconnect(
        user=None if user is None else name_of(user),
        connection=connection,
        reason=reason,
        code=code,
    )


@synchronous()
def server_info() -> dict[str, object]:
    """Return the process's `version`, `uptime`, `connections`, `channels` and other counts."""
    return records.write(client.get_server_info())


def _permitted(
    decision: Decision, channel: str, options: Mapping[str, object]
) -> Mapping[str, object]:
    """Return the options unless they would weaken an audience.

    Raises:
        HookboxRefused: They turn off moderation that the decision requires, or change `durable`.

    """
    for name in MODERATION:
        if decision.options.get(name) and not options.get(name, True):
            raise HookboxRefused(
                _("“%(option)s” cannot be turned off: %(who)s decides who may use “%(channel)s”.")
                % {"option": name, "who": decision.decided_by, "channel": channel},
                code="refused",
            )
    durable = bool(decision.options.get("durable"))
    if bool(options.get("durable", durable)) is not durable:
        raise HookboxRefused(
            _("Whether “%(channel)s” is durable is decided by %(who)s.")
            % {"who": decision.decided_by, "channel": channel},
            code="refused",
        )
    return options
