"""Pages that leave and return in any order receive neither unreported gaps nor duplicates.

The pages follow the rules that `docs/protocol.rst` gives to clients.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from djhookbox.server.core.announcing import compose
from djhookbox.server.core.applying import apply, create
from djhookbox.server.core.changes import Change, Create, Destroy, SetOptions, Subscribe
from djhookbox.server.core.effects import Effect
from djhookbox.server.core.hub import Hub
from djhookbox.server.core.model import Channel
from djhookbox.server.core.stream import Position, place
from djhookbox.server.engine.memory import MemoryEngine
from djhookbox.wire.options import UserOptions

from ..tries import tries
from .house import NOW, Client, deliver

Result = TypeVar("Result")

LINGER = 50


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise AssertionError("it waited")


class Page:
    """A page: one subscription, by the rules for clients."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.client: Any = None
        self.subscribed = False
        self.epoch = ""
        self.position = 0
        #: How many of the messages that were ever sent it has, or knows that it lacks.
        self.settled = 0
        #: Of how many it knows that it lacks them, before the next one; None for any number.
        self.gap: int | None = 0

    @property
    def cursor(self) -> Position | None:
        if not self.epoch:
            return None
        cursor = f"{self.epoch}:{self.position}"
        assert re.fullmatch(r"\w+:\d+", cursor)
        return Position.parse(cursor)

    def got(self, number: int) -> None:
        """Take the message that was sent as the so-manyeth, from 1 on."""
        lacking = number - 1 - self.settled
        assert lacking >= 0, f"{self.name}: {number} is doubled, or comes too late"
        if self.gap is not None:
            assert lacking == self.gap, f"{self.name}: {lacking} lack before {number}"
        self.settled, self.gap = number, 0

    def read(self, sent: int) -> None:
        """Read the frames that have come; so many messages were sent until now."""
        for name, args in self.client.took() if self.client else ():
            if name == "PUBLISH":
                self.publish(args)
            elif name == "SUBSCRIBE":
                self.begin(args, sent)
            elif name == "UNSUBSCRIBE":
                self.subscribed = False

    def acknowledged(self, args: Mapping[str, Any], number: int) -> None:
        """Take the ACK of a message that the page has sent, and will not receive."""
        assert self.settled == number - 1
        self.settled = number
        self.epoch = args.get("epoch", self.epoch)
        self.position = args.get("offset", self.position)

    def publish(self, args: dict[str, Any]) -> None:
        offset = args.get("offset")
        if "epoch" in args and args["epoch"] != self.epoch:
            self.epoch, self.position = args["epoch"], 0
        if offset is not None:
            if offset <= self.position:
                return
            self.position = offset
        self.got(args["payload"])

    def begin(self, args: dict[str, Any], sent: int) -> None:
        self.subscribed = True
        if "recovered" in args:
            if args["missed"] != 0:
                self.gap = args["missed"]
            for each in args["recovered"]:
                if args["epoch"] != self.epoch or each["offset"] > self.position:
                    self.got(each["payload"])
            # What is missed at the end lies in the gap that was announced.
            assert self.gap is None or sent - self.settled == self.gap
        self.settled, self.gap = sent, 0
        self.epoch, self.position = args.get("epoch", ""), args.get("offset", 0)


class AnySequence(RuleBasedStateMachine):
    """Publish, lose connections, come back, wait, change history, crash."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.sent = 0
        self.options: dict[str, Any] = {"history_size": 3, "reflective": True}
        self.pages = [Page(name) for name in ("alice", "bob", "carol")]
        self.begin()

    # ---- what is done to the core --------------------------------------------------------------

    def begin(self) -> None:
        self.hub = Hub()
        self.engine = MemoryEngine(max_streams=2, max_publications=5)

    def perform(self, effects: list[Effect]) -> None:
        deliver(effects)
        self.read()

    def apply(self, channel: Channel, change: Change) -> None:
        accepted = self.engine.propose("room", change)
        self.perform(apply(self.hub, channel, change, accepted))

    def channel(self) -> Channel:
        channel = self.hub.channels.get("room")
        if channel is None:
            change = Create(self.options, self.now)
            accepted = self.engine.propose("room", change)
            channel, effects = create(self.hub, "room", change, accepted)
            self.perform(effects)
        return channel

    def channels(self) -> Iterable[Channel]:
        """Return the channel as each server knows it that has it open."""
        return self.hub.channels.values()

    def do_come(self, page: Page, since: Position | None) -> None:
        if page.client is None:
            page.client = Client(page.name)
            self.perform(self.hub.connect(page.client, page.name, UserOptions(), self.now, {}))
        assert page.client.user is not None
        change = Subscribe(page.client.user, page.client, self.now, since=since)
        self.apply(self.channel(), change)

    def do_go(self, client: Any) -> None:
        effects, left = self.hub.detach(client, self.now)
        self.perform(effects)
        for channel in left:
            if not channel.subscribers:
                self.apply(channel, Destroy(self.now, LINGER))

    def do_publish(self, origin: Page | None) -> None:
        channel = self.channel()
        self.apply(channel, compose(channel, self.sent, None, self.now, origin and origin.client))
        stream = channel.stream
        if origin is not None and origin.subscribed and not channel.options.reflective:
            fields = place(*stream.position) if stream is not None else {}
            origin.acknowledged(fields, self.sent)

    def do_change(self) -> None:
        channel = self.hub.channels.get("room")
        if channel is not None:
            self.apply(channel, SetOptions(self.options, self.now))

    def do_wait(self) -> None:
        run(self.engine.expire(self.now))

    def do_destroy(self) -> None:
        channel = self.hub.channels.get("room")
        if channel is not None:
            self.apply(channel, Destroy(self.now, LINGER))

    def ask_position(self, number: int) -> None:
        run(self.engine.position(f"other{number}", self.now))

    # ---- the rules -----------------------------------------------------------------------------

    def read(self) -> None:
        for page in self.pages:
            page.read(self.sent)

    @rule(number=st.integers(0, 2), cursor=st.booleans())
    def come(self, number: int, cursor: bool) -> None:
        page = self.pages[number]
        since = page.cursor if cursor or not page.subscribed else None
        if since is None and not page.subscribed:
            page.gap = None  # it has nothing to come back to, and claims nothing
        self.do_come(page, since)

    @rule(number=st.integers(0, 2))
    def go(self, number: int) -> None:
        page = self.pages[number]
        if page.client is None:
            return
        client, page.client, page.subscribed = page.client, None, False
        self.do_go(client)

    @rule(number=st.integers(0, 3), times=st.integers(1, 4))
    def publish(self, number: int, times: int) -> None:
        for _ in range(times):
            origin = self.pages[number] if number < 3 else None
            if origin is not None and origin.client is None:
                origin = None
            self.sent += 1
            self.do_publish(origin)

    @rule(
        size=st.sampled_from([0, 2, 4]),
        duration=st.sampled_from([0, 20]),
        reflective=st.booleans(),
    )
    def change(self, size: int, duration: int, reflective: bool) -> None:
        self.options = {
            "history_size": size, "history_duration": duration, "reflective": reflective,
        }  # fmt: skip
        self.do_change()

    @rule(seconds=st.sampled_from([1, 15, 30, 60]))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.do_wait()

    @rule()
    def destroy(self) -> None:
        self.do_destroy()

    @rule(number=st.integers(0, 3))
    def another_channel(self, number: int) -> None:
        self.ask_position(number)

    @rule()
    def crash(self) -> None:
        for page in self.pages:
            page.client, page.subscribed = None, False
        self.begin()

    @invariant()
    def who_is_here_lacks_nothing(self) -> None:
        for page in self.pages:
            if page.subscribed:
                assert page.settled == self.sent
                for channel in self.channels():
                    stream = channel.stream
                    if stream is not None and page.epoch == stream.epoch:
                        assert page.position == stream.offset


TestAnySequence = AnySequence.TestCase
TestAnySequence.settings = tries(200, stateful_step_count=40)
