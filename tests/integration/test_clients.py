"""What clients may do to the server: bad frames, floods, not reading, not answering."""

from __future__ import annotations

import contextlib
import json
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from ..stand_ins.client import Client, DeafClient, Refused
from ..stand_ins.process import FakeHookbox
from ..stand_ins.waiting import wait_for
from .conftest import opening, scripted_site
from .processes import Hookbox
from .scripted import ORIGIN, Lonely, event

# ---- bad frames --------------------------------------------------------------

BAD_FRAMES = {
    "hello": (None, "Invalid json", "malformed"),
    "[1, 'PUBLISH', {}]": (None, "Invalid json", "malformed"),
    "[1, NaN, {}]": (None, "Invalid json", "malformed"),
    "[" * 20_000: (None, "Invalid json", "malformed"),
    "{}": (None, "Invalid frame (not a list)", "malformed"),
    "null": (None, "Invalid frame (not a list)", "malformed"),
    "[7]": (7, "Invalid frame length", "malformed"),
    '["7", "SUBSCRIBE", {}]': (None, "Invalid frame id (must be int)", "malformed"),
    "[7, 12, {}]": (7, "Invalid frame name (must be string)", "malformed"),
    '[7, "SUBSCRIBE", []]': (
        7, "Invalid frame keyword arguments (must be dictionary)", "malformed",
    ),
    '[7, "EXPLODE", {}]': (7, "Unknown frame name", "malformed"),
    '[7, "__init__", {}]': (7, "Unknown frame name", "malformed"),
    '[7, "SUBSCRIBE", {}]': (7, "channel_name required", "malformed"),
    '[7, "SUBSCRIBE", {"channel_name": null}]': (
        7, "channel_name must be a string", "malformed",
    ),
    '[7, "SUBSCRIBE", {"channel_name": 12}]': (7, "channel_name must be a string", "malformed"),
    '[7, "PUBLISH", {"channel_name": ["/a/"]}]': (
        7, "channel_name must be a string", "malformed",
    ),
    '[7, "SUBSCRIBE", {"channel_name": ""}]': (
        7, "channel_name must not be empty", "malformed",
    ),
    '[7, "SUBSCRIBE", {"channel_name": "a\\u0000b"}]': (
        7, "channel_name must not contain control characters", "malformed",
    ),
    '[7, "SUBSCRIBE", {"channel_name": "\\ud800"}]': (
        7, "channel_name must not contain control characters", "malformed",
    ),
    '[7, "SUBSCRIBE", {"channel_name": "%s"}]' % ("x" * 256): (
        7, "channel_name is too long (at most 255 characters)", "malformed",
    ),
    '[7, "PUBLISH", {"channel_name": "/open/x/", "payload": "{"}]': (
        7, "Invalid json for payload", "malformed",
    ),
    '[7, "PUBLISH", {"channel_name": "/open/x/", "payload": 5}]': (
        7, "Invalid json for payload", "malformed",
    ),
    '[7, "MESSAGE", {"name": 5, "payload": "1"}]': (7, "name must be a string", "malformed"),
    "x" * 70_000: (None, "Frame too large (at most 65536 bytes)", "limit"),
}  # fmt: skip


def test_bad_frames_get_an_error_and_cost_nothing_else(
    page: Callable[..., Client], word: str
) -> None:
    alice = page(f"alice{word}")
    for text, (frame_id, msg, code) in BAD_FRAMES.items():
        alice.send_text(f"{text}\r\n")
        assert alice.expect("ERROR") == {"id": frame_id, "msg": msg, "code": code}, text[:60]
    alice.subscribe(f"/{word}/")


@pytest.mark.parametrize("name", ["SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH", "MESSAGE"])
def test_before_connect_nothing_works(
    name: str, page: Callable[..., Client], script: FakeHookbox, word: str
) -> None:
    alice = page()
    frame = alice.send(name, channel_name=f"/{word}/", name="bob", payload="1")
    assert alice.expect("ERROR") == {"id": frame, "msg": "Not connected", "code": "not_connected"}
    assert [r for r in script.requests if r.form.get("channel_name") == f"/{word}/"] == []
    for cookies in (None, 5, "a\nb"):
        with pytest.raises(Refused, match="cookie_string must be"):
            alice.connect(cookie_string=cookies)
    alice.connect()
    with pytest.raises(Refused, match="Already logged in"):
        alice.connect()


def test_frames_come_in_pieces_and_many_at_once(page: Callable[..., Client], word: str) -> None:
    alice = page(f"alice{word}")
    text = f'[1, "SUBSCRIBE", {{"channel_name": "/open/{word}/"}}]\r\n'
    for character in text:
        alice.send_text(character)
    alice.answer(1)
    publications = "".join(
        f'[{n}, "PUBLISH", {{"channel_name": "/open/{word}/", "payload": "{n}"}}]\r\n'
        for n in (2, 3, 4)
    )
    alice.send_text(publications)
    assert [alice.expect("PUBLISH")["payload"] for _ in range(3)] == [2, 3, 4]
    alice.socket.send(f'[5, "PUBLISH", {{"channel_name": "/open/{word}/"}}]\r\n'.encode())
    assert alice.expect("PUBLISH")["payload"] is None


def test_an_endless_message_ends_only_its_own_connection(
    page: Callable[..., Client], word: str
) -> None:
    alice, bob = page(f"alice{word}"), page(f"bob{word}")
    with contextlib.suppress(ConnectionClosed):
        alice.send_text("x" * 5_000_000)
    # 1006 where the server has hung up while we were still writing.
    assert alice.closed()[0] in (1009, 1006)
    bob.sync()


# ---- floods ------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ['[{n}, "PUBLISH", {{"channel_name": "/open/flood/", "payload": "{n}"}}]\r\n', "rubbish\r\n"],
    ids=["publications", "rubbish"],
)
def test_ten_thousand_frames_in_one_write(
    text: str, page: Callable[..., Client], word: str
) -> None:
    flooder, bob = page(f"flooder{word}"), page(f"bob{word}")
    flood = "".join(text.format(n=number) for number in range(1, 10_001))
    counted = threading.Event()

    def read() -> None:
        answers = 0
        while answers < 10_000:
            name, args = flooder.next()
            if name == "ERROR" or (name == "ACK" and args["id"] == answers + 1):
                answers += 1
        counted.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    flooder.send_text(flood)
    turns, slowest = 0, 0.0
    while not counted.is_set() and turns < 10_000:
        asked = time.monotonic()
        bob.sync()
        slowest = max(slowest, time.monotonic() - asked)
        turns += 1
    reader.join(30)
    assert counted.is_set(), "every frame is answered"
    assert turns > 5, "somebody else was served meanwhile"
    assert slowest < 1.0
    flooder.sync()


# ---- not reading, not answering ----------------------------------------------


@pytest.fixture(scope="module")
def impatient(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lonely]:
    """A Hookbox process that soon loses patience."""
    folder = tmp_path_factory.mktemp("impatient")
    with scripted_site(
        folder, migrated, HOOKBOX_PING_INTERVAL=0.5, HOOKBOX_MAX_UNSENT=65_536
    ) as lonely:
        yield lonely


@contextlib.contextmanager
def deaf(hookbox: Hookbox, name: str, channel: str = "") -> Iterator[DeafClient]:
    """Connect somebody who from then on reads and answers nothing."""
    client = DeafClient(hookbox.port, ORIGIN)
    try:
        client.send(1, "CONNECT", cookie_string="", payload=json.dumps(name))
        client.read_until(b"CONNECTED")
        if channel:
            client.send(2, "SUBSCRIBE", channel_name=channel)
            client.read_until(b'"SUBSCRIBE"')
        yield client
    finally:
        client.close()


def test_who_does_not_read_is_closed_and_nobody_else_waits(
    lonely_hookbox: Lonely, script: FakeHookbox, page: Callable[..., Client], word: str
) -> None:
    hookbox, channel = lonely_hookbox[0], f"/open/{word}/"
    with ExitStack() as stack:
        for number in range(3):
            stack.enter_context(deaf(hookbox, f"deaf{number}{word}", channel))
        bob = page(f"bob{word}")
        bob.subscribe(channel)
        payload = json.dumps("x" * 20_000)
        for number in range(200):
            asked = time.monotonic()
            success, answer = hookbox.rest("publish", channel_name=channel, payload=payload)
            bob.expect("PUBLISH")
            assert time.monotonic() - asked < 1.0, f"publication {number} was late"
            assert success
            if answer["delivered"] == 1:
                break
        assert hookbox.subscribers(channel) == [bob.name]
        for number in range(3):
            end = event(script, event="disconnect", user=f"deaf{number}{word}")
            assert end["code"] == 4001
        wait_for(
            lambda: hookbox.rest("get_server_info")[1]["connections"] <= 1,
            "the server to be rid of them",
            5,
        )


def test_who_does_not_answer_pings_is_closed(impatient: Lonely, word: str) -> None:
    hookbox, script = impatient
    with ExitStack() as stack:
        bob = opening(hookbox, stack)(f"bob{word}")
        dead = stack.enter_context(deaf(hookbox, f"dead{word}"))
        began = time.monotonic()
        # Pings, then the close frame: its code, and a reason.
        dead.read_until(struct.pack("!H", 4002))
        assert time.monotonic() - began < 3
        assert event(script, event="disconnect", user=f"dead{word}")["code"] == 4002
        bob.sync()
        assert hookbox.connections(bob.name) == 1
