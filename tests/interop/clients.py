"""A client for the genuine server, which acknowledges nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import connect

from ..stand_ins.client import Client, Refused
from ..stand_ins.waiting import PATIENCE


class GenuineClient(Client):
    """A page that does what the original client does: it says its cookies itself."""

    def text_of(self, message: str | bytes) -> str:
        assert isinstance(message, bytes)  # eventlet's doing: D02
        return message.decode()

    def connect(self, session: str = "") -> dict[str, Any]:
        cookies = f"sessionid={session}" if session else ""
        frame_id = self.send("CONNECT", cookie_string=cookies)
        answer = self.expect_one_of("CONNECTED", frame_id)
        self.name = answer["name"]
        return answer

    def subscribe(self, channel: str) -> dict[str, Any]:
        return self.expect_one_of("SUBSCRIBE", self.send("SUBSCRIBE", channel_name=channel))

    def unsubscribe(self, channel: str) -> None:
        self.expect_one_of("UNSUBSCRIBE", self.send("UNSUBSCRIBE", channel_name=channel))

    def publish(self, channel: str, payload: Any) -> None:
        """Publish to a channel that is subscribed to and reflective."""
        frame_id = self.send("PUBLISH", channel_name=channel, payload=json.dumps(payload))
        self.expect_one_of("PUBLISH", frame_id)

    def expect_one_of(self, name: str, frame_id: int) -> dict[str, Any]:
        """Wait for the frame that answers another.

        Raises:
            Refused: If that is ERROR.

        """
        while True:
            kind, args = self.next()
            if kind == "ERROR" and args["id"] == frame_id:
                raise Refused(args["msg"], "")
            if kind == name and args.get("user", self.name) in (self.name, ""):
                return args


@contextmanager
def genuine_client(url: str) -> Iterator[GenuineClient]:
    """Open a WebSocket."""
    with connect(
        url, open_timeout=PATIENCE, close_timeout=1, ping_interval=None, proxy=None
    ) as websocket:
        yield GenuineClient(websocket)
