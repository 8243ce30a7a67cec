"""The REST API that the site calls: `/rest/<call>` as in 0.3.3 and `/web/<call>` as in 0.3.4.

Each call takes a form, with the secret in a header or a field, and answers JSON
`[success, object]`. A call that includes its decided options never waits for a webhook.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TypeAlias

from aiohttp import web

from ...wire import rest
from ...wire.answers import Published
from ...wire.proof import SECRET_HEADER, from_header
from ...wire.values import dumps
from ..config import ServerConfig
from .bodies import MIN_BYTES, BadBody, Bodies, Forged, Hold, fields, first_values
from .calls import Calls
from .failures import FAILURES, failure
from .forms import Form, written
from .repeated import Repeated

#: Calls that programs written for 0.3.3 may make by GET, with the secret in the query: all calls
#: of 0.3.3 except set_config, which could redirect the webhooks with all visitors' cookies.
GET_CALLS = frozenset({
    "publish", "subscribe", "unsubscribe", "get_channel_info", "set_channel_options",
    "state_set_key", "state_delete_key",
})  # fmt: skip

logger = logging.getLogger("djhookbox.server.rest")

#: Whether a call was successful, its answer and the HTTP status.
Outcome: TypeAlias = tuple[bool, Mapping[str, object], int]


def answer(success: bool, value: Mapping[str, object], status: int = 200) -> web.Response:
    """Return a response in the format of both versions of Hookbox."""
    return web.Response(
        body=dumps([success, value]).encode(), status=status, content_type="application/json"
    )


def _encoded(outcome: Outcome) -> tuple[int, bytes]:
    success, value, status = outcome
    return status, dumps([success, value]).encode()


class Rest:
    """Verify the secret, find the call, and return its answer as a response.

    Args:
        calls: The available calls.
        config: Which calls are allowed, and how large they may be.

    """

    def __init__(self, calls: Calls, config: ServerConfig) -> None:
        self._calls = calls
        #: The names of all calls.
        self.names = calls.by_name.keys()
        self._config = config
        self._max_size = config.max_payload_size
        self._repeated = Repeated()
        self._max_repeated = min(MIN_BYTES, self._max_size)
        # A form encodes most bytes of JSON as three.
        self._bodies = Bodies(
            self._is_genuine, 3 * config.max_payload_size + 1_048_576, config.max_rest_bytes
        )

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request below /rest/ or /web/."""
        name = request.match_info["call"]
        if name not in self.names:
            return web.Response(status=404, text="Not Found")
        if request.method == "GET" and not (self._config.rest_get and name in GET_CALLS):
            refusal = answer(False, {"msg": "Use POST", "code": "malformed"}, 405)
            refusal.headers["Allow"] = "POST"
            return refusal
        with self._bodies.holding() as hold:
            return answer(*await self._answer(name, lambda: self._form(request, hold)))

    def begin(
        self, name: str, secret: str | None, body: bytes
    ) -> tuple[int, bytes] | Coroutine[object, None, tuple[int, bytes]]:
        """Answer a POST whose form has arrived completely.

        Args:
            name: An existing call.
            secret: The header with the secret, if there is one.
            body: The form, which is not long.

        Returns:
            The status and the JSON, or a coroutine that returns them if the call must wait.

        """
        repeats = name == rest.Publish.name and len(body) <= self._max_repeated
        if repeats and (done := self._publish_again(secret, body)) is not None:
            return done
        # A short form that is answered at once is not counted.
        hold = self._bodies.hold() if len(body) > MIN_BYTES else None
        outcome: Outcome | Awaitable[dict[str, object]] | None = None
        try:
            form = self._complete_form(secret, body, hold)
            if len(body) > self._max_size:
                outcome = self._too_long(form)
            if outcome is None:
                outcome = self._at_once(name, form)
            if repeats and isinstance(outcome, tuple):
                self._repeated.keep(secret, body, self._calls.secrets)
        except Exception as error:
            outcome = self._failed(name, error)
        if not isinstance(outcome, tuple):
            if hold is None:
                hold = self._bodies.hold()
                hold.take(len(body))
            return self._finish(name, outcome, hold)
        if hold is not None:
            hold.release()
        return _encoded(outcome)

    async def _answer(self, name: str, read: Callable[[], Awaitable[Form]]) -> Outcome:
        """Make a call with the form that is read; return its outcome."""
        try:
            form = await read()
        except (Forged, BadBody) as error:
            return self._failed(name, error)
        return self._too_long(form) or await self.perform(name, form)

    def _too_long(self, form: Form) -> Outcome | None:
        """Return the outcome of a call one of whose fields is too long, else None."""
        for field, value in form.items():
            size = len(value)
            if 4 * size > self._max_size:  # a character takes at most four bytes
                size = len(value.encode("utf-8", "replace"))
            if size > self._max_size:
                text = f"{field} is longer than {self._max_size} bytes"
                return False, {"msg": text, "code": "limit"}, 413
        return None

    async def perform(self, name: str, form: Form) -> Outcome:
        """Make a call whose secret is correct; return success, the answer and the HTTP status.

        Raises:
            KeyError: There is no call of this name.

        """
        call = self._calls.by_name[name]
        try:
            return True, await call(form), 200
        except Exception as error:
            return self._failed(name, error)

    def _publish_again(
        self, secret: str | None, body: bytes
    ) -> tuple[int, bytes] | Coroutine[object, None, tuple[int, bytes]] | None:
        """Publish if the form repeats an earlier one and nothing has to be done before."""
        found = self._repeated.read(secret, body, self._calls.secrets)
        if found is None:
            return None
        try:
            published = self._calls.publishing.at_once(*found)
        except Exception as error:
            return _encoded(self._failed(rest.Publish.name, error))
        if isinstance(published, Published):
            return 200, b"[true,%b]" % published.json().encode()
        if published is None:
            return None
        hold = self._bodies.hold()
        hold.take(len(body))
        return self._finish(rest.Publish.name, written(published), hold)

    def _at_once(self, name: str, form: Form) -> Outcome | Awaitable[dict[str, object]]:
        """Make a call whose secret is correct; return its outcome, or its answer to wait for."""
        call = self._calls.at_once.get(name)
        answer = None if call is None else call(form)
        if answer is None:
            return self._calls.by_name[name](form)
        return (True, answer, 200) if isinstance(answer, dict) else answer

    async def _finish(
        self, name: str, waits: Awaitable[dict[str, object]], hold: Hold
    ) -> tuple[int, bytes]:
        try:
            return _encoded((True, await waits, 200))
        except Exception as error:
            return _encoded(self._failed(name, error))
        finally:
            hold.release()

    def _failed(self, name: str, error: Exception) -> Outcome:
        """Return the outcome of a call that failed."""
        if isinstance(error, Forged):
            if not self._calls.secrets:
                logger.warning("A REST call was refused: no REST secret is configured")
            return False, {"msg": "Invalid secret", "code": "secret"}, 200
        if isinstance(error, BadBody):
            return False, {"msg": str(error), "code": error.code}, error.status
        if isinstance(error, FAILURES):
            told = failure(error)
            return False, {"msg": told.msg, "code": told.code}, told.status
        logger.error("Unexpected error: REST call %s", name, exc_info=error)
        return False, {"msg": "Internal error", "code": "error"}, 500

    async def _form(self, request: web.Request, hold: Hold) -> Form:
        """Return the fields of a call whose secret is correct.

        Raises:
            Forged: If the secret is wrong or missing.
            BadBody: If the form is not accepted.

        """
        header = request.headers.get(SECRET_HEADER)
        if header is not None and not self._is_genuine(from_header(header)):
            raise Forged  # without reading the form
        if request.method == "GET":
            form = first_values(request.query.items())
        else:
            form = await self._bodies.read(request, hold, proved=header is not None)
        if header is None:
            self._check_secret(form)
        return form

    def _complete_form(self, header: str | None, body: bytes, hold: Hold | None) -> Form:
        """Do the same as `_form` for a POST that has arrived completely."""
        if header is not None and not self._is_genuine(from_header(header)):
            raise Forged
        form = fields(body)
        if header is None:
            self._check_secret(form)
        if hold is not None:
            hold.take(len(body))
        return form

    def _check_secret(self, form: Form) -> None:
        if not self._is_genuine(form.get("secret") or form.get("security_token") or ""):
            raise Forged

    def _is_genuine(self, given: str) -> bool:
        """Compare a secret with all accepted ones, in a time that does not reveal a match."""
        # Compare bytes, since compare_digest raises for text outside ASCII; a query may even
        # contain bytes that are not UTF-8.
        secret = given.encode(errors="surrogateescape")
        fits = False
        for known in self._calls.secrets:
            fits |= hmac.compare_digest(secret, known.encode())
        return fits
