"""Pages that lose their connection, or their server, and come back: nothing lost silently."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from ..stand_ins.client import Client, Refused, client
from .conftest import Enter, MakePair, entering
from .processes import Hookbox, Pair, Site


class Reader:
    """A page that follows the rules for clients on one channel.

    Attributes:
        got: The payloads that it has shown, and the gaps as `("gap", missed)`.

    """

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.got: list[Any] = []
        self._epoch = ""
        self._offset = 0

    @property
    def cursor(self) -> str | None:
        return f"{self._epoch}:{self._offset}" if self._epoch else None

    def begin(self, page: Client) -> None:
        """Take in the snapshot that answers the cursor."""
        args = page.expect("SUBSCRIBE", channel_name=self.channel, user=page.name)
        if self._epoch:
            if args["missed"] != 0:
                self.got.append(("gap", args["missed"]))
            same = args["epoch"] == self._epoch
            for each in args["recovered"]:
                if not same or each["offset"] > self._offset:
                    self.got.append(each["payload"])
        self._epoch, self._offset = args["epoch"], args["offset"]

    def jump(self, args: dict[str, Any]) -> None:
        """Go on from a snapshot that announces a gap."""
        self._epoch, self._offset = args["epoch"], args["offset"]

    def read(self, page: Client) -> None:
        """Take in what has come."""
        for args in page.got("PUBLISH"):
            page.inbox.remove(("PUBLISH", args))
            if "epoch" in args and args["epoch"] != self._epoch:
                self._epoch, self._offset = args["epoch"], args["offset"] - 1
            if args["offset"] > self._offset:
                assert args["offset"] == self._offset + 1
                self._offset = args["offset"]
                self.got.append(args["payload"])


@pytest.fixture
def channel(site: Site, word: str) -> str:
    options = {"history_size": 50, "reflective": False, "publish_audience": "signed_in"}
    site.do("policy", f"/{word}/", **options)
    return f"/{word}/"


def come_back(page: Client, reader: Reader) -> None:
    wanted = {"channel_name": reader.channel, "since": reader.cursor}
    page.ask("SUBSCRIBE", channels=[wanted])
    reader.begin(page)


def test_cut_off_for_a_while(site: Site, enter: Enter, channel: str, word: str) -> None:
    reader, other = Reader(channel), enter(f"bob{word}")
    other.subscribe(channel)
    page = enter(f"alice{word}")
    come_back(page, reader)
    for number in range(1, 31):
        site.do("publish", channel, number)
        if number % 10 == 5:
            reader.read(page)
            page.socket.close()
        if number % 10 == 0:
            page = enter(f"alice{word}")
            come_back(page, reader)
    reader.read(page)
    assert reader.got == list(range(1, 31))


def test_what_was_published_while_everybody_was_gone_is_recovered(
    site: Site, hookbox: Hookbox, enter: Enter, channel: str, word: str
) -> None:
    reader, page = Reader(channel), enter(f"alice{word}")
    come_back(page, reader)
    site.do("publish", channel, 1)
    reader.read(page)
    page.socket.close()
    site.rows("SubscriptionLog", 1, channel=channel, event="destroy")
    for number in range(2, 70):
        site.do("publish", channel, number)
    page = enter(f"alice{word}")
    come_back(page, reader)
    assert reader.got == [*range(1, 70)]  # HOOKBOX_RECOVERY_SECONDS


def test_the_own_messages_count(site: Site, enter: Enter, channel: str, word: str) -> None:
    page = enter(f"alice{word}")
    page.subscribe(channel)
    page.answer(page.send("PUBLISH", channel_name=channel, payload='"mine"'))
    site.do("publish", channel, "another")
    assert page.expect("PUBLISH")["offset"] == 2


def test_from_the_query_of_a_view_on(site: Site, enter: Enter, channel: str, word: str) -> None:
    cursor = site.do("cursor", channel)
    site.do("publish", channel, "between query and subscription")
    page = enter(f"alice{word}")
    page.ask("SUBSCRIBE", channel_name=channel, since=cursor)
    args = page.expect("SUBSCRIBE", channel_name=channel)
    assert [each["payload"] for each in args["recovered"]] == ["between query and subscription"]
    assert (args["missed"], args["offset"]) == (0, 1)
    assert site.do("cursor", channel) == f"{args['epoch']}:1"
    assert site.do("cursor", f"/nobody{word}/") == ""


def test_another_tab_is_there_already(site: Site, enter: Enter, channel: str, word: str) -> None:
    first = enter(f"alice{word}")
    first.subscribe(channel)
    cursor = site.do("cursor", channel)
    site.do("publish", channel, 1)
    second = enter(f"alice{word}")
    assert "recovered" not in second.expect("SUBSCRIBE", channel_name=channel)
    second.ask("SUBSCRIBE", channels=[{"channel_name": channel, "since": cursor}])
    args = second.expect("SUBSCRIBE", channel_name=channel)
    assert [each["payload"] for each in args["recovered"]] == [1]


# ---- the server ends ---------------------------------------------------------


@pytest.fixture
def own(make_pair: MakePair) -> Pair:
    pair = make_pair()
    pair.site.run()
    pair.hookbox.run()
    pair.site.do("policy", "/<slug:room>/", history_size=50)
    return pair


def test_killed_and_started_again(own: Pair) -> None:
    site, hookbox = own.site, own.hookbox
    site.do("policy", "/room/", history_size=50)
    with ExitStack() as stack:
        enter = entering(own, stack)
        readers = [Reader("/room/") for _ in range(3)]
        pages = [enter(f"user{number}") for number in range(3)]
        for page, reader in zip(pages, readers, strict=True):
            come_back(page, reader)
        taken = 0
        for round_ in range(3):
            for _ in range(5):
                site.do("publish", "/room/", taken)
                taken += 1
            if round_ != 1:  # one of them reads nothing before it loses the connection
                for page, reader in zip(pages, readers, strict=True):
                    reader.read(page)
            hookbox.kill()
            assert site.do("try_to_publish", "/room/", "never")["error"] == "HookboxNotRunning"
            assert site.do("cursor", "/room/") == ""
            hookbox.run()
            site.do("publish", "/room/", taken)
            taken += 1
            pages = [enter(f"user{number}") for number in range(3)]
            for page, reader in zip(pages, readers, strict=True):
                come_back(page, reader)
        for page, reader in zip(pages, readers, strict=True):
            reader.read(page)
            check(reader.got, taken)


def check(got: list[Any], taken: int) -> None:
    """In order, none twice, a gap at each restart, and what is missing lies in one."""
    assert [each for each in got if isinstance(each, tuple)] == [("gap", None)] * 3
    last, gap = -1, False
    for each in got:
        if isinstance(each, tuple):
            gap = True
        else:
            assert each == last + 1 or (gap and each > last)
            last, gap = each, False
    assert last == taken - 1


def webhooks(site: Site) -> Counter[str]:
    """Count the webhooks that the site has answered."""
    return Counter(re.findall(r"^Webhook /hookbox/(\w+)", site.log(), re.MULTILINE))


def test_a_restart_with_many_pages_asks_once_for_each(own: Pair) -> None:
    site, hookbox = own.site, own.hookbox
    channels = [f"/room{number}/" for number in range(10)]
    sessions = [site.do("sign_in", f"user{number}") for number in range(20)]

    def all_come(stack: ExitStack) -> list[Client]:
        pages = [
            stack.enter_context(client(hookbox.websocket, origin=site.pages, session=session))
            for session in sessions
        ]
        frames = []
        for page in pages:
            page.send("CONNECT", cookie_string="", ack=True)
            frames.append(page.send("SUBSCRIBE", channels=channels))
        for page, frame in zip(pages, frames, strict=True):
            page.name = page.expect("CONNECTED")["name"]
            page.answer(frame)
            assert len(page.got("SUBSCRIBE")) == len(channels)
        return pages

    with ExitStack() as stack:
        all_come(stack)
        hookbox.kill()
    earlier = webhooks(site)
    hookbox.run()
    with ExitStack() as stack:
        pages = all_come(stack)
        asked = webhooks(site) - earlier
        del asked["outbox"]  # which it makes on its own account
        del asked["events"]  # by which the new process says that it is there
        # The project's receivers are not marked as `batch_safe`: it asks for single calls.
        del asked["batch"]
        assert asked == {"connect": len(pages), "subscribe_many": len(pages)}
        assert hookbox.rest("get_server_info")[1]["webhooks"]["failed"] == 0
        for name in channels:
            assert site.do("publish", name, name) == len(pages)
    rows = site.rows("SubscriptionLog", 400, event="subscribe")
    assert len(rows) == 2 * len(pages) * len(channels)


def test_receivers_may_publish_to_what_a_batch_wants(site: Site, enter: Enter, word: str) -> None:
    """The site has the webhook in hand and calls the server, which must not wait for it."""
    names = [f"/greeting/{word}{number}/" for number in range(5)]
    site.do("policy", "/greeting/<slug:room>/", history_size=5)
    page = enter(f"alice{word}")
    page.ask("SUBSCRIBE", channels=[{"channel_name": name, "since": "x:0"} for name in names])
    for name in names:
        args = page.expect("SUBSCRIBE", channel_name=name)
        assert [each["payload"] for each in args["recovered"]] == [{"welcome": page.name}]


# ---- sessions ----------------------------------------------------------------


Ask = Callable[[Client, str], None]


@pytest.mark.parametrize(
    "ask",
    [
        lambda page, name: page.subscribe(name),
        lambda page, name: page.ask("SUBSCRIBE", channels=[name]),
        lambda page, name: page.publish(name, 1),
    ],
    ids=["subscribe", "subscribe_many", "publish"],
)
def test_a_session_that_expired_ends_all_its_pages_when_one_asks(
    site: Site, hookbox: Hookbox, channel: str, word: str, ask: Ask
) -> None:
    """Nothing told anybody of it; but now the site has said so."""
    with ExitStack() as stack:
        session = site.do("sign_in", f"alice{word}")

        def enter(**connect: Any) -> Client:
            page = stack.enter_context(
                client(hookbox.websocket, origin=site.pages, session=session)
            )
            page.connect(**connect)
            return page

        page, other = enter(), enter()
        page.subscribe(channel)
        site.do("expire_session", session)
        with pytest.raises(Refused) as refusal:
            ask(page, f"/other{word}/")
        assert refusal.value.code == "session_expired"
        assert page.closed() == (4000, "session expired")
        assert other.closed() == (4000, "session expired")
        with pytest.raises(Refused) as refusal:
            enter(expect_user=f"alice{word}")
        assert refusal.value.code == "session_expired"
