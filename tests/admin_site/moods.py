"""The state of the site's Hookbox process, which a cookie of the browser selects."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from djhookbox.client import calls
from djhookbox.exceptions import HookboxMisconfigured, HookboxRefused
from djhookbox.process import control
from djhookbox.process.control import ProcessStatus, State
from tests.admin.stand_in import NASTY, Hookbox

#: Nothing inline, and from nowhere else. The addresses of the process are those of the README.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; frame-ancestors 'self'; base-uri 'none'; connect-src 'self' "
    f"ws://127.0.0.1:{settings.HOOKBOX_PORT} http://127.0.0.1:{settings.HOOKBOX_PORT}"
)

MOODS = ("running", "stopped", "starting", "unreachable", "secret", "version", "genuine", "other")

_now = threading.local()


class Process(Hookbox):
    """Stands in for the process, in the mood of the request."""

    def __call__(
        self, call: str, seconds: float | None = None, base: str | None = None, /, **form: Any
    ) -> dict[str, Any]:
        mood = getattr(_now, "mood", "running")
        self.running = mood not in ("stopped", "starting", "unreachable")
        if mood == "secret":
            raise HookboxMisconfigured("The secret is another.", status=200, code="secret")
        if mood == "other":
            raise HookboxMisconfigured("Something else answers.", status=200)
        if mood == "genuine" and call != "get_channel_info":
            raise HookboxRefused("It cannot do that.", status=500, code="unsupported")
        answer = super().__call__(call, **form)
        if mood == "version" and "version" in answer:
            answer = {"version": "0.9.0", "connections": 3}
        return answer


def install() -> None:
    """Put the stand-in in the place of the process."""
    stand_in = Process()
    stand_in.live = {"/front/": 3, "/news/today/": 120, **dict.fromkeys(NASTY, 1)}
    stand_in.answers["list_connections"] = {
        "total": 2,
        "connections": [
            {"conn_id": "9f3c" * 8, "transport": "websocket", "since": 1.7e9,
             "channels": ["/front/", *NASTY]},
            {"conn_id": "c1", "transport": "csp", "since": 1.7e9, "channels": ["/front/"]},
        ],
    }  # fmt: skip
    stand_in.answers["disconnect"] = {"disconnected": 2}
    stand_in.answers["get_channel_info"] = {
        "subscribers": ["alice", "bob", "‮ليلى"],
        "options": {
            "history": [["PUBLISH", {"user": "alice", "payload": {"text": "hello " * 40}}]],
            "history_size": 3, "state": {"topic": "news"}, "presenceful": True,
        },
    }  # fmt: skip
    stand_in.answers["tail"] = {
        "kept": True,
        "publications": [
            {"offset": 12, "at": 1.7e9, "user": "‮ليلى", "payload": '{"text": "مرحبا"}'},
            {"offset": 11, "at": 1.7e9 - 3, "user": "alice", "payload": '{"text": "hello"}'},
            {"offset": 10, "at": 1.7e9 - 9, "payload": None},
        ],
    }
    calls.rest_call = stand_in
    control.status = _described(control.status)


def _described(status: Callable[..., ProcessStatus]) -> Callable[..., ProcessStatus]:
    """Let the process be this site's, and start for ever, if the mood requires it."""

    def described(*args: Any) -> ProcessStatus:
        now = status(*args)
        mood = getattr(_now, "mood", "running")
        states = {"starting": State.STARTING, "unreachable": State.UNREACHABLE}
        if mood in ("other", "stopped"):
            return now
        return dataclasses.replace(now, identified=True, state=states.get(mood, now.state))

    return described


def middleware(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Note the mood, and send the policy."""

    def handle(request: HttpRequest) -> HttpResponse:
        _now.mood = request.COOKIES.get("mood", "running")
        response = get_response(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    return handle
