"""Replies as JSON and back, and what becomes of those that other applications send."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from djhookbox.wire import replies, values, webhooks
from djhookbox.wire.fields import ABSENT, Fault, FieldProblem
from djhookbox.wire.replies import (
    BatchReply,
    ConfirmReply,
    ConnectReply,
    CreateReply,
    Decided,
    EmptyReply,
    EventsReply,
    MessageReply,
    MoreReply,
    PublishReply,
    Rechecked,
    RecheckReply,
    Refused,
    SubscribeManyReply,
    SubscribeReply,
    UnsubscribeReply,
    Unusable,
    WrongShape,
)
from djhookbox.wire.streams import Entry, Key, Pulled, StreamPart

DOCS = Path(__file__).resolve().parents[2] / "docs" / "protocol.rst"

EXAMPLES: list[Any] = [
    ConnectReply(
        "alice",
        identity="session:1",
        single_use=300,
        expires=1800.5,
        payload="a",
        override_payload=None,
        reflective=False,
        moderated_message=False,
        per_connection_subscriptions=True,
        global_unsubscriptions=True,
        auto_subscribe=("/a/",),
        auto_unsubscribe=("/b/", "/c/"),
    ),
    ConnectReply("alice"),
    CreateReply({"history_size": 5, "state": {"a": [1, None]}}),
    CreateReply(),
    SubscribeReply(None, ("/a/",)),
    SubscribeReply([1]),
    UnsubscribeReply(auto_unsubscribe=("/a/",)),
    PublishReply(None, True, 7, ("/a/",)),
    PublishReply(),
    MessageReply({"a": 1}, "bob", (), ("/a/",)),
    BatchReply(([200, [True, {}]], None)),
    ConfirmReply(3, ("c1", "c2"), ("c3",), {"c4": 60.5}),
    MoreReply(True),
    EventsReply(True, 7),
    EmptyReply(),
    RecheckReply({"/a/": Rechecked({"moderated": True}, {"alice": "not you"}), "/b/": Rechecked()}),
    SubscribeManyReply({
        "/a/": Decided(CreateReply({"moderated": True}), SubscribeReply(5, ("/b/",))),
        "/b/": Decided(subscribe=Refused("not you", "special")),
        "/c/": Decided(Refused("nobody")),
    }),
    Pulled(
        "i1", 7, "t", 6, False, True,
        (Entry(7, 2, "[1]", "/a/", "e1", "alice", "c1", "k", 1.5, 0.25),),
        (StreamPart("/a/", "e1", 2, 3, True, (Entry(6, 1, "1"),)), StreamPart("/b/", "i1-6")),
        (Key("/a/", "k", "e1", 2, 7), Key("/b/", "l", error="too late")),
    ),
    Refused("no", "limit"),
]  # fmt: skip


def test_every_webhook_has_a_reply_and_an_example() -> None:
    kinds = {webhook.reply for webhook in webhooks.ALL}
    assert kinds | {Refused} == {type(example) for example in EXAMPLES}


@pytest.mark.parametrize("reply", EXAMPLES, ids=lambda reply: type(reply).__name__)
def test_every_reply_survives_json(reply: Any) -> None:
    text = values.dumps(replies.write(reply))
    tolerated: list[FieldProblem] = []
    assert replies.read(type(reply), values.loads(text), tolerated) == reply
    assert tolerated == []


def test_what_is_left_out() -> None:
    assert replies.write(ConnectReply("alice")) == [True, {"name": "alice"}]
    assert replies.write(PublishReply()) == [True, {}]
    assert replies.write(SubscribeReply(None)) == [True, {"initial_data": None}]
    assert replies.write(PublishReply(only_to_sender=True)) == [True, {"only_to_sender": True}]
    assert SubscribeReply().initial_data is ABSENT


def test_a_refusal_has_its_reason_twice() -> None:
    refused = [False, {"error": "no", "msg": "no", "code": "limit"}]
    assert replies.write(Refused("no", "limit")) == refused


def test_a_refusal_of_the_site_is_never_without_a_reason() -> None:
    refused = [False, {"error": "Unauthorized", "msg": "Unauthorized", "code": "refused"}]
    assert replies.write(Refused("")) == refused


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({}, Refused("Unauthorized", "refused")),
        ({"msg": "for 2011"}, Refused("Unauthorized", "refused")),
        ({"error": ["x"], "code": 5}, Refused("Unauthorized", "refused")),
        ({"error": None, "code": ""}, Refused("Unauthorized", "refused")),
        ({"error": True}, Refused("Unauthorized", "refused")),
        ({"error": ""}, Refused("", "refused")),
        ({"error": 0}, Refused("0", "refused")),
        ({"error": 1.5}, Refused("1.5", "refused")),
        ({"error": "x", "code": "y", "name": 1}, Refused("x", "y")),
    ],
)
def test_any_refusal_is_one(fields: dict[str, object], refused: Refused) -> None:
    for no in (False, 0, None, "", []):
        assert replies.read(ConnectReply, [no, fields]) == refused


@pytest.mark.parametrize("value", [None, 1, "x", {}, [], [True], [True, {}, 1], [True, []]])
def test_what_is_not_a_reply(value: object) -> None:
    with pytest.raises(WrongShape, match="Invalid response"):
        replies.read(EmptyReply, value)


@pytest.mark.parametrize(
    "given", ["/a/", 5, {}, ["/a/", 5], [""], ["x" * 256], ["a\nb"], [["/a/"]]]
)
@pytest.mark.parametrize("key", ["auto_subscribe", "auto_unsubscribe"])
@pytest.mark.parametrize("kind", [SubscribeReply, UnsubscribeReply, PublishReply, MessageReply])
def test_an_unusable_list_of_channels_costs_nothing_else(
    kind: type[SubscribeReply], key: str, given: object
) -> None:
    tolerated: list[FieldProblem] = []
    assert replies.read(kind, [True, {key: given, "unknown": 1}], tolerated) == kind()
    assert [problem.field.partition("[")[0] for problem in tolerated] == [key]


@pytest.mark.parametrize("given", [1, 0, "", "false", [], {}, "yes"])
def test_an_unusable_only_to_sender_keeps_the_message_from_others(given: object) -> None:
    tolerated: list[FieldProblem] = []
    reply = replies.read(PublishReply, [True, {"only_to_sender": given}], tolerated)
    assert reply == PublishReply(only_to_sender=True)
    assert [problem.fault for problem in tolerated] == [Fault.BOOLEAN]


def test_what_is_only_for_our_server_is_replaced() -> None:
    fields = {"name": "alice", "identity": 5, "single_use": True}
    assert replies.read(ConnectReply, [True, fields]) == ConnectReply("alice")
    assert replies.read(PublishReply, [True, {"publication": "x"}]) == PublishReply()
    assert replies.read(MoreReply, [True, {"more": "x"}]) == MoreReply()


@pytest.mark.parametrize(
    ("kind", "fields", "field"),
    [
        (ConnectReply, {}, "name"),
        (ConnectReply, {"name": None}, "name"),
        (ConnectReply, {"name": ""}, "name"),
        (ConnectReply, {"name": 7}, "name"),
        (ConnectReply, {"name": "alice", "moderated_message": "no"}, "moderated_message"),
        (MessageReply, {"override_recipient_name": ["bob"]}, "override_recipient_name"),
        (RecheckReply, {}, "channels"),
        (RecheckReply, {"channels": []}, "channels"),
        (SubscribeManyReply, {}, "channels"),
        (SubscribeManyReply, {"channels": []}, "channels"),
    ],
)
def test_what_grants_nothing(kind: type[Any], fields: dict[str, object], field: str) -> None:
    with pytest.raises(FieldProblem) as caught:
        replies.read(kind, [True, fields])
    assert caught.value.field == field


def test_each_decision_of_many_counts_for_itself() -> None:
    given = {
        "a": {"create": [True, {}], "subscribe": [True]},
        "b": {"create": True},
        "c": [True, {}],
        "d": {"subscribe": [True, {"auto_subscribe": "x"}]},
    }
    reply = replies.read(SubscribeManyReply, [True, {"channels": given}])
    assert isinstance(reply, SubscribeManyReply)
    a, b, d = (reply.channels[name] for name in "abd")
    assert a.create == CreateReply()
    assert isinstance(a.subscribe, Unusable)
    assert isinstance(b.create, Unusable)
    assert d == Decided(subscribe=SubscribeReply())
    assert "c" not in reply.channels


def test_a_recheck_without_sense_changes_nothing() -> None:
    given = {"a": 5, "b": {"refused": ["alice"], "options": []}, "c": {"refused": {"alice": 5}}}
    reply = replies.read(RecheckReply, [True, {"channels": given}])
    assert reply == RecheckReply({"b": Rechecked(), "c": Rechecked(refused={"alice": 5})})


@pytest.mark.parametrize("webhook", webhooks.ALL, ids=lambda webhook: webhook.name)
def test_the_documentation_lists_every_field(webhook: Any) -> None:
    section = DOCS.read_text().partition("\nReply options\n")[2].partition("\nRefusals contain")[0]
    entries = re.findall(r"^(\w[\w, ]*)\n((?:    .*\n)+)", section, re.MULTILINE)
    found = [text for names, text in entries if webhook.name in names.split(", ")]
    names = {f.name for f in dataclasses.fields(webhook.reply) if not f.metadata.get("spread")}
    assert len(found) == (1 if dataclasses.fields(webhook.reply) else 0)
    text = "".join(found).replace("``auto_*``", "``auto_subscribe``, ``auto_unsubscribe``")
    assert not {name for name in names if f"``{name}``" not in text}
