"""The frames that clients send: their arguments checked, and each answered as it must be."""

from __future__ import annotations

import logging
from typing import Any

from .admission import CookieProblem, merge_cookies
from .config import ServerConfig
from .connection import Connection
from .delivery import Delivery
from .metrics import Metrics
from .names import NameProblem, check_name
from .operations import ClientGone, Operations
from .protocol.rtjp import BadFrame, Frame
from .webhooks import Refusal

logger = logging.getLogger("djhookbox.server")

#: Longest token or payload of CONNECT, in characters.
MAX_CONNECT_TEXT = 8192


class Frames:
    """Answers frames; whatever a client sends, its connection stays usable."""

    def __init__(
        self, config: ServerConfig, operations: Operations, delivery: Delivery, metrics: Metrics
    ) -> None:
        self._limit = config.max_name_length
        self._operations = operations
        self._delivery = delivery
        self._metrics = metrics

    async def handle(self, connection: Connection, frame: Frame | BadFrame) -> None:
        """Do what a frame asks for, and answer it."""
        self._metrics.messages_in += 1
        try:
            if isinstance(frame, BadFrame):
                raise Refusal(frame.problem, frame.code)
            logger.debug("%s > %.40s", connection.id, frame.name)
            await self._dispatch(connection, frame)
        except ClientGone:
            pass
        except NameProblem as problem:
            self._error(connection, frame, str(problem), "malformed")
        except Refusal as refusal:
            self._error(connection, frame, refusal.reason, refusal.code)
        except Exception:
            name = "" if isinstance(frame, BadFrame) else frame.name
            logger.exception("A bug: connection %s, frame %.40s", connection.id, name)
            self._error(connection, frame, "Internal error", "error")
        else:
            if connection.acks and frame.name != "CONNECT" and not connection.closed:
                self._delivery.send(connection, "ACK", {"id": frame.id})

    async def _dispatch(self, connection: Connection, frame: Frame) -> None:
        operations, args = self._operations, frame.args
        if frame.name == "CONNECT":
            await self._connect(connection, args)
        elif frame.name not in ("SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH", "MESSAGE"):
            raise Refusal("Unknown frame name", "malformed")  # D03
        elif connection.user is None:
            raise Refusal("Not connected", "not_connected")
        elif frame.name == "MESSAGE":
            if "name" not in args:
                raise Refusal("name required", "malformed")
            name = check_name("name", args["name"], self._limit)
            await operations.message(connection, name, args.get("payload", "null"))
        else:
            if "channel_name" not in args:
                raise Refusal("channel_name required", "malformed")
            name = check_name("channel_name", args["channel_name"], self._limit)
            if frame.name == "SUBSCRIBE":
                await operations.subscribe(connection, name)
            elif frame.name == "UNSUBSCRIBE":
                await operations.unsubscribe(connection, name)
            else:
                await operations.publish(connection, name, args.get("payload", "null"))

    async def _connect(self, connection: Connection, args: dict[str, Any]) -> None:
        if connection.user is not None:
            raise Refusal("Already logged in", "malformed")
        if "cookie_string" not in args:
            raise Refusal("Missing cookie_string", "malformed")
        texts = {"payload": "null", "token": "", "expect_user": ""}
        for name, default in texts.items():
            value = args.get(name, default)
            if value is None:
                value = default
            if not isinstance(value, str) or len(value) > MAX_CONNECT_TEXT:
                raise Refusal(
                    f"{name} must be a string of at most {MAX_CONNECT_TEXT} characters", "malformed"
                )
            # A form is UTF-8, which lone surrogates are not.
            texts[name] = value.encode("utf-8", "replace").decode()
        try:
            connection.cookie = merge_cookies(connection.handshake.cookie, args["cookie_string"])
        except CookieProblem as problem:
            raise Refusal(str(problem), "malformed") from None
        await self._operations.connect(
            connection,
            texts["payload"],
            texts["token"],
            texts["expect_user"],
            args.get("ack") is True,
        )

    def _error(
        self, connection: Connection, frame: Frame | BadFrame, reason: str, code: str
    ) -> None:
        if not connection.closed:
            args = {"id": frame.id, "msg": reason, "code": code}
            self._delivery.send(connection, "ERROR", args)
