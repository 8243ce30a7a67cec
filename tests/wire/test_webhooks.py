"""Webhooks as fields and back, and what the documentation says about them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from djhookbox.wire import capabilities, records, webhooks
from djhookbox.wire.fields import Fault, FieldProblem
from djhookbox.wire.streams import Wanted as WantedStream
from djhookbox.wire.webhooks import Caller, Wanted

DOCS = Path(__file__).resolve().parents[2] / "docs" / "protocol.rst"

EXAMPLES: list[Any] = [
    webhooks.Connect('{"a": 1}', "t", "alice", "csp", "::1", "Firefox", "https://example.com"),
    webhooks.Disconnect("alice"),
    webhooks.CreateChannel("/a/"),
    webhooks.DestroyChannel("/a/"),
    webhooks.Subscribe("/a/", "alice"),
    webhooks.SubscribeMany((Wanted("/a/", create=True), Wanted("/b/", subscribe=True)), "alice"),
    webhooks.Unsubscribe("/a/", "alice"),
    webhooks.Publish("/a/", "1", "alice", ""),
    webhooks.Message("alice", "bob", "True", '"hi"'),
    webhooks.Events("[]", "host:8001"),
    webhooks.Recheck({"/a/": ("alice", "bob"), "/b/": ()}),
    webhooks.Prune(),
    webhooks.Outbox("i1", 7, "t", (WantedStream("/a/", "e", 9),), {"/a/": ("k",)}),
    webhooks.Batch((webhooks.Batched({"action": "prune", "conn_id": "c1"}, "sessionid=x"),)),
    webhooks.Confirm((webhooks.Identified("c1", "alice", "session:1", "sessionid=x"),)),
]


def test_there_is_an_example_of_each() -> None:
    assert {type(example) for example in EXAMPLES} == set(webhooks.ALL)


@pytest.mark.parametrize("webhook", EXAMPLES, ids=lambda webhook: webhook.name)
def test_every_webhook_survives_its_fields(webhook: Any) -> None:
    user = getattr(webhook, "user", "") or "alice"
    caller = Caller("c1", user, "session:x")
    fields = webhooks.write(webhook, caller, "hush")
    assert fields["action"] == webhook.name
    assert fields["secret"] == "hush"
    assert all(isinstance(text, str) for text in fields.values())
    read, who = webhooks.read(type(webhook), fields)
    assert who == caller
    assert read == webhook


def test_what_a_webhook_says_goes_before_what_its_connection_says() -> None:
    fields = webhooks.write(webhooks.Subscribe("/a/", "alice"), Caller("c1", "bob"))
    assert fields == {
        "action": "subscribe",
        "channel_name": "/a/",
        "user": "alice",
        "conn_id": "c1",
    }


@pytest.mark.parametrize("webhook", EXAMPLES, ids=lambda webhook: webhook.name)
def test_every_field_that_must_be_there_is_missed(webhook: Any) -> None:
    fields = webhooks.write(webhook)
    for each in dataclasses.fields(webhook):
        if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING:
            name = each.metadata.get("as", each.name)
            rest = {key: text for key, text in fields.items() if key != name}
            with pytest.raises(FieldProblem) as caught:
                webhooks.read(type(webhook), rest)
            assert (caught.value.field, caught.value.fault) == (name, Fault.MISSING)


@pytest.mark.parametrize(
    ("kind", "fields", "problem"),
    [
        (webhooks.CreateChannel, {"channel_name": "a\nb"}, "channel_name must not contain"),
        (webhooks.CreateChannel, {"channel_name": "x" * 256}, "is too long (at most 255"),
        (webhooks.Prune, {"conn_id": "x" * 65}, "conn_id is too long (at most 64 "),
        (webhooks.Connect, {"token": "x" * 2049}, "token is too long (at most 2048 "),
        (webhooks.Recheck, {"channels": "["}, "channels must be JSON"),
        (webhooks.Recheck, {"channels": "[]"}, "channels must be an object"),
        (webhooks.Recheck, {"channels": '{"/a/": "alice"}'}, "channels./a/ must be a list"),
        (webhooks.Recheck, {"channels": '{"/a/": [1]}'}, "channels./a/[0] must be a string"),
        (webhooks.Recheck, {"channels": '{"": []}'}, "channels is missing"),
        (
            webhooks.SubscribeMany,
            {"user": "a", "channels": '[{"channel_name": "/a/", "create": 1}]'},
            "channels[0].create must be true or false",
        ),
        (
            webhooks.SubscribeMany,
            {"user": "a", "channels": '[{"channel_name": "\\u0000"}]'},
            "channels[0].channel_name must not contain",
        ),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(kind: Any, fields: dict[str, str], problem: str) -> None:
    with pytest.raises(FieldProblem, match=re.escape(problem)):
        webhooks.read(kind, fields)


def test_an_empty_payload_is_one() -> None:
    """0.3.3 sends the empty string as nothing."""
    read, _ = webhooks.read(webhooks.Publish, {"channel_name": "/a/", "payload": ""})
    assert read == webhooks.Publish("/a/", "")


def test_what_came_later_is_sent_to_sites_that_know_it_only() -> None:
    later = {webhook.name for webhook in webhooks.ALL} - {w.name for w in webhooks.HOOKBOX}
    assert later | {"message"} < {*capabilities.ALL, capabilities.BATCH, capabilities.CONFIRM}


@pytest.mark.parametrize("kind", webhooks.ALL, ids=lambda kind: kind.name)
def test_the_documentation_lists_every_field(kind: Any) -> None:
    """All but those that each webhook may have."""
    table = DOCS.read_text().partition("\nWebhook ")[2].partition("\nReply options")[0]
    (row,) = re.findall(rf"^{kind.name} {{2,}}(.*)$", table, re.MULTILINE)
    names = {each.metadata.get("as", each.name) for each in dataclasses.fields(kind)}
    missing = {name for name in names - records.write(Caller()).keys() if f"``{name}``" not in row}
    assert not missing
