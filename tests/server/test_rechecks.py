"""Asking again after a policy was edited."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from djhookbox.server.refusals import Refusal
from djhookbox.server.site import rechecks as module
from djhookbox.server.site.webhooks import WebhookFailed

from ..stand_ins.waiting import until
from .rig import FakeConnection, Rig, turns


@pytest.fixture(autouse=True)
def _no_time_to_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.001, 0.001))
    monkeypatch.setattr(module, "SETTLED_SECONDS", 0.01)


def refuse(*names: str, **options: Any) -> Any:
    """Answer that some have lost their right, and what options each channel has now."""

    def answer(form: Mapping[str, str]) -> Any:
        channels = json.loads(form["channels"])
        return {
            "channels": {
                name: {
                    "refused": {user: f"{user} may not" for user in users if user in names},
                    "options": options,
                }
                for name, users in channels.items()
            }
        }

    return answer


async def people(rig: Rig, count: int, channel: str = "room") -> list[FakeConnection]:
    rig.site.answers["create_channel"] = {"moderated_subscribe": True, "moderated": False}
    rig.site.answers["recheck"] = refuse()
    clients = []
    for number in range(count):
        client = await rig.connect(f"u{number}")
        await rig.subscribe(client, channel)
        clients.append(client)
    rig.site.took()
    return clients


async def asked(rig: Rig, count: int) -> list[dict[str, list[str]]]:
    """Wait for so many batches and return them."""
    await until(lambda: len([hook for hook, _ in rig.site.calls if hook == "recheck"]) >= count)
    await turns()
    return [json.loads(form["channels"]) for _, form in rig.site.took("recheck")]


async def test_who_lost_the_right_is_unsubscribed_and_told_why(rig: Rig) -> None:
    one, two = await people(rig, 2)
    rig.site.answers["recheck"] = refuse("u0")
    answer = await rig.rest("recheck", patterns='["roo."]')
    assert answer == {"channels": 1, "subscriptions": 2, "connections": 2}
    assert (await asked(rig, 1))[0] == {"room": ["u0", "u1"]}
    ((name, args),) = one.took()
    assert (name, args["reason"]) == ("UNSUBSCRIBE", "u0 may not")
    assert two.took() == []
    event = rig.reported()[-1]
    assert (event["by"], event["user"], event["reason"]) == ("policy", "u0", "u0 may not")


async def test_only_whom_the_edit_could_concern_is_asked_for(rig: Rig) -> None:
    clients = await people(rig, 3)
    await rig.subscribe(clients[0], "other")
    await rig.rest("subscribe", channel_name="room", name="u1")  # now it is the code's
    assert await rig.rest("recheck", patterns='["room", "roo"]', users='["u1", "u2"]') == {
        "channels": 1, "subscriptions": 1, "connections": 1,
    }  # fmt: skip
    assert (await asked(rig, 1))[0] == {"room": ["u2"]}
    assert set((await rig.rest("recheck", patterns='["x"]')).values()) == {0}
    # A connection counts once, in however many channels it is.
    both = await rig.rest("recheck", patterns='["room", "other"]', users='["u0"]')
    assert both == {"channels": 2, "subscriptions": 2, "connections": 1}


async def test_a_hundred_at_a_time(rig: Rig) -> None:
    await people(rig, 250)
    await rig.rest("recheck", patterns='[".*"]')
    batches = await asked(rig, 3)
    assert [len(batch["room"]) for batch in batches[:3]] == [100, 100, 50]
    assert [name for batch in batches[:3] for name in batch["room"]] == [
        f"u{number}" for number in range(250)
    ]


async def test_channels_without_subscribers_get_their_options(rig: Rig) -> None:
    for number in range(3):
        await rig.lifecycle.create(f"c{number}", {})
    rig.site.answers["recheck"] = refuse(history_size=3)
    await rig.rest("recheck", patterns='["c[01]"]')
    assert (await asked(rig, 1))[0] == {"c0": [], "c1": []}
    assert [c.options.history_size for c in rig.channels.values()] == [3, 3, 0]


async def test_options_change_but_not_what_is_only_initial(rig: Rig) -> None:
    (client,) = await people(rig, 1)
    await rig.rest("state_set_key", channel_name="room", key="k", val="1")
    await turns()
    client.took()
    rig.site.answers["recheck"] = refuse(state={}, history=[], presenceful=True, reflective=True)
    await rig.rest("recheck", patterns='["room"]')
    await asked(rig, 1)
    channel = rig.channels["room"]
    assert channel.state == {"k": 1}
    assert channel.options.presenceful
    assert client.took() == []


async def test_wrong_options_are_logged(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    await people(rig, 1)
    rig.site.answers["recheck"] = refuse(history_size="x", polling={"mode": 5})
    await rig.rest("recheck", patterns='["room"]')
    await asked(rig, 1)
    await until(lambda: "cannot be applied" in caplog.text)
    assert rig.channels["room"].options.history_size == 0


@pytest.mark.parametrize(
    "error", [WebhookFailed(), Refusal("no"), {}, {"channels": []}, {"channels": None}]
)
async def test_nothing_stays_granted_that_nobody_vouches_for(
    rig: Rig, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLED_SECONDS", 60.0)  # the new channel is not asked for again
    (client,) = await people(rig, 1)
    rig.site.answers["recheck"] = error
    await rig.rest("recheck", patterns='["room"]')
    await until(lambda: client.frames)
    assert client.names() == ["UNSUBSCRIBE"]
    calls = [form for _, form in rig.site.took("recheck") if "u0" in form["channels"]]
    assert len(calls) == 3
    await until(lambda: rig.channels == {}, "the channel to go")


async def test_a_site_that_is_down_gets_its_time_once_not_for_each_batch(rig: Rig) -> None:
    await people(rig, 250)
    rig.site.answers["recheck"] = WebhookFailed()
    await rig.rest("recheck", patterns='["room"]')
    await until(lambda: not rig.channels)
    assert len(rig.site.took("recheck")) == 3 + 1 + 1


async def test_a_hiccup_costs_nobody_anything(rig: Rig) -> None:
    (client,) = await people(rig, 1)
    answers: list[Any] = [WebhookFailed(), WebhookFailed()]
    rig.site.answers["recheck"] = lambda form: answers.pop() if answers else refuse()(form)
    await rig.rest("recheck", patterns='["room"]')
    await asked(rig, 3)
    assert client.took() == []


async def test_what_an_old_policy_let_in_meanwhile_is_asked_for_again(rig: Rig) -> None:
    await people(rig, 1)
    held = rig.site.hold("recheck")
    await rig.rest("recheck", patterns='["room"]')
    late = await rig.connect("late")
    await rig.subscribe(late)
    rig.site.answers["recheck"] = refuse("late")
    held.set()
    batches = await asked(rig, 2)
    assert "late" not in batches[0]["room"]
    assert "late" in batches[1]["room"]
    await until(lambda: late.frames)
    assert late.names() == ["UNSUBSCRIBE"]


async def test_what_an_old_policy_let_in_with_a_large_batch_is_asked_for_again(
    make_rig: Any,
) -> None:
    rig = make_rig(webhook_timeout=0.1)
    await people(rig, 1)
    late = await rig.connect("late")
    held = rig.site.hold("subscribe_many")
    await rig.send(late, "SUBSCRIBE", channels=["room", "other"])
    await rig.rest("recheck", patterns='["room"]')
    await asyncio.sleep(0.2)  # longer than the timeout of a single webhook
    rig.site.answers["recheck"] = refuse("late")
    held.set()
    await until(lambda: "UNSUBSCRIBE" in [name for name, _ in late.frames])
    assert rig.channels["room"].subscribers.keys() == {"u0"}


async def test_answers_that_make_no_sense_change_nothing(rig: Rig) -> None:
    (client,) = await people(rig, 1)
    rig.site.answers["recheck"] = {
        "channels": {"room": 5, "nowhere": {"refused": {"u0": "x"}}, "x": {"refused": ["u0"]}}
    }
    await rig.rest("recheck", patterns='["room"]')
    await asked(rig, 1)
    rig.site.answers["recheck"] = {"channels": {"room": {"refused": ["u0"], "options": []}}}
    await rig.rest("recheck", patterns='["room"]')
    await asked(rig, 1)
    assert client.took() == []
