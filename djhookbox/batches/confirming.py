"""Confirm identities: find the connections whose session or account has ended.

There is no signal when a session expires, when `QuerySet.update()` deactivates an account, or when
another program writes to the database. The server therefore asks about all connections from time
to time. Sessions are neither saved nor touched: asking does not prolong them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import get_user
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from django.views.decorators.debug import sensitive_variables

from ..users.accounts import username
from ..users.expiry import seconds_left
from ..users.identity import ANONYMOUS, Tokens, session_identity
from ..wire.closing import ACCOUNT_GONE, SESSION_EXPIRED, Disconnect
from ..wire.replies import ConfirmReply
from ..wire.webhooks import Identified
from .rule import STORES, accepts_confirming, has_own_users
from .sessions import Sessions

logger = logging.getLogger("djhookbox.webhook")

#: How many connections are looked at together if each session has to be loaded by itself.
FEW = 20


@sensitive_variables()
def confirm(
    request: HttpRequest,
    connections: Sequence[Identified],
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> ConfirmReply:
    """Find the connections that must end.

    Args:
        request: The request with the webhook.
        connections: The connections to look at; some of them, if there is not enough time.
        seconds: After this time, no more connections are looked at.
        clock: Returns the time in seconds.

    Raises:
        Exception: The database or the cache cannot be read.

    """
    if not accepts_confirming():  # the settings may have changed since the server was notified
        return ConfirmReply(len(connections))
    store = import_module(django_settings.SESSION_ENGINE).SessionStore
    together = len(connections) if store.__module__ in STORES else FEW
    began = clock()
    expired: list[str] = []
    gone: list[str] = []
    expires: dict[str, float] = {}
    answered = 0
    while answered < len(connections):
        part = _Part(request, connections[answered : answered + together])
        for index, each in enumerate(part.connections):
            # The first one is always looked at, so that a slow site makes progress.
            if answered and clock() - began >= seconds:
                return ConfirmReply(answered, tuple(expired), tuple(gone), expires)
            end = part.end(index)
            if end is not None:
                (gone if end is ACCOUNT_GONE else expired).append(each.conn_id)
            elif (left := part.seconds_left(index)) is not None:
                expires[each.conn_id] = round(left, 3)
            answered += 1
    return ConfirmReply(answered, tuple(expired), tuple(gone), expires)


class _Part:
    """Connections whose sessions and accounts are loaded together."""

    def __init__(self, request: HttpRequest, connections: Sequence[Identified]) -> None:
        self.connections = connections
        self._request = request
        self._tokens = Tokens(each.identity for each in connections)
        with_session = [
            index
            for index, each in enumerate(connections)
            if each.identity != ANONYMOUS and not Tokens.is_one(each.identity)
        ]
        self._places = {index: place for place, index in enumerate(with_session)}
        cookies = (connections[index].cookie for index in with_session)
        self._sessions = Sessions(request, cookies)

    def end(self, index: int) -> Disconnect | None:
        """Return how a connection must end, or None if its identity is confirmed or unknown."""
        each = self.connections[index]
        if each.identity == ANONYMOUS:
            return None
        try:
            if index in self._places:
                return self._end_of_session(each, self._places[index])
            return self._end_of_token(each)
        except Exception:
            # Code of the site, such as a backend, has failed, which says nothing about the session.
            logger.warning("Could not confirm connection %s.", each.conn_id, exc_info=True)
            return None

    def seconds_left(self, index: int) -> float | None:
        """Return in how many seconds the session of a confirmed connection expires, if known."""
        if index not in self._places:
            return None
        return seconds_left(self._sessions.request(self._places[index]).session)

    def _end_of_token(self, each: Identified) -> Disconnect | None:
        user, holds = self._tokens.account(each.identity)
        if user is None or not user.is_active:
            return ACCOUNT_GONE
        return None if holds and username(user) == each.user else SESSION_EXPIRED

    def _end_of_session(self, each: Identified, place: int) -> Disconnect | None:
        loaded = self._sessions.loaded(place)
        request, user, gone = loaded.request, loaded.request.user, loaded.gone
        if has_own_users(loaded.backend):
            request = Sessions(self._request, [each.cookie]).request(0)
            # No user may mean anything here: the page may connect again, and is then decided about.
            user, gone = get_user(request), False
        key: Any = request.session.session_key
        if key is None or not constant_time_compare(session_identity(key), each.identity):
            return SESSION_EXPIRED
        if gone or (user.is_authenticated and not user.is_active):
            return ACCOUNT_GONE
        same = user.is_authenticated and username(user) == each.user
        return None if same else SESSION_EXPIRED
