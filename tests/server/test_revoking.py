"""Revocations are carried out once, whether they are sent or pulled, and none keeps others back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from djhookbox.server.channels import durable as pulling
from djhookbox.server.site import confirming, revoking
from djhookbox.server.site.webhooks import WebhookFailed
from djhookbox.wire import capabilities
from djhookbox.wire.revocations import Position, Revocation, Revocations

from ..stand_ins.waiting import until
from .rig import FakeConnection, Rig, turns


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(confirming, "BREATH", 0)
    monkeypatch.setattr(revoking, "RETRY_SECONDS", 0)
    rig = Rig()
    rig.site.accepted |= {capabilities.CONFIRM, capabilities.OUTBOX}
    rig.site.answers["connect"] = connected
    rig.site.answers["confirm"] = lambda form: {"answered": len(json.loads(form["connections"]))}
    rig.site.answers["recheck"] = {"channels": {}}
    return rig


def connected(form: Mapping[str, str]) -> dict[str, str]:
    """Name a user; the connections of a user have the same identity."""
    name = json.loads(form["payload"])
    return {"name": name, "identity": f"id of {name}"}


def perform(rig: Rig, *revocations: Revocation) -> Any:
    return rig.server.channels.durable._revoking.perform(revocations)


def take(rig: Rig, *entries: Revocation, began: float | None = None, **more: Any) -> bool:
    number = rig.server.channels.durable._revoking.position.number + 1
    pulled = Revocations(number, f"t{number}", entries=entries, **more)
    began = asyncio.get_running_loop().time() if began is None else began
    return rig.server.channels.durable._revoking.take(pulled, began)


async def test_sent_and_pulled_it_is_carried_out_once(rig: Rig) -> None:
    alice = await rig.connect("a")
    gone = Revocation("k", 4000, "password changed", users=("a",))
    answer = await rig.rest(
        "revoke", revocations=json.dumps([{"key": "k", "code": 4000, "users": ["a"]}])
    )
    assert answer["disconnected"] == 1
    assert alice.end is not None
    again = await rig.connect("a")
    take(rig, gone)
    assert perform(rig, gone).disconnected == 0
    assert again.end is None
    perform(rig, Revocation("k2", 4000, "password changed", users=("a",)))
    assert again.end is not None
    assert (again.end.code, again.end.reason) == (4000, "password changed")


async def test_who_is_being_identified_ends_as_well(rig: Rig) -> None:
    held = rig.site.hold("connect")
    client = rig.client()
    sending = asyncio.create_task(rig.send(client, "CONNECT", cookie_string="", payload='"a"'))
    await turns()
    take(rig, Revocation("k", 4000, "session ended", identities=("id of a",)))
    held.set()
    await sending
    await turns()
    assert client.end is not None


async def test_the_highest_code_wins(rig: Rig) -> None:
    alice = await rig.connect("a")
    perform(
        rig,
        Revocation("k1", 4000, "password changed", users=("a",)),
        Revocation("k2", 4501, "account deactivated", users=("a",)),
    )
    assert alice.end is not None
    assert alice.end.code == 4501


async def test_a_bad_one_keeps_no_other_back(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    clients = {name: await rig.connect(name) for name in "abc"}
    for client in clients.values():
        await rig.subscribe(client, "/room/")
    rig.site.took()
    perform(
        rig,
        Revocation("k1", 99, "bad", users=("a",)),
        Revocation("k2", patterns=("(",)),
        Revocation("k3", 4000, "session ended", users=("b",)),
    )
    assert [name for name, client in clients.items() if client.end] == ["b"]
    assert "k1" in caplog.text
    assert "k2" in caplog.text
    await turns()
    ((_, form),) = rig.site.took("recheck")
    # Nobody knows which channels the second one meant.
    assert json.loads(form["channels"]) == {"/room/": ["a", "c"]}


async def test_rechecks_of_one_call_are_combined(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        await rig.subscribe(await rig.connect(name), f"/{name}/")
    begun: list[Any] = []
    rechecks = rig.server.channels.durable._revoking._rechecks
    begin = rechecks.begin

    def noted(patterns: Any, users: Any) -> Any:
        begun.append(([pattern.pattern for pattern in patterns], users))
        return begin(patterns, users)

    monkeypatch.setattr(rechecks, "begin", noted)
    answer = perform(
        rig,
        Revocation("k1", patterns=("/a/", "/x/")),
        Revocation("k2", patterns=("/a/", "/b/")),
        Revocation("k3", users=("b",)),
        Revocation("k4", users=("c", "d")),
    )
    assert begun == [(["/a/", "/x/", "/b/"], None), ([".*"], {"b", "c", "d"})]
    assert (answer.channels, answer.connections) == (4, 4)
    monkeypatch.setattr(revoking, "MANY_USERS", 2)
    begun.clear()
    perform(rig, Revocation("k5", users=("b", "c", "d"), patterns=("/a/",)))
    assert begun == [([".*"], None)]


# ---- positions


async def test_a_start_without_connections_asks_nothing(rig: Rig) -> None:
    rig.client()
    assert take(rig, over=True) is False
    await turns()
    assert rig.site.took("confirm", "recheck") == []
    assert rig.server.channels.durable._revoking.position == Position(1, "t1")


async def test_what_was_decided_before_the_first_pull_is_confirmed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoking, "patience", lambda channels: 0)
    alice, bob = await rig.connect("a"), await rig.connect("b")
    await rig.subscribe(alice, "/room/")
    await rig.subscribe(bob, "/room/")
    held = rig.site.hold("connect")
    late = rig.client()
    sending = asyncio.create_task(rig.send(late, "CONNECT", cookie_string="", payload='"c"'))
    await turns()
    rig.site.took()
    tries = iter([WebhookFailed(), None])

    def answer(form: Mapping[str, str]) -> Any:
        failure = next(tries, None)
        if failure is not None:
            raise failure
        asked = json.loads(form["connections"])
        gone = [each["conn_id"] for each in asked if each["user"] in ("a", "c")]
        return {"answered": len(asked), "expired": gone}

    rig.site.answers["confirm"] = answer
    take(rig, over=True)
    held.set()
    await sending
    await until(lambda: late.end, "the one that was being identified to end")
    assert alice.end is not None
    assert bob.end is None
    assert "recheck" in [hook for hook, _form in rig.site.calls]
    await turns()


async def test_without_confirmation_they_come_again(rig: Rig) -> None:
    rig.site.accepted -= {capabilities.CONFIRM}
    alice = await rig.connect("a")
    unconnected = rig.client()
    take(rig, over=True)
    await until(lambda: alice.end, "the connection to end")
    assert alice.end is not None
    assert alice.end.code == 4000
    assert unconnected.end is None


async def test_keys_are_kept_until_a_pull_has_passed_them(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoking, "KEY_SECONDS", 0.0)
    loop = asyncio.get_running_loop()
    before = loop.time()
    gone = Revocation("k", 4000, "password changed", users=("a",))
    perform(rig, gone)
    again = await rig.connect("a")
    take(rig, began=before)
    take(rig, began=loop.time(), more=True)
    perform(rig, gone)
    assert again.end is None, "no pull that began later has returned all there is"
    await asyncio.sleep(0.001)
    take(rig, began=loop.time())
    assert "k" not in rig.server.channels.durable._revoking._keys


def test_the_number_of_keys_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revoking, "MOST_KEYS", 3)
    keys = revoking.Keys()
    for number in range(5):
        keys.add(str(number), 0.0)
    assert [key for key in map(str, range(5)) if key in keys] == ["2", "3", "4"]
    keys.forget(1.0, 1.0)
    assert len(keys) == 3, "not older than the time for which keys are kept"


# ---- the puller


@pytest.fixture
async def running(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(pulling, "RETRY_SECONDS", 0.01)
    tasks: list[asyncio.Task[None]] = []

    def start() -> None:
        tasks.append(asyncio.ensure_future(rig.server.channels.durable.run()))

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def outbox(*users: str, number: int = 1, **more: Any) -> dict[str, Any]:
    entries = [
        {"key": f"key of {user}", "code": 4000, "reason": "session ended", "users": [user]}
        for user in users
    ]
    revocations = {"number": number, "token": f"t{number}", "entries": entries}
    return {"incarnation": "i", "number": 3, "token": "t", "revocations": revocations, **more}


async def test_it_is_pulled_from_where_the_last_pull_ended(rig: Rig, running: Any) -> None:
    alice = await rig.connect("a")
    rig.site.answers["outbox"] = outbox()
    running()
    ((_, form),) = await until(lambda: rig.site.took("outbox"), "the first pull")
    assert json.loads(form["revoked"]) == {"number": 0, "token": ""}
    rig.site.answers["outbox"] = outbox("a", number=2)
    rig.server.channels.durable.poke()
    await until(lambda: alice.end, "the end of the connection")
    rig.site.took()
    rig.server.channels.durable.poke()
    ((_, form),) = await until(lambda: rig.site.took("outbox"), "another pull")
    assert json.loads(form["revoked"]) == {"number": 2, "token": "t2"}


async def test_publications_that_cannot_be_read_keep_no_revocation_back(
    rig: Rig, running: Any
) -> None:
    alice = await rig.connect("a")
    rig.site.answers["outbox"] = {**outbox("a"), "incarnation": "", "unavailable": True}
    running()
    await until(lambda: alice.end, "the end of the connection")
    assert rig.server.channels.durable.lag is None


async def test_publications_for_slow_readers_keep_no_revocation_back(
    rig: Rig, running: Any
) -> None:
    alice = await rig.connect("a")
    feeds = rig.server.channels.durable._feeds
    feeds.waiting = 10**9

    def answer(form: Mapping[str, str]) -> dict[str, Any]:
        if form.get("only_revocations"):
            assert not form.get("incarnation")
            return outbox("a", number=5, incarnation="", token="")
        return {**outbox(), "more": not form.get("incarnation")}

    rig.site.answers["outbox"] = answer
    running()
    await until(lambda: alice.end, "the end of the connection")
    assert feeds.is_full
    feeds.waiting = 0
    await until(
        lambda: [1 for _, form in rig.site.took("outbox") if "only_revocations" not in form],
        "publications to be pulled again",
    )


async def test_a_site_that_cannot_read_them_is_asked_again(rig: Rig, running: Any) -> None:
    alice: FakeConnection = await rig.connect("a")
    rig.site.answers["outbox"] = {"incarnation": "i", "number": 3, "token": "t"}
    running()
    await until(lambda: rig.site.took("outbox"), "the first pull")
    await turns()
    assert rig.server.channels.durable._revoking.position == Position()
    rig.site.answers["outbox"] = outbox("a")
    rig.server.channels.durable.poke()
    await until(lambda: alice.end, "the end of the connection")
