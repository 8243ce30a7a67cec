"""One connection to Redis: everything is pipelined, and repeating is up to us.

The client of redis-py would repeat commands itself; a script that changes something must not run
twice, so its connections are used directly, with retries off.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeAlias

from ....wire.engines import Address, unfit
from ...tasks import within
from ..base import EngineError, Unusable

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

logger = logging.getLogger("djhookbox.server")

#: Seconds to wait for a connection, and for any answer of one.
CONNECT_SECONDS = 3.0
SILENCE_SECONDS = 5.0
#: Seconds for which an operation waits for a connection before it is refused.
WAIT_SECONDS = 4.0
#: Seconds after which Redis may have forgotten an operation key, so that nothing is repeated.
REPEAT_SECONDS = 50.0
#: Seconds between attempts to connect.
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
#: Seconds between looks at what waits.
LOOK_SECONDS = 0.2

Reply: TypeAlias = Any
#: What is sent: bytes as they are, text as UTF-8.
Argument: TypeAlias = "bytes | str | int | float"


class Unknown(EngineError):
    """It is not known whether a change was made, and cannot be found out."""


class LinkDown(EngineError):
    """There is no connection to Redis."""


class Operation:
    """A script to run, and what to do with its answer.

    Attributes:
        keyed: Whether it may be repeated: it has an operation key, or changes nothing.
        done: Called with the reply, or an exception.
        sent: Whether Redis may have it.
        since: When it was made, in the loop's time.

    """

    __slots__ = ("arguments", "done", "keyed", "script", "sent", "since")

    def __init__(
        self,
        script: str,
        arguments: Sequence[Argument],
        done: Callable[[Reply | Exception], None],
        keyed: bool,
        since: float,
    ) -> None:
        self.script = script
        self.arguments = arguments
        self.done = done
        self.keyed = keyed
        self.sent = False
        self.since = since


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


async def open_connection(address: Address) -> AbstractConnection:
    """Open a connection of redis-py.

    Raises:
        Unusable: If the address, the password or the version is wrong, or nobody answers.

    """
    try:
        from redis.asyncio.connection import Connection, parse_url
        from redis.asyncio.retry import Retry
        from redis.asyncio.sentinel import Sentinel
        from redis.backoff import NoBackoff
        from redis.exceptions import AuthenticationError, RedisError, ResponseError
    except ImportError:
        raise Unusable(
            "HOOKBOX_ENGINE names Redis, but its client is not installed. Run: pip install "
            "'django-hookbox[redis]'"
        ) from None
    where = f"Redis at {address.shown} (HOOKBOX_ENGINE)"
    url = address.url
    try:
        if address.sentinels:
            options: dict[str, Any] = {
                "socket_timeout": CONNECT_SECONDS, "retry": Retry(NoBackoff(), 0)
            }  # fmt: skip
            sentinel = Sentinel(  # type: ignore[no-untyped-call]
                address.sentinels, **options
            )
            try:
                host, port = await within(
                    CONNECT_SECONDS, sentinel.discover_master(address.service)
                )
            finally:
                for each in sentinel.sentinels:
                    await each.aclose()
            url = url.format(f"{host}:{port}")
        options = dict(parse_url(url))
        kind = options.pop("connection_class", Connection)
        options.pop("socket_timeout", None)
        options.pop("socket_connect_timeout", None)
        connection: AbstractConnection = kind(
            **options,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=None,  # an inbox may be quiet for long
            protocol=2,
            health_check_interval=0,
        )
        await within(
            CONNECT_SECONDS,
            connection.connect(),  # type: ignore[no-untyped-call]
        )
    except AuthenticationError as error:
        raise Unusable(f"{where} refuses the password: {error}.") from None
    except (RedisError, OSError, asyncio.TimeoutError) as error:
        told = str(error) or "no answer"
        if isinstance(error, ResponseError) and "AUTH" in told.upper():
            raise Unusable(f"{where} refuses the password: {told}.") from None
        raise Unusable(f"{where} cannot be reached: {told}.") from None
    except (ValueError, TypeError) as error:
        raise Unusable(f"{where} is not an address that redis-py accepts: {error}.") from None
    return connection


async def ask(connection: AbstractConnection, *command: Argument) -> Reply:
    """Send one command on a connection that nobody else uses, and return the reply."""
    await within(SILENCE_SECONDS, connection.send_command(*command, check_health=False))
    return await within(SILENCE_SECONDS, connection.read_response())


def _facts(info: bytes | str) -> dict[str, str]:
    text = info.decode() if isinstance(info, bytes) else info
    lines = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name: value.strip() for name, _, value in lines}


async def identify(connection: AbstractConnection, address: Address) -> str:
    """Return the id of this life of the Redis.

    Raises:
        Unusable: If it is too old, or does not let us ask.

    """
    from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

    where = f"Redis at {address.shown} (HOOKBOX_ENGINE)"
    try:
        facts = _facts(await ask(connection, "INFO", "server"))
    except NoPermissionError as error:
        raise Unusable(f"{where} does not permit INFO: {error}.") from None
    except AuthenticationError as error:
        raise Unusable(f"{where} requires a password: {error}.") from None
    except ResponseError as error:
        raise Unusable(f"{where} refuses INFO: {error}.") from None
    if problem := unfit(facts):
        raise Unusable(f"{where} {problem}.")
    return facts["run_id"]


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
        self._digests: dict[str, bytes] = {}
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

    def call(
        self,
        script: str,
        arguments: Sequence[Argument],
        done: Callable[[Reply | Exception], None],
        *,
        keyed: bool = False,
    ) -> Operation:
        """Run a script; `arguments` begin with the number of keys.

        Raises:
            LinkDown: If there has been no connection for so long that waiting is pointless.

        """
        now = asyncio.get_running_loop().time()
        if self.down_since is not None and now - self.down_since > WAIT_SECONDS:
            raise LinkDown("there is no connection to Redis")
        operation = Operation(script, arguments, done, keyed, now)
        self._waiting.append(operation)
        self._wake.set()
        return operation

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

        self.call(script, arguments, done)
        return await future

    async def at_once(self, script: str, arguments: Sequence[Argument]) -> Reply:
        """Run a script before everything that waits; only while connecting."""
        if self._connection is None:
            raise LinkDown("there is no connection to Redis")
        return await ask(self._connection, "EVALSHA", self._digests[script], *arguments)

    # ---- the connection --------------------------------------------------

    async def try_once(self) -> None:
        """Connect and disconnect, to find out whether it is possible.

        Raises:
            Unusable: If it is not.

        """
        connection = await open_connection(self._address)
        try:
            await identify(connection, self._address)
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
        for name, text in self._scripts.items():
            self._digests[name] = await ask(connection, "SCRIPT", "LOAD", text)
        renewed = bool(self.run_id) and run_id != self.run_id
        self.run_id = run_id
        self.reconnects += 1
        if renewed:
            self._abandon()
        await self._connected(run_id, renewed)
        loop = asyncio.get_running_loop()
        self.down_since, self.up_since = None, loop.time()
        self._heard = loop.time()
        self._open = True
        # What Redis may already have done is repeated first, with the same keys.
        self._waiting.extendleft(reversed(self._sent))
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
            packed: list[bytes] = []
            while self._waiting:
                operation = self._waiting.popleft()
                operation.sent = True
                if not self._sent:
                    self._heard = asyncio.get_running_loop().time()
                self._sent.append(operation)
                packed += connection.pack_command(
                    "EVALSHA", self._digests[operation.script], *operation.arguments
                )
            if packed:
                await connection.send_packed_command(packed, check_health=False)

    async def _read(self, connection: AbstractConnection) -> None:
        from redis.exceptions import NoScriptError, ResponseError

        loop = asyncio.get_running_loop()
        while True:
            reply: Reply | Exception
            try:
                reply = await connection.read_response()
            except NoScriptError:
                raise LinkDown("Redis has forgotten the scripts") from None
            except ResponseError as error:
                text = str(error)
                if text.startswith(("LOADING", "READONLY", "MASTERDOWN", "BUSY", "TRYAGAIN")):
                    raise LinkDown(text) from None
                reply = EngineError(text)
            self._heard = loop.time()
            self._sent.popleft().done(reply)

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

    def _abandon(self) -> None:
        """Give up what another life of the Redis may have done, or was to do."""
        sent, self._sent = self._sent, deque()
        waiting, self._waiting = self._waiting, deque()
        for operation in sent:
            operation.done(Unknown("Redis has lost data"))
        for operation in waiting:
            problem = "Redis has lost data"
            operation.done(Unknown(problem) if operation.sent else EngineError(problem))

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
