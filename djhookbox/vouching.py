"""What every function for code does first: check names, and ask whether a channel is open."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.contrib.auth.models import AnonymousUser
from django.utils.translation import gettext as _

from .conf import settings
from .decisions.decide import Decision, decide_for_code
from .exceptions import ChannelNameError, HookboxRefused, PayloadError
from .guards import recovering
from .strict_json import find_unsafe_integer
from .users.accounts import username
from .wire import names

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

    #: A Django user, or the name of a user's connections.
    User = AbstractBaseUser | AnonymousUser | str

logger = logging.getLogger("djhookbox")


def name_of(user: User | None) -> str:
    """Return the name of a user's connections; "" for None and anonymous users."""
    if user is None or isinstance(user, str):
        return user or ""
    return username(user)


def warn_of_rounding(channel: str, text: str) -> None:
    """Warn developers about an integer that browsers round."""
    if settings.debug and (number := find_unsafe_integer(text)) is not None:
        logger.warning(
            "Sent the integer %d to the channel %s. Browsers round integers above 2**53; "
            "send it as a string. (Shown because DEBUG is on.)",
            number,
            channel,
        )


def validate_channel(channel: object) -> None:
    """Reject an invalid channel name.

    Raises:
        ChannelNameError: It is not a string, is empty or too long, or has invalid characters.

    """
    limit = settings.max_name_length
    fault = names.find_fault(channel, limit)
    if fault is None:
        return
    if fault is names.Fault.TYPE:
        problem = _("The channel name must be a string, not %(type)s.") % {
            "type": type(channel).__name__
        }
    elif fault is names.Fault.CHARACTERS:
        problem = _("The channel name must not contain control characters.")
    else:
        problem = _("The channel name must have 1 to %(limit)d characters.") % {"limit": limit}
    raise ChannelNameError(problem, code="malformed")


def validate_key(key: object) -> None:
    """Reject an invalid key of a publication.

    Raises:
        PayloadError: It is not a string, is too long, or has invalid characters.

    """
    if key == "":
        return
    if names.find_fault(key, names.KEY_LENGTH) is None and not str(key).startswith(
        names.BROWSER_KEY
    ):
        return
    raise PayloadError(
        _(
            "The key must be a string of at most %(limit)d characters, without control "
            "characters, and must not begin with “%(prefix)s”."
        )
        % {"limit": names.KEY_LENGTH, "prefix": names.BROWSER_KEY},
        code="malformed",
    )


def vouch(channel: str, user: User | None = None) -> Decision:
    """Return the decision that opens a channel, with the options to create it with.

    Raises:
        HookboxRefused: No policy or handler opens it.

    """
    validate_channel(channel)
    decision = decided(channel, user)
    require(decision)
    return decision


@recovering
def decided(channel: str, user: User | None) -> Decision:
    """Return the decision that opens a channel for code."""
    who = AnonymousUser() if user is None or isinstance(user, str) else user
    return decide_for_code(channel, who)


def require(decision: Decision) -> None:
    """Raise HookboxRefused unless a decision allows what was asked."""
    if not decision.allowed:
        raise HookboxRefused(decision.reason, code=decision.code or "refused")
