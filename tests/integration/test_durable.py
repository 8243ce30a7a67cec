"""Durable channels: what is committed arrives once and in order, whatever restarts."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ..stand_ins.client import Client, Refused
from ..stand_ins.waiting import wait_for
from .conftest import Enter, MakePair, entering
from .processes import Pair, Site
from .test_resume import Reader


@pytest.fixture
def channel(site: Site, word: str) -> str:
    site.do("policy", f"/{word}/", durable=True, history_size=5, publish_audience="signed_in")
    return f"/{word}/"


def come(page: Client, reader: Reader) -> None:
    """Subscribe where the reader has been."""
    page.ask("SUBSCRIBE", channels=[{"channel_name": reader.channel, "since": reader.cursor}])
    reader.begin(page)


def read_until(page: Client, reader: Reader, payload: Any) -> None:
    """Read until a payload has come."""

    def ask() -> bool:
        reader.read(page)
        return payload in reader.got

    wait_for(ask, f"{payload!r} in {reader.got}")


def test_committed_or_not(site: Site, enter: Enter, channel: str, word: str) -> None:
    reader, page = Reader(channel), enter(f"alice{word}")
    come(page, reader)
    assert site.do("publish", channel, 1) is None
    assert site.do("publish_many", channel, [2, 3, 4]) == [None] * 3
    site.do("publish_many", channel, ["never"], rollback=True)
    site.do("publish_in_savepoints", channel, [5, "never", 6, "never"])
    site.do("publish_after_commit", channel, 7)
    read_until(page, reader, 7)
    assert reader.got == [1, 2, 3, 4, 5, 6, 7]
    rows = site.rows("Publication", 7, channel=channel, delivered=1)
    assert [row["payload"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert {row["status"] for row in rows} == {"sent"}
    new = enter(f"bob{word}").subscribe(channel)
    assert [data["payload"] for _, data in new["history"]] == [3, 4, 5, 6, 7]


def test_nobody_was_there(site: Site, enter: Enter, channel: str, word: str) -> None:
    cursor = site.do("cursor", channel)
    assert cursor.endswith(":0")
    site.do("publish_many", channel, list(range(20)))
    page = enter(f"alice{word}")
    page.ask("SUBSCRIBE", channel_name=channel, since=cursor)
    args = page.expect("SUBSCRIBE", channel_name=channel)
    assert [each["payload"] for each in args["recovered"]] == list(range(20))
    assert args["missed"] == 0
    assert site.do("cursor", channel) == f"{args['epoch']}:20"


def test_restarted_and_stopped(make_pair: MakePair) -> None:
    pair = make_pair()
    pair.site.run()
    pair.hookbox.run()
    pair.site.do("policy", "/orders/", durable=True, history_size=3)
    reader = Reader("/orders/")
    with ExitStack() as stack:
        page = entering(pair, stack)("alice")
        come(page, reader)
        assert reader.cursor is not None
        pair.site.do("publish_many", "/orders/", [1, 2])
        read_until(page, reader, 2)
    for start in (3, 6):
        pair.hookbox.kill()
        pair.site.do("publish_many", "/orders/", [start, start + 1])
        pair.hookbox.run()
        with ExitStack() as stack:
            page = entering(pair, stack)("alice")
            pair.site.do("publish", "/orders/", start + 2)
            come(page, reader)
            read_until(page, reader, start + 2)
    assert reader.got == [1, 2, 3, 4, 5, 6, 7, 8]
    with ExitStack() as stack:  # stopped: everything is there when it goes on
        page = entering(pair, stack)("alice")
        come(page, reader)
        pair.hookbox.freeze()
        pair.site.do("publish_many", "/orders/", [9, 10])
        pair.hookbox.thaw()
        read_until(page, reader, 10)
    assert reader.got == list(range(1, 11))


def test_ten_thousand_in_one_transaction(site: Site, enter: Enter, channel: str, word: str) -> None:
    reader, page = Reader(channel), enter(f"alice{word}")
    come(page, reader)
    payloads = [f"{number} {'x' * 150}" for number in range(3000)]
    site.do("publish_many", channel, payloads)
    read_until(page, reader, payloads[-1])
    assert reader.got == payloads


def test_rest_is_refused(pair: Pair, enter: Enter, channel: str, word: str) -> None:
    enter(f"alice{word}").subscribe(channel)
    for form in ({}, {"options": '{"durable": true}'}):
        success, answer = pair.hookbox.rest("publish", channel_name=channel, payload="1", **form)
        assert not success
        assert "djhookbox.publish()" in answer["msg"]
    success, answer = pair.hookbox.rest("set_channel_options", channel_name=channel, history="[]")
    assert not success
    assert answer["code"] == "durable"


def test_browsers_publish(site: Site, enter: Enter, channel: str, word: str) -> None:
    reader, page = Reader(channel), enter(f"alice{word}")
    come(page, reader)
    sender = enter(f"bob{word}")
    sender.subscribe(channel)
    for number in (1, 2):
        frame = sender.send("PUBLISH", channel_name=channel, payload=str(number), key="k")
        ack = sender.expect("ACK", id=frame)
        assert ack["offset"] == 1, "the key is the same"
    own = sender.expect("PUBLISH")
    assert (own["payload"], own["user"], own["offset"]) == (1, f"bob{word}", 1)
    assert own["epoch"] == ack["epoch"]
    sender.publish(channel, 3)
    # Another user's key is another key.
    frame = page.send("PUBLISH", channel_name=channel, payload="4", key="k")
    assert page.expect("ACK", id=frame)["offset"] == 3
    read_until(page, reader, 4)
    assert reader.got == [1, 3, 4]
    rows = site.rows("Publication", 3, channel=channel, delivered=2)
    assert [(row["source"], row["status"], row["user_name"]) for row in rows] == [
        ("client", "sent", f"bob{word}"),
        ("client", "sent", f"bob{word}"),
        ("client", "sent", f"alice{word}"),
    ]


def test_what_may_not_be_published_is_not_stored(site: Site, enter: Enter, word: str) -> None:
    site.do("policy", f"/{word}/", durable=True, subscribe_audience="everyone")
    page = enter(f"alice{word}")
    page.subscribe(f"/{word}/")
    with pytest.raises(Refused):
        page.publish(f"/{word}/", 1)
    (row,) = site.rows("Publication", 1, channel=f"/{word}/")
    assert row["status"] == "refused"
    assert site.rows("Outbox", 0, channel=f"/{word}/") == []


def test_not_to_the_sender(site: Site, enter: Enter, word: str) -> None:
    """A channel that is not reflective spares its sender, also when it catches up."""
    channel = f"/{word}/"
    site.do("policy", channel, durable=True, reflective=False, publish_audience="signed_in")
    page = enter(f"alice{word}")
    start = page.subscribe(channel)
    page.publish(channel, 1)
    site.do("publish", channel, 2)
    assert page.expect("PUBLISH")["payload"] == 2
    page.ask("SUBSCRIBE", channel_name=channel, since=f"{start['epoch']}:0")
    again = page.expect("SUBSCRIBE", channel_name=channel)
    assert [each["payload"] for each in again["recovered"]] == [2]
    assert (again["missed"], again["offset"]) == (0, 2)


def test_rest_with_the_webhook(pair: Pair, enter: Enter, channel: str, word: str) -> None:
    page = enter(f"alice{word}")
    page.subscribe(channel)
    pair.site.do("sign_in", f"bob{word}")
    form = {"channel_name": channel, "payload": "5", "send_hook": "1", "originator": f"bob{word}"}
    success, answer = pair.hookbox.rest("publish", **form)
    assert success, answer
    assert page.expect("PUBLISH")["payload"] == 5


def test_switched_on_off_and_on_again(site: Site, enter: Enter, word: str) -> None:
    channel, options = f"/{word}/", {"history_size": 9, "publish_audience": "signed_in"}
    site.do("policy", channel, **options)
    reader, page = Reader(channel), enter(f"alice{word}")
    come(page, reader)
    site.do("publish", channel, 1)
    read_until(page, reader, 1)
    epochs = [page_epoch(reader)]
    for durable, payload in ((True, 2), (False, 3), (True, 4)):
        site.do("policy", channel, durable=durable)
        if durable:
            args = page.expect("SUBSCRIBE", channel_name=channel)
            assert (args["recovered"], args["missed"]) == ([], None), "a gap is announced"
            reader.jump(args)
        else:
            wait_for(
                lambda: not site.do("channel_info", channel)["options"]["durable"],
                "the policy to reach the channel",
            )
        assert (site.do("publish", channel, payload) is None) is durable
        read_until(page, reader, payload)
        epochs.append(page_epoch(reader))
    assert reader.got == [1, 2, 3, 4]
    assert len(set(epochs)) == 4


def page_epoch(reader: Reader) -> str:
    """Return the epoch that a reader is in."""
    assert reader.cursor is not None
    return reader.cursor.partition(":")[0]


def test_away_for_longer_than_memory_reaches(make_pair: MakePair) -> None:
    """Older publications than a node loads on opening come from the site."""
    pair = make_pair()
    pair.site.run()
    pair.hookbox.run()
    pair.site.do("policy", "/orders/", durable=True)
    start = pair.site.do("cursor", "/orders/")
    payloads = list(range(1300))
    pair.site.do("publish_many", "/orders/", payloads)
    pair.hookbox.kill()
    pair.hookbox.run()
    with ExitStack() as stack:
        enter = entering(pair, stack)
        enter("bob").subscribe("/orders/")
        page = enter("alice")
        page.ask("SUBSCRIBE", channel_name="/orders/", since=start)
        args = page.expect("SUBSCRIBE", channel_name="/orders/")
    assert args["missed"] == 0
    assert [each["payload"] for each in args["recovered"]] == payloads


def test_a_restored_backup_is_announced_once(make_pair: MakePair) -> None:
    pair = make_pair()
    pair.site.run()
    pair.hookbox.run()
    pair.site.do("policy", "/orders/", durable=True)
    reader = Reader("/orders/")
    with ExitStack() as stack:
        page = entering(pair, stack)("alice")
        come(page, reader)
        pair.site.do("publish", "/orders/", 1)
        read_until(page, reader, 1)
        backup = pair.folder / "backup.sqlite3"
        database = Path(json.loads(pair.environment["HOOKBOX_SITE"])["DATABASE"])
        pair.site.stop()
        shutil.copy(database, backup)
        pair.site.run()
        pair.site.do("publish", "/orders/", 2)
        read_until(page, reader, 2)
        pair.site.stop()
        shutil.copy(backup, database)
        pair.site.run()
        args = page.expect("SUBSCRIBE", channel_name="/orders/")
        assert args["missed"] is None
        reader.jump(args)
        pair.site.do("publish", "/orders/", 3)
        read_until(page, reader, 3)
    assert reader.got == [1, 2, 3]
