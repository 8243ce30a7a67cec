"""Calls on other nodes, through their inboxes; the answers come back through this node's inbox.

A call is carried out at most once. Callers that need more must compare states and repair them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ....wire.values import JSON, dumps
from ..base import EngineError
from .codec import read
from .connecting import Reply

if TYPE_CHECKING:
    from .engine import RedisEngine

logger = logging.getLogger("djhookbox.server")

#: Answers a call of another node.
Answer: TypeAlias = Callable[[JSON], Awaitable[JSON]]

#: Seconds to wait for answers.
PATIENCE = 5.0


class Answers(NamedTuple):
    """The answers of nodes, and the nodes that did not answer in time."""

    by_node: dict[str, JSON]
    missing: list[str]


class _Asked:
    def __init__(self) -> None:
        self.waiting: set[str] | None = None
        self.answers: dict[str, JSON] = {}
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def look(self) -> None:
        answered = self.waiting is not None and not self.waiting - self.answers.keys()
        if answered and not self.complete.done():
            self.complete.set_result(None)


class Peers:
    """Ask other nodes.

    Attributes:
        answers: By kind of call, what answers it. A result that is None is not sent.

    """

    def __init__(self, engine: RedisEngine) -> None:
        self._engine = engine
        self.answers: dict[str, Answer] = {}
        self._numbers = count(1)
        self._asked: dict[str, _Asked] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(
        self, kind: str, call: object, nodes: Sequence[str] | None = None, seconds: float = PATIENCE
    ) -> Answers:
        """Make a call on other nodes.

        Args:
            kind: The kind of the call.
            call: Any JSON value.
            nodes: The nodes; None for all others.
            seconds: How long to wait for answers.

        Raises:
            EngineError: If it was not sent.

        """
        if nodes is not None and not nodes:
            return Answers({}, [])
        number = str(next(self._numbers))
        asked = self._asked[number] = _Asked()
        try:
            sent = await self._send(kind, number, call, nodes)
            asked.waiting = set(sent)
            asked.look()
            await asyncio.wait({asked.complete}, timeout=seconds)
            missing = [node for node in sent if node not in asked.answers]
            missing += [node for node in nodes or () if node not in sent]
            return Answers(asked.answers, missing)
        finally:
            del self._asked[number]

    async def tell(self, kind: str, call: object, nodes: Sequence[str] | None = None) -> None:
        """Make a call on other nodes without waiting for an answer.

        Raises:
            EngineError: If it was not sent.

        """
        if nodes is None or nodes:
            await self._send(kind, "0", call, nodes)

    async def _send(
        self, kind: str, number: str, call: object, nodes: Sequence[str] | None
    ) -> list[str]:
        arguments = self._engine.nodes.arguments("", kind, number, dumps(call), *(nodes or ()))
        reply = await self._engine.ask("send", arguments)
        return [node.decode() for node in reply[1]]

    def follow(self, kind: str, sender: str, number: str, body: bytes) -> None:
        """Handle a call of another node, or its answer."""
        if kind == "=":
            asked = self._asked.get(number)
            if asked is not None:
                asked.answers[sender] = read(body)
                asked.look()
            return
        answer = self.answers.get(kind)
        if answer is None:
            return  # a newer node asks, which gets no answer
        task = asyncio.ensure_future(self._answer(answer, kind, sender, number, read(body)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(
        self,
        answer: Answer,
        kind: str,
        sender: str,
        number: str,
        call: object,
    ) -> None:
        try:
            result = await answer(call)
        except Exception:
            logger.exception("Unexpected error: the call %s of another node failed", kind)
            return
        if number == "0" or result is None:
            return
        arguments = self._engine.nodes.arguments("", "=", number, dumps(result), sender)

        def done(reply: Reply | Exception) -> None:
            if isinstance(reply, Exception):
                logger.warning("The call of another node was not answered: %s", reply)

        try:
            self._engine.submit("send", arguments, done)
        except EngineError as error:
            done(error)
