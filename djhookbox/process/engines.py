"""Find out whether the Redis that HOOKBOX_ENGINE names can be used."""

from __future__ import annotations

from ..conf import settings
from ..wire.engines import MEMORY, parse, unfit

#: Seconds to wait for each answer.
PATIENCE = 1.0


def problem() -> str:
    """Return why the engine cannot be used, as a sentence; or ""."""
    if settings.engine == MEMORY:
        return ""
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.exceptions import AuthenticationError, RedisError
    from redis.retry import Retry
    from redis.sentinel import Sentinel

    address = parse(settings.engine)
    where = f"Redis at {address.shown} (HOOKBOX_ENGINE)"
    url = address.url
    retry = Retry(NoBackoff(), 0)
    try:
        if address.sentinels:
            sentinel = Sentinel(  # type: ignore[no-untyped-call]
                address.sentinels, socket_timeout=PATIENCE, retry=retry
            )
            host, port = sentinel.discover_master(address.service)  # type: ignore[no-untyped-call]
            url = url.format(f"{host}:{port}")
        client = Redis.from_url(
            url, socket_connect_timeout=PATIENCE, socket_timeout=PATIENCE, retry=retry
        )
        with client:
            facts = client.info("server")
    except AuthenticationError as error:
        return f"{where} refuses the password: {error}."
    except (RedisError, OSError) as error:
        return f"{where} cannot be reached: {error}."
    except (ValueError, TypeError) as error:
        return f"{where} is not an address that redis-py accepts: {error}."
    found = unfit(facts)
    return f"{where} {found}." if found else ""
