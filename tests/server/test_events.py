"""What no webhook decided, reported in batches."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest

from djhookbox.server.config import ServerConfig
from djhookbox.server.metrics import Metrics
from djhookbox.server.refusals import Refusal
from djhookbox.server.site import events as module
from djhookbox.server.site.events import BATCH, BATCH_BYTES, Events
from djhookbox.server.site.webhooks import Rejected, WebhookFailed
from djhookbox.wire.events import Disconnected, Published

from ..stand_ins.waiting import until
from .rig import Site, turns


class Case:
    """Events and the site that they are reported to."""

    def __init__(self, limit: int = 10_000) -> None:
        self.metrics = Metrics(0.0)
        self.site = Site(ServerConfig())
        self.events = Events(self.site, self.metrics, limit)  # type: ignore[arg-type]

    def add(self, *numbers: int, payload: object = None) -> None:
        for number in numbers:
            if payload is None:
                self.events.add(Disconnected(user=str(number)))
            else:
                self.events.add(Published("/a/", str(number), payload=payload))

    def batches(self) -> list[list[int]]:
        return [
            [int(event["user"]) for event in json.loads(form["events"])]
            for hook, form in self.site.took()
            if hook == "events"
        ]


async def test_a_batch_is_bounded_in_number_and_size() -> None:
    case = Case()
    case.add(*range(BATCH + 5))
    assert await case.events.flush()
    assert case.batches() == [list(range(BATCH)), list(range(BATCH, BATCH + 5))]
    big = "x" * (BATCH_BYTES // 2)
    case.add(1, 2, 3, payload=big)
    case.add(4, payload=big * 5)  # one that is too big by itself still goes
    assert await case.events.flush()
    assert case.batches() == [[1], [2], [3], [4]]
    assert case.events._size == 0


async def test_events_have_a_time_and_are_ascii() -> None:
    case = Case()
    case.events.add(Published("/a/", "ü", payload={"é": "\ud800"}))
    await case.events.flush()
    ((_, form),) = case.site.took()
    assert form["events"].isascii()
    (event,) = json.loads(form["events"])
    assert event["at"] == pytest.approx(module.time.time(), abs=60)


async def test_a_site_that_does_not_know_them_gets_none() -> None:
    case = Case(limit=3)
    case.site.accepted = frozenset()
    case.add(*range(5))
    assert await case.events.flush()
    assert case.site.calls == []
    assert case.metrics.events_dropped == 2
    case.site.accepted = frozenset({"events"})
    await case.events.flush()
    assert case.batches() == [[2, 3, 4]]


async def test_what_the_site_does_not_take_is_tried_again() -> None:
    case = Case()
    case.site.answers["events"] = WebhookFailed()
    case.add(1, 2)
    assert not await case.events.flush()
    case.add(3)
    case.site.answers.clear()
    assert await case.events.flush()
    assert case.batches() == [[1, 2], [1, 2, 3]]


@pytest.mark.parametrize("problem", [Refusal("no"), Rejected(400, "malformed")])
async def test_what_the_site_refuses_is_dropped(
    problem: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Only what it refuses, and only if it takes others."""
    case = Case()

    def answer(form: Mapping[str, str]) -> Any:
        if any(event["user"] == "7" for event in json.loads(form["events"])):
            return problem
        return {}

    case.site.answers["events"] = answer
    case.add(*range(100))
    assert await case.events.flush()
    taken = [batch for batch in case.batches() if 7 not in batch]
    assert list(itertools.chain(*taken)) == [number for number in range(100) if number != 7]
    (record,) = caplog.records
    assert "is dropped" in record.getMessage()
    assert case.metrics.events_dropped == 1
    assert case.events._size == 0
    case.add(*range(BATCH))
    case.site.answers.clear()
    assert await case.events.flush()
    *_, last = case.batches()
    assert last  # batches grow again
    assert case.events._most > 1


async def test_a_payload_that_is_too_large_goes_and_the_event_remains(
    caplog: pytest.LogCaptureFixture,
) -> None:
    case = Case()

    def answer(form: Mapping[str, str]) -> Any:
        return Rejected(413, "too large") if len(form["events"]) > 5000 else {}

    case.site.answers["events"] = answer
    case.add(1, payload="small")
    case.add(2, payload="😀" * 1000)
    case.add(3)
    assert await case.events.flush()
    taken = [form for _, form in case.site.took() if len(form["events"]) <= 5000]
    events = list(itertools.chain(*(json.loads(form["events"]) for form in taken)))
    assert [int(event["user"]) for event in events] == [1, 2, 3]
    assert "payload" not in events[1]
    assert events[1]["payload_size"] == 12_002
    (record,) = caplog.records
    assert "without its payload: too large" in record.getMessage()


async def test_an_event_that_no_site_reads_loses_its_payload_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    case = Case()
    case.add(1, payload='"' * 1_500_000)  # twice as many bytes as JSON in JSON
    case.add(2, payload="x" * 1_500_000)
    assert await case.events.flush()
    (first, second) = [json.loads(form["events"])[0] for _, form in case.site.took()]
    assert "payload" not in first
    assert second["payload"] == "x" * 1_500_000
    assert "without its payload" in caplog.text


@pytest.mark.parametrize("problem", [Refusal("no"), Rejected(400, "wrong host")])
async def test_a_site_that_refuses_everything_costs_no_event(
    problem: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    case = Case()
    case.site.answers["events"] = problem
    case.add(*range(3))
    assert not await case.events.flush()
    assert case.batches() == [[0, 1, 2], []]
    assert "The site does not accept events" in caplog.text
    case.site.answers.clear()
    assert await case.events.flush()
    assert case.batches() == [[0, 1, 2]]


async def test_an_overflow_during_a_report_drops_no_more_than_it_must() -> None:
    case = Case(limit=3)
    case.add(1, 2, 3)
    held = case.site.hold("events")
    flushing = asyncio.create_task(case.events.flush())
    await turns()
    case.add(4, 5)  # 1 and 2 fall out, although they are on their way
    held.set()
    await flushing
    assert case.batches() == [[1, 2, 3], [4, 5]]
    assert case.events._size == 0
    assert case.metrics.events_dropped == 2


async def test_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 10_000)
    case = Case()
    case.add(*range(100), payload="x" * 1000)
    assert case.events._size <= 10_000
    assert case.events._size == sum(len(event.text) for event in case.events._queue)
    assert case.metrics.events_dropped == 100 - len(case.events._queue)


async def test_they_are_reported_soon_or_when_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.02)
    case = Case()
    running = asyncio.create_task(case.events.run())
    case.add(1)
    await until(lambda: case.site.calls)
    assert case.batches() == [[1]]
    monkeypatch.setattr(module, "FLUSH_SECONDS", 3600.0)
    await asyncio.sleep(0.05)  # the pause that has begun ends
    case.add(*range(BATCH))
    await until(lambda: case.site.calls)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_at_most_one_report_each_half_second_or_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Publications that come without a pause must not become a report each few of them."""
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.2)
    case = Case()
    running = asyncio.create_task(case.events.run())
    loop = asyncio.get_running_loop()
    began = loop.time()
    added = 0
    while loop.time() - began < 1.0:
        case.add(added)
        added += 1
        await asyncio.sleep(0.001)
    await until(lambda: not case.events._queue)
    spent = loop.time() - began
    batches = case.batches()
    assert list(itertools.chain(*batches)) == list(range(added))
    assert len(batches) <= spent / 0.2 + added / BATCH + 1
    case.add(*range(2 * BATCH + 5))
    await until(lambda: len(case.events._queue) == 5, patience=0.15)  # what is full need not wait
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_full_queue_that_nobody_takes_keeps_nothing_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = Case()
    case.site.accepted = frozenset()
    case.add(*range(BATCH))
    reports = 0
    send = case.events._send

    async def count() -> bool:
        nonlocal reports
        reports += 1
        return await send()

    monkeypatch.setattr(case.events, "_send", count)
    running = asyncio.create_task(case.events.run())
    await turns()
    assert reports == 0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_report_under_way_is_not_made_again_at_the_end() -> None:
    case = Case()
    held = case.site.hold("events")
    running = asyncio.create_task(case.events.run())
    case.add(*range(BATCH))
    await until(lambda: case.site.calls)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    flushing = asyncio.create_task(case.events.flush())
    await turns()
    held.set()
    assert await flushing
    assert case.batches() == [list(range(BATCH))]


async def test_a_site_that_is_down_is_asked_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.01)
    case = Case()
    down = True
    times: list[float] = []

    def answer(form: Mapping[str, str]) -> Any:
        times.append(asyncio.get_running_loop().time())
        return WebhookFailed() if down else {}

    case.site.answers["events"] = answer
    case.add(*range(2 * BATCH))  # a full queue must not turn retries into a storm
    running = asyncio.create_task(case.events.run())
    await until(lambda: len(times) >= 4)
    pauses = [b - a for a, b in itertools.pairwise(times)]
    assert pauses[2] > 0.03
    down = False
    await until(lambda: not case.events._queue)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


# ---- which process it is -------------------------------------------------------------------------


class Known(Case):
    """A site that wants to know which process reports."""

    def __init__(self) -> None:
        super().__init__()
        self.site.accepted |= {"nodes"}
        self.events.address = "host:8001"

    def reports(self) -> list[list[dict[str, Any]]]:
        calls = self.site.took()
        assert all(form["node"] == "host:8001" for _, form in calls)
        return [json.loads(form["events"]) for _, form in calls]


async def test_a_start_is_reported_at_once_and_then_each_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = Known()
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.02)
    monkeypatch.setattr(module.nodes, "BEAT", 0.2)
    loop = asyncio.get_running_loop()
    began = loop.time()
    running = asyncio.create_task(case.events.run())
    await turns()
    assert case.reports() == [[]]
    await until(lambda: len(case.site.calls) == 2)
    assert loop.time() - began >= 0.4
    assert case.reports() == [[], []]
    monkeypatch.setattr(module.nodes, "BEAT", 3600.0)
    await until(lambda: case.site.calls)
    case.reports()
    case.site.answers["events"] = lambda form: {"more": len(case.site.calls) < 3}
    case.add(1)  # the site has more to close, and is asked again
    await until(lambda: len(case.site.calls) == 3)
    await asyncio.sleep(0.1)
    assert [len(report) for report in case.reports()] == [1, 0, 0]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_the_end_is_the_last_event() -> None:
    case = Known()
    case.add(1)
    case.events.stopped()
    assert await case.events.flush()
    (events,) = case.reports()
    assert [(event["event"], event["id"]) for event in events] == [
        ("disconnect", 1),
        ("stopped", 2),
    ]


async def test_other_sites_are_told_nothing_of_it() -> None:
    case = Case()
    case.events.stopped()
    running = asyncio.create_task(case.events.run())
    await asyncio.sleep(0.02)
    assert not case.site.calls
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_events_keep_their_numbers_however_often_they_are_reported() -> None:
    case = Case()
    case.site.answers["events"] = WebhookFailed()
    case.add(1, 2)
    assert not await case.events.flush()
    case.site.answers.clear()
    case.add(3)
    assert await case.events.flush()
    ids = [[event["id"] for event in json.loads(form["events"])] for _, form in case.site.took()]
    assert ids == [[1, 2], [1, 2, 3]]
