"""Read the form of a REST call, and as little as possible of it before the secret is found."""

from __future__ import annotations

import asyncio
import functools
import re
from binascii import a2b_qp
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote_plus, unquote_to_bytes

from aiohttp import web

from ..budget import Budget
from ..tasks import within

#: Maximum bytes of a form to read before the secret is found. Callers that send more must put the
#: secret first, or into a header.
UNPROVED_BYTES = 1_048_576
#: Maximum number of forms without a proven secret to read concurrently.
MAX_UNPROVED = 32
#: Timeout in seconds for receiving a form; without the secret it is shorter.
BODY_SECONDS = 30.0
UNPROVED_SECONDS = 10.0
#: Bytes of a form with the secret that are read even if the shared budget is used up.
MIN_BYTES = 4096
#: Maximum number of fields in a form.
MAX_FIELDS = 1000
#: Maximum number of characters of values that are remembered.
LONGEST_KEPT = 128

# Match up to the next field, which shows that this one is complete.
_SECRET = re.compile(rb"(?:^|&)(secret|security_token)=([^&]+)(?=&)")


class BadBody(Exception):
    """A form that is not accepted.

    Attributes:
        status: The HTTP status.
        code: A short code for programs.

    """

    def __init__(self, text: str, code: str, status: int) -> None:
        super().__init__(text)
        self.code = code
        self.status = status


class Forged(Exception):
    """The secret is wrong."""


class Hold:
    """The share of one call in the bytes of all calls."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0

    def take(self, size: int) -> None:
        """Add bytes to the share.

        Raises:
            BadBody: If all calls together hold too many.

        """
        self._size += size
        self._budget.take(size)
        if self._budget.full and self._size > MIN_BYTES:
            text = (
                f"All calls together hold more than {self._budget.limit} bytes "
                "(HOOKBOX_MAX_REST_BYTES): try again later"
            )
            raise BadBody(text, "unavailable", 503)

    def release(self) -> None:
        """Give the share back."""
        self._budget.give(self._size)
        self._size = 0


class Bodies:
    """Read forms.

    Args:
        is_genuine: Returns whether a secret is accepted.
        max_size: Maximum bytes of a form whose secret has been verified.
        max_total: Maximum bytes of all such forms together; at least one fits.

    """

    def __init__(self, is_genuine: Callable[[str], bool], max_size: int, max_total: int) -> None:
        self._is_genuine = is_genuine
        self._max_size = max_size
        # The form may be one byte longer, which shows that it is too long.
        self._budget = Budget(max(max_total, max_size + 2))
        self._unproved = 0

    def hold(self) -> Hold:
        """Return the share of a call; the caller releases it."""
        return Hold(self._budget)

    @contextmanager
    def holding(self) -> Iterator[Hold]:
        """Provide the share of a call, which counts until the context is left."""
        hold = self.hold()
        try:
            yield hold
        finally:
            hold.release()

    async def read(self, request: web.Request, hold: Hold, *, proved: bool) -> dict[str, str]:
        """Return the fields of a form.

        Args:
            request: A POST.
            hold: The share that the form counts towards once its secret is found.
            proved: Whether a header contains the secret.

        Raises:
            BadBody: If it is too large, too slow, or not a form.
            Forged: If it contains a wrong secret; the rest has not been read.

        """
        if proved:
            return fields(await self._receive(request, hold, BODY_SECONDS, proved=True))
        if self._unproved >= MAX_UNPROVED:
            raise BadBody(
                "Too many calls at once whose secret has not arrived yet", "unavailable", 503
            )
        self._unproved += 1
        try:
            return fields(await self._receive(request, hold, UNPROVED_SECONDS, proved=False))
        finally:
            self._unproved -= 1

    async def _receive(
        self, request: web.Request, hold: Hold, seconds: float, *, proved: bool
    ) -> bytearray:
        body = bytearray()
        try:
            proved = await within(seconds, self._read(request, body, proved))
            if proved:
                await within(BODY_SECONDS, self._read_on(request, hold, body))
        except asyncio.TimeoutError:
            raise BadBody("The form did not arrive in time", "malformed", 408) from None
        except (web.HTTPException, ConnectionError, ValueError):
            raise BadBody("The form did not arrive", "malformed", 400) from None
        return body

    async def _read(self, request: web.Request, body: bytearray, proved: bool) -> bool:
        """Read until the secret is found or the form ends; return whether it was found."""
        looked = 0  # the fields before this have been checked
        while not proved and (chunk := await request.content.readany()):
            body += chunk
            if b"&" in chunk:
                proved = self._proves(body, looked)
                looked = body.rindex(b"&")
            if not proved and len(body) > UNPROVED_BYTES:
                text = f"There is no secret in the first {UNPROVED_BYTES} bytes: put it first"
                raise BadBody(text, "limit", 413)
        return proved

    async def _read_on(self, request: web.Request, hold: Hold, body: bytearray) -> None:
        hold.take(len(body))
        while True:
            if len(body) > self._max_size:
                raise BadBody(f"The form is longer than {self._max_size} bytes", "limit", 413)
            chunk = await request.content.readany()
            if not chunk:
                return
            body += chunk
            hold.take(len(chunk))

    def _proves(self, body: bytearray, start: int) -> bool:
        """Look for the secret in complete fields, beginning at an offset.

        Raises:
            Forged: If it is wrong.

        """
        for found in _SECRET.finditer(body, start):
            value = unquote_plus(found[2].decode("latin-1"), errors="replace")
            if self._is_genuine(value):
                return True
            if found[1] == b"secret":
                raise Forged
        return False


def fields(body: bytes | bytearray) -> dict[str, str]:
    """Return the first non-empty value of each field.

    Raises:
        BadBody: If it is not a form.

    """
    try:
        # `parse_qsl` does the same, but takes three times as long.
        pairs = body.decode("utf-8").split("&")
        if len(pairs) > MAX_FIELDS:
            raise BadBody(f"The form has more than {MAX_FIELDS} fields", "malformed", 400)
        form: dict[str, str] = {}
        for pair in pairs:
            name, _, value = pair.partition("=")
            if not value:
                continue
            if "%" in pair or "+" in pair:
                value = unquoted(value) if len(value) > LONGEST_KEPT else _unquoted_before(value)
                if "%" in name or "+" in name:
                    name = unquoted(name)
            if name not in form:
                form[name] = value
    except ValueError:
        raise BadBody("The form is not UTF-8", "malformed", 400) from None
    return form


def unquoted(text: str) -> str:
    """Return a name or a value of a form; raise ValueError if it is not UTF-8."""
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    if "\n" not in text and "\r" not in text:
        # Quoted-printable has the same escapes, but with an equals sign. It is decoded in C.
        data = text.encode()
        if b"=" in data:
            data = data.replace(b"=", b"%3D")
        found = a2b_qp(data.replace(b"%", b"="))
        if len(found) == len(data) - 2 * data.count(b"%"):  # otherwise, some escapes are malformed
            return found.decode()
    return unquote_to_bytes(text).decode()


#: Does the same for names of channels and options, which come again and again.
_unquoted_before = functools.lru_cache(maxsize=1024)(unquoted)


def first_values(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the first non-empty value of each name, as 0.3.3 does."""
    form: dict[str, str] = {}
    for name, value in pairs:
        if value:
            form.setdefault(name, value)
    return form
