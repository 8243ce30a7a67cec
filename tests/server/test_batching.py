"""Webhooks that wait for a slot: in which order, in which batches, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from djhookbox.server.config import ServerConfig
from djhookbox.server.metrics import Metrics
from djhookbox.server.refusals import Refusal
from djhookbox.server.site import rush
from djhookbox.server.site import webhooks as module
from djhookbox.server.site.rush import ENOUGH, WITHIN_SECONDS, Rush
from djhookbox.server.site.slots import FIRST, LEAST, Slots
from djhookbox.server.site.webhooks import Rejected, WebhookFailed, Webhooks
from djhookbox.wire import batches, capabilities
from djhookbox.wire.webhooks import (
    CreateChannel,
    DestroyChannel,
    Events,
    Publish,
    SubscribeMany,
    Wanted,
)

from ..stand_ins.waiting import until
from .test_webhooks import connection

ACCEPTS = "json, batch, subscribe_many"


class Site:
    """A site that answers batches; requests wait while it is held."""

    def __init__(self) -> None:
        self.url = ""
        #: The names of the channels in each request that has arrived, and whether it is a batch.
        self.requests: list[tuple[str, list[str]]] = []
        self.calls: list[dict[str, Any]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.accepts = ACCEPTS
        self.status = 200
        self.alone: set[str] = set()
        self.inner_status = 200
        self.text: str | None = None

    async def handle(self, request: web.Request) -> web.Response:
        body = (await request.read()).decode()
        if request.content_type == "application/json":
            fields = json.loads(body)
        else:
            fields = {name: values[0] for name, values in parse_qs(body).items()}
        headers = {"X-Hookbox-Accepts": self.accepts}
        action = request.path.rpartition("/")[2]
        assert fields["action"] == action
        if action != "batch":
            self.requests.append((action, [fields.get("channel_name", "")]))
            await self.go.wait()
            return web.json_response(self.answer(fields), headers=headers)
        assert fields["secret"] == "hush"
        calls = json.loads(fields["calls"])
        self.calls += calls
        names = [call["fields"].get("channel_name", "") for call in calls]
        self.requests.append((action, names))
        await self.go.wait()
        if self.status != 200 or self.text is not None:
            return web.Response(status=self.status, text=self.text or "no", headers=headers)
        answers = [
            None if name in self.alone else [self.inner_status, self.answer(call["fields"])]
            for call, name in zip(calls, names, strict=True)
        ]
        return web.json_response([True, {"answers": answers}], headers=headers)

    def answer(self, fields: dict[str, str]) -> Any:
        if fields.get("channel_name", "").startswith("closed"):
            return [False, {"error": "closed", "code": "refused"}]
        return [True, {}]

    @property
    def batches(self) -> list[list[str]]:
        return [names for action, names in self.requests if action == "batch"]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    application = Site()
    app = web.Application(client_max_size=10_000_000)
    app.router.add_post("/{path:.*}", application.handle)
    async with TestServer(app) as server:
        application.url = str(server.make_url("/hookbox"))
        yield application
        application.go.set()


Start = Callable[..., Awaitable[Webhooks]]


@pytest.fixture
async def start(site: Site) -> AsyncIterator[Start]:
    made: list[Webhooks] = []

    async def make(**config: Any) -> Webhooks:
        config = {
            "webhook_accepts": frozenset({capabilities.BATCH, capabilities.JSON}),
            "webhook_secret": "hush",
            **config,
        }
        webhooks = Webhooks(ServerConfig(webhook_url=site.url, **config), Metrics(0.0))
        await webhooks.start()
        made.append(webhooks)
        return webhooks

    yield make
    for webhooks in made:
        await webhooks.stop()


async def outcome(call: Awaitable[Any]) -> str:
    try:
        reply = await call
    except Refusal as refusal:
        return type(refusal).__name__
    return "granted" if reply.allowed else "refused"


def creations(webhooks: Webhooks, *names: str) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(outcome(webhooks.send(CreateChannel(name)))) for name in names]


async def busy(site: Site, webhooks: Webhooks, slots: int = 0) -> list[asyncio.Task[str]]:
    """Occupy the slots."""
    slots = slots or webhooks._slots.limit
    site.go.clear()
    site.requests.clear()
    tasks = creations(webhooks, *(f"busy{number}" for number in range(slots)))
    await until(lambda: len(site.requests) == slots)
    site.requests.clear()
    return tasks


async def test_what_waits_leaves_together_and_in_order(site: Site, start: Start) -> None:
    webhooks = await start()
    first = await busy(site, webhooks)
    names = [f"room{number}" for number in range(10)] + ["closed"]
    tasks = creations(webhooks, *names)
    site.go.set()
    assert await asyncio.gather(*tasks) == ["granted"] * 10 + ["refused"]
    assert await asyncio.gather(*first) == ["granted"] * FIRST
    assert site.batches == [names]
    assert webhooks._metrics.webhooks_total == FIRST + 1


async def test_calls_take_their_form_when_they_leave(site: Site, start: Start) -> None:
    webhooks = await start()
    first = await busy(site, webhooks)
    client = connection("sid=old; x=\udcff", "alice", "session:old")
    tasks = [
        asyncio.create_task(outcome(webhooks.send(CreateChannel(name), each)))
        for name, each in (("a", client), ("b", None))
    ]
    await asyncio.sleep(0)
    client.cookie, client.identity = "sid=new; x=\udcff", "session:new"
    site.go.set()
    assert await asyncio.gather(*tasks, *first) == ["granted"] * (2 + FIRST)
    assert site.calls == [
        {
            "fields": {
                "action": "create_channel", "channel_name": "a", "conn_id": client.id,
                "user": "alice", "identity": "session:new",
            },
            "cookie": "sid=new; x=?",
        },
        {"fields": {"action": "create_channel", "channel_name": "b"}, "cookie": ""},
    ]  # fmt: skip


async def test_a_batch_is_bounded(site: Site, start: Start, monkeypatch: Any) -> None:
    monkeypatch.setattr(batches, "MAX_CALLS", 7)
    webhooks = await start()
    first = await busy(site, webhooks)
    tasks = creations(webhooks, *(f"room{number}" for number in range(20)))
    site.go.set()
    await asyncio.gather(*tasks, *first)
    assert [len(names) for names in site.batches] == [7, 7, 6]


@pytest.mark.parametrize(("size", "parts"), [(100, [1, 3, 3]), (4, [1, 3, 3])])
async def test_the_answers_of_batches_are_passed_on_in_parts(
    site: Site, start: Start, monkeypatch: pytest.MonkeyPatch, size: int, parts: list[int]
) -> None:
    """The same holds for several batches that are answered at the same time."""
    monkeypatch.setattr(module, "ANSWERS_AT_ONCE", 3)
    monkeypatch.setattr(batches, "MAX_CALLS", size)
    webhooks = await start()
    first = await busy(site, webhooks)
    tasks = creations(webhooks, *(f"room{number}" for number in range(7)))
    done: list[int] = []
    turn = 0

    async def count() -> None:
        nonlocal turn
        while len(done) < len(tasks):
            turn += 1
            await asyncio.sleep(0)

    for task in tasks:
        task.add_done_callback(lambda _: done.append(turn))
    counting = asyncio.create_task(count())
    site.go.set()
    assert await asyncio.gather(*tasks, *first) == ["granted"] * (7 + FIRST)
    await counting
    assert sorted(done.count(number) for number in set(done)) == parts


async def test_a_batch_is_bounded_in_bytes(site: Site, start: Start) -> None:
    webhooks = await start()
    first = await busy(site, webhooks)
    sizes = [100_000, 100_000, 100_000, 300_000, 10]
    tasks = [
        asyncio.create_task(outcome(webhooks.send(Publish(f"{size}", '"' + "x" * size + '"'))))
        for size in sizes
    ]
    site.go.set()
    assert await asyncio.gather(*tasks, *first) == ["granted"] * (5 + FIRST)
    assert sorted(names for _action, names in site.requests) == [
        ["10"], ["100000"], ["100000", "100000"], ["300000"],
    ]  # fmt: skip


async def test_a_decision_about_many_channels_counts_as_many(site: Site, start: Start) -> None:
    webhooks = await start()
    webhooks._slots._each = 0.1 / 20  # twenty decisions in the time for a batch
    first = await busy(site, webhooks)
    many = SubscribeMany(tuple(Wanted(f"{number}") for number in range(15)), "alice")
    tasks = [
        asyncio.create_task(outcome(webhooks.send(many, patience=1 + 14 / 64))) for _ in range(2)
    ] + creations(webhooks, *"abc")
    site.go.set()
    await asyncio.gather(*tasks, *first)
    assert ["", "a", "b", "c"] in site.batches
    assert [len(names) for _action, names in site.requests] in ([1, 4], [4, 1])


async def test_other_sites_get_single_calls_on_all_slots(site: Site, start: Start) -> None:
    webhooks = await start(webhook_accepts=frozenset(), webhook_concurrency=9)
    site.accepts = "json"
    first = await busy(site, webhooks, 9)
    tasks = creations(webhooks, *"ab")
    site.go.set()
    assert await asyncio.gather(*tasks, *first) == ["granted"] * 11
    assert site.batches == []


async def test_calls_that_the_site_wants_alone(site: Site, start: Start) -> None:
    webhooks = await start()
    first = await busy(site, webhooks)
    site.alone = {"a", "closed"}
    tasks = creations(webhooks, "a", "b", "closed", "c")
    site.go.set()
    assert await asyncio.gather(*tasks) == ["granted", "granted", "refused", "granted"]
    await asyncio.gather(*first)
    assert site.requests == [
        ("batch", ["a", "b", "closed", "c"]),
        ("create_channel", ["a"]),
        ("create_channel", ["closed"]),
    ]


async def test_a_kind_of_webhook_that_is_always_wanted_alone(site: Site, start: Start) -> None:
    webhooks = await start()
    first = await busy(site, webhooks)
    site.alone = {"a", "b"}
    tasks = creations(webhooks, "a", "b")
    site.go.set()
    await asyncio.gather(*tasks, *first)
    assert len(site.batches) == 1
    for _ in range(2):
        first = await busy(site, webhooks)
        tasks = creations(webhooks, "a", "b")
        site.go.set()
        await asyncio.gather(*tasks, *first)
        assert site.batches == []  # not asked again for a while
        site.requests.clear()


@pytest.mark.parametrize(
    ("status", "expected"), [(400, "Rejected"), (413, "Rejected"), (500, "WebhookFailed")]
)
async def test_a_call_that_fails_in_a_batch(
    status: int, expected: str, site: Site, start: Start, caplog: Any
) -> None:
    webhooks = await start()
    first = await busy(site, webhooks)
    site.inner_status = status
    tasks = creations(webhooks, "closed1", "closed2")
    site.go.set()
    assert await asyncio.gather(*tasks) == [expected] * 2
    await asyncio.gather(*first)
    assert "Webhook create_channel to" in caplog.text
    if status != 500:
        assert "the site says: closed" in caplog.text


@pytest.mark.parametrize("status", [500, 503])
async def test_a_batch_that_fails_grants_nothing(site: Site, start: Start, status: int) -> None:
    webhooks = await start()
    first = await busy(site, webhooks)
    site.status = status
    tasks = creations(webhooks, *"abc")
    site.go.set()
    assert await asyncio.gather(*tasks) == ["WebhookFailed"] * 3
    await asyncio.gather(*first)
    assert [action for action, _names in site.requests] == ["batch"]  # nothing is made again


async def test_a_batch_that_is_not_answered_grants_nothing(
    site: Site, start: Start, caplog: Any
) -> None:
    webhooks = await start(webhook_timeout=0.3)
    first = await busy(site, webhooks)
    tasks = creations(webhooks, *"abc")
    assert await asyncio.gather(*tasks, *first) == ["WebhookFailed"] * (3 + FIRST)
    assert "Webhook batch to" in caplog.text
    assert "no answer within 0.3 s" in caplog.text


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (403, None), (404, None), (405, None), (413, None), (302, None),
        (200, "[true, {}]"), (200, '[true, {"answers": [null]}]'), (200, "<html>"),
        (200, '[false, {"error": "no"}]'), (200, '[true, {"answers": [1, 2, 3]}]'),
    ],
)  # fmt: skip
async def test_what_refuses_batches_gets_single_calls(
    site: Site, start: Start, status: int, text: str | None, caplog: Any
) -> None:
    webhooks = await start()
    first = await busy(site, webhooks)
    site.status, site.text = status, text
    tasks = creations(webhooks, "a", "closed", "c")
    site.go.set()
    assert await asyncio.gather(*tasks) == ["granted", "refused", "granted"]
    await asyncio.gather(*first)
    assert len(site.batches) == 1
    assert "its calls are made alone" in caplog.text
    first = await busy(site, webhooks)
    tasks = creations(webhooks, *"abcdef")
    site.go.set()
    await asyncio.gather(*tasks, *first)
    assert site.batches == []


async def test_waiting_ends(site: Site, start: Start, monkeypatch: Any, caplog: Any) -> None:
    monkeypatch.setattr(module, "MAX_QUEUE_SECONDS", 0.05)
    webhooks = await start()
    first = await busy(site, webhooks)
    tasks = creations(webhooks, *"abc")
    assert await asyncio.gather(*tasks) == ["WebhookFailed"] * 3
    assert "waited too long for its turn" in caplog.text
    site.go.set()
    await asyncio.gather(*first)
    assert site.requests == []  # nobody waits for them anymore


async def test_a_client_that_has_gone_costs_nothing(site: Site, start: Start) -> None:
    webhooks = await start()
    first = await busy(site, webhooks)
    tasks = creations(webhooks, *"abc")
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(tasks[1], return_exceptions=True)
    site.go.set()
    assert await asyncio.gather(tasks[0], tasks[2]) == ["granted"] * 2
    await asyncio.gather(*first)
    assert site.batches == [["a", "c"]]


async def test_stopping_ends_everything(site: Site, start: Start) -> None:
    webhooks = await start()
    first = await busy(site, webhooks)
    for task in first[:1]:
        task.cancel()
    await until(lambda: webhooks._slots.has_free(adaptive=True))
    tasks = creations(webhooks, "sent")  # makes the number of slots complete again
    await until(lambda: len(site.requests) == 1)
    tasks += creations(webhooks, *"abc")
    await asyncio.sleep(0)
    first[1].cancel()
    await until(lambda: len(site.requests) == 2)  # a batch is in flight
    tasks += creations(webhooks, *"de")
    await asyncio.sleep(0)
    await webhooks.stop()
    assert await asyncio.gather(*tasks) == ["WebhookFailed"] * 6


async def test_events_have_their_own_slot(site: Site, start: Start) -> None:
    webhooks = await start(webhook_concurrency=1)
    first = await busy(site, webhooks, 1)
    report = asyncio.create_task(outcome(webhooks.send(Events("[]"))))
    await until(lambda: [action for action, _ in site.requests] == ["events"])
    site.go.set()
    assert await asyncio.gather(report, *first) == ["granted"] * 2


async def test_waiting_calls_have_no_tasks(site: Site, start: Start) -> None:
    webhooks = await start()
    first = await busy(site, webhooks)
    before = len(asyncio.all_tasks())
    tasks = creations(webhooks, *(f"{number}" for number in range(50)))
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before + 50  # those of this test
    site.go.set()
    await asyncio.gather(*tasks, *first)


@pytest.mark.parametrize("webhook", [CreateChannel("a"), DestroyChannel("a")])
async def test_a_lone_call_is_not_a_batch(site: Site, start: Start, webhook: Any) -> None:
    webhooks = await start()
    first = await busy(site, webhooks)
    task = asyncio.create_task(outcome(webhooks.send(webhook)))
    site.go.set()
    assert await task == "granted"
    await asyncio.gather(*first)
    assert [action for action, _ in site.requests] == [webhook.name]


async def test_rejections_keep_their_class() -> None:
    assert issubclass(Rejected, WebhookFailed)


# ---- the number of slots


# ---- many calls at once, while slots are free ------------------------------


@pytest.fixture
def patient_rush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count calls as many at once even on a machine that is busy."""
    monkeypatch.setattr(rush, "WITHIN_SECONDS", 600.0)


@pytest.mark.usefixtures("patient_rush")
async def test_in_a_rush_calls_leave_together_although_slots_are_free(
    site: Site, start: Start
) -> None:
    webhooks = await start()
    webhooks._slots._limit = 30.0
    names = [f"c{number}" for number in range(ENOUGH + 10)]
    calls = creations(webhooks, *names)
    assert await asyncio.gather(*calls) == ["granted"] * len(names)
    assert site.batches == [names[ENOUGH:]]
    assert webhooks.waiting == 0


@pytest.mark.usefixtures("patient_rush")
async def test_a_complete_batch_is_not_held(
    site: Site, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rush, "HOLD_SECONDS", 600.0)
    webhooks = await start()
    webhooks._slots._limit = 30.0
    whole = webhooks._slots.weight_of_a_batch
    calls = creations(webhooks, *(f"c{number}" for number in range(ENOUGH + whole)))
    assert await asyncio.gather(*calls) == ["granted"] * len(calls)
    assert [len(names) for names in site.batches] == [whole]


@pytest.mark.usefixtures("patient_rush")
async def test_a_site_that_takes_no_batches_is_not_made_to_wait(
    site: Site, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rush, "HOLD_SECONDS", 600.0)
    site.accepts = "json"
    webhooks = await start(webhook_accepts=frozenset({capabilities.JSON}))
    calls = creations(webhooks, *(f"c{number}" for number in range(3 * ENOUGH)))
    assert await asyncio.gather(*calls) == ["granted"] * len(calls)
    assert site.batches == []


@pytest.mark.usefixtures("patient_rush")
async def test_what_is_held_fails_when_the_server_stops(
    site: Site, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rush, "HOLD_SECONDS", 600.0)
    webhooks = await start()
    webhooks._slots._limit = 30.0
    calls = creations(webhooks, *(f"c{number}" for number in range(ENOUGH + 3)))
    await until(lambda: webhooks.waiting == 3)
    await webhooks.stop()
    assert (await asyncio.gather(*calls))[ENOUGH:] == ["WebhookFailed"] * 3


def test_a_rush_is_many_calls_within_a_short_time() -> None:
    found = Rush(lambda: None)
    slow = [found.notice(now * 1.01 * WITHIN_SECONDS / ENOUGH) for now in range(3 * ENOUGH)]
    assert not any(slow)
    fast = [found.notice(100 + now * WITHIN_SECONDS / ENOUGH / 2) for now in range(3 * ENOUGH)]
    assert fast == [False] * ENOUGH + [True] * 2 * ENOUGH
    assert not found.notice(200)


def test_slots_begin_with_few_and_grow_while_calls_wait() -> None:
    slots = Slots(32)
    assert slots.limit == FIRST
    for _ in range(FIRST):
        slots.learn("batch", 50, 0.1, waiting=True)
    assert slots.limit == FIRST
    slots.learn("batch", 50, 0.19, waiting=True)
    assert slots.limit == FIRST + 1
    for _ in range(1000):
        slots.learn("batch", 50, 0.1, waiting=True)
    assert slots.limit == 32


def test_slots_stay_while_nothing_waits() -> None:
    slots = Slots(32)
    for seconds in (0.1, 5.0, 0.1):
        slots.learn("batch", 50, seconds, waiting=False)
    assert slots.limit == FIRST


@pytest.mark.parametrize("slow", [0.5, float("inf")])
def test_slots_shrink_when_the_site_gets_slow(slow: float) -> None:
    slots = Slots(32)
    for _ in range(100):
        slots.learn("batch", 50, 0.1, waiting=True)
    before = slots.limit
    for _ in range(before):
        slots.learn("batch", 50, slow, waiting=True)
    assert before * 0.85 <= slots.limit <= before * 0.95
    for _ in range(60):
        slots.learn("batch", 50, float("inf"), waiting=True)
    assert LEAST <= slots.limit < before
    for _ in range(400):
        slots.learn("batch", 50, float("inf"), waiting=True)
    assert slots.limit == LEAST


def test_slots_accept_that_a_site_has_become_slower() -> None:
    slots = Slots(32)
    slots.learn("batch", 50, 0.1, waiting=True)
    for _ in range(1000):
        slots.learn("batch", 50, 1.0, waiting=True)
    assert slots.limit == 32


def test_small_and_large_batches_are_not_compared() -> None:
    slots = Slots(32)
    slots.learn("connect", 1, 0.005, waiting=True)
    for _ in range(500):
        slots.learn("batch", 100, 0.1, waiting=True)
        slots.learn("batch", 10, 0.02, waiting=True)
    assert slots.limit == 32


@pytest.mark.parametrize(("most", "limit"), [(1, 1), (3, 3), (4, 4)])
def test_slots_are_at_most_what_is_set(most: int, limit: int) -> None:
    slots = Slots(most)
    for _ in range(100):
        slots.learn("batch", 50, 0.1, waiting=True)
    assert slots.limit == limit
    for _ in range(100):
        slots.learn("batch", 50, float("inf"), waiting=True)
    assert slots.limit == min(limit, LEAST)


def test_batches_are_as_large_as_the_site_is_fast() -> None:
    slots = Slots(32)
    assert slots.weight_of_a_batch == 50
    for _ in range(50):
        slots.learn("batch", 50, 0.5, waiting=True)
    assert slots.weight_of_a_batch == 10
    for _ in range(50):
        slots.learn("batch", 10, 0.001, waiting=True)
    assert slots.weight_of_a_batch == batches.MAX_CALLS
    for _ in range(50):
        slots.learn("batch", 2, 60.0, waiting=True)
    assert slots.weight_of_a_batch == 1
