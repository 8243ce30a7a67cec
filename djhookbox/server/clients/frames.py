"""The frames that clients send: check their arguments, dispatch them and answer them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ...wire.names import KEY_LENGTH, TOKEN_LENGTH, NameProblem, check_name
from ...wire.values import JSONObject
from ..connection import Connection
from ..core.stream import Position
from ..protocol.rtjp import BadFrame, Frame
from ..refusals import Refusal
from ..runtime import Runtime
from ..site.authorize import ClientGone
from .commands import Commands, parse_payload
from .cookies import KeptCookies
from .origins import CookieProblem, merge_cookies
from .subscriptions import Subscriptions
from .unconnected import Unconnected

logger = logging.getLogger("djhookbox.server")

#: Maximum length of a CONNECT payload, in characters.
MAX_CONNECT_PAYLOAD = 8192


class Frames:
    """Answer frames; the connection stays usable whatever the client sends."""

    def __init__(
        self,
        runtime: Runtime,
        commands: Commands,
        subscriptions: Subscriptions,
        unconnected: Unconnected,
    ) -> None:
        self._delivery = runtime.delivery
        self._metrics = runtime.metrics
        self._commands = commands
        self._subscriptions = subscriptions
        self._unconnected = unconnected
        self._limit = runtime.config.max_name_length
        self._most_channels = runtime.config.max_channels_per_connection
        self.cookies = KeptCookies(runtime.config.max_cookie_bytes)

    async def handle(self, connection: Connection, frame: Frame | BadFrame) -> None:
        """Carry out a frame and answer it."""
        if frame_name(frame) != "PING":  # a heartbeat does not count as a message
            self._metrics.messages_in += 1
        try:
            if isinstance(frame, BadFrame):
                raise Refusal(frame.problem, frame.code)
            logger.debug("%s > %.40s", connection.id, frame.name)
            answer = await self._dispatch(connection, frame)
        except ClientGone:
            pass
        except NameProblem as problem:
            self._error(connection, frame, str(problem), "malformed")
        except Refusal as refusal:
            self._refuse(connection, frame, refusal)
        except Exception:
            logger.exception(
                "Unexpected error: connection %s, frame %.40s", connection.id, frame_name(frame)
            )
            self._error(connection, frame, "Internal error", "error")
        else:
            acks = connection.acks or frame.name == "PING"
            if acks and frame.name != "CONNECT" and not connection.closed:
                self._delivery.send(connection, "ACK", {"id": frame.id, **answer})

    async def _dispatch(self, connection: Connection, frame: Frame) -> Mapping[str, object]:
        """Carry out a frame; return the arguments of its ACK."""
        commands, args = self._commands, frame.args
        if frame.name == "PING":
            pass
        elif frame.name == "CONNECT":
            with self._unconnected.asking(connection, lambda: _is_nobody(connection)):
                await self._connect(connection, args)
        elif frame.name not in ("SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH", "MESSAGE"):
            raise Refusal("Unknown frame name", "malformed")  # D03
        elif connection.user is None:
            raise Refusal("Not connected", "not_connected")
        elif frame.name == "MESSAGE":
            if "name" not in args:
                raise Refusal("name required", "malformed")
            name = check_name("name", args["name"], self._limit)
            await commands.message(connection, name, args.get("payload", "null"))
        elif frame.name == "SUBSCRIBE" and "channels" in args:
            await self._subscribe_many(connection, frame)
        else:
            if "channel_name" not in args:
                raise Refusal("channel_name required", "malformed")
            name = check_name("channel_name", args["channel_name"], self._limit)
            if frame.name == "SUBSCRIBE":
                since = _position(args.get("since"), "since")
                refused = await self._subscriptions.subscribe(connection, {name: since})
                if refused:
                    raise refused[name]
            elif frame.name == "UNSUBSCRIBE":
                await self._subscriptions.unsubscribe(connection, name)
            else:
                text = args.get("payload", "null")
                key = _optional_name(args, "key", KEY_LENGTH)
                return await commands.publish(connection, name, text, key)
        return {}

    async def _subscribe_many(self, connection: Connection, frame: Frame) -> None:
        given = frame.args["channels"]
        if "channel_name" in frame.args:
            raise Refusal("channel_name and channels exclude each other", "malformed")
        if not isinstance(given, list):
            raise Refusal("channels must be a list", "malformed")
        if len(given) > self._most_channels:
            raise Refusal(f"channels has more than {self._most_channels} members", "limit")
        wanted: dict[str, Position | None] = {}
        for each in given:
            args = {"channel_name": each} if isinstance(each, str) else each
            if not isinstance(args, dict) or "channel_name" not in args:
                problem = "channels must hold names, or objects with a channel_name"
                raise Refusal(problem, "malformed")
            name = check_name("channel_name in channels", args["channel_name"], self._limit)
            if name in wanted:
                raise Refusal(f"channels names {name} twice", "malformed")
            wanted[name] = _position(args.get("since"), f"since of {name}")
        connection.charge(len(wanted))
        refused = await self._subscriptions.subscribe(connection, wanted)
        for name, refusal in refused.items():
            self._refuse(connection, frame, refusal, channel_name=name)

    async def _connect(self, connection: Connection, args: JSONObject) -> None:
        if connection.user is not None:
            raise Refusal("Already logged in", "malformed")
        if "cookie_string" not in args:
            raise Refusal("Missing cookie_string", "malformed")
        # The site would reject these as malformed, which clients would see as unavailable.
        payload = args.get("payload")
        payload = "null" if payload is None else payload
        if not isinstance(payload, str) or len(payload) > MAX_CONNECT_PAYLOAD:
            problem = f"payload must be a string of at most {MAX_CONNECT_PAYLOAD} characters"
            raise Refusal(problem, "malformed")
        parse_payload(payload)
        token = _optional_name(args, "token", TOKEN_LENGTH)
        expect_user = _optional_name(args, "expect_user", self._limit)
        try:
            cookie = merge_cookies(connection.handshake.cookie, args["cookie_string"])
        except CookieProblem as problem:
            raise Refusal(str(problem), "malformed") from None
        self.cookies.keep(connection, cookie)
        connection.cookie = cookie
        connection.apart = args.get("per_connection_subscriptions") is True
        await self._commands.connect(
            connection,
            # Forms are UTF-8, which cannot encode lone surrogates.
            payload.encode("utf-8", "replace").decode(),
            token,
            expect_user,
            args.get("ack") is True,
        )

    def _refuse(
        self, connection: Connection, frame: Frame | BadFrame, refusal: Refusal, **more: str
    ) -> None:
        self._error(connection, frame, refusal.reason, refusal.code, **more)
        if refusal.code == "session_expired" and connection.user is not None:
            self._commands.session_ended(connection)

    def _error(
        self, connection: Connection, frame: Frame | BadFrame, reason: str, code: str, **more: str
    ) -> None:
        if not connection.closed:
            args = {"id": frame.id, "msg": reason, "code": code, **more}
            self._delivery.send(connection, "ERROR", args)


def _is_nobody(connection: Connection) -> bool:
    return connection.user is None and not connection.closed


def frame_name(frame: Frame | BadFrame) -> str:
    """Return the name of a frame, or "" for a bad frame."""
    return "" if isinstance(frame, BadFrame) else frame.name


def _optional_name(args: Mapping[str, object], name: str, limit: int) -> str:
    """Return a text that follows the rules for names, or "" if it is missing."""
    value = args.get(name)
    return "" if value is None or value == "" else check_name(name, value, limit)


def _position(cursor: object, field: str) -> Position | None:
    """Parse a cursor, or return None if there is none.

    Raises:
        Refusal: If it is not a cursor.

    """
    if cursor is None:
        return None
    try:
        if isinstance(cursor, str):
            return Position.parse(cursor)
    except ValueError:
        pass
    raise Refusal(f"{field} must be a cursor, as the server gave it", "malformed")
