"""Rights end when they end: the right connections are closed, within a second, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..stand_ins.client import Client, Refused, client
from .conftest import MakePair
from .processes import Pair, Site

SOON = 1.0


class People:
    """Opens pages whose sessions are known."""

    def __init__(self, pair: Pair, stack: ExitStack, word: str) -> None:
        self._pair = pair
        self._stack = stack
        self._word = word

    def name(self, who: str) -> str:
        return f"{who}{self._word}"

    def enter(self, who: str) -> tuple[Client, str]:
        """Log somebody in, open a page; return it and the session's key."""
        session: str = self._pair.site.do("sign_in", self.name(who))
        return self.open(session), session

    def open(self, session: str = "", *, origin: bool = True, **connect: object) -> Client:
        """Open a page in a session."""
        page = self._stack.enter_context(
            client(
                self._pair.hookbox.websocket,
                origin=self._pair.site.origin if origin else None,
                session=session,
            )
        )
        page.connect(**connect)
        return page


@pytest.fixture
def people(pair: Pair, word: str) -> Iterator[People]:
    with ExitStack() as stack:
        yield People(pair, stack, word)


def refused(people: People, session: str, who: str) -> None:
    """Assert that a page that comes back as this user is not let in."""
    with pytest.raises(Refused) as refusal:
        people.open(session, expect_user=people.name(who))
    assert refusal.value.code == "session_expired"


def test_logout_closes_the_connections_of_that_session(site: Site, people: People) -> None:
    here, session = people.enter("alice")
    too = people.open(session)
    elsewhere, _ = people.enter("alice")
    bob, _ = people.enter("bob")

    site.do("sign_out", session=session)

    assert here.closed(SOON) == (4000, "session ended")
    assert too.closed(SOON) == (4000, "session ended")
    elsewhere.sync()
    bob.sync()
    refused(people, session, "alice")
    rows = site.rows("ConnectionLog", 2, user_name=people.name("alice"), event="disconnect")
    assert [(row["code"], row["reason"]) for row in rows] == [(4000, "session ended")] * 2


def test_a_deleted_session_is_closed(site: Site, people: People) -> None:
    alice, session = people.enter("alice")
    elsewhere, _ = people.enter("alice")
    site.do("delete_session", session)
    assert alice.closed(SOON)[0] == 4000
    elsewhere.sync()
    refused(people, session, "alice")


def test_logging_in_as_somebody_else_closes_the_page_of_before(site: Site, people: People) -> None:
    alice, session = people.enter("alice")
    now = site.do("sign_in", people.name("bob"), session=session)
    assert now != session
    assert alice.closed(SOON)[0] == 4000
    refused(people, now, "alice")
    assert people.open(now, expect_user=people.name("bob")).name == people.name("bob")


def test_deactivation_closes_all_connections_of_the_account(site: Site, people: People) -> None:
    alice, session = people.enter("alice")
    elsewhere, _ = people.enter("alice")
    bob, _ = people.enter("bob")
    site.do("change_user", alice.name, is_active=False)
    assert alice.closed(SOON) == (4501, "account deactivated")
    assert elsewhere.closed(SOON) == (4501, "account deactivated")
    bob.sync()
    refused(people, session, "alice")


def test_a_deleted_account_is_closed(site: Site, people: People) -> None:
    alice, session = people.enter("alice")
    bob, _ = people.enter("bob")
    site.do("delete_user", alice.name)
    assert alice.closed(SOON) == (4501, "account deleted")
    bob.sync()
    refused(people, session, "alice")


def test_a_changed_password_closes_all_connections(site: Site, people: People) -> None:
    alice, session = people.enter("alice")
    elsewhere, _ = people.enter("alice")
    bob, _ = people.enter("bob")
    site.do("change_user", alice.name, password="new")
    assert alice.closed(SOON)[0] == 4000
    assert elsewhere.closed(SOON)[0] == 4000
    bob.sync()
    refused(people, session, "alice")


def test_who_changes_the_own_password_comes_back(site: Site, people: People) -> None:
    alice, session = people.enter("alice")
    _elsewhere, other = people.enter("alice")
    renewed = site.do("change_own_password", session=session)
    assert alice.closed(SOON)[0] == 4000
    assert people.open(renewed, expect_user=alice.name).name == alice.name
    refused(people, other, "alice")


def test_connections_by_token_end_with_the_password(site: Site, people: People, word: str) -> None:
    alice, _session = people.enter("alice")
    token = site.do("connect_token", alice.name)
    app = people.open(origin=False, token=token)
    assert app.name == alice.name
    site.do("policy", f"/{word}/")
    app.subscribe(f"/{word}/")
    site.do("change_user", alice.name, password="new")
    assert app.closed(SOON)[0] == 4000
    with pytest.raises(Refused) as refusal:
        people.open(origin=False, token=token)
    assert refusal.value.code == "session_expired"


def test_an_expired_session_is_refused_and_never_anonymous(
    site: Site, people: People, word: str
) -> None:
    site.do("policy", f"/{word}/", subscribe_audience="everyone", publish_audience="everyone")
    alice, session = people.enter("alice")
    site.do("expire_session", session)
    with pytest.raises(Refused) as refusal:
        alice.subscribe(f"/{word}/")
    assert (refusal.value.msg, refusal.value.code) == ("session expired", "session_expired")
    assert alice.closed(SOON) == (4000, "session expired")
    refused(people, session, "alice")
    bob, _ = people.enter("bob")
    bob.subscribe(f"/{word}/")
    (row,) = site.rows("SubscriptionLog", 1, channel=f"/{word}/", event="create_refused")
    assert (row["user_name"], row["decided_by"]) == (alice.name, "identity")


def test_what_is_rolled_back_ends_nothing(site: Site, people: People) -> None:
    alice, _ = people.enter("alice")
    site.do("change_user_in_vain", alice.name, is_active=False, password="new")
    alice.sync()
    site.do("change_user", alice.name, first_name="Alice")
    alice.sync()


def test_the_site_disconnects_somebody(site: Site, people: People) -> None:
    alice, _ = people.enter("alice")
    bob, _ = people.enter("bob")
    assert site.do("disconnect", alice.name) == 1
    assert alice.closed(SOON) == (4500, "enough")
    bob.sync()


@pytest.mark.parametrize("engine", ["cache", "cached_db", "file"])
def test_logout_with_other_session_engines(
    engine: str, make_pair: MakePair, tmp_path: Path, word: str
) -> None:
    pair = make_pair(
        SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}", SESSION_FILE_PATH=str(tmp_path)
    )
    pair.site.run()
    pair.hookbox.run()
    with ExitStack() as stack:
        people = People(pair, stack, word)
        alice, session = people.enter("alice")
        elsewhere, other = people.enter("alice")
        bob, _ = people.enter("bob")
        pair.site.do("sign_out", session=session)
        assert alice.closed(SOON)[0] == 4000
        elsewhere.sync()
        refused(people, session, "alice")
        pair.site.do("sign_in", people.name("carol"), session=other)
        assert elsewhere.closed(SOON)[0] == 4000
        bob.sync()


def test_what_sends_no_signal_ends_when_identities_are_confirmed(
    make_pair: MakePair, word: str
) -> None:
    pair = make_pair(HOOKBOX_REVALIDATE_SECONDS=10)
    pair.site.run()
    pair.hookbox.run()
    with ExitStack() as stack:
        people = People(pair, stack, word)
        alice, session = people.enter("alice")
        bob, _ = people.enter("bob")
        carol, _ = people.enter("carol")
        visitor = people.open()
        pair.site.do("expire_session", session)
        pair.site.do("update_users", people.name("bob"), is_active=False)
        assert alice.closed(30.0)[0] == 4000
        assert bob.closed(30.0)[0] == 4501
        carol.sync()
        visitor.sync()
