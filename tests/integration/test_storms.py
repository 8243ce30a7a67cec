"""Everybody at once, and a site that goes and comes back."""

from __future__ import annotations

from contextlib import ExitStack

from ..stand_ins.client import client
from ..stand_ins.waiting import wait_for
from .conftest import Enter, MakePair, entering
from .processes import Pair, Site


def test_everybody_comes_at_once(pair: Pair, word: str) -> None:
    """As after a restart; the database is SQLite as Django sets it up."""
    site, channels = pair.site, [f"/{word}/a/", f"/{word}/b/"]
    site.do("policy", f"/{word}/<slug:room>/", subscribe_audience="signed_in")
    sessions = [site.do("sign_in", f"alice{word}")] * 10
    sessions += [site.do("sign_in", f"user{n}{word}") for n in range(40)]
    with ExitStack() as stack:
        pages = [
            stack.enter_context(client(pair.hookbox.websocket, origin=site.pages, session=session))
            for session in sessions
        ]
        frames = []
        for page in pages:
            page.send("CONNECT", cookie_string="", ack=True)
            frames.append([page.send("SUBSCRIBE", channel_name=name) for name in channels])
        for page, asked in zip(pages, frames, strict=True):
            page.name = page.expect("CONNECTED")["name"]
            for frame in asked:
                page.answer(frame)
        for name in channels:
            assert len(pair.hookbox.subscribers(name)) == 41
            assert site.do("publish", name, "everybody here?") == 50
        for page in pages:
            for name in channels:
                page.expect("PUBLISH", channel_name=name)
    # 10 connections of one user subscribe twice, together.
    for event in ("subscribe", "unsubscribe"):
        rows = site.rows("SubscriptionLog", 82, channel__startswith=f"/{word}/", event=event)
        assert len(rows) == 82
    for event in ("connect", "disconnect"):
        rows = site.rows("ConnectionLog", 50, user_name__endswith=word, event=event)
        assert len(rows) == 50


def test_django_restarts(make_pair: MakePair) -> None:
    pair = make_pair()
    pair.site.run()
    pair.hookbox.run()
    with ExitStack() as stack:
        enter: Enter = entering(pair, stack)
        pair.site.do("policy", "/room/", moderated=False, **dict.fromkeys(
            ("subscribe_audience", "publish_audience"), "everyone"))  # fmt: skip
        alice, bob, carol = enter("alice"), enter("bob"), enter("carol")
        alice.subscribe("/room/")
        bob.subscribe("/room/")
        pair.site.stop()
        # What needs no decision goes on; what is to be told waits.
        alice.publish("/room/", "is somebody there?")
        assert bob.expect("PUBLISH")["payload"] == "is somebody there?"
        carol.socket.close()
        wait_for(lambda: pair.hookbox.connections("carol") == 0, "the end to be noticed")
        pair.site.run()
        _site_knows(pair.site)
        alice.subscribe("/handled/room/")
        bob.publish("/room/", "still here")
        alice.expect("PUBLISH", payload="still here")


def _site_knows(site: Site) -> None:
    (row,) = site.rows("ConnectionLog", 1, event="disconnect")
    assert (row["user_name"], row["code"]) == ("carol", 1000)
    (row,) = site.rows("Publication", 1)
    assert (row["payload"], row["user_name"]) == ("is somebody there?", "alice")
