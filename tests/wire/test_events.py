"""Events as JSON and back, and what the documentation says about them."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from djhookbox.wire import events

DOCS = Path(__file__).resolve().parents[2] / "docs" / "protocol.rst"

EXAMPLES: list[Any] = [
    events.Disconnected("alice", "c1", 1001, "bye", 2.5, "websocket", "10.0.0.1"),
    events.Disconnected(last=True),
    events.Disconnected(),
    events.Subscribed("/a/", "älice", "c1", "client"),
    events.Unsubscribed("/a/", "alice", "", "policy", "edited"),
    events.Unsubscribed("/a/", "alice", "c1", "client", signal=True),
    events.Destroyed("/a/"),
    events.Published("/a/", "alice", "c1", "client", 0, {"a": None}),
    events.Published("/a/", payload_size=3_000_000),
    events.Published("/a/", payload=False),
    events.Delivered(7, 0),
    events.Measured(
        60.0, 59.5, 3, 2, 1, 10, 20, 300, 4, 0, 0, 1, 0, {"1000": 2}, {"subscribe": 1},
        {"connect": {"answered": (1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2)}},
    ),
    events.Stopped(),
]  # fmt: skip


def test_there_is_an_example_of_each() -> None:
    assert {type(example) for example in EXAMPLES} == set(events.ALL)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.kind)
def test_every_event_survives_its_json(event: Any) -> None:
    text = events.write(event, 5, 1.25)
    assert text.isascii()
    data = json.loads(text)
    assert (data["event"], data["id"], data["at"]) == (event.kind, 5, 1.25)
    assert None not in data.values()
    assert events.read(data) == event


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (5, "event must be an object"),
        ({}, "unknown kind"),
        ({"event": ["publish"]}, "unknown kind"),
        ({"event": "publish"}, "channel_name is missing"),
        ({"event": "delivered", "publication": "1", "delivered": 1}, "publication must be a whole"),
        ({"event": "disconnect", "user": 5}, "user must be a string"),
    ],
)
def test_what_is_none_says_why(data: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        events.read(data)


@pytest.mark.parametrize("kind", events.ALL, ids=lambda kind: kind.kind)
def test_the_documentation_lists_every_field(kind: Any) -> None:
    (row,) = re.findall(rf'^ *{{"event": "{kind.kind}"(.*)}}$', DOCS.read_text(), re.MULTILINE)
    optional = {"payload_size"} if kind is events.Published else set()  # described in the text
    assert {each.name for each in dataclasses.fields(kind)} - optional <= set(
        re.findall(r'"(\w+)"', row)
    )
