"""Rights end within 5 seconds of the return of a process that could not be notified."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from ..ports import free_port
from ..stand_ins.client import Client, Refused, client
from .conftest import MakePair
from .processes import Hookbox, Pair

#: Seconds after the return of the process, as the documentation says.
SOON = 5.0


class Crowd:
    """People whose rights end in different ways, and one whose rights do not."""

    def __init__(self, pair: Pair, stack: ExitStack) -> None:
        self._pair = pair
        self._stack = stack
        self.pages: dict[str, Client] = {}
        self.sessions: dict[str, str] = {}
        do = pair.site.do
        do("policy", "/edited/", subscribe_audience="everyone")
        group = do("join_group", self.sign_in("member"), "members")
        do("policy", "/members/", groups=[group], subscribe_audience="groups")
        self.ways: dict[str, Callable[[], Any]] = {
            "logout": lambda: do("sign_out", session=self.sessions["logout"]),
            "session": lambda: do("delete_session", self.sessions["session"]),
            "login": lambda: do("sign_in", "another", session=self.sessions["login"]),
            "inactive": lambda: do("change_user", "inactive", is_active=False),
            "password": lambda: do("change_user", "password", password="new"),
            "renamed": lambda: do("change_user", "renamed", username="other"),
            "deleted": lambda: do("delete_user", "deleted"),
        }
        for name in (*self.ways, "stays", "member"):
            self.sign_in(name)
            self.open(name)
        self.pages["member"].subscribe("/members/")
        self.pages["stays"].subscribe("/edited/")

    def sign_in(self, name: str) -> str:
        self.sessions[name] = self._pair.site.do("sign_in", name)
        return name

    def open(self, name: str, hookbox: Hookbox | None = None) -> Client:
        """Open a page in the session of somebody."""
        page = self._stack.enter_context(
            client(
                (hookbox or self._pair.hookbox).websocket,
                origin=self._pair.site.origin,
                session=self.sessions[name],
            )
        )
        page.connect(expect_user=name)
        self.pages[name] = page
        return page

    def revoke(self) -> None:
        """End the rights of everybody but one, in all ways."""
        for way in self.ways.values():
            way()
        self._pair.site.do("leave_group", "member", "members")
        self._pair.site.do("policy", "/edited/", subscribe_audience="nobody")

    def check(self) -> None:
        """Check that exactly these are gone in time."""
        end = time.monotonic() + SOON
        for name in self.ways:
            code, _reason = self.pages[name].closed(max(0.1, end - time.monotonic()))
            assert code == (4501 if name in ("inactive", "deleted") else 4000), name
        for name, channel in (("member", "/members/"), ("stays", "/edited/")):
            frame = self.pages[name].expect("UNSUBSCRIBE", max(0.1, end - time.monotonic()))
            assert frame["channel_name"] == channel
            self.pages[name].sync()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_after_it_was_stopped(make_pair: MakePair, stack: ExitStack) -> None:
    pair = make_pair()
    pair.site.run()
    pair.hookbox.run()
    crowd = Crowd(pair, stack)
    pair.hookbox.freeze()
    thaw_at = time.monotonic() + 10
    try:
        crowd.revoke()
        time.sleep(max(0.0, thaw_at - time.monotonic()))
    finally:
        pair.hookbox.thaw()
    crowd.check()
    assert "Unexpected error" not in pair.hookbox.log()


@contextmanager
def deaf() -> Iterator[int]:
    """Yield a port that accepts connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("atomic", [False, True], ids=["autocommit", "ATOMIC_REQUESTS"])
def test_while_it_cannot_be_called(make_pair: MakePair, stack: ExitStack, atomic: bool) -> None:
    pair = make_pair(
        ATOMIC_REQUESTS=atomic, DATABASE_OPTIONS={"transaction_mode": "IMMEDIATE", "timeout": 20}
    )
    port = stack.enter_context(deaf())
    pair.site.set(HOOKBOX_REST_URL=f"http://127.0.0.1:{port}")
    pair.site.run()
    pair.hookbox.run()
    crowd = Crowd(pair, stack)
    crowd.revoke()
    crowd.check()


def test_one_that_fails_keeps_no_other_back(make_pair: MakePair, stack: ExitStack) -> None:
    pair = make_pair()
    pair.site.run()
    pair.hookbox.run()
    crowd = Crowd(pair, stack)
    pair.hookbox.freeze()
    try:
        for text in ("nonsense", '{"code": 7, "users": ["stays"]}', '{"patterns": ["("]}'):
            pair.site.do("store_revocation", text)
        crowd.revoke()
        pair.site.do("store_revocation", '{"code": "x"}')
    finally:
        pair.hookbox.thaw()
    crowd.check()
    assert "cannot be read" in pair.site.log()
    assert "is unusable" in pair.hookbox.log()


def test_across_a_restart(make_pair: MakePair, stack: ExitStack) -> None:
    pair = make_pair()
    pair.site.run()
    pair.hookbox.run()
    crowd = Crowd(pair, stack)
    pair.hookbox.kill()
    crowd.revoke()
    pair.hookbox.run()
    for name in crowd.ways:
        with pytest.raises(Refused) as refusal:
            crowd.open(name)
        assert refusal.value.code == "session_expired", name
    crowd.sign_in("password")
    renewed = crowd.open("password")
    # Its first pull does not carry out what ended before.
    pair.hookbox.until(lambda: pair.site.log().count("/hookbox/outbox") > 3, "some pulls")
    renewed.sync()
    crowd.open("stays").sync()


def test_two_processes_started_by_mistake(make_pair: MakePair, stack: ExitStack) -> None:
    pair = make_pair()
    pair.site.run()
    pair.hookbox.run()
    folder = pair.folder / "second"
    folder.mkdir()
    second = Hookbox(folder, pair.environment, free_port())
    second.set(HOOKBOX_PORT=second.port, HOOKBOX_RUN_DIR=str(folder / "run"))
    stack.callback(second.stop)
    second.run()
    crowd = Crowd(pair, stack)
    pages = {name: crowd.open(name, second) for name in crowd.ways}
    for name in crowd.ways:
        crowd.open(name)
    crowd.revoke()
    crowd.check()
    for name, page in pages.items():
        assert page.closed(SOON)[0] in (4000, 4501), name


def test_sessions_end_when_they_expire_unless_they_are_prolonged(
    make_pair: MakePair, stack: ExitStack
) -> None:
    """Identities are not confirmed otherwise, so that nothing else can close the connection."""
    pair = make_pair(
        SESSION_COOKIE_AGE=8, SESSION_SAVE_EVERY_REQUEST=True, HOOKBOX_REVALIDATE_SECONDS=0
    )
    pair.site.run()
    pair.hookbox.run()
    pages: dict[str, Client] = {}
    sessions: dict[str, str] = {}
    for name in ("leaves", "stays"):
        sessions[name] = pair.site.do("sign_in", name)
        pages[name] = stack.enter_context(
            client(pair.hookbox.websocket, origin=pair.site.origin, session=sessions[name])
        )
        pages[name].connect(expect_user=name)
    stop = threading.Event()

    def prolong() -> None:
        while not stop.wait(1.0):
            pair.site.do("whoami", session=sessions["stays"])

    thread = threading.Thread(target=prolong)
    thread.start()
    try:
        assert pages["leaves"].closed(30.0) == (4000, "session expired")
        time.sleep(4)  # its first end has passed as well
        pages["stays"].sync()
    finally:
        stop.set()
        thread.join()
    assert pages["stays"].closed(30.0) == (4000, "session expired")
