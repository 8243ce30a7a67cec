"""The log lines about decisions and the ends of connections, and which of them are left out."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from djhookbox.server.config import ConfigError, ServerConfig
from djhookbox.server.core.model import User
from djhookbox.server.site.decision_log import DecisionLog, Sample
from djhookbox.server.site.webhooks import WebhookFailed, reply_to
from djhookbox.wire import webhooks
from djhookbox.wire.closing import ABNORMAL, NORMAL, TOO_SLOW
from djhookbox.wire.jsonlog import JSONFormatter
from djhookbox.wire.options import UserOptions
from djhookbox.wire.webhooks import Webhook

from .rig import FakeConnection, Rig
from .test_webhooks import App, Start, connection
from .test_webhooks import site as site
from .test_webhooks import start as start

#: By their hashes, the first belongs to half of all connections, and the second does not.
INSIDE = next(f"c{n}" for n in range(99) if Sample(0.5).has(f"c{n}"))
OUTSIDE = next(f"c{n}" for n in range(99) if not Sample(0.5).has(f"c{n}"))


class Lines(logging.Handler):
    """Keeps what the loggers of the server write, as JSON and as text."""

    def __init__(self) -> None:
        super().__init__()
        self.json: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self._formatter = JSONFormatter()

    def emit(self, record: logging.LogRecord) -> None:
        self.json.append(json.loads(self._formatter.format(record)))
        self.texts.append(record.getMessage())


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger = logging.getLogger("djhookbox.server")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(before)
    logger.removeHandler(handler)


def client(name: str, user: str = "alice") -> FakeConnection:
    made = connection(user=user)
    made.id = name
    return made


def write(share: float, webhook: Webhook[Any], reply: list[Any], name: str = INSIDE) -> None:
    DecisionLog(share).write(webhook, client(name), reply_to(webhook, reply), 0.0123)


SUBSCRIBE = webhooks.Subscribe("/chat/1/", "alice")
ALLOWED = [True, {"decided_by": "policy:Chat"}]
REFUSED = [False, {"error": "No.", "code": "refused", "decided_by": "handler:chat.Chat"}]


def test_a_line_has_all_facts(lines: Lines) -> None:
    write(1, SUBSCRIBE, ALLOWED)
    line = lines.json[0]
    del line["time"]
    assert line == {
        "level": "info", "logger": "djhookbox.server.decisions", "connection": INSIDE,
        "message": "alice subscribe /chat/1/: allowed by policy:Chat in 12 ms",
        "user": "alice", "channel": "/chat/1/", "operation": "subscribe", "allowed": True,
        "decided_by": "policy:Chat", "duration_ms": 12.3, "transport": "websocket",
        "webhook": "subscribe",
    }  # fmt: skip


def test_refusals_have_a_reason(lines: Lines) -> None:
    write(0, SUBSCRIBE, REFUSED, OUTSIDE)
    assert lines.texts == [
        "alice subscribe /chat/1/: refused (No.) by handler:chat.Chat in 12 ms"
    ]  # fmt: skip
    assert lines.json[0]["allowed"] is False
    assert (lines.json[0]["reason"], lines.json[0]["refusal"]) == ("No.", "refused")


@pytest.mark.parametrize(
    ("share", "name", "logged"),
    [(0, INSIDE, 0), (0.5, INSIDE, 1), (0.5, OUTSIDE, 0), (1, OUTSIDE, 1)],
)
def test_only_permissions_are_sampled(lines: Lines, share: float, name: str, logged: int) -> None:
    write(share, SUBSCRIBE, ALLOWED, name)
    assert len(lines.json) == logged
    write(share, SUBSCRIBE, REFUSED, name)
    assert len(lines.json) == logged + 1


def test_a_site_that_does_not_answer(lines: Lines) -> None:
    DecisionLog(0).write(SUBSCRIBE, client(OUTSIDE), WebhookFailed(), 5.0)
    assert lines.json[0]["refusal"] == "unavailable"
    assert lines.json[0]["allowed"] is False


def test_each_of_many_channels_has_its_line(lines: Lines) -> None:
    wanted = tuple(webhooks.Wanted(name, create=True) for name in ("/a/", "/b/"))
    webhook = webhooks.SubscribeMany(wanted, "alice")
    write(1, webhook, [True, {"channels": {
        "/a/": {"create": ALLOWED, "subscribe": REFUSED}, "/b/": {"create": [False, {}]},
    }}])  # fmt: skip
    found = [(one["operation"], one["channel"], one["allowed"]) for one in lines.json]
    assert found == [("create", "/a/", True), ("subscribe", "/a/", False), ("create", "/b/", False)]
    assert "decided_by" not in lines.json[2]
    lines.json.clear()
    write(0, webhook, [False, {"error": "session expired", "code": "session_expired"}])
    assert [one["channel"] for one in lines.json] == ["/a/", "/b/"]


def test_the_line_of_a_connect_names_the_user(lines: Lines) -> None:
    webhook = webhooks.Connect()
    anonymous = client(INSIDE, user="")
    reply = reply_to(webhook, [True, {"name": "carol", "decided_by": ""}])
    DecisionLog(1).write(webhook, anonymous, reply, 0)
    assert (lines.json[0]["user"], lines.json[0]["operation"]) == ("carol", "connect")


def test_what_a_name_contains_cannot_forge_a_line(lines: Lines) -> None:
    write(1, webhooks.Subscribe("/a\nINFO forged/", "x"), ALLOWED)
    assert "\n" not in lines.texts[0]
    assert lines.json[0]["channel"] == "/a\nINFO forged/", "JSON escapes it itself"


# ---- the site is asked, and the ends of connections


async def test_the_site_is_asked_who_decided_only_if_that_is_logged(
    site: App, start: Start, lines: Lines
) -> None:
    site.answer = ALLOWED
    quiet = await start(site.url)
    await quiet.send(SUBSCRIBE, client(INSIDE))
    assert lines.json == []
    loud = await start(site.url, log_sample=1.0)
    await loud.send(SUBSCRIBE, client(INSIDE))
    asked = [request.headers.get("X-Hookbox-Explain") for request, _form in site.requests]
    assert asked == [None, "1"]
    assert [one["decided_by"] for one in lines.json] == ["policy:Chat"]
    assert lines.json[0]["duration_ms"] > 0
    await loud.send(webhooks.Events("[]"), None)
    assert len(lines.json) == 1, "a report is no decision"


@pytest.mark.parametrize(
    ("share", "name", "end", "logged"),
    [
        (None, OUTSIDE, NORMAL, True), (0.5, INSIDE, NORMAL, True), (0.5, OUTSIDE, NORMAL, False),
        (0.0, OUTSIDE, ABNORMAL, True), (0.0, OUTSIDE, TOO_SLOW, True),
    ],
)  # fmt: skip
async def test_ends_that_are_usual_are_sampled(
    make_rig: Any, lines: Lines, share: float | None, name: str, end: Any, logged: bool
) -> None:
    rig: Rig = make_rig(log_sample=share)
    bob = rig.client()
    bob.id = name
    bob.user = User("bob", UserOptions())
    lines.json.clear()
    rig.server.clients.leaving.ended(bob, end)
    found = [one for one in lines.json if "code" in one]
    assert [one["code"] for one in found] == [end.code] * logged
    if found:
        assert {"connection", "user", "transport", "duration_ms"} <= set(found[0])


def test_a_share_is_a_share() -> None:
    assert ServerConfig(log_sample=0).log_sample == 0
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="log_sample must be between 0 and 1"):
            ServerConfig(log_sample=wrong)
