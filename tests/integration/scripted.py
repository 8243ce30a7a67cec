"""A web application in place of the site, which gives webhooks the answers that a test sets."""

from __future__ import annotations

import json
import threading
from typing import Any

from ..stand_ins.process import Answer, FakeHookbox, Request
from ..stand_ins.site import Site
from ..stand_ins.waiting import wait_for
from .processes import Hookbox

ORIGIN = "http://127.0.0.1"

#: A Hookbox process and the script that is its site.
Lonely = tuple[Hookbox, FakeHookbox]


def yes(request: Request) -> Answer:
    """Answer as a site that allows everything.

    The name is the payload of CONNECT; channels below /open/ are not moderated.
    """
    site = Site({"events"})
    site.answers["connect"] = lambda fields: {"name": site.name(fields) or "alice"}
    site.answers["create_channel"] = lambda fields: {
        "moderated": not fields["channel_name"].startswith("/open/")
    }
    return Answer(body=json.dumps(site.answer(request.form)), headers=site.headers)


class Held:
    """Holds back the answers to one webhook until a test releases them."""

    def __init__(self, script: FakeHookbox, hook: str, answer: Answer | None = None) -> None:
        self.reached = threading.Event()
        self.released = threading.Event()

        def reply(request: Request) -> Answer:
            if request.call != hook:
                return yes(request)
            self.reached.set()
            self.released.wait(5)
            return answer or yes(request)

        script.answer = reply


def event(script: FakeHookbox, **fields: Any) -> dict[str, Any]:
    """Wait until an event with these fields is reported."""

    def find() -> dict[str, Any] | None:
        for request in list(script.requests):
            if request.call == "events":
                for reported in json.loads(request.form["events"]):
                    if fields.items() <= reported.items():
                        found: dict[str, Any] = reported
                        return found
        return None

    return wait_for(find, f"the event {fields}", 10) or {}
