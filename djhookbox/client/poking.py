"""Notify the process of commits without waiting for its answers, and not more often than it needs.

A request that has published must not wait for the process. So the answer to a poke is read before
the next one, which is usually much later. Until then nobody knows whether the process has received
it, so the next poke cannot be left out; if the answer does not come in time, the poke has failed.

The answer says when the process will look next. Whatever is committed before that, counted from
when the poke was sent, needs no other poke. If it looks at once, commits are rare, and the next
poke may carry what was committed; otherwise the process gets more with each look.
"""

from __future__ import annotations

import atexit
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from time import monotonic
from urllib.parse import urlencode, urlsplit

from django.utils.translation import gettext as _
from urllib3.util.wait import wait_for_read

from .. import isolation
from ..conf import settings
from ..exceptions import HookboxError, HookboxUnreachable
from ..wire import answers, records, rest
from ..wire.bodies import FORM_TYPE
from ..wire.proof import SECRET_HEADER, to_header
from ..wire.streams import Pushed
from . import http

#: Numbers what was committed, and returns it; None if the process must pull it.
Push = Callable[[], Pushed | None]


class _Line:
    """The connection for pokes, which one thread uses at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._base = ""
        self._socket: socket.socket | None = None
        #: When the last poke was sent; whether its answer has not been read; and until when no
        #: other one is needed; all on the monotonic clock.
        self._sent = 0.0
        self._is_open = False
        self._enough_until = 0.0
        #: Whether the last answer was that the process looks at once.
        self._is_calm = True

    def poke(self, base: str, secret: str, seconds: float, push: Push | None) -> None:
        """Send a poke unless the process has promised to look again."""
        if base != self._base:
            self.close()
            self._base = base
        self.settle(seconds)
        now = monotonic()
        if now < self._enough_until:
            return
        if now - self._sent > http.IDLE_SECONDS or self._has_ended():
            self.close()
        is_new = self._socket is None
        self._connect(seconds)
        # Nothing is numbered if nobody listens.
        request = rest.Poke(push() if push is not None and self._is_calm else None)
        now = monotonic()  # what is committed after this is not sent along
        try:
            self._send(request, secret, seconds)
        except HookboxUnreachable:
            if is_new:
                raise
            self._connect(seconds)
            self._send(request, secret, seconds)  # to the process that has been started since
        self._sent, self._is_open = now, True

    def settle(self, seconds: float) -> None:
        """Read the answer to the last poke; wait for it until so many seconds after it was sent."""
        if not self._is_open or self._socket is None:
            return
        self._is_open = False
        left = max(0.0, self._sent + seconds - monotonic())
        if not wait_for_read(self._socket, left):
            self.close()
            raise HookboxUnreachable(
                _(
                    "The Hookbox process at %(url)s did not answer within %(seconds)s seconds. "
                    "Is it running? Start it with “manage.py runhookbox”."
                )
                % {"url": self._base, "seconds": f"{seconds:g}"},
                code="unavailable",
            )
        try:
            self._socket.settimeout(seconds)
            response = HTTPResponse(self._socket, method="POST")
            response.begin()
            read = http.Response(response.status, dict(response.headers), response.read())
        except (OSError, HTTPException):
            # It has ended. Its successor looks by itself when it starts, and gets the next poke.
            self.close()
            return
        if response.will_close:
            self.close()
        try:
            answer = http.read_answer(self._base, rest.Poke.name, read)
        except HookboxError:
            self.close()
            raise
        looks_in = records.read(answers.Poked, answer, lenient=True).looks_in
        self._enough_until = self._sent + min(1.0, looks_in)
        self._is_calm = looks_in <= 0

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._is_open = False
        self._enough_until = 0.0
        self._is_calm = True

    def _has_ended(self) -> bool:
        """Return whether the process has closed the connection."""
        return self._socket is not None and wait_for_read(self._socket, 0.0)

    def _connect(self, seconds: float) -> None:
        """Open a connection unless there is one."""
        if self._socket is not None:
            self._socket.settimeout(seconds)
            return
        parts = urlsplit(self._base)
        address = (parts.hostname or "", parts.port or 80)
        with self._reaching():
            self._socket = socket.create_connection(address, seconds)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _send(self, request: rest.Poke, secret: str, seconds: float) -> None:
        parts = urlsplit(self._base)
        body = urlencode({"secret": secret, **records.to_form(request)})
        head = (
            f"POST {parts.path}/rest/{rest.Poke.name} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Accept-Encoding: identity",
            f"Content-Length: {len(body)}",
            f"Content-Type: {FORM_TYPE}",
            f"User-Agent: {http.USER_AGENT}",
            f"{SECRET_HEADER}: {to_header(secret)}",
            "",
            body,
        )
        with self._reaching():
            if self._socket is None:
                raise OSError("it is not connected")
            # In one piece: the process answers what has arrived completely without waiting.
            self._socket.sendall("\r\n".join(head).encode("ascii"))

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            raise HookboxUnreachable(
                _(
                    "The Hookbox process at %(url)s cannot be reached. "
                    "Is it running? Start it with “manage.py runhookbox”."
                )
                % {"url": self._base},
                code="unavailable",
            ) from error


_line = _Line()


def poke(seconds: float, push: Push | None = None) -> None:
    """Notify the process that the outbox has something for it.

    Args:
        seconds: Maximum time to wait: for the connection, and for the answer to the last poke,
            counted from when that was sent.
        push: Returns what is sent along; only if there is one process, and commits are rare.

    Raises:
        HookboxError: It cannot be reached, or has not answered the last poke, or not as expected.

    """
    base = _only_base()
    if base is None:
        http.rest_call(rest.Poke.name, seconds)
        return
    line = _line
    if not line.lock.acquire(timeout=seconds):
        return  # others wait for a process that does not answer
    try:
        line.poke(base, settings.rest_secrets[0], seconds, push)
    finally:
        line.lock.release()


def _only_base() -> str | None:
    """Return the URL of the process if pokes are that simple: one process, without TLS."""
    if isolation.is_isolated() or settings.executable or len(settings.rest_urls) > 1:
        return None
    base = settings.rest_urls[0]
    parts = urlsplit(base)
    simple = parts.scheme == "http" and parts.username is None and base.isascii()
    return base if simple and "%" not in base else None


def forget() -> None:
    """Start without a connection: a child process must not use that of its parent."""
    global _line
    _line.close()  # the connection of the parent stays open
    _line = _Line()


def finish(seconds: float = 0.25) -> None:
    """Wait for the answer to the last poke before this process ends."""
    try:
        with _line.lock:
            _line.settle(seconds)
    except HookboxError:
        pass  # the process will look by itself


os.register_at_fork(after_in_child=forget)
atexit.register(finish)
