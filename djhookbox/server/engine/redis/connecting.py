"""Open connections of redis-py, and read what comes over them, many replies at a time.

The client of redis-py would repeat commands itself; a script that changes something must not run
twice, so its connections are used directly, with retries off.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeAlias

from ....wire.engines import Address, risk, unfit, why
from ...tasks import within
from ..base import Unusable
from .packing import Argument

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

logger = logging.getLogger("djhookbox.server")

#: Seconds to wait for a connection, for each Sentinel, and for any answer of a connection.
CONNECT_SECONDS = 3.0
SENTINEL_SECONDS = 1.0
SILENCE_SECONDS = 5.0
#: Bytes to read at a time.
READ_SIZE = 65_536

Reply: TypeAlias = Any


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
            each_one: dict[str, object] = {
                "socket_connect_timeout": SENTINEL_SECONDS, "socket_timeout": SENTINEL_SECONDS,
                "retry": Retry(NoBackoff(), 0),
            }  # fmt: skip
            sentinel = Sentinel(  # type: ignore[no-untyped-call]
                address.sentinels, sentinel_kwargs=each_one
            )
            try:
                # All but one may be down.
                host, port = await within(
                    CONNECT_SECONDS + SENTINEL_SECONDS * len(address.sentinels),
                    sentinel.discover_master(address.service),
                )
            finally:
                for each in sentinel.sentinels:
                    await each.aclose()
            url = address.at(host, port)
        options: dict[str, Any] = dict(parse_url(url))
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
        told = why(str(error)) or "no answer"
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


async def ask_packed(connection: AbstractConnection, command: bytes) -> Reply:
    """Send one command that is packed; in other respects like `ask`."""
    await within(SILENCE_SECONDS, connection.send_packed_command(command, check_health=False))
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


def check_permission(error: Exception, address: Address) -> None:
    """Raise Unusable if a command failed because the user of Redis may not do that."""
    from redis.exceptions import NoPermissionError

    told = ("ACL failure in script", "The user executing the script")  # of scripts
    if isinstance(error, NoPermissionError) or str(error).startswith(told):
        where = f"Redis at {address.shown} (HOOKBOX_ENGINE)"
        raise Unusable(f"{where} does not permit what Hookbox needs: {error}.") from None


async def warn_of_risk(connection: AbstractConnection, address: Address) -> None:
    """Log a warning if the Redis may delete keys."""
    if careless := risk(_facts(await ask(connection, "INFO", "memory"))):
        logger.warning("Redis at %s (HOOKBOX_ENGINE) %s.", address.shown, careless)


class Replies:
    """The replies that come over a connection: all that have arrived, at a time.

    `read_response` of redis-py returns them one by one, and takes ten times as long for each.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        from redis._parsers import hiredis

        self._connection = connection
        parser = getattr(connection, "_parser", None)
        self._parser = parser if isinstance(parser, hiredis._AsyncHiredisParser) else None
        self._nothing: object = hiredis.NOT_ENOUGH_DATA

    async def read(self) -> list[Reply | Exception]:
        """Return at least one reply; those that are errors are not raised.

        Raises:
            redis.ConnectionError: If the connection has ended.

        """
        from redis.exceptions import ConnectionError, ResponseError

        if self._parser is None:  # without hiredis
            try:
                return [await self._connection.read_response()]
            except ResponseError as error:
                return [error]
        reader: Any = self._parser._reader
        stream: Any = self._parser._stream
        found: list[Reply | Exception] = []
        while True:
            while (reply := reader.gets()) is not self._nothing:
                if isinstance(reply, ConnectionError):
                    raise reply
                found.append(reply)
            if found:
                return found
            data = await stream.read(READ_SIZE)
            if not data:
                raise ConnectionError("Redis has closed the connection")
            reader.feed(data)
