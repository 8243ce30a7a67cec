"""Publications whose form repeats an earlier one are those that decoding all of it gives."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from djhookbox.server.channels.outcomes import Applied, ChannelGone
from djhookbox.server.rest import repeated
from djhookbox.server.rest.bodies import fields
from djhookbox.server.rest.repeated import Repeated
from djhookbox.wire import answers, records, rest
from djhookbox.wire.values import dumps

from .engines import FarEngine
from .rig import Rig

SECRETS = ("s", "old")
BEGINNING = b"secret=s&channel_name=%2Fa%2F&recorded=1&options=%7B%22history_size%22%3A+2%7D"
FIRST = BEGINNING + b"&payload=1"


def kept(first: bytes = FIRST, header: str | None = None) -> Repeated:
    found = Repeated()
    found.keep(header, first, SECRETS)
    return found


@pytest.mark.parametrize(
    "message",
    [
        b"&payload=1",
        b"&payload=%7B%22x%22%3A+%22%C3%BC%22%7D",
        b"&payload=%22a%26b%3Dc%22",
        b"&payload==&made=1764280000.25",
        b"&payload=2&made=3&traceparent=00-a-b-01",
        b"&payload=2&traceparent=&made=",
        b"&payload=2&%6dade=3",
    ],
)
def test_a_repeated_form_is_read_as_when_it_is_decoded(message: bytes) -> None:
    found = kept().read(None, BEGINNING + message, SECRETS)
    assert found is not None
    request, text = found
    decoded = records.from_form(rest.Publish, fields(BEGINNING + message))
    assert replace(request, payload=text) == decoded


@pytest.mark.parametrize(
    "body",
    [
        BEGINNING,
        BEGINNING.replace(b"s&", b"x&", 1) + b"&payload=1",
        BEGINNING + b"&payload=",
        BEGINNING + b"&payload=&payload=2",
        BEGINNING + b"&payload=1&payload=2",
        BEGINNING + b"&payload=%ff",
        BEGINNING + b"&payload=1&made=x",
        BEGINNING + b"&payload=1&made=null",
        BEGINNING + b"&payload=1&made=NaN",
        BEGINNING + b"&payload=1&key=k",
        BEGINNING + b"&payload=1&send_hook=1",
        BEGINNING + b"&payload=1&originator=bob",
        BEGINNING + b"&payload=1&secret=s",
        BEGINNING + b"&payload=1&made=1&&",
        b"payload=2&" + FIRST,
        BEGINNING + b"&originator=bob&payload=1",
    ],
)
def test_other_forms_are_decoded(body: bytes) -> None:
    assert kept().read(None, body, SECRETS) is None


@pytest.mark.parametrize(
    "first",
    [
        BEGINNING,
        b"channel_name=%2Fa%2F&payload=1&secret=s",
        b"security_token=x&channel_name=%2Fa%2F&payload=1&secret=s",
        b"payload=1&" + FIRST,
        b"secret=s&%70ayload=2&channel_name=%2Fa%2F&payload=1",
        b"secret=s&channel_name=%2Fa%2F&made=3&payload=1",
        b"secret=s&channel_name=%2Fa%2F&key=k&payload=1",
        b"secret=s&channel_name=%2Fa%2F&send_hook=1&payload=1",
        b"secret=s&channel_name=%2Fa%2F&options=%7B%22state%22%3A%7B%7D%7D&payload=1",
        b"secret=s&channel_name=%2F" + 512 * b"a" + b"%2F&payload=1",
        b"secret=s&payload=1&channel_name=%2Fa%2F",
    ],
)
def test_forms_that_cannot_be_repeated_are_not_kept(first: bytes) -> None:
    assert not kept(first)._kept


def test_a_form_belongs_to_its_header_and_to_the_secrets_of_its_time() -> None:
    assert kept(header="s").read("s", FIRST, SECRETS)
    assert kept(header="s").read(None, FIRST, SECRETS) is None
    assert kept(header="s").read("x", FIRST, SECRETS) is None
    assert kept().read("s", FIRST, SECRETS) is None
    assert kept().read(None, FIRST, ("other",)) is None


def test_the_oldest_form_makes_room_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeated, "MOST_KEPT", 2)
    monkeypatch.setattr(repeated, "REPLACED", 3)
    found = Repeated()
    bodies = [b"secret=s&channel_name=%d&payload=1" % number for number in range(5)]
    for body in bodies[:4]:
        found.keep(None, body, SECRETS)
    assert [found.read(None, body, SECRETS) is not None for body in bodies[:3]] == [1, 1, 0]
    found.keep(None, bodies[4], SECRETS)
    assert [found.read(None, body, SECRETS) is not None for body in bodies] == [0, 1, 0, 0, 1]


async def begin(rig: Rig, body: bytes, header: str | None = None) -> tuple[int, Any]:
    begun = rig.server.service.rest.begin("publish", header, body)
    status, text = await begun if inspect.iscoroutine(begun) else begun  # type: ignore[misc]
    return status, json.loads(text)


def last(rig: Rig) -> Any:
    return rig.hub.channels["/a/"].history[-1].data["payload"]


async def test_repeated_publications_are_answered_and_delivered_as_others(rig: Rig) -> None:
    assert (await begin(rig, FIRST))[1][0]
    answers = []
    for number in (2, 3, 4):
        status, (success, answer) = await begin(rig, BEGINNING + b"&payload=%d" % number)
        assert (status, success, last(rig)) == (200, True, number)
        answers.append(answer)
    assert list(rig.server.service.rest._repeated._kept) == [(None, BEGINNING)]
    # The first form made the channel, and the second was decoded and kept.
    assert [answer.pop("offset") for answer in answers] == [2, 3, 4]
    assert answers[0] == answers[1] == answers[2]
    bad = await begin(rig, BEGINNING + b"&payload=%7B")
    assert bad == await begin(rig, b"secret=s&channel_name=%2Fa%2F&payload=%7B")
    assert bad[1] == [False, {"msg": "Invalid json for payload", "code": "malformed"}]


async def test_what_an_engine_takes_time_for_is_answered_later(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FarEngine()
    rig = make_rig(engine=engine)
    await begin(rig, FIRST)
    rig.server.service.rest._repeated.keep(None, FIRST, rig.calls.secrets)
    assert (await begin(rig, BEGINNING + b"&payload=2"))[1][0]
    assert last(rig) == 2

    late: list[rest.Publish] = []

    async def publish_late(request: rest.Publish) -> answers.Published:
        late.append(request)
        return answers.Published(0)

    async def gone(applied: asyncio.Future[Applied]) -> Applied:
        await applied
        raise ChannelGone

    monkeypatch.setattr(rig.calls.publishing, "_late", publish_late)
    monkeypatch.setattr(rig.server.channels.publications, "answer", gone)
    assert (await begin(rig, BEGINNING + b"&payload=3&made=4"))[1] == [True, {"delivered": 0}]
    assert [(each.payload, each.made) for each in late] == [("3", 4.0)]


async def test_a_secret_that_is_replaced_is_refused(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(allow_set_config=True)
    for _ in range(3):
        assert (await begin(rig, FIRST))[1][0]
    await rig.rest("set_config", rest_secret='"new"')
    assert (await begin(rig, FIRST))[1] == [False, {"msg": "Invalid secret", "code": "secret"}]
    assert (await begin(rig, FIRST.replace(b"=s&", b"=new&", 1)))[1][0]


async def test_a_form_without_its_secret_is_refused(rig: Rig) -> None:
    last_secret = b"channel_name=%2Fa%2F&payload=1&secret=s"
    await begin(rig, FIRST)
    for _ in range(2):
        assert (await begin(rig, last_secret))[1][0]
        assert not (await begin(rig, b"channel_name=%2Fa%2F&payload=1"))[1][0]
        assert (await begin(rig, b"channel_name=%2Fa%2F&payload=1", "s"))[1][0]
        assert not (await begin(rig, b"channel_name=%2Fa%2F&payload=1", "x"))[1][0]


@pytest.mark.parametrize("delivered", [None, 3])
@pytest.mark.parametrize("epoch", [None, 'a"ü'])
@pytest.mark.parametrize("reported", [None, True, False])
def test_answers_are_written_as_other_records(
    delivered: int | None, epoch: str | None, reported: bool | None
) -> None:
    answer = answers.Published(delivered, epoch, None if epoch is None else 5, reported)
    assert answer.json() == dumps(records.write(answer))
