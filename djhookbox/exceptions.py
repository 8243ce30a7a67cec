"""The exceptions of the Django side.

The root is `HookboxError`, as in 2011; its subclasses distinguish whose fault it was.
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured, SynchronousOnlyOperation
from django.db import DatabaseError


class HookboxError(Exception):
    """A call to the Hookbox process failed.

    Attributes:
        reason: A plain sentence that explains the failure.
        status: HTTP status of the server's answer, or None if there was none.
        code: The server's short code for the reason (`refused`, `malformed`, …), or "".

    """

    def __init__(self, reason: str, *, status: int | None = None, code: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.code = code

    def __str__(self) -> str:
        return self.reason


class HookboxRefused(HookboxError):
    """The server, a policy or a handler refused; trying again will not help."""


class ChannelNameError(HookboxRefused, ValueError):
    """A channel's name is invalid: empty, too long, or with control characters."""


class UserNameError(HookboxRefused, ValueError):
    """A user has no name to find connections by, or no account to connect with."""


class HookboxUnreachable(HookboxError, ConnectionError):
    """The Hookbox process cannot be reached, or did not answer in time."""


class HookboxNotRunning(HookboxUnreachable):
    """Nothing listens at the address of the Hookbox process, so nobody is connected."""


class HookboxMisconfigured(HookboxError, ImproperlyConfigured):
    """The settings keep Django and the Hookbox process from working together."""


class HookboxDatabaseError(HookboxError, DatabaseError):
    """The site's database failed before anything was sent; the cause is Django's exception."""


class HookboxSynchronousOnly(HookboxError, SynchronousOnlyOperation):
    """A blocking function was called from asynchronous code; nothing was done."""


class PayloadError(HookboxError, ValueError):
    """A payload or an option cannot be written as JSON, or is too large; nothing was sent."""


class PatternError(ValueError):
    """A channel pattern is malformed; the text says where and why."""
