"""The main path, end to end: connect, subscribe, publish, and the entries in the logs."""

from __future__ import annotations

import pytest

from ..stand_ins.client import Refused
from .conftest import Enter
from .processes import Hookbox, Site


def test_a_page_reads_what_code_publishes(site: Site, enter: Enter, word: str) -> None:
    site.do("policy", f"/{word}/<slug:topic>/", subscribe_audience="signed_in", history_size=2)
    channel = f"/{word}/python/"
    alice, bob = enter(f"alice{word}"), enter(f"bob{word}")
    assert alice.name == f"alice{word}"
    alice.subscribe(channel)
    bob.subscribe(channel)

    assert site.do("publish", channel, {"headline": "It works"}) == 2

    for page in (alice, bob):
        message = page.expect("PUBLISH", channel_name=channel)
        assert message["payload"] == {"headline": "It works"}
        assert message["datetime"].endswith("Z")
    assert [name for name, _args in enter(alice.name).subscribe(channel)["history"]] == ["PUBLISH"]


def test_the_logs_say_what_happened(site: Site, enter: Enter, word: str) -> None:
    site.do("policy", f"/{word}/", subscribe_audience="signed_in", publish_audience="signed_in")
    alice, bob = enter(f"alice{word}"), enter(f"bob{word}")
    alice.subscribe(f"/{word}/")
    bob.subscribe(f"/{word}/")
    alice.publish(f"/{word}/", "from a page")
    bob.expect("PUBLISH", payload="from a page")
    site.do("publish", f"/{word}/", "from code")
    with pytest.raises(Refused):
        bob.subscribe(f"/{word}/closed/")
    bob.socket.close()

    connected, closed = site.rows("ConnectionLog", 2, user_name=bob.name)
    assert (connected["event"], closed["event"]) == ("connect", "disconnect")
    assert connected["connection_id"] == closed["connection_id"] != ""
    assert (connected["transport"], connected["ip"]) == ("websocket", "127.0.0.1")
    assert connected["origin"] == site.origin
    assert (closed["code"], closed["duration"] > "P0DT00H00M00") == (1000, True)

    events = [
        (row["event"], row["user_name"], row["channel"], row["decided_by"])
        for row in site.rows("SubscriptionLog", 5, channel__startswith=f"/{word}/")
    ]
    policy = f"policy:{word}"
    assert events == [
        ("create", alice.name, f"/{word}/", policy),
        ("subscribe", alice.name, f"/{word}/", policy),
        ("subscribe", bob.name, f"/{word}/", policy),
        ("create_refused", bob.name, f"/{word}/closed/", "nobody"),
        ("unsubscribe", bob.name, f"/{word}/", "disconnect"),
    ]

    site.rows("Publication", 1, channel=f"/{word}/", source="client", delivered=2)
    by_page, by_code = site.rows("Publication", 2, channel=f"/{word}/")
    assert (by_page["source"], by_page["user_name"], by_page["delivered"]) == (
        "client", alice.name, 2,
    )  # fmt: skip
    assert (by_code["source"], by_code["payload"], by_code["delivered"]) == ("code", "from code", 2)
    assert {by_page["status"], by_code["status"]} == {"sent"}


def test_what_nobody_vouches_for_is_closed_to_everyone(
    site: Site, hookbox: Hookbox, enter: Enter, word: str
) -> None:
    alice = enter(f"alice{word}")
    for ask in (alice.subscribe, lambda channel: alice.publish(channel, 1)):
        with pytest.raises(Refused) as refusal:
            ask(f"/{word}/")
        assert refusal.value.code == "refused"
        assert refusal.value.msg == "No policy or handler opens this channel."
    answer = site.do("try_to_publish", f"/{word}/", 1)
    assert answer["error"] == "HookboxRefused"
    (row,) = site.rows("Publication", 1, channel=f"/{word}/")
    assert (row["status"], row["decided_by"]) == ("refused", "nobody")
    assert hookbox.rest("get_channel_info", channel_name=f"/{word}/")[0] is False


def test_a_page_without_the_right_to_publish(site: Site, enter: Enter, word: str) -> None:
    site.do("policy", f"/{word}/", subscribe_audience="everyone", publish_audience="staff")
    alice, admin = enter(f"alice{word}"), enter(f"admin{word}")
    site.do("change_user", admin.name, is_staff=True)
    alice.subscribe(f"/{word}/")
    with pytest.raises(Refused) as refusal:
        alice.publish(f"/{word}/", "spam")
    assert refusal.value.code == "refused"
    admin.publish(f"/{word}/", "news")
    assert alice.expect("PUBLISH")["payload"] == "news"
    refused, _sent = site.rows("Publication", 2, channel=f"/{word}/")
    assert (refused["status"], refused["user_name"]) == ("refused", alice.name)


def test_handlers_and_receivers_take_part(site: Site, enter: Enter, word: str) -> None:
    alice = enter(f"alice{word}")
    assert alice.subscribe(f"/handled/{word}/")["history_size"] == 3
    with pytest.raises(Refused) as refusal:
        enter("mallory")
    assert refusal.value.msg == "Mallory may not connect."
    (row,) = site.rows("ConnectionLog", 1, user_name="mallory")
    assert (row["event"], row["reason"]) == ("refused", "Mallory may not connect.")
    assert row["decided_by"].startswith("signal:")
    assert row["decided_by"].endswith("turn_away")


def test_messages_come_in_order_and_once(site: Site, enter: Enter, word: str) -> None:
    site.do("policy", f"/{word}/", publish_audience="signed_in", subscribe_audience="signed_in")
    alice, bob = enter(f"alice{word}"), enter(f"bob{word}")
    bob.subscribe(f"/{word}/")
    for number in range(100):
        alice.send("PUBLISH", channel_name=f"/{word}/", payload=str(number))
    for number in range(100):
        assert bob.expect("PUBLISH")["payload"] == number
    assert bob.got("PUBLISH") == []


def test_presence_is_shown(site: Site, enter: Enter, word: str) -> None:
    site.do("policy", f"/{word}/", presenceful=True)
    alice = enter(f"alice{word}")
    alice.subscribe(f"/{word}/")
    bob = enter(f"bob{word}")
    assert bob.subscribe(f"/{word}/")["presence"] == [alice.name, bob.name]
    assert alice.expect("SUBSCRIBE", user=bob.name)["channel_name"] == f"/{word}/"
    bob.socket.close()
    alice.expect("UNSUBSCRIBE", user=bob.name)
