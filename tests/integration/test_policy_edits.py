"""A policy is edited while people are connected."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ..stand_ins.client import Client, Refused
from ..stand_ins.waiting import wait_for
from .conftest import Enter
from .processes import Hookbox, Site

SOON = 1.0


@pytest.fixture
def room(site: Site, enter: Enter, word: str) -> tuple[str, dict[str, Client]]:
    """A channel, and people in it: somebody, a member of the staff, one whom code put there."""
    channel = f"/{word}/"
    site.do("policy", channel, subscribe_audience="signed_in")
    people = {who: enter(f"{who}{word}") for who in ("somebody", "staff", "chosen")}
    site.do("change_user", people["staff"].name, is_staff=True)
    for who in ("somebody", "staff"):
        people[who].subscribe(channel)
    site.do("subscribe", channel, people["chosen"].name)
    people["chosen"].expect("SUBSCRIBE", channel_name=channel)
    return channel, people


Room = tuple[str, dict[str, Client]]


def only_somebody_has_left(site: Site, hookbox: Hookbox, room: Room) -> None:
    channel, people = room
    left = people["somebody"].expect("UNSUBSCRIBE", patience=SOON, channel_name=channel)
    assert left["user"] == people["somebody"].name
    assert left["reason"]
    assert site.do("publish", channel, "still here?") == 2
    for who in ("staff", "chosen"):
        people[who].expect("PUBLISH", payload="still here?")
        assert people[who].got("UNSUBSCRIBE") == []
    assert people["somebody"].got("PUBLISH") == []
    (row,) = site.rows("SubscriptionLog", 1, channel=channel, decided_by="policy")
    assert (row["event"], row["user_name"]) == ("unsubscribe", people["somebody"].name)
    assert row["reason"] == left["reason"]
    with pytest.raises(Refused):
        people["somebody"].subscribe(channel)


@pytest.mark.parametrize(
    "edit",
    [
        {"subscribe_audience": "staff"},
        {"subscribe_audience": "staff", "pattern": "/<slug:word>/", "order": 50},
    ],
    ids=["the policy itself", "another one that comes first"],
)
def test_who_loses_the_right_is_unsubscribed(
    edit: dict[str, Any], site: Site, hookbox: Hookbox, room: Room
) -> None:
    fields = {"pattern": room[0], **edit}
    try:
        site.do("policy", **fields)
        only_somebody_has_left(site, hookbox, room)
    finally:
        if fields["pattern"] != room[0]:
            site.do("delete_policy", fields["pattern"])


def test_a_deleted_policy_leaves_only_what_code_has_made(site: Site, room: Room) -> None:
    channel, people = room
    site.do("delete_policy", channel)
    for who in ("somebody", "staff"):
        people[who].expect("UNSUBSCRIBE", patience=SOON, channel_name=channel)
    assert people["chosen"].got("UNSUBSCRIBE") == []


def test_a_disabled_policy_does_the_same(site: Site, room: Room) -> None:
    channel, people = room
    site.do("policy", channel, enabled=False)
    people["somebody"].expect("UNSUBSCRIBE", patience=SOON, channel_name=channel)
    assert people["chosen"].got("UNSUBSCRIBE") == []


def test_an_edit_that_is_rolled_back_changes_nothing(site: Site, room: Room) -> None:
    channel, people = room
    site.do("policy_in_vain", channel, subscribe_audience="nobody")
    site.do("policy", channel, note="Nothing else is changed.")
    assert site.do("publish", channel, 1) == 3
    for page in people.values():
        assert page.got("UNSUBSCRIBE") == []


def test_changed_options_reach_the_live_channel(
    site: Site, hookbox: Hookbox, room: Room, enter: Enter, word: str
) -> None:
    channel, people = room
    site.do("publish", channel, "before")
    site.do("policy", channel, history_size=5, presenceful=True)
    wait_for(
        lambda: site.do("channel_info", channel)["options"]["history_size"] == 5,
        "the new option",
        SOON,
    )
    site.do("publish", channel, "after")
    late = enter(f"late{word}").subscribe(channel)
    assert [args["payload"] for _name, args in late["history"]] == ["after"]
    assert people["somebody"].expect("SUBSCRIBE", user=f"late{word}")
    site.do("policy", channel, publish_audience="signed_in")
    people["somebody"].publish(channel, "now I may")
    assert people["staff"].expect("PUBLISH", payload="now I may")


def test_an_open_channel_that_is_closed_asks_from_then_on(
    site: Site, hookbox: Hookbox, enter: Enter, word: str
) -> None:
    channel = f"/{word}/"
    everyone = {"subscribe_audience": "everyone", "publish_audience": "everyone"}
    site.do("policy", channel, moderated=False, **everyone)
    alice, visitor = enter(f"alice{word}"), enter()
    alice.subscribe(channel)
    visitor.subscribe(channel)
    visitor.publish(channel, "hello")
    site.do("policy", channel, subscribe_audience="signed_in", publish_audience="signed_in")
    visitor.expect("UNSUBSCRIBE", patience=SOON, channel_name=channel)
    for ask in (visitor.subscribe, lambda name: visitor.publish(name, "spam")):
        with pytest.raises(Refused) as refusal:
            ask(channel)
        assert refusal.value.code == "refused"
    alice.publish(channel, "among us")


def test_leaving_a_group_or_the_staff_ends_subscriptions(
    site: Site, enter: Enter, word: str
) -> None:
    members, staff = f"/{word}/members/", f"/{word}/staff/"
    alice, bob = enter(f"alice{word}"), enter(f"bob{word}")
    group = site.do("join_group", alice.name, f"group{word}")
    site.do("join_group", bob.name, f"group{word}")
    site.do("change_user", alice.name, is_staff=True)
    site.do("policy", members, subscribe_audience="groups", groups=[group])
    site.do("policy", staff, subscribe_audience="staff")
    alice.subscribe(members)
    alice.subscribe(staff)
    bob.subscribe(members)
    site.do("leave_group", alice.name, f"group{word}")
    alice.expect("UNSUBSCRIBE", patience=SOON, channel_name=members)
    site.do("change_user", alice.name, is_staff=False)
    alice.expect("UNSUBSCRIBE", patience=SOON, channel_name=staff)
    assert bob.got("UNSUBSCRIBE") == []


def test_a_hundred_are_unsubscribed_within_a_second(
    site: Site, hookbox: Hookbox, enter: Enter, word: str
) -> None:
    channel = f"/{word}/"
    site.do("policy", channel, subscribe_audience="everyone")
    visitors = [enter() for _ in range(100)]
    for visitor in visitors:
        visitor.subscribe(channel)
    site.do("policy", channel, subscribe_audience="signed_in")
    edited = time.monotonic()
    for visitor in visitors:
        left = max(0.0, edited + SOON - time.monotonic())
        visitor.expect("UNSUBSCRIBE", patience=left, channel_name=channel)
    assert hookbox.subscribers(channel) == []
