"""A client for tests that behaves like the browser client."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..client.payloads import to_json
from ..wire.closing import Disconnect
from ..wire.values import JSON, JSONObject

if TYPE_CHECKING:
    from ..server.inprocess import MemoryConnection


class ClientRefused(Exception):
    """The server or the site refused what a client asked for.

    Attributes:
        reason: What the browser would show.
        code: The code, such as `refused` or `session_expired`.

    """

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.reason = reason
        self.code = code


@dataclass(frozen=True, slots=True)
class Received:
    """A message that a client has received.

    Attributes:
        channel: The channel, or "" for a message from a user.
        payload: The message.
        user: The name of the sender, or "".

    """

    channel: str
    payload: JSON
    user: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a new subscriber learns about a channel.

    Attributes:
        history: The messages that were published before.
        presence: The names of its subscribers.
        state: Its state.

    """

    history: list[JSON] = field(default_factory=list)
    presence: list[str] = field(default_factory=list)
    state: JSONObject = field(default_factory=dict)


class HookboxClient:
    """A connection to the in-process server. `InProcessHookbox.connect()` returns one.

    Attributes:
        name: The name that the site has given the user.

    """

    def __init__(
        self,
        run: Callable[[Coroutine[Any, Any, Any]], Any],
        connection: MemoryConnection,
        settle: Callable[[], None],
    ) -> None:
        self._run = run
        self._connection = connection
        self._settle = settle
        self.name = ""

    def __repr__(self) -> str:
        return f"<HookboxClient {self.name!r}>"

    def _connect(self, token: str, payload: object) -> None:
        args: JSONObject = {"cookie_string": "", "ack": True, "payload": to_json(payload)}
        if token:
            args["token"] = token
        self._ask("CONNECT", args)
        self.name = self._frames("CONNECTED")[-1]["name"]

    # ---- what a page does ----------------------------------------------------------------------

    def subscribe(self, channel: str) -> Snapshot:
        """Subscribe to a channel.

        Raises:
            ClientRefused: The site refuses.

        """
        self._ask("SUBSCRIBE", {"channel_name": channel})
        for args in reversed(self._frames("SUBSCRIBE")):
            if args["channel_name"] == channel and "history" in args:
                history = [data["payload"] for kind, data in args["history"] if kind == "PUBLISH"]
                return Snapshot(history, list(args.get("presence") or ()), args.get("state") or {})
        return Snapshot()  # the user's other connections were subscribed already

    def unsubscribe(self, channel: str) -> None:
        """Leave a channel."""
        self._ask("UNSUBSCRIBE", {"channel_name": channel})

    def publish(self, channel: str, payload: object) -> None:
        """Publish to a channel.

        Raises:
            ClientRefused: The site refuses.

        """
        self._ask("PUBLISH", {"channel_name": channel, "payload": to_json(payload)})

    def message(self, user: str, payload: object) -> None:
        """Send a message to a user.

        Raises:
            ClientRefused: No handler allows it.

        """
        self._ask("MESSAGE", {"name": user, "payload": to_json(payload)})

    def disconnect(self) -> None:
        """Close the connection, as a closed tab does."""

        async def close() -> None:
            self._connection.lost(Disconnect(1001, "going away"))

        self._run(close())
        self._settle()

    # ---- what a page receives ------------------------------------------------------------------

    def received(self, channel: str | None = None) -> list[JSON]:
        """Return the payloads received so far, of one channel or of all, oldest first."""
        return [each.payload for each in self.messages(channel)]

    def messages(self, channel: str | None = None) -> list[Received]:
        """Return the messages received so far, of one channel or of all, oldest first."""
        self._settle()
        found = []
        for kind, args in self._connection.frames:
            if kind == "PUBLISH" and channel in (None, args["channel_name"]):
                found.append(Received(args["channel_name"], args["payload"], args["user"] or ""))
            elif kind == "MESSAGE" and channel is None:
                found.append(Received("", args["payload"], args["sender"]))
        return found

    def presence(self, channel: str) -> list[str]:
        """Return the names on a presenceful channel, as the page knows them."""
        self._settle()
        names: dict[str, None] = {}
        for kind, args in self._connection.frames:
            if args.get("channel_name") != channel:
                continue
            if kind == "SUBSCRIBE":
                names |= dict.fromkeys(args.get("presence") or ())
                names[args["user"]] = None
            elif kind == "UNSUBSCRIBE":
                names.pop(args["user"], None)
        return sorted(names)

    def channels(self) -> list[str]:
        """Return the channels that the page is subscribed to."""
        self._settle()
        found: dict[str, None] = {}
        for kind, args in self._connection.frames:
            if kind == "SUBSCRIBE" and args["user"] == self.name:
                found[args["channel_name"]] = None
            elif kind == "UNSUBSCRIBE" and args["user"] == self.name:
                found.pop(args["channel_name"], None)
        return sorted(found)

    @property
    def closed(self) -> tuple[int, str] | None:
        """The close code and the reason with which the server closed the connection, or None."""
        self._settle()
        ending = self._connection.ending
        return None if ending is None else (ending.code, ending.reason)

    def clear(self) -> None:
        """Forget the messages received so far."""
        self._settle()
        kept = [
            frame for frame in self._connection.frames if frame[0] not in ("PUBLISH", "MESSAGE")
        ]
        self._connection.frames[:] = kept

    # ---- parts ---------------------------------------------------------------------------------

    def _ask(self, name: str, args: JSONObject) -> None:
        error = self._run(self._connection.ask(name, args))
        self._settle()
        if error is not None:
            raise ClientRefused(str(error.get("msg", "")), str(error.get("code", "")))

    def _frames(self, name: str) -> list[JSONObject]:
        return [args for kind, args in self._connection.frames if kind == name]
