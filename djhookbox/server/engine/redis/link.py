"""One connection to Redis: everything is pipelined, and this module repeats operations itself."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from ....wire.engines import Address
from ...metrics import ENGINE_BUCKETS, Histogram
from ...tasks import within
from ..base import EngineError, Unusable
from .connecting import (
    SILENCE_SECONDS,
    Replies,
    Reply,
    ask,
    ask_packed,
    check_permission,
    identify,
    open_connection,
    warn_of_risk,
)
from .packing import Argument, pack

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

logger = logging.getLogger("djhookbox.server")

#: Seconds for which an operation waits for a connection before it is refused.
WAIT_SECONDS = 4.0
#: Seconds after which Redis may have forgotten an operation key, so that nothing is repeated.
REPEAT_SECONDS = 50.0
#: Seconds between attempts to connect.
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
#: Seconds between looks at what waits.
LOOK_SECONDS = 0.2
#: Weight of the latest round trip in the average.
SMOOTHING = 0.05


#: The order in which operations were made, and in which Redis gets them.
_ORDER = count(1)
by_order = attrgetter("order")

#: Scripts with their arguments, and a channel of Redis.
Trial: TypeAlias = tuple[Mapping[str, Sequence[Argument]], str]


class Unknown(EngineError):
    """It is not known whether a change was made, and cannot be found out."""


class LinkDown(EngineError):
    """There is no connection to Redis."""


class Operation:
    """A script to run, and what to do with its answer.

    Attributes:
        packed: The command as bytes.
        keyed: Whether it may be repeated: it has an operation key, or changes nothing.
        sent: Whether Redis may have it.
        since: When it was given to the link, in the loop's time.
        order: How many were made before it.

    """

    __slots__ = ("keyed", "order", "packed", "sent", "since")

    def __init__(self, packed: bytes, keyed: bool) -> None:
        self.packed = packed
        self.keyed = keyed
        self.sent = False
        self.since = 0.0
        self.order = next(_ORDER)

    def done(self, reply: Reply | Exception) -> None:
        """Handle the reply, or an exception."""
        raise NotImplementedError


class _Script(Operation):
    """A script whose answer a function handles."""

    __slots__ = ("_done",)

    def __init__(self, packed: bytes, done: Callable[[Reply | Exception], None]) -> None:
        super().__init__(packed, False)
        self._done = done

    def done(self, reply: Reply | Exception) -> None:
        self._done(reply)


def _load_scripts() -> dict[str, str]:
    folder = files(__package__) / "scripts"
    texts = {
        file.name.removesuffix(".lua"): file.read_text("utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".lua")
    }
    common = texts.pop("common")
    channel, node = common + texts.pop("prelude"), common + texts.pop("node_prelude")
    about_nodes = (
        "register", "beat", "unregister", "arrive", "depart", "share", "whereis", "send", "watch",
        "spend", "versions", "left",
    )  # fmt: skip
    return {name: (node if name in about_nodes else channel) + text for name, text in texts.items()}


def _failure(error: Exception) -> EngineError:
    """Return the failure of an operation that Redis has refused.

    Raises:
        LinkDown: If the refusal does not concern the operation.

    """
    from redis.exceptions import MasterDownError, NoScriptError, ReadOnlyError, TryAgainError

    if isinstance(error, NoScriptError):
        raise LinkDown("Redis has forgotten the scripts")
    text = str(error)
    unfit = isinstance(error, (MasterDownError, ReadOnlyError, TryAgainError))
    if unfit or text.startswith(("LOADING", "READONLY", "MASTERDOWN", "BUSY", "TRYAGAIN")):
        raise LinkDown(text)
    return EngineError(text)


class Link:
    """Run scripts in the order in which they are given, over one connection at a time.

    Args:
        address: Where Redis is.
        connected: Called with the run_id whenever there is a connection, before anything else
            is sent; what it runs with `at_once` precedes what waits.

    """

    def __init__(self, address: Address, connected: Callable[[str, bool], Awaitable[None]]) -> None:
        self._address = address
        self._connected = connected
        self._scripts = _load_scripts()
        self._heads = {
            name: pack(("EVALSHA", hashlib.sha1(text.encode()).hexdigest()))  # noqa: S324
            for name, text in self._scripts.items()
        }
        #: How long operations take, until the answer is read.
        self.round_trips = Histogram(ENGINE_BUCKETS)
        #: The same in seconds, averaged over the latest; None before the first.
        self.latest: float | None = None
        self._connection: AbstractConnection | None = None
        self._waiting: deque[Operation] = deque()
        self._sent: deque[Operation] = deque()
        self._wake = asyncio.Event()
        self._heard = 0.0
        self._failed: asyncio.Future[Exception] | None = None
        self._open = False
        self.run_id = ""
        self.reconnects = -1
        #: When the connection was lost or established, in the loop's time.
        self.down_since: float | None = None
        self.up_since = 0.0

    @property
    def is_up(self) -> bool:
        """Whether operations are being sent."""
        return self._open

    # ---- operations ------------------------------------------------------

    def packed(self, script: str, arguments: Sequence[Argument]) -> bytes:
        """Return the command that runs a script; `arguments` begin with the number of keys."""
        head, rest = self._heads[script], pack(arguments)
        return b"*%d\r\n%b%b" % (head.number + rest.number, head.data, rest.data)

    def put(self, operation: Operation) -> None:
        """Run a script once everything before it has been sent.

        Raises:
            LinkDown: If there has been no connection for so long that waiting is pointless.

        """
        now = asyncio.get_running_loop().time()
        if self.down_since is not None and now - self.down_since > WAIT_SECONDS:
            raise LinkDown("there is no connection to Redis")
        operation.since = now
        operation.sent = False
        self._waiting.append(operation)
        self._wake.set()

    async def run(self, script: str, arguments: Sequence[Argument]) -> Reply:
        """Run a script that may be repeated freely, and return its reply.

        Raises:
            EngineError: If there is no connection, or Redis refuses.

        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(reply: Reply | Exception) -> None:
            if future.done():
                return
            if isinstance(reply, Exception):
                future.set_exception(reply)
            else:
                future.set_result(reply)

        self.put(_Script(self.packed(script, arguments), done))
        return await future

    async def at_once(self, script: str, arguments: Sequence[Argument]) -> Reply:
        """Run a script before everything that waits; only while connecting."""
        if self._connection is None:
            raise LinkDown("there is no connection to Redis")
        return await ask_packed(self._connection, self.packed(script, arguments))

    # ---- the connection --------------------------------------------------

    async def try_once(self, trial: Trial = ({}, "")) -> None:
        """Connect and disconnect, to find out whether that is possible; warn about risks.

        Args:
            trial: Scripts to run with their arguments, and a channel to subscribe to.

        Raises:
            Unusable: If it is not.

        """
        from redis.exceptions import ResponseError

        connection = await open_connection(self._address)
        try:
            await identify(connection, self._address)
            await warn_of_risk(connection, self._address)
            scripts, channel = trial
            try:
                for name, arguments in scripts.items():
                    await ask(connection, "SCRIPT", "LOAD", self._scripts[name])
                    await ask_packed(connection, self.packed(name, arguments))
                if channel:
                    await ask(connection, "SUBSCRIBE", channel)
            except ResponseError as error:
                check_permission(error, self._address)
        finally:
            await connection.disconnect(nowait=True)

    async def serve(self) -> None:
        """Keep a connection until cancelled."""
        loop = asyncio.get_running_loop()
        attempts = 0
        self.down_since = loop.time()
        looking = loop.create_task(self._look())
        try:
            while True:
                try:
                    connection = await self._connect()
                    attempts = 0
                    await self._exchange(connection)
                except (Unusable, EngineError) as problem:
                    if attempts in (1, 5) or attempts % 30 == 29:
                        logger.warning("%s", problem)
                except Exception as error:
                    logger.warning("The connection to Redis failed: %s", str(error) or repr(error))
                finally:
                    await self._close()
                await asyncio.sleep(PAUSES[min(attempts, len(PAUSES) - 1)])
                attempts += 1
        finally:
            looking.cancel()
            self._open = False

    async def _connect(self) -> AbstractConnection:
        self._connection = connection = await open_connection(self._address)
        run_id = await identify(connection, self._address)
        for text in self._scripts.values():
            await ask(connection, "SCRIPT", "LOAD", text)
        renewed = bool(self.run_id) and run_id != self.run_id
        self.run_id = run_id
        self.reconnects += 1
        await self._connected(run_id, renewed)
        loop = asyncio.get_running_loop()
        self.down_since, self.up_since = None, loop.time()
        self._heard = loop.time()
        self._open = True
        # What Redis may already have done is repeated with the same keys. It may be newer than what
        # has waited for a lease.
        self._waiting = deque(sorted([*self._sent, *self._waiting], key=by_order))
        self._sent.clear()
        self._wake.set()
        return connection

    async def _exchange(self, connection: AbstractConnection) -> None:
        loop = asyncio.get_running_loop()
        self._failed = failed = loop.create_future()
        tasks = [
            loop.create_task(self._write(connection)), loop.create_task(self._read(connection))
        ]  # fmt: skip
        waiting: set[asyncio.Future[Any]] = {*tasks, failed}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done() and not task.cancelled() and (error := task.exception()):
                    raise error
            raise LinkDown("Redis does not answer")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._waiting:
                continue
            if not self._sent:
                self._heard = asyncio.get_running_loop().time()
            waiting, self._waiting = self._waiting, deque()
            for operation in waiting:
                operation.sent = True
            self._sent += waiting
            packed = b"".join([operation.packed for operation in waiting])
            await connection.send_packed_command(packed, check_health=False)

    async def _read(self, connection: AbstractConnection) -> None:
        loop = asyncio.get_running_loop()
        replies = Replies(connection)
        while True:
            found = await replies.read()
            self._heard = now = loop.time()
            for reply in found:
                if isinstance(reply, Exception):
                    reply = _failure(reply)
                operation = self._sent.popleft()
                self._count(now - operation.since)
                operation.done(reply)

    def _count(self, seconds: float) -> None:
        """Count a round trip."""
        self.round_trips.add(seconds)
        latest = seconds if self.latest is None else self.latest
        self.latest = latest + SMOOTHING * (seconds - latest)

    async def _close(self) -> None:
        if self._open:
            self.down_since = asyncio.get_running_loop().time()
        self._open = False
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                await within(1.0, connection.disconnect(nowait=True))
        kept = deque(operation for operation in self._sent if operation.keyed)
        lost = [operation for operation in self._sent if not operation.keyed]
        self._sent = kept
        for operation in lost:
            operation.done(LinkDown("the connection to Redis was lost"))

    def abandon(self) -> None:
        """Give up what Redis may have done before it lost data, with the keys of operations."""
        pending = [*self._sent, *self._waiting]
        self._sent.clear()
        self._waiting.clear()
        for operation in pending:
            if operation.sent:
                operation.done(Unknown("Redis has lost data"))
            elif operation.keyed:
                self._waiting.append(operation)
            else:  # it may name the Redis before
                operation.done(EngineError("Redis has lost data"))

    async def _look(self) -> None:
        """Give up what waits for too long."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = loop.time()
            if self._open:
                silent = self._sent and now - self._heard > SILENCE_SECONDS
                if silent and self._failed is not None and not self._failed.done():
                    self._failed.set_result(LinkDown("Redis does not answer"))
                continue
            while self._sent and now - self._sent[0].since > REPEAT_SECONDS:
                self._sent.popleft().done(Unknown("Redis did not answer for too long"))
            old = [
                operation
                for operation in self._waiting
                if not operation.sent and now - operation.since > WAIT_SECONDS
            ]
            if old:
                gone = set(old)
                self._waiting = deque(o for o in self._waiting if o not in gone)
                for operation in old:
                    operation.done(LinkDown("there is no connection to Redis"))
