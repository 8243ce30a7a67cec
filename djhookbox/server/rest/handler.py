"""The REST API that the site calls: `/rest/<call>` as in 0.3.3 and `/web/<call>` as in 0.3.4.

Each call takes a form (or, as in the original, a query), the secret among its fields, and
answers JSON `[success, object]`. No call that carries its decided options waits for a webhook.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from ...wire.names import NameProblem
from ...wire.values import dumps
from ..core.options import OptionError
from ..site.webhooks import Refusal
from .calls import Calls, NoChannel
from .forms import BadCall

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
        max_size: Bytes that one field of a form may have.

    """

    def __init__(self, calls: Calls, max_size: int) -> None:
        self._calls = calls
        self._max_size = max_size

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request below /rest/ or /web/."""
        call: Callable[[Mapping[str, str]], Awaitable[dict[str, Any]]] | None
        call = self._calls.by_name.get(request.match_info["call"])
        if call is None:
            return web.Response(status=404, text="Not Found")
        form = await _form(request)
        if form is None:
            return answer(False, {"msg": "The form is not UTF-8", "code": "malformed"}, 400)
        given = form.get("secret") or form.get("security_token") or ""
        # Bytes, since compare_digest raises for text outside ASCII; a query may even hold what
        # is not UTF-8.
        secret = given.encode(errors="surrogateescape")
        if not any(hmac.compare_digest(secret, s.encode()) for s in self._calls.secrets):
            if not self._calls.secrets:
                logger.warning("A REST call was refused: no REST secret is configured")
            return answer(False, {"msg": "Invalid secret", "code": "secret"})
        for name, value in form.items():
            size = len(value)
            if 4 * size > self._max_size:  # a character has four bytes at most
                size = len(value.encode("utf-8", "replace"))
            if size > self._max_size:
                text = f"{name} is longer than {self._max_size} bytes"
                return answer(False, {"msg": text, "code": "limit"}, 413)
        try:
            return answer(True, await call(form))
        except NoChannel as error:
            return answer(False, {"msg": str(error), "code": "no_channel"})
        except (BadCall, NameProblem, OptionError) as error:
            return answer(False, {"msg": str(error), "code": "malformed"}, 400)
        except Refusal as refusal:
            status = {"unavailable": 502, "malformed": 400}.get(refusal.code, 409)
            return answer(False, {"msg": refusal.reason, "code": refusal.code}, status)
        except Exception:
            logger.exception("A bug: REST call %s", request.match_info["call"])
            return answer(False, {"msg": "Internal error", "code": "error"}, 500)


async def _form(request: web.Request) -> dict[str, str] | None:
    """Return the first value of each field that is not empty; None if it is not UTF-8."""
    if request.method == "GET":
        pairs = list(request.query.items())
    else:
        try:
            text = (await request.read()).decode("utf-8")
            pairs = parse_qsl(text, errors="strict", max_num_fields=1000)
        except ValueError:
            return None
    form: dict[str, str] = {}
    for name, value in pairs:
        if value:
            form.setdefault(name, value)
    return form
