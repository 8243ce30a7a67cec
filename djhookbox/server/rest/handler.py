"""The REST API that the site calls: `/rest/<call>` as in 0.3.3 and `/web/<call>` as in 0.3.4.

Each call takes a form, the secret in a header or among its fields, and answers JSON
`[success, object]`. No call that carries its decided options waits for a webhook.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from ...wire.names import NameProblem
from ...wire.proof import SECRET_HEADER, from_header
from ...wire.values import dumps
from ..config import ServerConfig
from ..core.options import OptionError
from ..site.webhooks import Refusal
from .bodies import BadBody, Bodies, Forged, first_values
from .calls import Calls, NoChannel
from .forms import BadCall

#: What programs of 2011 may call by GET, with the secret in the query: the calls of 0.3.3 but
#: set_config, which could lead the webhooks, with the cookies of all visitors, to anybody.
GET_CALLS = frozenset({
    "publish", "subscribe", "unsubscribe", "get_channel_info", "set_channel_options",
    "state_set_key", "state_delete_key",
})  # fmt: skip

logger = logging.getLogger("djhookbox.server.rest")


def answer(success: bool, value: Mapping[str, Any], status: int = 200) -> web.Response:
    """Return an answer as both versions of Hookbox gave it."""
    return web.Response(
        body=dumps([success, value]).encode(), status=status, content_type="application/json"
    )


class Rest:
    """Checks the secret, finds the call, and turns what it says into an answer.

    Args:
        calls: What can be called.
        config: What a call may be, and how large.

    """

    def __init__(self, calls: Calls, config: ServerConfig) -> None:
        self._calls = calls
        self._config = config
        self._max_size = config.max_payload_size
        # A form writes most bytes of JSON as three.
        self._bodies = Bodies(self._is_genuine, 3 * config.max_payload_size + 1_048_576)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request below /rest/ or /web/."""
        name = request.match_info["call"]
        call: Callable[[Mapping[str, str]], Awaitable[dict[str, Any]]] | None
        call = self._calls.by_name.get(name)
        if call is None:
            return web.Response(status=404, text="Not Found")
        if request.method == "GET" and not (self._config.rest_get and name in GET_CALLS):
            refusal = answer(False, {"msg": "Use POST", "code": "malformed"}, 405)
            refusal.headers["Allow"] = "POST"
            return refusal
        try:
            form = await self._form(request)
        except Forged:
            if not self._calls.secrets:
                logger.warning("A REST call was refused: no REST secret is configured")
            return answer(False, {"msg": "Invalid secret", "code": "secret"})
        except BadBody as problem:
            return answer(False, {"msg": str(problem), "code": problem.code}, problem.status)
        for field, value in form.items():
            size = len(value)
            if 4 * size > self._max_size:  # a character has four bytes at most
                size = len(value.encode("utf-8", "replace"))
            if size > self._max_size:
                text = f"{field} is longer than {self._max_size} bytes"
                return answer(False, {"msg": text, "code": "limit"}, 413)
        try:
            return answer(True, await call(form))
        except NoChannel as error:
            return answer(False, {"msg": str(error), "code": "no_channel"})
        except (BadCall, NameProblem, OptionError) as error:
            return answer(False, {"msg": str(error), "code": "malformed"}, 400)
        except Refusal as refusal:
            status = {"unavailable": 502, "malformed": 400, "forbidden": 403}.get(refusal.code, 409)
            return answer(False, {"msg": refusal.reason, "code": refusal.code}, status)
        except Exception:
            logger.exception("A bug: REST call %s", request.match_info["call"])
            return answer(False, {"msg": "Internal error", "code": "error"}, 500)

    async def _form(self, request: web.Request) -> dict[str, str]:
        """Return the fields of a call that has proved itself.

        Raises:
            Forged: It has not.
            BadBody: Its form is not taken.

        """
        header = request.headers.get(SECRET_HEADER)
        if header is not None and not self._is_genuine(from_header(header)):
            raise Forged  # without a look at the form
        if request.method == "GET":
            form = first_values(request.query.items())
        else:
            form = await self._bodies.read(request, proved=header is not None)
        given = form.get("secret") or form.get("security_token") or ""
        if header is None and not self._is_genuine(given):
            raise Forged
        return form

    def _is_genuine(self, given: str) -> bool:
        """Compare with every accepted secret, in a time that does not tell which one fits."""
        # Bytes, since compare_digest raises for text outside ASCII; a query may even hold what
        # is not UTF-8.
        secret = given.encode(errors="surrogateescape")
        fits = [hmac.compare_digest(secret, known.encode()) for known in self._calls.secrets]
        return any(fits)
