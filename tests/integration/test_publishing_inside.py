"""publish() where it could wait for itself, and where the process does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .conftest import Enter, MakePair, entering, started
from .processes import Pair


@pytest.fixture(scope="module")
def single(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A site that serves one request at a time, each in a transaction."""
    folder = tmp_path_factory.mktemp("single")
    with started(folder, migrated, workers="single", ATOMIC_REQUESTS=True) as pair:
        yield pair


@pytest.fixture
def enter_single(single: Pair) -> Iterator[Enter]:
    with ExitStack() as stack:
        yield entering(single, stack)


def test_a_request_publishes_on_a_site_with_a_single_worker(
    single: Pair, enter_single: Enter, word: str
) -> None:
    site, channel = single.site, f"/{word}/"
    site.do("policy", channel, history_size=1)
    # Nobody is there: the channel is made for its history, without asking the site.
    assert site.do("try_to_publish", channel, "first")["error"] == ""
    alice = enter_single(f"alice{word}")
    alice.subscribe(channel)
    answer = site.do("try_to_publish", channel, "second")
    assert answer["error"] == ""
    assert answer["seconds"] < 1
    assert alice.expect("PUBLISH")["payload"] == "second"
    assert [row["delivered"] for row in site.rows("Publication", 2, channel=channel)] == [0, 1]


def test_a_receiver_of_subscribe_publishes_to_the_same_channel(
    single: Pair, enter_single: Enter, word: str
) -> None:
    channel = f"/greeting/{word}/"
    single.site.do("policy", channel, history_size=1)
    alice, bob = enter_single(f"alice{word}"), enter_single(f"bob{word}")
    history = alice.subscribe(channel)["history"]
    assert [args["payload"] for _name, args in history] == [{"welcome": alice.name}]
    bob.subscribe(channel)
    assert alice.expect("PUBLISH")["payload"] == {"welcome": bob.name}
    rows = single.site.rows("Publication", 2, channel=channel)
    assert [(row["status"], row["delivered"]) for row in rows] == [("sent", 0), ("sent", 1)]


def test_what_was_sent_stays_in_the_history_when_the_request_fails(
    single: Pair, enter_single: Enter, word: str
) -> None:
    site, channel = single.site, f"/{word}/"
    site.do("policy", channel)
    alice = enter_single(f"alice{word}")
    alice.subscribe(channel)
    assert "after publishing" in site.ask("publish_and_fail", channel, "sent")["error"]
    assert alice.expect("PUBLISH")["payload"] == "sent"
    (row,) = site.rows("Publication", 1, channel=channel)
    assert (row["status"], row["delivered"]) == ("sent", 1)
    # The rest of the transaction is gone, and nothing stands in the way of a second time.
    assert "after publishing" in site.ask("publish_and_fail", channel, "again")["error"]


def test_rights_that_end_on_a_site_with_a_single_worker(
    single: Pair, enter_single: Enter, word: str
) -> None:
    single.site.do("policy", f"/{word}/")
    alice, bob = enter_single(f"alice{word}"), enter_single(f"bob{word}")
    alice.subscribe(f"/{word}/")
    bob.subscribe(f"/{word}/")
    single.site.do("change_user", alice.name, is_active=False)
    assert alice.closed(1.0)[0] == 4501
    single.site.do("policy", f"/{word}/", subscribe_audience="staff")
    bob.expect("UNSUBSCRIBE", patience=1.0, channel_name=f"/{word}/")


@pytest.mark.parametrize("atomic", [False, True], ids=["autocommit", "ATOMIC_REQUESTS"])
def test_publishing_when_the_process_is_down(atomic: bool, make_pair: MakePair) -> None:
    site = make_pair(ATOMIC_REQUESTS=atomic, HOOKBOX_TIMEOUT=1).site
    site.run()
    site.do("policy", "/down/")
    answer = site.do("try_to_publish", "/down/", "lost")
    assert answer["error"] == "HookboxNotRunning"
    assert "manage.py runhookbox" in answer["text"]
    assert answer["seconds"] < 1.5
    # Nobody catches it this time: the request fails, and what it has written is rolled back.
    assert "HookboxNotRunning" in site.ask("publish_and_fail", "/down/", "lost too")["error"]
    rows = site.rows("Publication", 2, channel="/down/")
    assert [(row["payload"], row["status"]) for row in rows] == [
        ("lost", "failed"),
        ("lost too", "failed"),
    ]
    assert all("cannot be reached" in row["error"] for row in rows)
    # What the process would be told is no reason for a request to fail.
    session = site.do("sign_in", "alice")
    site.do("change_user", "alice", is_active=False)
    site.do("policy", "/down/", subscribe_audience="nobody")
    site.do("sign_out", session=session)


def test_publishing_when_the_process_hangs(make_pair: MakePair) -> None:
    pair = make_pair(HOOKBOX_TIMEOUT=0.5)
    pair.site.run()
    pair.site.do("policy", "/hangs/")
    pair.hookbox.run()
    pair.hookbox.freeze()
    answer = pair.site.do("try_to_publish", "/hangs/", "lost")
    assert answer["error"] == "HookboxUnreachable"
    assert 0.4 < answer["seconds"] < 1.5
    assert [row["status"] for row in pair.site.rows("Publication", 1)] == ["failed"]
